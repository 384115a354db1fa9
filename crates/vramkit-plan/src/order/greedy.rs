//! Orders in one pass that keeps nothing open: always there is time for them.
//!
//! They take O(edges · log jobs). From the end, on the net reversed, the same rules give other orders.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::net::{Bytes, Net};

/// How a pass chooses the next job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The one after which least is live, then what makes least; then what became possible last.
    Least,
    /// What became possible last, so that a branch that was begun is ended before the next; of those the least.
    Depth,
}

/// What decides between jobs that can be done, and the job.
type Rank = (i64, i64, i64, Reverse<usize>, usize);

/// Where a pass stands.
struct Pass<'n> {
    net: &'n Net,
    rule: Rule,
    order: Vec<usize>,
    /// For each job how many it still waits for.
    waits: Vec<usize>,
    /// For each group how many members are still to be done.
    open: Vec<usize>,
    ready: BTreeSet<Rank>,
    /// What each ready job stands under in `ready`.
    rank: Vec<Option<Rank>>,
    /// When a job became ready.
    since: Vec<usize>,
}

impl Net {
    /// An order by a rule.
    pub(super) fn greedy(&self, rule: Rule) -> Vec<usize> {
        let n = self.jobs.len();
        let mut pass = Pass {
            net: self,
            rule,
            order: Vec::with_capacity(n),
            waits: self.jobs.iter().map(|job| job.before.len()).collect(),
            open: self.groups.iter().map(|group| group.members.len()).collect(),
            ready: BTreeSet::new(),
            rank: vec![None; n],
            since: vec![0; n],
        };
        (0..n).filter(|&job| self.jobs[job].before.is_empty()).for_each(|job| pass.put(job));
        while let Some((.., job)) = pass.ready.pop_first() {
            pass.go(job);
        }
        pass.order
    }
}

impl Pass<'_> {
    /// A job can be done, or what it costs has changed.
    fn put(&mut self, job: usize) {
        if let Some(rank) = self.rank[job].take() {
            self.ready.remove(&rank);
        }
        let own = &self.net.jobs[job];
        let is_turned = |group: &&usize| match self.net.is_reversed {
            false => self.open[**group] == 1,
            true => self.open[**group] == self.net.groups[**group].members.len(),
        };
        let turned: Bytes =
            own.groups.iter().filter(is_turned).map(|&group| self.net.groups[group].size).sum();
        let (during, after) = match self.net.is_reversed {
            false => (own.hill, own.delta - turned),
            true => (own.hill + turned, own.delta + turned),
        };
        let since = self.since[job];
        let rank = match self.rule {
            Rule::Least => (after, during, 0, Reverse(since), job),
            Rule::Depth => (-(since as i64), after, during, Reverse(0), job),
        };
        self.ready.insert(rank);
        self.rank[job] = Some(rank);
    }

    fn go(&mut self, job: usize) {
        self.rank[job] = None;
        self.order.push(job);
        let net = self.net;
        for &group in &net.jobs[job].groups {
            let members = &net.groups[group].members;
            let was = self.open[group];
            self.open[group] -= 1;
            // Forwards the last member frees; backwards the first one makes.
            let is_changed = if net.is_reversed { was == members.len() } else { was == 2 };
            if is_changed {
                for &other in members.iter().filter(|&&other| self.rank[other].is_some()).collect::<Vec<_>>()
                {
                    self.put(other);
                }
            }
        }
        for &next in &net.jobs[job].after {
            self.waits[next] -= 1;
            if self.waits[next] == 0 {
                self.since[next] = self.order.len();
                self.put(next);
            }
        }
    }
}
