//! Blocks: pieces of segments that lie side by side, free, taken, or (in a segment that grows) without memory behind them.

/// No block.
pub(super) const NONE: u32 = u32::MAX;

/// Where a block is: in which range of addresses, and from where on. Segments that do not grow share range 0.
pub(super) type At = (u32, u64);

#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) at: At,
    pub(super) size: u64,
    pub(super) stream: u64,
    /// Which cache it belongs to.
    pub(super) cache: u32,
    /// Neighbours in its segment.
    pub(super) before: u32,
    pub(super) after: u32,
    pub(super) taken: bool,
    /// Whether memory is behind it.
    pub(super) mapped: bool,
    /// How often its cache had been asked when it was put there.
    pub(super) since: u64,
}

impl Block {
    /// Whether it shares its segment with others.
    pub(super) fn is_split(&self) -> bool {
        self.before != NONE || self.after != NONE
    }
}

/// Blocks by number.
#[derive(Default)]
pub(super) struct Blocks {
    blocks: Vec<Block>,
    unused: Vec<u32>,
}

impl std::ops::Index<u32> for Blocks {
    type Output = Block;

    #[inline]
    fn index(&self, block: u32) -> &Block {
        &self.blocks[block as usize]
    }
}

impl std::ops::IndexMut<u32> for Blocks {
    #[inline]
    fn index_mut(&mut self, block: u32) -> &mut Block {
        &mut self.blocks[block as usize]
    }
}

impl Blocks {
    pub(super) fn add(&mut self, block: Block) -> u32 {
        match self.unused.pop() {
            Some(number) => {
                self.blocks[number as usize] = block;
                number
            }
            None => {
                self.blocks.push(block);
                // Fewer than two for each allocation and page, of which there are fewer than 2^32.
                (self.blocks.len() - 1) as u32
            }
        }
    }

    pub(super) fn remove(&mut self, block: u32) {
        self.unused.push(block);
    }

    /// Tells a block's neighbours of it.
    fn relink(&mut self, block: u32) {
        let Block { before, after, .. } = self[block];
        if before != NONE {
            self[before].after = block;
        }
        if after != NONE {
            self[after].before = block;
        }
    }

    /// Cuts a block: the front keeps its number and has `size` bytes, the rest is a new block behind it.
    pub(super) fn cut(&mut self, block: u32, size: u64) -> u32 {
        let whole = self[block];
        let rest =
            Block { at: (whole.at.0, whole.at.1 + size), size: whole.size - size, before: block, ..whole };
        let rest = self.add(rest);
        self[block].size = size;
        self[block].after = rest;
        self.relink(rest);
        rest
    }

    /// Joins two neighbours; the second is no more.
    pub(super) fn join(&mut self, first: u32, second: u32) {
        let gone = self[second];
        self[first].size += gone.size;
        self[first].after = gone.after;
        self.relink(first);
        self.remove(second);
    }
}
