//! Models at their starts: what is live together, and which pinned tensors are over one another.
//!
//! In: models, and starts for some of them or all. Out: the load, how many steps too many are taken of pinned addresses, and the starts of
//! one more that are worth a look: those at which a rise of its load meets a fall of another's, or an end of the clock.

use std::collections::HashMap;

use super::pins::Pins;
use super::profile::{Load, Profile, Run};

/// Starts that are tried for one model, at most: evenly chosen where there are more.
const STARTS: usize = 400;

/// Changes of a model and of others that are paired to find starts, about: of more every so many of the model's.
const PAIRS: usize = 1 << 22;

/// What models have in common that are alike: loads, steps, and what they are pinned to.
type Alike<'a> = (&'a [Run], u64, &'a [(usize, Profile)]);

/// Models whose starts are to be chosen.
pub(super) struct Models<'a> {
    pub(super) profiles: &'a [Profile],
    /// The last start of each that lets it end in time.
    pub(super) latest: Vec<u64>,
    pub(super) pins: Pins,
    /// Of each a number that models have in common which are alike.
    pub(super) kinds: Vec<usize>,
}

impl<'a> Models<'a> {
    /// Of loads none of which is longer than a makespan.
    pub(super) fn new(profiles: &'a [Profile], makespan: u64, pins: Pins) -> Self {
        let latest = profiles.iter().map(|profile| makespan - profile.steps).collect();
        let mut numbers: HashMap<Alike<'_>, usize> = HashMap::new();
        let kinds = profiles.iter().enumerate().map(|(model, profile)| {
            let next = numbers.len();
            *numbers.entry((&profile.runs, profile.steps, pins.of(model))).or_insert(next)
        });
        let kinds = kinds.collect();
        Self { profiles, latest, pins, kinds }
    }

    /// How many are different.
    pub(super) fn different(&self) -> usize {
        self.kinds.iter().max().map_or(0, |last| last + 1)
    }

    /// What starts are judged by.
    pub(super) fn cost(&self, starts: &[u64]) -> Cost {
        let placed = Placed::new(self, starts);
        Cost { collisions: placed.collisions(), peak: placed.load.peak() }
    }
}

/// What is too much of starts: first what must not be at all.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Cost {
    /// Steps at which pinned addresses are taken by another model too.
    pub(super) collisions: f64,
    /// Most bytes live together.
    pub(super) peak: u64,
}

/// Some of the models at their starts.
#[derive(Clone)]
pub(super) struct Placed<'a> {
    models: &'a Models<'a>,
    pub(super) load: Load,
    /// How many models take each range of pinned addresses.
    pinned: Vec<Load>,
}

impl<'a> Placed<'a> {
    /// None of them.
    pub(super) fn none(models: &'a Models<'a>) -> Self {
        let none = Load::new(std::iter::empty());
        Self { models, pinned: vec![none.clone(); models.pins.ranges], load: none }
    }

    /// All of them.
    pub(super) fn new(models: &'a Models<'a>, starts: &[u64]) -> Self {
        let load = Load::new(models.profiles.iter().zip(starts.iter().copied()));
        let mut of_ranges: Vec<Vec<(&Profile, u64)>> = vec![Vec::new(); models.pins.ranges];
        for (model, &start) in starts.iter().enumerate() {
            models.pins.of(model).iter().for_each(|(range, taken)| of_ranges[*range].push((taken, start)));
        }
        Self {
            models,
            load,
            pinned: of_ranges.into_iter().map(|range| Load::new(range.into_iter())).collect(),
        }
    }

    pub(super) fn add(&mut self, model: usize, start: u64) {
        self.load.add(&self.models.profiles[model], start);
        for (range, taken) in self.models.pins.of(model) {
            self.pinned[*range].add(taken, start);
        }
    }

    /// Takes a model out that was added.
    pub(super) fn remove(&mut self, model: usize, start: u64) {
        self.load.remove(&self.models.profiles[model], start);
        for (range, taken) in self.models.pins.of(model) {
            self.pinned[*range].remove(taken, start);
        }
    }

    /// Steps at which pinned addresses are taken by more than one model.
    pub(super) fn collisions(&self) -> f64 {
        self.pinned.iter().map(|range| range.over(1)).sum()
    }

    /// How many of these there are more once a model is added.
    pub(super) fn collisions_of(&self, model: usize, start: u64) -> f64 {
        let own = self.models.pins.of(model).iter();
        own.map(|(range, taken)| self.pinned[*range].excess(taken, start, 1)).sum()
    }

    /// The starts of a model at which one of its changes meets one of the others', and both ends of the clock.
    pub(super) fn meetings(&self, model: usize) -> Vec<u64> {
        let mut all = meetings(&self.load, &self.models.profiles[model], self.models.latest[model]);
        all.extend(self.pinned_meetings(model));
        all
    }

    /// Those at which that is so of pinned addresses; none of a model without.
    pub(super) fn pinned_meetings(&self, model: usize) -> Vec<u64> {
        let own = self.models.pins.of(model).iter();
        own.flat_map(|(range, taken)| meetings(&self.pinned[*range], taken, self.models.latest[model]))
            .collect()
    }
}

fn meetings(load: &Load, profile: &Profile, latest: u64) -> Vec<u64> {
    let mut all = vec![0, latest];
    let pairs = profile.runs.len().saturating_mul(2 * load.times.len());
    let ends = profile.runs.iter().flat_map(|run| [run.from, run.to]);
    for own in ends.step_by(pairs.div_ceil(PAIRS).max(1)) {
        let starts = load.times.iter().filter_map(|time| time.checked_sub(own));
        all.extend(starts.filter(|&start| start <= latest));
        // Before it grows without end: evenly chosen ones will do.
        if all.len() > 64 * STARTS {
            thin(&mut all);
        }
    }
    thin(&mut all);
    all
}

fn thin(all: &mut Vec<u64>) {
    all.sort_unstable();
    all.dedup();
    let stride = all.len().div_ceil(STARTS).max(1);
    let mut i = 0;
    all.retain(|_| {
        i += 1;
        (i - 1) % stride == 0
    });
}
