//! Which tensors are in which pool, and a way to relieve those that are too full.
//!
//! Units with the pools that they are allowed in come in, each in its preferred one; they leave it, those first whose
//! absence relieves a full pool most for what they cost elsewhere, until what is left has a plan within its capacity.
//! What was given up too eagerly comes back where it still fits. No unit is ever in a pool that it is not allowed in,
//! and no pool's plan is called fitting that is above its capacity. That this gives up says nothing about whether there is
//! a distribution that fits.

use std::collections::HashMap;
use std::time::Instant;

use super::allocation::{AllocationPlan, ModelSummary};
use super::lifetime::{Model, Schedule, TensorLifetime};
use super::lifetime_error::LifetimeError;
use super::planner::MemoryPlanner;
use super::pooled::{PoolLimit, PooledPlan};
use super::problem::{Compiled, Problem, collect, compile};

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
    /// When searches are to end.
    end: Instant,
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
        end: Instant,
    ) -> Self {
        let fitting = vec![None; pools.len()];
        Self { planner, models, schedule, pools, tensors, units, end, fitting }
    }

    /// Moves units on until every pool fits, or returns one that does not.
    pub(super) fn relieve(&mut self) -> Option<usize> {
        // What leaves one pool may go to one that was looked at before. It ends: units only ever move on.
        while let Some(pool) = self.fitting.iter().position(Option::is_none) {
            if self.relieve_pool(pool).is_none() {
                return Some(pool);
            }
        }
        None
    }

    /// Moves units out of a pool, to their next one, until the rest has a plan within its capacity; `None` when that
    /// does not help.
    fn relieve_pool(&mut self, pool: usize) -> Option<()> {
        let capacity = self.pools[pool].capacity.bytes();
        loop {
            let inside = self.inside(pool);
            let compiled = self.compile(&inside).ok()?;
            let problem = compiled.problem;
            let loads = problem.loads();
            let over: Vec<u64> = loads.iter().map(|load| load.bytes().saturating_sub(capacity)).collect();
            let mut relief: Vec<(usize, u64)> = Vec::with_capacity(inside.len());
            if over.iter().any(|&over| over > 0) {
                // How much of what is too much each unit is.
                let mut buffers = compiled.buffer_of.iter();
                for &u in &inside {
                    let own = buffers.by_ref().take(self.units[u].tensors.len());
                    let buffer =
                        own.fold(None, |found, &buffer| found.or(buffer)).map(|buffer| buffer as usize);
                    let size = buffer.map_or(0, |buffer| problem.buffers[buffer].bytes());
                    let runs = buffer.into_iter().flat_map(|buffer| problem.runs(buffer));
                    let ranks = runs.flat_map(|(start, end)| &over[start as usize..end as usize]);
                    relief.push((u, ranks.fold(0, |sum, &over| sum.saturating_add(over.min(size)))));
                }
            } else {
                let plan = match self.fit(pool, &inside) {
                    Fit::Found(plan) => {
                        self.fitting[pool] = Some(*plan);
                        return Some(());
                    }
                    Fit::Refuted => self.plan(pool, &inside, Instant::now()).ok()?,
                    Fit::Open(plan) => *plan,
                };
                // Every step fits, but no plan was found: what ends above the capacity is in the way.
                let mut ends: HashMap<(&str, &str), u64> = HashMap::new();
                for (tensor, &at) in plan.tensors.iter().zip(&plan.offsets) {
                    if tensor.takes_room() {
                        ends.insert((&tensor.model, &tensor.id), (at + tensor.size).bytes());
                    }
                }
                for &u in &inside {
                    let own = self.units[u].tensors.iter().map(|&i| &self.tensors[i]);
                    let end = own.filter_map(|tensor| ends.get(&(&*tensor.model, &*tensor.id))).max();
                    relief.push((u, end.map_or(0, |end| end.saturating_sub(capacity))));
                }
            }
            self.move_on(&relief)?;
        }
    }

    /// Moves on the unit that gives most relief for what it costs: its bytes, as often as they are touched.
    fn move_on(&mut self, relief: &[(usize, u64)]) -> Option<()> {
        let can_move = |u: usize| self.units[u].choice + 1 < self.units[u].allowed.len();
        let movable = relief.iter().filter(|&&(u, relief)| relief > 0 && can_move(u));
        let worth = |&&(u, relief): &&(usize, u64)| relief as f64 / self.traffic(u);
        let &(unit, _) = movable.max_by(|a, b| worth(a).total_cmp(&worth(b)).then(b.0.cmp(&a.0)))?;
        // Where it goes, what was found to fit is no longer all.
        self.fitting[self.units[unit].allowed[self.units[unit].choice + 1]] = None;
        self.units[unit].choice += 1;
        Some(())
    }

    /// Gives units their preferred pools back where a plan still fits, the most touched first.
    pub(super) fn bring_back(&mut self) {
        let mut displaced: Vec<usize> = (0..self.units.len()).filter(|&u| self.units[u].choice > 0).collect();
        displaced.sort_by(|&a, &b| self.traffic(b).total_cmp(&self.traffic(a)));
        for u in displaced {
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
        // A part of the time that is left: there are other pools, and other distributions.
        let now = Instant::now();
        let share = self.end.saturating_duration_since(now) / (2 * self.pools.len() as u32).max(4);
        match self.plan(pool, inside, now + share) {
            // The pins of two units touch: all else was checked before.
            Err(_) => Fit::Refuted,
            Ok(plan) if plan.arena_size <= capacity => Fit::Found(Box::new(plan)),
            Ok(plan) if plan.proven_bound > capacity => Fit::Refuted,
            Ok(plan) => Fit::Open(Box::new(plan)),
        }
    }

    /// Whether it is time to stop.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.end || self.planner.watcher().is_cancelled()
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

    fn plan(&self, pool: usize, inside: &[usize], end: Instant) -> Result<AllocationPlan, LifetimeError> {
        let mut is_inside = vec![false; self.tensors.len()];
        for &u in inside {
            self.units[u].tensors.iter().for_each(|&i| is_inside[i] = true);
        }
        let mut next = is_inside.into_iter();
        let kept = self.models.iter().map(|model| Model {
            tensors: model.tensors.iter().filter(|_| next.next() == Some(true)).cloned().collect(),
            ..model.clone()
        });
        let kept: Vec<Model> = kept.collect();
        self.planner.plan_within(&kept, self.schedule, Some(self.pools[pool].capacity), end)
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
        let plans = (0..self.pools.len()).map(|pool| self.plan(pool, &self.inside(pool), now).ok());
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
        PooledPlan { pools, displaced, lower_bound, models }
    }
}
