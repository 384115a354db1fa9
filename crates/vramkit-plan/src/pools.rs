//! Several pools, each with a capacity: fast and slow memory.
//!
//! Tensors want the first of the pools that they are allowed in. They are distributed by what relieves a full pool most
//! (`distribution`); where that gives up, distributions are searched through one after the
//! other (`assignment`), which for small workloads ends with a plan or the proof that there is
//! none. Each pool then has an ordinary plan of its own: every constraint that plans keep is kept in every pool. What is
//! called impossible was proven to be; what was only not found is called that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::allocation::AllocationPlan;
use super::assignment::{Assigned, assign};
use super::distribution::{Choice, Distribution};
use super::lifetime::{Model, Schedule, TensorLifetime, on_one_clock};
use super::lifetime_error::LifetimeError;
use super::planner::MemoryPlanner;
use super::pooled::{PoolLimit, PooledPlan};
use super::problem::compile;
use super::shortage::{PoolShortage, shortage};
use vramkit_units::ByteSize;

/// Why there is no pooled plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolPlanError {
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
    /// No distribution over the pools has plans within their capacities, or none was found.
    #[error("{}", refusal(pool, *capacity, *needs, *proven, shortage.as_deref()))]
    Full {
        /// A pool that is too small in the closest distribution that was tried.
        pool: Arc<str>,
        /// Its capacity.
        capacity: ByteSize,
        /// The smallest arena found there for what was in it.
        needs: ByteSize,
        /// Whether there is no distribution that fits; else none was found, and there may be one.
        proven: bool,
        /// The closest distribution, of which at least one arena is above its pool's capacity; `None` where not even that
        /// could be planned.
        closest: Option<Box<PooledPlan>>,
        /// Pools that are too small together, whatever goes where: where that is why there is no distribution that fits.
        shortage: Option<Box<PoolShortage>>,
        /// How long planning took.
        elapsed: Duration,
    },
}

fn refusal(
    pool: &str,
    capacity: ByteSize,
    needs: ByteSize,
    proven: bool,
    shortage: Option<&PoolShortage>,
) -> String {
    let mut what = match proven {
        true => "no distribution over the pools fits",
        false => "no distribution over the pools that fits was found, nor that there is none",
    }
    .to_owned();
    if let Some(PoolShortage { pools, capacity, needs, .. }) = shortage {
        let together = if pools.len() > 1 { " together" } else { "" };
        let pools = pools.iter().map(|pool| format!("`{pool}`")).collect::<Vec<_>>().join(", ");
        what += &format!(
            ", as what is allowed in no pool but {pools} needs {needs} at one time, and there are {capacity}{together}"
        );
    }
    let more = if proven { "" } else { ", search longer" };
    if needs.is_zero() {
        return format!(
            "{what}: in the closest one tensors are pinned over one another in pool `{pool}`; pin them apart, or allow \
             some of them in another pool"
        );
    }
    format!(
        "{what}: in the closest one pool `{pool}` has {capacity}, and {needs} were needed; give it more{more}, or \
         allow some tensors in another pool"
    )
}

impl MemoryPlanner {
    /// Plans models over pools. Tensors without a list of pools are allowed in all, in the order given. The capacity of
    /// the planner itself plays no part; its deadline is for all pools together.
    ///
    /// ```
    /// use vramkit_plan::{MemoryPlanner, Model, PoolLimit, Schedule, TensorLifetime};
    /// use vramkit_units::{ByteSize, Step};
    ///
    /// let tensor = |id| TensorLifetime::new("net", id, Step(0), Step(1), ByteSize::mib(6));
    /// let tensors = vec![tensor("a"), tensor("b")];
    /// let net = Model { name: "net".into(), weights: ByteSize::ZERO, start: Step(0), tensors };
    /// let pool = |name: &str| PoolLimit { name: name.into(), capacity: ByteSize::mib(8) };
    /// let plan = MemoryPlanner::new().plan_pools(&[net], Schedule::Fixed, &[pool("fast"), pool("slow")])?;
    /// assert_eq!(plan.displaced, ByteSize::mib(6));
    /// # Ok::<(), vramkit_plan::PoolPlanError>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong with the lifetimes or the pools; [`Full`](PoolPlanError::Full) where nothing fits, or nothing that
    /// does was found.
    pub fn plan_pools(
        &self,
        models: &[Model],
        schedule: Schedule,
        pools: &[PoolLimit],
    ) -> Result<PooledPlan, PoolPlanError> {
        let began = Instant::now();
        let tensors = on_one_clock(models, schedule)?;
        let units = units(&tensors, pools)?;
        for unit in &units {
            // Faults of a tensor or group alone; that pins touch one another is no fault while there are other pools.
            let own: Vec<&TensorLifetime> = unit.tensors.iter().map(|&i| &tensors[i]).collect();
            compile(own.into_iter())?;
        }
        if pools.len() == 1 && schedule != Schedule::Concurrent {
            compile(tensors.iter())?;
        }
        let shortage = shortage(&tensors, schedule, pools, &units);
        let mut distribution = Distribution::new(self, models, schedule, pools, tensors, units, began);
        if shortage.is_some() {
            // The first answers are as good as any.
            distribution.end_now();
        }
        let failed = match distribution.relieve() {
            None => None,
            Some((full, proven)) if proven || shortage.is_some() => Some((full, true)),
            Some((full, _)) => match assign(&mut distribution)? {
                Assigned::Found => None,
                Assigned::Refuted => Some((full, true)),
                Assigned::Open => Some((full, false)),
            },
        };
        if let Some((pool, proven)) = failed {
            let closest = distribution.pooled_anyhow();
            let over = |(limit, plan): &&(PoolLimit, AllocationPlan)| plan.arena_size > limit.capacity;
            let full = closest.as_ref().and_then(|closest| closest.pools.iter().find(over));
            let (limit, needs) =
                full.map_or((&pools[pool], ByteSize::ZERO), |(l, plan)| (l, plan.arena_size));
            return Err(PoolPlanError::Full {
                pool: limit.name.clone(),
                capacity: limit.capacity,
                needs,
                proven,
                closest: closest.map(Box::new),
                shortage: shortage.map(Box::new),
                elapsed: began.elapsed(),
            });
        }
        distribution.bring_back();
        distribution.lower();
        Ok(distribution.pooled())
    }
}

fn units(tensors: &[TensorLifetime], pools: &[PoolLimit]) -> Result<Vec<Choice>, PoolPlanError> {
    let places: HashMap<&str, usize> = pools.iter().zip(0..).map(|(pool, i)| (&*pool.name, i)).collect();
    if pools.is_empty() || places.len() < pools.len() {
        return Err(PoolPlanError::Pools);
    }
    let mut units: Vec<Choice> = Vec::new();
    let mut groups: HashMap<(&str, &str), usize> = HashMap::new();
    for (i, tensor) in tensors.iter().enumerate() {
        let (model, id) = (&tensor.model, &tensor.id);
        let place = |pool: &Arc<str>| {
            let unknown =
                || PoolPlanError::Unknown { model: model.clone(), id: id.clone(), pool: pool.clone() };
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
                    return Err(PoolPlanError::Group { model: model.clone(), id: id.clone() });
                }
                unit.tensors.push(i);
            }
            None => {
                group.map(|group| groups.insert(group, units.len()));
                units.push(Choice { tensors: vec![i], allowed, choice: 0 });
            }
        }
    }
    Ok(units)
}
