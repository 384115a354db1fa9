//! How likely is either kind of batching to run out, and by which method was that found.

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::cycles::{Cycles, simulate_with};
use crate::error::{OccupancyError, finite};
use crate::horizon::HorizonMethod;
use crate::inversion::{Inverse, exposure, risk_of};
use crate::peaks::Peaks;
use crate::service::{Batching, Horizon, Service};
use crate::simulation::Start;
use crate::source::Order;
use crate::splitting::{MOST_SEATS, MultilevelSplitting};

/// Those that it must have met for its count to be told.
const TOLD: f64 = 10.0;
/// The upper end of an interval over its lower that is good enough: some fifty exceedances.
const PRECISE: f64 = 2.0;

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
    /// Whole horizons around moments over the capacity, by importance sampling.
    Sojourns,
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
            Self::Clumps => "steps over the memory come in clumps, which are far apart",
            Self::Sojourns => {
                "what a step holds is remembered for long against the horizon, so whole horizons are looked at"
            }
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
            Self::Sojourns => "sojourns by importance sampling",
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
    /// What it is at most, as far as samples go, where it was met so seldom that hardly more is known.
    pub at_most: Option<f64>,
}

impl Risk {
    /// Whether it is at most so much; `None` where what is known does not say.
    pub fn is_within(&self, risk: f64) -> Option<bool> {
        match self.at_most {
            None => Some(self.probability <= risk),
            Some(most) if most <= risk => Some(true),
            Some(_) if self.low > risk => Some(false),
            Some(_) => None,
        }
    }

    /// By how much ln(−ln(1 − P)) could be lower and higher.
    pub(crate) fn open(&self) -> [f64; 2] {
        let of = |probability: f64| exposure(probability.min(1.0 - 1e-15)).max(1e-300).ln();
        let here = of(self.probability);
        // Further off there is nothing to be said of a batch or a memory.
        [here - of(self.low), of(self.high) - here].map(|ln| ln.clamp(0.0, 20.0))
    }

    fn certain(probability: f64) -> Self {
        let method = RiskMethod::Certain;
        Self { probability, low: probability, high: probability, method, at_most: None }
    }

    /// Of one stretch of time and then another.
    fn and_then(self, later: Self) -> Self {
        let both = |one: f64, other: f64| {
            if one >= 1.0 || other >= 1.0 { 1.0 } else { risk_of(exposure(one) + exposure(other)) }
        };
        let probability = both(self.probability, later.probability);
        Self {
            probability,
            low: both(self.low, later.low),
            high: both(self.high, later.high),
            // What decides is what is said.
            method: if self.probability >= later.probability { self.method } else { later.method },
            // What is hardly known of one matters where the other is not much more.
            at_most: [(self, later), (later, self)]
                .iter()
                .find_map(|(one, other)| one.at_most.map(|most| both(most, other.probability)))
                .filter(|&most| most > 1.25 * probability),
        }
    }
}

impl Service<'_> {
    /// The probability of running out of `capacity` tokens.
    ///
    /// # Errors
    /// Bad input; a capacity below one request; refused where the deadline leaves time for hardly any samples.
    pub fn risk(&self, batching: Batching, capacity: f64) -> Result<Risk, OccupancyError> {
        self.check(capacity)?;
        if self.always_fits(batching, capacity) {
            return Ok(Risk::certain(0.0));
        }
        match batching {
            Batching::Continuous { seats } => self.continuous_risk(seats, capacity, self.effort.cycles / 4),
            Batching::Threshold(batch) if self.is_counted() => {
                self.threshold_risk_with(batch, None, capacity, false)
            }
            Batching::Threshold(batch) => {
                let cycles = simulate_with(batch, self.lengths, self.effort, self.deadline, self.progress)?;
                self.threshold_risk(batch, &cycles, capacity)
            }
        }
    }

    /// Whether threshold batching is counted horizon by horizon: cycles that follow each other say little where they are all alike.
    pub(crate) fn is_counted(&self) -> bool {
        self.keeps_together()
            || self.horizon != Horizon::Cycle
            || self.start == Start::Cold
            || self.order == Order::AsLogged
    }

    pub(crate) fn continuous_risk(
        &self,
        seats: u32,
        capacity: f64,
        samples: u64,
    ) -> Result<Risk, OccupancyError> {
        let batching = Batching::Continuous { seats };
        if self.is_simulated(seats) {
            let counted = self.counted(&self.peaks(batching, samples)?, batching, capacity);
            return self.with_log(seats, capacity, counted);
        }
        let Horizon::Steps(steps) = self.horizon else {
            return self.settled_risk(seats, capacity, samples, None);
        };
        if self.start == Start::Settled || self.arrivals.is_some() {
            return self.settled_risk(seats, capacity, samples, Some(steps));
        }
        let peaks = self.peaks(batching, samples)?;
        let first = self.with_log(seats, capacity, self.counted(&peaks, batching, capacity))?;
        let left = steps - self.begins_for();
        if left < 1.0 {
            return Ok(first);
        }
        Ok(first.and_then(self.settled_risk(seats, capacity, samples, Some(left))?))
    }

    /// Of a batch that has settled, at a moment or over so many steps.
    fn settled_risk(
        &self,
        seats: u32,
        capacity: f64,
        samples: u64,
        steps: Option<f64>,
    ) -> Result<Risk, OccupancyError> {
        // A sample costs its seats.
        let samples = (samples as f64 * (512.0 / f64::from(seats)).clamp(0.2, 1.0)) as u64;
        let demand = self.demand(seats)?;
        let Some(steps) = steps else {
            let tail = demand.tail(capacity)?;
            if tail.ln == f64::NEG_INFINITY || tail.ln == 0.0 {
                return Ok(Risk::certain(tail.probability()));
            }
            let probability = tail.probability();
            let exposure = exposure(probability.min(1.0 - 1e-15));
            let [lower, higher] = demand.left_open(capacity, probability);
            return Ok(Risk {
                probability,
                low: risk_of(exposure * (-lower).exp()),
                high: risk_of(exposure * higher.exp()),
                method: RiskMethod::ExactLaw,
                at_most: None,
            });
        };
        let risk = demand.horizon_by(capacity, steps, samples, self.effort.seed, self.deadline)?;
        let method = match risk.method {
            HorizonMethod::Certain => RiskMethod::Certain,
            HorizonMethod::Clumps => RiskMethod::Clumps,
            HorizonMethod::Sojourns => RiskMethod::Sojourns,
            HorizonMethod::Simulated => RiskMethod::Simulated,
        };
        Ok(Risk { probability: risk.probability, low: risk.low, high: risk.high, method, at_most: None })
    }

    /// Counted from simulated horizons, as if the log were all that there is.
    pub(crate) fn counted(&self, peaks: &Peaks, batching: Batching, capacity: f64) -> Risk {
        let capacity = self.granted(batching, capacity);
        let Inverse { value, low, high } = peaks.risk(capacity);
        let at_most = (peaks.over(capacity) < TOLD).then_some(high);
        Risk { probability: value, low, high, method: RiskMethod::Simulated, at_most }
    }

    /// What is counted, with what the log leaves open: about what it leaves open of seats that are refilled one by one.
    fn with_log(&self, seats: u32, capacity: f64, counted: Risk) -> Result<Risk, OccupancyError> {
        if self.lengths.requests().is_none() || counted.method == RiskMethod::Certain {
            return Ok(counted);
        }
        let demand = self.demand_like(seats)?;
        let [lower, higher] = demand.left_open(capacity, counted.probability);
        let of = |probability: f64| exposure(probability.min(1.0 - 1e-15)).max(1e-300);
        let here = of(counted.probability);
        let reach = |end: f64| (of(end).ln() - here.ln()).abs();
        let low = risk_of(here * (-reach(counted.low).hypot(lower)).exp());
        let high = risk_of(here * reach(counted.high).hypot(higher).exp());
        // What was never met is open below whatever the log says.
        let low = if counted.low == 0.0 { 0.0 } else { low };
        Ok(Risk { low: low.min(counted.low), high: high.max(counted.high), ..counted })
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
        self.threshold_risk_with(batch, Some(cycles), capacity, false)
    }

    /// `cycles` are looked at for the risk of a cycle alone.
    pub(crate) fn threshold_risk_with(
        &self,
        batch: Batch,
        cycles: Option<&Cycles>,
        capacity: f64,
        quick: bool,
    ) -> Result<Risk, OccupancyError> {
        self.check(capacity)?;
        if self.always_fits(Batching::Threshold(batch), capacity) {
            return Ok(Risk::certain(0.0));
        }
        let counted = match cycles {
            Some(cycles) if !self.is_counted() => counted_cycles(cycles, capacity),
            _ => {
                let most = if quick { self.effort.cycles / 40 } else { self.effort.cycles / 10 };
                {
                    let batching = Batching::Threshold(batch);
                    self.counted(&self.peaks(batching, most.max(256))?, batching, capacity)
                }
            }
        };
        let Some((prompt, termination)) = self.lengths.as_geometric() else {
            return self.with_log(batch.seats(), capacity, counted);
        };
        let precise = counted.low > 0.0 && counted.high / counted.low < PRECISE;
        if precise || counted.high > 0.2 || self.start == Start::Cold || batch.seats() > MOST_SEATS {
            return Ok(counted);
        }
        // Geometric outputs can be split at any step.
        let splitting = MultilevelSplitting::new(batch, prompt, termination, self.effort.seed)?;
        let exact = self.exact(batch);
        // Where the formula is far below what is looked for, that it is below is enough to know.
        let hopeless = exact.tail(capacity) < 1e-30;
        let splitting = match (hopeless, quick) {
            (true, _) => splitting.coarse(),
            (false, true) => splitting.quick(),
            (false, false) => splitting,
        };
        let exceedance = splitting.by(self.deadline).over(capacity)?;
        // Over in the first cycle, or in a run that begins later.
        let within = self.cycles_within(exact.steps());
        let later = exceedance.ln_clumps.exp() * (within - 1.0);
        let exposure = exposure(exceedance.ln_probability.exp().min(1.0 - 1e-15)) + later;
        let risk = bounded(exposure, exceedance.error, RiskMethod::Splitting);
        if exceedance.is_bound {
            // What is told is a bound itself.
            return Ok(Risk { low: 0.0, high: risk.probability, at_most: Some(risk.probability), ..risk });
        }
        // The better known of the two.
        let splits =
            counted.at_most.is_some() || counted.high / counted.low.max(1e-300) > risk.high / risk.low;
        Ok(if splits { risk } else { counted })
    }
}

/// From cycles of a batch that has settled.
fn counted_cycles(cycles: &Cycles, capacity: f64) -> Risk {
    let over = cycles.exceeding(capacity);
    let runs = cycles.clumps_exceeding(capacity);
    let count = cycles.count() as f64;
    let met = over.mean * count;
    // Exceedances come in runs; how many runs there are is what a count can be trusted by.
    if runs.mean * count >= TOLD || over.mean >= 0.2 {
        let ratio = over.standard_error / over.mean / (1.0 - over.mean).max(1e-9);
        return bounded(exposure(over.mean.min(1.0 - 1e-15)), ratio, RiskMethod::Simulated);
    }
    // No more than what would have been met this rarely by chance once in forty times, each in a run like the others.
    let high = ((met + 4.0 + 4.0 * met.sqrt()) / count).min(1.0);
    Risk { probability: over.mean, low: 0.0, high, method: RiskMethod::Simulated, at_most: Some(high) }
}

/// A risk that may be asked for.
///
/// # Errors
/// Anything outside (0, 1), or below 1e-100.
pub(crate) fn check_risk(risk: f64) -> Result<f64, OccupancyError> {
    finite("the risk", risk, 1e-100..=1.0 - 1e-9, "it must be at least 1e-100 and less than 1")
}

fn bounded(exposure: f64, error: f64, method: RiskMethod) -> Risk {
    let reach = (2.0 * error).min(700.0).exp();
    Risk {
        probability: risk_of(exposure),
        low: risk_of(exposure / reach),
        high: risk_of(exposure * reach),
        method,
        at_most: None,
    }
}
