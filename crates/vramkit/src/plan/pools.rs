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
use super::problem::compile;
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
    /// Plans models over pools. Tensors without a list of pools are allowed in all, in the order given.
    pub fn plan_pools(
        &self,
        models: &[Model],
        schedule: Schedule,
        pools: &[PoolLimit],
    ) -> Result<PooledPlan, PoolError> {
        let tensors = on_one_clock(models, schedule)?;
        let mut units = units(&tensors, pools)?;
        for pool in 0..pools.len() {
            self.fit(models, schedule, pools, pool, &tensors, &mut units)?;
        }
        self.bring_back(models, schedule, pools, &tensors, &mut units)?;
        let plans = (0..pools.len()).map(|pool| {
            let plan = self.plan_of(models, schedule, pools, pool, &units)?;
            Ok((pools[pool].clone(), plan))
        });
        let plans: Vec<(PoolLimit, AllocationPlan)> = plans.collect::<Result<_, PoolError>>()?;
        if let Some((limit, plan)) = plans.iter().find(|(limit, plan)| plan.arena_size > limit.capacity) {
            return Err(full(limit, plan));
        }
        let displaced = units.iter().filter(|unit| unit.choice > 0).flat_map(|unit| &unit.tensors);
        let displaced = displaced.map(|&i| tensors[i].size).sum();
        Ok(PooledPlan { pools: plans, displaced })
    }

    /// Moves units out of a pool, to their next one, until the rest has a plan within its capacity.
    fn fit(
        &self,
        models: &[Model],
        schedule: Schedule,
        pools: &[PoolLimit],
        pool: usize,
        tensors: &[TensorLifetime],
        units: &mut [Unit],
    ) -> Result<(), PoolError> {
        let capacity = pools[pool].capacity.bytes();
        loop {
            let inside: Vec<usize> =
                (0..units.len()).filter(|&u| units[u].allowed[units[u].choice] == pool).collect();
            let members: Vec<&TensorLifetime> =
                inside.iter().flat_map(|&u| &units[u].tensors).map(|&i| &tensors[i]).collect();
            let compiled = compile(members.into_iter())?;
            let problem = compiled.problem;
            let loads = problem.loads();
            let over: Vec<u64> = loads.iter().map(|load| load.saturating_sub(capacity)).collect();
            // How much of what is too much each unit is.
            let mut buffers = compiled.buffer_of.iter();
            let mut relief: Vec<(usize, u64)> = Vec::new();
            for &u in &inside {
                let own = buffers.by_ref().take(units[u].tensors.len());
                let Some(buffer) = own.flatten().fold(None, |_, &buffer| Some(buffer as usize)) else {
                    relief.push((u, 0));
                    continue;
                };
                let size = problem.buffers[buffer].size;
                let ranks = problem.runs(buffer).flat_map(|(start, end)| &over[start as usize..end as usize]);
                relief.push((u, ranks.fold(0, |sum, &over| sum.saturating_add(over.min(size)))));
            }
            if over.iter().all(|&over| over == 0) {
                let plan = self.plan_of(models, schedule, pools, pool, units)?;
                if plan.arena_size.bytes() <= capacity {
                    return Ok(());
                }
                // Every step fits, but no plan was found: what ends above the capacity is in the way.
                let above: HashMap<(&str, &str), u64> = plan
                    .tensors
                    .iter()
                    .zip(&plan.offsets)
                    .map(|(tensor, &at)| {
                        let end = (at + tensor.size).bytes();
                        ((&*tensor.model, &*tensor.id), end.saturating_sub(capacity))
                    })
                    .collect();
                for (u, relief) in &mut relief {
                    let name = |&i: &usize| (&*tensors[i].model, &*tensors[i].id);
                    *relief = units[*u].tensors.iter().filter_map(|i| above.get(&name(i))).sum();
                }
                let stuck = || full(&pools[pool], &plan);
                self.move_on(&relief, tensors, units).ok_or_else(stuck)?;
            } else {
                let needs = ByteSize::new(loads.iter().copied().max().unwrap_or(0));
                let limit = &pools[pool];
                let stuck = || PoolError::Full { pool: limit.name.clone(), capacity: limit.capacity, needs };
                self.move_on(&relief, tensors, units).ok_or_else(stuck)?;
            }
        }
    }

    /// Moves on the unit that gives most relief for what it costs: its bytes, as often as they are touched.
    fn move_on(&self, relief: &[(usize, u64)], tensors: &[TensorLifetime], units: &mut [Unit]) -> Option<()> {
        let movable =
            relief.iter().filter(|&&(u, relief)| relief > 0 && units[u].choice + 1 < units[u].allowed.len());
        let worth = |&&(u, relief): &&(usize, u64)| relief as f64 / traffic(&units[u], tensors);
        let &(unit, _) = movable.max_by(|a, b| worth(a).total_cmp(&worth(b)).then(b.0.cmp(&a.0)))?;
        units[unit].choice += 1;
        Some(())
    }

    /// Gives units their preferred pools back where a plan still fits, the most touched first.
    fn bring_back(
        &self,
        models: &[Model],
        schedule: Schedule,
        pools: &[PoolLimit],
        tensors: &[TensorLifetime],
        units: &mut [Unit],
    ) -> Result<(), PoolError> {
        let mut displaced: Vec<usize> = (0..units.len()).filter(|&u| units[u].choice > 0).collect();
        displaced.sort_by(|&a, &b| traffic(&units[b], tensors).total_cmp(&traffic(&units[a], tensors)));
        for u in displaced {
            let now = units[u].choice;
            for choice in 0..now {
                units[u].choice = choice;
                // The pool that it leaves is planned anew as well, and may come out worse.
                let both = [units[u].allowed[choice], units[u].allowed[now]];
                let mut fits = true;
                for pool in both {
                    fits = fits && self.fits(models, schedule, pools, pool, tensors, units)?;
                }
                if fits {
                    break;
                }
                units[u].choice = now;
            }
        }
        Ok(())
    }

    /// Whether what is in a pool has a plan within its capacity.
    fn fits(
        &self,
        models: &[Model],
        schedule: Schedule,
        pools: &[PoolLimit],
        pool: usize,
        tensors: &[TensorLifetime],
        units: &[Unit],
    ) -> Result<bool, LifetimeError> {
        let inside = units.iter().filter(|unit| unit.allowed[unit.choice] == pool);
        let members: Vec<&TensorLifetime> =
            inside.flat_map(|unit| &unit.tensors).map(|&i| &tensors[i]).collect();
        let capacity = pools[pool].capacity;
        Ok(compile(members.into_iter())?.problem.max_load() <= capacity.bytes()
            && self.plan_of(models, schedule, pools, pool, units)?.arena_size <= capacity)
    }

    fn plan_of(
        &self,
        models: &[Model],
        schedule: Schedule,
        pools: &[PoolLimit],
        pool: usize,
        units: &[Unit],
    ) -> Result<AllocationPlan, LifetimeError> {
        let mut inside = vec![false; models.iter().map(|model| model.tensors.len()).sum()];
        for unit in units.iter().filter(|unit| unit.allowed[unit.choice] == pool) {
            unit.tensors.iter().for_each(|&i| inside[i] = true);
        }
        let mut next = inside.into_iter();
        let kept = models.iter().map(|model| Model {
            tensors: model.tensors.iter().filter(|_| next.next() == Some(true)).cloned().collect(),
            ..model.clone()
        });
        let kept: Vec<Model> = kept.collect();
        self.plan_within(&kept, schedule, Some(pools[pool].capacity))
    }
}

fn full(limit: &PoolLimit, plan: &AllocationPlan) -> PoolError {
    PoolError::Full { pool: limit.name.clone(), capacity: limit.capacity, needs: plan.arena_size }
}

/// Bytes touched over a unit's life: written at the start of every run, and read.
fn traffic(unit: &Unit, tensors: &[TensorLifetime]) -> f64 {
    let touched = |&i: &usize| {
        let times = tensors[i].read_steps().count() + tensors[i].runs().count();
        tensors[i].size.bytes() as f64 * times as f64
    };
    unit.tensors.iter().map(touched).sum::<f64>().max(1.0)
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
