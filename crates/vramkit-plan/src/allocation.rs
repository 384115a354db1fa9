//! The answer of the planner: an offset for each tensor, the arena, and how far it can be from the optimum.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::analyzer::pairs_apart;
use super::lifetime::{Model, Schedule, TensorLifetime, sum_of_sizes};
use super::problem::{Problem, collect};
use vramkit_units::{ByteSize, Step};

/// One model's share of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelSummary {
    /// Its name.
    pub name: Arc<str>,
    /// How many tensors it has.
    pub tensors: usize,
    /// Bytes of all of them that ever live: what it takes when nothing is shared.
    pub sum_of_sizes: ByteSize,
    /// Most bytes live at one time: what it takes alone, at best.
    pub live_peak: ByteSize,
    /// No arena for it alone is smaller, given its tensors' alignments: at least the live peak.
    pub aligned_peak: ByteSize,
    /// Bytes of parameters, which no plan shares.
    pub weights: ByteSize,
}

impl ModelSummary {
    /// Of a model, and its tensors as a problem.
    pub(super) fn new(model: &Model, problem: &Problem) -> Self {
        Self {
            name: model.name.clone(),
            tensors: model.tensors.len(),
            sum_of_sizes: sum_of_sizes(&model.tensors),
            live_peak: problem.max_load(),
            aligned_peak: problem.aligned_load(),
            weights: model.weights,
        }
    }
}

/// Offsets for the tensors of one or several models in one arena, for one schedule.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AllocationPlan {
    /// What the plan is sound under.
    pub schedule: Schedule,
    /// The tensors, on the schedule's clock.
    pub tensors: Arc<[TensorLifetime]>,
    /// The offset of each, in bytes from the arena's start.
    pub offsets: Vec<ByteSize>,
    /// The highest end of any tensor that takes room: one without bytes or without steps takes none.
    pub arena_size: ByteSize,
    /// Most bytes live at one time.
    pub lower_bound: ByteSize,
    /// No arena is smaller than this: at least the lower bound, more where a search has proven more.
    pub proven_bound: ByteSize,
    /// Whether no smaller arena exists.
    pub proven_optimal: bool,
    /// The models, in the order given.
    pub models: Vec<ModelSummary>,
    /// What found the plan.
    pub method: String,
    /// How planning got on: every part's first answer, and whatever improved on it.
    pub steps: Vec<PlanStep>,
    /// Why the capacity that was asked for cannot be met, when that is proven.
    pub conflict: Option<Conflict>,
    /// How long planning took.
    pub elapsed: Duration,
}

/// A moment of planning.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanStep {
    /// Since planning began.
    pub elapsed: Duration,
    /// Which part: parts are times between which nothing is live; under the concurrent schedule each model's, then all
    /// models together.
    pub part: usize,
    /// How many tensors (or alias groups) it has.
    pub tensors: usize,
    /// What was at work.
    pub method: String,
    /// No arena of the part is smaller, as was known then.
    pub bound: ByteSize,
    /// The smallest arena of the part that was known then.
    pub arena: ByteSize,
}

/// Tensors that alone cannot be placed within a capacity.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// Their places in [`AllocationPlan::tensors`].
    pub tensors: Vec<usize>,
    /// The step at which all of them are live, when that is the reason; else no single step is.
    pub step: Option<Step>,
    /// No arena for them is smaller.
    pub needs: ByteSize,
    /// Whether it is known that without any one of them the others would fit.
    pub irreducible: bool,
}

/// A place that is taken at a step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LivePlace {
    /// Its bytes: the tensor's, or as many as the largest tensor of an alias group has, which may not be live itself.
    pub size: ByteSize,
    /// The tensors that are live in it, as places in [`AllocationPlan::tensors`]: one, or some of an alias group.
    pub tensors: Vec<usize>,
}

impl AllocationPlan {
    /// Bytes of all tensors that ever live: what it takes when nothing is shared.
    pub fn sum_of_sizes(&self) -> ByteSize {
        self.models.iter().map(|model| model.sum_of_sizes).sum()
    }

    /// Bytes of all models' live peaks: what it takes when each model shares with itself alone, at best.
    pub fn sum_of_peaks(&self) -> ByteSize {
        self.models.iter().map(|model| model.live_peak).sum()
    }

    /// Bytes of all models' parameters.
    pub fn weights(&self) -> ByteSize {
        self.models.iter().map(|model| model.weights).sum()
    }

    /// How far the arena is above the proven bound, as a fraction of the bound; 0 for an empty plan.
    pub fn gap_ratio(&self) -> f64 {
        self.arena_size.saturating_sub(self.proven_bound).ratio_of(self.proven_bound)
    }

    /// The part of `whole` that the arena saves, 0..1; 0 when it is larger.
    pub fn reduction_of(&self, whole: ByteSize) -> f64 {
        whole.saturating_sub(self.arena_size).ratio_of(whole)
    }

    /// The step at which most bytes are live, and what is live there, which adds up to the [live peak](Self::lower_bound). `None`
    /// for an empty plan, and under the concurrent schedule, where every model has its own.
    pub fn fullest_step(&self) -> Option<(Step, Vec<LivePlace>)> {
        if self.schedule == Schedule::Concurrent {
            return None;
        }
        let compiled = collect(self.tensors.iter()).ok()?.0;
        let loads = compiled.problem.loads();
        // The first of equals.
        let rank = (0..loads.len()).rev().max_by_key(|&rank| loads[rank])?;
        let step = Step(compiled.steps[rank]);
        let mut places: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (i, &buffer) in compiled.buffer_of.iter().enumerate() {
            if let Some(buffer) = buffer.filter(|_| self.tensors[i].is_live_at(step)) {
                places.entry(buffer).or_default().push(i);
            }
        }
        let size = |buffer: u32| compiled.problem.buffers[buffer as usize].size;
        let places = places.into_iter().map(|(buffer, tensors)| LivePlace { size: size(buffer), tensors });
        Some((step, places.collect()))
    }

    /// The place of a model's tensors in [`tensors`](Self::tensors).
    pub fn tensors_of<'a>(
        &'a self,
        model: &'a str,
    ) -> impl Iterator<Item = (&'a TensorLifetime, ByteSize)> + 'a {
        self.tensors
            .iter()
            .zip(self.offsets.iter().copied())
            .filter(move |(tensor, _)| &*tensor.model == model)
    }

    /// Some of the models as they were planned, on the plan's clock, to be planned again.
    pub fn models_named(&self, wanted: impl Fn(&str) -> bool) -> Vec<Model> {
        let model = |summary: &ModelSummary| Model {
            name: summary.name.clone(),
            weights: summary.weights,
            start: Step(0),
            tensors: self.tensors_of(&summary.name).map(|(tensor, _)| tensor.clone()).collect(),
        };
        self.models.iter().filter(|summary| wanted(&summary.name)).map(model).collect()
    }

    /// Pairs of tensors that have addresses in common (and so, in a valid plan, are never live together, or are
    /// of one alias group): a count, in O(n log n).
    pub fn shared_pairs(&self) -> u64 {
        let placed = self.tensors.iter().zip(&self.offsets).filter(|(tensor, _)| tensor.takes_room());
        let starts: Vec<u64> = placed.clone().map(|(_, offset)| offset.bytes()).collect();
        let ends = placed.map(|(tensor, offset)| offset.bytes() + tensor.size.bytes()).collect();
        let n = starts.len() as u64;
        (n * n.saturating_sub(1) / 2).saturating_sub(pairs_apart(starts, ends))
    }
}
