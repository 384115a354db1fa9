//! When each of several models should start, so that their peaks do not meet.
//!
//! ```text
//! models ─► profiles ─► bound ─┬─► joined ─► boxes (models of one load each) ────┬─► starts
//!                              └─► descent ─► fitted ─► repair (any load) ───────┘   until the peak is the bound or time is up
//! ```
//!
//! On one clock and within a makespan, every model may start at any step that lets it end in time. What counts is
//! the most that is live together: of models of one load each that is a box's height, packed ([`boxes`]); of others it
//! is what the sum of their loads rises to, which is lowered by moving models ([`descent`], then [`repair`]). What may have been cut
//! from one whole is put together first ([`joined`], [`fitted`]).

mod bound;
mod boxes;
mod descent;
mod fitted;
mod joined;
mod pins;
mod profile;
mod repair;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use crate::lifetime::{Model, Schedule, on_one_clock};
use crate::lifetime_error::LifetimeError;
use crate::order::OrderBudget;
use crate::planner::MemoryPlanner;
use crate::threads::spread;
use vramkit_units::{ByteSize, SplitMix64, Step};

use boxes::Sides;
use descent::{descend, insert};
use profile::{Load, Profile};
use repair::Repair;

/// Models up to which each is moved with a look at all: of more that takes seconds, and what is done to groups of them brings more.
const MOVED: usize = 300;

/// Beginnings from which models are moved.
const BEGINNINGS: usize = 12;

/// Runs of all models together up to which they are moved whatever the time: some milliseconds.
const ALWAYS: usize = 200;

/// The widest beam: of many boxes more would take too much memory.
const WIDTH: usize = 2_048;

/// Rounds of searching at most.
const ROUNDS: u32 = 64;

/// Rounds up to which each is twice as long as the one before.
const LONGER: u32 = 13;

/// Rounds in which boxes are joined, at least.
const JOINED: usize = 16;

/// Times that models are fitted to one another in the first round.
const FITTED: usize = 16;

/// Models up to which boxes are packed: a beam looks at all that are left at each step.
const BOXES: usize = 2_000;

/// Starts of models, and what they save.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Starts {
    /// One for each model.
    pub starts: Vec<Step>,
    /// Most bytes live together with the starts given.
    pub before: ByteSize,
    /// The first step after all models with the starts given, which may be past the makespan.
    pub given_end: Step,
    /// Most bytes live together with these.
    pub peak: ByteSize,
    /// No starts have less: the largest model's own peak, all models' bytes spread evenly over the makespan, or what cannot
    /// run one after the other within it. Where the peak is the bound there are no better starts.
    pub bound: ByteSize,
}

/// How starts are looked for.
#[derive(Clone, Copy)]
pub struct StartsSearch<'a> {
    /// Where random choices start.
    pub seed: u64,
    /// How many threads may work, four at most; the answer does not depend on it where there is time enough.
    pub threads: usize,
    /// How long.
    pub budget: OrderBudget<'a>,
}

/// Why no starts were chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartsError {
    /// The lifetimes themselves cannot be planned.
    #[error(transparent)]
    Lifetimes(#[from] LifetimeError),
    /// No starts were found at which pinned tensors of different models keep apart.
    #[error("{0}, at all starts that were tried; pin them apart, give a larger makespan, or none")]
    Pins(#[source] LifetimeError),
    /// A model takes longer than the makespan.
    #[error(
        "model `{model}` takes {0} steps, more than the makespan of {1}; give at least {0}", steps.0, makespan.0
    )]
    TooLong {
        /// The model.
        model: String,
        /// The first step after it, where it starts at step 0.
        steps: Step,
        /// What there is.
        makespan: Step,
    },
}

/// Chooses starts within a makespan for models on one clock (the fixed schedule), better ones for as long as
/// there is time.
///
/// ```
/// use std::time::Duration;
/// use vramkit_plan::{Model, OrderBudget, StartsSearch, TensorLifetime, choose_starts};
/// use vramkit_units::{ByteSize, Step};
///
/// let model = |name: &str| Model {
///     name: name.into(),
///     weights: ByteSize::ZERO,
///     start: Step(0),
///     tensors: vec![TensorLifetime::new(name, "x", Step(0), Step(4), ByteSize::mib(8))],
/// };
/// let budget = OrderBudget::new(Duration::from_secs(1), &());
/// let search = StartsSearch { seed: 0, threads: 1, budget };
/// let chosen = choose_starts(&[model("a"), model("b")], Step(8), &search)?;
/// assert_eq!((chosen.before, chosen.peak), (ByteSize::mib(16), ByteSize::mib(8)));
/// # Ok::<(), vramkit_plan::StartsError>(())
/// ```
///
/// # Errors
/// What is wrong with the lifetimes, and a model that takes longer than the makespan.
pub fn choose_starts(
    models: &[Model],
    makespan: Step,
    search: &StartsSearch<'_>,
) -> Result<Starts, StartsError> {
    // Checked as a whole once; then each model alone.
    on_one_clock(models, Schedule::Fixed)?;
    let profiles: Vec<Profile> = models.iter().map(Profile::new).collect::<Result<_, LifetimeError>>()?;
    for (model, profile) in models.iter().zip(&profiles) {
        if profile.steps > makespan.0 {
            let model = model.name.to_string();
            return Err(StartsError::TooLong { model, steps: Step(profile.steps), makespan });
        }
    }
    let given: Vec<u64> = models.iter().map(|model| model.start.0).collect();
    let before = peak(&profiles, &given);
    let ends = profiles.iter().zip(&given).map(|(profile, start)| start.saturating_add(profile.steps));
    let given_end = Step(ends.max().unwrap_or(0));
    let mut choice = Choice::new(&profiles, makespan.0, search);
    choice.run(&given);
    if let Some(packed) = choice.packed.take() {
        // A packing is an arena; fewer bytes live at once may take a larger one, or a smaller where boxes are rounded up.
        let is_lower = || placed(models, &choice.starts).map_or(true, |arena| packed.arena <= arena);
        if packed.arena <= choice.peak || is_lower() {
            (choice.peak, choice.starts) = (peak(&profiles, &packed.starts), packed.starts);
        }
    }
    // Starts that were given and fit are kept unless others are better.
    let fits = given.iter().zip(&choice.latest).all(|(given, latest)| given <= latest);
    if fits && before <= choice.peak {
        (choice.peak, choice.starts) = (before, given.clone());
    }
    let chosen = pins::apart(models, &profiles, &choice.starts, fits.then_some(&*given), makespan.0)
        .map_err(StartsError::Pins)?;
    if chosen != choice.starts {
        (choice.peak, choice.starts) = (peak(&profiles, &chosen), chosen);
    }
    Ok(Starts {
        starts: choice.starts.into_iter().map(Step).collect(),
        before: ByteSize::new(before),
        given_end,
        peak: ByteSize::new(choice.peak),
        bound: ByteSize::new(choice.bound),
    })
}

/// What an arena for the models comes to at some starts, without a search.
fn placed(models: &[Model], starts: &[u64]) -> Result<u64, LifetimeError> {
    let mut models = models.to_vec();
    models.iter_mut().zip(starts).for_each(|(model, start)| model.start = Step(*start));
    Ok(MemoryPlanner::new().plan(&models, Schedule::Fixed)?.arena_size.bytes())
}

/// A room, where its random choices start, and the corners found.
type Try = (Sides, SplitMix64, Option<Vec<(u64, u64)>>);

/// Tries to pack boxes into a room, half of the times with those joined first that may have been cut from one another.
fn pack_in_parts(
    boxes: &[Sides],
    room: Sides,
    width: usize,
    random: &mut SplitMix64,
    is_over: &dyn Fn() -> bool,
) -> Option<Vec<(u64, u64)>> {
    if random.below(2) == 0 {
        return pack_turned(boxes, room, width, random, is_over);
    }
    let joined = joined::join(boxes, room, width.max(JOINED), random, is_over);
    let sides: Vec<Sides> = joined.iter().map(|joined| joined.sides).collect();
    let corners = pack_turned(&sides, room, width, random, is_over)?;
    let mut all = vec![(0, 0); boxes.len()];
    joined.iter().zip(corners).for_each(|(joined, at)| joined.place(at, &mut all));
    Some(all)
}

/// Tries to pack boxes into a room, filling what lies across from the first step on, or from the lowest address.
fn pack_turned(
    boxes: &[Sides],
    room: Sides,
    width: usize,
    random: &mut SplitMix64,
    is_over: &dyn Fn() -> bool,
) -> Option<Vec<(u64, u64)>> {
    if random.below(2) == 0 {
        return boxes::pack(boxes, room, width, random, is_over);
    }
    let turned: Vec<Sides> = boxes.iter().map(|sides| sides.turned()).collect();
    let corners = boxes::pack(&turned, room.turned(), width, random, is_over)?;
    Some(corners.into_iter().map(|(up, across)| (across, up)).collect())
}

/// Most bytes live together.
fn peak(profiles: &[Profile], starts: &[u64]) -> u64 {
    Load::new(profiles.iter().zip(starts.iter().copied())).peak()
}

/// The best starts so far.
struct Choice<'a> {
    profiles: &'a [Profile],
    makespan: u64,
    /// The last start of each that lets it end in time.
    latest: Vec<u64>,
    search: &'a StartsSearch<'a>,
    bound: u64,
    /// Of the starts with the least live at most.
    peak: u64,
    starts: Vec<u64>,
    /// Of the starts whose boxes were packed lowest.
    packed: Option<Packed>,
}

/// Starts of boxes that were packed.
struct Packed {
    /// The room's height, for boxes whose sizes are rounded up to their alignments.
    height: u64,
    /// The end of the highest box.
    arena: u64,
    starts: Vec<u64>,
}

impl<'a> Choice<'a> {
    /// All at once.
    fn new(profiles: &'a [Profile], makespan: u64, search: &'a StartsSearch<'a>) -> Self {
        let latest = profiles.iter().map(|profile| makespan - profile.steps).collect();
        let starts = vec![0; profiles.len()];
        let (bound, peak) = (bound::bound(profiles, makespan), peak(profiles, &starts));
        Self { profiles, makespan, latest, search, bound, peak, starts, packed: None }
    }

    fn is_over(&self) -> bool {
        self.peak <= self.bound || self.search.budget.is_over()
    }

    fn take(&mut self, starts: &[u64]) {
        let peak = peak(self.profiles, starts);
        if peak < self.peak {
            (self.peak, self.starts) = (peak, starts.to_vec());
        }
    }

    /// Moves one model after the other, from the starts given, all at once, one after the other, and random ones.
    fn move_from(&mut self, given: &[u64], seed: u64) {
        let mut random = SplitMix64::new(seed);
        let budget = self.search.budget;
        let takes_long = self.profiles.iter().map(|profile| profile.runs.len()).sum::<usize>() > ALWAYS;
        let is_over = || takes_long && budget.is_over();
        let mut best = self.starts.clone();
        descend(self.profiles, &self.latest, &mut best, &is_over);
        self.take(&best);
        for beginning in 0..BEGINNINGS {
            let mut next = 0;
            let starts =
                self.profiles.iter().zip(&self.latest).zip(given).map(|((profile, &latest), &given)| {
                    let at = match beginning {
                        0 => given,
                        1 => 0,
                        2 => next,
                        _ => random.below(usize::try_from(latest).unwrap_or(usize::MAX).saturating_add(1))
                            as u64,
                    };
                    next = next.saturating_add(profile.steps);
                    at.min(latest)
                });
            let mut starts: Vec<u64> = starts.collect();
            descend(self.profiles, &self.latest, &mut starts, &is_over);
            self.take(&starts);
            if self.peak <= self.bound || is_over() {
                return;
            }
        }
    }

    /// Packs and repairs, each round longer than the one before for a while.
    fn run(&mut self, given: &[u64]) {
        let seed = self.search.seed;
        let budget = self.search.budget;
        let inserted = insert(self.profiles, &self.latest, &|| budget.is_over());
        self.take(&inserted);
        let mut random = SplitMix64::new(seed);
        let boxes = self.boxes();
        // Few models are soon searched through.
        let rounds = ROUNDS.min(u32::try_from(self.profiles.len().saturating_pow(2)).unwrap_or(ROUNDS));
        for round in 0..rounds {
            let longer = round.min(LONGER);
            if let Some(boxes) = &boxes {
                self.pack(boxes, (4 << longer).min(WIDTH), &mut random);
            }
            if self.packed.is_none() && !self.is_over() {
                if round == 0 && self.profiles.len() <= MOVED {
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

    /// The models as boxes, steps across and bytes up, where each has one load all its life.
    fn boxes(&self) -> Option<Vec<Sides>> {
        let side = |profile: &Profile| {
            let [run] = profile.runs[..] else { return None };
            if (run.from, run.to) != (0, profile.steps) {
                return None;
            }
            let height = run.bytes.checked_next_multiple_of(profile.alignment)?;
            Some(Sides { width: profile.steps, height })
        };
        let whole = self.profiles.len() <= BOXES && !self.profiles.is_empty();
        whole.then(|| self.profiles.iter().map(side).collect()).flatten()
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
        spread(tries.chunks_mut(share).collect(), |tries: &mut [Try]| {
            for (room, random, corners) in tries {
                *corners = pack_in_parts(boxes, *room, width, random, &is_over);
            }
        });
        tries
    }

    /// Takes the starts of boxes that were packed into a lower room than before.
    fn take_packed(&mut self, height: u64, corners: &[(u64, u64)]) {
        if self.packed.as_ref().is_some_and(|packed| packed.height <= height) {
            return;
        }
        let ends = self.profiles.iter().zip(corners).map(|(profile, corner)| corner.1 + profile.peak());
        let (arena, starts) = (ends.max().unwrap_or(0), corners.iter().map(|corner| corner.0));
        let starts: Vec<u64> = starts.collect();
        self.take(&starts);
        self.packed = Some(Packed { height, arena, starts });
    }

    /// Joins models whose loads fit one another, so many times anew, and moves the fewest that they became.
    fn fit(&mut self, times: usize, moves: usize, random: &mut SplitMix64) {
        let budget = self.search.budget;
        let is_over = || budget.is_over();
        let fitted = fitted::fit(self.profiles, self.makespan, self.bound, times, random, &is_over);
        if fitted.len() == self.profiles.len() {
            return;
        }
        let profiles: Vec<Profile> = fitted.iter().map(|one| one.profile.clone()).collect();
        let mut joined = Choice { bound: self.bound, ..Choice::new(&profiles, self.makespan, self.search) };
        let inserted = insert(&profiles, &joined.latest, &is_over);
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
            if self.is_over() {
                return;
            }
            let capacity = self.bound + (self.peak - 1 - self.bound) / 4 * quarter;
            let mut starts = self.starts.clone();
            let budget = self.search.budget;
            let random = SplitMix64::new(random.bits());
            let mut repair = Repair { profiles: self.profiles, latest: &self.latest, random };
            repair.reach(&mut starts, capacity, moves, &|| budget.is_over());
            self.take(&starts);
        }
    }
}
