//! A set of jobs done: what can be done next, and what needs no choice.
//!
//! Within a limit on what is live, some jobs are done at once without trying anything else: those after which no more is live
//! than before, alone or as a short row of jobs of which each waited for the one before only. Doing them later helps
//! nothing, since what is live is submodular (after H. Ahn et al., "Ordering chaos: memory-aware scheduling of
//! irregularly wired neural networks for edge devices", 2020, where it is single jobs).

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use super::canonical::mix;
use super::effort::Effort;
use super::net::{Bytes, Net};

/// Longest row of jobs that is done at once.
const ROW: usize = 5;

/// Jobs that are done.
#[derive(Clone, Debug)]
pub(super) struct State {
    done: Box<[u64]>,
    /// Jobs that can be done next.
    pub(super) ready: Vec<u32>,
    pub(super) live: Bytes,
    /// How many jobs are still to be done.
    pub(super) left: usize,
    /// Stands for the set. Two sets of a search share one with a chance of about its sets squared in 2^128.
    pub(super) key: u128,
}

/// Keys are spread already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = mix(self.0 ^ u64::from(byte)));
    }

    fn write_u128(&mut self, key: u128) {
        self.0 ^= key as u64;
    }
}

/// Sets of jobs, by their keys.
pub(super) type Keys = HashSet<u128, BuildHasherDefault<KeyHasher>>;

/// What is known of sets of jobs, by their keys.
pub(super) type ByKey<T> = HashMap<u128, T, BuildHasherDefault<KeyHasher>>;

/// What stands for a job in a set's key.
fn key(job: usize) -> u128 {
    let half = |salt: u64| u128::from(mix(mix(job as u64) ^ salt));
    half(0x243f_6a88_85a3_08d3) << 64 | half(0x1319_8a2e_0370_7344)
}

impl State {
    /// None done.
    pub(super) fn new(net: &Net) -> Self {
        let n = net.jobs.len();
        let ready = (0..n).filter(|&job| net.jobs[job].before.is_empty()).map(|job| job as u32);
        Self { done: vec![0; n.div_ceil(64)].into(), ready: ready.collect(), live: net.base, left: n, key: 0 }
    }

    fn is_done(&self, job: usize) -> bool {
        self.done[job / 64] >> (job % 64) & 1 == 1
    }

    /// Bytes live during a job that is done next, and after it.
    pub(super) fn cost(&self, net: &Net, job: usize) -> (Bytes, Bytes) {
        net.cost(self.live, job, |other| self.is_done(other))
    }

    /// What the costs of all jobs that are ready take, in units of effort.
    pub(super) fn scan(&self, net: &Net) -> u64 {
        self.ready.iter().map(|&job| net.scan(job as usize)).sum()
    }

    /// The key of the set with a job more.
    pub(super) fn key_with(&self, job: usize) -> u128 {
        self.key ^ key(job)
    }

    /// Does a job that is ready, after which so much is live.
    pub(super) fn advance(&mut self, net: &Net, job: usize, live: Bytes) {
        self.ready.retain(|&other| other as usize != job);
        self.done[job / 64] |= 1 << (job % 64);
        (self.live, self.left, self.key) = (live, self.left - 1, self.key_with(job));
        for &next in &net.jobs[job].after {
            if net.jobs[next].before.iter().all(|&other| self.is_done(other)) {
                self.ready.push(next as u32);
            }
        }
    }

    /// Does what needs no choice while at most so much is live, and adds it to a list; `false` when effort ends it.
    pub(super) fn settle(
        &mut self,
        net: &Net,
        most: Bytes,
        done: &mut Vec<usize>,
        effort: &mut Effort<'_>,
    ) -> bool {
        while self.left > 0 {
            if !effort.spend(8 + self.scan(net)) {
                return false;
            }
            let single = self.ready.iter().map(|&job| job as usize).find_map(|job| {
                let (during, after) = self.cost(net, job);
                (during <= most && after <= self.live).then_some((job, after))
            });
            if let Some((job, after)) = single {
                self.advance(net, job, after);
                done.push(job);
                continue;
            }
            let Some(row) = self.row(net, most, effort) else { return true };
            for job in row {
                let (_, after) = self.cost(net, job);
                self.advance(net, job, after);
                done.push(job);
            }
        }
        true
    }

    /// A short row of jobs after which no more is live than before.
    fn row(&self, net: &Net, most: Bytes, effort: &mut Effort<'_>) -> Option<Vec<usize>> {
        let mut row = Vec::with_capacity(ROW);
        self.ready.iter().find_map(|&job| {
            row.clear();
            self.extend(net, most, &mut row, job as usize, self.live, effort).then(|| row.clone())
        })
    }

    fn extend(
        &self,
        net: &Net,
        most: Bytes,
        row: &mut Vec<usize>,
        job: usize,
        live: Bytes,
        effort: &mut Effort<'_>,
    ) -> bool {
        if !effort.spend(4) {
            return false;
        }
        let (during, after) = net.cost(live, job, |other| self.is_done(other) || row.contains(&other));
        if during > most {
            return false;
        }
        row.push(job);
        if after <= self.live {
            return true;
        }
        if row.len() < ROW {
            for &next in &net.jobs[job].after {
                let is_ready = |other: &usize| self.is_done(*other) || row.contains(other);
                if net.jobs[next].before.iter().all(is_ready)
                    && self.extend(net, most, row, next, after, effort)
                {
                    return true;
                }
            }
        }
        row.pop();
        false
    }
}
