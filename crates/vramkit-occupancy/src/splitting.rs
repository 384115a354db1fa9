//! Peaks of threshold batching that no simulation would meet: multilevel splitting, for geometric outputs.
//!
//! An excursion begins with a cycle that starts at or below the mean occupancy and ends with the next that does. Among
//! many, those that reach the highest are kept at the moment they cross a level, and run on several times each with new
//! random numbers, which a geometric output allows at any step because it has no memory; of these the highest are kept at
//! the next level, and so on. The shares kept multiply to the rate of excursions over any level, however rare (Garvels,
//! "The splitting method in rare event simulation", 2000; levels chosen on the way as in Cérou and Guyader, "Adaptive
//! multilevel splitting for rare event analysis", 2007). Independent runs give the standard error.

use rayon::prelude::*;

use crate::batch::Batch;
use crate::cycles::Estimate;
use crate::deadline::Deadline;
use crate::error::{OccupancyError, finite};
use crate::process::{Process, State, Try};
use crate::random::RandomStream;

/// Independent runs of the whole, for the standard error.
const RUNS: u64 = 8;
/// MultilevelSplitting run on from each level, in each run; a power of [`KEPT`].
const TRIES: usize = 1024;
/// Of them, one in so many is kept at the next.
const KEPT: usize = 4;
/// Fewer that get beyond a level say little about it: then more are run, up to so many times as many.
const FEW: usize = 4;
const MORE: usize = 64;
/// Of more sequences than this the states of all tries are more memory than an answer is worth.
pub(crate) const MOST_SEATS: u32 = 8192;
/// No deeper than 4^-200.
const LEVELS: usize = 200;
/// Levels whose cycles are rarer than this are all the same: ln 1e-20.
const BOTTOM: f64 = -46.0;

/// How often cycles are over a level: its exceedances, and their clumps.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exceedance {
    /// Tokens.
    pub level: f64,
    /// ln P(the peak of a cycle is over the level), before free.
    pub ln_probability: f64,
    /// ln of the rate of clumps over the level, per cycle: the cycles of one excursion that are over it count once.
    pub ln_clumps: f64,
    /// The standard error of either logarithm.
    pub error: f64,
    /// The probability is at most that: it was not looked for below 1e-20.
    pub is_bound: bool,
}

/// Multilevel splitting of the excursions of a batch.
///
/// ```
/// use vramkit_occupancy::{Batch, MultilevelSplitting};
///
/// // 8 sequences, refilled when 2 have ended; prompts of 20 tokens, outputs of 100 in the mean.
/// let splitting = MultilevelSplitting::new(Batch::new(8, 2)?, 20.0, 0.01, 0)?;
/// let tokens = splitting.quick().level_for_cycles(1e-6)?;
/// assert!(tokens.mean > 500.0 && tokens.standard_error < 0.1 * tokens.mean, "{tokens:?}");
/// # Ok::<(), vramkit_occupancy::OccupancyError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MultilevelSplitting {
    process: Process,
    theta: f64,
    seed: u64,
    tries: usize,
    deadline: Deadline,
}

/// When to stop looking further.
#[derive(Clone, Copy)]
enum SplitGoal {
    /// At this level.
    Level(f64),
    /// Where cycles are over it with this probability, or clumps of them begin at this rate; its logarithm.
    Cycles(f64),
    Clumps(f64),
}

/// What one run has found of one level.
#[derive(Clone, Copy, Debug)]
struct Split {
    level: f64,
    /// ln of clumps over it a cycle.
    ln_clumps: f64,
    /// Cycles over it in such a clump.
    cycles: f64,
}

impl MultilevelSplitting {
    /// Of a batch whose prompts all have `prompt` tokens and whose outputs end with probability `termination` a token.
    ///
    /// # Errors
    /// A prompt or probability outside its range.
    pub fn new(batch: Batch, prompt: f64, termination: f64, seed: u64) -> Result<Self, OccupancyError> {
        finite("the prompt", prompt, 0.0..=1e9, "it must be 0 to 1e9 tokens")?;
        finite("the termination probability", termination, 1e-7..=1.0, "it must be in [1e-7, 1]")?;
        let process = Process::new(batch, prompt, termination);
        Ok(Self { process, theta: batch.theta(), seed, tries: TRIES, deadline: Deadline::none() })
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

    /// Looks no longer than until a deadline.
    #[must_use]
    pub fn by(mut self, deadline: Deadline) -> Self {
        self.deadline = deadline;
        self
    }

    /// How often the peak of a cycle is over a level, in tokens.
    ///
    /// # Errors
    /// Refused for a level that is not above the mean occupancy: simulate.
    pub fn over(&self, level: f64) -> Result<Exceedance, OccupancyError> {
        finite("the capacity", level, 1.0..=1e15, "it must be 1 to 1e15 tokens")?;
        let runs = self.runs(SplitGoal::Level(level))?;
        let cycles: Vec<f64> = runs.iter().map(|split| split.ln_clumps + split.cycles.ln()).collect();
        let each: Vec<f64> = runs.iter().map(|split| split.ln_clumps).collect();
        let (ln_probability, error) = mean_of_logarithms(&cycles);
        let (ln_clumps, _) = mean_of_logarithms(&each);
        let is_bound = runs.iter().any(|split| split.level < level);
        Ok(Exceedance {
            level,
            ln_probability: ln_probability.min(0.0),
            ln_clumps: ln_clumps.min(0.0),
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

    /// The level, in tokens, that clumps of cycles are over at this rate a cycle.
    ///
    /// # Errors
    /// A rate outside (0, 0.2].
    pub fn level_for_clumps(&self, rate: f64) -> Result<Estimate, OccupancyError> {
        finite("the rate", rate, 1e-100..=0.2, "it must be more than 0 and at most 0.2")?;
        self.level(SplitGoal::Clumps(rate.ln()))
    }

    fn level(&self, goal: SplitGoal) -> Result<Estimate, OccupancyError> {
        Ok(Estimate::of(self.runs(goal)?.iter().map(|split| split.level)))
    }

    fn runs(&self, goal: SplitGoal) -> Result<Vec<Split>, OccupancyError> {
        (0..RUNS).into_par_iter().map(|run| self.run(run, goal)).collect()
    }

    /// One run, down to the goal.
    fn run(&self, number: u64, goal: SplitGoal) -> Result<Split, OccupancyError> {
        let (mut starts, visits) = self.visits(number)?;
        let mut ln_clumps = visits.ln();
        let mut level = f64::NEG_INFINITY;
        for depth in 1..=LEVELS {
            self.deadline.check("a probability this small")?;
            let stream = |i: usize| {
                // Those of further tries are far from those of the next levels.
                let block = if i < self.tries { depth * self.tries } else { depth << 32 };
                RandomStream::new(self.seed ^ (number << 32), (block + i) as u64 + 1)
            };
            let attempt = |i: usize| {
                let mut state = starts[i % starts.len()].clone();
                let mut found = Try { peak: state.reached(), ..Try::default() };
                // What comes of it is not looked at any more.
                if self.deadline.has_passed() {
                    return found;
                }
                self.process.go(&mut state, &mut stream(i), f64::INFINITY, level, &mut found);
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
            self.deadline.check("a probability this small")?;
            let count = tries.len();
            let quarter = peaks[count / KEPT];
            // The level at which as many excursions, or cycles of them, are over it as is wanted: good where a quarter is.
            let wanted = |goal: f64| (goal - ln_clumps).exp() * count as f64;
            match goal {
                SplitGoal::Level(_) => {}
                SplitGoal::Clumps(goal) => {
                    let at = wanted(goal);
                    if at >= (count / KEPT) as f64 {
                        let level = peaks[(at as usize).min(count - 1)];
                        return Ok(Split { level, ln_clumps: goal, cycles: 1.0 });
                    }
                }
                SplitGoal::Cycles(goal) => {
                    let of_cycles = descending(tries.iter().flat_map(|t| t.cycles.iter().copied()).collect());
                    // Fewer than wanted: by chance, the level that these start from is already a little too high.
                    let at = of_cycles.get(wanted(goal) as usize).copied().unwrap_or(level);
                    if at <= quarter && at.is_finite() {
                        return Ok(Split { level: at, ln_clumps, cycles: 1.0 });
                    }
                }
            }
            if reached == 0 || next <= level {
                // All alike: nothing above is known but that it is rarer, most likely than three in all tries.
                match goal {
                    SplitGoal::Level(_) if level.is_finite() => {
                        return Ok(Split {
                            level,
                            ln_clumps: ln_clumps + (3.0 / count as f64).ln(),
                            cycles: 1.0,
                        });
                    }
                    _ => break,
                }
            }
            ln_clumps += (reached as f64 / count as f64).ln();
            // Once more with the same random numbers, up to the crossing.
            let kept = (0..count).filter(|&i| tries[i].peak > next).map(|i| {
                let mut state = starts[i % starts.len()].clone();
                self.process.go(&mut state, &mut stream(i), next, level, &mut Try::default());
                state
            });
            starts = kept.collect();
            level = next;
            if let (SplitGoal::Level(_), true) = (goal, ln_clumps < BOTTOM) {
                return Ok(Split { level, ln_clumps, cycles: 1.0 });
            }
            if matches!(goal, SplitGoal::Level(goal) if goal == level) {
                let over = (0..self.tries).map(|i| {
                    let mut state = starts[i % starts.len()].clone();
                    let mut found = Try::default();
                    let mut stream = RandomStream::new(
                        self.seed ^ (number << 32),
                        (LEVELS + 2) as u64 * self.tries as u64 + i as u64,
                    );
                    self.process.go(&mut state, &mut stream, f64::INFINITY, level, &mut found);
                    found.cycles.len() as f64
                });
                return Ok(Split { level, ln_clumps, cycles: over.sum::<f64>() / self.tries as f64 });
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
    fn visits(&self, number: u64) -> Result<(Vec<State>, f64), OccupancyError> {
        let mut stream = RandomStream::new(self.seed ^ (number << 32), 0);
        let mut state = self.process.start();
        let mut found = Try::default();
        // Until the start is forgotten; then a few visits apart, so that they differ.
        let cycles = (7.0 / self.theta).ceil() as u64 + 10;
        let (mut counted, mut visited) = (0u64, 0u64);
        for _ in 0..cycles {
            self.deadline.check("a probability this small")?;
            self.process.cycle(&mut state, &mut stream, &mut found);
        }
        let apart = (0.5 / self.theta).ceil() as u64;
        let mut starts = Vec::with_capacity(self.tries);
        while starts.len() < self.tries {
            self.deadline.check("a probability this small")?;
            self.process.cycle(&mut state, &mut stream, &mut found);
            counted += 1;
            if self.process.is_at_base(&state) {
                visited += 1;
                // Every so many visits, not cycles: the first visit after a while is not any visit.
                if visited.is_multiple_of(apart) {
                    state.keep();
                    starts.push(state.clone());
                }
            }
        }
        Ok((starts, visited as f64 / counted as f64))
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

/// The logarithm of the mean of e^x, and its standard error.
fn mean_of_logarithms(values: &[f64]) -> (f64, f64) {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let estimate = Estimate::of(values.iter().map(|value| (value - most).exp()));
    (estimate.mean.ln() + most, estimate.standard_error / estimate.mean)
}
