//! Which place does a request get? A segregated fit whose book is kept out of band, so that it works for
//! memory that the processor cannot touch.
//!
//! Free blocks hang in [bins](super::bins), which choose among them. All blocks are chained by address, so that what is
//! left over of one becomes a block, and a freed one joins its neighbours at once: two free blocks are never adjacent.
//!
//! Sizes and offsets come in and go out, in units; nothing here knows bytes, devices, owners or locks. All
//! methods that change something are called under the book's lock, with the pool's one table of blocks.

use std::sync::atomic::Ordering::Relaxed;

use super::bins::{Bins, Free};
use super::blocks::{Block, NONE, Table};

/// Free and taken blocks of `[0, capacity)`.
#[derive(Debug)]
pub(super) struct SegregatedFit {
    /// Places of the table that have ever been in use are those below.
    used: u32,
    /// The first of those that are not in use; each one's neighbour above is the next.
    vacant: u32,
    bins: Bins,
}

impl SegregatedFit {
    /// One free block of `capacity` units.
    pub(super) fn new(table: Table<'_>, capacity: u32) -> Self {
        let mut fit = Self { used: 0, vacant: NONE, bins: Bins::new() };
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
        let free = self.bins.take(table, size, alignment)?;
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
            (None, None) => self.bins.hang(block, Free { size, offset: block.offset(), index }),
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
                self.bins.unhang(table, upper);
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
        self.bins.unhang(table, free);
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
        self.bins.bytes()
    }

    /// The largest free block.
    pub(super) fn largest_free(&self) -> u32 {
        self.bins.largest()
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

    /// Moves a free block's start down and adds to its size.
    #[inline(always)]
    fn grow(&mut self, table: Table<'_>, index: u32, block: &Block, down: u32, more: u32) {
        let free = Free { size: block.size() + more, offset: block.offset() - down, index };
        self.bins.change(table, block, free);
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
        self.bins.hang(block, Free { size, offset, index });
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

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::pool::blocks::{Blocks, Label};
    use crate::pool::{OwnerId, TagId};
    use proptest::prelude::*;

    const LABEL: Label = Label { owner: OwnerId::NONE, tag: TagId::NONE, slack: 0, born: 0 };

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
        assert_eq!(fit.bins.check(table), free, "each free block hangs in one bin");
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
                            block.set_live(LABEL, false);
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
