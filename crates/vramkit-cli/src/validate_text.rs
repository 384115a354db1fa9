//! What `validate` found, to be read.

use vramkit_ask::{ValidateReport, Verdict};

use crate::output::{BAD, BOLD, DIM, GOOD, table};

/// The predictions, in columns.
const PREDICTIONS: [&str; 3] = ["published", "corrected", "exact"];

pub fn text(report: &ValidateReport) -> String {
    let of = &report.parameters;
    let p = of.termination.map_or_else(|| "not known".to_owned(), |p| format!("{p:.5}"));
    let mut out = format!(
        "{BOLD}{}{BOLD:#}: {} cycles of {} sequences, replaced {} at a time; prompts of {:.1} tokens, outputs of {:.1}, p {p}\n",
        report.dataset,
        of.num_cycles,
        of.batch_size,
        of.switching_threshold,
        of.mean_prompt_tokens,
        of.mean_output_tokens
    );
    let measured =
        [("X0", report.measured.x0), ("Xmax", report.measured.xmax), ("kappa", report.measured.sup_y)];
    let quantities = ["x0", "xmax", "kappa"];
    let mut rows =
        vec![["tokens", "measured"].into_iter().chain(PREDICTIONS).map(String::from).collect::<Vec<_>>()];
    for ((name, measurement), quantity) in measured.into_iter().zip(quantities) {
        let error =
            measurement.standard_error_tokens.map_or_else(String::new, |error| format!(" ± {error:.1}"));
        let mut row = vec![name.to_owned(), format!("{:.1}{error}", measurement.mean_tokens)];
        row.extend(PREDICTIONS.map(|prediction| {
            let figure = figure(report, prediction, quantity);
            let verdict = verdict(report, prediction, quantity);
            match (figure, verdict.and_then(|verdict| verdict.error_ratio)) {
                (Some(figure), Some(_)) => {
                    let off = 100.0 * (figure / measurement.mean_tokens - 1.0);
                    format!("{figure:.1} ({off:+.1} %)")
                }
                _ => "cannot be said".to_owned(),
            }
        }));
        rows.push(row);
    }
    out += &table(&rows);
    let bound = |name: &str, ratio: Option<f64>| match ratio {
        Some(ratio) => format!("{name} {:.0} %", 100.0 * ratio),
        None => format!("{name} cannot be said"),
    };
    let tail = &report.tail;
    out += &format!(
        "  bounds on sup Y, valid at so many of {} thresholds: {}, {}, {}\n",
        tail.thresholds.len(),
        bound("published", tail.published_valid_ratio),
        bound("published with the finite variance", tail.published_finite_valid_ratio),
        bound("corrected", tail.corrected_valid_ratio),
    );
    for prediction in ["published", "published_finite", "corrected", "exact"] {
        let failed: Vec<&str> =
            of_prediction(report, prediction).filter(|v| !v.passed).map(|v| v.quantity).collect();
        let name = prediction.replace('_', " with the ");
        let name = if prediction == "published_finite" { format!("{name} variance") } else { name };
        out += &match failed.is_empty() {
            true => format!("  {GOOD}{name} holds{GOOD:#}\n"),
            false => format!("  {BAD}{name} does not hold{BAD:#}: {}\n", failed.join(", ")),
        };
    }
    let memory = &report.memory;
    let device = memory.device_peak_bytes.map_or_else(|| "not said".to_owned(), |bytes| bytes.to_string());
    out += &format!(
        "  weights {}, cache up to {}, committed {}, by the device {device}; {} left after unloading\n",
        memory.weights_bytes,
        memory.peak_kv_bytes,
        memory.peak_committed_bytes,
        memory.used_after_unload_bytes
    );
    if let Some(limit) = report.limit {
        out += &format!(
            "  limited to {}, a sequence made way in {:.1} ± {:.1} % of cycles\n",
            limit.kv_limit_bytes,
            100.0 * limit.preempting_ratio,
            100.0 * limit.standard_error_ratio
        );
    }
    for note in &report.notes {
        out += &format!("  {DIM}{note}{DIM:#}\n");
    }
    out
}

fn of_prediction<'a>(report: &'a ValidateReport, prediction: &'a str) -> impl Iterator<Item = &'a Verdict> {
    report.verdicts.iter().filter(move |verdict| verdict.prediction == prediction)
}

fn verdict<'a>(report: &'a ValidateReport, prediction: &'a str, quantity: &str) -> Option<&'a Verdict> {
    of_prediction(report, prediction).find(|verdict| verdict.quantity == quantity)
}

fn figure(report: &ValidateReport, prediction: &str, quantity: &str) -> Option<f64> {
    let figures = match prediction {
        "published" => report.predicted.published,
        "corrected" => report.predicted.corrected,
        _ => report.predicted.exact,
    };
    match quantity {
        "x0" => figures.x0_tokens,
        "xmax" => figures.xmax_tokens,
        _ => figures.kappa_tokens,
    }
}
