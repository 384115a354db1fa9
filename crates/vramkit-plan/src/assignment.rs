//! Every distribution of tensors over pools, until one fits.
//!
//! A [`Distribution`] that could not be relieved comes in; it goes out with a unit in every pool where it fits, or as it
//! was, with the word whether that proves that there is none. Units are assigned one after the other, the one with the
//! fewest pools left first; a pool that is refuted with some units is refuted with more of them, so nothing is lost
//! by turning back there. For small workloads the search ends; for large ones it gives up, and proves nothing.

use std::collections::HashMap;

use super::distribution::{Distribution, Fit};
use super::lifetime::{Schedule, TensorLifetime};
use super::lifetime_error::LifetimeError;
use super::problem::{Problem, collect};

/// Tries after which the search gives up in any case.
const TRIES: usize = 200_000;

/// What came of the search.
pub(super) enum Assigned {
    /// Every pool has a plan that fits.
    Found,
    /// There is no distribution that fits.
    Refuted,
    /// Nobody knows.
    Open,
}

/// What a unit takes where and when.
struct BufferBytes {
    unit: usize,
    size: u64,
    /// The end of its pin.
    pinned_end: u64,
    /// Which clock it lives on, and when.
    clock: usize,
    runs: Vec<(u32, u32)>,
}

/// A node of the search: what was tried for one demand.
struct Node {
    demand: usize,
    next: usize,
    /// The pool that it is in now, with the peak of its clock there before.
    inside: Option<(usize, u64)>,
}

struct DistributionSearch<'a, 'b> {
    distribution: &'a mut Distribution<'b>,
    demands: Vec<BufferBytes>,
    /// Bytes live in each pool, on each clock, at each rank; and the most of each clock.
    loads: Vec<Vec<Vec<u64>>>,
    peaks: Vec<Vec<u64>>,
    /// The units in each pool.
    inside: Vec<Vec<usize>>,
    /// Units of a pool that were looked at before: whether they are refuted.
    known: HashMap<(usize, Vec<usize>), bool>,
    is_open: bool,
}

/// Searches for a distribution that fits.
pub(super) fn assign(distribution: &mut Distribution<'_>) -> Result<Assigned, LifetimeError> {
    let before: Vec<usize> = distribution.units.iter().map(|unit| unit.choice).collect();
    let (demands, ranks) = demands(distribution)?;
    let pools = distribution.pools.len();
    let mut search = DistributionSearch {
        distribution,
        demands,
        loads: vec![ranks.iter().map(|&ranks| vec![0; ranks as usize]).collect(); pools],
        peaks: vec![vec![0; ranks.len()]; pools],
        inside: vec![Vec::new(); pools],
        known: HashMap::new(),
        is_open: false,
    };
    let answer = search.run();
    if !matches!(answer, Assigned::Found) {
        let units = distribution.units.iter_mut().zip(before);
        units.for_each(|(unit, choice)| unit.choice = choice);
    }
    Ok(answer)
}

/// What each unit that takes room asks for, and the ranks of each clock: one, or one a model where models cannot be
/// compared.
fn demands(distribution: &mut Distribution<'_>) -> Result<(Vec<BufferBytes>, Vec<u32>), LifetimeError> {
    let tensors = &distribution.tensors;
    let is_own = distribution.schedule == Schedule::Concurrent;
    let mut clocks: Vec<Vec<usize>> = Vec::new();
    for (i, tensor) in tensors.iter().enumerate() {
        match clocks.last_mut() {
            Some(clock) if !is_own || tensors[clock[0]].model == tensor.model => clock.push(i),
            _ => clocks.push(vec![i]),
        }
    }
    let mut buffer_of = vec![None; tensors.len()];
    let mut problems: Vec<Problem> = Vec::new();
    for (c, clock) in clocks.iter().enumerate() {
        let own: Vec<&TensorLifetime> = clock.iter().map(|&i| &tensors[i]).collect();
        let (compiled, _) = collect(own.into_iter())?;
        for (&i, buffer) in clock.iter().zip(&compiled.buffer_of) {
            buffer_of[i] = buffer.map(|buffer| (c, buffer as usize));
        }
        problems.push(compiled.problem);
    }
    let mut demands = Vec::new();
    for (u, unit) in distribution.units.iter_mut().enumerate() {
        let Some((clock, buffer)) = unit.tensors.iter().find_map(|&i| buffer_of[i]) else {
            // It takes no room anywhere.
            unit.choice = 0;
            continue;
        };
        let Problem { buffers, .. } = &problems[clock];
        let (size, pin) = (buffers[buffer].bytes(), buffers[buffer].pin());
        let runs = problems[clock].runs(buffer).collect();
        demands.push(BufferBytes { unit: u, size, pinned_end: pin.map_or(0, |pin| pin + size), clock, runs });
    }
    Ok((demands, problems.iter().map(|problem| problem.ranks).collect()))
}

impl DistributionSearch<'_, '_> {
    fn run(&mut self) -> Assigned {
        let mut nodes: Vec<Node> = Vec::new();
        let mut tries = 0usize;
        self.distribution.begin();
        loop {
            if nodes.len() == self.demands.len() {
                if self.settle() {
                    return Assigned::Found;
                }
            } else {
                let demand = self.hardest(&nodes);
                nodes.push(Node { demand, next: 0, inside: None });
            }
            // On to the next pool of the last demand that has one.
            loop {
                let Some(node) = nodes.last_mut() else {
                    return if self.is_open { Assigned::Open } else { Assigned::Refuted };
                };
                if let Some((pool, peak)) = node.inside.take() {
                    self.take_back(node.demand, pool, peak);
                }
                tries += 1;
                if tries > TRIES || self.distribution.is_over(self.demands.len()) {
                    return Assigned::Open;
                }
                let unit = self.demands[node.demand].unit;
                let Some(&pool) = self.distribution.units[unit].allowed.get(node.next) else {
                    nodes.pop();
                    continue;
                };
                let choice = node.next;
                node.next += 1;
                if !self.has_room(node.demand, pool) {
                    continue;
                }
                let peak = self.put(node.demand, pool);
                node.inside = Some((pool, peak));
                self.distribution.units[unit].choice = choice;
                if self.is_possible(pool) {
                    break;
                }
            }
        }
    }

    /// The demand that is left with the fewest pools that have room for it, the largest of equals.
    fn hardest(&self, nodes: &[Node]) -> usize {
        let mut is_done = vec![false; self.demands.len()];
        nodes.iter().for_each(|node| is_done[node.demand] = true);
        let left = (0..self.demands.len()).filter(|&d| !is_done[d]);
        let room = |d: usize| {
            let allowed = &self.distribution.units[self.demands[d].unit].allowed;
            allowed.iter().filter(|&&pool| self.has_room(d, pool)).count()
        };
        let hardest = left.min_by_key(|&d| (room(d), std::cmp::Reverse(self.demands[d].size), d));
        hardest.unwrap_or_else(|| unreachable!("some are left"))
    }

    /// Whether the bytes live in a pool leave room for a demand.
    fn has_room(&self, d: usize, pool: usize) -> bool {
        let (demand, capacity) = (&self.demands[d], self.distribution.pools[pool].capacity.bytes());
        let loads = &self.loads[pool][demand.clock];
        let own = demand.runs.iter().flat_map(|&(start, end)| &loads[start as usize..end as usize]);
        let peak = own.max().map_or(0, |load| load + demand.size).max(self.peaks[pool][demand.clock]);
        let all: u64 = self.peaks[pool].iter().sum();
        all - self.peaks[pool][demand.clock] + peak <= capacity && demand.pinned_end <= capacity
    }

    /// Puts a demand into a pool; returns the peak of its clock there before.
    fn put(&mut self, d: usize, pool: usize) -> u64 {
        let demand = &self.demands[d];
        let loads = &mut self.loads[pool][demand.clock];
        let before = self.peaks[pool][demand.clock];
        let mut peak = before;
        for &(start, end) in &demand.runs {
            for load in &mut loads[start as usize..end as usize] {
                *load += demand.size;
                peak = peak.max(*load);
            }
        }
        self.peaks[pool][demand.clock] = peak;
        self.inside[pool].push(demand.unit);
        before
    }

    fn take_back(&mut self, d: usize, pool: usize, peak: u64) {
        let demand = &self.demands[d];
        for &(start, end) in &demand.runs {
            let loads = &mut self.loads[pool][demand.clock][start as usize..end as usize];
            loads.iter_mut().for_each(|load| *load -= demand.size);
        }
        self.peaks[pool][demand.clock] = peak;
        self.inside[pool].pop();
    }

    /// Whether what is in a pool is not refuted.
    fn is_possible(&mut self, pool: usize) -> bool {
        let mut units = self.inside[pool].clone();
        units.sort_unstable();
        let key = (pool, units);
        if let Some(&refuted) = self.known.get(&key) {
            return !refuted;
        }
        let refuted = matches!(self.distribution.fit(pool, &key.1), Fit::Refuted);
        self.known.insert(key, refuted);
        !refuted
    }

    /// When every unit has its pool: whether all pools have a plan, which is kept.
    fn settle(&mut self) -> bool {
        for pool in 0..self.inside.len() {
            // What takes no room is in the first pool that it is allowed in.
            let units = &self.distribution.units;
            let is_inside = |&u: &usize| units[u].allowed[units[u].choice] == pool;
            let inside: Vec<usize> = (0..units.len()).filter(is_inside).collect();
            match self.distribution.fit(pool, &inside) {
                Fit::Found(plan) => self.distribution.fitting[pool] = Some(*plan),
                Fit::Refuted => return false,
                Fit::Open(_) => {
                    self.is_open = true;
                    return false;
                }
            }
        }
        true
    }
}
