//! Which predictions hold: those that are off by no more than their limit, or by less than two standard errors.

use vramkit_occupancy::Estimate;

use crate::report::{
    Errors, Measured, Measurement, Outcome, Predicted, Prediction, RelativeErrors, Tail, Verdict,
};

/// What X0, Xmax and κ may be off. Of the published formulas as their authors' experiment has it.
const LIMITS: [(&str, [f64; 3]); 3] =
    [("published", [0.10, 0.15, 0.20]), ("corrected", [0.03, 0.03, 0.10]), ("exact", [0.02, 0.02, 0.05])];

/// How far off all predictions are.
pub(crate) fn errors(measured: &Measured, predicted: &Predicted) -> Errors {
    let of = |prediction: &Prediction| {
        let [x0_ratio, xmax_ratio, kappa_ratio] = ratios(measured, prediction);
        RelativeErrors { x0_ratio, xmax_ratio, kappa_ratio }
    };
    Errors {
        published: of(&predicted.published),
        corrected: of(&predicted.corrected),
        exact: of(&predicted.exact),
    }
}

fn ratios(measured: &Measured, prediction: &Prediction) -> [Option<f64>; 3] {
    let figures = [prediction.x0_tokens, prediction.xmax_tokens, prediction.kappa_tokens];
    let mut figures = figures.into_iter();
    quantities(measured).map(|(_, measured)| {
        let off = figures.next().flatten()? - measured.mean_tokens;
        Some(off.abs() / measured.mean_tokens)
    })
}

fn quantities(measured: &Measured) -> [(&'static str, Measurement); 3] {
    [("x0", measured.x0), ("xmax", measured.xmax), ("kappa", measured.sup_y)]
}

/// Verdicts on all predictions, and a note on what so few cycles cannot tell. `simulated` are X0, Xmax and κ of the simulation.
pub(crate) fn verdicts(
    measured: &Measured,
    predicted: &Predicted,
    simulated: Option<[Estimate; 3]>,
    tail: &Tail,
    notes: &mut Vec<String>,
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for ((prediction, limits), figures) in
        LIMITS.into_iter().zip([&predicted.published, &predicted.corrected, &predicted.exact])
    {
        let errors = ratios(measured, figures);
        for (at, (quantity, measurement)) in quantities(measured).into_iter().enumerate() {
            let sampled =
                simulated.filter(|_| prediction == "exact").map_or(0.0, |all| all[at].standard_error);
            let standard_error_ratio =
                measurement.standard_error_tokens.map(|error| error.hypot(sampled) / measurement.mean_tokens);
            // Of one cycle nobody knows how far it is from the mean.
            let unsure = 2.0 * standard_error_ratio.unwrap_or(f64::INFINITY);
            let outcome = match errors[at] {
                None => Outcome::NotKnown,
                Some(error) if error > limits[at].max(unsure) => Outcome::DoesNotHold,
                Some(_) if unsure > limits[at] => Outcome::TooFewCycles,
                Some(_) => Outcome::Holds,
            };
            let limit_ratio = limits[at];
            verdicts.push(verdict(
                (quantity, prediction),
                limit_ratio,
                errors[at],
                standard_error_ratio,
                outcome,
            ));
        }
    }
    for (prediction, valid, limit_ratio) in [
        ("published", tail.published_valid_ratio, 0.10),
        ("published_finite", tail.published_finite_valid_ratio, 0.10),
        ("corrected", tail.corrected_valid_ratio, 0.05),
    ] {
        let error_ratio = valid.map(|valid| 1.0 - valid);
        let undecided = tail.undecided_thresholds as f64 / tail.thresholds.len().max(1) as f64;
        let outcome = match error_ratio {
            None => Outcome::NotKnown,
            Some(error) if error > limit_ratio + 1e-9 => Outcome::DoesNotHold,
            Some(error) if error + undecided > limit_ratio + 1e-9 => Outcome::TooFewCycles,
            Some(_) => Outcome::Holds,
        };
        // The standard errors are in each threshold's own.
        verdicts.push(verdict(("tail", prediction), limit_ratio, error_ratio, None, outcome));
    }
    let unsure: Vec<String> = verdicts
        .iter()
        .filter(|verdict| verdict.outcome == Outcome::TooFewCycles)
        .map(|verdict| format!("{} {}", verdict.prediction.replace('_', " "), verdict.quantity))
        .collect();
    if !unsure.is_empty() {
        notes.push(format!(
            "too few cycles to hold these to their limits, which two standard errors pass: {}",
            unsure.join(", ")
        ));
    }
    verdicts
}

fn verdict(
    (quantity, prediction): (&'static str, &'static str),
    limit_ratio: f64,
    error_ratio: Option<f64>,
    standard_error_ratio: Option<f64>,
    outcome: Outcome,
) -> Verdict {
    let passed = matches!(outcome, Outcome::Holds | Outcome::TooFewCycles);
    Verdict { quantity, prediction, limit_ratio, error_ratio, standard_error_ratio, passed, outcome }
}
