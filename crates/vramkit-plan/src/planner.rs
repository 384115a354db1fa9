//! From models to a plan: one clock, buffers, a solver, and the check of what it says.

use std::time::{Duration, Instant};

use super::allocation::{AllocationPlan, Conflict, ModelSummary};
use super::blocks::{Blocks, LooseBlocks};
use super::conflict;
use super::exact::{self, ExactSearch, FirstLook};
use super::floors::{FloorSearch, WindowSearch};
use super::lifetime::{Model, Schedule, TensorLifetime, on_one_clock};
use super::lifetime_error::LifetimeError;
use super::problem::{Compiled, Problem, compile};
use super::recorder::StepRecorder;
use super::search::{Goal, Observer, Part, Search};
use super::solver::{Solved, Solver, Task};
use super::squeaky::{FirstRounds, SqueakyWheel};
use super::union::Union;
use vramkit_units::ByteSize;

/// Most threads that searches use: each takes some memory of its own.
const THREADS: usize = 64;

/// A deadline that passes what the system's clock can tell is this far away, which is never.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long searches have at least where they have any time at all.
const AT_LEAST: Duration = Duration::from_millis(1);

/// How long the portfolio may take where searches have no time at all: far more than it does but for millions of long lives.
const PORTFOLIO: Duration = Duration::from_secs(2);

/// How long the reason for a refusal is looked for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Makes plans: the portfolio always, searches where they were added.
///
/// ```
/// use std::time::Duration;
/// use vramkit_plan::{MemoryPlanner, Model, Schedule, TensorLifetime};
/// use vramkit_units::{ByteSize, Step};
///
/// let tensor = |id, start, end, bytes| {
///     TensorLifetime::new("net", id, Step(start), Step(end), ByteSize::new(bytes))
/// };
/// let tensors = vec![tensor("x", 0, 2, 1024), tensor("y", 1, 3, 512)];
/// let net = Model { name: "net".into(), weights: ByteSize::ZERO, start: Step(0), tensors };
/// let planner = MemoryPlanner::thorough(Duration::from_secs(1)).capacity(ByteSize::new(1024));
/// let plan = planner.plan(&[net], Schedule::Sequential)?;
/// let conflict = plan.conflict.expect("1,536 bytes are live at step 1");
/// assert_eq!((conflict.step, conflict.needs), (Some(Step(1)), ByteSize::new(1536)));
/// # Ok::<(), vramkit_plan::LifetimeError>(())
/// ```
#[derive(Default)]
pub struct MemoryPlanner {
    solver: Solver,
    deadline: Duration,
    capacity: Option<ByteSize>,
    observer: Option<Box<dyn Observer + Send>>,
}

impl MemoryPlanner {
    /// The greedy portfolio alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// The portfolio, and every search of this crate for up to a deadline.
    pub fn thorough(deadline: Duration) -> Self {
        // First what ends soon by itself; then what goes on for as long as it may, of which exact search is the last where
        // there is one. Gaps are squeaky wheel's.
        let rounds = Part { search: FirstRounds, of_time: |p| if is_small(p) { 1.0 } else { 0.3 } };
        let squeaky = Part {
            search: SqueakyWheel,
            of_time: |p| match (is_small(p), p.gaps.is_empty()) {
                (true, _) => 0.0,
                (false, true) => 0.25,
                (false, false) => 1.0,
            },
        };
        let windows =
            Part { search: WindowSearch, of_time: |p: &Problem| if is_small(p) { 0.5 } else { 1.0 } };
        let of_blocks = || -> Vec<Box<dyn Search>> {
            vec![Box::new(FirstLook), Box::new(FloorSearch), Box::new(windows), Box::new(ExactSearch)]
        };
        let blocks = Part {
            search: Blocks { searches: of_blocks() },
            of_time: |p| if is_small(p) { 0.1 } else { 0.6 },
        };
        let loose = Part { search: LooseBlocks { searches: of_blocks() }, of_time: |_| 0.4 };
        // What exact search finds soon it finds before blocks are looked for that leave something empty.
        let glance = Part { search: FirstLook, of_time: |p| if is_small(p) { 0.1 } else { 0.0 } };
        let searches: [Box<dyn Search>; 9] = [
            Box::new(blocks),
            Box::new(rounds),
            Box::new(glance),
            Box::new(loose),
            Box::new(FirstLook),
            Box::new(FloorSearch),
            Box::new(squeaky),
            Box::new(windows),
            Box::new(ExactSearch),
        ];
        searches.into_iter().fold(Self::new(), Self::search).deadline(deadline)
    }

    /// Adds a search, to be used for up to [`deadline`](Self::deadline) when the portfolio leaves a gap.
    pub fn search(mut self, search: Box<dyn Search>) -> Self {
        self.solver.searches.push(search);
        self
    }

    /// How long searches may take, all together.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Where searches start their random choices; 0 unless set.
    pub fn seed(mut self, seed: u64) -> Self {
        self.solver.seed = seed;
        self
    }

    /// Stop at the first plan whose arena is at most this.
    pub fn capacity(mut self, capacity: ByteSize) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// How many threads searches may use, up to 64; as many as the machine has unless set. For a seed and a number of threads
    /// the answer is the same wherever searches end before the deadline.
    pub fn threads(mut self, threads: usize) -> Self {
        self.solver.threads = Some(threads.clamp(1, THREADS));
        self
    }

    /// Who is told how searches get on, and may end them.
    pub fn observer(mut self, observer: impl Observer + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Plans models for a schedule. The result is deterministic unless a search runs into its deadline.
    ///
    /// A capacity that cannot be met is no error: see [`AllocationPlan::conflict`].
    ///
    /// # Errors
    /// What is wrong with the lifetimes; see [`LifetimeError`].
    pub fn plan(&self, models: &[Model], schedule: Schedule) -> Result<AllocationPlan, LifetimeError> {
        self.plan_within(models, schedule, self.capacity, self.end(Instant::now()), PORTFOLIO)
    }

    /// Who watches, if anybody.
    pub(super) fn watcher(&self) -> &dyn Observer {
        self.observer.as_deref().map_or(&(), |observer| observer)
    }

    /// When searches that begin now are to end.
    pub(super) fn end(&self, start: Instant) -> Instant {
        later(start, self.deadline)
    }

    /// As [`plan`](Self::plan), with another capacity and deadline, and how long first answers may take after it.
    pub(super) fn plan_within(
        &self,
        models: &[Model],
        schedule: Schedule,
        capacity: Option<ByteSize>,
        deadline: Instant,
        portfolio: Duration,
    ) -> Result<AllocationPlan, LifetimeError> {
        let start = Instant::now();
        let tensors = on_one_clock(models, schedule)?;
        // The tensors stand in the order of their models.
        let mut rest = tensors.as_slice();
        let mut summaries: Vec<ModelSummary> = Vec::with_capacity(models.len());
        let mut own: Vec<Own<'_>> = Vec::with_capacity(models.len());
        for model in models {
            let (first, others) = rest.split_at(model.tensors.len());
            rest = others;
            let compiled = compile(first.iter())?;
            summaries.push(ModelSummary::new(model, &compiled.problem));
            own.push(Own { tensors: first, compiled });
        }
        // The check afterwards takes about as long as what came before; for most plans neither is anything.
        let now = Instant::now();
        let deadline = match deadline.checked_sub(now - start) {
            Some(sooner) if deadline > now => sooner.max(now + AT_LEAST),
            _ => deadline,
        };
        let recorder = StepRecorder::new(start, capacity, self.watcher());
        let portfolio = if deadline > now { deadline } else { now + portfolio };
        let task = Task { capacity, deadline, portfolio, recorder: &recorder };
        let mut conflict = None;
        let (solved, offsets, lower_bound) = match schedule {
            Schedule::Fixed | Schedule::Sequential => {
                if own.len() != 1 {
                    own = vec![Own { tensors: &tensors, compiled: compile(tensors.iter())? }];
                }
                let all = &own[0];
                let solved = self.solver.solve(&all.compiled.problem, &all.compiled.hints, task);
                conflict = self.conflict(all, &solved, task);
                let offsets = all.offsets(&solved.placement.offsets);
                (solved, offsets, all.compiled.problem.max_load())
            }
            Schedule::Concurrent => {
                let problems: Vec<&Problem> = own.iter().map(|own| &own.compiled.problem).collect();
                let union = Union::new(&problems);
                check_pins(&own, &union)?;
                let solved = self.solver.solve_union(&union, task);
                let offsets = own.iter().zip(union.split(&solved.placement.offsets));
                let offsets = offsets.flat_map(|(own, buffers)| own.offsets(buffers)).collect();
                (solved, offsets, union.max_load())
            }
        };
        // What takes no room or no time has no buffer, and takes no arena wherever it is pinned.
        let taken = tensors.iter().zip(&offsets).filter(|(tensor, _)| tensor.takes_room());
        let arena =
            taken.map(|(tensor, &offset): (_, &ByteSize)| offset + tensor.size).max().unwrap_or_default();
        let compiled: Vec<Compiled> = own.into_iter().map(|own| own.compiled).collect();
        let mut plan = AllocationPlan {
            schedule,
            tensors: tensors.into(),
            offsets,
            arena_size: arena,
            lower_bound,
            proven_bound: solved.bound.max(lower_bound),
            proven_optimal: arena <= solved.bound.max(lower_bound),
            models: summaries,
            method: solved.method,
            steps: recorder.into_steps(),
            conflict,
            elapsed: Duration::ZERO,
        };
        // Whatever made the plan, it is not given out unchecked.
        if let Err(fault) = plan.check_compiled(&compiled.iter().collect::<Vec<_>>()) {
            return Err(LifetimeError::Unsound { method: plan.method, fault: Box::new(fault) });
        }
        plan.elapsed = start.elapsed();
        Ok(plan)
    }

    /// Which tensors are to blame when the capacity is proven to be too small.
    fn conflict(&self, all: &Own<'_>, solved: &Solved, task: Task<'_>) -> Option<Conflict> {
        let capacity = task.capacity?;
        let problem = &all.compiled.problem;
        if solved.bound <= capacity {
            return None;
        }
        let capacity = capacity.bytes();
        let certain =
            conflict::at_one_rank(problem, capacity).or_else(|| conflict::pinned_above(problem, capacity));
        let core = certain.unwrap_or_else(|| {
            let deadline = Instant::now() + PATIENCE;
            let (bound, enough) = (ByteSize::ZERO, ByteSize::ZERO);
            let (seed, observer) = (self.solver.seed, self.watcher());
            let goal = Goal { bound, enough, deadline, seed, threads: 1, observer };
            conflict::refuted(problem, &solved.tightest, capacity, &goal)
        });
        // Of an alias group the first tensor stands for all.
        let mut first_of = vec![None; problem.buffers.len()];
        for (tensor, buffer) in all.compiled.buffer_of.iter().enumerate() {
            if let Some(buffer) = buffer {
                first_of[*buffer as usize].get_or_insert(tensor);
            }
        }
        let tensors: Vec<usize> = core.buffers.iter().filter_map(|&i| first_of[i as usize]).collect();
        let mut steps = tensors.iter().flat_map(|&i| all.tensors[i].runs()).map(|(start, _)| start);
        let step = steps.find(|&step| tensors.iter().all(|&i| all.tensors[i].is_live_at(step)));
        Some(Conflict { step, tensors, needs: ByteSize::new(core.needs), irreducible: core.irreducible })
    }
}

/// Whether exact search takes a problem.
fn is_small(problem: &Problem) -> bool {
    problem.buffers.len() <= exact::LARGEST
}

/// So long after a moment, or never where the clock does not go so far.
pub(super) fn later(start: Instant, time: Duration) -> Instant {
    start.checked_add(time).unwrap_or_else(|| start + NEVER)
}

/// Tensors with the buffers that they became.
struct Own<'a> {
    tensors: &'a [TensorLifetime],
    compiled: Compiled,
}

impl Own<'_> {
    /// Offsets of buffers as offsets of the tensors that they are made of.
    fn offsets(&self, buffers: &[ByteSize]) -> Vec<ByteSize> {
        let own = self.tensors.iter().zip(&self.compiled.buffer_of);
        own.map(|(tensor, buffer)| match buffer {
            Some(buffer) => buffers[*buffer as usize],
            None => tensor.pinned.unwrap_or_default(),
        })
        .collect()
    }
}

/// Pinned tensors of models that may be live together at any time must not touch.
fn check_pins(models: &[Own<'_>], union: &Union<'_>) -> Result<(), LifetimeError> {
    let Some((first, second)) = union.pins_that_clash() else { return Ok(()) };
    // Of an alias group the first tensor stands for all.
    let tensor = |(model, buffer): (usize, u32)| {
        let own = &models[model];
        let place = own.compiled.buffer_of.iter().position(|&other| other == Some(buffer))?;
        Some((&own.tensors[place], own.compiled.problem.buffers[buffer as usize].pinned?))
    };
    let (Some((first, at)), Some((second, own_at))) = (tensor(first), tensor(second)) else { return Ok(()) };
    let reason = format!(
        "`{}` of `{}` is pinned over it at {}, and under the concurrent schedule both may be live together",
        first.id,
        first.model,
        at.bytes()
    );
    Err(LifetimeError::pin(second, own_at, reason))
}
