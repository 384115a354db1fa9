//! PyTorch's caching allocator, as far as it decides how much memory is reserved: `CUDACachingAllocator.cpp`, with its
//! default settings, one stream.
//!
//! * Sizes are rounded up to 512 bytes. Those up to 1 MiB come from segments of 2 MiB, larger ones from segments of
//!   20 MiB, and from 10 MiB on from segments of their own size, rounded up to 2 MiB.
//! * The smallest free block of the pool that fits is taken, the lowest of those. What is left over is split off when
//!   it has 512 bytes (small) or more than 1 MiB (large). Freed blocks join free neighbours of their segment.
//! * Segments stay; when a new one does not fit into the capacity, those that are wholly free go first.
//! * With expandable segments each of the two pools is one range that grows at its end by pages of 2 or 20 MiB; its
//!   last free block counts as one that can hold anything and is taken last; every rest is split off.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::{Granted, Policy};

const SMALL: u64 = 1 << 20;
const SMALL_SEGMENT: u64 = 2 << 20;
const LARGE_SEGMENT: u64 = 20 << 20;
const OWN_SEGMENT: u64 = 10 << 20;
const ROUND_LARGE: u64 = 2 << 20;
const UNIT: u64 = 512;
/// Where the large pool's addresses begin in the expandable model: above anything that the small one grows to.
pub(crate) const LARGE_BASE: u64 = 1 << 48;

#[derive(Clone, Copy)]
struct Block {
    size: u64,
    free: bool,
    /// Of which segment, by its base.
    segment: u64,
}

/// Free and taken blocks of one of the two pools.
#[derive(Default)]
struct Half {
    by_size: BTreeSet<(u64, u64)>,
    blocks: BTreeMap<u64, Block>,
}

impl Half {
    fn add_free(&mut self, at: u64, size: u64, segment: u64) {
        self.by_size.insert((size, at));
        self.blocks.insert(at, Block { size, free: true, segment });
    }

    fn remove_free(&mut self, at: u64) -> u64 {
        let size = self.blocks.remove(&at).map_or(0, |block| block.size);
        self.by_size.remove(&(size, at));
        size
    }

    /// Takes the front of a free block; the rest is split off when it is large enough.
    fn take(&mut self, at: u64, size: u64, least_rest: u64) -> u64 {
        let segment = self.blocks[&at].segment;
        let whole = self.remove_free(at);
        let taken = if whole - size >= least_rest { size } else { whole };
        if whole > taken {
            self.add_free(at + taken, whole - taken, segment);
        }
        self.blocks.insert(at, Block { size: taken, free: false, segment });
        taken
    }

    fn free(&mut self, mut at: u64) {
        let Some(Block { mut size, segment, .. }) = self.blocks.remove(&at) else { return };
        if let Some((&below, block)) = self.blocks.range(..at).next_back()
            && block.free
            && block.segment == segment
        {
            size += self.remove_free(below);
            at = below;
        }
        let above = at + size;
        if self.blocks.get(&above).is_some_and(|block| block.free && block.segment == segment) {
            size += self.remove_free(above);
        }
        self.add_free(at, size, segment);
    }
}

/// Segments of fixed size.
pub(crate) struct Native {
    halves: [Half; 2],
    segments: BTreeMap<u64, u64>,
    reserved: u64,
    peak: u64,
    capacity: u64,
}

impl Native {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { halves: Default::default(), segments: BTreeMap::new(), reserved: 0, peak: 0, capacity }
    }

    /// A place among the segments: the lowest gap, as a driver would find one.
    fn new_segment(&mut self, half: usize, size: u64) -> Option<u64> {
        if self.reserved + size > self.capacity {
            self.release_idle();
        }
        if self.reserved + size > self.capacity {
            return None;
        }
        let mut base = 0;
        for (&at, &length) in &self.segments {
            if at - base >= size {
                break;
            }
            base = at + length;
        }
        self.segments.insert(base, size);
        self.reserved += size;
        self.peak = self.peak.max(self.reserved);
        self.halves[half].add_free(base, size, base);
        Some(base)
    }

    fn release_idle(&mut self) {
        for half in &mut self.halves {
            let idle: Vec<u64> = half
                .blocks
                .iter()
                .filter(|(at, block)| block.free && self.segments.get(at) == Some(&block.size))
                .map(|(&at, _)| at)
                .collect();
            for at in idle {
                self.reserved -= half.remove_free(at);
                self.segments.remove(&at);
            }
        }
    }
}

impl Policy for Native {
    type Handle = (usize, u64);

    fn allocate(&mut self, size: u64) -> Option<Granted<(usize, u64)>> {
        let size = size.next_multiple_of(UNIT);
        let half = usize::from(size > SMALL);
        let found = self.halves[half].by_size.range((size, 0)..).next().map(|&(_, at)| at);
        let at = match found {
            Some(at) => at,
            None => {
                let segment = match size {
                    size if size <= SMALL => SMALL_SEGMENT,
                    size if size < OWN_SEGMENT => LARGE_SEGMENT,
                    size => size.next_multiple_of(ROUND_LARGE),
                };
                self.new_segment(half, segment)?
            }
        };
        let least_rest = if half == 0 { UNIT } else { SMALL + 1 };
        let taken = self.halves[half].take(at, size, least_rest);
        Some(Granted { handle: (half, at), offset: at, size: taken })
    }

    fn free(&mut self, (half, at): (usize, u64)) {
        self.halves[half].free(at);
    }

    fn peak_committed(&self) -> Option<u64> {
        Some(self.peak)
    }
}

/// Two ranges that grow.
pub(crate) struct Expandable {
    halves: [Half; 2],
    /// How far each is mapped.
    mapped: [u64; 2],
    peak: u64,
    capacity: u64,
}

impl Expandable {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { halves: Default::default(), mapped: [0; 2], peak: 0, capacity }
    }

    fn base(half: usize) -> u64 {
        half as u64 * LARGE_BASE
    }

    /// The free block at the end of what is mapped: its place, or the end.
    fn last_free(&self, half: usize) -> u64 {
        let end = Self::base(half) + self.mapped[half];
        match self.halves[half].blocks.last_key_value() {
            Some((&at, block)) if block.free => at,
            _ => end,
        }
    }

    /// Maps what is missing for a block at the end.
    fn grow(&mut self, half: usize, size: u64) -> Option<u64> {
        let (at, end) = (self.last_free(half), Self::base(half) + self.mapped[half]);
        let page = if half == 0 { SMALL_SEGMENT } else { LARGE_SEGMENT };
        let more = (at + size - end).next_multiple_of(page);
        if self.mapped[0] + self.mapped[1] + more > self.capacity {
            self.give_back_ends();
            if self.mapped[0] + self.mapped[1] + more > self.capacity {
                return None;
            }
            return self.grow(half, size);
        }
        self.mapped[half] += more;
        self.peak = self.peak.max(self.mapped[0] + self.mapped[1]);
        let rest = if at < end { self.halves[half].remove_free(at) } else { 0 };
        self.halves[half].add_free(at, rest + more, Self::base(half));
        Some(at)
    }

    /// Unmaps whole pages that are free at the ends.
    fn give_back_ends(&mut self) {
        for half in 0..2 {
            let page = if half == 0 { SMALL_SEGMENT } else { LARGE_SEGMENT };
            let (at, base) = (self.last_free(half), Self::base(half));
            let keep = (at - base).next_multiple_of(page).min(self.mapped[half]);
            if keep < self.mapped[half] {
                self.halves[half].remove_free(at);
                if base + keep > at {
                    self.halves[half].add_free(at, base + keep - at, base);
                }
                self.mapped[half] = keep;
            }
        }
    }
}

impl Policy for Expandable {
    type Handle = (usize, u64);

    fn allocate(&mut self, size: u64) -> Option<Granted<(usize, u64)>> {
        let size = size.next_multiple_of(UNIT);
        let half = usize::from(size > SMALL);
        let last = self.last_free(half);
        let mut fitting = self.halves[half].by_size.range((size, 0)..).map(|&(_, at)| at);
        let found = match fitting.next() {
            Some(at) if at == last => fitting.next().or(Some(at)),
            found => found,
        };
        let at = match found {
            Some(at) => at,
            None => self.grow(half, size)?,
        };
        let taken = self.halves[half].take(at, size, UNIT);
        Some(Granted { handle: (half, at), offset: at, size: taken })
    }

    fn free(&mut self, (half, at): (usize, u64)) {
        self.halves[half].free(at);
    }

    fn peak_committed(&self) -> Option<u64> {
        Some(self.peak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn segments_are_those_of_the_source() {
        let mut native = Native::new(u64::MAX);
        let small = native.allocate(100).unwrap();
        assert_eq!((small.size, native.peak), (512, 2 * MIB));
        native.allocate(3 * MIB).unwrap();
        assert_eq!(native.peak, 22 * MIB);
        native.allocate(11 * MIB).unwrap();
        assert_eq!(native.peak, 22 * MIB, "from the 17 MiB that are left of the 20");
        native.allocate(11 * MIB).unwrap();
        assert_eq!(native.peak, 34 * MIB);
    }

    #[test]
    fn a_rest_of_up_to_a_mebibyte_is_not_split_off() {
        let mut native = Native::new(u64::MAX);
        let block = native.allocate(11 * MIB).unwrap();
        assert_eq!(block.size, 12 * MIB);
        native.free(block.handle);
        let smaller = native.allocate(10 * MIB).unwrap();
        assert_eq!((smaller.offset, smaller.size, native.peak), (0, 10 * MIB, 12 * MIB));
    }

    #[test]
    fn what_is_idle_goes_before_out_of_memory() {
        let mut native = Native::new(40 * MIB);
        let block = native.allocate(30 * MIB).unwrap();
        native.free(block.handle);
        assert!(native.allocate(36 * MIB).is_some());
        assert!(native.allocate(6 * MIB).is_none());
        let mut expandable = Expandable::new(40 * MIB);
        let block = expandable.allocate(30 * MIB).unwrap();
        assert_eq!(expandable.peak, 40 * MIB);
        expandable.free(block.handle);
        assert!(expandable.allocate(36 * MIB).is_some());
        assert!(expandable.allocate(6 * MIB).is_none());
    }

    #[test]
    fn an_expandable_end_is_taken_last() {
        let mut expandable = Expandable::new(u64::MAX);
        let a = expandable.allocate(2 * MIB).unwrap();
        let _b = expandable.allocate(15 * MIB).unwrap();
        expandable.free(a.handle);
        // 2 MiB free at the start, 3 at the end.
        assert_eq!(expandable.allocate(2 * MIB).unwrap().offset, a.offset);
        assert_eq!(expandable.peak, 20 * MIB);
    }
}
