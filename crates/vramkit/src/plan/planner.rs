//! From models to a plan: schedule, parts, portfolio, search.

use std::num::NonZero;
use std::time::{Duration, Instant};

use super::allocation::{AllocationPlan, Conflict, ModelSummary};
use super::conflict;
use super::exact::Exact;
use super::greedy::{self, Placement};
use super::lifetime::{LifetimeError, Model, Schedule, TensorLifetime, on_one_clock};
use super::problem::{Compiled, Problem, compile};
use super::recorder::Recorder;
use super::search::{Goal, Observer, Search};
use super::squeaky::Squeaky;
use crate::units::ByteSize;

/// How long the reason for a refusal is looked for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Plans; see the [module](super).
#[derive(Default)]
pub struct MemoryPlanner {
    searches: Vec<Box<dyn Search>>,
    deadline: Duration,
    capacity: Option<ByteSize>,
    seed: u64,
    threads: Option<usize>,
    observer: Option<Box<dyn Observer + Send>>,
}

/// A part's placement, or a whole problem's.
struct Solved {
    placement: Placement,
    method: String,
    /// No arena is smaller.
    bound: u64,
    /// The buffers of the part that the bound is from.
    tightest: Vec<u32>,
}

impl MemoryPlanner {
    /// The greedy portfolio alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// The portfolio, and every search of this crate for up to a deadline.
    pub fn thorough(deadline: Duration) -> Self {
        Self::new().search(Box::new(Squeaky)).search(Box::new(Exact)).deadline(deadline)
    }

    /// Adds a search, to be used for up to [`deadline`](Self::deadline) when the portfolio leaves a gap.
    pub fn search(mut self, search: Box<dyn Search>) -> Self {
        self.searches.push(search);
        self
    }

    /// How long searches may take, all together.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Where searches start their random choices; 0 unless set.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Stop at the first plan whose arena is at most this.
    pub fn capacity(mut self, capacity: ByteSize) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// How many threads searches may use; as many as the machine has unless set. For a seed and a number of threads
    /// the answer is the same wherever searches end before the deadline.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// Who is told how searches get on, and may end them.
    pub fn observer(mut self, observer: impl Observer + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Plans models for a schedule. The result is deterministic unless a search runs into its deadline.
    pub fn plan(&self, models: &[Model], schedule: Schedule) -> Result<AllocationPlan, LifetimeError> {
        self.plan_within(models, schedule, self.capacity)
    }

    /// As [`plan`](Self::plan), with another capacity.
    pub(super) fn plan_within(
        &self,
        models: &[Model],
        schedule: Schedule,
        capacity: Option<ByteSize>,
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
            summaries.push(ModelSummary {
                name: model.name.clone(),
                tensors: first.len(),
                sum_of_sizes: first.iter().map(|tensor| tensor.size).sum(),
                live_peak: ByteSize::new(compiled.problem.max_load()),
                weights: model.weights,
            });
            own.push(Own { tensors: first, compiled });
        }
        let recorder = Recorder::new(start, self.observer.as_deref().map_or(&(), |observer| observer));
        let deadline = start + self.deadline;
        let mut conflict = None;
        let (solved, offsets, lower_bound) = match schedule {
            Schedule::Fixed | Schedule::Sequential => {
                let all = match own.as_slice() {
                    [_] => own.remove(0),
                    _ => Own { tensors: &tensors, compiled: compile(tensors.iter())? },
                };
                let solved = self.solve(&all.compiled.problem, capacity, deadline, &recorder);
                conflict = capacity.and_then(|capacity| self.conflict(&all, &solved, capacity, &recorder));
                let offsets = all.offsets(&solved.placement.offsets, 0);
                (solved, offsets, all.compiled.problem.max_load())
            }
            Schedule::Concurrent => self.stack(&own, capacity, deadline, &recorder)?,
        };
        // Tensors that take no room or no time have no buffer, but may be pinned above all others.
        let highest = tensors.iter().zip(&offsets).map(|(tensor, &offset)| offset + tensor.size).max();
        let arena = highest.unwrap_or_default();
        Ok(AllocationPlan {
            schedule,
            tensors: tensors.into(),
            offsets,
            arena_size: arena,
            lower_bound: ByteSize::new(lower_bound),
            proven_bound: ByteSize::new(solved.bound.max(lower_bound)),
            proven_optimal: arena.bytes() <= solved.bound,
            models: summaries,
            method: solved.method,
            steps: recorder.into_steps(),
            conflict,
            elapsed: start.elapsed(),
        })
    }

    /// Parts first, the fullest first: once one has an arena, no other needs a smaller one.
    fn solve(
        &self,
        problem: &Problem,
        capacity: Option<ByteSize>,
        deadline: Instant,
        recorder: &Recorder<'_>,
    ) -> Solved {
        let mut parts: Vec<(u64, Vec<u32>, Problem)> = problem
            .parts()
            .into_iter()
            .map(|part| {
                let restricted = problem.restrict(&part);
                (restricted.lower_bound(), part, restricted)
            })
            .collect();
        parts.sort_by_key(|(bound, ..)| std::cmp::Reverse(*bound));
        let highest = parts.first().map_or(0, |(bound, ..)| *bound);
        let capacity = capacity.map_or(0, ByteSize::bytes);
        let mut whole = Solved {
            placement: Placement { offsets: vec![0; problem.buffers.len()], arena: 0 },
            method: "nothing to place".to_owned(),
            bound: highest,
            tightest: parts.first().map_or_else(Vec::new, |(_, part, _)| part.clone()),
        };
        for (bound, part, restricted) in &parts {
            let enough = whole.bound.max(whole.placement.arena).max(capacity);
            let solved = self.solve_part(restricted, *bound, enough, deadline, recorder);
            for (&i, &offset) in part.iter().zip(&solved.placement.offsets) {
                whole.placement.offsets[i as usize] = offset;
            }
            if solved.bound > whole.bound {
                whole.bound = solved.bound;
                whole.tightest = part.clone();
            }
            if solved.placement.arena > whole.placement.arena {
                whole.placement.arena = solved.placement.arena;
                whole.method = solved.method;
            }
        }
        whole
    }

    fn solve_part(
        &self,
        problem: &Problem,
        bound: u64,
        enough: u64,
        deadline: Instant,
        recorder: &Recorder<'_>,
    ) -> Solved {
        let (placement, method) = greedy::best(problem, enough);
        let part = recorder.parts();
        recorder.begin(part, problem.buffers.len(), &method);
        recorder.progress(bound, placement.arena);
        let mut solved = Solved { placement, method, bound, tightest: Vec::new() };
        let threads =
            self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get));
        for search in &self.searches {
            let goal = Goal {
                bound: solved.bound,
                enough: enough.max(solved.bound),
                deadline,
                seed: self.seed,
                threads,
                observer: recorder,
            };
            if solved.placement.arena <= goal.enough || goal.is_over() {
                break;
            }
            recorder.begin(part, problem.buffers.len(), search.name());
            let found = search.improve(problem, &solved.placement, &goal);
            solved.bound = found.bound;
            if let Some(placement) = found.placement {
                solved.placement = placement;
                solved.method = search.name().to_owned();
            }
        }
        recorder.progress(solved.bound, solved.placement.arena);
        solved
    }

    /// Which tensors are to blame when the capacity is proven to be too small.
    fn conflict(
        &self,
        all: &Own<'_>,
        solved: &Solved,
        capacity: ByteSize,
        recorder: &Recorder<'_>,
    ) -> Option<Conflict> {
        let capacity = capacity.bytes();
        let problem = &all.compiled.problem;
        if solved.bound <= capacity {
            return None;
        }
        let certain =
            conflict::at_one_rank(problem, capacity).or_else(|| conflict::pinned_above(problem, capacity));
        let core = certain.unwrap_or_else(|| {
            let deadline = Instant::now() + PATIENCE;
            let goal =
                Goal { bound: 0, enough: 0, deadline, seed: self.seed, threads: 1, observer: recorder };
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

    /// Models beside one another: each in a range of its own. One model with pins goes to the bottom; those
    /// whose arenas end off the common alignment go last, where they cost no padding.
    fn stack(
        &self,
        models: &[Own<'_>],
        capacity: Option<ByteSize>,
        deadline: Instant,
        recorder: &Recorder<'_>,
    ) -> Result<(Solved, Vec<ByteSize>, u64), LifetimeError> {
        if let Some(tensor) = models.iter().filter_map(Own::first_pinned).nth(1) {
            let reason = "under the concurrent schedule one model alone can have pinned tensors";
            return Err(LifetimeError::pin(tensor, tensor.pinned.map_or(0, ByteSize::bytes), reason));
        }
        let mut solved: Vec<(usize, Solved)> = models
            .iter()
            .map(|model| self.solve(&model.compiled.problem, capacity, deadline, recorder))
            .enumerate()
            .collect();
        let alignment = |i: usize| {
            let buffers = models[i].compiled.problem.buffers.iter();
            buffers.map(|buffer| buffer.alignment).max().unwrap_or(1)
        };
        let common = (0..models.len()).map(alignment).max().unwrap_or(1);
        solved.sort_by_key(|(i, solved)| {
            (models[*i].first_pinned().is_none(), !solved.placement.arena.is_multiple_of(common), *i)
        });
        let mut bases = vec![0; models.len()];
        let (mut top, mut load, mut bound) = (0u64, 0, 0);
        for (i, solved) in &solved {
            bases[*i] = top.next_multiple_of(alignment(*i));
            if solved.placement.arena > 0 {
                top = bases[*i] + solved.placement.arena;
            }
            load += models[*i].compiled.problem.max_load();
            bound += solved.bound;
        }
        solved.sort_by_key(|(i, _)| *i);
        let offsets =
            solved.iter().flat_map(|(i, solved)| models[*i].offsets(&solved.placement.offsets, bases[*i]));
        let methods: Vec<&str> = solved.iter().map(|(_, solved)| solved.method.as_str()).collect();
        let whole = Solved {
            placement: Placement { offsets: Vec::new(), arena: top },
            method: format!("stacked: {}", methods.join(", ")),
            bound,
            tightest: Vec::new(),
        };
        Ok((whole, offsets.collect(), load))
    }
}

/// Tensors with the buffers that they became.
struct Own<'a> {
    tensors: &'a [TensorLifetime],
    compiled: Compiled,
}

impl<'a> Own<'a> {
    fn first_pinned(&self) -> Option<&'a TensorLifetime> {
        self.tensors.iter().find(|tensor| tensor.pinned.is_some())
    }

    /// Offsets of buffers as offsets of the tensors that they are made of.
    fn offsets(&self, buffers: &[u64], base: u64) -> Vec<ByteSize> {
        let own = self.tensors.iter().zip(&self.compiled.buffer_of);
        own.map(|(tensor, buffer)| match buffer {
            Some(buffer) => ByteSize::new(base + buffers[*buffer as usize]),
            None => tensor.pinned.unwrap_or_default(),
        })
        .collect()
    }
}
