//! Where ggml puts what lives for a while: the smallest free block that is large enough, the end of the buffer last.
//!
//! A buffer is a list of chunks, because some devices allocate no more than so much at a time. Policy of `ggml-alloc.c`.

/// Most chunks of a buffer; the last one has no end.
const CHUNKS: usize = 16;

/// A place in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    chunk: usize,
    offset: u64,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    offset: u64,
    size: u64,
}

#[derive(Clone, Debug)]
struct Chunk {
    /// Ascending as long as no tensor is without elements; the last one is the rest of the chunk.
    free: Vec<Block>,
    /// The highest end of anything that was placed.
    top: u64,
}

/// A buffer that grows as it is asked.
#[derive(Clone, Debug)]
pub(crate) struct FreeList {
    alignment: u64,
    largest_chunk: u64,
    chunks: Vec<Chunk>,
}

impl FreeList {
    pub fn new(alignment: u64, largest_chunk: u64) -> Self {
        Self { alignment, largest_chunk, chunks: Vec::new() }
    }

    /// The size as it is granted.
    pub fn rounded(&self, size: u64) -> u64 {
        size.div_ceil(self.alignment).saturating_mul(self.alignment)
    }

    /// The bytes that the buffer must have.
    pub fn size(&self) -> u64 {
        self.chunks.iter().fold(0, |sum, chunk| sum.saturating_add(chunk.top))
    }

    pub fn take(&mut self, size: u64) -> Address {
        let size = self.rounded(size);
        let (chunk, block) =
            self.best_inside(size).or_else(|| self.best_end(size)).unwrap_or_else(|| self.grow(size));
        let place = &mut self.chunks[chunk];
        let free = &mut place.free[block];
        let offset = free.offset;
        free.offset = free.offset.saturating_add(size);
        free.size = free.size.saturating_sub(size);
        if free.size == 0 {
            place.free.remove(block);
        }
        place.top = place.top.max(offset.saturating_add(size));
        Address { chunk, offset }
    }

    /// The smallest block that is no chunk's end; of equal ones in a chunk the last. A later chunk's goes before an earlier
    /// one's, whatever their sizes.
    fn best_inside(&self, size: u64) -> Option<(usize, usize)> {
        let mut best = None;
        for (at, chunk) in self.chunks.iter().enumerate() {
            let mut least = u64::MAX;
            for (block, free) in chunk.free.iter().enumerate().take(chunk.free.len().saturating_sub(1)) {
                if (size..=least).contains(&free.size) {
                    least = free.size;
                    best = Some((at, block));
                }
            }
        }
        best
    }

    /// The end of a chunk that grows least, or that has least too much if none must grow.
    fn best_end(&self, size: u64) -> Option<(usize, usize)> {
        let mut best = None;
        let mut best_spare = i128::MIN;
        for (at, chunk) in self.chunks.iter().enumerate() {
            let Some(free) = chunk.free.last().filter(|free| free.size >= size) else { continue };
            let spare = i128::from(chunk.top) - i128::from(free.offset) - i128::from(size);
            let grows_less = best_spare < 0 && spare > best_spare;
            let fits_closer = spare >= 0 && spare < best_spare;
            if grows_less || fits_closer {
                best = Some((at, chunk.free.len() - 1));
                best_spare = spare;
            }
        }
        best
    }

    fn grow(&mut self, size: u64) -> (usize, usize) {
        // Past the last chunk there is no more to add: it has no end.
        let whole = if self.chunks.len() + 1 >= CHUNKS { u64::MAX / 2 } else { size.max(self.largest_chunk) };
        self.chunks.push(Chunk { free: vec![Block { offset: 0, size: whole }], top: 0 });
        (self.chunks.len() - 1, 0)
    }

    /// Joins it to the first block that it touches, and that to the next or previous one; blocks of nothing (tensors without
    /// elements leave some) touch, too.
    pub fn give_back(&mut self, address: Address, size: u64) {
        let size = self.rounded(size);
        let free = &mut self.chunks[address.chunk].free;
        let end = address.offset.saturating_add(size);
        let ends = |block: &Block| block.offset.saturating_add(block.size);
        let touching = free.iter().position(|block| ends(block) == address.offset || block.offset == end);
        let Some(mut at) = touching else {
            // Blocks of nothing can leave the list out of order, so it is walked.
            let at = free.iter().position(|block| block.offset >= address.offset).unwrap_or(free.len());
            free.insert(at, Block { offset: address.offset, size });
            return;
        };
        let is_behind = ends(&free[at]) == address.offset;
        if !is_behind {
            free[at].offset = address.offset;
        }
        free[at].size = free[at].size.saturating_add(size);
        if !is_behind {
            if at == 0 {
                return;
            }
            at -= 1;
        }
        if free.get(at + 1).is_some_and(|next| ends(&free[at]) == next.offset) {
            free[at].size = free[at].size.saturating_add(free[at + 1].size);
            free.remove(at + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_block_that_is_large_enough_is_taken_and_the_end_last() {
        let mut list = FreeList::new(1, u64::MAX / 2);
        let taken: Vec<_> = [30, 5, 20, 5, 40].into_iter().map(|size| list.take(size)).collect();
        list.give_back(taken[0], 30);
        list.give_back(taken[2], 20);
        assert_eq!(list.take(18).offset, taken[2].offset);
        assert_eq!(list.take(25).offset, 0);
        assert_eq!(list.take(10).offset, 100);
        assert_eq!(list.size(), 110);
    }

    #[test]
    fn a_chunk_that_is_full_is_followed_by_another() {
        let mut list = FreeList::new(16, 100);
        list.take(90);
        list.take(10);
        assert_eq!(list.chunks.len(), 2);
        list.take(1000);
        assert_eq!((list.chunks.len(), list.size()), (3, 96 + 16 + 1008));
    }

    #[test]
    fn what_is_given_back_joins_its_neighbours() {
        let mut list = FreeList::new(1, 1000);
        let taken: Vec<_> = [10, 10, 10, 10].into_iter().map(|size| list.take(size)).collect();
        for at in [0, 2, 1, 3] {
            list.give_back(taken[at], 10);
        }
        assert_eq!(list.chunks[0].free.len(), 1);
        assert_eq!(list.take(1000).offset, 0);
    }
}
