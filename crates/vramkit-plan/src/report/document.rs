//! The document `vramkit.plan/1`: what its fields are called and what they mean.

use serde::Serialize;

use vramkit_units::{ByteSize, Step};

use crate::lifetime::Schedule;

/// A plan: `vramkit.plan/1`.
///
/// ```
/// use vramkit_plan::report::{PlanReport, ReportOptions};
/// use vramkit_plan::{MemoryPlanner, Schedule};
///
/// let nothing = MemoryPlanner::new().plan(&[], Schedule::Fixed)?;
/// let report = PlanReport::new(&nothing, &ReportOptions::default());
/// assert_eq!((report.schema, report.proven_optimal), ("vramkit.plan/1", true));
/// # Ok::<(), vramkit_plan::LifetimeError>(())
/// ```
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
    /// No arena is smaller, and no sum of arenas over pools: the live peak, or more where alignment, pins or a search have
    /// proven more. The arena itself where it is proven optimal.
    pub lower_bound_bytes: ByteSize,
    /// Most bytes live at one time; each model for itself under the concurrent schedule, all together.
    pub live_peak_bytes: ByteSize,
    /// How far the arena is above the bound, as a fraction of the bound.
    pub gap_ratio: f64,
    /// Bytes of all tensors.
    pub sum_of_sizes_bytes: ByteSize,
    /// Bytes of all models' live peaks.
    pub sum_of_peaks_bytes: ByteSize,
    /// What these become by alignment, at least: no arenas for each model alone are smaller together.
    pub sum_of_aligned_peaks_bytes: ByteSize,
    /// Bytes of all models' parameters, which are beside the arena.
    pub weights_bytes: ByteSize,
    /// Bytes that are computed from parameters alone, which are beside them.
    pub derived_bytes: ByteSize,
    /// What the models take by this plan: its arena, and their parameters with what is computed from these.
    pub planned_total_bytes: ByteSize,
    /// What the models take each for itself, at best: their live peaks, and their parameters.
    pub separate_total_bytes: ByteSize,
    /// What the plan saves of that; 0 where it takes more.
    pub reduction_of_separate_total_ratio: f64,
    /// As `lower_bound_bytes`.
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
    /// Of these pairs, those with most addresses in common: up to 1,000.
    pub shared: Vec<SharedPairReport>,
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
    /// What operators that work in place save, where they were allowed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_place: Option<InPlaceReport>,
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

/// Two tensors that have addresses in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SharedPairReport {
    /// The one that starts first.
    pub first: String,
    /// Its model.
    pub first_model: String,
    /// The other.
    pub second: String,
    /// Its model.
    pub second_model: String,
    /// Bytes of addresses that both have.
    pub shared_bytes: ByteSize,
    /// Why that is safe.
    pub reason: String,
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
    /// Bytes of parameters, as they are stored.
    pub weights_bytes: ByteSize,
    /// Bytes that are computed from the parameters alone, before it runs: they stay beside these, and are not shared.
    pub derived_bytes: ByteSize,
    /// What is known of its graph, where it comes from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph: Option<GraphReport>,
    /// What an engine plans for it, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineReport>,
    /// What another order of its steps saved, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderReport>,
    /// When it starts, where that was to be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Step>,
}

/// What an engine plans for a model by its own rules, which leave inputs, outputs and weights out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EngineReport {
    /// The engine.
    pub name: String,
    /// How it optimises the graph first, in words.
    pub level: String,
    /// The block that it takes for tensors between nodes.
    pub pattern_bytes: ByteSize,
    /// The arena that the same tensors take as they are planned here.
    pub planned_bytes: ByteSize,
    /// Operators of the graph for which the engine's block may be another one.
    pub doubts: Vec<String>,
}

/// What was found out about a model's graph as it was read.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GraphReport {
    /// What is computed from its parameters alone, the largest first.
    pub derived: Vec<DerivedReport>,
    /// Tensors whose sizes depend on data, and are the most that they can be; then those that are computed from them.
    pub bounds: Vec<BoundReport>,
    /// What else the plan rests on, in words.
    pub notes: Vec<String>,
}

/// A tensor that is computed from parameters alone.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DerivedReport {
    /// Its name in the graph.
    pub id: String,
    /// The operator that makes it.
    pub operator: String,
    /// Its size.
    pub size_bytes: ByteSize,
    /// How a runtime can do without it, where it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avoidable: Option<String>,
}

/// A tensor whose size depends on data.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BoundReport {
    /// Its name in the graph.
    pub id: String,
    /// The operator that makes it.
    pub operator: String,
    /// Whether this is where data decides, rather than a tensor that follows from one that it decides.
    pub is_source: bool,
}

/// What another order of a model's steps saves, and what doing some of them again saves beyond that.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderReport {
    /// Most bytes live in the file's order.
    pub file_peak_bytes: ByteSize,
    /// Most bytes live in the order chosen.
    pub reordered_peak_bytes: ByteSize,
    /// No order of the steps, each done once, has less than this, as far as was shown.
    pub bound_bytes: ByteSize,
    /// Whether no order has less than the one chosen.
    pub proven: bool,
    /// Most bytes live in the order chosen of the steps and some done again.
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
    /// The first step after all models with the starts given, which may be past the makespan.
    pub given_end: Step,
    /// Most bytes live together with the starts given.
    pub given_peak_bytes: ByteSize,
    /// Most bytes live together with the starts chosen.
    pub chosen_peak_bytes: ByteSize,
    /// No starts have less.
    pub bound_bytes: ByteSize,
}

/// What operators that work in place save: whichever plan has the smaller arena is the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InPlaceReport {
    /// Whether they do in this plan.
    pub is_used: bool,
    /// The arena found where they do; `null` where none was found over the pools.
    pub with_bytes: Option<ByteSize>,
    /// The arena found where they do not; a first answer where that could not be the smaller one.
    pub without_bytes: Option<ByteSize>,
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
    /// No arena is smaller for the tensors that are in it.
    pub lower_bound_bytes: ByteSize,
    /// Most bytes of its tensors that are live at one time.
    pub live_peak_bytes: ByteSize,
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
