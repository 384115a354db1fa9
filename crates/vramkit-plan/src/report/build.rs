//! From a plan to its document.
//!
//! In: a plan, over one arena or several pools, and what was saved before it was made ([`Savings`]). Out: a
//! [`PlanReport`], complete: whoever has one changes nothing in it. Never here: planning, files, text for people.

use std::time::Duration;

use super::document::{
    ConflictReport, EngineReport, GraphReport, InPlaceReport, ModelReport, OrderReport, PlanReport,
    PlanStepReport, PoolReport, SharedPairReport, StartsReport, TensorReport,
};
use crate::{
    AllocationPlan, Conflict, LifetimeAnalyzer, LifetimeError, MemoryPlanner, ModelSummary, PlanStep,
    PooledPlan, Schedule, SharedPair, TensorLifetime,
};
use vramkit_units::{ByteSize, Step};

/// Most pairs of tensors that a report lists.
const SHARED_LISTED: usize = 1000;

/// What a report is to say beside the plan.
#[derive(Clone, Debug, Default)]
pub struct ReportOptions {
    /// The capacity that the arena is held against, if there is one.
    pub capacity: Option<ByteSize>,
    /// Whether every tensor is listed with its place.
    pub with_tensors: bool,
    /// What was saved before planning.
    pub savings: Savings,
    /// For each model, in the plan's order, what is known of its graph. What that computes from its parameters is a part of
    /// [`Model::weights`](crate::Model::weights).
    pub graphs: Vec<Option<GraphReport>>,
    /// For each model, in the plan's order, what an engine plans for it.
    pub engines: Vec<Option<EngineReport>>,
}

/// What was saved before a plan was made: by another order of a model's steps, and by the models' starts.
#[derive(Clone, Debug, Default)]
pub struct Savings {
    /// For each model, in the plan's order, what another order of its steps saved; `None` where none was looked for.
    pub orders: Vec<Option<OrderReport>>,
    /// What choosing the models' starts saved, where they were chosen.
    pub starts: Option<ChosenStarts>,
    /// What operators that work in place save, where they were allowed to.
    pub in_place: Option<InPlaceReport>,
}

impl Savings {
    /// Whether what does not fit with the starts that models have fits with none: where they were chosen, a bound for all of them
    /// has to say so.
    fn starts_refute(&self, capacity: Option<ByteSize>) -> bool {
        let bound = self.starts.as_ref().map(|starts| starts.saved.bound_bytes);
        bound.is_none_or(|bound| capacity.is_some_and(|capacity| bound > capacity))
    }
}

/// Starts that were chosen.
#[derive(Clone, Debug)]
pub struct ChosenStarts {
    /// What that saved.
    pub saved: StartsReport,
    /// When each model starts, in the plan's order.
    pub of_models: Vec<Step>,
}

impl PlanReport {
    /// Of a plan.
    pub fn new(plan: &AllocationPlan, options: &ReportOptions) -> Self {
        let ReportOptions { capacity, with_tensors, .. } = options;
        let mut report = Self::bare(plan, *capacity, *with_tensors);
        report.models = models(&plan.models, options);
        report.starts = options.savings.starts.as_ref().map(|starts| starts.saved.clone());
        report.in_place = options.savings.in_place;
        if report.feasible == Some(false) && !options.savings.starts_refute(*capacity) {
            report.feasible = None;
        }
        report.with_totals()
    }

    /// Of a plan over several pools: sizes are sums over them. A capacity plays no part, since each pool has its own.
    pub fn of_pools(pooled: &PooledPlan, options: &ReportOptions) -> Self {
        let reports = pooled.pools.iter().map(|(pool, plan)| {
            let mut report = Self::bare(plan, None, options.with_tensors);
            for tensor in report.tensors.iter_mut().flatten() {
                tensor.pool = Some(pool.name.to_string());
            }
            report.pools = Some(vec![PoolReport {
                name: pool.name.to_string(),
                capacity_bytes: pool.capacity,
                arena_bytes: plan.arena_size,
                lower_bound_bytes: plan.proven_bound,
                live_peak_bytes: plan.lower_bound,
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
        let bound = whole.proven_bound_bytes;
        whole.lower_bound_bytes = bound;
        whole.live_peak_bytes = pooled.lower_bound;
        whole.gap_ratio = whole.arena_bytes.saturating_sub(bound).ratio_of(bound);
        whole.models = models(&pooled.models, options);
        whole.starts = options.savings.starts.as_ref().map(|starts| starts.saved.clone());
        whole.in_place = options.savings.in_place;
        whole.sum_of_peaks_bytes = pooled.models.iter().map(|model| model.live_peak).sum();
        whole.sum_of_aligned_peaks_bytes = aligned_peaks(&pooled.models);
        whole.displaced_bytes = Some(pooled.displaced);
        whole.elapsed_seconds = pooled.elapsed.as_secs_f64();
        whole.with_totals()
    }

    /// Where no distribution over pools was found, or (`proven`) there is none: the closest one, with its tensors, or a plan
    /// of nothing, and how long all of it took. A plan that no pool has room for is the best of nothing, so it is not called optimal.
    /// Where starts were chosen, other starts may fit.
    ///
    /// # Errors
    /// Those of planning nothing, of which none is known.
    pub fn refused(
        schedule: Schedule,
        closest: Option<&PooledPlan>,
        (proven, reason): (bool, String),
        elapsed: Duration,
        options: &ReportOptions,
    ) -> Result<Self, LifetimeError> {
        let report = match closest {
            Some(closest) => Self::of_pools(closest, options),
            None => Self::new(&MemoryPlanner::new().plan(&[], schedule)?, &ReportOptions::default()),
        };
        let capacities = |closest: &PooledPlan| {
            let all = closest.pools.iter().map(|(pool, _)| pool.capacity);
            all.fold(ByteSize::ZERO, ByteSize::saturating_add)
        };
        let capacity = closest.map(capacities);
        let refuted = options.savings.starts_refute(capacity);
        let feasible = if proven && refuted { Some(false) } else { None };
        let refusal = match proven && !refuted {
            true => format!(
                "with the starts that were chosen, which are the best for all pools together, {reason}"
            ),
            false => reason,
        };
        let elapsed_seconds = elapsed.as_secs_f64();
        Ok(Self { feasible, proven_optimal: false, refusal: Some(refusal), elapsed_seconds, ..report })
    }

    /// What a plan says by itself; totals and models are still to come.
    fn bare(plan: &AllocationPlan, capacity: Option<ByteSize>, with_tensors: bool) -> Self {
        let analyzer = LifetimeAnalyzer::new(&plan.tensors, plan.schedule);
        let within = analyzer.shareable_within_models();
        Self {
            schema: "vramkit.plan/1",
            schedule: plan.schedule,
            arena_bytes: plan.arena_size,
            lower_bound_bytes: plan.proven_bound,
            live_peak_bytes: plan.lower_bound,
            gap_ratio: plan.gap_ratio(),
            sum_of_sizes_bytes: plan.sum_of_sizes(),
            sum_of_peaks_bytes: plan.sum_of_peaks(),
            sum_of_aligned_peaks_bytes: aligned_peaks(&plan.models),
            weights_bytes: plan.weights(),
            derived_bytes: ByteSize::ZERO,
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
            shared: plan.largest_shared(SHARED_LISTED).iter().map(SharedPairReport::new).collect(),
            shareable_pairs_across_models: analyzer.shareable_pairs() - within,
            shareable_pairs_within_models: within,
            models: Vec::new(),
            steps: plan.steps.iter().map(PlanStepReport::new).collect(),
            conflict: plan.conflict.as_ref().map(|conflict| ConflictReport::new(plan, conflict)),
            starts: None,
            in_place: None,
            pools: None,
            displaced_bytes: None,
            tensors: with_tensors.then(|| tensors(plan)),
        }
    }

    /// Fills in what follows from arena, peaks and parameters.
    fn with_totals(mut self) -> Self {
        let resident = self.weights_bytes;
        self.derived_bytes = self.models.iter().map(|model| model.derived_bytes).sum();
        self.weights_bytes = resident.saturating_sub(self.derived_bytes);
        let with_weights = |size: ByteSize| size.checked_add(resident).unwrap_or(ByteSize::MAX);
        self.planned_total_bytes = with_weights(self.arena_bytes);
        self.separate_total_bytes = with_weights(self.sum_of_peaks_bytes);
        let separate = self.separate_total_bytes;
        self.reduction_of_separate_total_ratio =
            separate.saturating_sub(self.planned_total_bytes).ratio_of(separate);
        self
    }

    /// Two pools' plans of the same models beside one another; bounds, models and the time that it took are the whole's to say.
    fn beside(mut self, other: Self) -> Self {
        self.arena_bytes += other.arena_bytes;
        self.proven_bound_bytes += other.proven_bound_bytes;
        self.sum_of_sizes_bytes += other.sum_of_sizes_bytes;
        self.method = format!("{}; {}", self.method, other.method);
        self.shared_pairs += other.shared_pairs;
        self.shared.extend(other.shared);
        self.shared.sort_by_key(|pair| std::cmp::Reverse(pair.shared_bytes));
        self.shared.truncate(SHARED_LISTED);
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

/// What the models' live peaks become by alignment; what 64 bits do not hold is the most that they do.
fn aligned_peaks(models: &[ModelSummary]) -> ByteSize {
    let add =
        |sum: ByteSize, model: &ModelSummary| sum.checked_add(model.aligned_peak).unwrap_or(ByteSize::MAX);
    models.iter().fold(ByteSize::ZERO, add)
}

/// The models, each with what its order and its start saved, and what its graph is.
fn models(models: &[ModelSummary], options: &ReportOptions) -> Vec<ModelReport> {
    let ReportOptions { savings, graphs, engines, .. } = options;
    let report = |(i, model): (usize, &ModelSummary)| {
        let graph = graphs.get(i).cloned().flatten();
        let derived = graph.iter().flat_map(|graph| &graph.derived).map(|one| one.size_bytes).sum();
        // A model may have been given another number of bytes for all that is resident.
        let derived_bytes = model.weights.min(derived);
        ModelReport {
            name: model.name.to_string(),
            tensors: model.tensors,
            sum_of_sizes_bytes: model.sum_of_sizes,
            live_peak_bytes: model.live_peak,
            weights_bytes: model.weights.saturating_sub(derived_bytes),
            derived_bytes,
            graph,
            engine: engines.get(i).cloned().flatten(),
            order: savings.orders.get(i).cloned().flatten(),
            start: savings.starts.as_ref().and_then(|starts| starts.of_models.get(i).copied()),
        }
    };
    models.iter().enumerate().map(report).collect()
}

impl SharedPairReport {
    fn new(pair: &SharedPair<'_>) -> Self {
        Self {
            first: pair.first.id.to_string(),
            first_model: pair.first.model.to_string(),
            second: pair.second.id.to_string(),
            second_model: pair.second.model.to_string(),
            shared_bytes: pair.bytes,
            reason: pair.reason(),
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
