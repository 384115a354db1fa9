//! Orders of a large net by where its jobs lie along it, and what each order gains when jobs wait until they are wanted.
//!
//! Where only near jobs feed each other, an order that keeps near jobs together has little live. How far along a job is begins as
//! its depth against its height, and is drawn to the mean of its neighbours' again and again, all jobs spread out evenly
//! in between: some steps of the power method towards the second eigenvector of the net (M. Fiedler, "A property of
//! eigenvectors of nonnegative symmetric matrices and its application to graph theory", 1975).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::net::{Bytes, Net};

/// Times that jobs are drawn to their neighbours.
const DRAWS: usize = 30;

impl Net {
    /// Jobs by how far along they lie.
    pub(super) fn along(&self) -> Vec<usize> {
        let n = self.jobs.len();
        let (mut depth, mut height) = (vec![0usize; n], vec![0usize; n]);
        let order = self.sorted();
        for &job in &order {
            for &next in &self.jobs[job].after {
                depth[next] = depth[next].max(depth[job] + 1);
            }
        }
        for &job in order.iter().rev() {
            for &first in &self.jobs[job].before {
                height[first] = height[first].max(height[job] + 1);
            }
        }
        // Sums of whole numbers are the same on every machine.
        let mut place: Vec<u64> = (0..n)
            .map(|job| ((depth[job] as u64) << 32) / (depth[job] + height[job]).max(1) as u64)
            .collect();
        for _ in 0..DRAWS {
            let mean = |job: usize| {
                let own = &self.jobs[job];
                let near = own.before.iter().chain(&own.after);
                let count = (own.before.len() + own.after.len()).max(1) as u64;
                (place[job] + near.map(|&other| place[other]).sum::<u64>() / count) / 2
            };
            let mut drawn: Vec<(u64, usize)> = (0..n).map(|job| (mean(job), job)).collect();
            drawn.sort_unstable();
            for (at, &(_, job)) in drawn.iter().enumerate() {
                place[job] = ((at as u64) << 32) / n as u64;
            }
        }
        self.sorted_by(&place)
    }

    /// An order that is possible, by these ranks as far as what jobs wait for allows.
    pub(super) fn sorted_by(&self, rank: &[u64]) -> Vec<usize> {
        let mut waits: Vec<usize> = self.jobs.iter().map(|job| job.before.len()).collect();
        let put = |job: usize| Reverse((rank[job], job));
        let mut ready: BinaryHeap<Reverse<(u64, usize)>> =
            (0..waits.len()).filter(|&job| waits[job] == 0).map(put).collect();
        let mut order = Vec::with_capacity(waits.len());
        while let Some(Reverse((_, job))) = ready.pop() {
            order.push(job);
            for &next in &self.jobs[job].after {
                waits[next] -= 1;
                if waits[next] == 0 {
                    ready.push(put(next));
                }
            }
        }
        order
    }

    /// The order in which jobs that add something wait until another that waits for them is at hand.
    pub(super) fn late(&self, order: &[usize]) -> Vec<usize> {
        let loads = self.loads(order);
        let after = |at: usize| -> Bytes { loads.get(at + 1).map_or(Bytes::MIN, |&(_, before)| before) };
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &job)| place[job] = at);
        let mut is_done = vec![false; order.len()];
        let mut late = Vec::with_capacity(order.len());
        for (at, &job) in order.iter().enumerate() {
            if !self.jobs[job].after.is_empty() && after(at) > loads[at].1 {
                continue;
            }
            let mut stack = vec![(job, false)];
            while let Some((job, is_fed)) = stack.pop() {
                if is_done[job] {
                    continue;
                }
                if is_fed {
                    is_done[job] = true;
                    late.push(job);
                    continue;
                }
                stack.push((job, true));
                let mut before: Vec<usize> =
                    self.jobs[job].before.iter().copied().filter(|&first| !is_done[first]).collect();
                before.sort_unstable_by_key(|&first| Reverse(place[first]));
                stack.extend(before.into_iter().map(|first| (first, false)));
            }
        }
        late
    }
}
