//! What plans over several pools are made of: the pools, and a plan for each.

use std::sync::Arc;
use std::time::Duration;

use super::allocation::{AllocationPlan, ModelSummary};
use vramkit_units::ByteSize;

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
#[non_exhaustive]
pub struct PooledPlan {
    /// The pools, in the order given, each with the plan of the tensors that are in it.
    pub pools: Vec<(PoolLimit, AllocationPlan)>,
    /// Bytes of tensors that are not in the first pool that they are allowed in.
    pub displaced: ByteSize,
    /// Most bytes live at one time in all pools: no distribution has arenas of less together.
    pub lower_bound: ByteSize,
    /// The models, each as a whole.
    pub models: Vec<ModelSummary>,
    /// How long planning took: all pools, and all distributions that were tried.
    pub elapsed: Duration,
}
