//! The four questions, for either kind of batching: how likely is it to run out, which batch has a risk, which memory has
//! it, and by which method each answer was found.

use serde::{Deserialize, Serialize};

use crate::cycles::{Batch, Cycles, Effort, simulate_with};
use crate::demand::{Demand, Population};
use crate::error::{OccupancyError, finite};
use crate::exact::Exact;
use crate::excursions::Excursions;
use crate::horizon::HorizonMethod;
use crate::inversion::{Exposure, Inverse, largest, ln_exposure};
use crate::lengths::Lengths;

/// Exceedances that a simulation must have met for its count to stand.
const ENOUGH: f64 = 50.0;

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
    fn check(&self, capacity: f64) -> Result<(), OccupancyError> {
        if let Horizon::Steps(steps) = self.horizon {
            finite("the horizon", steps, 1.0..=1e15, "it must be at least one step")?;
        }
        self.lengths.check_capacity(capacity)
    }

    pub(crate) fn demand(&self, seats: u32) -> Result<Demand, OccupancyError> {
        Demand::new(self.lengths, Population::Seats(seats), self.block)
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

    fn continuous_risk(&self, seats: u32, capacity: f64, samples: u64) -> Result<Risk, OccupancyError> {
        // A sample costs its seats.
        let samples = (samples as f64 * (512.0 / f64::from(seats)).clamp(0.2, 1.0)) as u64;
        let demand = self.demand(seats)?;
        let Horizon::Steps(steps) = self.horizon else {
            let tail = demand.tail(capacity)?;
            let certain = tail.ln == f64::NEG_INFINITY || tail.ln == 0.0;
            let method = if certain { RiskMethod::Certain } else { RiskMethod::ExactLaw };
            let exposure = -(-tail.probability().min(1.0 - 1e-15)).ln_1p();
            let error = if certain { 0.0 } else { demand.log_error(capacity) };
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

    fn steps(&self) -> f64 {
        match self.horizon {
            Horizon::Cycle => 1.0,
            Horizon::Steps(steps) => steps,
        }
    }

    /// Cycles of a horizon.
    fn cycles_within(&self, steps_of_a_cycle: f64) -> f64 {
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

    fn threshold_risk_with(
        &self,
        batch: Batch,
        cycles: &Cycles,
        capacity: f64,
        quick: bool,
    ) -> Result<Risk, OccupancyError> {
        self.check(capacity)?;
        let within = self.cycles_within(cycles.steps().mean);
        // Over in the first cycle, or in a run that begins later.
        let exposure = |cycle: f64, runs: f64| -(-cycle.min(1.0)).ln_1p() + runs * (within - 1.0);
        let (over, runs) = (cycles.exceeding(capacity), cycles.runs_exceeding(capacity));
        let count = cycles.count() as f64;
        let (met, met_runs) = (over.mean * count, runs.mean * count);
        // Exceedances come in runs; how many runs there are is what a count can be trusted by.
        let is_geometric = self.lengths.as_geometric().is_some();
        if met_runs >= ENOUGH || over.mean >= 0.2 || (!is_geometric && met >= ENOUGH) {
            let exposure = exposure(over.mean, runs.mean);
            let ratio = match self.horizon {
                Horizon::Cycle => over.standard_error / over.mean / (1.0 - over.mean).max(1e-9),
                Horizon::Steps(_) => (runs.standard_error / runs.mean).max(over.standard_error / over.mean),
            };
            return Ok(bounded(exposure, ratio, RiskMethod::Simulated));
        }
        if let Some((prompt, termination)) = self.lengths.as_geometric() {
            let excursions = Excursions::new(batch, prompt, termination, self.effort.seed)?;
            // Where the formula is far below what is looked for, that it is below is enough to know.
            let hopeless = self.exact(batch).tail(capacity) < 1e-30;
            let excursions = match (hopeless, quick) {
                (true, _) => excursions.coarse(),
                (false, true) => excursions.quick(),
                (false, false) => excursions,
            };
            let rarity = excursions.over(capacity)?;
            let exposure = exposure(rarity.ln_probability.exp(), rarity.ln_runs.exp());
            let risk = bounded(exposure, rarity.error, RiskMethod::Splitting);
            return Ok(if rarity.is_bound { Risk { low: 0.0, ..risk } } else { risk });
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

    /// The largest batch whose risk is at most `risk`; a threshold stays the same part of it. 0 when not even one sequence
    /// is safe.
    ///
    /// # Errors
    /// As for [`risk`](Self::risk); a risk outside (0, 1).
    pub fn largest_batch(
        &self,
        batching: Batching,
        capacity: f64,
        risk: f64,
    ) -> Result<Inverse, OccupancyError> {
        check_risk(risk)?;
        self.check(capacity)?;
        let target = ln_exposure(risk);
        let one = self.lengths.mean_prompt() + 1.0;
        // No more than have room for their prompts; no fewer than always fit.
        let high = (capacity / one).floor().min(f64::from(1 << 20)) as u64;
        let low = self.lengths.largest().map_or(0, |most| self.worst_case(capacity, most)).min(high);
        let guess = self.rough_batch(batching, capacity, risk, low, high)?;
        let mut found = largest(low, high, guess, target, |seats| {
            self.exposure(batching.with_seats(seats as u32), capacity, risk)
        })?;
        // The search drew fewer samples than `risk` does: what that says of the answer must hold.
        while matches!(batching, Batching::Continuous { .. }) && found.value > low as f64 {
            match self.risk(batching.with_seats(found.value as u32), capacity) {
                Ok(here) if here.probability > risk => found.value -= 1.0,
                Ok(_) => break,
                Err(error) => return Err(error),
            }
        }
        found.low = found.low.min(found.value);
        Ok(found)
    }

    /// A batch with about this risk, from formulas.
    fn rough_batch(
        &self,
        batching: Batching,
        capacity: f64,
        risk: f64,
        low: u64,
        high: u64,
    ) -> Result<u64, OccupancyError> {
        let is_good = |seats: u32| -> Result<bool, OccupancyError> {
            Ok(match batching.with_seats(seats) {
                Batching::Continuous { seats } => {
                    // Clumps are some eight steps long.
                    let clumps = (self.steps() / 8.0).max(1.0);
                    self.demand(seats)?.rough_tail(capacity) + clumps.ln() <= ln_exposure(risk)
                }
                Batching::Threshold(batch) => {
                    let exact = self.exact(batch);
                    -(-exact.tail(capacity)).ln_1p() * self.cycles_within(exact.steps()) <= -(-risk).ln_1p()
                }
            })
        };
        let (mut good, mut bad) = (low, high + 1);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            if is_good(middle as u32)? { good = middle } else { bad = middle }
        }
        Ok(good)
    }

    /// The closed forms with a log's means: exact for geometric lengths, a place to begin for others.
    pub(crate) fn exact(&self, batch: Batch) -> Exact {
        let lengths = self.lengths;
        let termination = 1.0 / lengths.mean_output();
        Exact::new(batch, lengths.mean_prompt(), lengths.prompt_variance(), termination)
    }

    /// Sequences that fit however long they get.
    fn worst_case(&self, capacity: f64, largest: f64) -> u64 {
        let block = f64::from(self.block);
        (capacity / ((largest / block).ceil() * block)).floor() as u64
    }

    fn exposure(&self, batching: Batching, capacity: f64, risk: f64) -> Result<Exposure, OccupancyError> {
        let found = match batching {
            Batching::Continuous { seats } => {
                let demand = self.demand(seats)?;
                // Far too likely even at a moment: no need for samples.
                let rough = demand.rough_tail(capacity);
                if rough > (4.0 * risk).ln() || rough > -0.7 {
                    return Ok(Exposure { ln: ln_exposure(rough.exp().min(1.0 - 1e-12)), error: 0.0 });
                }
                self.continuous_risk(seats, capacity, (self.effort.cycles / 16).max(512))?
            }
            Batching::Threshold(batch) => {
                let exact = self.lengths.as_geometric().map(|_| self.exact(batch));
                // The mean alone does not fit.
                if exact.is_some_and(|exact| exact.x0() > capacity) {
                    return Ok(Exposure { ln: 1.0, error: 0.0 });
                }
                let cycles = simulate_with(batch, self.lengths, self.effort, self.progress)?;
                match self.threshold_risk_with(batch, &cycles, capacity, true) {
                    // Known to be below what was asked: that is enough to go on.
                    Err(refused @ OccupancyError::Refused { .. }) => {
                        let cycles_within = self.cycles_within(cycles.steps().mean);
                        if 6.0 * cycles_within / cycles.count() as f64 * 10.0 > risk {
                            return Err(refused);
                        }
                        return Ok(Exposure { ln: f64::NEG_INFINITY, error: 0.0 });
                    }
                    found => found?,
                }
            }
        };
        let spread =
            ln_exposure(found.high.min(1.0 - 1e-12)) - ln_exposure(found.probability.min(1.0 - 1e-12));
        let error = if spread.is_finite() { 0.5 * spread.max(0.0) } else { 0.0 };
        Ok(Exposure { ln: ln_exposure(found.probability.min(1.0 - 1e-12)), error })
    }

    /// The least memory, in tokens, with which a batch has at most this risk.
    ///
    /// # Errors
    /// As for [`risk`](Self::risk); a risk outside (0, 1).
    pub fn least_capacity(&self, batching: Batching, risk: f64) -> Result<Inverse, OccupancyError> {
        check_risk(risk)?;
        match batching {
            Batching::Continuous { seats } => self.least_continuous_capacity(seats, risk),
            Batching::Threshold(batch) => self.least_threshold_capacity(batch, risk),
        }
    }

    /// From the formula to where the exact law and the clumps put it, along the formula's slope.
    fn least_continuous_capacity(&self, seats: u32, risk: f64) -> Result<Inverse, OccupancyError> {
        let demand = self.demand(seats)?;
        let (mean, spread) = (demand.mean(), demand.variance().sqrt().max(1.0));
        let needed = match self.lengths.check_capacity(1.0) {
            Err(OccupancyError::RequestTooLarge { needed, .. }) => needed,
            _ => 1.0,
        };
        let most = demand.range().1 * f64::from(self.block);
        let target = ln_exposure(risk);
        let rough = |capacity: f64| demand.rough_tail(capacity) + (self.steps() / 8.0).max(1.0).ln();
        let (mut low, mut high) = (mean, mean + 4.0 * spread);
        while rough(high) > target {
            (low, high) = (high, high + (high - mean));
        }
        while high - low > 0.02 * spread {
            let middle = 0.5 * (low + high);
            if rough(middle) > target { low = middle } else { high = middle }
        }
        let (mut value, mut error) = (high.max(needed), 0.0);
        let mut slope = f64::INFINITY;
        for _ in 0..8 {
            if value >= most {
                return Ok(Inverse { value: most, low: most, high: most });
            }
            let here = self.exposure(Batching::Continuous { seats }, value.floor(), risk)?;
            error = here.error;
            let aside = 0.05 * spread;
            slope = ((rough(value) - rough(value + aside)) / aside).max(1e-3 / spread);
            if !here.ln.is_finite() || (here.ln - target).abs() < 0.02 {
                break;
            }
            value += ((here.ln - target) / slope).clamp(-spread, spread);
            value = value.max(needed);
        }
        let bounded = |value: f64| value.ceil().clamp(needed, most);
        let reach = if slope.is_finite() { 2.0 * error / slope } else { 0.0 };
        Ok(Inverse { value: bounded(value), low: bounded(value - reach), high: bounded(value + reach) })
    }

    fn least_threshold_capacity(&self, batch: Batch, risk: f64) -> Result<Inverse, OccupancyError> {
        if let Some((prompt, termination)) = self.lengths.as_geometric() {
            let within = self.cycles_within(self.exact(batch).steps());
            let rate = -(-risk).ln_1p() / within;
            // Deeper than a simulation of a moment can count.
            if rate < 4e-3 {
                let excursions = Excursions::new(batch, prompt, termination, self.effort.seed)?;
                let found = match self.horizon {
                    Horizon::Cycle => excursions.level_for_cycles(risk)?,
                    Horizon::Steps(_) => excursions.level_for_runs(rate)?,
                };
                let reach = 2.0 * found.standard_error;
                let whole = |level: f64| level.ceil();
                return Ok(Inverse {
                    value: whole(found.mean),
                    low: whole(found.mean - reach),
                    high: whole(found.mean + reach),
                });
            }
        }
        let cycles = self.cycles(batch, risk)?;
        let within = self.cycles_within(cycles.steps().mean);
        let count = cycles.count() as f64;
        if within <= 1.0 {
            if risk * count >= ENOUGH {
                let (value, low, high) = cycles.quantile(risk);
                return Ok(Inverse { value, low, high });
            }
        } else {
            // Where runs begin at the right rate: the peaks are few, so by halving.
            let rate = -(-risk).ln_1p() / within;
            if rate * count >= ENOUGH {
                let at = |rate: f64| {
                    let (mut low, mut high) = (cycles.x0().mean, cycles.quantile(0.0).0);
                    while high - low > 0.5 {
                        let middle = 0.5 * (low + high);
                        let here = cycles.runs_exceeding(middle).mean;
                        if here > rate || cycles.exceeding(middle).mean > 0.2 {
                            low = middle
                        } else {
                            high = middle
                        }
                    }
                    high
                };
                let error = 2.0 * cycles.runs_exceeding(at(rate)).standard_error;
                return Ok(Inverse {
                    value: at(rate),
                    low: at(rate + error),
                    high: at((rate - error).max(0.0)),
                });
            }
        }
        Err(OccupancyError::Refused {
            what: format!("the memory for a risk of {risk:e}"),
            why: format!(
                "{count} simulated cycles are too few to meet it {ENOUGH} times, and lengths from a log have no formula \
                 under threshold batching"
            ),
            instead: "simulate more cycles, ask for a larger risk, or for continuous batching".to_owned(),
        })
    }
}

/// A risk that may be asked for.
///
/// # Errors
/// Anything outside (0, 1), or below 1e-100.
pub fn check_risk(risk: f64) -> Result<f64, OccupancyError> {
    finite("the risk", risk, 1e-100..=1.0 - 1e-9, "it must be more than 0 and less than 1")
}

fn bounded(exposure: f64, error: f64, method: RiskMethod) -> Risk {
    let within = |exposure: f64| -(-exposure).exp_m1();
    let reach = (2.0 * error).min(700.0).exp();
    Risk {
        probability: within(exposure),
        low: within(exposure / reach),
        high: within(exposure * reach),
        method,
    }
}
