//! Peaks of threshold batching that no simulation would meet: multilevel splitting, for geometric outputs.
//!
//! An excursion begins with a cycle that starts at or below the mean occupancy and ends with the next that does. Among
//! many, those that reach the highest are kept at the moment they cross a level, and run on several times each with new
//! random numbers, which a geometric output allows at any step because it has no memory; of these the highest are kept at
//! the next level, and so on. The shares kept multiply to the rate of excursions over any level, however rare (Garvels,
//! "The splitting method in rare event simulation", 2000; levels chosen on the way as in Cérou and Guyader, "Adaptive
//! multilevel splitting for rare event analysis", 2007). Independent runs give the standard error.

use rayon::prelude::*;

use crate::cycles::{Batch, Estimate};
use crate::error::{OccupancyError, finite};
use crate::exact::Exact;
use crate::random::RandomStream;

/// Independent runs of the whole, for the standard error.
const RUNS: u64 = 8;
/// Excursions run on from each level, in each run; a power of [`KEPT`].
const TRIES: usize = 1024;
/// Of them, one in so many is kept at the next.
const KEPT: usize = 4;
/// Fewer that get beyond a level say little about it: then more are run, up to so many times as many.
const FEW: usize = 4;
const MORE: usize = 64;
/// No deeper than 4^-200.
const LEVELS: usize = 200;
/// Levels whose cycles are rarer than this are all the same: ln 1e-20.
const BOTTOM: f64 = -46.0;

/// How often cycles are over a level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rarity {
    /// Tokens.
    pub level: f64,
    /// ln P(the peak of a cycle is over the level), before free.
    pub ln_probability: f64,
    /// ln of the rate of excursions over the level, per cycle: runs of cycles over it count once.
    pub ln_runs: f64,
    /// The standard error of either logarithm.
    pub error: f64,
    /// The probability is at most that: it was not looked for below 1e-20.
    pub is_bound: bool,
}

/// The batch whose excursions are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Excursions {
    batch: Batch,
    prompt: f64,
    ln_q: f64,
    base: f64,
    seed: u64,
    tries: usize,
}

/// When to stop looking further.
#[derive(Clone, Copy)]
enum SplitGoal {
    /// At this level.
    Level(f64),
    /// Where cycles are over it with this probability, or runs of them begin at this rate; its logarithm.
    Cycles(f64),
    Runs(f64),
}

/// What one run has found of one level.
#[derive(Clone, Copy, Debug)]
struct Split {
    level: f64,
    /// ln of excursions over it a cycle.
    ln_runs: f64,
    /// Cycles over it in such an excursion.
    cycles: f64,
}

impl Excursions {
    /// Of a batch whose prompts all have `prompt` tokens and whose outputs end with probability `termination` a token.
    ///
    /// # Errors
    /// A prompt or probability outside its range.
    pub fn new(batch: Batch, prompt: f64, termination: f64, seed: u64) -> Result<Self, OccupancyError> {
        finite("the prompt", prompt, 0.0..=1e9, "it must be 0 to 1e9 tokens")?;
        finite("the termination probability", termination, 1e-7..=1.0, "it must be in [1e-7, 1]")?;
        let base = Exact::new(batch, prompt, 0.0, termination).x0() * (1.0 + 1e-12);
        Ok(Self { batch, prompt, ln_q: (-termination).ln_1p(), base, seed, tries: TRIES })
    }

    /// With an eighth of the work and nearly three times the error: to search with.
    #[must_use]
    pub fn quick(mut self) -> Self {
        self.tries = TRIES / 8;
        self
    }

    /// With a sixteenth of the work: where only the order of magnitude matters.
    #[must_use]
    pub fn coarse(mut self) -> Self {
        self.tries = TRIES / 16;
        self
    }

    /// How often the peak of a cycle is over a level, in tokens.
    ///
    /// # Errors
    /// Refused for a level that is not above the mean occupancy: simulate.
    pub fn over(&self, level: f64) -> Result<Rarity, OccupancyError> {
        finite("the capacity", level, 1.0..=1e15, "it must be 1 to 1e15 tokens")?;
        let runs = self.runs(SplitGoal::Level(level))?;
        let cycles: Vec<f64> = runs.iter().map(|rung| rung.ln_runs + rung.cycles.ln()).collect();
        let each: Vec<f64> = runs.iter().map(|rung| rung.ln_runs).collect();
        let (ln_probability, error) = mean_of_logarithms(&cycles);
        let (ln_runs, _) = mean_of_logarithms(&each);
        let is_bound = runs.iter().any(|rung| rung.level < level);
        Ok(Rarity {
            level,
            ln_probability: ln_probability.min(0.0),
            ln_runs: ln_runs.min(0.0),
            error,
            is_bound,
        })
    }

    /// The level, in tokens, that a share `risk` of the cycles is over.
    ///
    /// # Errors
    /// A risk outside (0, 0.2].
    pub fn level_for_cycles(&self, risk: f64) -> Result<Estimate, OccupancyError> {
        finite("the risk", risk, 1e-100..=0.2, "it must be more than 0 and at most 0.2")?;
        self.level(SplitGoal::Cycles(risk.ln()))
    }

    /// The level, in tokens, that excursions cross at this rate a cycle.
    ///
    /// # Errors
    /// A rate outside (0, 0.2].
    pub fn level_for_runs(&self, rate: f64) -> Result<Estimate, OccupancyError> {
        finite("the rate", rate, 1e-100..=0.2, "it must be more than 0 and at most 0.2")?;
        self.level(SplitGoal::Runs(rate.ln()))
    }

    fn level(&self, goal: SplitGoal) -> Result<Estimate, OccupancyError> {
        Ok(Estimate::of(self.runs(goal)?.iter().map(|rung| rung.level)))
    }

    fn runs(&self, goal: SplitGoal) -> Result<Vec<Split>, OccupancyError> {
        (0..RUNS).into_par_iter().map(|run| self.run(run, goal)).collect()
    }

    /// One run, down to the goal.
    fn run(&self, number: u64, goal: SplitGoal) -> Result<Split, OccupancyError> {
        let (mut starts, visits) = self.visits(number);
        let mut ln_runs = visits.ln();
        let mut level = f64::NEG_INFINITY;
        for depth in 1..=LEVELS {
            let stream = |i: usize| {
                // Those of further tries are far from those of the next levels.
                let block = if i < self.tries { depth * self.tries } else { depth << 32 };
                RandomStream::new(self.seed ^ (number << 32), (block + i) as u64 + 1)
            };
            let attempt = |i: usize| {
                let mut state = starts[i % starts.len()].clone();
                let mut found = Try { peak: state.reached, ..Try::default() };
                self.go(&mut state, &mut stream(i), f64::INFINITY, level, &mut found);
                found
            };
            let mut tries: Vec<Try> = (0..self.tries).map(attempt).collect();
            let (peaks, next, reached) = loop {
                let peaks = descending(tries.iter().map(|t| t.peak).collect());
                let (next, reached) = crossing(&peaks, goal);
                if reached >= FEW || tries.len() >= MORE * self.tries {
                    break (peaks, next, reached);
                }
                tries.extend((tries.len()..2 * tries.len()).map(attempt));
            };
            let count = tries.len();
            let quarter = peaks[count / KEPT];
            // The level at which as many excursions, or cycles of them, are over it as is wanted: good where a quarter is.
            let wanted = |goal: f64| (goal - ln_runs).exp() * count as f64;
            match goal {
                SplitGoal::Level(_) => {}
                SplitGoal::Runs(goal) => {
                    let at = wanted(goal);
                    if at >= (count / KEPT) as f64 {
                        let level = peaks[(at as usize).min(count - 1)];
                        return Ok(Split { level, ln_runs: goal, cycles: 1.0 });
                    }
                }
                SplitGoal::Cycles(goal) => {
                    let of_cycles = descending(tries.iter().flat_map(|t| t.cycles.iter().copied()).collect());
                    // Fewer than wanted: by chance, the level that these start from is already a little too high.
                    let at = of_cycles.get(wanted(goal) as usize).copied().unwrap_or(level);
                    if at <= quarter && at.is_finite() {
                        return Ok(Split { level: at, ln_runs, cycles: 1.0 });
                    }
                }
            }
            if reached == 0 || next <= level {
                // All alike: nothing above is known but that it is rarer, most likely than three in all tries.
                match goal {
                    SplitGoal::Level(_) if level.is_finite() => {
                        return Ok(Split {
                            level,
                            ln_runs: ln_runs + (3.0 / count as f64).ln(),
                            cycles: 1.0,
                        });
                    }
                    _ => break,
                }
            }
            ln_runs += (reached as f64 / count as f64).ln();
            // Once more with the same random numbers, up to the crossing.
            let kept = (0..count).filter(|&i| tries[i].peak > next).map(|i| {
                let mut state = starts[i % starts.len()].clone();
                self.go(&mut state, &mut stream(i), next, level, &mut Try::default());
                state
            });
            starts = kept.collect();
            level = next;
            if let (SplitGoal::Level(_), true) = (goal, ln_runs < BOTTOM) {
                return Ok(Split { level, ln_runs, cycles: 1.0 });
            }
            if matches!(goal, SplitGoal::Level(goal) if goal == level) {
                let over = (0..self.tries).map(|i| {
                    let mut state = starts[i % starts.len()].clone();
                    let mut found = Try::default();
                    let mut stream = RandomStream::new(
                        self.seed ^ (number << 32),
                        (LEVELS + 2) as u64 * self.tries as u64 + i as u64,
                    );
                    self.go(&mut state, &mut stream, f64::INFINITY, level, &mut found);
                    found.cycles.len() as f64
                });
                return Ok(Split { level, ln_runs, cycles: over.sum::<f64>() / self.tries as f64 });
            }
        }
        Err(OccupancyError::Refused {
            what: "a probability this small".to_owned(),
            why: format!(
                "the peaks of a cycle do not get beyond {level:.0} tokens in any way that splitting finds"
            ),
            instead: "ask for a larger risk or a smaller capacity".to_owned(),
        })
    }

    /// States in which an excursion begins, as many as there are tries, and how many of them there are a cycle.
    fn visits(&self, number: u64) -> (Vec<State>, f64) {
        let mut stream = RandomStream::new(self.seed ^ (number << 32), 0);
        let mut state = State::new(self.batch.seats(), self.prompt);
        let mut found = Try::default();
        // Until the start is forgotten; then a few visits apart, so that they differ.
        let cycles = (7.0 / self.batch.theta()).ceil() as u64 + 10;
        let (mut counted, mut visited) = (0u64, 0u64);
        (0..cycles).for_each(|_| self.cycle(&mut state, &mut stream, &mut found));
        let apart = (0.5 / self.batch.theta()).ceil() as u64;
        let mut starts = Vec::with_capacity(self.tries);
        while starts.len() < self.tries {
            self.cycle(&mut state, &mut stream, &mut found);
            counted += 1;
            if state.total <= self.base {
                visited += 1;
                // Every so many visits, not cycles: the first visit after a while is not any visit.
                if visited.is_multiple_of(apart) {
                    state.reached = state.total;
                    starts.push(state.clone());
                }
            }
        }
        (starts, visited as f64 / counted as f64)
    }

    fn cycle(&self, state: &mut State, stream: &mut RandomStream, found: &mut Try) {
        while !self.event(state, stream, f64::INFINITY, found) {}
    }

    /// Runs on until the occupancy is over `stop` in some step, or a cycle begins at or below the base. Notes the peaks of
    /// cycles that are over `level`.
    fn go(&self, state: &mut State, stream: &mut RandomStream, stop: f64, level: f64, found: &mut Try) {
        let mut cycle = Try { peak: state.reached, ..Try::default() };
        loop {
            if state.total > stop && state.pending {
                return;
            }
            let ended = self.event(state, stream, stop, &mut cycle);
            found.peak = found.peak.max(cycle.peak);
            if ended {
                if cycle.peak > level {
                    found.cycles.push(cycle.peak);
                }
                cycle.peak = f64::MIN;
                if state.total <= self.base {
                    return;
                }
            }
        }
    }

    /// On to the next step in which something ends, and the ends in it; true if that began a new cycle. Stops short of it in
    /// the step in which the occupancy is over `stop`, whose ends are then still to be drawn.
    fn event(&self, state: &mut State, stream: &mut RandomStream, stop: f64, found: &mut Try) -> bool {
        let alive = state.alive as f64;
        let quiet = (stream.unit().ln() / (alive * self.ln_q)).floor().min(1e12);
        // What a step holds counts once its tokens are written, as they are not yet just after a refill.
        let least = f64::from(u8::from(!state.pending));
        let steps = quiet + least;
        if state.total + alive * steps > stop {
            let until = ((stop - state.total) / alive).floor() + 1.0;
            state.write(until.clamp(least, steps));
            found.peak = found.peak.max(state.total);
            (state.pending, state.reached) = (true, state.total);
            return false;
        }
        state.write(steps);
        found.peak = found.peak.max(state.total);
        state.pending = false;
        // At least one ends: the first in order is of a geometric law cut off, those behind it are free.
        let some = -(alive * self.ln_q).exp_m1();
        let mut at = ((-stream.unit() * some).ln_1p() / self.ln_q).floor().clamp(0.0, alive - 1.0);
        while at < alive {
            state.end(stream, self.prompt);
            at += 1.0 + (stream.unit().ln() / self.ln_q).floor();
        }
        let seats = state.births.len();
        if seats - state.alive < self.batch.threshold() as usize {
            return false;
        }
        state.total += self.prompt * (seats - state.alive) as f64;
        state.births[state.alive..].fill(state.clock);
        state.alive = seats;
        true
    }
}

/// The highest first.
fn descending(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(|a, b| b.total_cmp(a));
    values
}

/// The next level: the goal, or what a quarter of the tries get to. How many of them get beyond it.
fn crossing(peaks: &[f64], goal: SplitGoal) -> (f64, usize) {
    let quarter = peaks[peaks.len() / KEPT];
    let wanted = if let SplitGoal::Level(goal) = goal { goal.min(quarter) } else { quarter };
    // Tries of one origin may have the same peak: then the next lower one that others reach.
    let next = if peaks[0] > wanted {
        wanted
    } else {
        peaks[peaks.partition_point(|&peak| peak >= wanted).min(peaks.len() - 1)]
    };
    (next, peaks.partition_point(|&peak| peak > next))
}

#[derive(Clone, Debug)]
struct Try {
    peak: f64,
    /// Peaks of the cycles that are over the level that it started from.
    cycles: Vec<f64>,
}

impl Default for Try {
    fn default() -> Self {
        Self { peak: f64::MIN, cycles: Vec::new() }
    }
}

/// A batch in mid-cycle.
#[derive(Clone, Debug)]
struct State {
    /// Steps in which the sequences began: first those that are there, then those that ended in this cycle.
    births: Vec<f64>,
    alive: usize,
    clock: f64,
    /// Tokens held.
    total: f64,
    /// The step's tokens are written, but what ends in it is not drawn.
    pending: bool,
    /// The occupancy at which it was kept.
    reached: f64,
}

impl State {
    /// All begin: the first cycles are not looked at.
    fn new(seats: u32, prompt: f64) -> Self {
        Self {
            births: vec![0.0; seats as usize],
            alive: seats as usize,
            clock: 0.0,
            total: prompt * f64::from(seats),
            pending: false,
            reached: f64::MIN,
        }
    }

    fn write(&mut self, steps: f64) {
        self.clock += steps;
        self.total += self.alive as f64 * steps;
    }

    fn end(&mut self, stream: &mut RandomStream, prompt: f64) {
        let seat = stream.below(self.alive);
        self.total -= prompt + self.clock - self.births[seat];
        self.alive -= 1;
        self.births.swap(seat, self.alive);
    }
}

/// The logarithm of the mean of e^x, and its standard error.
fn mean_of_logarithms(values: &[f64]) -> (f64, f64) {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let estimate = Estimate::of(values.iter().map(|value| (value - most).exp()));
    (estimate.mean.ln() + most, estimate.standard_error / estimate.mean)
}
