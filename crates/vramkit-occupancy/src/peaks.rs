//! The most tokens of whole horizons, simulated one by one: what a risk, or the memory for it, can be counted from whatever the
//! traffic is like.

use rayon::prelude::*;

use crate::deadline::Deadline;
use crate::error::OccupancyError;
use crate::inversion::{Inverse, digits, exposure, risk_of};
use crate::waits::{WaitingTime, Waits};

/// Batches that are run side by side.
const ROUND: u64 = 16;
/// Fewer say nothing.
pub(crate) const FEWEST: usize = 64;
/// Exceedances that a count must have met to stand.
const MET: f64 = 10.0;

/// What one horizon showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) peak: f64,
    pub(crate) waits: Waits,
}

/// Peaks of horizons that are independent of each other.
#[derive(Clone, Debug)]
pub(crate) struct Peaks {
    /// The lowest first.
    peaks: Vec<f64>,
    /// How many of these the horizon asked about is long.
    pub(crate) times: f64,
    waits: Waits,
    /// Of each horizon.
    waited: Vec<(f64, f64)>,
}

impl Peaks {
    /// Up to `most` horizons, as many as a deadline leaves time for; `some` gives those of one batch after another, fewer when it is
    /// late. The horizon asked about is `times` as long.
    ///
    /// # Errors
    /// Refused when there is time for hardly any.
    pub(crate) fn simulate(
        most: u64,
        times: f64,
        deadline: Deadline,
        some: impl Fn(u64) -> Vec<Seen> + Sync,
    ) -> Result<Self, OccupancyError> {
        let mut seen: Vec<Seen> = Vec::new();
        let mut batches = 0;
        while (seen.len() as u64) < most && !deadline.has_passed() {
            let round: Vec<Vec<Seen>> = (batches..batches + ROUND).into_par_iter().map(&some).collect();
            seen.extend(round.into_iter().flatten());
            batches += ROUND;
        }
        seen.truncate(most as usize);
        if seen.len() < FEWEST.min(most as usize) {
            return Err(Deadline::refused("a simulation of the horizon"));
        }
        let waited = seen.iter().map(|one| one.waits.totals()).collect();
        let mut waits = Waits::default();
        seen.iter().for_each(|one| waits.merge(&one.waits));
        let mut peaks: Vec<f64> = seen.into_iter().map(|one| one.peak).collect();
        peaks.sort_unstable_by(f64::total_cmp);
        Ok(Self { peaks, times, waits, waited })
    }

    /// How long requests waited; `None` where nobody came.
    pub(crate) fn waiting(&self) -> Option<WaitingTime> {
        // Of a ratio of sums over horizons, which are independent of each other.
        let (sum, count) =
            self.waited.iter().fold((0.0, 0.0), |(sum, count), &(more, of)| (sum + more, count + of));
        let squares: f64 = self.waited.iter().map(|&(more, of)| (more - of * sum / count).powi(2)).sum();
        self.waits.times(squares.sqrt() / count)
    }

    /// Horizons whose peak is over a capacity.
    pub(crate) fn over(&self, capacity: f64) -> f64 {
        (self.peaks.len() - self.peaks.partition_point(|&peak| peak <= capacity)) as f64
    }

    /// The risk of the horizon asked about, and the two between which it is within two standard errors (Wilson, "Probable
    /// inference", 1927).
    pub(crate) fn risk(&self, capacity: f64) -> Inverse {
        let [value, low, high] = self.parts(self.over(capacity)).map(|part| self.of_all(part));
        Inverse { value, low, high }
    }

    /// The highest.
    pub(crate) fn most(&self) -> f64 {
        self.peaks.last().copied().unwrap_or(0.0)
    }

    /// Whether a risk as small as this can be counted.
    pub(crate) fn can_count(&self, risk: f64) -> bool {
        self.of_one(risk) * self.peaks.len() as f64 >= MET
    }

    fn parts(&self, met: f64) -> [f64; 3] {
        let count = self.peaks.len() as f64;
        let (part, z2) = (met / count, 4.0);
        let middle = (part + z2 / (2.0 * count)) / (1.0 + z2 / count);
        let reach =
            (z2 * (part * (1.0 - part) / count + z2 / (4.0 * count * count))).sqrt() / (1.0 + z2 / count);
        let low = if met == 0.0 { 0.0 } else { (middle - reach).max(0.0) };
        [part, low, if met >= count { 1.0 } else { (middle + reach).min(1.0) }]
    }

    /// The risk of all that was asked about, from that of one of these.
    fn of_all(&self, part: f64) -> f64 {
        if part >= 1.0 { 1.0 } else { risk_of(exposure(part) * self.times) }
    }

    fn of_one(&self, risk: f64) -> f64 {
        risk_of(exposure(risk) / self.times)
    }

    /// The capacity that has a risk, and the two between which it is within two standard errors.
    ///
    /// # Errors
    /// Refused where these horizons are too few to meet it.
    pub(crate) fn quantile(&self, risk: f64) -> Result<Inverse, OccupancyError> {
        let part = self.of_one(risk);
        let count = self.peaks.len() as f64;
        if !self.can_count(risk) {
            return Err(OccupancyError::Refused {
                what: format!("the memory for a risk of {}", digits(risk)),
                why: format!("{count} simulated horizons are too few to meet it {MET} times"),
                instead: "ask for a larger risk or give a later deadline".to_owned(),
            });
        }
        // So many may be over it.
        let met = (part * count).floor();
        let reach = 2.0 * (count * part * (1.0 - part)).sqrt();
        let at = |met: f64| {
            let over = met.clamp(0.0, count - 1.0) as usize;
            self.peaks[self.peaks.len() - 1 - over]
        };
        Ok(Inverse { value: at(met), low: at(met + reach), high: at(met - reach) })
    }
}
