//! Where pinned tensors of different models keep apart.
//!
//! The addresses that anything is pinned to fall into ranges. Of each range a model takes some steps on its own clock, and a step at which two
//! take it is one too many. So each range is a load of its own, in models, of which 1 is the most that there may be.

use std::collections::{BTreeMap, HashSet};

use crate::lifetime::{Model, Schedule, on_one_clock};
use crate::lifetime_error::LifetimeError;
use crate::problem::{collect, compile};
use vramkit_units::Step;

use super::profile::{Profile, runs};

/// Ranges of all pinned tensors beyond which starts are chosen by what is live alone, and looked at afterwards.
const RANGES: usize = 1 << 20;

/// Which ranges of addresses each model takes, and when.
pub(super) struct Pins {
    of_model: Vec<Vec<(usize, Profile)>>,
    pub(super) ranges: usize,
}

impl Pins {
    /// Of models without any.
    pub(super) fn none(models: usize) -> Self {
        Self { of_model: vec![Vec::new(); models], ranges: 0 }
    }

    /// Of models, those ranges that more than one takes.
    pub(super) fn new(models: &[Model]) -> Result<Self, LifetimeError> {
        let (mut pinned, mut bounds) = (Vec::new(), Vec::new());
        for (model, own) in models.iter().enumerate() {
            if own.tensors.iter().all(|tensor| tensor.pinned.is_none()) {
                continue;
            }
            let (compiled, units) = collect(own.tensors.iter())?;
            for (buffer, unit) in compiled.problem.buffers.iter().zip(&units) {
                let Some(at) = buffer.pin() else { continue };
                let end = at + buffer.bytes();
                bounds.extend([at, end]);
                let changes: Vec<(u64, i128)> =
                    unit.runs().flat_map(|(from, to)| [(from, 1), (to, -1)]).collect();
                pinned.push((model, at, end, changes));
            }
        }
        bounds.sort_unstable();
        bounds.dedup();
        let ranges = |at, end| {
            bounds.partition_point(|&bound| bound < at)..bounds.partition_point(|&bound| bound < end)
        };
        if pinned.iter().map(|&(_, at, end, _)| ranges(at, end).len()).sum::<usize>() > RANGES {
            return Ok(Self::none(models.len()));
        }
        // What changes in each range, model by model.
        let mut by_range: BTreeMap<usize, BTreeMap<usize, Vec<(u64, i128)>>> = BTreeMap::new();
        for (model, at, end, changes) in &pinned {
            for range in ranges(*at, *end) {
                by_range.entry(range).or_default().entry(*model).or_default().extend(changes);
            }
        }
        let mut pins = Self::none(models.len());
        let mut seen = HashSet::new();
        for taken in by_range.into_values().filter(|taken| taken.len() > 1) {
            let taken: Vec<_> = taken.into_iter().map(|(model, changes)| (model, runs(changes))).collect();
            if !seen.insert(taken.clone()) {
                continue;
            }
            for (model, runs) in taken {
                let steps = runs.last().map_or(0, |run| run.to);
                pins.of_model[model].push((pins.ranges, Profile { runs, steps, alignment: 1 }));
            }
            pins.ranges += 1;
        }
        Ok(pins)
    }

    /// The ranges that a model takes, each with when it does.
    pub(super) fn of(&self, model: usize) -> &[(usize, Profile)] {
        &self.of_model[model]
    }
}

/// Whether all pinned tensors keep apart at some starts.
pub(super) fn check(models: &[Model], starts: &[u64]) -> Result<(), LifetimeError> {
    if models.iter().flat_map(|model| &model.tensors).all(|tensor| tensor.pinned.is_none()) {
        return Ok(());
    }
    let mut models = models.to_vec();
    models.iter_mut().zip(starts).for_each(|(model, start)| model.start = Step(*start));
    compile(on_one_clock(&models, Schedule::Fixed)?.iter()).map(|_| ())
}
