//! Parts of a net that hang together with the rest at one job before and one job after them, or at an end of the net.
//!
//! Such a module has a best order whatever else runs ([`levels`](super::levels)), so that it becomes a chain: from the
//! inside out, as long as modules are not too large to be searched.

use std::collections::{BTreeSet, HashSet};

use super::effort::Effort;
use super::net::{Bytes, Net};
use super::profile::{Rise, parts};

/// Units for the search of a module.
const UNITS: u64 = 2_000_000;

/// Jobs of a module, at most.
const JOBS: usize = 4096;

/// A module as a chain: parts of jobs, with what each adds.
pub(super) type Line = Vec<(Vec<usize>, Rise)>;

/// Modules that were too large, by their first step and how many jobs they have.
pub(super) type Failed = HashSet<(usize, usize)>;

/// A tree over jobs, in which each hangs below the last one that all ways to it lead through.
struct Tree {
    /// The root, and each job before those below it.
    listed: Vec<usize>,
    /// Where each job, and last the root, is in the list, and where what is below it ends.
    times: Vec<(usize, usize)>,
    above: Vec<usize>,
}

impl Tree {
    /// Of jobs in an order in which each comes after those that lead to it.
    fn new(order: impl Iterator<Item = usize>, n: usize, leads: impl Fn(usize) -> Vec<usize>) -> Self {
        let (mut above, mut depth) = (vec![n; n + 1], vec![0; n + 1]);
        let mut below: Vec<Vec<usize>> = vec![Vec::new(); n + 1];
        for job in order {
            let meet = leads(job).into_iter().reduce(|mut a, mut b| {
                while a != b {
                    if depth[a] >= depth[b] { a = above[a] } else { b = above[b] }
                }
                a
            });
            above[job] = meet.unwrap_or(n);
            depth[job] = depth[above[job]] + 1;
            below[above[job]].push(job);
        }
        let mut times = vec![(0, 0); n + 1];
        let (mut listed, mut path) = (Vec::with_capacity(n + 1), vec![(n, 0)]);
        while let Some((at, next)) = path.last_mut() {
            if *next == 0 {
                times[*at].0 = listed.len();
                listed.push(*at);
            }
            match below[*at].get(*next) {
                Some(&job) => {
                    *next += 1;
                    path.push((job, 0));
                }
                None => {
                    times[*at].1 = listed.len();
                    path.pop();
                }
            }
        }
        Self { listed, times, above }
    }

    fn below(&self, top: usize) -> &[usize] {
        let (from, to) = self.times[top];
        &self.listed[from + 1..to]
    }

    fn is_below(&self, job: usize, top: usize) -> bool {
        let ((at, _), (from, to)) = (self.times[job], self.times[top]);
        from < at && at < to
    }
}

impl Net {
    /// Modules as chains, those within others first; none overlap.
    pub(super) fn modules(&self, failed: &mut Failed, effort: &mut Effort<'_>) -> Vec<Line> {
        let n = self.jobs.len();
        let first = Tree::new(0..n, n, |job| self.jobs[job].before.clone());
        let last = Tree::new((0..n).rev(), n, |job| self.jobs[job].after.clone());
        let mut pairs: Vec<(usize, usize)> = (0..n)
            .flat_map(|job| {
                let own = &self.jobs[job];
                let into = (own.before.len() > 1).then(|| (first.above[job], job));
                let out = (own.after.len() > 1).then(|| (job, last.above[job]));
                into.into_iter().chain(out)
            })
            .chain([(n, n)])
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut regions = Vec::new();
        for (top, bottom) in pairs {
            let (below, above) = (first.below(top), last.below(bottom));
            if !effort.spend(below.len().min(above.len()) as u64 + 1) {
                return Vec::new();
            }
            let mut region: Vec<usize> = match below.len() <= above.len() {
                true => below.iter().copied().filter(|&job| last.is_below(job, bottom)).collect(),
                false => above.iter().copied().filter(|&job| first.is_below(job, top)).collect(),
            };
            region.sort_unstable();
            if self.is_module(&region, top, bottom) {
                regions.push(region);
            }
        }
        regions.sort_by_key(|region| (region.len(), region[0]));
        let mut is_taken = vec![false; n];
        let mut lines = Vec::new();
        for region in regions {
            let known = (self.jobs[region[0]].steps[0], region.len());
            if region.iter().any(|&job| is_taken[job]) || failed.contains(&known) {
                continue;
            }
            match self.line(&region, effort) {
                Some(line) => {
                    region.iter().for_each(|&job| is_taken[job] = true);
                    lines.push(line);
                }
                None => {
                    failed.insert(known);
                }
            }
        }
        lines
    }

    /// Whether jobs, ascending, hang together with others at two alone, and are not a chain anyway.
    fn is_module(&self, region: &[usize], top: usize, bottom: usize) -> bool {
        if !(2..=JOBS).contains(&region.len()) {
            return false;
        }
        let is_in = |job: &usize| region.binary_search(job).is_ok();
        let is_closed = |&job: &usize| {
            let own = &self.jobs[job];
            own.before.iter().all(|other| *other == top || is_in(other))
                && own.after.iter().all(|other| *other == bottom || is_in(other))
        };
        let groups: BTreeSet<usize> =
            region.iter().flat_map(|&job| self.jobs[job].groups.iter().copied()).collect();
        let is_whole = |&group: &usize| self.groups[group].members.iter().all(is_in);
        let is_row = || region.windows(2).all(|pair| self.jobs[pair[0]].after.contains(&pair[1]));
        region.iter().all(is_closed) && groups.iter().all(is_whole) && (!groups.is_empty() || !is_row())
    }

    /// A module as a chain.
    fn line(&self, region: &[usize], effort: &mut Effort<'_>) -> Option<Line> {
        let part = self.part(region, 0, |_| false);
        let order = effort.within(UNITS, |effort| part.levels(effort))?;
        let mut rises = Vec::new();
        let loads = part.loads(&order);
        for (at, &(during, before)) in loads.iter().enumerate() {
            let after: Bytes = loads.get(at + 1).map_or_else(|| part.end(), |&(_, after)| after);
            rises.push(Rise { hill: during - before, delta: after - before });
        }
        let (down, up) = parts(&rises);
        let piece = |range: std::ops::Range<usize>| {
            let jobs = order[range.clone()].iter().map(|&job| region[job]).collect();
            (jobs, Rise::of(rises[range].iter().copied()))
        };
        Some(down.into_iter().chain(up).map(piece).collect())
    }
}
