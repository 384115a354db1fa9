//! A buddy allocator: blocks are powers of two at multiples of their size, halved and joined again. What kernels' video
//! memory managers do, with smaller blocks.

use std::collections::BTreeSet;

use vramkit_pool::pool::Request;

use crate::policy::{Granted, Policy};

/// Blocks of `[0, capacity)`, in a range that is the next power of two: what lies beyond the capacity is never granted.
pub(crate) struct Buddy {
    capacity: u64,
    /// Offsets of free blocks by the power of two of their size. Two buddies are never both free.
    free: Vec<BTreeSet<u64>>,
}

impl Buddy {
    pub(crate) fn new(capacity: u64) -> Self {
        let top = capacity.max(1).checked_next_power_of_two().map_or(u64::BITS - 1, u64::trailing_zeros);
        let mut free = vec![BTreeSet::new(); top as usize + 1];
        free[top as usize].insert(0);
        Self { capacity, free }
    }
}

impl Policy for Buddy {
    /// Offset and power of two.
    type Handle = (u64, usize);

    /// The smallest free block that fits, the lowest of those, halved as often as it can be.
    fn allocate(&mut self, size: u64) -> Option<Granted<(u64, usize)>> {
        let size = size.max(Request::ALIGNMENT).checked_next_power_of_two()?;
        let order = size.trailing_zeros() as usize;
        let (found, offset) = (order..self.free.len()).find_map(|order| {
            let lowest = *self.free[order].first()?;
            (lowest.checked_add(size)? <= self.capacity).then_some((order, lowest))
        })?;
        self.free[found].remove(&offset);
        for half in order..found {
            self.free[half].insert(offset + (1 << half));
        }
        Some(Granted { handle: (offset, order), offset, size })
    }

    /// Joins a block with its buddy while that is free.
    fn free(&mut self, (mut offset, mut order): (u64, usize)) {
        while order + 1 < self.free.len() && self.free[order].remove(&(offset ^ (1 << order))) {
            offset &= !(1 << order);
            order += 1;
        }
        self.free[order].insert(offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: u64 = Request::ALIGNMENT;

    /// Takes so many bytes; which of the smallest blocks its own begins at, and how many of those it is long.
    fn take(buddy: &mut Buddy, size: u64) -> Option<(u64, u64)> {
        buddy.allocate(size).map(|granted| (granted.offset / SMALLEST, granted.size / SMALLEST))
    }

    fn give_back(buddy: &mut Buddy, (at, length): (u64, u64)) {
        buddy.free((at * SMALLEST, (length * SMALLEST).trailing_zeros() as usize));
    }

    #[test]
    fn blocks_are_halved_and_joined() {
        let buddy = &mut Buddy::new(32 * SMALLEST);
        assert_eq!(take(buddy, 3 * SMALLEST), Some((0, 4)));
        assert_eq!(take(buddy, 1), Some((4, 1)), "no block is smaller than the pool's alignment");
        assert_eq!(take(buddy, 4 * SMALLEST + 1), Some((8, 8)));
        assert_eq!(take(buddy, SMALLEST + 1), Some((6, 2)), "the smallest free block that fits");
        assert_eq!(take(buddy, 16 * SMALLEST), Some((16, 16)));
        assert_eq!(take(buddy, 2 * SMALLEST), None);
        assert_eq!(take(buddy, SMALLEST), Some((5, 1)));
        assert_eq!(take(buddy, u64::MAX), None);
        // What is beside each other and no pair of buddies stays apart.
        give_back(buddy, (5, 1));
        give_back(buddy, (6, 2));
        assert_eq!(take(buddy, 3 * SMALLEST), None);
        give_back(buddy, (4, 1));
        assert_eq!(take(buddy, 3 * SMALLEST), Some((4, 4)));
        for block in [(16, 16), (4, 4), (0, 4), (8, 8)] {
            give_back(buddy, block);
        }
        assert_eq!(take(buddy, 32 * SMALLEST), Some((0, 32)), "all is one block again");
    }

    #[test]
    fn nothing_ends_beyond_a_capacity_that_is_no_power_of_two() {
        let buddy = &mut Buddy::new(31 * SMALLEST + SMALLEST / 2);
        assert_eq!(take(buddy, 17 * SMALLEST), None);
        let eights: Vec<_> = std::iter::from_fn(|| take(buddy, 8 * SMALLEST)).collect();
        assert_eq!(eights, [(0, 8), (8, 8), (16, 8)]);
        assert_eq!(take(buddy, 4 * SMALLEST), Some((24, 4)));
        assert_eq!(take(buddy, 4 * SMALLEST), None);
        assert_eq!(take(buddy, 2 * SMALLEST), Some((28, 2)));
        assert_eq!(take(buddy, 1), Some((30, 1)));
        assert_eq!(take(buddy, 1), None, "half a block is left");
        give_back(buddy, (16, 8));
        assert_eq!(take(buddy, 5 * SMALLEST), Some((16, 8)));
        assert_eq!(take(&mut Buddy::new(0), 1), None);
        assert_eq!(take(&mut Buddy::new(u64::MAX), 1 << 63), Some((0, (1 << 63) / SMALLEST)));
    }
}
