//! What is to be planned: tensor lifetimes of models, put on one clock by a schedule.
//!
//! Models come in as a reader left them; out comes a flat list of lifetimes on one clock, checked: every error
//! names the model and the tensor.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::lifetime_error::LifetimeError;
use vramkit_units::{ByteSize, Step};

/// When a tensor lives and how much room it takes.
///
/// ```
/// use vramkit_plan::TensorLifetime;
/// use vramkit_units::{ByteSize, Step};
///
/// let early = TensorLifetime::new("net", "early", Step(0), Step(3), ByteSize::mib(4));
/// let late = TensorLifetime { alignment: 4096, ..TensorLifetime::new("net", "late", Step(3), Step(5), ByteSize::mib(4)) };
/// assert!(early.is_live_at(Step(2)) && !early.overlaps(&late));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorLifetime {
    /// Its name, unique in its model.
    pub id: Arc<str>,
    /// The model that it belongs to.
    pub model: Arc<str>,
    /// The step that makes it.
    pub start: Step,
    /// The first step that no longer needs it: it lives in `[start, end)`.
    pub end: Step,
    /// Steps of its life, ascending and apart from one another, during which its content does not matter: what
    /// lives only then may have its place, and what it holds must be made again at the end of each.
    pub gaps: Vec<(Step, Step)>,
    /// Its size.
    pub size: ByteSize,
    /// Its offset is a multiple of this many bytes, a power of two.
    pub alignment: u64,
    /// The offset that it must have, where it must have one.
    pub pinned: Option<ByteSize>,
    /// The offset at which a search may try it first, for example that of an earlier plan: a plan need not follow it.
    pub hint: Option<ByteSize>,
    /// Tensors of one model with the same group share one place although they may be live together (an operator
    /// that works in place).
    pub alias_group: Option<Arc<str>>,
    /// The pools that it may be in, the preferred first; any where there are none. See
    /// [`plan_pools`](super::MemoryPlanner::plan_pools).
    pub pools: Vec<Arc<str>>,
    /// The steps that read it, ascending; empty where only its end is known, which is then its one read.
    pub reads: Vec<Step>,
}

impl TensorLifetime {
    /// A tensor of `[start, end)` without constraints, aligned to 256 bytes as allocations are.
    pub fn new(model: &str, id: &str, start: impl Into<Step>, end: impl Into<Step>, size: ByteSize) -> Self {
        Self {
            id: id.into(),
            model: model.into(),
            start: start.into(),
            end: end.into(),
            gaps: Vec::new(),
            size,
            alignment: 256,
            pinned: None,
            hint: None,
            alias_group: None,
            pools: Vec::new(),
            reads: Vec::new(),
        }
    }

    /// Whether it lives during a step.
    pub fn is_live_at(&self, step: Step) -> bool {
        let in_gap = |&(start, end): &(Step, Step)| start <= step && step < end;
        self.start <= step && step < self.end && !self.gaps.iter().any(in_gap)
    }

    /// The runs of steps, half-open, during which it lives: its whole life, without its gaps.
    pub fn runs(&self) -> impl Iterator<Item = (Step, Step)> + '_ {
        without(self.start, self.end, self.gaps.iter().copied())
    }

    /// Whether it takes any room at any time; a tensor without bytes or without steps goes anywhere.
    pub fn takes_room(&self) -> bool {
        !self.size.is_zero() && self.end > self.start
    }

    /// Whether there is a step during which both live.
    pub fn overlaps(&self, other: &Self) -> bool {
        let meet = |a: (Step, Step), b: (Step, Step)| a.0.max(b.0) < a.1.min(b.1);
        meet((self.start, self.end), (other.start, other.end))
            && self.runs().any(|run| other.runs().any(|other| meet(run, other)))
    }

    /// The steps that read it: those that are known, or the last one of its life.
    pub fn read_steps(&self) -> impl Iterator<Item = Step> + '_ {
        let last = (self.reads.is_empty() && self.end > self.start).then(|| Step(self.end.0 - 1));
        self.reads.iter().copied().chain(last)
    }
}

/// One model's demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its name, unique in a workload.
    pub name: Arc<str>,
    /// Bytes of parameters, and of what is computed from them alone before it runs: held for as long as the model is bound and
    /// never shared.
    pub weights: ByteSize,
    /// When it starts under the fixed schedule: added to every step of its tensors.
    pub start: Step,
    /// Its tensors, on its own clock.
    pub tensors: Vec<TensorLifetime>,
}

/// How models run beside one another, which decides what they may share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// On one clock, each model from its start step.
    #[default]
    Fixed,
    /// One model at a time, in any order.
    Sequential,
    /// In any interleaving: only tensors of one model share.
    Concurrent,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fixed => "fixed",
            Self::Sequential => "sequential",
            Self::Concurrent => "concurrent",
        })
    }
}

/// What is left of `[start, end)` without gaps in it that are in order.
pub(super) fn without<T: Copy>(
    start: T,
    end: T,
    gaps: impl Iterator<Item = (T, T)> + Clone,
) -> impl Iterator<Item = (T, T)> + Clone {
    let starts = std::iter::once(start).chain(gaps.clone().map(|gap| gap.1));
    starts.zip(gaps.map(|gap| gap.0).chain(std::iter::once(end)))
}

/// Bytes of all tensors that ever live.
pub(super) fn sum_of_sizes(tensors: &[TensorLifetime]) -> ByteSize {
    tensors.iter().filter(|tensor| tensor.takes_room()).map(|tensor| tensor.size).sum()
}

/// Puts models on one clock. Under [`Schedule::Fixed`] each starts at its own step; under
/// [`Schedule::Sequential`] each starts where the one before has ended; under [`Schedule::Concurrent`] each
/// keeps its own clock, and steps of different models cannot be compared.
///
/// # Errors
/// Whatever planning relies on and does not hold; see [`LifetimeError`].
pub fn on_one_clock(models: &[Model], schedule: Schedule) -> Result<Vec<TensorLifetime>, LifetimeError> {
    let mut names = HashSet::new();
    let mut all = Vec::with_capacity(models.iter().map(|model| model.tensors.len()).sum());
    let mut clock = 0u64;
    let mut total = 0u64;
    for model in models {
        if !names.insert(&model.name) {
            return Err(LifetimeError::DuplicateModel(model.name.clone()));
        }
        total = total.checked_add(model.weights.bytes()).ok_or_else(|| LifetimeError::WeightsTooLarge {
            model: model.name.clone(),
            weights: model.weights,
        })?;
        let mut ids = HashSet::with_capacity(model.tensors.len());
        let first = model.tensors.iter().map(|tensor| tensor.start.0).min().unwrap_or(0);
        let mut last = clock;
        for tensor in &model.tensors {
            check(tensor)?;
            if !ids.insert(&tensor.id) {
                return Err(LifetimeError::DuplicateId { model: model.name.clone(), id: tensor.id.clone() });
            }
            // What takes no room is not placed: it adds nothing.
            let padded = match tensor.takes_room() {
                true => tensor
                    .pinned
                    .map_or(0, ByteSize::bytes)
                    .checked_add(tensor.alignment - 1)
                    .and_then(|beside| beside.checked_add(tensor.size.bytes())),
                false => Some(0),
            };
            total = padded.and_then(|padded| total.checked_add(padded)).ok_or_else(|| {
                LifetimeError::TooLarge { model: model.name.clone(), id: tensor.id.clone() }
            })?;
            let shift = |step: Step| {
                let moved = match schedule {
                    Schedule::Fixed => step.0.checked_add(model.start.0),
                    Schedule::Sequential => clock.checked_add(step.0 - first),
                    Schedule::Concurrent => Some(step.0),
                };
                moved.map(Step).ok_or_else(|| LifetimeError::ClockOverflow(model.name.clone()))
            };
            // Of its own size: of a million tensors what a list may grow by is much.
            let mut gaps = Vec::with_capacity(tensor.gaps.len());
            for gap in &tensor.gaps {
                gaps.push((shift(gap.0)?, shift(gap.1)?));
            }
            let moved = TensorLifetime {
                id: tensor.id.clone(),
                model: model.name.clone(),
                start: shift(tensor.start)?,
                end: shift(tensor.end)?,
                gaps,
                size: tensor.size,
                alignment: tensor.alignment,
                pinned: tensor.pinned,
                hint: tensor.hint,
                alias_group: tensor.alias_group.clone(),
                pools: tensor.pools.clone(),
                reads: tensor.reads.iter().map(|&read| shift(read)).collect::<Result<_, _>>()?,
            };
            last = last.max(moved.end.0);
            all.push(moved);
        }
        clock = last;
    }
    Ok(all)
}

/// What must hold for one tensor alone.
fn check(tensor: &TensorLifetime) -> Result<(), LifetimeError> {
    let name = || (tensor.model.clone(), tensor.id.clone());
    let (start, end) = (tensor.start, tensor.end);
    if end < start {
        let (model, id) = name();
        return Err(LifetimeError::EndBeforeStart { model, id, start, end });
    }
    if !tensor.alignment.is_power_of_two() {
        let (model, id) = name();
        return Err(LifetimeError::Alignment { model, id, alignment: tensor.alignment });
    }
    let mut before = tensor.start;
    for &(first, last) in &tensor.gaps {
        if first <= before || last <= first || last >= tensor.end {
            let (model, id) = name();
            return Err(LifetimeError::Gap { model, id, start: first, end: last });
        }
        before = last;
    }
    if let Some(&read) = tensor.reads.iter().find(|&&read| !tensor.is_live_at(read)) {
        let (model, id) = name();
        return Err(LifetimeError::ReadOutsideLife { model, id, read, start, end });
    }
    match tensor.pinned {
        Some(at) if !at.bytes().is_multiple_of(tensor.alignment) => Err(LifetimeError::pin(
            tensor,
            at,
            format!("it is not a multiple of its alignment, {}", tensor.alignment),
        )),
        _ => Ok(()),
    }
}

impl LifetimeError {
    pub(super) fn pin(tensor: &TensorLifetime, offset: ByteSize, reason: impl Into<String>) -> Self {
        Self::Pin { model: tensor.model.clone(), id: tensor.id.clone(), offset, reason: reason.into() }
    }
}
