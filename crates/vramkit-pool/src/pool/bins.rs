//! Free blocks by size, and which of them a request gets.
//!
//! 8 bins for every power of two (the two-level bitmap of TLSF: Masmano et al., "TLSF: a new dynamic memory allocator for
//! real-time systems", ECRTS 2004). Unlike TLSF's good fit, a request looks into its own bin first, and of the last
//! [`PROBES`] blocks there that hold it takes the one with the lowest address; then of those of the next bin that is not
//! empty. Within a bin sizes differ by 12 % at most, so this is a best fit to within that, ordered by address: it keeps
//! the upper end free and wastes less than an exact best fit (`cargo bench -p vramkit-replay --bench pool`).

use std::sync::atomic::Ordering::Relaxed;

use super::blocks::{Block, NONE, Table};

/// How many blocks of a bin are compared. See `docs/pool.md` for what other numbers cost and waste.
const PROBES: usize = 3;

/// What every bin begins with, `PROBES - 1` times: so there are always enough to compare, without a branch.
const SENTINEL: Free = Free { size: 0, offset: u32::MAX, index: NONE };
const SENTINELS: usize = PROBES - 1;
/// A key's bit.
const TOO_SMALL: u64 = 1 << 63;
/// A key's low bits say which of the blocks it is of; above them is the offset, below the bit.
const WHICH_BITS: u32 = 2;
const _: () = assert!(PROBES <= 1 << WHICH_BITS, "a key says which of the blocks it is of");
const _: () = assert!(u32::BITS + WHICH_BITS < 63, "a key has room for an offset");

/// Bins for each power of two, as a power of two.
const SUB_BITS: u32 = 3;
/// No size of 32 bits has a bin from here on; a power of two, so that a bin's number needs no check.
const BINS: usize = 256;
const _: () = assert!(BINS.is_power_of_two() && ((32 - SUB_BITS as usize + 1) << SUB_BITS) <= BINS);

/// A free block as its bin knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Free {
    pub(super) size: u32,
    pub(super) offset: u32,
    pub(super) index: u32,
}

/// The free blocks of a pool.
#[derive(Debug)]
pub(super) struct Bins {
    /// Those of each bin. Kept together, so that comparing some of them touches one
    /// or two cache lines where a list would touch one for each.
    lists: Box<[Vec<Free>; BINS]>,
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

impl Bins {
    pub(super) fn new() -> Self {
        Self { lists: Box::new(std::array::from_fn(|_| vec![SENTINEL; SENTINELS])), filled: [0; BINS / 64] }
    }

    /// Takes the block for a request out of its bin: the lowest of the last few that hold it, in the first bin that has
    /// one. Before it gives up, it has looked at every block that could hold it.
    #[inline(always)]
    pub(super) fn take(&mut self, table: Table<'_>, size: u32, alignment: u32) -> Option<Free> {
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
        let bin = &mut self.lists[at % BINS];
        let before = bin.len().checked_sub(PROBES)?;
        let last: &mut [Free; PROBES] = bin.last_chunk_mut()?;
        // Arithmetic, not branches: which block fits and which is lowest cannot be predicted. The key of one that is
        // too small has the top bit, which the difference borrows.
        let key = |i: usize| {
            let short = u64::from(last[i].size).wrapping_sub(last[i].needed(size, alignment)) & TOO_SMALL;
            short | u64::from(last[i].offset) << WHICH_BITS | i as u64
        };
        let best = (1..PROBES).fold(key(0), |best, i| best.min(key(i)));
        if best >= TOO_SMALL {
            return None;
        }
        let i = (best & ((1 << WHICH_BITS) - 1)) as usize % PROBES;
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
        let find = |at: usize| Some((at, self.lists[at].iter().position(fits)?));
        let (at, place) = (first..BINS).find_map(find)?;
        let free = self.lists[at][place];
        self.take_out(table, at, place);
        Some(free)
    }

    /// As [`take`](Self::take), of all blocks the one for which `cost` is least.
    pub(super) fn take_cheapest(
        &mut self,
        table: Table<'_>,
        size: u32,
        alignment: u32,
        cost: impl Fn(&Free) -> Option<u64>,
    ) -> Option<Free> {
        let holds = |free: &Free| u64::from(free.size) >= free.needed(size, alignment);
        let cheapest =
            self.at_least(size).filter(|free| holds(free)).filter_map(|free| Some((cost(free)?, free)));
        let free = *cheapest.min_by_key(|(cost, _)| *cost)?.1;
        self.take_out(table, bin_of(free.size), table.at(free.index).place() as usize);
        Some(free)
    }

    /// Every block of at least so many units.
    pub(super) fn at_least(&self, size: u32) -> impl Iterator<Item = &Free> + '_ {
        let lists = self.lists[bin_of(size.max(1))..].iter();
        lists.flat_map(|list| &list[SENTINELS..]).filter(move |free| free.size >= size)
    }

    /// Puts a free block into its bin.
    #[inline(always)]
    pub(super) fn hang(&mut self, block: &Block, free: Free) {
        let at = bin_of(free.size);
        let bin = &mut self.lists[at];
        block.set_place(bin.len() as u32);
        bin.push(free);
        if bin.len() == SENTINELS + 1 {
            self.filled[at / 64] |= 1 << (at % 64);
        }
    }

    /// Takes a free block out of its bin.
    #[inline(always)]
    pub(super) fn unhang(&mut self, table: Table<'_>, block: &Block) {
        self.take_out(table, bin_of(block.size()), block.place() as usize);
    }

    /// Takes what stands at a place of a bin out of it.
    #[inline(always)]
    fn take_out(&mut self, table: Table<'_>, at: usize, place: usize) {
        let bin = &mut self.lists[at];
        // Without branches, which could not be predicted: the block moved may be the one taken out.
        let moved = *bin.last().expect("something stands there");
        bin[place] = moved;
        self.shorten(table, at, moved.index, place);
    }

    /// Takes the last of a bin off its end, which has been moved to another place of it.
    #[inline(always)]
    fn shorten(&mut self, table: Table<'_>, at: usize, moved: u32, place: usize) {
        let bin = &mut self.lists[at % BINS];
        bin.pop();
        table.at(moved).set_place(place as u32);
        if bin.len() == SENTINELS {
            self.filled[at / 64] &= !(1 << (at % 64));
        }
    }

    /// Gives a free block another size and offset. It often stays in its bin, where it keeps its place.
    #[inline(always)]
    pub(super) fn change(&mut self, table: Table<'_>, block: &Block, free: Free) {
        let (old, new, place) = (bin_of(block.size()), bin_of(free.size), block.place() as usize);
        block.offset.store(free.offset, Relaxed);
        block.size.store(free.size, Relaxed);
        if old == new {
            self.lists[old][place] = free;
        } else {
            self.take_out(table, old, place);
            self.hang(block, free);
        }
    }

    /// Bytes that the bins take.
    pub(super) fn bytes(&self) -> usize {
        let frees = self.lists.iter().map(Vec::capacity).sum::<usize>() * size_of::<Free>();
        size_of_val(&*self.lists) + frees
    }

    /// The largest free block.
    pub(super) fn largest(&self) -> u32 {
        let Some(word) = self.filled.iter().rposition(|&word| word != 0) else {
            return 0;
        };
        let bin = word * 64 + self.filled[word].ilog2() as usize;
        self.lists[bin].iter().map(|free| free.size).max().unwrap_or(0)
    }

    /// What must hold: every entry is of its bin and says what its block says. How many there are.
    #[cfg(test)]
    #[cfg(not(loom))]
    pub(super) fn check(&self, table: Table<'_>) -> usize {
        for (at, list) in self.lists.iter().enumerate() {
            assert_eq!(self.filled[at / 64] >> (at % 64) & 1 == 1, list.len() > SENTINELS);
            for (place, free) in list.iter().enumerate().skip(SENTINELS) {
                let block = table.at(free.index);
                assert_eq!((bin_of(free.size), free.size, free.offset), (at, block.size(), block.offset()));
                assert_eq!((block.place(), block.is_free()), (place as u32, true));
            }
        }
        self.lists.iter().map(|list| list.len() - SENTINELS).sum()
    }
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
}
