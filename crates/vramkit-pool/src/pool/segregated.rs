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

/// Free and taken blocks of `[0, end)`.
#[derive(Debug)]
pub(super) struct SegregatedFit {
    /// Places of the table that have ever been in use are those below.
    used: u32,
    /// The first of those that are not in use; each one's neighbour above is the next.
    vacant: u32,
    bins: Bins,
}

/// The place of a block of no units at the end, above the highest block and below the lowest: so every block has two
/// neighbours, and the ends are found at once. It is never free.
const END: u32 = 0;

impl SegregatedFit {
    /// One free block of `capacity` units.
    pub(super) fn new(table: Table<'_>, capacity: u32) -> Self {
        let mut fit = Self { used: 0, vacant: NONE, bins: Bins::new() };
        let end = fit.grow_table(table);
        debug_assert_eq!(end, END);
        let block = table.at(END);
        fit.vacant = NONE;
        block.below.store(END, Relaxed);
        block.above.store(END, Relaxed);
        block.set_held();
        fit.extend(table, capacity);
        fit
    }

    /// One past the last unit.
    pub(super) fn end(&self, table: Table<'_>) -> u32 {
        table.at(END).offset()
    }

    /// Adds free units at the end.
    pub(super) fn extend(&mut self, table: Table<'_>, units: u32) {
        if units == 0 {
            return;
        }
        let end = table.at(END);
        let (top, offset) = (end.below(), end.offset());
        end.offset.store(offset + units, Relaxed);
        let highest = table.at(top);
        if highest.is_free() {
            self.grow(table, top, highest, 0, units);
        } else {
            let added = self.add(table, offset, units, top, END);
            table.at(top).above.store(added, Relaxed);
            end.below.store(added, Relaxed);
        }
    }

    /// Free units at the end.
    pub(super) fn free_at_end(&self, table: Table<'_>) -> u32 {
        let highest = table.at(table.at(END).below());
        if highest.is_free() { highest.size() } else { 0 }
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
            table.at(neighbour).above.store(below, Relaxed);
            block.below.store(below, Relaxed);
            block.offset.store(offset, Relaxed);
        }
        if back > 0 {
            let neighbour = block.above();
            let above = self.add(table, offset + size, back, index, neighbour);
            table.at(neighbour).below.store(above, Relaxed);
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
        let lower = Some(table.at(below)).filter(|block| block.is_free());
        let upper = Some(table.at(above)).filter(|block| block.is_free());
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
                table.at(below).above.store(above, Relaxed);
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

    /// Takes a free block from a given unit upwards, as [`allocate`](Self::allocate) does from anywhere.
    pub(super) fn allocate_above<'a>(
        &mut self,
        table: Table<'a>,
        floor: u32,
        size: u32,
        alignment: u32,
    ) -> Option<(u32, &'a Block)> {
        let lowest = |free: &Free| (free.offset >= floor).then_some(u64::from(free.offset));
        let free = self.bins.take_cheapest(table, size, alignment, lowest)?;
        Some((free.index, self.carve(table, free, size, alignment)))
    }

    /// As [`allocate`](Self::allocate), where the fewest granules of so many units each have nothing else in them, `most`
    /// at most.
    pub(super) fn allocate_sparingly<'a>(
        &mut self,
        table: Table<'a>,
        size: u32,
        alignment: u32,
        granule: u32,
        most: u64,
    ) -> Option<(u32, &'a Block)> {
        let new_granules = |free: &Free| {
            let start = u64::from(free.offset).next_multiple_of(u64::from(alignment));
            let (end, granule) = (start + u64::from(size), u64::from(granule));
            let first = start / granule;
            let last = (end - 1) / granule;
            // What lies before the free block in its first granule is taken, and so it is behind it in the last.
            let shared_first = first * granule < u64::from(free.offset);
            let shared_last = (last + 1) * granule > u64::from(free.offset) + u64::from(free.size);
            let touched = last - first + 1;
            let shared = if touched == 1 {
                u64::from(shared_first || shared_last)
            } else {
                u64::from(shared_first) + u64::from(shared_last)
            };
            Some(touched - shared).filter(|&new| new <= most)
        };
        let free = self.bins.take_cheapest(table, size, alignment, new_granules)?;
        Some((free.index, self.carve(table, free, size, alignment)))
    }

    /// The largest free block of fewer than so many units.
    pub(super) fn largest_below(&self, size: u32) -> u32 {
        self.bins.at_least(1).map(|free| free.size).filter(|&free| free < size).max().unwrap_or(0)
    }

    /// Cuts a taken block in two, of which the lower one has `size` units and keeps its place: the place of the upper
    /// one, which is held too.
    pub(super) fn split_taken(&mut self, table: Table<'_>, index: u32, size: u32) -> u32 {
        let block = table.at(index);
        let (above, rest) = (block.above(), block.size() - size);
        let upper = self.place(table);
        let upper_block = table.at(upper);
        upper_block.set_held();
        upper_block.offset.store(block.offset() + size, Relaxed);
        upper_block.size.store(rest, Relaxed);
        upper_block.below.store(index, Relaxed);
        upper_block.above.store(above, Relaxed);
        table.at(above).below.store(upper, Relaxed);
        block.above.store(upper, Relaxed);
        block.size.store(size, Relaxed);
        upper
    }

    /// Makes one block of a taken one and the taken one above it, both held by the caller alone.
    pub(super) fn join_taken(&mut self, table: Table<'_>, index: u32) {
        let block = table.at(index);
        let upper = block.above();
        let upper_block = table.at(upper);
        let size = block.size() + upper_block.size();
        upper_block.set_free();
        self.join(table, (index, block), (upper, upper_block));
        block.size.store(size, Relaxed);
    }

    /// Takes the free block below a block out of its bin, if there is one: its place in the table. Until the two have
    /// [changed places](Self::slide), nobody else gets it.
    pub(super) fn hold_below(&mut self, table: Table<'_>, index: u32) -> Option<u32> {
        let below = table.at(index).below();
        let free = Some(table.at(below)).filter(|block| block.is_free())?;
        self.bins.unhang(table, free);
        free.set_held();
        Some(below)
    }

    /// Moves a block down to where the held block below it begins, which moves up behind it.
    pub(super) fn slide(&mut self, table: Table<'_>, held: u32, index: u32) {
        let (lower, upper) = (table.at(held), table.at(index));
        let (below, above) = (lower.below(), upper.above());
        table.at(below).above.store(index, Relaxed);
        table.at(above).below.store(held, Relaxed);
        upper.below.store(below, Relaxed);
        upper.above.store(held, Relaxed);
        lower.below.store(index, Relaxed);
        lower.above.store(above, Relaxed);
        upper.offset.store(lower.offset(), Relaxed);
        lower.offset.store(upper.end(), Relaxed);
    }

    /// Every block by address, with its place.
    pub(super) fn iter<'a>(&self, table: Table<'a>) -> impl Iterator<Item = (u32, &'a Block)> + use<'a> {
        self.iter_from(table, table.at(END).above())
    }

    /// As [`iter`](Self::iter), from the block at a place on.
    pub(super) fn iter_from<'a>(
        &self,
        table: Table<'a>,
        first: u32,
    ) -> impl Iterator<Item = (u32, &'a Block)> + use<'a> {
        let some = |index: u32| (index != END).then_some(index);
        std::iter::successors(some(first), move |&index| some(table.at(index).above()))
            .map(move |index| (index, table.at(index)))
    }

    /// How many granules, of so many units each, lie wholly in free blocks.
    pub(super) fn whole_granules(&self, granule: u32) -> u64 {
        self.bins.at_least(granule).map(|free| whole_granules(free.offset, free.size, granule)).sum()
    }

    /// Free blocks of at least so many units, with their offsets and sizes.
    pub(super) fn free_at_least(&self, size: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.bins.at_least(size).map(|free| (free.offset, free.size))
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
        table.at(above).below.store(lower, Relaxed);
        self.vacate(upper, upper_block);
    }

    /// Notes that a place of the table is not in use.
    #[inline(always)]
    fn vacate(&mut self, index: u32, block: &Block) {
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
        let index = self.place(table);
        let block = table.at(index);
        block.offset.store(offset, Relaxed);
        block.size.store(size, Relaxed);
        block.below.store(below, Relaxed);
        block.above.store(above, Relaxed);
        self.bins.hang(block, Free { size, offset, index });
        index
    }

    /// A place that is not in use, from now on in use.
    #[inline(always)]
    fn place(&mut self, table: Table<'_>) -> u32 {
        let index = if self.vacant == NONE { self.grow_table(table) } else { self.vacant };
        self.vacant = table.at(index).above();
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

/// How many granules, of so many units each, lie wholly in `[offset, offset + size)`.
pub(super) fn whole_granules(offset: u32, size: u32, granule: u32) -> u64 {
    let (start, end, granule) = (u64::from(offset), u64::from(offset) + u64::from(size), u64::from(granule));
    (end / granule).saturating_sub(start.div_ceil(granule))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::pool::blocks::{Blocks, Kind, Label};
    use proptest::prelude::*;

    const LABEL: Label = Label { owner: 0, tag: 0, slack: 0, born: 0 };

    /// What must hold after every operation.
    fn check(fit: &SegregatedFit, table: Table<'_>, capacity: u32) {
        let (mut end, mut free, mut free_before) = (0, 0, false);
        for (index, block) in fit.iter(table) {
            assert_eq!(table.at(block.below()).above(), index);
            assert_eq!(block.offset(), end, "blocks are adjacent");
            assert!(block.size() > 0);
            end = block.end();
            assert!(!(free_before && block.is_free()), "free neighbours have joined");
            free_before = block.is_free();
            free += usize::from(free_before);
        }
        assert_eq!((end, fit.end(table)), (capacity, capacity));
        assert_eq!(fit.bins.check(table), free, "each free block hangs in one bin");
        let largest =
            fit.iter(table).filter(|(_, block)| block.is_free()).map(|(_, block)| block.size()).max();
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
                    let fitting = fit.iter(table).filter(|(_, block)| block.is_free()).any(|(_, block)| {
                        block.offset().next_multiple_of(alignment) + size <= block.end()
                    });
                    match fit.allocate(table, size, alignment) {
                        Some((index, block)) => {
                            block.set_live(Kind::Plain, LABEL);
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
