//! Which tensors are in which pool, and a way to relieve those that are too full.
//!
//! Units with the pools that they are allowed in come in, each in its preferred one; they leave it, those first whose
//! absence relieves a full pool most for what they cost elsewhere, until what is left has a plan within its capacity.
//! What was given up too eagerly comes back where it still fits. No unit is ever in a pool that it is not allowed in,
//! and no pool's plan is called fitting that is above its capacity. That this gives up, or is out of time, says nothing
//! about whether there is a distribution that fits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use super::allocation::{AllocationPlan, ModelSummary};
use super::lifetime::{Model, Schedule, TensorLifetime};
use super::lifetime_error::LifetimeError;
use super::planner::MemoryPlanner;
use super::pooled::{PoolLimit, PooledPlan};
use super::problem::{Compiled, Problem, collect, compile};
use vramkit_units::{ByteSize, Step};

/// Units planned or looked at, one by one, whatever the time: few have the same answer on every machine.
const FREE: usize = 50_000;

/// How long a look at a pool may take once there is no time left: far more than it does for few units.
const GLANCE: Duration = Duration::from_millis(100);

/// Tensors that go together: one, or an alias group.
pub(super) struct Choice {
    pub(super) tensors: Vec<usize>,
    /// Allowed pools, the preferred first.
    pub(super) allowed: Vec<usize>,
    /// Which of them it is in.
    pub(super) choice: usize,
}

/// See the [module](self).
pub(super) struct Distribution<'a> {
    planner: &'a MemoryPlanner,
    models: &'a [Model],
    pub(super) schedule: Schedule,
    pub(super) pools: &'a [PoolLimit],
    pub(super) tensors: Vec<TensorLifetime>,
    pub(super) units: Vec<Choice>,
    /// When planning began, and when searches are to end.
    began: Instant,
    end: Instant,
    /// Units planned or looked at since this stage began.
    looked_at: usize,
    /// Of each pool the plan of what is in it now, where it was found to fit.
    pub(super) fitting: Vec<Option<AllocationPlan>>,
}

/// What is known about a pool with what is in it.
pub(super) enum Fit {
    /// There is a plan within its capacity.
    Found(Box<AllocationPlan>),
    /// There is none.
    Refuted,
    /// The smallest arena that was found.
    Open(Box<AllocationPlan>),
}

impl<'a> Distribution<'a> {
    pub(super) fn new(
        planner: &'a MemoryPlanner,
        models: &'a [Model],
        schedule: Schedule,
        pools: &'a [PoolLimit],
        tensors: Vec<TensorLifetime>,
        units: Vec<Choice>,
        began: Instant,
    ) -> Self {
        let (end, fitting) = (planner.end(began), vec![None; pools.len()]);
        Self { planner, models, schedule, pools, tensors, units, began, end, looked_at: 0, fitting }
    }

    /// Lets no search have any more time.
    pub(super) fn end_now(&mut self) {
        self.end = self.began;
    }

    /// Moves units on until every pool fits, or returns one that does not, and whether no distribution can change that.
    pub(super) fn relieve(&mut self) -> Option<(usize, bool)> {
        self.begin();
        // What leaves one pool may go to one that was looked at before. It ends: units only ever move on.
        while let Some(pool) = self.fitting.iter().position(Option::is_none) {
            if let Err(proven) = self.relieve_pool(pool) {
                return Some((pool, proven));
            }
        }
        None
    }

    /// Moves units out of a pool, to their next one, until the rest has a plan within its capacity. That this does not help, or that
    /// there is no time for more, is an error: whether it is known that what is left, which may be nowhere else, does not fit.
    fn relieve_pool(&mut self, pool: usize) -> Result<(), bool> {
        let capacity = self.pools[pool].capacity.bytes();
        loop {
            let inside = self.inside(pool);
            let compiled = self.compile(&inside).map_err(|_| false)?;
            let must_stay = self.must_stay(&inside);
            if compiled.problem.max_load().bytes() > capacity {
                self.relieve_loads(&inside, &compiled, capacity).ok_or(must_stay)?;
                if self.is_over(inside.len()) {
                    return Err(false);
                }
                continue;
            }
            let plan = match self.fit(pool, &inside) {
                Fit::Found(plan) => {
                    self.fitting[pool] = Some(*plan);
                    return Ok(());
                }
                Fit::Refuted if must_stay => return Err(true),
                _ if self.is_over(inside.len()) => return Err(false),
                Fit::Refuted => {
                    self.plan(&inside, Some(self.pools[pool].capacity), Instant::now()).map_err(|_| false)?
                }
                Fit::Open(plan) => *plan,
            };
            // Every step fits, but no plan was found: what ends above the capacity is in the way.
            let mut ends: HashMap<(&str, &str), u64> = HashMap::new();
            for (tensor, &at) in plan.tensors.iter().zip(&plan.offsets) {
                if tensor.takes_room() {
                    ends.insert((&tensor.model, &tensor.id), (at + tensor.size).bytes());
                }
            }
            let relief = |u: usize| {
                let own = self.units[u].tensors.iter().map(|&i| &self.tensors[i]);
                let end = own.filter_map(|tensor| ends.get(&(&*tensor.model, &*tensor.id))).max();
                self.worth(u, end.map_or(0, |end| end.saturating_sub(capacity)))
            };
            let movable = inside.into_iter().filter_map(|u| Some((relief(u)?, Reverse(u))));
            let (_, Reverse(unit)) = movable.max().ok_or(false)?;
            self.move_on(unit);
        }
    }

    /// Whether units may be in no other pool.
    fn must_stay(&self, units: &[usize]) -> bool {
        units.iter().all(|&u| self.units[u].allowed.len() == 1)
    }

    /// Moves units out of a pool until no more is live there than it has; `None` when that does not help.
    fn relieve_loads(&mut self, inside: &[usize], compiled: &Compiled, capacity: u64) -> Option<()> {
        let problem = &compiled.problem;
        let mut loads: Vec<u64> = problem.loads().iter().map(|load| load.bytes()).collect();
        let mut over = loads.iter().filter(|&&load| load > capacity).count();
        // How much of what is too much each unit is.
        let relief = |loads: &[u64], buffer: usize| {
            let size = problem.buffers[buffer].bytes();
            let ranks = problem.runs(buffer).flat_map(|(start, end)| &loads[start as usize..end as usize]);
            ranks.fold(0u64, |sum, load| sum.saturating_add(load.saturating_sub(capacity).min(size)))
        };
        let mut heap = BinaryHeap::with_capacity(inside.len());
        let mut buffers = compiled.buffer_of.iter();
        for &u in inside {
            let own = buffers.by_ref().take(self.units[u].tensors.len());
            let Some(buffer) = own.fold(None, |found, &buffer| found.or(buffer)) else { continue };
            let buffer = buffer as usize;
            heap.extend(self.worth(u, relief(&loads, buffer)).map(|worth| (worth, Reverse(u), buffer)));
        }
        while over > 0 {
            let (_, Reverse(u), buffer) = heap.pop()?;
            // Since it was reckoned others have gone, so it can only be worth less.
            let Some(worth) = self.worth(u, relief(&loads, buffer)) else { continue };
            let now = (worth, Reverse(u), buffer);
            if heap.peek().is_some_and(|next| *next > now) {
                heap.push(now);
                continue;
            }
            let size = problem.buffers[buffer].bytes();
            for (start, end) in problem.runs(buffer) {
                for load in &mut loads[start as usize..end as usize] {
                    over -= usize::from(*load > capacity && *load - size <= capacity);
                    *load -= size;
                }
            }
            self.move_on(u);
        }
        Some(())
    }

    /// What moving a unit on gives for what it costs, its bytes as often as they are touched; `None` where it gives nothing, or
    /// has nowhere to go. Numbers that are not negative are in the order of their bits.
    fn worth(&self, unit: usize, relief: u64) -> Option<u64> {
        let can_move = self.units[unit].choice + 1 < self.units[unit].allowed.len();
        (relief > 0 && can_move).then(|| (relief as f64 / self.traffic(unit)).to_bits())
    }

    fn move_on(&mut self, unit: usize) {
        self.units[unit].choice += 1;
        // Where it goes, what was found to fit is no longer all.
        self.fitting[self.units[unit].allowed[self.units[unit].choice]] = None;
    }

    /// Gives units their preferred pools back where a plan still fits, the most touched first.
    pub(super) fn bring_back(&mut self) {
        self.begin();
        let mut displaced: Vec<usize> = (0..self.units.len()).filter(|&u| self.units[u].choice > 0).collect();
        displaced.sort_by(|&a, &b| self.traffic(b).total_cmp(&self.traffic(a)));
        for u in displaced {
            if self.is_over(self.units.len()) {
                return;
            }
            let now = self.units[u].choice;
            for choice in 0..now {
                self.units[u].choice = choice;
                let (to, from) = (self.units[u].allowed[choice], self.units[u].allowed[now]);
                // The pool that it leaves is planned anew as well, and may come out worse.
                let plans = self.fitting_plan(to).and_then(|to| Some((to, self.fitting_plan(from)?)));
                if let Some((to_plan, from_plan)) = plans {
                    (self.fitting[to], self.fitting[from]) = (Some(to_plan), Some(from_plan));
                    break;
                }
                self.units[u].choice = now;
            }
        }
    }

    /// Looks for smaller arenas than those that fit, in the time that is left: a part of it for each pool.
    pub(super) fn lower(&mut self) {
        for pool in 0..self.pools.len() {
            let left = self.end.saturating_duration_since(Instant::now());
            let is_open = |plan: &AllocationPlan| plan.arena_size > plan.proven_bound;
            let open = self.fitting[pool..].iter().flatten().filter(|plan| is_open(plan)).count() as u32;
            let Some(now) = self.fitting[pool].as_ref().filter(|plan| is_open(plan)) else { continue };
            if left.is_zero() || self.planner.watcher().is_cancelled() {
                return;
            }
            let (arena, inside) = (now.arena_size, self.inside(pool));
            let lower = self.plan(&inside, None, Instant::now() + left / open);
            if let Some(lower) = lower.ok().filter(|lower| lower.arena_size < arena) {
                self.fitting[pool] = Some(lower);
            }
        }
    }

    /// The plan of what is in a pool, when one within its capacity is found.
    fn fitting_plan(&self, pool: usize) -> Option<AllocationPlan> {
        let inside = self.inside(pool);
        let load = self.compile(&inside).ok()?.problem.max_load();
        if load > self.pools[pool].capacity {
            return None;
        }
        match self.fit(pool, &inside) {
            Fit::Found(plan) => Some(*plan),
            Fit::Refuted | Fit::Open(_) => None,
        }
    }

    /// Whether some units fit into a pool together.
    pub(super) fn fit(&self, pool: usize, inside: &[usize]) -> Fit {
        let capacity = self.pools[pool].capacity;
        // A part of the time that is left: there are other pools, and other distributions where units may be elsewhere.
        let now = Instant::now();
        let pools = self.pools.len() as u32;
        let parts = if self.must_stay(inside) { pools } else { (2 * pools).max(4) };
        let share = self.end.saturating_duration_since(now) / parts;
        match self.plan(inside, Some(capacity), now + share) {
            // The pins of two units touch: all else was checked before.
            Err(_) => Fit::Refuted,
            Ok(plan) if plan.arena_size <= capacity => Fit::Found(Box::new(plan)),
            Ok(plan) if plan.proven_bound > capacity => Fit::Refuted,
            Ok(plan) => Fit::Open(Box::new(plan)),
        }
    }

    /// A stage begins, in which some units are looked at whatever the time.
    pub(super) fn begin(&mut self) {
        self.looked_at = 0;
    }

    /// Whether it is time to stop, now that so many units more were looked at.
    pub(super) fn is_over(&mut self, units: usize) -> bool {
        self.looked_at = self.looked_at.saturating_add(units);
        // Every pool has a few looks, however many units there are.
        let free = FREE.max(2 * self.pools.len() * self.units.len());
        let is_late = || self.looked_at > free && Instant::now() >= self.end;
        self.planner.watcher().is_cancelled() || is_late()
    }

    /// The units in a pool.
    fn inside(&self, pool: usize) -> Vec<usize> {
        let is_inside = |&u: &usize| self.units[u].allowed[self.units[u].choice] == pool;
        (0..self.units.len()).filter(is_inside).collect()
    }

    /// The tensors of units as numbers, in their order.
    fn compile(&self, units: &[usize]) -> Result<Compiled, LifetimeError> {
        let members = units.iter().flat_map(|&u| &self.units[u].tensors).map(|&i| &self.tensors[i]);
        let members: Vec<&TensorLifetime> = members.collect();
        compile(members.into_iter())
    }

    /// The plan of what is in a pool: the first within its capacity, or the lowest.
    fn plan(
        &self,
        inside: &[usize],
        capacity: Option<ByteSize>,
        end: Instant,
    ) -> Result<AllocationPlan, LifetimeError> {
        let mut is_inside = vec![false; self.tensors.len()];
        for &u in inside {
            self.units[u].tensors.iter().for_each(|&i| is_inside[i] = true);
        }
        // All pools have one clock, whatever is in them.
        let clock = match self.schedule {
            Schedule::Fixed | Schedule::Sequential => Schedule::Fixed,
            Schedule::Concurrent => Schedule::Concurrent,
        };
        let mut all = self.tensors.iter().zip(is_inside);
        let kept = self.models.iter().map(|model| {
            let own = all.by_ref().take(model.tensors.len()).filter(|(_, is_inside)| *is_inside);
            let tensors = own.map(|(tensor, _)| tensor.clone()).collect();
            Model { name: model.name.clone(), weights: model.weights, start: Step(0), tensors }
        });
        let kept: Vec<Model> = kept.collect();
        let plan = self.planner.plan_within(&kept, clock, capacity, end, GLANCE)?;
        Ok(AllocationPlan { schedule: self.schedule, ..plan })
    }

    /// Bytes touched over a unit's life: written at the start of every run, and read.
    fn traffic(&self, unit: usize) -> f64 {
        let touched = |&i: &usize| {
            let tensor = &self.tensors[i];
            tensor.size.bytes() as f64 * (tensor.read_steps().count() + tensor.runs().count()) as f64
        };
        self.units[unit].tensors.iter().map(touched).sum::<f64>().max(1.0)
    }

    /// The plans that were found to fit.
    pub(super) fn pooled(self) -> PooledPlan {
        let plans = self.fitting.iter().flatten().cloned().collect();
        self.with_plans(plans)
    }

    /// Plans of what is in each pool now, whether they fit or not; `None` where there are none.
    pub(super) fn pooled_anyhow(&self) -> Option<PooledPlan> {
        let now = Instant::now();
        let capacity = |pool: usize| Some(self.pools[pool].capacity);
        let plans = (0..self.pools.len()).map(|pool| self.plan(&self.inside(pool), capacity(pool), now).ok());
        Some(self.with_plans(plans.collect::<Option<_>>()?))
    }

    fn with_plans(&self, plans: Vec<AllocationPlan>) -> PooledPlan {
        let displaced = self.units.iter().filter(|unit| unit.choice > 0).flat_map(|unit| &unit.tensors);
        let displaced = displaced.map(|&i| self.tensors[i].size).sum();
        let mut rest = self.tensors.as_slice();
        let problem = |tensors: &[TensorLifetime]| {
            collect(tensors.iter()).map_or_else(|_| Problem::default(), |(compiled, _)| compiled.problem)
        };
        let summaries = self.models.iter().map(|model| {
            let (own, others) = rest.split_at(model.tensors.len());
            rest = others;
            ModelSummary::new(model, &problem(own))
        });
        let models: Vec<ModelSummary> = summaries.collect();
        let lower_bound = match self.schedule {
            Schedule::Fixed | Schedule::Sequential => problem(&self.tensors).max_load(),
            Schedule::Concurrent => models.iter().map(|model| model.live_peak).sum(),
        };
        let pools = self.pools.iter().cloned().zip(plans).collect();
        PooledPlan { pools, displaced, lower_bound, models, elapsed: self.began.elapsed() }
    }
}
