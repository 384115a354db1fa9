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

use super::blocks::{Block, NONE, Table};

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

/// Free and taken blocks of `[0, capacity)`.
#[derive(Debug)]
pub(super) struct SegregatedFit {
    /// Places of the table that have ever been in use are those below.
    used: u32,
    /// The first of those that are not in use; each one's neighbour above is the next.
    vacant: u32,
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
    pub(super) fn new(table: Table<'_>, capacity: u32) -> Self {
        let mut fit = Self {
            used: 0,
            vacant: NONE,
            bins: Box::new(std::array::from_fn(|_| vec![SENTINEL; SENTINELS])),
            filled: [0; BINS / 64],
        };
        if capacity > 0 {
            fit.add(table, 0, capacity, NONE, NONE);
        }
        fit
    }

    /// Takes a block of `size` units (not 0) at a multiple of `alignment` units (a power of two): its place in the
    /// table, and the block, still to be made live. `None` when no free block holds it.
    #[inline(always)]
    pub(super) fn allocate<'a>(
        &mut self,
        table: Table<'a>,
        size: u32,
        alignment: u32,
    ) -> Option<(u32, &'a Block)> {
        debug_assert!(size > 0 && alignment.is_power_of_two());
        let free = self.take(table, size, alignment)?;
        Some((free.index, self.carve(table, free, size, alignment)))
    }

    /// Cuts a block that hangs nowhere down to what was asked for; what is left over at its ends becomes free
    /// blocks.
    #[inline(always)]
    fn carve<'a>(&mut self, table: Table<'a>, free: Free, size: u32, alignment: u32) -> &'a Block {
        let Free { index, offset: start, size: whole } = free;
        let block = table.at(index);
        // It fits, so the sum is below the block's end.
        let offset = start + (start.wrapping_neg() & (alignment - 1));
        let (front, back) = (offset - start, start + whole - offset - size);
        if front > 0 {
            let neighbour = block.below();
            let below = self.add(table, start, front, neighbour, index);
            if let Some(neighbour) = table.get(neighbour) {
                neighbour.above.store(below, Relaxed);
            }
            block.below.store(below, Relaxed);
            block.offset.store(offset, Relaxed);
        }
        if back > 0 {
            let neighbour = block.above();
            let above = self.add(table, offset + size, back, index, neighbour);
            if let Some(neighbour) = table.get(neighbour) {
                neighbour.below.store(above, Relaxed);
            }
            block.above.store(above, Relaxed);
        }
        block.size.store(size, Relaxed);
        block
    }

    /// Gives back a block that the caller alone holds; it joins free neighbours.
    #[inline(always)]
    pub(super) fn free(&mut self, table: Table<'_>, index: u32, block: &Block) {
        let (below, above, size) = (block.below(), block.above(), block.size());
        // Both neighbours are looked at before either is joined, so that the processor fetches them at once.
        let lower = table.get(below).filter(|block| block.is_free());
        let upper = table.get(above).filter(|block| block.is_free());
        block.set_free();
        match (lower, upper) {
            (None, None) => self.hang(block, Free { size, offset: block.offset(), index }),
            (Some(lower), None) => {
                self.join(table, (below, lower), (index, block));
                self.grow(table, below, lower, 0, size);
            }
            (None, Some(upper)) => {
                // The free block stays and grows downwards; the freed one's place goes.
                upper.below.store(below, Relaxed);
                if let Some(neighbour) = table.get(below) {
                    neighbour.above.store(above, Relaxed);
                }
                self.vacate(index, block);
                self.grow(table, above, upper, size, size);
            }
            (Some(lower), Some(upper)) => {
                let more = size + upper.size();
                self.unhang(table, upper);
                self.join(table, (index, block), (above, upper));
                self.join(table, (below, lower), (index, block));
                self.grow(table, below, lower, 0, more);
            }
        }
    }

    /// Takes the free block below a block out of its bin, if there is one: its place in the table. Until the two have
    /// [changed places](Self::slide), nobody else gets it.
    pub(super) fn hold_below(&mut self, table: Table<'_>, index: u32) -> Option<u32> {
        let below = table.at(index).below();
        let free = table.get(below).filter(|block| block.is_free())?;
        self.unhang(table, free);
        free.set_held();
        Some(below)
    }

    /// Moves a block down to where the held block below it begins, which moves up behind it.
    pub(super) fn slide(&mut self, table: Table<'_>, held: u32, index: u32) {
        let (lower, upper) = (table.at(held), table.at(index));
        let (below, above) = (lower.below(), upper.above());
        if let Some(neighbour) = table.get(below) {
            neighbour.above.store(index, Relaxed);
        }
        if let Some(neighbour) = table.get(above) {
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
    pub(super) fn next_to_move(&self, table: Table<'_>, last: Option<u32>) -> Option<u32> {
        let below_is_free = |block: &Block| table.get(block.below()).is_some_and(Block::is_free);
        let first = last.map_or_else(|| self.lowest(table), |last| table.at(last).above());
        places(table, first).find(|&index| {
            let block = table.at(index);
            block.is_movable() && below_is_free(block)
        })
    }

    /// The largest free block that there would be if everything movable moved down.
    pub(super) fn largest_after_compacting(&self, table: Table<'_>) -> u32 {
        let (mut largest, mut free) = (0, 0);
        for block in self.iter(table) {
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
    pub(super) fn iter<'a>(&self, table: Table<'a>) -> impl Iterator<Item = &'a Block> + use<'a> {
        places(table, self.lowest(table)).map(move |index| table.at(index))
    }

    /// The place of the block with the lowest address.
    fn lowest(&self, table: Table<'_>) -> u32 {
        (0..self.used).find(|&index| table.at(index).below() == NONE).unwrap_or(NONE)
    }

    /// Places of the table that have ever been in use are those below.
    pub(super) fn places(&self) -> u32 {
        self.used
    }

    /// Bytes that the bins take.
    pub(super) fn bytes(&self) -> usize {
        let frees = self.bins.iter().map(Vec::capacity).sum::<usize>() * size_of::<Free>();
        size_of_val(&*self.bins) + frees
    }

    /// The largest free block.
    pub(super) fn largest_free(&self) -> u32 {
        let Some(word) = self.filled.iter().rposition(|&word| word != 0) else {
            return 0;
        };
        let bin = word * 64 + self.filled[word].ilog2() as usize;
        self.bins[bin].iter().map(|free| free.size).max().unwrap_or(0)
    }

    /// Takes the block for a request out of its bin: the lowest of the last few that hold it, in the first bin that has
    /// one. Before it gives up, it has looked at every block that could hold it.
    #[inline(always)]
    fn take(&mut self, table: Table<'_>, size: u32, alignment: u32) -> Option<Free> {
        let first = bin_of(size);
        let mut word = first / 64;
        let mut bits = self.filled[word] & u64::MAX << (first % 64);
        loop {
            while bits == 0 {
                word += 1;
                let Some(&next) = self.filled.get(word) else {
                    return self.take_any(table, first, size, alignment);
                };
                bits = next;
            }
            let bin = word * 64 + bits.trailing_zeros() as usize;
            if let Some(free) = self.take_lowest(table, bin, size, alignment) {
                return Some(free);
            }
            bits &= bits - 1;
        }
    }

    /// Takes the lowest of the last few blocks of a bin that hold a request.
    #[inline(always)]
    fn take_lowest(&mut self, table: Table<'_>, at: usize, size: u32, alignment: u32) -> Option<Free> {
        let bin = &mut self.bins[at % BINS];
        let before = bin.len().checked_sub(PROBES)?;
        let last: &mut [Free; PROBES] = bin.last_chunk_mut()?;
        // Arithmetic, not branches: which block fits and which is lowest cannot be predicted. The key of one that is
        // too small has the top bit, which the difference borrows.
        let key = |i: usize| {
            let short = u64::from(last[i].size).wrapping_sub(last[i].needed(size, alignment)) & TOO_SMALL;
            short | u64::from(last[i].offset) << 2 | i as u64
        };
        let best = (1..PROBES).fold(key(0), |best, i| best.min(key(i)));
        if best >= TOO_SMALL {
            return None;
        }
        let i = (best & 3) as usize;
        let (taken, moved) = (last[i], last[PROBES - 1]);
        last[i] = moved;
        self.shorten(table, at, moved.index, before + i);
        Some(taken)
    }

    /// As [`take`](Self::take), where none of the last few of any bin holds the request: looks at all.
    #[cold]
    #[inline(never)]
    fn take_any(&mut self, table: Table<'_>, first: usize, size: u32, alignment: u32) -> Option<Free> {
        let fits = |free: &Free| u64::from(free.size) >= free.needed(size, alignment);
        let find = |at: usize| Some((at, self.bins[at].iter().position(fits)?));
        let (at, place) = (first..BINS).find_map(find)?;
        let free = self.bins[at][place];
        self.take_out(table, at, place);
        Some(free)
    }

    /// Puts a free block into its bin.
    #[inline(always)]
    fn hang(&mut self, block: &Block, free: Free) {
        let at = bin_of(free.size);
        let bin = &mut self.bins[at];
        block.set_place(bin.len() as u32);
        bin.push(free);
        if bin.len() == SENTINELS + 1 {
            self.filled[at / 64] |= 1 << (at % 64);
        }
    }

    /// Takes a free block out of its bin.
    #[inline(always)]
    fn unhang(&mut self, table: Table<'_>, block: &Block) {
        self.take_out(table, bin_of(block.size()), block.place() as usize);
    }

    /// Takes what stands at a place of a bin out of it.
    #[inline(always)]
    fn take_out(&mut self, table: Table<'_>, at: usize, place: usize) {
        let bin = &mut self.bins[at];
        // Without branches, which could not be predicted: the block moved may be the one taken out.
        let moved = *bin.last().expect("something stands there");
        bin[place] = moved;
        self.shorten(table, at, moved.index, place);
    }

    /// Takes the last of a bin off its end, which has been moved to another place of it.
    #[inline(always)]
    fn shorten(&mut self, table: Table<'_>, at: usize, moved: u32, place: usize) {
        let bin = &mut self.bins[at % BINS];
        bin.pop();
        table.at(moved).set_place(place as u32);
        if bin.len() == SENTINELS {
            self.filled[at / 64] &= !(1 << (at % 64));
        }
    }

    /// Takes the upper one of two adjacent blocks out of the chain of addresses. Its size is the caller's to add.
    #[inline(always)]
    fn join(
        &mut self,
        table: Table<'_>,
        (lower, lower_block): (u32, &Block),
        (upper, upper_block): (u32, &Block),
    ) {
        let above = upper_block.above();
        lower_block.above.store(above, Relaxed);
        if let Some(neighbour) = table.get(above) {
            neighbour.below.store(lower, Relaxed);
        }
        self.vacate(upper, upper_block);
    }

    /// Notes that a place of the table is not in use.
    #[inline(always)]
    fn vacate(&mut self, index: u32, block: &Block) {
        // Not the lowest block, whatever it was.
        block.below.store(index, Relaxed);
        block.above.store(self.vacant, Relaxed);
        self.vacant = index;
    }

    /// Moves a free block's start down and adds to its size. It often stays in its bin, where it keeps its place.
    #[inline(always)]
    fn grow(&mut self, table: Table<'_>, index: u32, block: &Block, down: u32, more: u32) {
        let size = block.size();
        let (offset, new_size) = (block.offset() - down, size + more);
        let (old, new, place) = (bin_of(size), bin_of(new_size), block.place() as usize);
        block.offset.store(offset, Relaxed);
        block.size.store(new_size, Relaxed);
        let free = Free { size: new_size, offset, index };
        if old == new {
            self.bins[old][place] = free;
        } else {
            self.take_out(table, old, place);
            self.hang(block, free);
        }
    }

    /// Adds a free block between two neighbours, which are still to be told: its place in the table.
    #[inline(always)]
    fn add(&mut self, table: Table<'_>, offset: u32, size: u32, below: u32, above: u32) -> u32 {
        let index = if self.vacant == NONE { self.grow_table(table) } else { self.vacant };
        let block = table.at(index);
        self.vacant = block.above();
        block.offset.store(offset, Relaxed);
        block.size.store(size, Relaxed);
        block.below.store(below, Relaxed);
        block.above.store(above, Relaxed);
        self.hang(block, Free { size, offset, index });
        index
    }

    /// A place that has never been in use, and is followed by none that is not.
    #[cold]
    fn grow_table(&mut self, table: Table<'_>) -> u32 {
        let index = self.used;
        table.grow_to(index);
        table.at(index).above.store(NONE, Relaxed);
        self.used += 1;
        index
    }
}

/// From one place on, the places of the blocks above.
fn places(table: Table<'_>, first: u32) -> impl Iterator<Item = u32> + use<'_> {
    let above = move |&index: &u32| Some(table.at(index).above()).filter(|&above| above != NONE);
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
    use crate::pool::blocks::{Blocks, Label};
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
    fn check(fit: &SegregatedFit, table: Table<'_>, capacity: u32) {
        let (mut end, mut free, mut free_before) = (0, 0, false);
        for block in fit.iter(table) {
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
                let block = table.at(free.index);
                assert_eq!((bin_of(free.size), free.size, free.offset), (at, block.size(), block.offset()));
                assert_eq!((block.place(), block.is_free()), (place as u32, true));
            }
        }
        assert_eq!(
            fit.bins.iter().map(|bin| bin.len() - SENTINELS).sum::<usize>(),
            free,
            "each free block hangs in one bin"
        );
        let largest = fit.iter(table).filter(|block| block.is_free()).map(Block::size).max();
        assert_eq!(fit.largest_free(), largest.unwrap_or(0));
    }

    proptest! {
        #[test]
        fn blocks_tile_the_range_and_failure_means_that_nothing_fits(
            capacity in 1u32..300,
            operations in prop::collection::vec((any::<bool>(), 1u32..40, 0u32..5, any::<prop::sample::Index>()), 1..120),
        ) {
            let blocks = Blocks::new(0);
            let table = blocks.table();
            let mut fit = SegregatedFit::new(table, capacity);
            let mut live: Vec<u32> = Vec::new();
            for (free, size, shift, pick) in operations {
                if free && !live.is_empty() {
                    let index = live.swap_remove(pick.index(live.len()));
                    fit.free(table, index, table.at(index));
                } else {
                    let alignment = 1 << shift;
                    let fitting = fit.iter(table).filter(|block| block.is_free()).any(|block| {
                        block.offset().next_multiple_of(alignment) + size <= block.end()
                    });
                    match fit.allocate(table, size, alignment) {
                        Some((index, block)) => {
                            block.set_live(LABEL);
                            prop_assert_eq!((block.size(), block.offset() % alignment), (size, 0));
                            live.push(index);
                        }
                        None => prop_assert!(!fitting, "a block would have held it"),
                    }
                }
                check(&fit, table, capacity);
            }
            for index in live {
                fit.free(table, index, table.at(index));
            }
            check(&fit, table, capacity);
            prop_assert_eq!(fit.largest_free(), capacity);
        }
    }
}
