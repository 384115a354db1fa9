//! The best starts so far, and the rounds in which better ones are looked for.
//!
//! In: models, a makespan, and how long. Out: starts, of which those come first that keep pinned models apart, then those with less live at
//! most; and the lowest packing, where models are boxes.

use std::time::{Duration, Instant};

use vramkit_units::SplitMix64;

use super::boxes::Sides;
use super::descent::{descend, insert, spread};
use super::fill::fill;
use super::fitted;
use super::packing::pack_in_parts;
use super::pins::Pins;
use super::placed::{Cost, Models};
use super::profile::Profile;
use super::repair::Repair;
use super::search::StartsSearch;
use crate::threads::spread as on_threads;

/// Models up to which each is moved with a look at all: of more that takes seconds, and what is done to groups of them brings more. Those that
/// are alike count once.
const MOVED: usize = 300;

/// Beginnings from which models are moved.
const BEGINNINGS: usize = 12;

/// Runs of all models together up to which they are moved whatever the time, as long as that is no more than this: few models have the
/// same answer on every machine.
const ALWAYS: usize = 200;
const GRACE: Duration = Duration::from_millis(100);

/// The widest beam: of many boxes more would take too much memory.
const WIDTH: usize = 2_048;

/// Rounds of searching at most.
const ROUNDS: u32 = 64;

/// Rounds up to which each is twice as long as the one before.
const LONGER: u32 = 13;

/// Times that models are fitted to one another in the first round.
const FITTED: usize = 16;

/// Models up to which boxes are packed: a beam looks at all that are left at each step. More are filled in one after the other.
pub(super) const BOXES: usize = 2_000;

/// What boxes are filled in by.
const RULES: u32 = 3;

/// A room, where its random choices start, and the corners found.
type Try = (Sides, SplitMix64, Option<Vec<(u64, u64)>>);

/// The best starts so far.
pub(super) struct Choice<'a> {
    pub(super) models: Models<'a>,
    makespan: u64,
    search: &'a StartsSearch<'a>,
    /// No starts have less live at most.
    pub(super) bound: u64,
    /// Of the starts that cost least.
    pub(super) cost: Cost,
    pub(super) starts: Vec<u64>,
    /// Of the starts whose boxes were packed lowest.
    pub(super) packed: Option<Packed>,
}

/// Starts and offsets of boxes that were packed.
pub(super) struct Packed {
    /// The room's height, for boxes whose sizes are rounded up to their alignments.
    height: u64,
    /// The end of the highest box.
    pub(super) arena: u64,
    pub(super) starts: Vec<u64>,
    pub(super) offsets: Vec<u64>,
}

impl<'a> Choice<'a> {
    /// All at once.
    pub(super) fn new(models: Models<'a>, makespan: u64, bound: u64, search: &'a StartsSearch<'a>) -> Self {
        let starts = vec![0; models.profiles.len()];
        let cost = models.cost(&starts);
        Self { models, makespan, search, bound, cost, starts, packed: None }
    }

    /// Whether no starts are better than those there are, or none has as little as there may be.
    fn is_settled(&self) -> bool {
        let is_hopeless = self.search.capacity.is_some_and(|capacity| self.bound > capacity.bytes());
        self.cost.collisions == 0.0 && self.cost.peak <= self.bound || is_hopeless
    }

    fn is_over(&self) -> bool {
        self.is_settled() || self.search.budget.is_over()
    }

    fn take(&mut self, starts: &[u64]) {
        let cost = self.models.cost(starts);
        if cost < self.cost {
            (self.cost, self.starts) = (cost, starts.to_vec());
        }
    }

    /// Moves one model after the other, from the best starts, those given, all at once, one after the other, and random ones.
    fn move_from(&mut self, given: &[u64], seed: u64) {
        let mut random = SplitMix64::new(seed);
        let runs = |profile: &Profile| profile.runs.len();
        let takes_long = self.models.profiles.iter().map(runs).sum::<usize>() > ALWAYS;
        // Of thousands that are alike there is more to do than time.
        let budget = match self.starts.len() > MOVED {
            true => self.search.budget.share(2),
            false => self.search.budget,
        };
        let began = Instant::now();
        let has_grace = || !takes_long && began.elapsed() < GRACE;
        let is_over = || budget.is_over() && !has_grace();
        let mut best = self.starts.clone();
        descend(&self.models, &mut best, &is_over);
        self.take(&best);
        for beginning in 0..BEGINNINGS {
            if self.is_settled() || is_over() {
                return;
            }
            let in_turn = in_turn(self.models.profiles);
            let starts =
                self.models.latest.iter().zip(given.iter().zip(in_turn)).map(|(&latest, (&given, next))| {
                    let at = match beginning {
                        0 => given,
                        1 => 0,
                        2 => next,
                        _ => random.below(usize::try_from(latest).unwrap_or(usize::MAX).saturating_add(1))
                            as u64,
                    };
                    at.min(latest)
                });
            let mut starts: Vec<u64> = starts.collect();
            descend(&self.models, &mut starts, &is_over);
            self.take(&starts);
        }
    }

    /// Packs and repairs, each round longer than the one before for a while.
    pub(super) fn run(&mut self, given: &[u64]) {
        let seed = self.search.seed;
        let budget = self.search.budget;
        let mut random = SplitMix64::new(seed);
        let (models, boxes) = (self.models.profiles.len(), self.boxes());
        let many = boxes.as_ref().filter(|_| models > MOVED);
        // What is soon done and good first; what takes long has half of the time then.
        self.take(&spread(&self.models));
        for round in 0..RULES {
            many.into_iter().for_each(|boxes| self.fill(boxes, round, &mut random));
        }
        let some = if models > BOXES { budget.share(2) } else { budget };
        let is_done = models > BOXES && self.is_settled();
        let inserted = insert(&self.models, &|| is_done || some.is_over());
        self.take(&inserted);
        let one_by_one: Vec<u64> = in_turn(self.models.profiles).collect();
        if one_by_one.iter().zip(&self.models.latest).all(|(start, latest)| start <= latest) {
            self.take(&one_by_one);
        }
        // Few models are soon searched through.
        let rounds = ROUNDS.min(u32::try_from(models.saturating_pow(2)).unwrap_or(ROUNDS));
        for round in 0..rounds {
            let longer = round.min(LONGER);
            match (many.filter(|_| models > BOXES), &boxes) {
                (Some(boxes), _) => self.fill(boxes, RULES + round, &mut random),
                (None, Some(boxes)) => self.pack(boxes, (4 << longer).min(WIDTH), &mut random),
                (None, None) => {}
            }
            if self.packed.is_none() && !self.is_over() {
                if round == 0 && self.models.different() <= MOVED {
                    self.move_from(given, seed);
                }
                self.fit(FITTED << longer.min(8), 100 << longer, &mut random);
                self.repair(100 << longer, &mut random);
            }
            if self.is_over() {
                return;
            }
        }
    }

    /// The models as boxes, steps across and bytes up, where each has one load all its life and none is pinned.
    fn boxes(&self) -> Option<Vec<Sides>> {
        let side = |profile: &Profile| {
            let [run] = profile.runs[..] else { return None };
            if (run.from, run.to) != (0, profile.steps) {
                return None;
            }
            let height = run.bytes.checked_next_multiple_of(profile.alignment)?;
            Some(Sides { width: profile.steps, height })
        };
        let profiles = self.models.profiles;
        let are_free = !profiles.is_empty() && self.models.pins.ranges == 0;
        are_free.then(|| profiles.iter().map(side).collect()).flatten()
    }

    /// Packs boxes to lower and lower heights: the least, and some between it and the lowest so far, at once.
    fn pack(&mut self, boxes: &[Sides], width: usize, random: &mut SplitMix64) {
        let area = boxes.iter().map(|sides| u128::from(sides.width) * u128::from(sides.height));
        let even = area.fold(0, u128::saturating_add).div_ceil(u128::from(self.makespan.max(1)));
        let least = self.bound.max(u64::try_from(even).unwrap_or(u64::MAX));
        // Until something was packed a quarter more than the least is hoped for, and more with each round.
        let hoped = least.saturating_add((least / 16).saturating_mul(width as u64));
        for eighths in [[0, 4, 0, 6], [0, 6, 0, 7]] {
            let best = self.packed.as_ref().map_or(hoped, |packed| packed.height.min(hoped));
            if best <= least || self.is_over() {
                return;
            }
            let height = |eighths: u64| least + (best - 1 - least) / 8 * eighths;
            let tries = eighths.map(|eighths| {
                let room = Sides { width: self.makespan, height: height(eighths) };
                (room, SplitMix64::new(random.bits()), None)
            });
            let found = self.packed(boxes, tries, width);
            for (room, _, corners) in found {
                if let Some(corners) = corners {
                    self.take_packed(room.height, &corners);
                }
            }
        }
    }

    /// Tries to pack boxes into several rooms.
    fn packed(&self, boxes: &[Sides], mut tries: [Try; 4], width: usize) -> [Try; 4] {
        let budget = self.search.budget;
        let is_over = || budget.is_over();
        let share = tries.len().div_ceil(self.search.threads.max(1));
        on_threads(tries.chunks_mut(share).collect(), |tries: &mut [Try]| {
            for (room, random, corners) in tries {
                *corners = pack_in_parts(boxes, *room, width, random, &is_over);
            }
        });
        tries
    }

    /// Fills boxes in, the widest first, the tallest, the largest, and then by these in turn, each larger or smaller by chance.
    fn fill(&mut self, boxes: &[Sides], round: u32, random: &mut SplitMix64) {
        let budget = self.search.budget;
        let keys = boxes.iter().map(|sides| {
            let (width, height) = (sides.width as f64, sides.height as f64);
            let key = [width, height, width * height][(round % RULES) as usize];
            let by_chance = if round < RULES { 1.0 } else { 0.8 + 0.4 * random.unit() };
            (key * by_chance, width * height)
        });
        let keys: Vec<(f64, f64)> = keys.collect();
        let mut order: Vec<usize> = (0..boxes.len()).collect();
        order.sort_by(|&a, &b| {
            keys[b].0.total_cmp(&keys[a].0).then(keys[b].1.total_cmp(&keys[a].1)).then(a.cmp(&b))
        });
        // A first time is soon over, whatever the time.
        let is_over = || round > 0 && budget.is_over();
        if let Some((height, corners)) = fill(boxes, self.makespan, &order, &is_over) {
            self.take_packed(height, &corners);
        }
    }

    /// Takes the starts of boxes that were packed into a lower room than before.
    fn take_packed(&mut self, height: u64, corners: &[(u64, u64)]) {
        if self.packed.as_ref().is_some_and(|packed| packed.height <= height) {
            return;
        }
        let ends =
            self.models.profiles.iter().zip(corners).map(|(profile, corner)| corner.1 + profile.peak());
        let (arena, starts) = (ends.max().unwrap_or(0), corners.iter().map(|corner| corner.0));
        let starts: Vec<u64> = starts.collect();
        self.take(&starts);
        let offsets = corners.iter().map(|corner| corner.1).collect();
        self.packed = Some(Packed { height, arena, starts, offsets });
    }

    /// Joins models whose loads fit one another, so many times anew, and moves the fewest that they became.
    fn fit(&mut self, times: usize, moves: usize, random: &mut SplitMix64) {
        let budget = self.search.budget;
        let is_over = || budget.is_over();
        let own = self.models.profiles;
        let fitted = fitted::fit(own, self.makespan, self.bound, times, random, &is_over);
        if fitted.len() == own.len() {
            return;
        }
        let profiles: Vec<Profile> = fitted.iter().map(|one| one.profile.clone()).collect();
        let models = Models::new(&profiles, self.makespan, Pins::none(profiles.len()));
        let mut joined = Choice::new(models, self.makespan, self.bound, self.search);
        let inserted = insert(&joined.models, &is_over);
        joined.take(&inserted);
        joined.repair(moves, random);
        let mut starts = self.starts.clone();
        for (one, at) in fitted.iter().zip(&joined.starts) {
            one.members.iter().for_each(|&(model, later)| starts[model] = at + later);
        }
        self.take(&starts);
    }

    /// Moves away what is more than a lower and lower capacity.
    fn repair(&mut self, moves: usize, random: &mut SplitMix64) {
        for quarter in [0, 2, 3, 4] {
            if self.is_over() || self.cost.peak <= self.bound {
                return;
            }
            let capacity = self.bound + (self.cost.peak - 1 - self.bound) / 4 * quarter;
            let mut starts = self.starts.clone();
            let budget = self.search.budget;
            let random = SplitMix64::new(random.bits());
            let mut repair = Repair { models: &self.models, random };
            repair.reach(&mut starts, capacity, moves, &|| budget.is_over());
            self.take(&starts);
        }
    }
}

/// Starts of one model after the other.
fn in_turn(profiles: &[Profile]) -> impl Iterator<Item = u64> + '_ {
    profiles.iter().scan(0u64, |next, profile| {
        let start = *next;
        *next = next.saturating_add(profile.steps);
        Some(start)
    })
}
