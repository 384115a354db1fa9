//! How often cycles rise by more than so much, beside the bounds.
//!
//! The published bound is exp(−2|d|x/v). The corrected one is Lundberg's, exp(−r(x − N)) with the exponent r of the measured
//! lengths: the N tokens of a step stand before anything is given back. It takes a sequence to end in any step alike; where the
//! simulation of the measured lengths shows more, it is no bound, and what is shown stands instead.

use crate::prediction::Models;
use crate::report::{Tail, Threshold};
use crate::series;

const THRESHOLDS: usize = 20;
const FIRST: f64 = 0.50;
const LAST: f64 = 0.99;

/// The tail of what cycles rose by, tokens each.
pub(crate) fn tail(rises: &[f64], models: &Models) -> Tail {
    let mut sorted = rises.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let thresholds: Vec<Threshold> = (0..THRESHOLDS)
        .map(|at| {
            let share = FIRST + (LAST - FIRST) * at as f64 / (THRESHOLDS - 1) as f64;
            threshold(percentile(&sorted, share), rises, models)
        })
        .collect();
    let valid = |bound: fn(&Threshold) -> Option<f64>| {
        let holds = |each: &Threshold| Some(each.observed - 2.0 * each.standard_error <= bound(each)?);
        let all: Option<Vec<bool>> = thresholds.iter().map(holds).collect();
        all.map(|all| all.iter().filter(|holds| **holds).count() as f64 / THRESHOLDS as f64)
    };
    Tail {
        published_valid_ratio: valid(|each| each.published),
        published_finite_valid_ratio: valid(|each| each.published_finite),
        corrected_valid_ratio: valid(|each| each.corrected),
        undecided_thresholds: thresholds
            .iter()
            .filter(|each| each.observed - 2.0 * each.standard_error <= 0.0)
            .count(),
        corrected_from_simulation: thresholds.iter().filter(|each| each.corrected == each.exact).count(),
        thresholds,
    }
}

/// Between the two values that it lies between.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

fn threshold(tokens: f64, rises: &[f64], models: &Models) -> Threshold {
    let over: Vec<f64> = rises.iter().map(|&rise| f64::from(u8::from(rise > tokens))).collect();
    let found = series::mean(&over);
    let (observed, count) = (found.mean, rises.len() as f64);
    // As independent cycles would have at least; of few cycles that all agree, a share of one of them.
    let least = (observed * (1.0 - observed) / count).sqrt().max(1.0 / count);
    let exact = models.simulated.as_ref().map(|cycles| cycles.rising(tokens).mean);
    let seats = f64::from(models.batch.seats());
    let bound = (-models.exponent * (tokens - seats).max(0.0)).exp();
    Threshold {
        tokens,
        observed,
        standard_error: found.standard_error.unwrap_or(0.0).max(least),
        published: models.published.map(|formulas| formulas.tail(tokens)),
        published_finite: models.published.map(|formulas| formulas.finite_tail(tokens)),
        corrected: exact.map(|exact| bound.max(exact)),
        exact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_between_values() {
        let sorted = [1.0, 2.0, 3.0];
        assert_eq!([0.0, 0.5, 0.75, 1.0].map(|share| percentile(&sorted, share)), [1.0, 2.0, 2.5, 3.0]);
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
    }
}
