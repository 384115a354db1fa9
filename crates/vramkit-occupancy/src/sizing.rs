//! Which batch has a risk, and which memory: the inverses of [`Service::risk`], each confirmed by other random numbers than it
//! was found with before it is told.

use std::time::Duration;

use crate::batch::Batch;
use crate::cycles::{Effort, simulate_with};
use crate::error::OccupancyError;
use crate::inversion::{Inverse, exposure, largest, ln_exposure};
use crate::limits::ENOUGH;
use crate::risk::{Risk, RiskMethod, check_risk};
use crate::service::{Batching, Horizon, Service};
use crate::simulation::Start;
use crate::source::Order;
use crate::splitting::{MOST_SEATS, MultilevelSplitting};

/// What the random numbers of a confirmation start from, beside the seed.
const OTHERS: u64 = 0x7e57_0000;
/// A risk that is confirmed to be this many times what was asked is not what was asked.
const NEAR: f64 = 1.25;
/// What one look at a batch takes of the time that is left.
const PART: f64 = 0.3;
/// A batch may have this much more than the risk, which is nothing but noise.
const NOISE: f64 = 1.05;
/// Batches and memories that are tried before none is told.
const TRIES: u32 = 8;
/// Seats from which on a batch is as the same share of a larger one.
const ALIKE: u64 = 4096;

impl Service<'_> {
    /// The largest batch whose risk is at most `risk`; a threshold stays the same part of it. 0 when not even one sequence
    /// is safe. Where requests arrive, the most seats.
    ///
    /// # Errors
    /// As for [`risk`](Self::risk); a risk outside (0, 1); refused when no batch is confirmed.
    pub fn largest_batch(
        &self,
        batching: Batching,
        capacity: f64,
        risk: f64,
    ) -> Result<Inverse, OccupancyError> {
        check_risk(risk)?;
        self.check(capacity)?;
        let most = 1 << 20;
        if self.arrivals.is_some() && self.is_unlimited(most) {
            let all = batching.with_seats(most);
            let here = self.exposure(all, capacity, risk)?;
            if here <= ln_exposure(risk) && self.confirmed(all, capacity, risk)?.probability <= risk * NEAR {
                let most = f64::from(most);
                return Ok(Inverse { value: most, low: most, high: most });
            }
        }
        let target = ln_exposure(risk);
        // No more than have room at the least that they can hold; no fewer than always fit.
        let high = (capacity / self.lengths.least()).floor().min(f64::from(most)) as u64;
        let low = self.lengths.largest().map_or(0, |most| self.worst_case(capacity, most)).min(high);
        let guess = self.rough_batch(batching, capacity, risk, low, high)?;
        let begun = largest(low, high, guess, target, |seats| {
            self.deadline.check("the largest batch")?;
            // One of some, and then it is confirmed.
            let part = Self { deadline: self.deadline.part(PART), ..*self };
            part.exposure(batching.with_seats(seats as u32), capacity, risk)
        })?;
        // Batches that are confirmed, and that are not.
        let (mut good, mut bad): (Option<(u64, Risk)>, Option<u64>) = (None, None);
        let mut seats = begun;
        for _ in 0..TRIES {
            if seats <= low {
                let low = low as f64;
                return Ok(Inverse { value: low, low, high: low });
            }
            let here = match self.confirmed(batching.with_seats(seats as u32), capacity, risk) {
                Ok(here) => here,
                // What was confirmed stands.
                Err(OccupancyError::Refused { .. }) if good.is_some() => break,
                Err(error) => return Err(error),
            };
            // A sequence more costs what it holds on average.
            let demand = self.demand_like(seats as u32)?;
            let of_a_factor = demand.worth(capacity) * demand.sequences() / demand.mean();
            let off = (here.probability.max(risk * 0.05) / risk).ln().abs().min(2.0);
            let step = ((off * of_a_factor * 0.7).floor() as u64).max(1);
            // At a moment the law is exact; elsewhere samples have their noise.
            let exact = here.method == RiskMethod::ExactLaw;
            if here.probability <= risk * if exact { 1.0 } else { NOISE } {
                good = Some((seats, here));
                let next = (seats + step).min(bad.unwrap_or(high + 1) - 1);
                if here.probability >= risk / NEAR || next == seats {
                    break;
                }
                seats = next;
            } else {
                bad = Some(seats);
                seats = match good {
                    Some((good, _)) if seats - good <= 1 => break,
                    Some((good, _)) => good + (seats - good) / 2,
                    None => seats.saturating_sub(step).max(low),
                };
            }
        }
        let Some((seats, here)) = good else {
            return Err(OccupancyError::Refused {
                what: format!("the largest batch for a risk of {risk:e}"),
                why: format!("none from {seats} to {begun} was confirmed by other random numbers"),
                instead: "draw more samples and give a later deadline".to_owned(),
            });
        };
        let demand = self.demand_like(seats as u32)?;
        let of_a_factor = demand.worth(capacity) * demand.sequences() / demand.mean();
        let [lower, higher] = here.open().map(|ln| ln * of_a_factor);
        let value = seats as f64;
        Ok(Inverse {
            value,
            low: (value - higher.ceil()).max(low as f64),
            high: (value + lower.floor()).min(high as f64),
        })
    }

    /// Whether a plain simulation is all that says something.
    fn is_plain(&self, batching: Batching) -> bool {
        !matches!(batching, Batching::Continuous { .. })
            || self.start == Start::Cold
            || self.order == Order::AsLogged
            || self.arrivals.is_some() && !self.is_unlimited(batching.seats())
    }

    /// The risk by other random numbers, and where there is time by a plain simulation, which counts where it contradicts them.
    fn confirmed(&self, batching: Batching, capacity: f64, risk: f64) -> Result<Risk, OccupancyError> {
        let effort = Effort { seed: self.effort.seed ^ OTHERS, ..self.effort };
        let other = Service { effort, deadline: self.deadline.part(0.5), ..*self };
        let here = other.risk(batching, capacity)?;
        if here.at_most.is_some_and(|most| most > risk * NEAR) {
            return Err(self.too_few(risk));
        }
        if self.is_plain(batching)
            || self.horizon == Horizon::Cycle
            || risk < 1e-3
            || here.probability > risk * NEAR
        {
            return Ok(here);
        }
        let deadline = self.deadline.part(0.1).at_most(Duration::from_millis(400));
        let plain = Service { deadline, ..other };
        let seen = plain.peaks(batching, (ENOUGH / risk) as u64).map(|peaks| plain.counted(&peaks, capacity));
        // It is met more often than it may be for certain.
        Ok(seen.ok().filter(|seen| seen.low > risk * NEAR).unwrap_or(here))
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
            self.deadline.check("the largest batch")?;
            Ok(match batching.with_seats(seats) {
                Batching::Continuous { seats } => {
                    // Clumps are some eight steps long.
                    let clumps = (self.steps() / 8.0).max(1.0);
                    self.demand(seats)?.rough_tail(capacity) + clumps.ln() <= ln_exposure(risk)
                }
                Batching::Threshold(batch) => {
                    let exact = self.exact(batch);
                    exposure(exact.tail(capacity).min(1.0 - 1e-15)) * self.cycles_within(exact.steps())
                        <= exposure(risk)
                }
            })
        };
        let most = match batching {
            Batching::Continuous { .. } => high,
            Batching::Threshold(batch) => {
                let alike = batch.with_seats(high.min(ALIKE) as u32);
                let exact = self.exact(alike);
                let each = (exact.x0() + exact.kappa()) / f64::from(alike.seats());
                let fit = capacity / each;
                if fit > ALIKE as f64 {
                    // Far from one another only by the root of their number.
                    let spread = exact.x0_variance().sqrt() / exact.x0() * (ALIKE as f64 / fit).sqrt();
                    return Ok(((fit * (1.0 - 4.0 * spread)) as u64).clamp(low, high));
                }
                high.min(ALIKE)
            }
        };
        let (mut good, mut bad) = (low.min(most), most + 1);
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

    fn exposure(&self, batching: Batching, capacity: f64, risk: f64) -> Result<f64, OccupancyError> {
        let none = f64::NEG_INFINITY;
        if self.always_fits(batching, capacity) {
            return Ok(none);
        }
        let samples = (self.effort.cycles / 40).max(512);
        let found = match batching {
            Batching::Continuous { .. }
                if self.is_plain(batching) && exposure(risk) * (samples as f64) < 1.0 =>
            {
                return Err(self.too_few(risk));
            }
            Batching::Continuous { seats } => {
                let rough = self.demand(seats)?.rough_tail(capacity);
                let always_full = self.arrivals.is_none() || self.is_unlimited(seats);
                // Far too likely even at a moment: no need for samples.
                if always_full
                    && self.start == Start::Settled
                    && risk < 0.1
                    && rough > (4.0 * risk).ln().max(-5.0)
                {
                    return Ok(ln_exposure(rough.exp().min(1.0 - 1e-12)));
                }
                self.continuous_risk(seats, capacity, samples)?
            }
            Batching::Threshold(batch) => {
                // The mean alone does not fit.
                if self.lengths.as_geometric().is_some() && self.exact(batch).x0() > capacity {
                    return Ok(1.0);
                }
                let cycles =
                    ((1e9 / f64::from(batch.seats())) as u64).clamp(1000, self.effort.cycles.max(1000));
                let quick = Service { effort: Effort { cycles, ..self.effort }, ..*self };
                let cycles = match quick.is_counted() {
                    true => None,
                    false => {
                        Some(simulate_with(batch, self.lengths, quick.effort, self.deadline, self.progress)?)
                    }
                };
                quick.threshold_risk_with(batch, cycles.as_ref(), capacity, true)?
            }
        };
        // Known to be below what was asked: that is enough to go on.
        if found.at_most.is_some_and(|most| most <= risk) {
            Ok(none)
        } else {
            Ok(ln_exposure(found.probability.min(1.0 - 1e-12)))
        }
    }

    /// A risk that was met too seldom.
    fn too_few(&self, risk: f64) -> OccupancyError {
        OccupancyError::Refused {
            what: format!("what has a risk of {risk:e}"),
            why: "a simulation meets it too seldom to count, and for this there is no formula".to_owned(),
            instead: "ask for a larger risk, draw more samples or give a later deadline".to_owned(),
        }
    }

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
        let least = whole(largest.unwrap_or(1.0));
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
            what: format!("the memory for a risk of {risk:e}"),
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
        if self.order == Order::AsLogged || (self.arrivals.is_some() && !self.is_unlimited(seats)) {
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
        let needed = self.lengths.largest().unwrap_or(1.0);
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
