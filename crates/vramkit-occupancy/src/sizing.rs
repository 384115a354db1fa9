//! Which batch has a risk, and which memory: the inverses of [`Service::risk`].

use crate::batch::Batch;
use crate::cycles::simulate_with;
use crate::error::OccupancyError;
use crate::inversion::{Exposure, Inverse, exposure, largest, ln_exposure};
use crate::risk::{Batching, ENOUGH, Horizon, Service, check_risk};
use crate::splitting::MultilevelSplitting;

impl Service<'_> {
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
                    exposure(exact.tail(capacity)) * self.cycles_within(exact.steps()) <= exposure(risk)
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
            let rate = exposure(risk) / within;
            // Deeper than a simulation of a moment can count.
            if rate < 4e-3 {
                let splitting = MultilevelSplitting::new(batch, prompt, termination, self.effort.seed)?;
                let found = match self.horizon {
                    Horizon::Cycle => splitting.level_for_cycles(risk)?,
                    Horizon::Steps(_) => splitting.level_for_clumps(rate)?,
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
            let rate = exposure(risk) / within;
            if rate * count >= ENOUGH {
                let at = |rate: f64| {
                    let (mut low, mut high) = (cycles.x0().mean, cycles.quantile(0.0).0);
                    while high - low > 0.5 {
                        let middle = 0.5 * (low + high);
                        let here = cycles.clumps_exceeding(middle).mean;
                        if here > rate || cycles.exceeding(middle).mean > 0.2 {
                            low = middle
                        } else {
                            high = middle
                        }
                    }
                    high
                };
                let value = at(rate);
                let error = 2.0 * cycles.clumps_exceeding(value).standard_error;
                return Ok(Inverse { value, low: at(rate + error), high: at((rate - error).max(0.0)) });
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
