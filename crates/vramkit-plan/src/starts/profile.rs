//! What a model has live at each step of its own clock, and what several have together.
//!
//! In: a model's tensors, alias groups as one. Out: a [`Profile`], runs of steps with the bytes live in each; profiles at
//! their starts add up to a [`Load`].

use crate::lifetime::Model;
use crate::lifetime_error::LifetimeError;
use crate::problem::collect;

/// Steps of one load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Run {
    /// The first step, from the model's start.
    pub(super) from: u64,
    /// The first step after it.
    pub(super) to: u64,
    /// Bytes live, more than none.
    pub(super) bytes: u64,
}

/// A model's load on its own clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Profile {
    /// Ascending, apart from one another or with different loads; none for a model that takes no room.
    pub(super) runs: Vec<Run>,
    /// The first step after its last tensor.
    pub(super) steps: u64,
    /// The bytes to which a box around it is rounded up: its largest alignment.
    pub(super) alignment: u64,
}

impl Profile {
    /// Of a model's tensors, on its own clock from 0.
    pub(super) fn new(model: &Model) -> Result<Self, LifetimeError> {
        let (compiled, units) = collect(model.tensors.iter())?;
        let mut changes: Vec<(u64, i128)> = Vec::new();
        for (buffer, unit) in compiled.problem.buffers.iter().zip(&units) {
            for (start, end) in unit.runs() {
                changes.push((start, i128::from(buffer.bytes())));
                changes.push((end, -i128::from(buffer.bytes())));
            }
        }
        let alignment = compiled.problem.buffers.iter().map(|buffer| buffer.alignment).max().unwrap_or(1);
        let steps = model.tensors.iter().map(|tensor| tensor.end.0).max().unwrap_or(0);
        Ok(Self { runs: runs(changes), steps, alignment })
    }

    /// Its own most.
    pub(super) fn peak(&self) -> u64 {
        self.runs.iter().map(|run| run.bytes).max().unwrap_or(0)
    }
}

/// Runs from changes of a load, which is never negative and of 64 bits.
pub(super) fn runs(mut changes: Vec<(u64, i128)>) -> Vec<Run> {
    changes.sort_unstable();
    let mut runs: Vec<Run> = Vec::new();
    let (mut load, mut last) = (0i128, 0u64);
    for (step, change) in changes {
        if step > last && load > 0 {
            let bytes = u64::try_from(load).unwrap_or(u64::MAX);
            match runs.last_mut() {
                Some(run) if run.to == last && run.bytes == bytes => run.to = step,
                _ => runs.push(Run { from: last, to: step, bytes }),
            }
        }
        load += change;
        last = step;
    }
    runs
}

/// Bytes live at each step of the common clock.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// The first steps of stretches of one load, ascending from 0; the last one goes on without end.
    pub(super) times: Vec<u64>,
    /// The load of each.
    pub(super) levels: Vec<u64>,
}

impl Load {
    /// Of all profiles at their starts.
    pub(super) fn new<'a>(placed: impl Iterator<Item = (&'a Profile, u64)>) -> Self {
        let mut changes: Vec<(u64, i128)> = Vec::new();
        for (profile, start) in placed {
            for run in &profile.runs {
                changes.push((start + run.from, i128::from(run.bytes)));
                changes.push((start + run.to, -i128::from(run.bytes)));
            }
        }
        let (mut times, mut levels) = (vec![0], vec![0]);
        for run in runs(changes) {
            if times.last() == Some(&run.from) {
                levels.pop();
                times.pop();
            }
            times.extend([run.from, run.to]);
            levels.extend([run.bytes, 0]);
        }
        Self { times, levels }
    }

    /// The most at one step.
    pub(super) fn peak(&self) -> u64 {
        self.levels.iter().copied().max().unwrap_or(0)
    }

    /// Adds a profile.
    pub(super) fn add(&mut self, profile: &Profile, start: u64) {
        self.change(profile, start, |level, bytes| level + bytes);
    }

    /// Takes a profile out that was added, and joins what is one stretch then.
    pub(super) fn remove(&mut self, profile: &Profile, start: u64) {
        self.change(profile, start, |level, bytes| level - bytes);
        let mut kept = 0;
        for i in 1..self.times.len() {
            if self.levels[i] != self.levels[kept] {
                kept += 1;
                (self.times[kept], self.levels[kept]) = (self.times[i], self.levels[i]);
            }
        }
        self.times.truncate(kept + 1);
        self.levels.truncate(kept + 1);
    }

    /// Changes the levels in a profile's life by its bytes, in one pass over the stretches that it meets.
    fn change(&mut self, profile: &Profile, start: u64, changed: impl Fn(u64, u64) -> u64) {
        let edges = profile.runs.iter().flat_map(|run| [(start + run.from, run.bytes), (start + run.to, 0)]);
        let mut edges = edges.peekable();
        let Some(&(from, _)) = edges.peek() else { return };
        let first = self.times.partition_point(|&time| time <= from) - 1;
        let (mut times, mut levels) = (Vec::new(), Vec::new());
        let (mut at, mut now, mut bytes) = (first, self.times[first], 0);
        loop {
            while let Some((_, next)) = edges.next_if(|edge| edge.0 <= now) {
                bytes = next;
            }
            times.push(now);
            levels.push(changed(self.levels[at], bytes));
            let Some(&(edge, _)) = edges.peek() else { break };
            match self.times.get(at + 1) {
                Some(&time) if time <= edge => (at, now) = (at + 1, time),
                _ => now = edge,
            }
        }
        self.times.splice(first..=at, times);
        self.levels.splice(first..=at, levels);
    }

    /// The stretches, with the first step after each.
    pub(super) fn stretches(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        let ends = self.times[1..].iter().copied().chain(std::iter::once(u64::MAX));
        self.times.iter().zip(ends).zip(&self.levels).map(|((&from, to), &level)| (from, to, level))
    }

    /// The most that is live in a profile's life once it is added.
    pub(super) fn highest(&self, profile: &Profile, start: u64) -> u64 {
        let mut highest = 0;
        self.under(profile, start, |level, bytes, _| highest = highest.max(level + bytes));
        highest
    }

    /// How many bytes times steps more pass a capacity once a profile is added; 0 exactly where none do.
    pub(super) fn excess(&self, profile: &Profile, start: u64, capacity: u64) -> f64 {
        let mut sum = 0.0;
        self.under(profile, start, |level, bytes, steps| {
            let free = capacity.saturating_sub(level);
            if bytes > free {
                sum += (bytes - free) as f64 * steps as f64;
            }
        });
        sum
    }

    /// Bytes times steps over a capacity.
    pub(super) fn over(&self, capacity: u64) -> f64 {
        let over = self.stretches().filter(|stretch| stretch.2 > capacity);
        over.map(|(from, to, level)| (level - capacity) as f64 * (to - from) as f64).sum()
    }

    /// Gives the load, a profile's bytes and the steps of each stretch in which neither changes.
    fn under(&self, profile: &Profile, start: u64, mut see: impl FnMut(u64, u64, u64)) {
        let first = profile.runs.first().map_or(0, |run| run.from);
        let mut at = self.times.partition_point(|&time| time <= start + first) - 1;
        for run in &profile.runs {
            let (mut from, to) = (start + run.from, start + run.to);
            while self.times.get(at + 1).is_some_and(|&time| time <= from) {
                at += 1;
            }
            loop {
                let until = self.times.get(at + 1).map_or(to, |&time| time.min(to));
                see(self.levels[at], run.bytes, until - from);
                if until == to {
                    break;
                }
                from = until;
                at += 1;
            }
        }
    }
}
