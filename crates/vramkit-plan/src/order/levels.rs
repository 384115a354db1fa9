//! The best order of a net whatever else runs beside it: hills and valleys over sets of jobs.
//!
//! From the start, the lowest hill is found behind which less is live than before it, and the lowest valley that can be reached
//! over a hill no higher; from there on the same, down to the set with least live of all; from the end backwards
//! likewise.
//!
//! Why that is best: let S be a set and T the one with least live of those that can be reached from it over hills up to the lowest
//! behind which less is live. No set between the two has less live than T, or the least of these could be reached as
//! well. An order that runs beside anything else is on a hill as high at some time before less is live in it than in S.
//! If it stays at S until then, goes to T at once, and then has done all of T besides what it has done, it has no more live at
//! any time. The tests hold this against all orders of small graphs.
//!
//! For a chain the valleys are the ends of its parts ([`profile`](super::profile)).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::effort::Effort;
use super::net::{Bytes, Net};
use super::state::{ByKey, State};

impl Net {
    /// The order of valleys, for a net read from the start; `None` when effort ends it.
    pub(super) fn levels(&self, effort: &mut Effort<'_>) -> Option<Vec<usize>> {
        let floor = self.floor(effort)?;
        let mut first = self.descent(floor, effort)?;
        let (rest, rest_jobs) = self.without(&first);
        let mut last: Vec<usize> =
            rest.reversed().descent(floor, effort)?.into_iter().map(|job| rest_jobs[job]).collect();
        last.reverse();
        let mut is_last = vec![false; self.jobs.len()];
        last.iter().for_each(|&job| is_last[job] = true);
        let jobs: Vec<usize> = rest_jobs.into_iter().filter(|&job| !is_last[job]).collect();
        // Between two sets that have least live both.
        let mut is_first = vec![false; self.jobs.len()];
        first.iter().for_each(|&job| is_first[job] = true);
        let middle = self.part(&jobs, floor, |job| is_first[job]);
        let mut state = State::new(&middle);
        let mut order = Vec::new();
        while state.left > 0 {
            state = middle.valley(state, &mut order, effort)?;
        }
        first.extend(order.into_iter().map(|job| jobs[job]));
        first.extend(last);
        Some(first)
    }

    /// What is left after some jobs, and which these are.
    fn without(&self, done: &[usize]) -> (Self, Vec<usize>) {
        let mut is_done = vec![false; self.jobs.len()];
        done.iter().for_each(|&job| is_done[job] = true);
        let jobs: Vec<usize> = (0..self.jobs.len()).filter(|&job| !is_done[job]).collect();
        (self.part(&jobs, self.after(done), |job| is_done[job]), jobs)
    }

    /// From valley to valley until no set has less live.
    fn descent(&self, floor: Bytes, effort: &mut Effort<'_>) -> Option<Vec<usize>> {
        let (mut state, mut order) = (State::new(self), Vec::new());
        while state.live > floor {
            state = self.valley(state, &mut order, effort)?;
        }
        Some(order)
    }

    /// The next valley no higher than this set, over the lowest hill; `None` where there is none, and when effort ends it.
    fn valley(&self, from: State, order: &mut Vec<usize>, effort: &mut Effort<'_>) -> Option<State> {
        let most = from.live;
        // Sets by the lowest hill before them; how they were reached.
        let mut open: BinaryHeap<(Reverse<Bytes>, Reverse<Bytes>, u128, usize)> = BinaryHeap::new();
        let mut reached: Vec<(Option<State>, usize, Vec<usize>)> = Vec::new();
        let mut hills: ByKey<Bytes> = ByKey::default();
        hills.insert(from.key, most);
        open.push((Reverse(most), Reverse(most), from.key, 0));
        reached.push((Some(from), usize::MAX, Vec::new()));
        let mut best: Option<(Bytes, Bytes, usize)> = None;
        while let Some((Reverse(hill), _, key, at)) = open.pop() {
            if best.is_some_and(|(lowest, ..)| hill > lowest) {
                break;
            }
            if hills.get(&key).is_some_and(|&known| known < hill) {
                continue;
            }
            let Some(state) = reached[at].0.take() else { continue };
            for &job in &state.ready {
                if !effort.spend(
                    8 + self.jobs.len() as u64 / 32 + state.ready.len() as u64 / 8 + self.scan(job as usize),
                ) {
                    return None;
                }
                let job = job as usize;
                let (during, after) = state.cost(self, job);
                let hill = hill.max(during);
                if hills.get(&state.key_with(job)).is_some_and(|&known| known <= hill) {
                    continue;
                }
                let mut next = state.clone();
                let mut jobs = vec![job];
                next.advance(self, job, after);
                let unsettled = next.key;
                if !next.settle(self, hill, &mut jobs, effort) {
                    return None;
                }
                if unsettled != next.key {
                    hills.insert(unsettled, hill);
                }
                if hills.get(&next.key).is_some_and(|&known| known <= hill) {
                    continue;
                }
                hills.insert(next.key, hill);
                open.push((Reverse(hill), Reverse(next.live), next.key, reached.len()));
                reached.push((Some(next), at, jobs));
            }
            if at > 0 && state.live <= most && best.is_none_or(|(_, live, _)| state.live < live) {
                best = Some((hill, state.live, at));
            }
            reached[at].0 = Some(state);
        }
        let (_, _, at) = best?;
        let (mut parts, mut back) = (Vec::new(), at);
        while let Some((_, from, jobs)) = reached.get(back) {
            parts.push(jobs);
            back = *from;
        }
        order.extend(parts.into_iter().rev().flatten());
        reached.swap_remove(at).0
    }
}
