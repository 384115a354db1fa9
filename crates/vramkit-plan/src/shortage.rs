//! That pools are too small for what is allowed in no others: a proof without any distribution.
//!
//! In: units with the pools that they are allowed in, and the pools' capacities. Out: pools that have less together than is live at one
//! time of what must be in them, if there are such. That there are none proves nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::distribution::Choice;
use super::lifetime::{Schedule, TensorLifetime};
use super::pooled::PoolLimit;
use super::problem::{Problem, collect};
use vramkit_units::ByteSize;

/// Sets of pools that are looked at, at most: all pools together, and those that tensors are allowed in.
const SETS: usize = 64;

/// Pools that are too small together, whatever goes where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolShortage {
    /// The pools.
    pub pools: Vec<Arc<str>>,
    /// What they have together.
    pub capacity: ByteSize,
    /// What is live together at some time of tensors that are allowed in no others; of one pool, with what alignments and pins add.
    pub needs: ByteSize,
}

/// Pools that are too small together for what is allowed in no others, those of the fewest pools first.
pub(super) fn shortage(
    tensors: &[TensorLifetime],
    schedule: Schedule,
    pools: &[PoolLimit],
    units: &[Choice],
) -> Option<PoolShortage> {
    let set = |allowed: &[usize]| allowed.iter().copied().collect::<BTreeSet<usize>>();
    let mut sets: BTreeSet<(usize, BTreeSet<usize>)> = BTreeSet::new();
    for allowed in units.iter().map(|unit| set(&unit.allowed)) {
        sets.insert((allowed.len(), allowed));
        if sets.len() == SETS {
            break;
        }
    }
    sets.insert((pools.len(), (0..pools.len()).collect()));
    sets.into_iter().find_map(|(_, set)| {
        let capacities = set.iter().map(|&pool| pools[pool].capacity);
        let capacity = capacities.fold(ByteSize::ZERO, ByteSize::saturating_add);
        let here = units.iter().filter(|unit| unit.allowed.iter().all(|pool| set.contains(pool)));
        let mut members: Vec<usize> = here.flat_map(|unit| unit.tensors.iter().copied()).collect();
        members.sort_unstable();
        let needs = needs(tensors, schedule, &members, set.len() == 1);
        let pools = || set.iter().map(|&pool| pools[pool].name.clone()).collect();
        (needs > capacity).then(|| PoolShortage { pools: pools(), capacity, needs })
    })
}

/// The bytes that some tensors, in the order of their models, need in all pools together: under the concurrent schedule each model may be at
/// its peak at once.
fn needs(tensors: &[TensorLifetime], schedule: Schedule, members: &[usize], in_one: bool) -> ByteSize {
    let is_one_clock = schedule != Schedule::Concurrent;
    let clocks = members.chunk_by(|&a, &b| is_one_clock || tensors[a].model == tensors[b].model);
    let of_clock = |members: &[usize]| {
        let own: Vec<&TensorLifetime> = members.iter().map(|&i| &tensors[i]).collect();
        let problem =
            collect(own.into_iter()).map_or_else(|_| Problem::default(), |(compiled, _)| compiled.problem);
        if in_one && is_one_clock { problem.lower_bound() } else { problem.max_load() }
    };
    clocks.map(of_clock).fold(ByteSize::ZERO, ByteSize::saturating_add)
}
