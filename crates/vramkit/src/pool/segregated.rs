//! Which offset does a request get? A segregated fit whose book is kept out of band, so that it works for
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
//! Sizes and offsets come in and go out; nothing here knows devices, owners' names or locks.

use std::num::NonZeroU32;

use super::request::{OwnerId, TagId};

/// Every offset and every granted size is a multiple of this many bytes.
pub(super) const UNIT: u64 = 256;

/// How many blocks of a bin are compared. On the random trace of `cargo bench --bench pool`, 3 of 8 bins a power of two
/// waste 1.099 in 47 ns an operation, 2 waste 1.128 in 45.5 ns.
const PROBES: usize = 3;

/// Bins for each power of two, as a power of two.
const SUB_BITS: u32 = 3;
const SUB_BINS: u32 = 1 << SUB_BITS;
/// Sizes are below 2^64 bytes, hence below 2^56 units.
const ROWS: usize = 56 - SUB_BITS as usize + 1;

const NONE: u32 = u32::MAX;

/// A block's place in the book; of use only together with its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BlockId {
    pub(super) index: u32,
    /// Counts the uses of the place, so that an id of an earlier use is noticed.
    pub(super) generation: NonZeroU32,
}

/// What a live block is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    pub(super) requested: u64,
    pub(super) owner: OwnerId,
    pub(super) tag: TagId,
    /// On the pool's clock.
    pub(super) born: u32,
}

/// What a block was that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freed {
    pub(super) granted: u64,
    pub(super) requested: u64,
    pub(super) owner: OwnerId,
}

/// 48 bytes for each block, live or free.
#[derive(Clone, Copy, Debug)]
struct Block {
    offset: u64,
    size: u64,
    /// Live: bytes asked for. Free: 0, which no live block has.
    requested: u64,
    /// Neighbours by address.
    below: u32,
    above: u32,
    /// Free: its place in its bin, and nothing. Live: owner and tag.
    link: [u32; 2],
    generation: NonZeroU32,
    born: u32,
}

/// A free block as its bin knows it.
#[derive(Clone, Copy, Debug)]
struct Free {
    size: u64,
    offset: u64,
    index: u32,
}

/// A free block, and where it hangs.
struct Place {
    index: u32,
    row: usize,
    column: u32,
    place: usize,
}

/// Free and live blocks of `[0, capacity)`.
#[derive(Debug)]
pub(super) struct SegregatedFit {
    blocks: Vec<Block>,
    /// Places in `blocks` that are not in use.
    vacant: Vec<u32>,
    /// The free blocks of each bin. Kept together, so that comparing some of them touches one
    /// or two cache lines where a list would touch one for each.
    bins: Box<[Vec<Free>]>,
    /// Which bins of a row have blocks, and which rows have bins that do.
    columns: [u32; ROWS],
    rows: u64,
}

/// The bin of a size in units, which is at least 1.
fn bin(units: u64) -> (usize, u32) {
    let top = 63 - units.leading_zeros();
    if top < SUB_BITS {
        (0, units as u32)
    } else {
        let shift = top - SUB_BITS;
        ((shift + 1) as usize, (units >> shift) as u32 & (SUB_BINS - 1))
    }
}

/// The next multiple of a power of two. Neither passes 2^63: the one is an offset, the other at most 2^63.
fn align_up(offset: u64, alignment: u64) -> u64 {
    (offset + (alignment - 1)) & !(alignment - 1)
}

impl SegregatedFit {
    /// One free block of `capacity` bytes, rounded down to units.
    pub(super) fn new(capacity: u64) -> Self {
        let mut fit = Self {
            blocks: Vec::new(),
            vacant: Vec::new(),
            bins: vec![Vec::new(); ROWS * SUB_BINS as usize].into(),
            columns: [0; ROWS],
            rows: 0,
        };
        let size = capacity / UNIT * UNIT;
        if size > 0 {
            let whole = fit.place(Block {
                offset: 0,
                size,
                requested: 0,
                below: NONE,
                above: NONE,
                link: [NONE; 2],
                generation: NonZeroU32::MIN,
                born: 0,
            });
            fit.hang(whole);
        }
        fit
    }

    /// Takes a block of at least `size` bytes (a multiple of [`UNIT`], not 0) at a multiple of `alignment` (a
    /// power of two). Returns it with its offset; `None` when no free block holds it.
    #[inline]
    pub(super) fn allocate(&mut self, size: u64, alignment: u64, label: Label) -> Option<(BlockId, u64)> {
        debug_assert!(size > 0 && size.is_multiple_of(UNIT) && alignment.is_power_of_two());
        debug_assert!(label.requested > 0);
        let Place { index, row, column, place } = self.find(size, alignment)?;
        self.take_out(row, column, place);
        let block = self.blocks[index as usize];
        let offset = align_up(block.offset, alignment);
        let (front, back) = (offset - block.offset, block.offset + block.size - offset - size);
        if front > 0 {
            self.cut(index, Side::Below, block.offset, front);
        }
        if back > 0 {
            self.cut(index, Side::Above, offset + size, back);
        }
        let block = &mut self.blocks[index as usize];
        (block.offset, block.size, block.requested) = (offset, size, label.requested);
        block.link = [label.owner.0, label.tag.0];
        block.born = label.born;
        Some((BlockId { index, generation: block.generation }, offset))
    }

    /// Gives a live block back; it joins free neighbours. `None` for an id that is not live, which changes nothing.
    #[inline]
    pub(super) fn free(&mut self, id: BlockId) -> Option<Freed> {
        let block = *self.blocks.get(id.index as usize)?;
        if block.requested == 0 || block.generation != id.generation {
            return None;
        }
        // Both neighbours are looked at before either is joined, so that the processor fetches them at once.
        let is_free = |index: u32| self.blocks.get(index as usize).is_some_and(|block| block.requested == 0);
        let (below_is_free, above_is_free) = (is_free(block.below), is_free(block.above));
        let index = id.index;
        self.blocks[index as usize].requested = 0;
        self.blocks[index as usize].generation = block.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        match (below_is_free, above_is_free) {
            (false, false) => self.hang(index),
            (true, false) => {
                self.join(block.below, index);
                self.grow(block.below, 0, block.size);
            }
            (false, true) => {
                // The free block stays and grows downwards; the freed one's place goes.
                self.blocks[block.above as usize].below = block.below;
                if block.below != NONE {
                    self.blocks[block.below as usize].above = block.above;
                }
                self.vacant.push(index);
                self.grow(block.above, block.size, block.size);
            }
            (true, true) => {
                let size = block.size + self.blocks[block.above as usize].size;
                self.unhang(block.above);
                self.join(index, block.above);
                self.join(block.below, index);
                self.grow(block.below, 0, size);
            }
        }
        Some(Freed { granted: block.size, requested: block.requested, owner: OwnerId(block.link[0]) })
    }

    /// Offset, size and label of a live block.
    pub(super) fn get(&self, id: BlockId) -> Option<(u64, u64, Label)> {
        let block = self.blocks.get(id.index as usize)?;
        (block.requested != 0 && block.generation == id.generation)
            .then(|| (block.offset, block.size, block.label()))
    }

    /// Every block by address: offset, size, and its label when it is live.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64, Option<Label>)> + '_ {
        let mut vacant = vec![false; self.blocks.len()];
        self.vacant.iter().for_each(|&index| vacant[index as usize] = true);
        let lowest = (0..self.blocks.len()).find(|&i| !vacant[i] && self.blocks[i].below == NONE);
        let mut next = lowest.map_or(NONE, |i| i as u32);
        std::iter::from_fn(move || {
            let block = self.blocks.get(next as usize)?;
            next = block.above;
            Some((block.offset, block.size, (block.requested != 0).then(|| block.label())))
        })
    }

    /// The largest size that a request at the smallest alignment would be granted.
    pub(super) fn largest_free(&self) -> u64 {
        let Some(row) = self.rows.checked_ilog2() else {
            return 0;
        };
        let column = self.columns[row as usize].ilog2();
        self.bin(row as usize, column).iter().map(|free| free.size).max().unwrap_or(0)
    }

    /// The block to take for a request: the lowest of the last few that hold it in the first bin that has one. Before it gives up, it has looked at every block that could hold it.
    fn find(&self, size: u64, alignment: u64) -> Option<Place> {
        let first = bin(size / UNIT);
        let mut at = self.next_bin(first);
        while let Some((row, column)) = at {
            if let Some(place) = self.lowest(row, column, size, alignment) {
                return Some(place);
            }
            at = self.next_bin((row, column + 1));
        }
        self.find_anywhere(first, size, alignment)
    }

    /// The lowest of the last few blocks of a bin that hold a request.
    fn lowest(&self, row: usize, column: u32, size: u64, alignment: u64) -> Option<Place> {
        let bin = self.bin(row, column);
        let from = bin.len().saturating_sub(PROBES);
        let (mut best, mut place) = (u64::MAX, usize::MAX);
        for (i, free) in bin.iter().enumerate().skip(from) {
            // Offsets are multiples of the unit: a smaller alignment needs no look at the block. Selected, not
            // branched: which one is lowest cannot be predicted.
            let fits = free.size >= size && (alignment <= UNIT || self.fits_aligned(free, size, alignment));
            let better = fits & (free.offset < best);
            best = if better { free.offset } else { best };
            place = if better { i } else { place };
        }
        let free = bin.get(place)?;
        Some(Place { index: free.index, row, column, place })
    }

    #[cold]
    fn find_anywhere(&self, first: (usize, u32), size: u64, alignment: u64) -> Option<Place> {
        let mut at = self.next_bin(first);
        while let Some((row, column)) = at {
            let fits = |free: &Free| free.size >= size && self.fits_aligned(free, size, alignment);
            if let Some(place) = self.bin(row, column).iter().position(fits) {
                return Some(Place { index: self.bin(row, column)[place].index, row, column, place });
            }
            at = self.next_bin((row, column + 1));
        }
        None
    }

    fn fits_aligned(&self, free: &Free, size: u64, alignment: u64) -> bool {
        let offset = self.blocks[free.index as usize].offset;
        align_up(offset, alignment) - offset <= free.size - size
    }

    /// The first bin from this one on (a column may be one past the row's last) that has a block.
    fn next_bin(&self, (row, column): (usize, u32)) -> Option<(usize, u32)> {
        let here = self.columns[row] & u32::MAX.checked_shl(column).unwrap_or(0);
        if here != 0 {
            return Some((row, here.trailing_zeros()));
        }
        let rows = self.rows & u64::MAX.checked_shl(row as u32 + 1).unwrap_or(0);
        let row = (rows != 0).then(|| rows.trailing_zeros() as usize)?;
        Some((row, self.columns[row].trailing_zeros()))
    }

    fn bin(&self, row: usize, column: u32) -> &[Free] {
        &self.bins[row * SUB_BINS as usize + column as usize]
    }

    /// Puts a free block into its bin.
    #[inline(always)]
    fn hang(&mut self, index: u32) {
        let Block { size, offset, .. } = self.blocks[index as usize];
        let (row, column) = bin(size / UNIT);
        let bin = &mut self.bins[row * SUB_BINS as usize + column as usize];
        self.blocks[index as usize].link[0] = bin.len() as u32;
        bin.push(Free { size, offset, index });
        self.columns[row] |= 1 << column;
        self.rows |= 1 << row;
    }

    /// Takes a free block out of its bin.
    fn unhang(&mut self, index: u32) {
        let Block { size, link: [place, _], .. } = self.blocks[index as usize];
        let (row, column) = bin(size / UNIT);
        self.take_out(row, column, place as usize);
    }

    /// Takes what stands at a place of a bin out of it.
    #[inline(always)]
    fn take_out(&mut self, row: usize, column: u32, place: usize) {
        let bin = &mut self.bins[row * SUB_BINS as usize + column as usize];
        bin.swap_remove(place);
        if let Some(moved) = bin.get(place) {
            self.blocks[moved.index as usize].link[0] = place as u32;
        } else if bin.is_empty() {
            self.columns[row] &= !(1 << column);
            if self.columns[row] == 0 {
                self.rows &= !(1 << row);
            }
        }
    }

    /// Makes `[offset, offset + size)`, the part of a block that its new use leaves over at one side, a free
    /// block of its own.
    fn cut(&mut self, index: u32, side: Side, offset: u64, size: u64) {
        let Block { below, above, .. } = self.blocks[index as usize];
        let (below, above) = match side {
            Side::Below => (below, index),
            Side::Above => (index, above),
        };
        let piece = Block {
            offset,
            size,
            requested: 0,
            below,
            above,
            link: [NONE; 2],
            generation: NonZeroU32::MIN,
            born: 0,
        };
        let piece = self.place(piece);
        if below != NONE {
            self.blocks[below as usize].above = piece;
        }
        if above != NONE {
            self.blocks[above as usize].below = piece;
        }
        self.hang(piece);
    }

    /// Takes the block above another out of the chain of addresses; its place is vacant.
    fn join(&mut self, lower: u32, upper: u32) {
        let above = self.blocks[upper as usize].above;
        self.blocks[lower as usize].above = above;
        if above != NONE {
            self.blocks[above as usize].below = lower;
        }
        self.vacant.push(upper);
    }

    /// Moves a free block's start down and adds to its size. It often stays in its bin, where it keeps its place.
    fn grow(&mut self, index: u32, down: u64, more: u64) {
        let Block { offset, size, link: [place, _], .. } = self.blocks[index as usize];
        let (old, new) = (bin(size / UNIT), bin((size + more) / UNIT));
        let block = &mut self.blocks[index as usize];
        (block.offset, block.size) = (offset - down, size + more);
        if old == new {
            let free = Free { size: size + more, offset: offset - down, index };
            self.bins[old.0 * SUB_BINS as usize + old.1 as usize][place as usize] = free;
        } else {
            self.take_out(old.0, old.1, place as usize);
            self.hang(index);
        }
    }

    /// Finds a place in the book. The place keeps counting its generations.
    fn place(&mut self, block: Block) -> u32 {
        if let Some(index) = self.vacant.pop() {
            let generation = self.blocks[index as usize].generation;
            self.blocks[index as usize] = Block { generation, ..block };
            index
        } else {
            self.blocks.push(block);
            (self.blocks.len() - 1) as u32
        }
    }
}

/// Which end of a block is cut off.
#[derive(Clone, Copy)]
enum Side {
    Below,
    Above,
}

impl Block {
    fn label(&self) -> Label {
        Label {
            requested: self.requested,
            owner: OwnerId(self.link[0]),
            tag: TagId(self.link[1]),
            born: self.born,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LABEL: Label = Label { requested: 1, owner: OwnerId::NONE, tag: TagId::NONE, born: 0 };

    #[test]
    fn bins_are_in_order_of_size_and_every_size_has_one() {
        let mut last = (0, 0);
        for units in (1..5000).chain((13..56).flat_map(|e| [(1 << e) - 1, 1 << e, (1 << e) + (1 << (e - 1))]))
        {
            let at = bin(units);
            assert!(at.0 < ROWS && at.1 < SUB_BINS);
            assert!(at >= last, "{units}");
            last = at;
        }
        assert!(bin(u64::MAX / UNIT).0 < ROWS);
    }

    /// What must hold after every operation.
    fn check(fit: &SegregatedFit, capacity: u64) {
        let mut end = 0;
        let mut free_before = false;
        let mut free = 0;
        for (offset, size, label) in fit.iter() {
            assert_eq!(offset, end, "blocks are adjacent");
            assert!(size > 0);
            end = offset + size;
            assert!(!(free_before && label.is_none()), "free neighbours have joined");
            free_before = label.is_none();
            free += u64::from(free_before);
        }
        assert_eq!(end, capacity);
        let mut hung = 0;
        for row in 0..ROWS {
            assert_eq!(fit.rows >> row & 1 == 1, fit.columns[row] != 0);
            for column in 0..SUB_BINS {
                let list = fit.bin(row, column);
                assert_eq!(fit.columns[row] >> column & 1 == 1, !list.is_empty());
                for (place, free) in list.iter().enumerate() {
                    let block = &fit.blocks[free.index as usize];
                    assert_eq!((bin(free.size / UNIT), free.size), ((row, column), block.size));
                    assert_eq!((block.link[0], block.requested), (place as u32, 0));
                }
                hung += list.len() as u64;
            }
        }
        assert_eq!(hung, free, "each free block hangs in one bin");
        let largest = fit.iter().filter(|(_, _, label)| label.is_none()).map(|(_, size, _)| size).max();
        assert_eq!(fit.largest_free(), largest.unwrap_or(0));
    }

    proptest! {
        #[test]
        fn blocks_tile_the_range_and_failure_means_that_nothing_fits(
            capacity in 1u64..300,
            operations in prop::collection::vec((any::<bool>(), 1u64..40, 0u32..5, any::<prop::sample::Index>()), 1..120),
        ) {
            let capacity = capacity * UNIT;
            let mut fit = SegregatedFit::new(capacity);
            let mut live: Vec<(BlockId, u64, u64)> = Vec::new();
            for (free, units, shift, pick) in operations {
                if free && !live.is_empty() {
                    let (id, offset, size) = live.swap_remove(pick.index(live.len()));
                    prop_assert_eq!(fit.get(id).map(|(o, s, _)| (o, s)), Some((offset, size)));
                    prop_assert_eq!(fit.free(id).unwrap().granted, size);
                    prop_assert!(fit.free(id).is_none(), "a second release changes nothing");
                } else {
                    let (size, alignment) = (units * UNIT, UNIT << shift);
                    let fitting = fit.iter().filter(|(_, _, label)| label.is_none()).any(|(offset, free, _)| {
                        offset.next_multiple_of(alignment) + size <= offset + free
                    });
                    match fit.allocate(size, alignment, LABEL) {
                        Some((id, offset)) => {
                            prop_assert!(offset.is_multiple_of(alignment));
                            prop_assert!(live.iter().all(|&(_, o, s)| offset >= o + s || o >= offset + size));
                            live.push((id, offset, size));
                        }
                        None => prop_assert!(!fitting, "a block would have held it"),
                    }
                }
                check(&fit, capacity);
            }
            for (id, ..) in live {
                fit.free(id).unwrap();
            }
            check(&fit, capacity);
            prop_assert_eq!(fit.largest_free(), capacity);
        }
    }
}
