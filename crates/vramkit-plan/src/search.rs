//! The interface between the planner and what improves on its first answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use vramkit_units::ByteSize;

use super::placement::Placement;
use super::problem::Problem;

/// Improves on a placement within a deadline: where exact and local searches go. Called for each part of a
/// problem whose arena is above its bound, the fullest first.
///
/// ```
/// use vramkit_plan::{Found, Goal, MemoryPlanner, Placement, Problem, Search};
///
/// /// Everything one above the other, which is seldom better.
/// struct Tower;
///
/// impl Search for Tower {
///     fn name(&self) -> &str {
///         "tower"
///     }
///     fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
///         let mut top = vramkit_units::ByteSize::ZERO;
///         let offsets = problem.buffers.iter().map(|buffer| {
///             let at = top.checked_align_up(buffer.alignment).unwrap_or(top);
///             top = at + buffer.size;
///             at
///         });
///         let tower = Placement::new(problem, offsets.collect());
///         Found { placement: Some(tower).filter(|tower| tower.arena < incumbent.arena), bound: goal.bound }
///     }
/// }
///
/// let planner = MemoryPlanner::new().search(Box::new(Tower));
/// ```
pub trait Search: Send + Sync {
    /// How the search is named in [`AllocationPlan::method`](super::AllocationPlan::method).
    fn name(&self) -> &str;

    /// A placement with a smaller arena than `incumbent`'s, a proof of how small one can be, or both.
    fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found;
}

/// What a [`Search`] is to reach, and by when.
#[derive(Clone, Copy)]
pub struct Goal<'a> {
    /// No arena is smaller.
    pub bound: ByteSize,
    /// An arena of this size, at least the bound, need not be improved.
    pub enough: ByteSize,
    /// When to stop.
    pub deadline: Instant,
    /// Where random choices start.
    pub seed: u64,
    /// How many threads may work.
    pub threads: usize,
    /// Whom to tell, and who may end it.
    pub observer: &'a dyn Observer,
}

impl Goal<'_> {
    /// The same, to end after a part of the time that is left.
    pub(super) fn sooner(&self, part: f64) -> Self {
        let left = self.deadline.saturating_duration_since(Instant::now());
        Self { deadline: self.deadline - left.mul_f64(1.0 - part), ..*self }
    }

    /// Whether it is time to stop.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.deadline || self.observer.is_cancelled()
    }
}

/// A search that gets a part of the time that is left, by the problem; with none of it, it is left out.
#[derive(Clone, Copy)]
pub(super) struct Part<S> {
    pub(super) search: S,
    pub(super) of_time: fn(&Problem) -> f64,
}

impl<S: Search> Search for Part<S> {
    fn name(&self) -> &str {
        self.search.name()
    }

    fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
        match (self.of_time)(problem) {
            0.0 => Found { placement: None, bound: goal.bound },
            part => self.search.improve(problem, incumbent, &goal.sooner(part)),
        }
    }
}

/// What a [`Search`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// A placement with a smaller arena.
    pub placement: Option<Placement>,
    /// No arena is smaller than this: the goal's bound, or a larger one that was proven.
    pub bound: ByteSize,
}

/// Follows a search, and may end it early. An [`AtomicBool`] ends it once it is `true`.
pub trait Observer: Sync {
    /// Called now and then with the part of the problem at work: no arena of it is smaller than `bound`, and one
    /// of size `arena` is known. May be called on any thread.
    fn progress(&self, bound: ByteSize, arena: ByteSize) {
        _ = (bound, arena);
    }

    /// Whether the search is to end with what it has.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Nobody watches.
impl Observer for () {}

/// Raised to cancel.
impl Observer for AtomicBool {
    fn is_cancelled(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}
