//! How long orders are looked for, and who may end that earlier.

use std::time::{Duration, Instant};

use crate::planner::later;
use crate::search::Observer;
use vramkit_units::ByteSize;

/// When a search for an order is to end with the best so far.
///
/// ```
/// use std::time::Duration;
/// use vramkit_plan::OrderBudget;
///
/// assert!(OrderBudget::new(Duration::ZERO, &()).is_over());
/// assert!(!OrderBudget::new(Duration::MAX, &()).is_over());
/// ```
#[derive(Clone, Copy)]
pub struct OrderBudget<'a> {
    deadline: Instant,
    observer: &'a dyn Observer,
    seed: u64,
    capacity: ByteSize,
}

impl<'a> OrderBudget<'a> {
    /// From now on for so long, unless the observer ends it.
    pub fn new(time: Duration, observer: &'a dyn Observer) -> Self {
        Self { deadline: later(Instant::now(), time), observer, seed: 0, capacity: ByteSize::MAX }
    }

    /// With a seed for the choice between what looks the same.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// With the most that may be live: a search ends once it knows that no order has so little.
    pub fn capacity(self, capacity: ByteSize) -> Self {
        Self { capacity, ..self }
    }

    /// Whether no order is any use where none is below a bound, in bytes.
    pub(super) fn is_hopeless(&self, bound: u64) -> bool {
        bound > self.capacity.bytes()
    }

    pub(super) fn first_seed(&self) -> u64 {
        self.seed
    }

    /// An equal part of what is left, for the first of so many searches that come one after the other.
    pub fn share(&self, searches: usize) -> Self {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let time = left / u32::try_from(searches.max(1)).unwrap_or(u32::MAX);
        Self { deadline: later(Instant::now(), time), ..*self }
    }

    /// Whether it is time to stop.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.deadline || self.observer.is_cancelled()
    }
}
