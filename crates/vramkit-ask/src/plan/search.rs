//! From a question to a plan: read, order, choose starts, search, report.

use std::borrow::Cow;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use vramkit::ByteSize;
use vramkit::plan::report::{
    ChosenStarts, InPlaceReport, OrderReport, PlanReport, ReportOptions, Savings, StartsReport,
};
use vramkit::plan::{
    MemoryPlanner, Observer, OrderBudget, PoolPlanError, Schedule, StartsSearch, choose_starts,
};
use vramkit::units::Step;
use vramkit_models::{Demand, read_all};

use super::answer::{Placed, PlanAnswer};
use super::question::{PlanQuestion, has_clock};
use super::{engine, in_place};
use crate::error::{AskError, OfGraphs, QuestionError};
use crate::listener::Listener;

/// Plans what files ask for.
///
/// That it does not fit is an answer ([`PlanAnswer::is_yes`]), not an error.
///
/// ```
/// use vramkit_ask::{PlanQuestion, plan, quiet};
///
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("lifetimes.csv");
/// std::fs::write(&file, "id,lower,upper,size\na,0,4,10\nb,3,9,4\nc,4,9,10\n")?;
/// let question = PlanQuestion { files: vec![file], capacity: Some("13B".parse()?), ..PlanQuestion::default() };
/// let answer = plan(&question, quiet())?;
/// assert!(!answer.is_yes());
/// assert_eq!(answer.report.arena_bytes.bytes(), 14);
/// let mut table = Vec::new();
/// answer.write_offsets(&mut table)?;
/// assert!(table.starts_with(b"id,lower,upper,size,offset\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A question that contradicts itself, a file that is not what it should be, lifetimes that cannot be planned.
pub fn plan(question: &PlanQuestion, listener: Arc<dyn Listener>) -> Result<PlanAnswer, AskError> {
    question.check()?;
    let mut demand = read_all(&question.files, &question.read)?;
    if let Some(what) = of_graphs(question).filter(|_| !demand.has_graph()) {
        return Err(QuestionError::NoGraph { what, files: question.file_names() }.into());
    }
    let several = if question.files.len() > 1 { Schedule::Sequential } else { Schedule::Fixed };
    let schedule = question.schedule.or(demand.schedule).unwrap_or(several);
    demand.schedule = Some(schedule);
    check_pools(question, &demand)?;
    let asked = Instant::now();
    let left = || question.deadline.saturating_sub(asked.elapsed());
    let told = Told(listener);
    if question.reorder || question.recompute {
        // What orders save is more than what a search for offsets does, but without offsets there is no answer.
        let budget = |time: Duration| OrderBudget::new(time, &told).seed(question.seed);
        let (orders, capacity) = (budget(question.deadline / 2), question.capacity.unwrap_or(ByteSize::MAX));
        if question.recompute {
            // The order is what it would be without; what no order fits in, nodes that run again may.
            demand.reorder(&orders);
            demand.recompute(&budget(left() / 2));
        } else {
            demand.reorder(&orders.capacity(capacity));
        }
    }
    let starts = match question.makespan {
        Some(makespan) => {
            // When models start decides more than where their tensors are.
            let budget = OrderBudget::new(left() / 4 * 3, &told);
            let threads = question.threads.unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get));
            let search = StartsSearch { seed: question.seed, threads, budget, capacity: question.capacity };
            Some(choose(&mut demand, schedule, makespan, &search)?)
        }
        None => None,
    };
    let planner = |time: Duration| planner(question, time, told.clone());
    let (savings, graphs) = (savings(&demand, starts), demand.graphs());
    let engines = match question.engine {
        Some(engine) => {
            let planner = |time| MemoryPlanner::thorough(time).seed(question.seed).observer(told.clone());
            engine::plans(engine, &demand, planner, left() / 4)?
        }
        None => Vec::new(),
    };
    let options = |in_place: Option<InPlaceReport>| ReportOptions {
        capacity: question.capacity,
        with_tensors: true,
        savings: Savings { in_place, ..savings.clone() },
        graphs: graphs.clone(),
        engines: engines.clone(),
    };
    if demand.pools.is_empty() {
        let arena = |demand: &Demand, time: Duration| planner(time).plan(&demand.models, schedule);
        let (demand, plan) = in_place::better(demand, arena, left);
        let (plan, in_place) =
            plan.map_err(|error| AskError::Lifetimes { files: question.file_names(), error })?;
        let report = PlanReport::new(&plan, &options(in_place));
        return Ok(PlanAnswer { report, placed: Placed::Arena(plan), demand });
    }
    let pools =
        |demand: &Demand, time: Duration| planner(time).plan_pools(&demand.models, schedule, &demand.pools);
    let (demand, pooled) = in_place::better(demand, pools, left);
    let (report, placed) = match pooled {
        Ok((pooled, in_place)) => (PlanReport::of_pools(&pooled, &options(in_place)), Placed::Pools(pooled)),
        // There is no plan, or none was found: an answer, not a fault of the input.
        Err(ref full @ PoolPlanError::Full { proven, ref closest, elapsed, .. }) => {
            let refusal = (proven, full.to_string());
            let report = PlanReport::refused(schedule, closest.as_deref(), refusal, elapsed, &options(None));
            let files = || question.file_names();
            (report.map_err(|error| AskError::Lifetimes { files: files(), error })?, Placed::Nowhere)
        }
        Err(error) => return Err(AskError::Pools { files: question.file_names(), error }),
    };
    Ok(PlanAnswer { report, placed, demand })
}

/// Whether capacities are either the arena's or the pools', and tensors name pools only where there are some.
fn check_pools(question: &PlanQuestion, demand: &Demand) -> Result<(), QuestionError> {
    if !demand.pools.is_empty() && question.capacity.is_some() {
        return Err(QuestionError::CapacityOfPools {
            files: question.file_names(),
            pools: demand.pools.len(),
        });
    }
    let named = demand.models.iter().flat_map(|model| &model.tensors).find(|tensor| !tensor.pools.is_empty());
    match named.filter(|_| demand.pools.is_empty()) {
        Some(tensor) => Err(QuestionError::NoPools {
            tensor: tensor.id.to_string(),
            model: tensor.model.to_string(),
            pool: tensor.pools[0].to_string(),
        }),
        None => Ok(()),
    }
}

/// What is asked that only graphs have.
fn of_graphs(question: &PlanQuestion) -> Option<OfGraphs> {
    let asked = [
        (question.reorder, OfGraphs::Order),
        (question.recompute, OfGraphs::Recompute),
        (question.read.in_place, OfGraphs::InPlace),
        (question.engine.is_some(), OfGraphs::Engine),
        (question.read.shapes.is_some(), OfGraphs::Shapes),
    ];
    asked.into_iter().find(|(is_asked, _)| *is_asked).map(|(_, what)| what)
}

fn planner(question: &PlanQuestion, time: Duration, told: Told) -> MemoryPlanner {
    let mut planner = MemoryPlanner::thorough(time).seed(question.seed);
    if let Some(threads) = question.threads {
        planner = planner.threads(threads);
    }
    if let Some(capacity) = question.capacity {
        planner = planner.capacity(capacity);
    }
    planner.observer(told)
}

/// Sets the models' starts, and says what that saves.
fn choose(
    demand: &mut Demand,
    schedule: Schedule,
    makespan: Step,
    search: &StartsSearch<'_>,
) -> Result<ChosenStarts, AskError> {
    has_clock(schedule)?;
    let mut models = Cow::Borrowed(&demand.models);
    if !demand.pools.is_empty() {
        // What is pinned to the same addresses may be in different pools.
        models
            .to_mut()
            .iter_mut()
            .flat_map(|model| &mut model.tensors)
            .for_each(|tensor| tensor.pinned = None);
    }
    let chosen = choose_starts(&models, makespan, search)?;
    for (model, start) in demand.models.iter_mut().zip(&chosen.starts) {
        model.start = *start;
    }
    for (model, &offset) in demand.models.iter_mut().zip(chosen.offsets.iter().flatten()) {
        model.tensors.iter_mut().for_each(|tensor| tensor.hint = tensor.hint.or(Some(offset)));
    }
    let saved = StartsReport {
        makespan,
        given_end: chosen.given_end,
        given_peak_bytes: chosen.before,
        chosen_peak_bytes: chosen.peak,
        bound_bytes: chosen.bound,
    };
    Ok(ChosenStarts { saved, of_models: chosen.starts })
}

/// What orders and starts saved.
fn savings(demand: &Demand, starts: Option<ChosenStarts>) -> Savings {
    let orders = demand.settings.iter().map(|settings| {
        settings.order.map(|saving| OrderReport {
            file_peak_bytes: saving.before,
            reordered_peak_bytes: saving.reordered,
            bound_bytes: saving.bound,
            proven: saving.proven,
            recomputed_peak_bytes: saving.recomputed,
            repeated_steps: saving.repeated,
        })
    });
    Savings { orders: orders.collect(), starts, in_place: None }
}

/// Tells a listener how searches get on.
#[derive(Clone)]
struct Told(Arc<dyn Listener>);

impl Observer for Told {
    fn progress(&self, bound: ByteSize, arena: ByteSize) {
        self.0.planning(bound, arena);
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_interrupted()
    }
}
