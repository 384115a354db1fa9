//! Several pools, each with a capacity: fast and slow memory.
//!
//! Tensors want the first of the pools that they are allowed in. A pool that is too full gives up those whose
//! absence relieves it most for what they cost elsewhere, until what is left has a plan within its capacity; what
//! was given up too eagerly comes back where it still fits. Each pool then has an ordinary plan of its own: every
//! constraint that plans keep is kept in every pool.

use std::collections::HashMap;
use std::sync::Arc;

use super::allocation::AllocationPlan;
use super::lifetime::{LifetimeError, Model, Schedule, TensorLifetime, on_one_clock};
use super::planner::MemoryPlanner;
use super::problem::{Compiled, compile};
use crate::units::ByteSize;

/// A kind of memory of limited size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimit {
    /// Its name, which tensors mention.
    pub name: Arc<str>,
    /// Most bytes of its arena.
    pub capacity: ByteSize,
}

/// A plan for each pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PooledPlan {
    /// The pools, in the order given, each with the plan of the tensors that are in it.
    pub pools: Vec<(PoolLimit, AllocationPlan)>,
    /// Bytes of tensors that are not in the first pool that they are allowed in.
    pub displaced: ByteSize,
}

/// Why there is no pooled plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The lifetimes themselves cannot be planned.
    #[error(transparent)]
    Lifetimes(#[from] LifetimeError),
    /// There are no pools, or two of one name.
    #[error("pools must have names of their own, and there must be one at least")]
    Pools,
    /// A tensor mentions a pool that is not there.
    #[error("tensor `{id}` of `{model}` is allowed in pool `{pool}`, which is not there")]
    Unknown {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
        /// The pool.
        pool: Arc<str>,
    },
    /// Tensors of one alias group are not allowed in the same pools.
    #[error("tensor `{id}` of `{model}` is not allowed in the pools of the others of its alias group")]
    Group {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
    },
    /// A pool cannot hold what is allowed nowhere else, or no plan that does was found.
    #[error(
        "pool `{pool}` has {capacity}, and {needs} were needed for what can be nowhere else; \
         give it more, or allow some tensors in another pool"
    )]
    Full {
        /// The pool.
        pool: Arc<str>,
        /// Its capacity.
        capacity: ByteSize,
        /// The smallest arena found.
        needs: ByteSize,
    },
}

/// Tensors that go together: one, or an alias group.
struct Unit {
    tensors: Vec<usize>,
    /// Allowed pools, the preferred first.
    allowed: Vec<usize>,
    /// Which of them it is in.
    choice: usize,
}

impl MemoryPlanner {
    /// Plans models over pools. Tensors without a list of pools are allowed in all, in the order given. The capacity of
    /// the planner itself plays no part.
    pub fn plan_pools(
        &self,
        models: &[Model],
        schedule: Schedule,
        pools: &[PoolLimit],
    ) -> Result<PooledPlan, PoolError> {
        let tensors = on_one_clock(models, schedule)?;
        let units = units(&tensors, pools)?;
        let mut distribution = Distribution { planner: self, models, schedule, pools, tensors, units };
        for pool in 0..pools.len() {
            distribution.fit(pool)?;
        }
        distribution.bring_back()?;
        let plans = (0..pools.len()).map(|pool| Ok((pools[pool].clone(), distribution.plan(pool)?)));
        let plans: Vec<(PoolLimit, AllocationPlan)> = plans.collect::<Result<_, PoolError>>()?;
        if let Some((limit, plan)) = plans.iter().find(|(limit, plan)| plan.arena_size > limit.capacity) {
            return Err(full(limit, plan.arena_size));
        }
        Ok(PooledPlan { pools: plans, displaced: distribution.displaced() })
    }
}

/// Which unit is in which pool, and all that is needed to judge it.
struct Distribution<'a> {
    planner: &'a MemoryPlanner,
    models: &'a [Model],
    schedule: Schedule,
    pools: &'a [PoolLimit],
    tensors: Vec<TensorLifetime>,
    units: Vec<Unit>,
}

impl Distribution<'_> {
    /// Moves units out of a pool, to their next one, until the rest has a plan within its capacity.
    fn fit(&mut self, pool: usize) -> Result<(), PoolError> {
        let limit = &self.pools[pool];
        let capacity = limit.capacity.bytes();
        loop {
            let inside = self.inside(pool);
            let compiled = self.compile(&inside)?;
            let problem = compiled.problem;
            let loads = problem.loads();
            let over: Vec<u64> = loads.iter().map(|load| load.saturating_sub(capacity)).collect();
            let mut relief: Vec<(usize, u64)> = Vec::with_capacity(inside.len());
            let mut needs = ByteSize::new(loads.iter().copied().max().unwrap_or(0));
            if over.iter().any(|&over| over > 0) {
                // How much of what is too much each unit is.
                let mut buffers = compiled.buffer_of.iter();
                for &u in &inside {
                    let own = buffers.by_ref().take(self.units[u].tensors.len());
                    let buffer =
                        own.fold(None, |found, &buffer| found.or(buffer)).map(|buffer| buffer as usize);
                    let size = buffer.map_or(0, |buffer| problem.buffers[buffer].size);
                    let runs = buffer.into_iter().flat_map(|buffer| problem.runs(buffer));
                    let ranks = runs.flat_map(|(start, end)| &over[start as usize..end as usize]);
                    relief.push((u, ranks.fold(0, |sum, &over| sum.saturating_add(over.min(size)))));
                }
            } else {
                let plan = self.plan(pool)?;
                if plan.arena_size <= limit.capacity {
                    return Ok(());
                }
                // Every step fits, but no plan was found: what ends above the capacity is in the way.
                needs = plan.arena_size;
                let mut ends: HashMap<(&str, &str), u64> = HashMap::new();
                for (tensor, &at) in plan.tensors.iter().zip(&plan.offsets) {
                    ends.insert((&tensor.model, &tensor.id), (at + tensor.size).bytes());
                }
                for &u in &inside {
                    let own = self.units[u].tensors.iter().map(|&i| &self.tensors[i]);
                    let end = own.filter_map(|tensor| ends.get(&(&*tensor.model, &*tensor.id))).max();
                    relief.push((u, end.map_or(0, |end| end.saturating_sub(capacity))));
                }
            }
            self.move_on(&relief).ok_or_else(|| full(limit, needs))?;
        }
    }

    /// Moves on the unit that gives most relief for what it costs: its bytes, as often as they are touched.
    fn move_on(&mut self, relief: &[(usize, u64)]) -> Option<()> {
        let can_move = |u: usize| self.units[u].choice + 1 < self.units[u].allowed.len();
        let movable = relief.iter().filter(|&&(u, relief)| relief > 0 && can_move(u));
        let worth = |&&(u, relief): &&(usize, u64)| relief as f64 / self.traffic(u);
        let &(unit, _) = movable.max_by(|a, b| worth(a).total_cmp(&worth(b)).then(b.0.cmp(&a.0)))?;
        self.units[unit].choice += 1;
        Some(())
    }

    /// Gives units their preferred pools back where a plan still fits, the most touched first.
    fn bring_back(&mut self) -> Result<(), PoolError> {
        let mut displaced: Vec<usize> = (0..self.units.len()).filter(|&u| self.units[u].choice > 0).collect();
        displaced.sort_by(|&a, &b| self.traffic(b).total_cmp(&self.traffic(a)));
        for u in displaced {
            let now = self.units[u].choice;
            for choice in 0..now {
                self.units[u].choice = choice;
                // The pool that it leaves is planned anew as well, and may come out worse.
                if self.fits(self.units[u].allowed[choice])? && self.fits(self.units[u].allowed[now])? {
                    break;
                }
                self.units[u].choice = now;
            }
        }
        Ok(())
    }

    /// Whether what is in a pool has a plan within its capacity.
    fn fits(&self, pool: usize) -> Result<bool, LifetimeError> {
        let capacity = self.pools[pool].capacity;
        let load = self.compile(&self.inside(pool))?.problem.max_load();
        Ok(load <= capacity.bytes() && self.plan(pool)?.arena_size <= capacity)
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

    fn plan(&self, pool: usize) -> Result<AllocationPlan, LifetimeError> {
        let mut is_inside = vec![false; self.tensors.len()];
        for u in self.inside(pool) {
            self.units[u].tensors.iter().for_each(|&i| is_inside[i] = true);
        }
        let mut next = is_inside.into_iter();
        let kept = self.models.iter().map(|model| Model {
            tensors: model.tensors.iter().filter(|_| next.next() == Some(true)).cloned().collect(),
            ..model.clone()
        });
        let kept: Vec<Model> = kept.collect();
        self.planner.plan_within(&kept, self.schedule, Some(self.pools[pool].capacity))
    }

    /// Bytes touched over a unit's life: written at the start of every run, and read.
    fn traffic(&self, unit: usize) -> f64 {
        let touched = |&i: &usize| {
            let tensor = &self.tensors[i];
            tensor.size.bytes() as f64 * (tensor.read_steps().count() + tensor.runs().count()) as f64
        };
        self.units[unit].tensors.iter().map(touched).sum::<f64>().max(1.0)
    }

    fn displaced(&self) -> ByteSize {
        let displaced = self.units.iter().filter(|unit| unit.choice > 0).flat_map(|unit| &unit.tensors);
        displaced.map(|&i| self.tensors[i].size).sum()
    }
}

fn full(limit: &PoolLimit, needs: ByteSize) -> PoolError {
    PoolError::Full { pool: limit.name.clone(), capacity: limit.capacity, needs }
}

fn units(tensors: &[TensorLifetime], pools: &[PoolLimit]) -> Result<Vec<Unit>, PoolError> {
    let places: HashMap<&str, usize> = pools.iter().zip(0..).map(|(pool, i)| (&*pool.name, i)).collect();
    if pools.is_empty() || places.len() < pools.len() {
        return Err(PoolError::Pools);
    }
    let mut units: Vec<Unit> = Vec::new();
    let mut groups: HashMap<(&str, &str), usize> = HashMap::new();
    for (i, tensor) in tensors.iter().enumerate() {
        let (model, id) = (&tensor.model, &tensor.id);
        let place = |pool: &Arc<str>| {
            let unknown = || PoolError::Unknown { model: model.clone(), id: id.clone(), pool: pool.clone() };
            places.get(&**pool).copied().ok_or_else(unknown)
        };
        let mut allowed: Vec<usize> = tensor.pools.iter().map(place).collect::<Result<_, _>>()?;
        if allowed.is_empty() {
            allowed = (0..pools.len()).collect();
        }
        let group = tensor.alias_group.as_deref().map(|group| (&**model, group));
        match group.and_then(|group| groups.get(&group)) {
            Some(&unit) => {
                let unit = &mut units[unit];
                unit.allowed.retain(|pool| allowed.contains(pool));
                if unit.allowed.is_empty() {
                    return Err(PoolError::Group { model: model.clone(), id: id.clone() });
                }
                unit.tensors.push(i);
            }
            None => {
                group.map(|group| groups.insert(group, units.len()));
                units.push(Unit { tensors: vec![i], allowed, choice: 0 });
            }
        }
    }
    Ok(units)
}
