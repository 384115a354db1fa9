//! States that were searched through without success, so that no other way to them is searched again.
//!
//! What can follow depends on the unplaced tensors, their supports and their bounds alone, however they came
//! about; a [`Key`] stands for them. Its lower half picks the slot and the upper half is compared, so that two
//! states are mistaken for one another with a probability of about 2^-63 a look: after 10^12 looks, about one in
//! ten million. The table has a fixed size, and what is new replaces what is old. A failure holds at every smaller
//! capacity too.

use super::key::Key;

/// See the [module](self).
pub(super) struct Failures {
    slots: Vec<u64>,
}

impl Failures {
    /// Room for `slots` failures, a power of two, eight bytes each.
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: vec![0; slots.next_power_of_two()] }
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
    }

    pub(super) fn clear(&mut self) {
        self.slots.fill(0);
    }
}
