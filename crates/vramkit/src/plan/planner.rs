//! From models to a plan: schedule, parts, portfolio, search.

use std::num::NonZero;
use std::time::{Duration, Instant};

use super::allocation::{AllocationPlan, ModelSummary};
use super::greedy::{self, Placement};
use super::lifetime::{LifetimeError, Model, Schedule, TensorLifetime, on_one_clock};
use super::problem::{Compiled, Problem, compile};
use super::search::{Goal, Observer, Search};
use crate::units::ByteSize;

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
}

impl MemoryPlanner {
    /// The greedy portfolio alone.
    pub fn new() -> Self {
        Self::default()
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
        let deadline = start + self.deadline;
        let (solved, offsets, lower_bound) = match schedule {
            Schedule::Fixed | Schedule::Sequential => {
                let all = match own.as_slice() {
                    [_] => own.remove(0),
                    _ => Own { tensors: &tensors, compiled: compile(tensors.iter())? },
                };
                let solved = self.solve(&all.compiled.problem, deadline);
                let offsets = all.offsets(&solved.placement.offsets, 0);
                (solved, offsets, all.compiled.problem.max_load())
            }
            Schedule::Concurrent => self.stack(&own, deadline)?,
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
            elapsed: start.elapsed(),
        })
    }

    /// Parts first, the fullest first: once one has an arena, no other needs a smaller one.
    fn solve(&self, problem: &Problem, deadline: Instant) -> Solved {
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
        let capacity = self.capacity.map_or(0, ByteSize::bytes);
        let mut whole = Solved {
            placement: Placement { offsets: vec![0; problem.buffers.len()], arena: 0 },
            method: "nothing to place".to_owned(),
            bound: highest,
        };
        for (bound, part, restricted) in &parts {
            let enough = whole.bound.max(whole.placement.arena).max(capacity);
            let solved = self.solve_part(restricted, *bound, enough, deadline);
            for (&i, &offset) in part.iter().zip(&solved.placement.offsets) {
                whole.placement.offsets[i as usize] = offset;
            }
            whole.bound = whole.bound.max(solved.bound);
            if solved.placement.arena > whole.placement.arena {
                whole.placement.arena = solved.placement.arena;
                whole.method = solved.method;
            }
        }
        whole
    }

    fn solve_part(&self, problem: &Problem, bound: u64, enough: u64, deadline: Instant) -> Solved {
        let (placement, method) = greedy::best(problem, enough);
        let mut solved = Solved { placement, method, bound };
        let threads =
            self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get));
        let observer: &dyn Observer = self.observer.as_deref().map_or(&(), |observer| observer);
        for search in &self.searches {
            let goal = Goal {
                bound: solved.bound,
                enough: enough.max(solved.bound),
                deadline,
                seed: self.seed,
                threads,
                observer,
            };
            if solved.placement.arena <= goal.enough || goal.is_over() {
                break;
            }
            let found = search.improve(problem, &solved.placement, &goal);
            solved.bound = found.bound;
            if let Some(placement) = found.placement {
                solved.placement = placement;
                solved.method = search.name().to_owned();
            }
        }
        solved
    }

    /// Models beside one another: each in a range of its own. One model with pins goes to the bottom; those
    /// whose arenas end off the common alignment go last, where they cost no padding.
    fn stack(
        &self,
        models: &[Own<'_>],
        deadline: Instant,
    ) -> Result<(Solved, Vec<ByteSize>, u64), LifetimeError> {
        if let Some(tensor) = models.iter().filter_map(Own::first_pinned).nth(1) {
            let reason = "under the concurrent schedule one model alone can have pinned tensors";
            return Err(LifetimeError::pin(tensor, tensor.pinned.map_or(0, ByteSize::bytes), reason));
        }
        let mut solved: Vec<(usize, Solved)> =
            models.iter().map(|model| self.solve(&model.compiled.problem, deadline)).enumerate().collect();
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
