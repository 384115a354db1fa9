//! Which predictions hold: those that are off by no more than their limit, or by less than two standard errors.

use vramkit_occupancy::Estimate;

use crate::report::{Errors, Measured, Measurement, Predicted, Prediction, RelativeErrors, Tail, Verdict};

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

/// Verdicts on all predictions, and notes on what so few cycles cannot tell. `simulated` are X0, Xmax and κ of the simulation.
pub(crate) fn verdicts(
    measured: &Measured,
    predicted: &Predicted,
    simulated: Option<[Estimate; 3]>,
    tail: &Tail,
    notes: &mut Vec<String>,
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut unsure = Vec::new();
    for ((prediction, limits), figures) in
        LIMITS.into_iter().zip([&predicted.published, &predicted.corrected, &predicted.exact])
    {
        let errors = ratios(measured, figures);
        for (at, (quantity, measurement)) in quantities(measured).into_iter().enumerate() {
            let sampled =
                simulated.filter(|_| prediction == "exact").map_or(0.0, |all| all[at].standard_error);
            let standard_error_ratio =
                measurement.standard_error_tokens.map(|error| error.hypot(sampled) / measurement.mean_tokens);
            let allowed = limits[at].max(2.0 * standard_error_ratio.unwrap_or(0.0));
            if allowed > limits[at] {
                unsure.push(format!("{quantity} of {prediction}"));
            }
            verdicts.push(Verdict {
                quantity,
                prediction,
                limit_ratio: limits[at],
                error_ratio: errors[at],
                standard_error_ratio,
                passed: errors[at].is_some_and(|error| error <= allowed),
            });
        }
    }
    if !unsure.is_empty() {
        notes.push(format!(
            "so few cycles cannot tell {} to its limit: two standard errors are more, and count instead",
            unsure.join(", ")
        ));
    }
    for (prediction, valid, limit_ratio) in [
        ("published", tail.published_valid_ratio, 0.10),
        ("published_finite", tail.published_finite_valid_ratio, 0.10),
        ("corrected", tail.corrected_valid_ratio, 0.05),
    ] {
        let error_ratio = valid.map(|valid| 1.0 - valid);
        // The standard error is in each threshold's own verdict.
        let passed = error_ratio.is_some_and(|error| error <= limit_ratio + 1e-9);
        let standard_error_ratio = None;
        verdicts.push(Verdict {
            quantity: "tail",
            prediction,
            limit_ratio,
            error_ratio,
            standard_error_ratio,
            passed,
        });
    }
    verdicts
}
