//! Whether a plan can be bound within a capacity at all, and what would fit if not.

use std::fmt;

use vramkit::ByteSize;
use vramkit::plan::{AllocationPlan, MemoryPlanner, Model, Schedule};
use vramkit::pool::Request;

/// A plan that does not fit, and what would.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", self.need(), list(alternatives))]
#[non_exhaustive]
pub struct CapacityShortage {
    /// The schedule planned for.
    pub schedule: Schedule,
    /// The plan's arena.
    pub arena_bytes: ByteSize,
    /// The weights that must be there at once.
    pub weights_bytes: ByteSize,
    /// The capacity given.
    pub capacity_bytes: ByteSize,
    /// What would fit; the last one is a larger capacity.
    pub alternatives: Vec<Alternative>,
}

/// Something that would fit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alternative {
    /// The same models under another schedule.
    Schedule {
        /// The schedule.
        schedule: Schedule,
        /// What it needs.
        bytes: ByteSize,
    },
    /// Some of the models.
    Models {
        /// Their names.
        models: Vec<String>,
        /// What they need, each for itself.
        bytes: ByteSize,
    },
    /// More memory.
    Capacity {
        /// The least capacity that the plan fits.
        bytes: ByteSize,
    },
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schedule { schedule, bytes } => write!(f, "the {schedule} schedule would fit ({bytes})"),
            Self::Models { models, bytes } => write!(f, "{} alone would fit ({bytes})", models.join(" and ")),
            Self::Capacity { bytes } => write!(f, "a capacity of {} bytes would do", bytes.bytes()),
        }
    }
}

fn list(alternatives: &[Alternative]) -> String {
    alternatives.iter().map(Alternative::to_string).collect::<Vec<_>>().join("; ")
}

impl CapacityShortage {
    /// What is needed and what there is, in words, without the alternatives.
    pub fn need(&self) -> String {
        let (arena, weights) = (self.arena_bytes, self.weights_bytes);
        let all = arena.checked_add(weights).unwrap_or(ByteSize::MAX);
        let (schedule, capacity) = (self.schedule, self.capacity_bytes);
        format!("the {schedule} plan needs {all} ({arena} arena, {weights} weights), capacity is {capacity}")
    }
}

/// Whether the plan can be bound: its arena with the weights that must be there at once, which under the sequential schedule
/// are one model's.
pub(crate) fn check(
    models: &[Model],
    plan: &AllocationPlan,
    capacity: ByteSize,
) -> Result<(), CapacityShortage> {
    let fits = |bytes: Option<ByteSize>| bytes.filter(|&bytes| bytes <= capacity);
    let (arena, weights) = need(plan);
    if fits(arena.checked_add(weights)).is_some() {
        return Ok(());
    }
    let other = [Schedule::Fixed, Schedule::Sequential].into_iter().filter(|&other| other != plan.schedule);
    let mut alternatives: Vec<Alternative> = other
        .filter_map(|schedule| {
            let (arena, weights) = need(&MemoryPlanner::new().plan(models, schedule).ok()?);
            let bytes = fits(arena.checked_add(weights))?;
            Some(Alternative::Schedule { schedule, bytes })
        })
        .collect();
    let (mut fitting, mut bytes) = (Vec::new(), ByteSize::ZERO);
    for model in &plan.models {
        let more = bytes.checked_add(model.live_peak).and_then(|sum| sum.checked_add(model.weights));
        if let Some(more) = fits(more) {
            bytes = more;
            fitting.push(model.name.to_string());
        }
    }
    if !fitting.is_empty() && fitting.len() < plan.models.len() {
        alternatives.push(Alternative::Models { models: fitting, bytes });
    }
    let bytes = arena.checked_add(weights).unwrap_or(ByteSize::MAX);
    alternatives.push(Alternative::Capacity { bytes });
    Err(CapacityShortage {
        schedule: plan.schedule,
        arena_bytes: plan.arena_size,
        weights_bytes: weights,
        capacity_bytes: capacity,
        alternatives,
    })
}

/// The arena, and the weights that must be there at once, as a pool grants them.
fn need(plan: &AllocationPlan) -> (ByteSize, ByteSize) {
    let weights = plan.models.iter().map(|model| Request::granted(model.weights));
    let weights = match plan.schedule {
        Schedule::Sequential => weights.max().unwrap_or_default(),
        Schedule::Fixed | Schedule::Concurrent => {
            weights.fold(ByteSize::ZERO, |sum, w| sum.checked_add(w).unwrap_or(ByteSize::MAX))
        }
    };
    (Request::granted(plan.arena_size), weights)
}
