//! Threshold batching by Monte-Carlo, for any law of lengths.
//!
//! A cycle: every sequence gains a token a step, until at least `threshold` of `seats` have ended; then all that ended
//! are replaced at once. Nothing happens between two endings but growth, so a cycle costs its endings and not its
//! steps. Independent replicas run side by side, each with its own stream of random numbers; what they differ in gives
//! the standard errors, in which the likeness of one cycle to the next is thus contained.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::deadline::Deadline;
use crate::error::{OccupancyError, finite};
use crate::lengths::Lengths;
use crate::random::RandomStream;
use crate::seats::{Replica, Seats};
use crate::source::{Order, Source};
use crate::tilted::Tilted;

/// Replicas of a simulation.
const REPLICAS: u64 = 32;

/// Most work that is begun: some minutes.
const MOST_WORK: f64 = 3e11;

/// What the peak of a cycle is taken to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Convention {
    /// What must be there in a step: its tokens are written before anything that ends in it is released.
    #[default]
    BeforeFree,
    /// What is held between steps.
    AfterFree,
}

/// An estimate with its standard error.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Estimate {
    /// The estimate.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
}

impl Estimate {
    /// From values that are independent and alike.
    pub(crate) fn of(values: impl ExactSizeIterator<Item = f64> + Clone) -> Self {
        let count = values.len() as f64;
        let mean = values.clone().sum::<f64>() / count;
        let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
        Self { mean, standard_error: (squares / (count * (count - 1.0).max(1.0))).sqrt() }
    }
}

/// How much to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Cycles counted, over all replicas.
    pub cycles: u64,
    /// Where the random numbers start.
    pub seed: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { cycles: 20_000, seed: 0 }
    }
}

/// Cycles that were simulated.
#[derive(Clone, Debug)]
pub struct Cycles {
    batch: Batch,
    replicas: Vec<Replica>,
}

/// What a simulation costs, in seats looked at: some 2 ns each.
pub(crate) fn work(batch: Batch, effort: Effort) -> f64 {
    (batch.memory() * REPLICAS + effort.cycles) as f64 * f64::from(batch.seats)
}

/// Simulates threshold batching: at least as many cycles as asked for, after enough that the start is forgotten.
/// The same for any number of threads. `effort.cycles` may be 1,000 to 10^8.
///
/// ```
/// use vramkit_occupancy::{Batch, Convention, Effort, Lengths, simulate};
///
/// let lengths = Lengths::geometric(100.0, 0.01)?;
/// let cycles = simulate(Batch::new(32, 8)?, &lengths, Effort { cycles: 2_000, ..Effort::default() })?;
/// assert!(cycles.peak(Convention::BeforeFree).mean > cycles.x0().mean);
/// # Ok::<(), vramkit_occupancy::OccupancyError>(())
/// ```
///
/// # Errors
/// Too few or too many cycles; refused when it would take hours.
pub fn simulate(batch: Batch, lengths: &Lengths, effort: Effort) -> Result<Cycles, OccupancyError> {
    simulate_with(batch, lengths, effort, Deadline::none(), &|_| {})
}

/// [`simulate`], which tells how many cycles more are done as it goes, and stops at a deadline.
///
/// # Errors
/// Too few or too many cycles; refused when it would take hours, or longer than the deadline.
pub fn simulate_with(
    batch: Batch,
    lengths: &Lengths,
    effort: Effort,
    deadline: Deadline,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Cycles, OccupancyError> {
    finite("the cycles", effort.cycles as f64, 1e3..=1e8, "simulate 1,000 to 100,000,000 cycles")?;
    if work(batch, effort) > MOST_WORK {
        return Err(OccupancyError::Refused {
            what: format!("a simulation of {} seats refilled {} at a time", batch.seats, batch.threshold),
            why: format!("a cycle takes all seats, and one is like the next for {} cycles", batch.memory()),
            instead: "ask for continuous batching, a larger threshold or fewer cycles".to_owned(),
        });
    }
    let cycles = effort.cycles.div_ceil(REPLICAS);
    let under_way = Tilted::new(lengths, 0.0);
    let replica = |number| {
        let stream = RandomStream::new(effort.seed, number);
        let mut seats =
            Seats::settled(batch, Source::new(lengths, Order::Drawn, batch.seats(), 0.0), &under_way, stream);
        for _ in 0..batch.memory() {
            if deadline.has_passed() {
                return None;
            }
            seats.cycle();
        }
        seats.count(cycles, deadline, progress)
    };
    let replicas: Option<Vec<Replica>> = (0..REPLICAS).into_par_iter().map(replica).collect();
    let late = || Deadline::refused(&format!("a simulation of {} cycles", effort.cycles));
    Ok(Cycles { batch, replicas: replicas.ok_or_else(late)? })
}

/// Runs of an experiment: each begins with a batch of new sequences, as a restart does, and counts after a number of cycles to warm
/// up. Where lengths are so even that sequences that began together go on to end together, that is never forgotten, and what a run
/// sees is not what [`simulate`] says of a batch that has settled.
///
/// ```
/// use vramkit_occupancy::{Batch, Convention, Lengths, RequestLengths, Runs, simulate_runs};
///
/// // All begin together and end together: no cycle begins with anybody's output.
/// let lengths = Lengths::from_requests(vec![RequestLengths { prompt: 20, output: 10 }])?;
/// let runs = simulate_runs(Batch::new(8, 2)?, &lengths, Runs { count: 4, warmup: 3, cycles: 10, seed: 0 })?;
/// assert_eq!(runs.x0().mean, 160.0);
/// assert_eq!(runs.peak(Convention::BeforeFree).mean, 240.0);
/// # Ok::<(), vramkit_occupancy::OccupancyError>(())
/// ```
///
/// # Errors
/// No runs or cycles; refused when it would take hours.
pub fn simulate_runs(batch: Batch, lengths: &Lengths, runs: Runs) -> Result<Cycles, OccupancyError> {
    finite("the runs", runs.count as f64, 1.0..=1e6, "simulate 1 to 1,000,000 runs")?;
    finite("the cycles", runs.cycles as f64, 1.0..=1e8, "simulate 1 to 100,000,000 cycles")?;
    if runs.work(batch) > MOST_WORK {
        return Err(OccupancyError::Refused {
            what: format!("{} runs of {} cycles of {} seats", runs.count, runs.cycles, batch.seats),
            why: "it would take hours".to_owned(),
            instead: "ask for fewer cycles or a larger threshold".to_owned(),
        });
    }
    let replica = |number| {
        let mut seats = Seats::new(
            batch,
            Source::new(lengths, Order::Drawn, batch.seats(), 0.0),
            RandomStream::new(runs.seed, number),
        );
        for _ in 0..runs.warmup {
            seats.cycle();
        }
        seats.count(runs.cycles, Deadline::none(), &|_| {})
    };
    Ok(Cycles { batch, replicas: (0..runs.count).into_par_iter().filter_map(replica).collect() })
}

/// How many runs of an experiment, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// How many.
    pub count: u64,
    /// Cycles before those that count.
    pub warmup: u64,
    /// Cycles that count.
    pub cycles: u64,
    /// Where the random numbers start.
    pub seed: u64,
}

impl Runs {
    /// What they cost, in seats looked at: some 2 ns each.
    pub fn work(&self, batch: Batch) -> f64 {
        self.count as f64 * (self.warmup as f64 + self.cycles as f64) * f64::from(batch.seats)
    }
}

impl Cycles {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.replicas.iter().map(|replica| replica.peaks.len() as u64).sum()
    }

    fn mean_of(&self, sum: impl Fn(&Replica) -> f64 + Clone) -> Estimate {
        Estimate::of(self.replicas.iter().map(move |replica| sum(replica) / replica.peaks.len() as f64))
    }

    /// E\[X0\]: tokens held as decoding starts.
    pub fn x0(&self) -> Estimate {
        self.mean_of(|replica| replica.x0)
    }

    /// Var\[X0\], square tokens.
    pub fn x0_variance(&self) -> f64 {
        let mean = self.x0().mean;
        self.mean_of(|replica| replica.x0_squares).mean - mean * mean
    }

    /// E\[Xmax\]: the most tokens of a cycle.
    pub fn peak(&self, convention: Convention) -> Estimate {
        match convention {
            Convention::BeforeFree => self.mean_of(|replica| replica.peaks.iter().sum()),
            Convention::AfterFree => self.mean_of(|replica| replica.after),
        }
    }

    /// κ = E\[Xmax\] − E\[X0\].
    pub fn kappa(&self, convention: Convention) -> Estimate {
        match convention {
            Convention::BeforeFree => self.mean_of(|replica| replica.peaks.iter().sum::<f64>() - replica.x0),
            Convention::AfterFree => self.mean_of(|replica| replica.after - replica.x0),
        }
    }

    /// E\[τ\]: steps of a cycle.
    pub fn steps(&self) -> Estimate {
        self.mean_of(|replica| replica.steps)
    }

    /// The probability that a cycle's peak (before free) is over a capacity.
    pub fn exceeding(&self, capacity: f64) -> Estimate {
        self.mean_of(move |replica| replica.peaks.iter().filter(|&&peak| peak > capacity).count() as f64)
    }

    /// The probability that a cycle's peak (before free) is more than so many tokens above what the cycle began with:
    /// P(sup Y > x).
    pub fn rising(&self, above: f64) -> Estimate {
        self.mean_of(move |replica| {
            replica.rises.iter().filter(|&&rise| f64::from(rise) > above).count() as f64
        })
    }

    /// How far means over one run's cycles are from those over many runs, as standard deviations of X0, Xmax and sup Y (before
    /// free). `None` of fewer than two runs.
    pub fn spread_of_runs(&self) -> Option<[f64; 3]> {
        let count = self.replicas.len() as f64;
        let spread = |estimate: Estimate| estimate.standard_error * count.sqrt();
        let all = [self.x0(), self.peak(Convention::BeforeFree), self.kappa(Convention::BeforeFree)];
        (self.replicas.len() > 1).then(|| all.map(spread))
    }

    /// How often a clump of exceeding cycles begins, per cycle: exceedances follow each other, because what one cycle
    /// holds the next mostly holds too. A clump has ended when as many cycles pass without one as it takes to forget.
    pub fn clumps_exceeding(&self, capacity: f64) -> Estimate {
        let quiet = self.batch.memory().div_ceil(2) as usize;
        self.mean_of(move |replica| {
            let over = replica.peaks.iter().enumerate().filter(|&(_, &peak)| peak > capacity);
            let mut last = None;
            over.filter(|&(i, _)| last.replace(i).is_none_or(|last| i - last > quiet)).count() as f64
        })
    }

    /// The capacity that a share of the cycles exceeds: the estimate, and how far a standard error's worth of
    /// exceedances more and fewer would move it.
    pub fn quantile(&self, risk: f64) -> (f64, f64, f64) {
        let mut peaks: Vec<f64> =
            self.replicas.iter().flat_map(|replica| replica.peaks.iter().copied()).collect();
        peaks.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = ((1.0 - share) * peaks.len() as f64).ceil() as usize;
            peaks[rank.clamp(1, peaks.len()) - 1]
        };
        let capacity = at(risk);
        let error = self.exceeding(capacity).standard_error.max(1.0 / peaks.len() as f64);
        (capacity, at(risk + 2.0 * error), at((risk - 2.0 * error).max(0.0)))
    }
}
