//! The last of what was pushed, each numbered from 0. The oldest go when it is full, and are counted. No locks, no I/O.

use std::collections::VecDeque;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Ring<T> {
    items: VecDeque<T>,
    capacity: usize,
    /// How many were ever pushed: the number of the next.
    pushed: u64,
    /// How many went to make room.
    dropped: u64,
}

impl<T: Clone> Ring<T> {
    /// Keeps `capacity` of them, at least one.
    pub(super) fn new(capacity: usize) -> Self {
        Self { items: VecDeque::new(), capacity: capacity.max(1), pushed: 0, dropped: 0 }
    }

    /// The number that the next one will have.
    pub(super) fn next_number(&self) -> u64 {
        self.pushed
    }

    pub(super) fn push(&mut self, item: T) {
        if self.items.len() == self.capacity {
            self.items.pop_front();
            self.dropped += 1;
        }
        self.items.push_back(item);
        self.pushed += 1;
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// All that are kept, oldest first.
    pub(super) fn all(&self) -> Vec<T> {
        self.items.iter().cloned().collect()
    }

    /// The last `n`, oldest first.
    pub(super) fn last(&self, n: usize) -> Vec<T> {
        self.items.iter().skip(self.items.len().saturating_sub(n)).cloned().collect()
    }

    /// Takes all that are kept out. They do not count as dropped.
    pub(super) fn drain(&mut self) -> Vec<T> {
        std::mem::take(&mut self.items).into()
    }

    /// Those from number `*position` on, which moves behind them, and how many of them are no longer kept.
    pub(super) fn since(&self, position: &mut u64) -> (Vec<T>, u64) {
        let first = self.pushed - self.items.len() as u64;
        let missed = first.saturating_sub(*position);
        let skip = (*position).max(first) - first;
        *position = self.pushed;
        (self.items.iter().skip(skip as usize).cloned().collect(), missed)
    }
}
