//! How long requests wait, counted in classes a twentieth apart.

use serde::{Deserialize, Serialize};

/// The ratio of one class to the next.
const RATIO: f64 = 1.05;

/// Counts of waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits {
    /// By class; class 0 is no wait at all.
    counts: Vec<u64>,
    sum: f64,
}

/// How long requests wait for a seat, in decode steps.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WaitingTime {
    /// On average.
    pub mean_steps: f64,
    /// The standard error of that.
    pub standard_error_steps: f64,
    /// Half of them wait no longer.
    pub median_steps: f64,
    /// Nineteen of twenty wait no longer.
    pub p95_steps: f64,
    /// Ninety-nine of a hundred wait no longer.
    pub p99_steps: f64,
    /// The part of requests that waits at all.
    pub waiting_ratio: f64,
}

impl Waits {
    pub(crate) fn add(&mut self, steps: f64) {
        let class = ((1.0 + steps).ln() / RATIO.ln()).ceil() as usize;
        if self.counts.len() <= class {
            self.counts.resize(class + 1, 0);
        }
        self.counts[class] += 1;
        self.sum += steps;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, more)| *sum += more);
        self.sum += other.sum;
    }

    /// The sum of all waits, and how many there were.
    pub(crate) fn totals(&self) -> (f64, f64) {
        (self.sum, self.counts.iter().sum::<u64>() as f64)
    }

    /// With the standard error of the mean. `None` where nobody came.
    pub(crate) fn times(&self, standard_error_steps: f64) -> Option<WaitingTime> {
        let (sum, count) = self.totals();
        let within = |part: f64| {
            let wanted = part * count;
            let mut seen = 0.0;
            let class = self.counts.iter().position(|&here| {
                seen += here as f64;
                seen >= wanted
            });
            RATIO.powi(class.unwrap_or(0) as i32) - 1.0
        };
        (count > 0.0).then(|| WaitingTime {
            mean_steps: sum / count,
            standard_error_steps,
            median_steps: within(0.5),
            p95_steps: within(0.95),
            p99_steps: within(0.99),
            waiting_ratio: 1.0 - self.counts[0] as f64 / count,
        })
    }
}
