//! What a log's finite number of requests leaves open: how far a probability could lie from what the log says, had other requests been
//! logged.
//!
//! Near its mean a total is normal, far from it its tail goes by K(t), the logarithm of its moment generating function; both are in
//! w = ±√(2(tC − N·K(t))), in which P(D > C) ≈ Φ(−w) (Lugannani and Rice, "Saddle point approximation for the distribution of the
//! sum of independent random variables", 1980). What each request adds to K(t) gives the standard error of w by the delta method.
//! Requests are taken to be independent of each other.

use statrs::distribution::{ContinuousCDF as _, StudentsT};
use statrs::function::erf::erfc;

use crate::demand::{Population, TokenDemand};
use crate::inversion::exposure;
use crate::lengths::RequestLengths;
use crate::tilted::{Tilted, weight};

/// Fewer requests say nothing of how they differ.
const FEWEST: usize = 3;

impl TokenDemand {
    /// By how much ln(−ln(1 − P)) could be lower and higher, within two standard errors, where P is the probability of being over a
    /// capacity at a moment. Nothing for a formula, anything for a handful of requests.
    pub(crate) fn left_open(&self, capacity: f64, at_a_moment: f64) -> [f64; 2] {
        let Some(requests) = self.lengths.requests() else { return [0.0, 0.0] };
        let count = requests.len() as f64;
        if requests.len() < FEWEST {
            return [f64::INFINITY, f64::INFINITY];
        }
        let block = f64::from(self.block);
        let spread = self.variance().sqrt().max(1.0);
        let longest = self.lengths.largest().unwrap_or(1.0).max(1.0);
        // At the mean itself both w and what it is computed from vanish.
        let tilt = self.tilt_of(capacity).max(-300.0 / longest);
        let tilt = if tilt.abs() < 1e-3 / spread { 1e-3 / spread } else { tilt };
        let here = self.total_at(tilt * block);
        let w = (2.0 * (tilt * block * here.mean - here.k)).max(1e-12).sqrt() * tilt.signum();
        let adds = Adds::new(self, tilt);
        let squares: f64 = requests
            .iter()
            .map(|request| adds.of(f64::from(request.prompt), f64::from(request.output)).powi(2))
            .sum();
        let error = squares.sqrt() / count / w.abs();
        // As few requests are as they are, two standard errors of theirs are more.
        let wide = StudentsT::new(0.0, 1.0, count - 1.0).map_or(2.0, |law| law.inverse_cdf(0.977_25));
        // One more request might be longer than all that were seen.
        let more = beyond(requests);
        let largest = requests
            .iter()
            .map(|request| (request.prompt, request.output))
            .max_by_key(|&(prompt, output)| u64::from(output) * (2 * u64::from(prompt) + u64::from(output)));
        let (prompt, output) =
            largest.map_or((1.0, 1.0), |(prompt, output)| (f64::from(prompt), f64::from(output)));
        // But no longer than a model takes.
        let context = self.lengths.context.map_or(f64::INFINITY, f64::from);
        let cap = self.lengths.max_output.map_or(f64::INFINITY, f64::from);
        let prompt = (prompt * more).min((context - 1.0).max(prompt));
        let output = (output * more).min(cap).min((context - prompt).max(1.0));
        let one_more = adds.of(prompt, output).abs() / count / w.abs();
        let known = ln_exposure_at(at_a_moment, w, w);
        [
            known - ln_exposure_at(at_a_moment, w, w + wide * error),
            ln_exposure_at(at_a_moment, w, w - wide * error - one_more) - known,
        ]
    }
}

/// How much longer than the longest request the longest of six times as many may be: by the tail's exponent (Hill, "A simple
/// general approach to inference about the tail of a distribution", 1975).
fn beyond(requests: &[RequestLengths]) -> f64 {
    let mut sizes: Vec<f64> =
        requests.iter().map(|request| f64::from(request.prompt) + f64::from(request.output)).collect();
    sizes.sort_unstable_by(|a, b| b.total_cmp(a));
    let top = (sizes.len() as f64).sqrt().ceil() as usize;
    let Some(&least) = sizes.get(top) else { return 1.0 };
    let exponent = sizes[..top].iter().map(|size| (size / least).ln()).sum::<f64>() / top as f64;
    6f64.powf(exponent.min(1.0))
}

/// What a request adds to K(t) of all sequences.
struct Adds {
    tilt: f64,
    /// Tokens at which weights are 1, so that none overflows.
    origin: f64,
    mean: f64,
    mean_output: f64,
    population: Population,
}

impl Adds {
    fn new(demand: &TokenDemand, tilt: f64) -> Self {
        let tilted = Tilted::new(&demand.lengths, tilt);
        let count = demand.lengths.requests().map_or(1.0, |requests| requests.len() as f64);
        Self {
            tilt,
            origin: demand.lengths.largest().unwrap_or(0.0),
            mean: tilted.weights().sum::<f64>() / count,
            mean_output: demand.lengths.mean_output(),
            population: demand.population,
        }
    }

    fn of(&self, prompt: f64, output: f64) -> f64 {
        let weight = weight(self.tilt, prompt, output, self.origin);
        match self.population {
            Population::Seats(seats) => f64::from(seats) * (weight / self.mean - output / self.mean_output),
            Population::Arrivals { per_step } => {
                per_step
                    * ((weight - self.mean) * (self.tilt * self.origin).exp() - (output - self.mean_output))
            }
        }
    }
}

/// ln(−ln(1 − P)) where w is `there` instead of `here`, at which it is a known P.
fn ln_exposure_at(known: f64, here: f64, there: f64) -> f64 {
    let known = known.clamp(1e-300, 1.0 - 1e-15);
    if here > 0.0 && there > 0.0 {
        let ln = known.ln() + ln_upper(there) - ln_upper(here);
        return if ln > -1e-9 {
            36f64.ln()
        } else if ln < -30.0 {
            ln
        } else {
            exposure(ln.exp()).ln()
        };
    }
    // On the other side it is the rest that is known to all its digits.
    let rest = (1.0 - known).ln() + ln_upper(-there) - ln_upper(-here);
    (-rest.min(-1e-300)).ln()
}

/// ln P(Z > z) of the normal law.
fn ln_upper(z: f64) -> f64 {
    if z < 30.0 {
        return (0.5 * erfc(z / std::f64::consts::SQRT_2)).ln();
    }
    -0.5 * z * z - (z * std::f64::consts::TAU.sqrt()).ln() - (1.0 / (z * z)).ln_1p()
}
