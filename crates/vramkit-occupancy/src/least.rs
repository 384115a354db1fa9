//! Which memory has a risk: the other inverse of [`Service::risk`], confirmed likewise.

use crate::batch::Batch;
use crate::error::OccupancyError;
use crate::inversion::{Inverse, digits, exposure, ln_exposure};
use crate::limits::ENOUGH;
use crate::risk::check_risk;
use crate::service::{Batching, Horizon, Service};
use crate::simulation::Start;
use crate::sizing::{NEAR, TRIES};
use crate::splitting::{MOST_SEATS, MultilevelSplitting};

impl Service<'_> {
    /// The least memory, in tokens, with which a batch has at most this risk.
    ///
    /// # Errors
    /// As for [`risk`](Self::risk); a risk outside (0, 1); refused when no memory is confirmed.
    pub fn least_capacity(&self, batching: Batching, risk: f64) -> Result<Inverse, OccupancyError> {
        check_risk(risk)?;
        // Blocks are whole, and one request must fit.
        let block = match batching {
            Batching::Continuous { .. } => f64::from(self.block),
            Batching::Threshold(_) => 1.0,
        };
        let whole = |tokens: f64| (tokens / block).ceil() * block;
        let largest = self.lengths.largest();
        let most = largest.map_or(f64::INFINITY, |each| f64::from(batching.seats()) * whole(each.ceil()));
        let least = whole(self.lengths.least_memory());
        let bounded = |found: Inverse| {
            let within = |tokens: f64| whole(tokens).min(most).max(least);
            Inverse { value: within(found.value), low: within(found.low), high: within(found.high) }
        };
        let part = Self { deadline: self.deadline.part(0.6), ..*self };
        let mut found = bounded(match batching {
            Batching::Continuous { seats } => part.least_continuous_capacity(seats, risk)?,
            Batching::Threshold(batch) => part.least_threshold_capacity(batch, risk)?,
        });
        // How much memory a factor of e in the risk is worth.
        let worth = self.demand_like(batching.seats())?.worth(found.value);
        // What is too little, and what is enough.
        let (mut less, mut enough): (Option<f64>, Option<f64>) = (None, None);
        for _ in 0..TRIES {
            let (here, open) = match self.always_fits(batching, found.value) {
                true => (0.0, [0.0; 2]),
                false => {
                    let here = self.confirmed(batching, found.value, risk)?;
                    (here.probability, here.open().map(|ln| ln * worth))
                }
            };
            if here > risk * NEAR {
                less = Some(found.value)
            } else {
                enough = Some(found.value)
            }
            let apart = less.zip(enough).map_or(f64::INFINITY, |(less, enough)| enough - less);
            let is_least = here >= risk / NEAR
                || found.value <= least
                || apart <= block.max(0.02 * worth)
                // What is counted lies where the next less has more than the risk.
                || self.is_plain(batching);
            let value = match (less, enough) {
                (Some(less), Some(enough)) => 0.5 * (less + enough),
                _ => found.value + (here.max(risk * 0.05) / risk).ln().clamp(-2.0, 2.0) * worth,
            };
            let next = bounded(Inverse { value, ..found });
            if enough == Some(found.value) && (is_least || next.value == found.value) {
                let value = found.value;
                let low = found.low.min(value - open[0]);
                return Ok(bounded(Inverse { value, low, high: found.high.max(value + open[1]) }));
            }
            found = next;
        }
        // Not the least to the token, but near.
        if let (Some(less), Some(enough)) = (less, enough)
            && enough - less <= 0.02 * enough
        {
            return Ok(bounded(Inverse {
                value: enough,
                low: found.low.min(less),
                high: found.high.max(enough),
            }));
        }
        Err(OccupancyError::Refused {
            what: format!("the memory for a risk of {}", digits(risk)),
            why: format!(
                "{:.0} tokens were not confirmed by other random numbers, nor those around them",
                found.value
            ),
            instead: "draw more samples and give a later deadline".to_owned(),
        })
    }

    /// From the formula to where the exact law and the clumps put it, along the formula's slope; counted where horizons are counted.
    fn least_continuous_capacity(&self, seats: u32, risk: f64) -> Result<Inverse, OccupancyError> {
        let batching = Batching::Continuous { seats };
        let samples = self.effort.cycles / 4;
        if self.is_simulated(seats) {
            return self.peaks(batching, samples)?.quantile(risk);
        }
        if self.start == Start::Cold && self.arrivals.is_none() {
            return self.least_after_cold_start(seats, risk);
        }
        self.least_settled_capacity(seats, risk)
    }

    /// No less than either the beginning or the time after it needs, no more than what both need for half the risk.
    fn least_after_cold_start(&self, seats: u32, risk: f64) -> Result<Inverse, OccupancyError> {
        let batching = Batching::Continuous { seats };
        let settled = Service { start: Start::Settled, ..*self };
        let peaks = self.peaks(batching, self.effort.cycles / 4)?;
        let cold = peaks.quantile(risk)?;
        let left = self.steps() - self.begins_for();
        if left < 1.0 {
            return Ok(cold);
        }
        let later = Service { horizon: Horizon::Steps(left), ..settled };
        let after = later.least_settled_capacity(seats, risk)?;
        // Above that memory its risk falls as the law's tail does.
        let worth = self.demand(seats)?.worth(after.value);
        let of_later = |capacity: f64| risk * ((after.value - capacity) / worth).exp();
        let mut low = cold.value.max(after.value);
        let mut high = (low + worth).max(peaks.quantile(risk / 2.0).map_or(peaks.most(), |half| half.value));
        while high - low > 0.01 * worth {
            let middle = 0.5 * (low + high);
            if peaks.risk(middle).value + of_later(middle) > risk { low = middle } else { high = middle }
        }
        Ok(Inverse { value: high, low: cold.low.max(after.low), high: high.max(cold.high).max(after.high) })
    }

    fn least_settled_capacity(&self, seats: u32, risk: f64) -> Result<Inverse, OccupancyError> {
        let demand = self.demand(seats)?;
        let (mean, spread) = (demand.mean(), demand.variance().sqrt().max(1.0));
        let needed = self.lengths.least_memory();
        let most = demand.range().1 * f64::from(self.block);
        let target = ln_exposure(risk);
        let rough = |capacity: f64| demand.rough_tail(capacity) + (self.steps() / 8.0).max(1.0).ln();
        let (mut low, mut high) = (mean, mean + 4.0 * spread);
        while rough(high) > target {
            self.deadline.check("the memory for a risk")?;
            (low, high) = (high, high + (high - mean));
        }
        while high - low > 0.02 * spread {
            let middle = 0.5 * (low + high);
            if rough(middle) > target { low = middle } else { high = middle }
        }
        let mut value = high.max(needed).min(most);
        // What is known to be too little, and enough.
        let mut less: Option<(f64, f64)> = None;
        let mut enough: Option<(f64, f64)> = None;
        for _ in 0..12 {
            self.deadline.check("the memory for a risk")?;
            let here = self.settled_exposure(seats, value.floor(), risk)?;
            let aside = 0.05 * spread;
            let slope = ((rough(value) - rough(value + aside)) / aside).max(1e-3 / spread);
            if (here - target).abs() < 0.02 {
                break;
            }
            if here > target {
                less = Some((value, here))
            } else {
                enough = Some((value, here))
            }
            value = match (less, enough) {
                (Some((below, at_below)), Some((above, at_above))) => {
                    if above - below < 1.0 {
                        value = above;
                        break;
                    }
                    // Not nearer to either end than a tenth, so that a crooked curve cannot make it slow.
                    let part =
                        if at_above.is_finite() { (at_below - target) / (at_below - at_above) } else { 0.5 };
                    below + (above - below) * part.clamp(0.1, 0.9)
                }
                (None, Some((above, _))) if above <= needed => break,
                _ => (value + ((here - target) / slope).clamp(-spread, spread)).clamp(needed, most),
            };
            if less.is_some_and(|(below, _)| below >= most) {
                value = most;
                break;
            }
        }
        if let Some((above, _)) =
            enough.filter(|&(above, _)| above < value || less.is_some_and(|(below, _)| below >= value))
        {
            value = above;
        }
        Ok(Inverse { value, low: value, high: value })
    }

    fn settled_exposure(&self, seats: u32, capacity: f64, risk: f64) -> Result<f64, OccupancyError> {
        let batching = Batching::Continuous { seats };
        if capacity < 1.0 {
            return Ok(1.0);
        }
        Service { start: Start::Settled, ..*self }.exposure(batching, capacity, risk)
    }

    fn least_threshold_capacity(&self, batch: Batch, risk: f64) -> Result<Inverse, OccupancyError> {
        if let Some((prompt, termination)) = self.lengths.as_geometric()
            && self.start == Start::Settled
            && batch.seats() <= MOST_SEATS
        {
            let within = self.cycles_within(self.exact(batch).steps());
            let rate = exposure(risk) / within;
            // Deeper than a simulation of a moment can count.
            if rate < 4e-3 {
                let splitting =
                    MultilevelSplitting::new(batch, prompt, termination, self.effort.seed)?.by(self.deadline);
                let found = match self.horizon {
                    Horizon::Cycle => splitting.level_for_cycles(risk)?,
                    Horizon::Steps(_) => splitting.level_for_clumps(rate)?,
                };
                let reach = 2.0 * found.standard_error;
                return Ok(Inverse { value: found.mean, low: found.mean - reach, high: found.mean + reach });
            }
        }
        if self.is_counted() {
            return self
                .peaks(Batching::Threshold(batch), (self.effort.cycles / 10).max((ENOUGH / risk) as u64))?
                .quantile(risk);
        }
        let cycles = self.cycles(batch, risk)?;
        if risk * (cycles.count() as f64) < ENOUGH {
            return Err(self.too_few(risk));
        }
        let (value, low, high) = cycles.quantile(risk);
        Ok(Inverse { value, low, high })
    }
}
