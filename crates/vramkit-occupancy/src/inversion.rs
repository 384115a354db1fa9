//! From a risk back to the batch or the memory that has it, with an interval.
//!
//! Risks differ by orders of magnitude from one batch to the next, so all is done on the logarithm of the exposure,
//! ln(−ln(1 − risk)), which is nearly straight in the batch: a few evaluations suffice.

use serde::{Deserialize, Serialize};

use crate::error::OccupancyError;

/// An answer, and the two values between which it lies within two standard errors.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Inverse {
    /// The answer.
    pub value: f64,
    /// It may be as low as this.
    pub low: f64,
    /// Or as high as this.
    pub high: f64,
}

/// −ln(1 − risk): what adds up where chances of staying within multiply.
pub(crate) fn exposure(risk: f64) -> f64 {
    -(-risk).ln_1p()
}

/// The risk of an exposure, which stays a probability whatever is added or multiplied.
pub(crate) fn risk_of(exposure: f64) -> f64 {
    -(-exposure).exp_m1()
}

/// A risk in no more digits than anybody reads: `1e-2`, `2.01e-3`.
pub(crate) fn digits(risk: f64) -> String {
    let text = format!("{risk:.2e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        None => text,
    }
}

pub(crate) fn ln_exposure(risk: f64) -> f64 {
    exposure(risk).ln()
}

/// The largest whole number in `low..=high` at which ln(−ln(1 − risk)), which grows with it, is at most `target`. `low` is known to
/// be good and is not evaluated. Begins at `guess` and goes out from there in growing strides.
pub(crate) fn largest(
    low: u64,
    high: u64,
    guess: u64,
    target: f64,
    mut at: impl FnMut(u64) -> Result<f64, OccupancyError>,
) -> Result<u64, OccupancyError> {
    let (mut good, mut bad) = (low, high + 1);
    let (mut at_good, mut at_bad): (Option<f64>, Option<f64>) = (None, None);
    let mut next = guess;
    let mut stride = 1 + guess / 64;
    let mut evaluated = 0_u32;
    while bad - good > 1 {
        evaluated += 1;
        next = next.clamp(good + 1, bad - 1);
        let here = at(next)?;
        if here <= target {
            (good, at_good) = (next, Some(here))
        } else {
            (bad, at_bad) = (next, Some(here))
        }
        next = match (at_good, at_bad) {
            // Now and then by half, so that no curve makes it slow.
            (Some(below), Some(above))
                if below.is_finite() && above > below && !evaluated.is_multiple_of(3) =>
            {
                let part = (target - below) / (above - below);
                // Not nearer to either end than an eighth, so that a crooked curve cannot make it slow.
                good + ((bad - good) as f64 * part.clamp(0.125, 0.875)).round() as u64
            }
            (Some(_), Some(_)) => good + (bad - good) / 2,
            (Some(_), None) => good + stride,
            _ => bad.saturating_sub(stride),
        };
        stride = stride.saturating_mul(4);
    }
    Ok(good)
}
