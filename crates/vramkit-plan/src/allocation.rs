//! The answer of the planner: an offset for each tensor, the arena, and how far it can be from the optimum.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::analyzer::pairs_apart;
use super::lifetime::{Model, Schedule, TensorLifetime};
use super::problem::{Compiled, collect};
use vramkit_units::{ByteSize, Step};

/// One model's share of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSummary {
    /// Its name.
    pub name: Arc<str>,
    /// How many tensors it has.
    pub tensors: usize,
    /// Bytes of all of them: what it takes when nothing is shared.
    pub sum_of_sizes: ByteSize,
    /// Most bytes live at one time: what it takes alone, at best.
    pub live_peak: ByteSize,
    /// Bytes of parameters, which no plan shares.
    pub weights: ByteSize,
}

impl ModelSummary {
    /// Of a model whose tensors are at most so many bytes together at one time.
    pub(super) fn new(model: &Model, live_peak: ByteSize) -> Self {
        Self {
            name: model.name.clone(),
            tensors: model.tensors.len(),
            sum_of_sizes: model.tensors.iter().map(|tensor| tensor.size).sum(),
            live_peak,
            weights: model.weights,
        }
    }
}

/// Offsets for the tensors of one or several models in one arena, for one schedule.
#[derive(Clone, Debug, PartialEq)]
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

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanFault {
    /// The plan has no place for a tensor.
    #[error("tensor `{id}` of `{model}` is not in the plan")]
    Missing {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
    },
    /// The plan was made for another life or size of a tensor.
    #[error("tensor `{id}` of `{model}` is not the one that the plan was made for")]
    Changed {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
    },
    /// A tensor does not end inside the arena.
    #[error("tensor `{id}` of `{model}` ends outside the arena of {arena}")]
    OutOfBounds {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
        /// The arena.
        arena: ByteSize,
    },
    /// An offset is not a multiple of its tensor's alignment, or not where its pin or alias group has it.
    #[error("tensor `{id}` of `{model}` is at {offset}, against its alignment, its pin or its alias group")]
    Misplaced {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
        /// Its offset, in bytes.
        offset: u64,
    },
    /// Two tensors are live together and overlap in addresses.
    #[error("`{}` of `{}` and `{}` of `{}` are live together and overlap in addresses", .0.1, .0.0, .1.1, .1.0)]
    Overlap((Arc<str>, Arc<str>), (Arc<str>, Arc<str>)),
}

impl AllocationPlan {
    /// Bytes of all tensors: what it takes when nothing is shared.
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

    /// How far the arena is above the lower bound, as a fraction of the bound; 0 for an empty plan.
    pub fn gap_ratio(&self) -> f64 {
        (self.arena_size.saturating_sub(self.lower_bound)).ratio_of(self.lower_bound)
    }

    /// The part of `whole` that the arena saves, 0..1; negative when it is larger.
    pub fn reduction_of(&self, whole: ByteSize) -> f64 {
        if whole.is_zero() { 0.0 } else { 1.0 - self.arena_size.ratio_of(whole) }
    }

    /// The step at which most bytes are live, and the places in [`tensors`](Self::tensors) of those that are. `None`
    /// for an empty plan, and under the concurrent schedule, where every model has its own.
    pub fn fullest_step(&self) -> Option<(Step, Vec<usize>)> {
        if self.schedule == Schedule::Concurrent {
            return None;
        }
        let compiled = collect(self.tensors.iter()).ok()?.0;
        let loads = compiled.problem.loads();
        // The first of equals.
        let rank = (0..loads.len()).rev().max_by_key(|&rank| loads[rank])?;
        let step = Step(compiled.steps[rank]);
        let live = |&i: &usize| self.tensors[i].takes_room() && self.tensors[i].is_live_at(step);
        Some((step, (0..self.tensors.len()).filter(live).collect()))
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

    /// Whether the plan is sound for these lifetimes; see [`check`](Self::check).
    pub fn is_valid(&self, lifetimes: &[TensorLifetime]) -> bool {
        self.check(lifetimes).is_ok()
    }

    /// Checks that every lifetime is in the plan as it was planned, inside the arena and where its alignment
    /// and pin want it, and that no two that may be live together under the plan's schedule overlap (tensors of
    /// one alias group excepted). O(n log n). Every plan that a planner gives out has passed it.
    pub fn check(&self, lifetimes: &[TensorLifetime]) -> Result<(), PlanFault> {
        if std::ptr::eq(lifetimes, &*self.tensors) && lifetimes.len() == self.offsets.len() {
            self.check_places()?;
            return self.check_overlaps(lifetimes, &self.offsets);
        }
        let places: HashMap<(&str, &str), usize> =
            (0..self.tensors.len()).map(|i| ((&*self.tensors[i].model, &*self.tensors[i].id), i)).collect();
        let mut offsets = Vec::with_capacity(lifetimes.len());
        for tensor in lifetimes {
            let (model, id) = (tensor.model.clone(), tensor.id.clone());
            let Some(&place) = places.get(&(&*model, &*id)) else {
                return Err(PlanFault::Missing { model, id });
            };
            let planned = &self.tensors[place];
            let life = |tensor: &TensorLifetime| (tensor.start, tensor.end, tensor.size);
            if life(planned) != life(tensor) || planned.gaps != tensor.gaps {
                return Err(PlanFault::Changed { model, id });
            }
            let offset = self.offsets[place];
            self.check_place(tensor, offset)?;
            offsets.push(offset);
        }
        self.check_overlaps(lifetimes, &offsets)
    }

    /// As [`check`](Self::check) with the plan's own tensors, whose groups were compiled already: all of them, or each
    /// model's.
    pub(super) fn check_compiled(&self, groups: &[&Compiled]) -> Result<(), PlanFault> {
        self.check_places()?;
        let mut first = 0;
        let ranges: Vec<std::ops::Range<usize>> = groups
            .iter()
            .map(|group| {
                let range = first..first + group.buffer_of.len();
                first = range.end;
                range
            })
            .collect();
        for (range, compiled) in ranges.iter().zip(groups) {
            check_group(range.clone(), compiled, &self.tensors, &self.offsets)?;
        }
        check_apart(ranges, &self.tensors, &self.offsets)
    }

    /// Whether every tensor of the plan is inside the arena, where its alignment and pin want it.
    fn check_places(&self) -> Result<(), PlanFault> {
        self.tensors.iter().zip(&self.offsets).try_for_each(|(tensor, &at)| self.check_place(tensor, at))
    }

    fn check_place(&self, tensor: &TensorLifetime, offset: ByteSize) -> Result<(), PlanFault> {
        let name = || (tensor.model.clone(), tensor.id.clone());
        if tensor.pinned.is_some_and(|pin| pin != offset) || !offset.bytes().is_multiple_of(tensor.alignment)
        {
            let (model, id) = name();
            return Err(PlanFault::Misplaced { model, id, offset: offset.bytes() });
        }
        let ends_inside = || offset.checked_add(tensor.size).is_some_and(|end| end <= self.arena_size);
        if tensor.takes_room() && !ends_inside() {
            let (model, id) = name();
            return Err(PlanFault::OutOfBounds { model, id, arena: self.arena_size });
        }
        Ok(())
    }

    fn check_overlaps(&self, lifetimes: &[TensorLifetime], offsets: &[ByteSize]) -> Result<(), PlanFault> {
        let all: Vec<usize> = (0..lifetimes.len()).collect();
        let mut groups: Vec<Vec<usize>> = vec![all];
        if self.schedule == Schedule::Concurrent {
            let mut models: HashMap<&str, Vec<usize>> = HashMap::new();
            for (i, tensor) in lifetimes.iter().enumerate() {
                models.entry(&tensor.model).or_default().push(i);
            }
            groups = models.into_values().collect();
        }
        for group in &groups {
            // Aliases whose constraints contradict one another cannot have been planned.
            if let Ok((compiled, _)) = collect(group.iter().map(|&i| &lifetimes[i])) {
                check_group(group.iter().copied(), &compiled, lifetimes, offsets)?;
            }
        }
        check_apart(groups, lifetimes, offsets)
    }
}

fn name(tensor: &TensorLifetime) -> (Arc<str>, Arc<str>) {
    (tensor.model.clone(), tensor.id.clone())
}

/// Whether no two tensors of a group on one clock are live together and overlap, and alias groups are in one place.
fn check_group(
    group: impl Iterator<Item = usize>,
    compiled: &Compiled,
    lifetimes: &[TensorLifetime],
    offsets: &[ByteSize],
) -> Result<(), PlanFault> {
    let mut placed: Vec<Option<u64>> = Vec::with_capacity(compiled.problem.buffers.len());
    let mut tensor_of: Vec<usize> = Vec::with_capacity(compiled.problem.buffers.len());
    for (i, buffer) in group.zip(&compiled.buffer_of) {
        let Some(buffer) = buffer.map(|buffer| buffer as usize) else {
            continue;
        };
        let offset = offsets[i].bytes();
        if buffer == placed.len() {
            placed.push(Some(offset));
            tensor_of.push(i);
        } else if placed[buffer] != Some(offset) {
            let (model, id) = name(&lifetimes[i]);
            return Err(PlanFault::Misplaced { model, id, offset });
        }
    }
    match compiled.problem.first_clash(&placed) {
        Some((a, b)) => {
            Err(PlanFault::Overlap(name(&lifetimes[tensor_of[a]]), name(&lifetimes[tensor_of[b]])))
        }
        None => Ok(()),
    }
}

/// Whether groups that may be live together at any time have no addresses in common: as if all of each group's
/// tensors lived always.
fn check_apart(
    groups: Vec<impl IntoIterator<Item = usize>>,
    lifetimes: &[TensorLifetime],
    offsets: &[ByteSize],
) -> Result<(), PlanFault> {
    if groups.len() < 2 {
        return Ok(());
    }
    let spans = groups.into_iter().flat_map(|group| merged(group, lifetimes, offsets));
    let mut spans: Vec<(u64, u64, usize)> = spans.collect();
    spans.sort_unstable();
    for pair in spans.windows(2) {
        if pair[1].0 < pair[0].1 {
            return Err(PlanFault::Overlap(name(&lifetimes[pair[0].2]), name(&lifetimes[pair[1].2])));
        }
    }
    Ok(())
}

/// The addresses that a model's tensors take at any time: ranges that do not overlap, each with one of its
/// tensors.
pub(super) fn merged(
    group: impl IntoIterator<Item = usize>,
    lifetimes: &[TensorLifetime],
    offsets: &[ByteSize],
) -> Vec<(u64, u64, usize)> {
    let mut spans: Vec<(u64, u64, usize)> = group
        .into_iter()
        .filter(|&i| lifetimes[i].takes_room())
        .map(|i| (offsets[i].bytes(), (offsets[i] + lifetimes[i].size).bytes(), i))
        .collect();
    spans.sort_unstable();
    spans.dedup_by(|next, last| {
        let joins = next.0 <= last.1;
        if joins {
            last.1 = last.1.max(next.1);
        }
        joins
    });
    spans
}
