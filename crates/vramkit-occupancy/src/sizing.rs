//! Which batch has a risk: the inverse of [`Service::risk`], confirmed by other random numbers than it was found with before it is
//! told.

use std::time::Duration;

use crate::cycles::{Effort, simulate_with};
use crate::error::OccupancyError;
use crate::inversion::{Inverse, digits, exposure, largest, ln_exposure};
use crate::limits::{ENOUGH, MAX_SEATS};
use crate::risk::{Risk, RiskMethod, check_risk};
use crate::service::{Batching, Horizon, Service};
use crate::simulation::Start;

/// What the random numbers of a confirmation start from, beside the seed.
const OTHERS: u64 = 0x7e57_0000;
/// A risk that is confirmed to be this many times what was asked is not what was asked.
pub(crate) const NEAR: f64 = 1.25;
/// What one look at a batch takes of the time that is left.
const PART: f64 = 0.3;
/// A batch may have this much more than the risk, which is nothing but noise.
const NOISE: f64 = 1.05;
/// Batches and memories that are tried before none is told.
pub(crate) const TRIES: u32 = 8;
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
        if self.is_unlimited(MAX_SEATS) {
            let all = batching.with_seats(MAX_SEATS);
            let here = self.exposure(all, capacity, risk)?;
            if here <= ln_exposure(risk) && self.confirmed(all, capacity, risk)?.probability <= risk * NEAR {
                let most = f64::from(MAX_SEATS);
                return Ok(Inverse { value: most, low: most, high: most });
            }
        }
        let target = ln_exposure(risk);
        // No more than have room at the least that they can hold; no fewer than always fit.
        let high = (capacity / self.lengths.least()).floor().min(f64::from(MAX_SEATS)) as u64;
        let most = self.lengths.largest_granted(self.block);
        let low = most.map_or(0, |most| (capacity / most).floor() as u64).min(high);
        let guess = self.rough_batch(batching, capacity, risk, low, high)?;
        let begun = largest(low, high, guess, target, |seats| {
            self.deadline.check("the largest batch")?;
            // One of some, and then it is confirmed.
            let part = Self { deadline: self.deadline.part(PART), ..*self };
            part.exposure(batching.with_seats(seats as u32), capacity, risk)
        })?;
        // Batches that are confirmed, and that are not.
        let mut good: Option<(u64, Inverse)> = None;
        let mut bad: Option<u64> = None;
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
                let [lower, higher] = here.open().map(|ln| ln * of_a_factor);
                let value = seats as f64;
                let found = Inverse {
                    value,
                    low: (value - higher.ceil()).max(low as f64),
                    high: (value + lower.floor()).min(high as f64),
                };
                good = Some((seats, found));
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
        let none = || OccupancyError::Refused {
            what: format!("the largest batch for a risk of {}", digits(risk)),
            why: format!("none from {seats} to {begun} was confirmed by other random numbers"),
            instead: "draw more samples and give a later deadline".to_owned(),
        };
        good.map(|(_, found)| found).ok_or_else(none)
    }

    /// Whether a plain simulation is all that says something.
    pub(crate) fn is_plain(&self, batching: Batching) -> bool {
        !matches!(batching, Batching::Continuous { .. })
            || self.start == Start::Cold
            || self.is_simulated(batching.seats())
    }

    /// The risk by other random numbers, and where there is time by a plain simulation, which counts where it contradicts them.
    pub(crate) fn confirmed(
        &self,
        batching: Batching,
        capacity: f64,
        risk: f64,
    ) -> Result<Risk, OccupancyError> {
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
        let seen = plain
            .peaks(batching, (ENOUGH / risk) as u64)
            .map(|peaks| plain.counted(&peaks, batching, capacity));
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

    pub(crate) fn exposure(
        &self,
        batching: Batching,
        capacity: f64,
        risk: f64,
    ) -> Result<f64, OccupancyError> {
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
                let always_full = !self.has_queue(seats);
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
    pub(crate) fn too_few(&self, risk: f64) -> OccupancyError {
        OccupancyError::Refused {
            what: format!("what has a risk of {}", digits(risk)),
            why: "a simulation meets it too seldom to count, and for this there is no formula".to_owned(),
            instead: "ask for a larger risk, draw more samples or give a later deadline".to_owned(),
        }
    }
}
