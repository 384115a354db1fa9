//! A bound for each job: the least that can be live when it runs, whatever ran before.
//!
//! Of all sets of jobs that hold what the job waits for, and nothing that waits for it, the one after which least is live is a
//! minimum cut (J. C. Picard, "Maximal closure of a graph and applications to combinatorial problems", 1976): a job that adds
//! costs what it adds when it is in the set, one that frees costs what it frees when it is not. Flows are by E. A. Dinic's
//! algorithm, 1970.

use super::effort::Effort;
use super::net::{Bytes, Net};

/// More than any sum of sizes.
const NO_LIMIT: Bytes = Bytes::MAX / 4;

/// A network of pipes: each pipe's way back is the one of the number beside it.
struct Flow {
    to: Vec<usize>,
    room: Vec<Bytes>,
    from: Vec<Vec<usize>>,
}

impl Flow {
    fn new(nodes: usize) -> Self {
        Self { to: Vec::new(), room: Vec::new(), from: vec![Vec::new(); nodes] }
    }

    fn pipe(&mut self, from: usize, to: usize, room: Bytes) {
        self.from[from].push(self.to.len());
        self.from[to].push(self.to.len() + 1);
        self.to.extend([to, from]);
        self.room.extend([room, 0]);
    }

    /// The most that flows; `None` when effort ends it.
    fn most(&mut self, source: usize, sink: usize, effort: &mut Effort<'_>) -> Option<Bytes> {
        let mut total = 0;
        loop {
            let level = self.levels(source, sink);
            if level[sink] == usize::MAX {
                return Some(total);
            }
            let mut next = vec![0; level.len()];
            let mut path: Vec<usize> = Vec::new();
            let mut at = source;
            // From the source on along falling pipes, back where there is none.
            loop {
                if !effort.spend(1) {
                    return None;
                }
                if at == sink {
                    let room = path.iter().map(|&pipe| self.room[pipe]).min().unwrap_or(0);
                    for &pipe in &path {
                        self.room[pipe] -= room;
                        self.room[pipe ^ 1] += room;
                    }
                    total += room;
                    let full = path.iter().position(|&pipe| self.room[pipe] == 0).unwrap_or(0);
                    at = self.to[path[full] ^ 1];
                    path.truncate(full);
                    continue;
                }
                let Some(&pipe) = self.from[at].get(next[at]) else {
                    let Some(pipe) = path.pop() else { break };
                    at = self.to[pipe ^ 1];
                    next[at] += 1;
                    continue;
                };
                if self.room[pipe] > 0 && level[self.to[pipe]] == level[at] + 1 {
                    path.push(pipe);
                    at = self.to[pipe];
                } else {
                    next[at] += 1;
                }
            }
        }
    }

    fn levels(&self, source: usize, sink: usize) -> Vec<usize> {
        let mut level = vec![usize::MAX; self.from.len()];
        level[source] = 0;
        let mut queue = std::collections::VecDeque::from([source]);
        while let Some(at) = queue.pop_front() {
            for &pipe in &self.from[at] {
                let to = self.to[pipe];
                if self.room[pipe] > 0 && level[to] == usize::MAX {
                    level[to] = level[at] + 1;
                    queue.push_back(to);
                }
            }
            if level[sink] != usize::MAX {
                break;
            }
        }
        level
    }
}

impl Net {
    /// The least that is live during a job in any order; `None` when effort ends it. For a net read from the start.
    pub(super) fn least_during(&self, job: usize, effort: &mut Effort<'_>) -> Option<Bytes> {
        let (mut flow, sum) = self.flow(effort)?;
        let (source, sink) = (flow.from.len() - 2, flow.from.len() - 1);
        // What it waits for is in the set; it is not, and so nothing that waits for it.
        self.jobs[job].before.iter().for_each(|&first| flow.pipe(source, first, NO_LIMIT));
        flow.pipe(job, sink, NO_LIMIT);
        let cut = flow.most(source, sink, effort)?;
        Some(self.base + sum + cut + self.jobs[job].hill)
    }

    /// The least that is live between jobs in any order; `None` when effort ends it. For a net read from the start.
    pub(super) fn floor(&self, effort: &mut Effort<'_>) -> Option<Bytes> {
        let (mut flow, sum) = self.flow(effort)?;
        let (source, sink) = (flow.from.len() - 2, flow.from.len() - 1);
        Some(self.base + sum + flow.most(source, sink, effort)?)
    }

    /// Pipes between the jobs, the groups, a source and a sink; and what is live beside what flows.
    fn flow(&self, effort: &mut Effort<'_>) -> Option<(Flow, Bytes)> {
        let n = self.jobs.len();
        let (source, sink) = (n + self.groups.len(), n + self.groups.len() + 1);
        let mut flow = Flow::new(sink + 1);
        let mut sum = 0;
        if !effort.spend(n as u64) {
            return None;
        }
        for (at, own) in self.jobs.iter().enumerate() {
            if own.delta > 0 {
                flow.pipe(at, sink, own.delta);
            } else if own.delta < 0 {
                flow.pipe(source, at, -own.delta);
                sum += own.delta;
            }
            own.before.iter().for_each(|&first| flow.pipe(at, first, NO_LIMIT));
        }
        for (at, group) in self.groups.iter().enumerate() {
            flow.pipe(source, n + at, group.size);
            sum -= group.size;
            group.members.iter().for_each(|&member| flow.pipe(n + at, member, NO_LIMIT));
        }
        Some((flow, sum))
    }
}
