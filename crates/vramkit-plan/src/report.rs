//! Plans as plain data: `vramkit.plan/1`.
//!
//! ```
//! use vramkit_plan::{MemoryPlanner, Schedule, report::PlanReport};
//!
//! let plan = MemoryPlanner::new().plan(&[], Schedule::Fixed)?;
//! let report = PlanReport::new(&plan, None, true);
//! assert_eq!((report.schema, report.feasible), ("vramkit.plan/1", Some(true)));
//! # Ok::<(), vramkit_plan::LifetimeError>(())
//! ```

use serde::Serialize;

use vramkit_units::{ByteSize, Step};

use crate::allocation::{AllocationPlan, Conflict, ModelSummary, PlanStep};
use crate::analyzer::LifetimeAnalyzer;
use crate::lifetime::{Schedule, TensorLifetime};
use crate::pooled::PooledPlan;

/// A plan: `vramkit.plan/1`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlanReport {
    /// `vramkit.plan/1`.
    pub schema: &'static str,
    /// What the plan is sound under.
    pub schedule: Schedule,
    /// The highest end of any tensor; over pools, the sum of theirs.
    pub arena_bytes: ByteSize,
    /// Most bytes live at one time: no arena is smaller, and no sum of arenas over pools.
    pub lower_bound_bytes: ByteSize,
    /// How far the arena is above the bound, as a fraction of the bound.
    pub gap_ratio: f64,
    /// Bytes of all tensors.
    pub sum_of_sizes_bytes: ByteSize,
    /// Bytes of all models' live peaks.
    pub sum_of_peaks_bytes: ByteSize,
    /// Bytes of all models' parameters, which are beside the arena.
    pub weights_bytes: ByteSize,
    /// What the models take by this plan: its arena, and their parameters.
    pub planned_total_bytes: ByteSize,
    /// What the models take each for itself, at best: their live peaks, and their parameters.
    pub separate_total_bytes: ByteSize,
    /// What the plan saves of that; negative where it takes more.
    pub reduction_of_separate_total_ratio: f64,
    /// No arena is smaller than this: the lower bound, or more where a search has proven more.
    pub proven_bound_bytes: ByteSize,
    /// Whether no smaller arena exists; over pools, whether no distribution has smaller arenas together, or every tensor is
    /// in the pool that it prefers and no pool's arena can be smaller.
    pub proven_optimal: bool,
    /// Whether the arena is within the capacity, or every pool's within its own: `false` when none can be, `null` when none
    /// was found. `true` where no capacity was given.
    pub feasible: Option<bool>,
    /// Why tensors could not be distributed over pools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// How long planning took.
    pub elapsed_seconds: f64,
    /// What found the plan.
    pub method: String,
    /// Pairs of tensors that have addresses in common.
    pub shared_pairs: u64,
    /// Pairs of tensors of different models that are never live together, and so could have.
    pub shareable_pairs_across_models: u64,
    /// Pairs of tensors of one model that are never live together.
    pub shareable_pairs_within_models: u64,
    /// The models.
    pub models: Vec<ModelReport>,
    /// How planning got on: the first answers, and whatever improved on them.
    pub steps: Vec<PlanStepReport>,
    /// Why the capacity cannot be met, when that is proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflict: Option<ConflictReport>,
    /// What choosing the models' starts saved, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts: Option<StartsReport>,
    /// The pools, where there are several; the arena is then the sum of theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pools: Option<Vec<PoolReport>>,
    /// Bytes of tensors that are not in the pool that they prefer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub displaced_bytes: Option<ByteSize>,
    /// The tensors; left out where a plan is part of something larger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensors: Option<Vec<TensorReport>>,
}

/// One model of a plan.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ModelReport {
    /// Its name.
    pub name: String,
    /// How many tensors it has.
    pub tensors: usize,
    /// Bytes of all of them.
    pub sum_of_sizes_bytes: ByteSize,
    /// Most bytes live at one time.
    pub live_peak_bytes: ByteSize,
    /// Bytes of parameters.
    pub weights_bytes: ByteSize,
    /// What another order of its steps saved, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderReport>,
    /// When it starts, where that was to be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Step>,
}

/// What another order of a model's steps saves, and what doing some of them again saves beyond that.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderReport {
    /// Most bytes live in the file's order.
    pub file_peak_bytes: ByteSize,
    /// Most bytes live in the order chosen.
    pub reordered_peak_bytes: ByteSize,
    /// Whether no order has less.
    pub proven: bool,
    /// Most bytes live in that order with steps done again.
    pub recomputed_peak_bytes: ByteSize,
    /// How many steps are done again.
    pub repeated_steps: usize,
}

/// What choosing the models' starts saves.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StartsReport {
    /// The steps within which all models end.
    pub makespan: Step,
    /// Most bytes live together with the starts given.
    pub given_peak_bytes: ByteSize,
    /// Most bytes live together with the starts chosen.
    pub chosen_peak_bytes: ByteSize,
    /// No starts have less.
    pub bound_bytes: ByteSize,
}

/// One pool of a plan over several.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PoolReport {
    /// Its name.
    pub name: String,
    /// Most bytes of its arena.
    pub capacity_bytes: ByteSize,
    /// The highest end of any of its tensors.
    pub arena_bytes: ByteSize,
    /// Most bytes of its tensors that are live at one time.
    pub lower_bound_bytes: ByteSize,
    /// How many tensors are in it.
    pub tensors: usize,
}

/// A moment of planning.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlanStepReport {
    /// Since planning began.
    pub elapsed_seconds: f64,
    /// Which part: parts are times between which nothing is live, and models under the concurrent schedule.
    pub part: usize,
    /// How many tensors (or alias groups) the part has.
    pub tensors: usize,
    /// What was at work.
    pub method: String,
    /// No arena of the part is smaller, as was known then.
    pub bound_bytes: ByteSize,
    /// The smallest arena of the part that was known then.
    pub arena_bytes: ByteSize,
}

/// Tensors that alone cannot be placed within the capacity.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ConflictReport {
    /// Their names.
    pub tensors: Vec<String>,
    /// The step at which all of them are live, when that is the reason; `null` when no single step is.
    pub step: Option<Step>,
    /// No arena for them is smaller.
    pub needs_bytes: ByteSize,
    /// Whether it is known that without any one of them the others would fit.
    pub irreducible: bool,
}

/// One tensor of a plan.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TensorReport {
    /// Its name, unique in its model.
    pub id: String,
    /// Its model.
    pub model: String,
    /// The first step of its life.
    pub start: Step,
    /// One past the last.
    pub end: Step,
    /// Its size.
    pub size_bytes: ByteSize,
    /// Its alignment, in bytes.
    pub alignment: u64,
    /// Its place in the arena.
    pub offset_bytes: ByteSize,
    /// The pool that it is in, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

impl PlanReport {
    /// Of a plan, against a capacity where there is one, with its tensors when asked for.
    pub fn new(plan: &AllocationPlan, capacity: Option<ByteSize>, with_tensors: bool) -> Self {
        let analyzer = LifetimeAnalyzer::new(&plan.tensors, plan.schedule);
        let within = analyzer.shareable_within_models();
        let report = Self {
            schema: "vramkit.plan/1",
            schedule: plan.schedule,
            arena_bytes: plan.arena_size,
            lower_bound_bytes: plan.lower_bound,
            gap_ratio: plan.gap_ratio(),
            sum_of_sizes_bytes: plan.sum_of_sizes(),
            sum_of_peaks_bytes: plan.sum_of_peaks(),
            weights_bytes: plan.weights(),
            planned_total_bytes: ByteSize::ZERO,
            separate_total_bytes: ByteSize::ZERO,
            reduction_of_separate_total_ratio: 0.0,
            proven_bound_bytes: plan.proven_bound,
            proven_optimal: plan.proven_optimal,
            feasible: match capacity {
                None => Some(true),
                Some(capacity) if plan.arena_size <= capacity => Some(true),
                Some(capacity) if plan.proven_bound > capacity => Some(false),
                Some(_) => None,
            },
            refusal: None,
            elapsed_seconds: plan.elapsed.as_secs_f64(),
            method: plan.method.clone(),
            shared_pairs: plan.shared_pairs(),
            shareable_pairs_across_models: analyzer.shareable_pairs() - within,
            shareable_pairs_within_models: within,
            models: plan.models.iter().map(ModelReport::new).collect(),
            steps: plan.steps.iter().map(PlanStepReport::new).collect(),
            conflict: plan.conflict.as_ref().map(|conflict| ConflictReport::new(plan, conflict)),
            starts: None,
            pools: None,
            displaced_bytes: None,
            tensors: with_tensors.then(|| tensors(plan)),
        };
        report.with_totals()
    }

    /// Fills in what follows from arena, peaks and parameters.
    fn with_totals(mut self) -> Self {
        let with_weights = |size: ByteSize| size.checked_add(self.weights_bytes).unwrap_or(ByteSize::MAX);
        self.planned_total_bytes = with_weights(self.arena_bytes);
        self.separate_total_bytes = with_weights(self.sum_of_peaks_bytes);
        let separate = self.separate_total_bytes;
        self.reduction_of_separate_total_ratio =
            if separate.is_zero() { 0.0 } else { 1.0 - self.planned_total_bytes.ratio_of(separate) };
        self
    }

    /// As it is, with the word that no distribution over pools was found, or that there is none. A plan that no pool has
    /// room for is the best of nothing.
    pub fn refused(mut self, proven: bool, reason: String) -> Self {
        self.feasible = if proven { Some(false) } else { None };
        self.proven_optimal = false;
        self.refusal = Some(reason);
        self
    }

    /// Of a plan over several pools: sizes are sums over them.
    pub fn of_pools(pooled: &PooledPlan, with_tensors: bool) -> Self {
        let reports = pooled.pools.iter().map(|(pool, plan)| {
            let mut report = Self::new(plan, None, with_tensors);
            for tensor in report.tensors.iter_mut().flatten() {
                tensor.pool = Some(pool.name.to_string());
            }
            report.pools = Some(vec![PoolReport {
                name: pool.name.to_string(),
                capacity_bytes: pool.capacity,
                arena_bytes: plan.arena_size,
                lower_bound_bytes: plan.lower_bound,
                tensors: plan.tensors.len(),
            }]);
            report
        });
        let mut whole =
            reports.reduce(Self::beside).unwrap_or_else(|| unreachable!("there is a pool at least"));
        // What the pools' bounds say together holds for this distribution alone, so only where each tensor is where it
        // prefers to be is it a bound for all.
        let own = if pooled.displaced.is_zero() { whole.proven_bound_bytes } else { ByteSize::ZERO };
        whole.proven_bound_bytes = own.max(pooled.lower_bound);
        whole.proven_optimal = whole.arena_bytes <= whole.proven_bound_bytes;
        whole.lower_bound_bytes = pooled.lower_bound;
        whole.gap_ratio = whole.arena_bytes.saturating_sub(pooled.lower_bound).ratio_of(pooled.lower_bound);
        whole.models = pooled.models.iter().map(ModelReport::new).collect();
        whole.sum_of_peaks_bytes = pooled.models.iter().map(|model| model.live_peak).sum();
        whole.displaced_bytes = Some(pooled.displaced);
        whole.with_totals()
    }

    /// Two pools' plans of the same models beside one another; bounds and models are the whole's to say.
    fn beside(mut self, other: Self) -> Self {
        self.arena_bytes += other.arena_bytes;
        self.proven_bound_bytes += other.proven_bound_bytes;
        self.sum_of_sizes_bytes += other.sum_of_sizes_bytes;
        self.elapsed_seconds += other.elapsed_seconds;
        self.method = format!("{}; {}", self.method, other.method);
        self.shared_pairs += other.shared_pairs;
        self.shareable_pairs_across_models += other.shareable_pairs_across_models;
        self.shareable_pairs_within_models += other.shareable_pairs_within_models;
        self.steps.extend(other.steps);
        if let (Some(pools), Some(others)) = (&mut self.pools, other.pools) {
            pools.extend(others);
        }
        if let (Some(tensors), Some(others)) = (&mut self.tensors, other.tensors) {
            tensors.extend(others);
        }
        self
    }
}

impl ModelReport {
    fn new(model: &ModelSummary) -> Self {
        Self {
            name: model.name.to_string(),
            tensors: model.tensors,
            sum_of_sizes_bytes: model.sum_of_sizes,
            live_peak_bytes: model.live_peak,
            weights_bytes: model.weights,
            order: None,
            start: None,
        }
    }
}

impl PlanStepReport {
    fn new(step: &PlanStep) -> Self {
        Self {
            elapsed_seconds: step.elapsed.as_secs_f64(),
            part: step.part,
            tensors: step.tensors,
            method: step.method.clone(),
            bound_bytes: step.bound,
            arena_bytes: step.arena,
        }
    }
}

impl ConflictReport {
    fn new(plan: &AllocationPlan, conflict: &Conflict) -> Self {
        let several = plan.models.len() > 1;
        let name = |&i: &usize| match &plan.tensors[i] {
            tensor if several => format!("{}/{}", tensor.model, tensor.id),
            tensor => tensor.id.to_string(),
        };
        Self {
            tensors: conflict.tensors.iter().map(name).collect(),
            step: conflict.step,
            needs_bytes: conflict.needs,
            irreducible: conflict.irreducible,
        }
    }
}

fn tensors(plan: &AllocationPlan) -> Vec<TensorReport> {
    let report = |(tensor, &offset): (&TensorLifetime, &ByteSize)| TensorReport {
        id: tensor.id.to_string(),
        model: tensor.model.to_string(),
        start: tensor.start,
        end: tensor.end,
        size_bytes: tensor.size,
        alignment: tensor.alignment,
        offset_bytes: offset,
        pool: None,
    };
    plan.tensors.iter().zip(&plan.offsets).map(report).collect()
}
