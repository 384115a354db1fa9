//! How likely is either kind of batching to run out, and by which method was that found.

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::cycles::{Cycles, Effort, simulate_with};
use crate::demand::{Population, TokenDemand};
use crate::error::{OccupancyError, finite};
use crate::exact::Exact;
use crate::horizon::HorizonMethod;
use crate::inversion::{exposure, risk_of};
use crate::lengths::Lengths;
use crate::splitting::MultilevelSplitting;

/// Exceedances that a simulation must have met for its count to stand.
pub(crate) const ENOUGH: f64 = 50.0;

/// How sequences are replaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Batching {
    /// All that ended at once, when this part of the batch has ended.
    Threshold(Batch),
    /// Each at once.
    Continuous {
        /// Sequences in the batch.
        seats: u32,
    },
}

impl Batching {
    /// N.
    pub fn seats(self) -> u32 {
        match self {
            Self::Threshold(batch) => batch.seats(),
            Self::Continuous { seats } => seats,
        }
    }

    /// As threshold batching: continuous batching refills at every ending, k = 1.
    ///
    /// # Errors
    /// No seats, or over 2^20 of them.
    pub fn batch(self) -> Result<Batch, OccupancyError> {
        match self {
            Self::Threshold(batch) => Ok(batch),
            Self::Continuous { seats } => Batch::new(seats, 1),
        }
    }

    /// The same with another number of seats.
    #[must_use]
    pub fn with_seats(self, seats: u32) -> Self {
        match self {
            Self::Threshold(batch) => Self::Threshold(batch.with_seats(seats)),
            Self::Continuous { .. } => Self::Continuous { seats },
        }
    }
}

/// For how long it must not run out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Horizon {
    /// One cycle of threshold batching; under continuous batching, one step drawn at random.
    Cycle,
    /// So many decode steps.
    Steps(f64),
}

/// How a risk was found.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RiskMethod {
    /// It is 0 or 1 whatever happens.
    Certain,
    /// The exact law of the total, by a tilted Fourier transform.
    ExactLaw,
    /// Clumps of exceedances by importance sampling from the exact law.
    Clumps,
    /// Counted in a simulation.
    Simulated,
    /// Multilevel splitting of excursions.
    Splitting,
}

impl RiskMethod {
    /// Why it was the one to use.
    pub fn why(self) -> &'static str {
        match self {
            Self::Certain => "no sequence can get long enough, or even the shortest do not fit",
            Self::ExactLaw => "seats refilled one by one are independent",
            Self::Clumps => "running out is rare, so they are far apart",
            Self::Simulated => "a simulation meets it often enough to count",
            Self::Splitting => {
                "too rare for a simulation to count, and geometric outputs can be split at any step"
            }
        }
    }
}

impl std::fmt::Display for RiskMethod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Certain => "certain",
            Self::ExactLaw => "exact law of the total",
            Self::Clumps => "clumps by importance sampling",
            Self::Simulated => "simulation",
            Self::Splitting => "multilevel splitting",
        })
    }
}

/// How likely it is to run out.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Risk {
    /// The probability.
    pub probability: f64,
    /// Within two standard errors of all that is uncertain about it.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// How it was found.
    pub method: RiskMethod,
}

/// What is asked about: traffic, memory and time.
#[derive(Clone, Copy)]
pub struct Service<'a> {
    /// The traffic.
    pub lengths: &'a Lengths,
    /// Tokens that a block of memory holds; 1 when it is granted by the token. Threshold batching counts in tokens.
    pub block: u32,
    /// For how long.
    pub horizon: Horizon,
    /// Cycles or samples to draw, and where the random numbers start.
    pub effort: Effort,
    /// Told how much work is done, in cycles.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl Service<'_> {
    pub(crate) fn check(&self, capacity: f64) -> Result<(), OccupancyError> {
        if let Horizon::Steps(steps) = self.horizon {
            finite("the horizon", steps, 1.0..=1e15, "it must be at least one step")?;
        }
        self.lengths.check_capacity(capacity)
    }

    pub(crate) fn demand(&self, seats: u32) -> Result<TokenDemand, OccupancyError> {
        TokenDemand::new(self.lengths, Population::Seats(seats), self.block)
    }

    /// Simulated cycles of a batch, enough for a risk of this size to be met often.
    ///
    /// # Errors
    /// Bad input.
    pub fn cycles(&self, batch: Batch, risk: f64) -> Result<Cycles, OccupancyError> {
        let cycles =
            ((16.0 * ENOUGH / risk.max(1e-12)) as u64).clamp(self.effort.cycles, self.effort.cycles * 20);
        simulate_with(batch, self.lengths, Effort { cycles, ..self.effort }, self.progress)
    }

    /// The probability of running out of `capacity` tokens.
    ///
    /// # Errors
    /// Bad input; a capacity below one request; refused for threshold batching with lengths that are not geometric when
    /// a simulation meets too few exceedances to count.
    pub fn risk(&self, batching: Batching, capacity: f64) -> Result<Risk, OccupancyError> {
        self.check(capacity)?;
        match batching {
            Batching::Continuous { seats } => self.continuous_risk(seats, capacity, self.effort.cycles / 4),
            Batching::Threshold(batch) => {
                let cycles = simulate_with(batch, self.lengths, self.effort, self.progress)?;
                self.threshold_risk(batch, &cycles, capacity)
            }
        }
    }

    /// The closed forms with a log's means: exact for geometric lengths, a place to begin for others.
    pub(crate) fn exact(&self, batch: Batch) -> Exact {
        let lengths = self.lengths;
        let termination = 1.0 / lengths.mean_output();
        Exact::new(batch, lengths.mean_prompt(), lengths.prompt_variance(), termination)
    }

    pub(crate) fn continuous_risk(
        &self,
        seats: u32,
        capacity: f64,
        samples: u64,
    ) -> Result<Risk, OccupancyError> {
        // A sample costs its seats.
        let samples = (samples as f64 * (512.0 / f64::from(seats)).clamp(0.2, 1.0)) as u64;
        let demand = self.demand(seats)?;
        let Horizon::Steps(steps) = self.horizon else {
            let tail = demand.tail(capacity)?;
            let certain = tail.ln == f64::NEG_INFINITY || tail.ln == 0.0;
            let method = if certain { RiskMethod::Certain } else { RiskMethod::ExactLaw };
            let exposure = exposure(tail.probability().min(1.0 - 1e-15));
            let error = if certain { 0.0 } else { demand.log_error(&demand.saddle(capacity)) };
            return Ok(bounded(exposure, error, method));
        };
        let risk = demand.horizon(capacity, steps, samples, self.effort.seed)?;
        let method = match risk.method {
            HorizonMethod::Certain => RiskMethod::Certain,
            HorizonMethod::Clumps => RiskMethod::Clumps,
            HorizonMethod::Simulated => RiskMethod::Simulated,
        };
        Ok(Risk { probability: risk.probability, low: risk.low, high: risk.high, method })
    }

    pub(crate) fn steps(&self) -> f64 {
        match self.horizon {
            Horizon::Cycle => 1.0,
            Horizon::Steps(steps) => steps,
        }
    }

    /// Cycles of a horizon.
    pub(crate) fn cycles_within(&self, steps_of_a_cycle: f64) -> f64 {
        match self.horizon {
            Horizon::Cycle => 1.0,
            Horizon::Steps(steps) => (steps / steps_of_a_cycle).max(1.0),
        }
    }

    /// [`risk`](Self::risk) from cycles of the batch that have been simulated.
    ///
    /// # Errors
    /// As for `risk`.
    pub fn threshold_risk(
        &self,
        batch: Batch,
        cycles: &Cycles,
        capacity: f64,
    ) -> Result<Risk, OccupancyError> {
        self.threshold_risk_with(batch, cycles, capacity, false)
    }

    pub(crate) fn threshold_risk_with(
        &self,
        batch: Batch,
        cycles: &Cycles,
        capacity: f64,
        quick: bool,
    ) -> Result<Risk, OccupancyError> {
        self.check(capacity)?;
        let within = self.cycles_within(cycles.steps().mean);
        // Over in the first cycle, or in a run that begins later.
        let over_horizon = |cycle: f64, runs: f64| exposure(cycle.min(1.0)) + runs * (within - 1.0);
        let (over, runs) = (cycles.exceeding(capacity), cycles.clumps_exceeding(capacity));
        let count = cycles.count() as f64;
        let (met, met_runs) = (over.mean * count, runs.mean * count);
        // Exceedances come in runs; how many runs there are is what a count can be trusted by.
        let is_geometric = self.lengths.as_geometric().is_some();
        if met_runs >= ENOUGH || over.mean >= 0.2 || (!is_geometric && met >= ENOUGH) {
            let exposure = over_horizon(over.mean, runs.mean);
            let ratio = match self.horizon {
                Horizon::Cycle => over.standard_error / over.mean / (1.0 - over.mean).max(1e-9),
                Horizon::Steps(_) => (runs.standard_error / runs.mean).max(over.standard_error / over.mean),
            };
            return Ok(bounded(exposure, ratio, RiskMethod::Simulated));
        }
        if let Some((prompt, termination)) = self.lengths.as_geometric() {
            let splitting = MultilevelSplitting::new(batch, prompt, termination, self.effort.seed)?;
            // Where the formula is far below what is looked for, that it is below is enough to know.
            let hopeless = self.exact(batch).tail(capacity) < 1e-30;
            let splitting = match (hopeless, quick) {
                (true, _) => splitting.coarse(),
                (false, true) => splitting.quick(),
                (false, false) => splitting,
            };
            let exceedance = splitting.over(capacity)?;
            let exposure = over_horizon(exceedance.ln_probability.exp(), exceedance.ln_clumps.exp());
            let risk = bounded(exposure, exceedance.error, RiskMethod::Splitting);
            return Ok(if exceedance.is_bound { Risk { low: 0.0, ..risk } } else { risk });
        }
        Err(OccupancyError::Refused {
            what: format!("the probability of more than {capacity:.0} tokens in a cycle"),
            why: format!(
                "of {count} simulated cycles {met:.0} were over it, too few to count, and lengths from a log have no \
                 formula under threshold batching; all that is known is that it is below {:.1e} a cycle",
                (met + 3.0 + 2.0 * met.sqrt()) / count
            ),
            instead:
                "simulate more cycles, ask for continuous batching, or give a mean prompt and a termination \
                      probability"
                    .to_owned(),
        })
    }
}

/// A risk that may be asked for.
///
/// # Errors
/// Anything outside (0, 1), or below 1e-100.
pub(crate) fn check_risk(risk: f64) -> Result<f64, OccupancyError> {
    finite("the risk", risk, 1e-100..=1.0 - 1e-9, "it must be more than 0 and less than 1")
}

fn bounded(exposure: f64, error: f64, method: RiskMethod) -> Risk {
    let reach = (2.0 * error).min(700.0).exp();
    Risk {
        probability: risk_of(exposure),
        low: risk_of(exposure / reach),
        high: risk_of(exposure * reach),
        method,
    }
}
