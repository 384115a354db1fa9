//! States that were searched through without success, so that no other way to them is searched again.
//!
//! What can follow depends on the unplaced tensors, their supports and their bounds alone, however they came
//! about; a [`Key`] stands for them. Its lower half picks the slot and the upper half is compared, so that two
//! states are mistaken for one another with a probability of about 2^-63 a look: after 10^12 looks, about one in
//! ten million. The table has a fixed size, and what is new replaces what is old. A failure holds at every smaller
//! capacity too.

use super::key::Key;

/// Slots of a new table for each tensor, most of them, and most slots of a table that has grown (32 MiB).
const EACH: usize = 256;
const FIRST: usize = 1 << 16;
const MOST: usize = 1 << 22;

/// See the [module](self).
pub(super) struct Failures {
    slots: Vec<u64>,
    inserted: usize,
}

impl Failures {
    pub(super) fn new(tensors: usize) -> Self {
        Self { slots: vec![0; (EACH * tensors).next_power_of_two().min(FIRST)], inserted: 0 }
    }

    fn place(&self, key: Key) -> (usize, u64) {
        // 0 marks an empty slot.
        (key.slot() & (self.slots.len() - 1), key.tag() | 1)
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        let (slot, tag) = self.place(key);
        self.slots[slot] == tag
    }

    pub(super) fn insert(&mut self, key: Key) {
        let (slot, tag) = self.place(key);
        self.slots[slot] = tag;
        self.inserted += 1;
    }

    /// Makes room where the table has filled up; what it held is forgotten, and soon found again.
    pub(super) fn grow(&mut self) {
        if self.inserted > self.slots.len() && self.slots.len() < MOST {
            *self = Self { slots: vec![0; self.slots.len() * 8], inserted: 0 };
        }
    }

    pub(super) fn clear(&mut self) {
        if self.inserted > 0 {
            self.slots.fill(0);
            self.inserted = 0;
        }
    }
}
