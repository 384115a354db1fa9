//! An exact best fit over two B-trees, free blocks by size and by address: what the pool's fit is measured against.

use std::collections::{BTreeMap, BTreeSet};

use vramkit_pool::pool::Request;

/// An exact best fit.
///
/// ```
/// use vramkit_replay::BestFit;
///
/// let mut fit = BestFit::new(1 << 20);
/// let block = fit.take_smallest(1000).expect("a whole MiB is free");
/// assert_eq!(block.0, 0);
/// fit.give_back(block);
/// assert!(fit.take_smallest(1 << 20).is_some());
/// ```
///
/// Free blocks of `[0, capacity)`. Offsets and sizes are multiples of [`Request::ALIGNMENT`] bytes.
#[derive(Clone, Debug)]
pub struct BestFit {
    by_size: BTreeSet<(u64, u64)>,
    by_offset: BTreeMap<u64, u64>,
}

impl BestFit {
    /// One free block of `capacity` bytes, rounded down.
    pub fn new(capacity: u64) -> Self {
        let mut fit = Self { by_size: BTreeSet::new(), by_offset: BTreeMap::new() };
        fit.insert(0, capacity / Request::ALIGNMENT * Request::ALIGNMENT);
        fit
    }

    /// Takes the smallest free block that holds `size` bytes, the lowest of those: its offset and size.
    pub fn take_smallest(&mut self, size: u64) -> Option<(u64, u64)> {
        let size = size.next_multiple_of(Request::ALIGNMENT);
        let &(found, offset) = self.by_size.range((size, 0)..).next()?;
        Some(self.take(offset, found, size))
    }

    /// Takes the lowest free block that holds `size` bytes, found by a walk: its offset and size.
    pub fn take_lowest(&mut self, size: u64) -> Option<(u64, u64)> {
        let size = size.next_multiple_of(Request::ALIGNMENT);
        let (&offset, &found) = self.by_offset.iter().find(|(_, found)| **found >= size)?;
        Some(self.take(offset, found, size))
    }

    /// Gives a block back that was taken; it joins free neighbours.
    pub fn give_back(&mut self, (mut offset, mut size): (u64, u64)) {
        if let Some((&below, &length)) = self.by_offset.range(..offset).next_back()
            && below + length == offset
        {
            self.remove(below, length);
            (offset, size) = (below, size + length);
        }
        if let Some(&length) = self.by_offset.get(&(offset + size)) {
            self.remove(offset + size, length);
            size += length;
        }
        self.insert(offset, size);
    }

    /// Bytes that are free.
    pub fn free(&self) -> u64 {
        self.by_offset.values().sum()
    }

    /// Bytes of the largest free block.
    pub fn largest(&self) -> u64 {
        self.by_size.last().map_or(0, |&(size, _)| size)
    }

    fn take(&mut self, offset: u64, found: u64, size: u64) -> (u64, u64) {
        self.remove(offset, found);
        self.insert(offset + size, found - size);
        (offset, size)
    }

    fn insert(&mut self, offset: u64, size: u64) {
        if size > 0 {
            self.by_size.insert((size, offset));
            self.by_offset.insert(offset, size);
        }
    }

    fn remove(&mut self, offset: u64, size: u64) {
        self.by_size.remove(&(size, offset));
        self.by_offset.remove(&offset);
    }
}
