//! Which place does a request get? A segregated fit whose book is kept out of band, so that it works for
//! memory that the processor cannot touch.
//!
//! Free blocks hang in bins: 8 bins for every power of two (the two-level bitmap of TLSF: Masmano et al.,
//! "TLSF: a new dynamic memory allocator for real-time systems", ECRTS 2004). Unlike TLSF's good fit, a request
//! looks into its own bin first, and of the last [`PROBES`] blocks there that hold it takes the one with the
//! lowest address; then of those of the next bin that is not empty. Within a bin sizes differ by 12 % at most, so
//! this is a best fit to within that, ordered by address: it keeps the upper end free and wastes less than an
//! exact best fit (`cargo bench --bench pool`). Blocks are also chained by address, so that a freed one joins
//! its neighbours at once: two free blocks are never adjacent.
//!
//! Sizes and offsets come in and go out, in units; nothing here knows bytes, devices, owners or locks. All
//! methods that change something are called under the book's lock, with the pool's one table of blocks.

use std::sync::atomic::Ordering::Relaxed;

use super::blocks::{Block, Blocks, NONE};

/// How many blocks of a bin are compared. See `docs/pool.md` for what other numbers cost and waste.
const PROBES: usize = 3;

/// What every bin begins with, `PROBES - 1` times: so there are always enough to compare, without a branch.
const SENTINEL: Free = Free { size: 0, offset: u32::MAX, index: NONE };
const SENTINELS: usize = PROBES - 1;
/// A key's bit.
const TOO_SMALL: u64 = 1 << 63;

/// Bins for each power of two, as a power of two.
const SUB_BITS: u32 = 3;
/// No size of 32 bits has a bin from here on; a power of two, so that a bin's number needs no check.
const BINS: usize = 256;

/// A free block as its bin knows it.
#[derive(Clone, Copy, Debug)]
struct Free {
    size: u32,
    offset: u32,
    index: u32,
}

/// A free block, and where it hangs.
struct Place {
    free: Free,
    bin: usize,
    place: usize,
}

/// Free and taken blocks of `[0, capacity)`.
#[derive(Debug)]
pub(super) struct SegregatedFit {
    /// Places of the table that have ever been in use are those below.
    used: u32,
    /// Those of them that are not in use.
    vacant: Vec<u32>,
    /// The free blocks of each bin. Kept together, so that comparing some of them touches one
    /// or two cache lines where a list would touch one for each.
    bins: Box<[Vec<Free>; BINS]>,
    /// Which bins have blocks.
    filled: [u64; BINS / 64],
}

/// The bin of a size, which is at least 1.
#[inline(always)]
fn bin_of(size: u32) -> usize {
    // Sizes below one step each are their own bins; from there on a row of bins for each power of two.
    let shift = size.ilog2().saturating_sub(SUB_BITS);
    ((shift << SUB_BITS) + (size >> shift)) as usize % BINS
}

impl SegregatedFit {
    /// One free block of `capacity` units.
    pub(super) fn new(blocks: &Blocks, capacity: u32) -> Self {
        let mut fit = Self {
            used: 0,
            vacant: Vec::new(),
            bins: Box::new(std::array::from_fn(|_| vec![SENTINEL; SENTINELS])),
            filled: [0; BINS / 64],
        };
        if capacity > 0 {
            let whole = fit.place(blocks, 0, capacity, NONE, NONE);
            fit.hang(blocks, whole);
        }
        fit
    }

    /// Takes a block of `size` units (not 0) at a multiple of `alignment` units (a power of two): its place in the
    /// table, still to be made live. `None` when no free block holds it.
    #[inline]
    pub(super) fn allocate(&mut self, blocks: &Blocks, size: u32, alignment: u32) -> Option<u32> {
        debug_assert!(size > 0 && alignment.is_power_of_two());
        let Place { free, bin, place } = self.find(size, alignment)?;
        self.take_out(blocks, bin, place);
        self.carve(blocks, free, size, alignment);
        Some(free.index)
    }

    /// Cuts a block that hangs nowhere down to what was asked for; what is left over at its ends becomes free
    /// blocks.
    #[inline(always)]
    fn carve(&mut self, blocks: &Blocks, free: Free, size: u32, alignment: u32) {
        let Free { index, offset: start, size: whole } = free;
        let block = blocks.at(index);
        // It fits, so the sum is below the block's end.
        let offset = start + (start.wrapping_neg() & (alignment - 1));
        let (front, back) = (offset - start, start + whole - offset - size);
        if front > 0 {
            let below = self.place(blocks, start, front, block.below(), index);
            if let Some(neighbour) = blocks.get(block.below()) {
                neighbour.above.store(below, Relaxed);
            }
            block.below.store(below, Relaxed);
            block.offset.store(offset, Relaxed);
            self.hang(blocks, below);
        }
        if back > 0 {
            let above = self.place(blocks, offset + size, back, index, block.above());
            if let Some(neighbour) = blocks.get(block.above()) {
                neighbour.below.store(above, Relaxed);
            }
            block.above.store(above, Relaxed);
            self.hang(blocks, above);
        }
        block.size.store(size, Relaxed);
    }

    /// Gives back a block that the caller alone holds; it joins free neighbours.
    #[inline]
    pub(super) fn free(&mut self, blocks: &Blocks, index: u32) {
        let block = blocks.at(index);
        let (below, above, size) = (block.below(), block.above(), block.size());
        // Both neighbours are looked at before either is joined, so that the processor fetches them at once.
        let lower = blocks.get(below).filter(|block| block.is_free());
        let upper = blocks.get(above).filter(|block| block.is_free());
        block.set_free();
        match (lower, upper) {
            (None, None) => self.hang(blocks, index),
            (Some(lower), None) => {
                self.join(blocks, below, index);
                self.grow(blocks, below, lower, 0, size);
            }
            (None, Some(upper)) => {
                // The free block stays and grows downwards; the freed one's place goes.
                upper.below.store(below, Relaxed);
                if let Some(neighbour) = blocks.get(below) {
                    neighbour.above.store(above, Relaxed);
                }
                self.vacant.push(index);
                self.grow(blocks, above, upper, size, size);
            }
            (Some(lower), Some(upper)) => {
                let more = size + upper.size();
                self.unhang(blocks, upper);
                self.join(blocks, index, above);
                self.join(blocks, below, index);
                self.grow(blocks, below, lower, 0, more);
            }
        }
    }

    /// Takes the free block below a block out of its bin, if there is one: its place in the table. Until the two have
    /// [changed places](Self::slide), nobody else gets it.
    pub(super) fn hold_below(&mut self, blocks: &Blocks, index: u32) -> Option<u32> {
        let below = blocks.at(index).below();
        let free = blocks.get(below).filter(|block| block.is_free())?;
        self.unhang(blocks, free);
        free.set_held();
        Some(below)
    }

    /// Moves a block down to where the held block below it begins, which moves up behind it.
    pub(super) fn slide(&mut self, blocks: &Blocks, held: u32, index: u32) {
        let (lower, upper) = (blocks.at(held), blocks.at(index));
        let (below, above) = (lower.below(), upper.above());
        if let Some(neighbour) = blocks.get(below) {
            neighbour.above.store(index, Relaxed);
        }
        if let Some(neighbour) = blocks.get(above) {
            neighbour.below.store(held, Relaxed);
        }
        upper.below.store(below, Relaxed);
        upper.above.store(held, Relaxed);
        lower.below.store(index, Relaxed);
        lower.above.store(above, Relaxed);
        upper.offset.store(lower.offset(), Relaxed);
        lower.offset.store(upper.end(), Relaxed);
    }

    /// The lowest block above another one, or of all, that may be moved into free units below it.
    pub(super) fn next_to_move(&self, blocks: &Blocks, last: Option<u32>) -> Option<u32> {
        let below_is_free = |block: &Block| blocks.get(block.below()).is_some_and(Block::is_free);
        let first = last.map_or_else(|| self.lowest(blocks), |last| blocks.at(last).above());
        places(blocks, first).find(|&index| {
            let block = blocks.at(index);
            block.is_movable() && below_is_free(block)
        })
    }

    /// The largest free block that there would be if everything movable moved down.
    pub(super) fn largest_after_compacting(&self, blocks: &Blocks) -> u32 {
        let (mut largest, mut free) = (0, 0);
        for block in self.iter(blocks) {
            if block.is_free() {
                free += block.size();
            } else if !block.is_movable() {
                free = 0;
            }
            largest = largest.max(free);
        }
        largest
    }

    /// Every block by address.
    pub(super) fn iter<'a>(&self, blocks: &'a Blocks) -> impl Iterator<Item = &'a Block> + use<'a> {
        places(blocks, self.lowest(blocks)).map(|index| blocks.at(index))
    }

    /// The place of the block with the lowest address.
    fn lowest(&self, blocks: &Blocks) -> u32 {
        let mut vacant = vec![false; self.used as usize];
        self.vacant.iter().for_each(|&index| vacant[index as usize] = true);
        (0..self.used).find(|&i| !vacant[i as usize] && blocks.at(i).below() == NONE).unwrap_or(NONE)
    }

    /// Places of the table that have ever been in use are those below.
    pub(super) fn places(&self) -> u32 {
        self.used
    }

    /// Bytes that the bins take.
    pub(super) fn bytes(&self) -> usize {
        let frees = self.bins.iter().map(Vec::capacity).sum::<usize>() * size_of::<Free>();
        size_of_val(&*self.bins) + frees + self.vacant.capacity() * size_of::<u32>()
    }

    /// The largest free block.
    pub(super) fn largest_free(&self) -> u32 {
        let Some(word) = self.filled.iter().rposition(|&word| word != 0) else {
            return 0;
        };
        let bin = word * 64 + self.filled[word].ilog2() as usize;
        self.bins[bin].iter().map(|free| free.size).max().unwrap_or(0)
    }

    /// The block to take for a request: the lowest of the last few that hold it in the first bin that has one.
    /// Before it gives up, it has looked at every block that could hold it.
    #[inline(always)]
    fn find(&self, size: u32, alignment: u32) -> Option<Place> {
        let first = bin_of(size);
        let mut at = self.next_bin(first);
        while let Some(bin) = at {
            if let Some(place) = self.lowest_in(bin, size, alignment) {
                return Some(place);
            }
            at = self.next_bin(bin + 1);
        }
        self.find_anywhere(first, size, alignment)
    }

    /// The lowest of the last few blocks of a bin that hold a request.
    #[inline(always)]
    fn lowest_in(&self, bin: usize, size: u32, alignment: u32) -> Option<Place> {
        let frees = &self.bins[bin % BINS];
        let last: &[Free; PROBES] = frees.last_chunk()?;
        // Arithmetic, not branches: which block fits and which is lowest cannot be predicted. The key of one that is
        // too small has the top bit, which the difference borrows.
        let key = |i: usize| {
            let short = u64::from(last[i].size).wrapping_sub(last[i].needed(size, alignment)) & TOO_SMALL;
            short | u64::from(last[i].offset) << 2 | i as u64
        };
        let best = (1..PROBES).fold(key(0), |best, i| best.min(key(i)));
        let i = (best & 3) as usize;
        (best < TOO_SMALL).then(|| Place { free: last[i], bin, place: i + frees.len() - PROBES })
    }

    #[cold]
    fn find_anywhere(&self, first: usize, size: u32, alignment: u32) -> Option<Place> {
        let mut at = self.next_bin(first);
        while let Some(bin) = at {
            let fits = |free: &Free| u64::from(free.size) >= free.needed(size, alignment);
            if let Some(place) = self.bins[bin].iter().position(fits) {
                return Some(Place { free: self.bins[bin][place], bin, place });
            }
            at = self.next_bin(bin + 1);
        }
        None
    }

    /// The first bin from this one on that has a block.
    #[inline(always)]
    fn next_bin(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.filled.get(word)? & u64::MAX << (from % 64);
        while bits == 0 {
            word += 1;
            bits = *self.filled.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    /// Puts a free block into its bin.
    #[inline(always)]
    fn hang(&mut self, blocks: &Blocks, index: u32) {
        let block = blocks.at(index);
        let (offset, size) = (block.offset(), block.size());
        let at = bin_of(size);
        let bin = &mut self.bins[at];
        block.set_place(bin.len() as u32);
        bin.push(Free { size, offset, index });
        self.filled[at / 64] |= 1 << (at % 64);
    }

    /// Takes a free block out of its bin.
    fn unhang(&mut self, blocks: &Blocks, block: &Block) {
        self.take_out(blocks, bin_of(block.size()), block.place() as usize);
    }

    /// Takes what stands at a place of a bin out of it.
    #[inline(always)]
    fn take_out(&mut self, blocks: &Blocks, at: usize, place: usize) {
        let bin = &mut self.bins[at];
        // Without branches, which could not be predicted: the block moved may be the one taken out.
        let moved = *bin.last().expect("something stands there");
        bin[place] = moved;
        bin.pop();
        blocks.at(moved.index).set_place(place as u32);
        self.filled[at / 64] &= !(u64::from(bin.len() == SENTINELS) << (at % 64));
    }

    /// Takes the upper one of two adjacent blocks out of the chain of addresses. Its size is the caller's to add.
    fn join(&mut self, blocks: &Blocks, lower: u32, upper: u32) {
        let above = blocks.at(upper).above();
        blocks.at(lower).above.store(above, Relaxed);
        if let Some(neighbour) = blocks.get(above) {
            neighbour.below.store(lower, Relaxed);
        }
        self.vacant.push(upper);
    }

    /// Moves a free block's start down and adds to its size. It often stays in its bin, where it keeps its place.
    #[inline(always)]
    fn grow(&mut self, blocks: &Blocks, index: u32, block: &Block, down: u32, more: u32) {
        let size = block.size();
        let (offset, new_size) = (block.offset() - down, size + more);
        let (old, new, place) = (bin_of(size), bin_of(new_size), block.place() as usize);
        block.offset.store(offset, Relaxed);
        block.size.store(new_size, Relaxed);
        if old == new {
            self.bins[old][place] = Free { size: new_size, offset, index };
        } else {
            self.take_out(blocks, old, place);
            self.hang(blocks, index);
        }
    }

    /// Finds a place in the table for a block that is neither live nor hangs anywhere.
    #[inline(always)]
    fn place(&mut self, blocks: &Blocks, offset: u32, size: u32, below: u32, above: u32) -> u32 {
        let index = self.vacant.pop().unwrap_or_else(|| self.grow_table(blocks));
        let block = blocks.at(index);
        block.offset.store(offset, Relaxed);
        block.size.store(size, Relaxed);
        block.below.store(below, Relaxed);
        block.above.store(above, Relaxed);
        index
    }

    fn grow_table(&mut self, blocks: &Blocks) -> u32 {
        blocks.grow_to(self.used);
        self.used += 1;
        self.used - 1
    }
}

/// From one place on, the places of the blocks above.
fn places(blocks: &Blocks, first: u32) -> impl Iterator<Item = u32> + use<'_> {
    let above = |&index: &u32| Some(blocks.at(index).above()).filter(|&above| above != NONE);
    std::iter::successors(Some(first).filter(|&first| first != NONE), above)
}

impl Free {
    /// What it must have for `size` units at a multiple of `alignment`: the size, and what lies before the multiple.
    #[inline(always)]
    fn needed(&self, size: u32, alignment: u32) -> u64 {
        u64::from(size) + u64::from(self.offset.wrapping_neg() & (alignment - 1))
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::pool::blocks::Label;
    use crate::pool::{OwnerId, TagId};
    use proptest::prelude::*;

    const LABEL: Label = Label { owner: OwnerId::NONE, tag: TagId::NONE, slack: 0, born: 0 };

    #[test]
    fn bins_are_in_order_of_size_and_every_size_has_one() {
        let mut last = 0;
        for size in (1..5000).chain((13..32).flat_map(|e| [(1 << e) - 1, 1 << e, (1 << e) + (1 << (e - 1))]))
        {
            let at = bin_of(size);
            assert!(at < BINS && at >= last, "{size}");
            last = at;
        }
        assert!(bin_of(u32::MAX) < BINS);
    }

    /// What must hold after every operation.
    fn check(fit: &SegregatedFit, blocks: &Blocks, capacity: u32) {
        let (mut end, mut free, mut free_before) = (0, 0, false);
        for block in fit.iter(blocks) {
            assert_eq!(block.offset(), end, "blocks are adjacent");
            assert!(block.size() > 0);
            end = block.end();
            assert!(!(free_before && block.is_free()), "free neighbours have joined");
            free_before = block.is_free();
            free += usize::from(free_before);
        }
        assert_eq!(end, capacity);
        for (at, list) in fit.bins.iter().enumerate() {
            assert_eq!(fit.filled[at / 64] >> (at % 64) & 1 == 1, list.len() > SENTINELS);
            for (place, free) in list.iter().enumerate().skip(SENTINELS) {
                let block = blocks.at(free.index);
                assert_eq!((bin_of(free.size), free.size, free.offset), (at, block.size(), block.offset()));
                assert_eq!((block.place(), block.is_free()), (place as u32, true));
            }
        }
        assert_eq!(
            fit.bins.iter().map(|bin| bin.len() - SENTINELS).sum::<usize>(),
            free,
            "each free block hangs in one bin"
        );
        let largest = fit.iter(blocks).filter(|block| block.is_free()).map(Block::size).max();
        assert_eq!(fit.largest_free(), largest.unwrap_or(0));
    }

    proptest! {
        #[test]
        fn blocks_tile_the_range_and_failure_means_that_nothing_fits(
            capacity in 1u32..300,
            operations in prop::collection::vec((any::<bool>(), 1u32..40, 0u32..5, any::<prop::sample::Index>()), 1..120),
        ) {
            let blocks = Blocks::new(0);
            let mut fit = SegregatedFit::new(&blocks, capacity);
            let mut live: Vec<u32> = Vec::new();
            for (free, size, shift, pick) in operations {
                if free && !live.is_empty() {
                    fit.free(&blocks, live.swap_remove(pick.index(live.len())));
                } else {
                    let alignment = 1 << shift;
                    let fitting = fit.iter(&blocks).filter(|block| block.is_free()).any(|block| {
                        block.offset().next_multiple_of(alignment) + size <= block.end()
                    });
                    match fit.allocate(&blocks, size, alignment) {
                        Some(index) => {
                            let block = blocks.at(index);
                            block.set_live(LABEL);
                            prop_assert_eq!((block.size(), block.offset() % alignment), (size, 0));
                            live.push(index);
                        }
                        None => prop_assert!(!fitting, "a block would have held it"),
                    }
                }
                check(&fit, &blocks, capacity);
            }
            for index in live {
                fit.free(&blocks, index);
            }
            check(&fit, &blocks, capacity);
            prop_assert_eq!(fit.largest_free(), capacity);
        }
    }
}
