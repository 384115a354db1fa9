//! A smaller net whose best order is as good: what is best done one after the other becomes one job.
//!
//! - Chains become their hills and valleys, chains between the same jobs one chain ([`profile`](super::profile)): so trees and
//!   series-parallel graphs whose values have one last reader each end as one chain, and are solved.
//! - A job that frees at least as much as it adds, and waits for one other only, follows that at once where what is live
//!   during it is no more than during the other; a job that adds and is waited for by one only comes right before that,
//!   likewise.
//!
//! - What hangs together with the rest at two jobs only becomes a chain ([`modules`](super::modules)).
//!
//! Each of these leaves some best order possible, whatever else the net holds.

use std::collections::BTreeMap;

use super::effort::Effort;
use super::modules::Failed;
use super::net::{Job, Net};
use super::profile::{Rise, Slopes, merged, parts};
use super::reach::Reach;

/// Passes over a net; each that changes something leaves fewer jobs.
const PASSES: usize = 200;

/// The jobs that a chain waits for, and those that wait for it.
type Ends<'n> = (&'n [usize], &'n [usize]);

impl Net {
    /// The smaller net, for a net read from the start whose jobs are numbered in an order that is possible.
    pub(super) fn reduced(mut self, effort: &mut Effort<'_>) -> Self {
        let mut failed = Failed::new();
        for _ in 0..PASSES {
            let work = self.jobs.len() + self.jobs.len().pow(2) / 64;
            if self.jobs.len() < 2 || !effort.spend(work as u64) {
                break;
            }
            let Some(reach) = Reach::new(&self) else { break };
            reach.thin(&mut self);
            let smaller = self.with_chains().or_else(|| self.with_pairs());
            let Some(smaller) = smaller.or_else(|| self.with_modules(&mut failed, effort)) else { break };
            self = smaller;
        }
        self
    }

    fn rise(&self, job: usize) -> Rise {
        Rise { hill: self.jobs[job].hill, delta: self.jobs[job].delta }
    }

    /// Paths of jobs that wait for, and are waited for by, nothing beside the path, except at its ends; in no groups.
    fn chains(&self) -> Vec<Vec<usize>> {
        let is_plain = |job: usize| self.jobs[job].groups.is_empty();
        let only = |edges: &[usize]| if let [only] = *edges { Some(only) } else { None };
        let next = |job: usize| {
            let next = only(&self.jobs[job].after).filter(|&next| is_plain(next))?;
            only(&self.jobs[next].before).map(|_| next)
        };
        let goes_on = |job: usize| {
            only(&self.jobs[job].before).is_some_and(|first| is_plain(first) && next(first) == Some(job))
        };
        let heads = (0..self.jobs.len()).filter(|&job| is_plain(job) && !goes_on(job));
        heads.map(|head| std::iter::successors(Some(head), |&job| next(job)).collect()).collect()
    }

    /// Chains by their hills and valleys, those between the same jobs as one; `None` where that changes nothing.
    fn with_chains(&self) -> Option<Self> {
        let mut alike: BTreeMap<Ends<'_>, Vec<Vec<usize>>> = BTreeMap::new();
        for chain in self.chains() {
            if let [head, .., tail] | [head @ tail] = chain[..] {
                alike.entry((&self.jobs[head].before, &self.jobs[tail].after)).or_default().push(chain);
            }
        }
        let mut clusters: Vec<Vec<usize>> = Vec::new();
        let mut follows: Vec<(usize, usize)> = Vec::new();
        let mut is_smaller = false;
        for chains in alike.into_values() {
            let before: usize = chains.iter().map(Vec::len).sum();
            let line = self.one(chains);
            is_smaller |= line.len() < before;
            follows.extend((1..line.len()).map(|at| (clusters.len() + at - 1, clusters.len() + at)));
            clusters.extend(line);
        }
        is_smaller.then(|| self.clustered(clusters, &follows))
    }

    /// Chains side by side as one: its parts.
    fn one(&self, chains: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
        let mut slopes = Vec::new();
        let mut all: Vec<std::collections::VecDeque<Vec<usize>>> = Vec::new();
        for chain in chains {
            let own: Vec<Rise> = chain.iter().map(|&job| self.rise(job)).collect();
            let (down, up) = parts(&own);
            let of = |parts: &[std::ops::Range<usize>]| {
                parts.iter().map(|part| Rise::of(own[part.clone()].iter().copied())).collect()
            };
            slopes.push(Slopes { down: of(&down), up: of(&up) });
            all.push(down.into_iter().chain(up).map(|part| chain[part].to_vec()).collect());
        }
        let line: Vec<Vec<usize>> =
            merged(&slopes).into_iter().filter_map(|chain| all[chain].pop_front()).collect();
        // Together their parts are longer.
        let own: Vec<Rise> =
            line.iter().map(|part| Rise::of(part.iter().map(|&job| self.rise(job)))).collect();
        let (down, up) = parts(&own);
        down.into_iter().chain(up).map(|part| line[part].concat()).collect()
    }

    /// Jobs joined with the one that they best come right after or right before.
    fn with_pairs(&self) -> Option<Self> {
        let mut is_taken = vec![false; self.jobs.len()];
        let mut clusters: Vec<Vec<usize>> = Vec::new();
        for (at, job) in self.jobs.iter().enumerate() {
            let pair = match (&job.before[..], &job.after[..]) {
                (&[first], _)
                    if job.delta <= 0 && self.jobs[first].delta + job.hill <= self.jobs[first].hill =>
                {
                    [first, at]
                }
                (_, &[last])
                    if job.groups.is_empty()
                        && job.delta >= 0
                        && job.hill <= job.delta + self.jobs[last].hill =>
                {
                    [at, last]
                }
                _ => continue,
            };
            if !pair.iter().any(|&job| is_taken[job]) {
                pair.iter().for_each(|&job| is_taken[job] = true);
                clusters.push(pair.to_vec());
            }
        }
        (!clusters.is_empty()).then(|| self.clustered(clusters, &[]))
    }

    /// Modules as chains.
    fn with_modules(&mut self, failed: &mut Failed, effort: &mut Effort<'_>) -> Option<Self> {
        let lines = self.modules(failed, effort);
        let (mut clusters, mut follows, mut rises) = (Vec::new(), Vec::new(), Vec::new());
        for line in lines {
            follows.extend((1..line.len()).map(|at| (clusters.len() + at - 1, clusters.len() + at)));
            for (jobs, rise) in line {
                rises.push((jobs[0], rise));
                clusters.push(jobs);
            }
        }
        if clusters.is_empty() {
            return None;
        }
        // What groups within a module free is in what its parts add.
        let mut is_within = vec![false; self.jobs.len()];
        clusters.iter().flatten().for_each(|&job| is_within[job] = true);
        for group in std::mem::take(&mut self.groups) {
            if !is_within[group.members[0]] {
                self.groups.push(group);
            }
        }
        for cluster in &clusters {
            cluster.iter().for_each(|&job| (self.jobs[job].hill, self.jobs[job].delta) = (0, 0));
        }
        for (job, rise) in rises {
            (self.jobs[job].hill, self.jobs[job].delta) = (rise.hill, rise.delta);
        }
        Some(self.clustered(clusters, &follows))
    }

    /// Jobs that are done one after the other as one, and others as they are; edges between clusters are added.
    fn clustered(&self, mut clusters: Vec<Vec<usize>>, follows: &[(usize, usize)]) -> Self {
        let mut cluster_of = vec![usize::MAX; self.jobs.len()];
        for (at, cluster) in clusters.iter().enumerate() {
            cluster.iter().for_each(|&job| cluster_of[job] = at);
        }
        for (job, cluster) in cluster_of.iter_mut().enumerate() {
            if *cluster == usize::MAX {
                *cluster = clusters.len();
                clusters.push(vec![job]);
            }
        }
        // What follows in the net comes after in the numbers: an order of the clusters.
        let mut net = Self { jobs: vec![Job::default(); clusters.len()], ..Self::default() };
        for (job, own) in self.jobs.iter().enumerate() {
            for &next in own.after.iter().filter(|&&next| cluster_of[next] != cluster_of[job]) {
                net.edge(cluster_of[job], cluster_of[next]);
            }
        }
        follows.iter().for_each(|&(from, to)| net.edge(from, to));
        net.tidy();
        // Clusters by their first job, as far as what they wait for allows.
        let mut by_first: Vec<usize> = (0..clusters.len()).collect();
        by_first.sort_by_key(|&cluster| clusters[cluster].iter().min().copied());
        let mut number = vec![0; clusters.len()];
        by_first.iter().enumerate().for_each(|(at, &cluster)| number[cluster] = at);
        let renamed = |of: &dyn Fn(usize) -> usize, net: &Self| {
            let mut again = Self { jobs: vec![Job::default(); net.jobs.len()], ..Self::default() };
            for (job, own) in net.jobs.iter().enumerate() {
                own.after.iter().for_each(|&next| again.edge(of(job), of(next)));
            }
            again.tidy();
            again
        };
        let ordered = renamed(&|cluster| number[cluster], &net).sorted();
        let mut place = vec![0; clusters.len()];
        ordered.iter().enumerate().for_each(|(at, &number)| place[number] = at);
        let mut made = renamed(&|cluster| place[number[cluster]], &net);
        made.base = self.base;
        for (cluster, jobs) in clusters.iter().enumerate() {
            let Rise { hill, delta } = Rise::of(jobs.iter().map(|&job| self.rise(job)));
            let own = &mut made.jobs[place[number[cluster]]];
            (own.hill, own.delta) = (hill, delta);
            own.steps = jobs.iter().flat_map(|&job| self.jobs[job].steps.iter().copied()).collect();
        }
        for group in &self.groups {
            let mut members: Vec<usize> =
                group.members.iter().map(|&job| place[number[cluster_of[job]]]).collect();
            members.sort_unstable();
            members.dedup();
            made.close(group.size, members, false);
        }
        made
    }
}
