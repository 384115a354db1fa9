//! How planning got on, for whoever asks afterwards, and for whoever watches; and whether there is still anything to look for.
//!
//! Bounds and arenas come in as they are found. Once a bound of any part is above the capacity nothing fits, and searches are over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::allocation::PlanStep;
use super::search::Observer;
use vramkit_units::ByteSize;

/// Writes down how planning gets on, and passes it on.
pub(super) struct StepRecorder<'a> {
    start: Instant,
    observer: &'a dyn Observer,
    /// The part at work, its tensors, and the method.
    now: Mutex<(usize, usize, String)>,
    steps: Mutex<Steps>,
    /// What is to be reached, and whether it is known that it cannot be.
    capacity: ByteSize,
    is_refuted: AtomicBool,
}

/// What was written down, and the last bound and arena of each part.
#[derive(Default)]
struct Steps {
    all: Vec<PlanStep>,
    last: Vec<(ByteSize, ByteSize)>,
}

impl<'a> StepRecorder<'a> {
    /// For a plan that is begun now; without a capacity nothing is refuted.
    pub(super) fn new(start: Instant, capacity: Option<ByteSize>, observer: &'a dyn Observer) -> Self {
        let capacity = capacity.unwrap_or(ByteSize::MAX);
        Self {
            start,
            observer,
            now: Mutex::default(),
            steps: Mutex::default(),
            capacity,
            is_refuted: AtomicBool::new(false),
        }
    }

    /// Hears what no arena for all, or for a part, is below.
    pub(super) fn prove(&self, bound: ByteSize) {
        if bound > self.capacity {
            self.is_refuted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether somebody wants planning to end. First answers are given where a capacity is refuted, too.
    pub(super) fn is_stopped(&self) -> bool {
        self.observer.is_cancelled()
    }

    /// How many parts there were so far.
    pub(super) fn parts(&self) -> usize {
        lock(&self.steps).last.len()
    }

    /// What is at work from here on.
    pub(super) fn begin(&self, part: usize, tensors: usize, method: &str) {
        *lock(&self.now) = (part, tensors, method.to_owned());
    }

    pub(super) fn into_steps(self) -> Vec<PlanStep> {
        self.steps.into_inner().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Observer for StepRecorder<'_> {
    fn progress(&self, bound: ByteSize, arena: ByteSize) {
        self.prove(bound);
        let (part, tensors, method) = lock(&self.now).clone();
        let mut steps = lock(&self.steps);
        let known = steps.last.get(part).copied();
        if known != Some((bound, arena)) {
            let until = steps.last.len().max(part + 1);
            steps.last.resize(until, Default::default());
            steps.last[part] = (bound, arena);
            let elapsed = self.start.elapsed();
            steps.all.push(PlanStep { elapsed, part, tensors, method, bound, arena });
        }
        drop(steps);
        self.observer.progress(bound, arena);
    }

    fn is_cancelled(&self) -> bool {
        self.is_stopped() || self.is_refuted.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
