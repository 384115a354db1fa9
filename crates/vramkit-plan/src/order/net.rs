//! A graph as the search for an order sees it: jobs, what each adds to what is live, and which waits for which.
//!
//! A job is one step, or several done one after the other. Most of what it changes is the same in every order: the bytes it
//! makes, and those that it alone is the last to read. Where any of several jobs can be the last to read a value, they
//! are a [`Group`]: the value is freed by whichever of them is done last. Read backwards, the same graph has its jobs the
//! other way round, and a value of a group is there from the first of them on; a search can run from either end.
//!
//! What is live after a set of jobs follows from the set alone, and is submodular in it: jobs done early never make another
//! job free less. All pruning rests on this.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::dataflow::Dataflow;

/// Bytes that may be added or freed. Sums of a countable dataflow are far below its limits.
pub(super) type Bytes = i64;

/// Steps that are done one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Job {
    /// The dataflow's steps, in order.
    pub(super) steps: Vec<usize>,
    /// Most bytes live during it beyond those live before it.
    pub(super) hill: Bytes,
    /// Bytes live after it beyond those before it, values of groups apart.
    pub(super) delta: Bytes,
    /// Jobs that it waits for, and jobs that wait for it, ascending.
    pub(super) before: Vec<usize>,
    pub(super) after: Vec<usize>,
    /// Groups that it is in.
    pub(super) groups: Vec<usize>,
}

/// Jobs of which the last one done frees a value.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) size: Bytes,
    /// At least two jobs, ascending.
    pub(super) members: Vec<usize>,
}

/// Jobs in an order in which each comes after those that it waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Net {
    pub(super) jobs: Vec<Job>,
    pub(super) groups: Vec<Group>,
    /// Bytes live before the first job.
    pub(super) base: Bytes,
    /// Whether it is read from the end.
    pub(super) is_reversed: bool,
}

impl Net {
    /// The net of a dataflow whose steps have these ranks in an order that is possible.
    pub(super) fn new(flow: &Dataflow, rank: &[usize]) -> Self {
        let mut net = Self { jobs: vec![Job::default(); rank.len()], ..Self::default() };
        rank.iter().enumerate().for_each(|(step, &at)| net.jobs[at].steps = vec![step]);
        for value in &flow.values {
            let size = value.size.bytes() as Bytes;
            let mut readers: Vec<usize> = value.readers.iter().map(|&reader| rank[reader]).collect();
            readers.sort_unstable();
            readers.dedup();
            let Some(maker) = value.maker.map(|maker| rank[maker]) else {
                // What is there from the start and never used is live in the first step alone: who that is, the search decides.
                if value.stays || !readers.is_empty() {
                    net.base += size;
                    net.close(size, readers, value.stays);
                }
                continue;
            };
            readers.iter().for_each(|&reader| net.edge(maker, reader));
            net.jobs[maker].hill += size;
            if value.stays || !readers.is_empty() {
                net.jobs[maker].delta += size;
                net.close(size, readers, value.stays);
            }
        }
        net.tidy();
        net
    }

    pub(super) fn edge(&mut self, from: usize, to: usize) {
        self.jobs[from].after.push(to);
        self.jobs[to].before.push(from);
    }

    /// A value is freed after all of these.
    pub(super) fn close(&mut self, size: Bytes, members: Vec<usize>, stays: bool) {
        match members[..] {
            _ if stays || size == 0 => {}
            [] => {}
            [only] => self.jobs[only].delta -= size,
            _ => {
                members.iter().for_each(|&job| self.jobs[job].groups.push(self.groups.len()));
                self.groups.push(Group { size, members });
            }
        }
    }

    /// Each edge once.
    pub(super) fn tidy(&mut self) {
        for job in &mut self.jobs {
            for edges in [&mut job.before, &mut job.after] {
                edges.sort_unstable();
                edges.dedup();
            }
        }
    }

    /// Bytes live after the last job.
    pub(super) fn end(&self) -> Bytes {
        let groups: Bytes = self.groups.iter().map(|group| group.size).sum();
        let deltas: Bytes = self.jobs.iter().map(|job| job.delta).sum();
        if self.is_reversed { self.base + deltas + groups } else { self.base + deltas - groups }
    }

    /// The same from the other end.
    pub(super) fn reversed(&self) -> Self {
        let turn = |job: &Job| Job {
            steps: job.steps.iter().rev().copied().collect(),
            hill: job.hill - job.delta,
            delta: -job.delta,
            before: job.after.clone(),
            after: job.before.clone(),
            groups: job.groups.clone(),
        };
        Self {
            jobs: self.jobs.iter().map(turn).collect(),
            groups: self.groups.clone(),
            base: self.end(),
            is_reversed: !self.is_reversed,
        }
    }

    /// Bytes live during a job and after it, where so much is live before it and these jobs are done.
    pub(super) fn cost(&self, live: Bytes, job: usize, is_done: impl Fn(usize) -> bool) -> (Bytes, Bytes) {
        let own = &self.jobs[job];
        let groups = own.groups.iter().map(|&group| &self.groups[group]);
        let is_alone = |group: &&Group| match self.is_reversed {
            false => group.members.iter().all(|&other| other == job || is_done(other)),
            true => !group.members.iter().any(|&other| is_done(other)),
        };
        let turned: Bytes = groups.filter(is_alone).map(|group| group.size).sum();
        match self.is_reversed {
            false => (live + own.hill, live + own.delta - turned),
            true => (live + own.hill + turned, live + own.delta + turned),
        }
    }

    /// What [`cost`](Self::cost) of a job takes, in units of effort.
    pub(super) fn scan(&self, job: usize) -> u64 {
        let members = self.jobs[job].groups.iter().map(|&group| self.groups[group].members.len());
        1 + members.sum::<usize>() as u64 / 8
    }

    /// Bytes live during each job of an order, and after the one before it.
    pub(super) fn loads(&self, order: &[usize]) -> Vec<(Bytes, Bytes)> {
        let mut open: Vec<usize> = self.groups.iter().map(|group| group.members.len()).collect();
        let mut live = self.base;
        let load = |&job: &usize| {
            let (own, before) = (&self.jobs[job], live);
            let mut turned = 0;
            for &group in &own.groups {
                let all = self.groups[group].members.len();
                if open[group] == if self.is_reversed { all } else { 1 } {
                    turned += self.groups[group].size;
                }
                open[group] -= 1;
            }
            live += own.delta + if self.is_reversed { turned } else { -turned };
            (before + own.hill + if self.is_reversed { turned } else { 0 }, before)
        };
        order.iter().map(load).collect()
    }

    /// Bytes live after the first jobs of an order, for a net read from the start.
    pub(super) fn after(&self, first: &[usize]) -> Bytes {
        let mut open: Vec<usize> = self.groups.iter().map(|group| group.members.len()).collect();
        first.iter().fold(self.base, |live, &job| {
            let own = &self.jobs[job];
            own.groups.iter().for_each(|&group| open[group] -= 1);
            let freed =
                own.groups.iter().filter(|&&group| open[group] == 0).map(|&group| self.groups[group].size);
            live + own.delta - freed.sum::<Bytes>()
        })
    }

    /// Most bytes live in an order.
    pub(super) fn peak(&self, order: &[usize]) -> Bytes {
        self.loads(order).into_iter().map(|(during, _)| during).max().unwrap_or(self.base).max(self.base)
    }

    /// The dataflow's steps in an order of the jobs.
    pub(super) fn steps(&self, order: &[usize]) -> Vec<usize> {
        order.iter().flat_map(|&job| self.jobs[job].steps.iter().copied()).collect()
    }

    /// Some of the jobs, ascending, as a net of their own in which so much is live at first. All others run before or after all
    /// of them: `is_done` says which.
    pub(super) fn part(&self, jobs: &[usize], base: Bytes, is_done: impl Fn(usize) -> bool) -> Self {
        let place = |job: usize| jobs.binary_search(&job).ok();
        let mut part = Self { base, is_reversed: self.is_reversed, ..Self::default() };
        let kept = |edges: &[usize]| edges.iter().filter_map(|&job| place(job)).collect();
        let own = |&job: &usize| {
            let job = &self.jobs[job];
            let (before, after) = (kept(&job.before), kept(&job.after));
            Job { steps: job.steps.clone(), before, after, groups: Vec::new(), ..*job }
        };
        part.jobs = jobs.iter().map(own).collect();
        let mut groups: Vec<usize> =
            jobs.iter().flat_map(|&job| self.jobs[job].groups.iter().copied()).collect();
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            let Group { size, members } = &self.groups[group];
            let inside: Vec<usize> = members.iter().filter_map(|&job| place(job)).collect();
            let outside = || members.iter().filter(|&&job| place(job).is_none());
            match self.is_reversed {
                false => part.close(*size, inside, outside().any(|&job| !is_done(job))),
                true => part.open(*size, inside, outside().any(|&job| is_done(job))),
            }
        }
        part
    }

    /// A value is there from the first of these on, read from the end.
    fn open(&mut self, size: Bytes, members: Vec<usize>, is_there: bool) {
        match members[..] {
            [only] if !is_there => {
                self.jobs[only].hill += size;
                self.jobs[only].delta += size;
            }
            _ => self.close(size, members, is_there),
        }
    }

    /// An order of the jobs: of those that can be done, always the one of lowest number.
    pub(super) fn sorted(&self) -> Vec<usize> {
        let mut waits: Vec<usize> = self.jobs.iter().map(|job| job.before.len()).collect();
        let mut ready: BinaryHeap<Reverse<usize>> =
            (0..waits.len()).filter(|&job| waits[job] == 0).map(Reverse).collect();
        let mut order = Vec::with_capacity(waits.len());
        while let Some(Reverse(job)) = ready.pop() {
            order.push(job);
            for &next in &self.jobs[job].after {
                waits[next] -= 1;
                if waits[next] == 0 {
                    ready.push(Reverse(next));
                }
            }
        }
        order
    }

    /// Where the net falls apart: ranges of jobs that run one after the other in every order, in a net whose jobs are
    /// numbered in an order that is possible. Before a job that all others come before or after is a cut, and after it.
    pub(super) fn ranges(&self) -> Vec<std::ops::Range<usize>> {
        let n = self.jobs.len();
        // How far edges reach from what came so far, and from where edges come to what follows.
        let mut reach = vec![0; n + 1];
        let mut ends = vec![true; n + 1];
        for (at, job) in self.jobs.iter().enumerate() {
            reach[at + 1] = reach[at].max(job.after.last().copied().unwrap_or(0));
            ends[at + 1] = ends[at] && !job.after.is_empty();
        }
        let mut starts = vec![true; n + 1];
        for at in (0..n).rev() {
            starts[at] = starts[at + 1] && !self.jobs[at].before.is_empty();
        }
        let mut ranges = Vec::new();
        let mut from = 0;
        for at in 0..n {
            if reach[at] <= at && ends[at] && starts[at + 1] {
                if from < at {
                    ranges.push(from..at);
                }
                ranges.push(at..at + 1);
                from = at + 1;
            }
        }
        if from < n {
            ranges.push(from..n);
        }
        ranges
    }
}
