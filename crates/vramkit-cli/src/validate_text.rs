//! What `validate` found, to be read.

use vramkit_ask::{ValidateOutcome, ValidateReport, Verdict};

use crate::output::{BAD, BOLD, DIM, GOOD, table};
use crate::printable::printable;

/// The predictions, in columns.
const PREDICTIONS: [&str; 3] = ["published", "corrected", "exact"];
const QUANTITIES: [(&str, &str); 3] = [
    ("X0, held as decoding starts", "x0"),
    ("Xmax, most held in a cycle", "xmax"),
    ("kappa, growth in a cycle", "kappa"),
];

pub fn text(report: &ValidateReport) -> String {
    let mut out = head(report) + &figures(report) + &bounds(report) + &verdicts(report) + &memory(report);
    for note in &report.notes {
        // Some have words of the data in them.
        out += &format!("  {DIM}{}{DIM:#}\n", printable(note));
    }
    out
}

fn head(report: &ValidateReport) -> String {
    let of = &report.parameters;
    let p = match of.termination {
        Some(p) => format!("p {p:.5} (outputs that ended of themselves, over decode steps)"),
        None => "no output ended of itself".to_owned(),
    };
    format!(
        "{BOLD}{}{BOLD:#}: {} cycles after {} to warm up; {} sequences, replaced when {} have ended\n  {} requests, prompts of {:.1} and \
         outputs of {:.1} tokens on average; {p}\n",
        report.dataset,
        of.num_cycles,
        of.warmup_cycles,
        of.batch_size,
        of.switching_threshold,
        of.requests,
        of.mean_prompt_tokens,
        of.mean_output_tokens
    )
}

fn figures(report: &ValidateReport) -> String {
    let measured = [report.measured.x0, report.measured.xmax, report.measured.sup_y];
    let header = ["tokens", "measured ± standard error"].into_iter().chain(PREDICTIONS);
    let mut rows = vec![header.map(String::from).collect::<Vec<_>>()];
    for ((name, quantity), measurement) in QUANTITIES.into_iter().zip(measured) {
        let error =
            measurement.standard_error_tokens.map_or_else(String::new, |error| format!(" ± {error:.1}"));
        let mut row = vec![name.to_owned(), format!("{:.1}{error}", measurement.mean_tokens)];
        row.extend(PREDICTIONS.map(|prediction| match figure(report, prediction, quantity) {
            Some(figure) => {
                format!("{figure:.1} ({:+.1} %)", 100.0 * (figure / measurement.mean_tokens - 1.0))
            }
            None => "not known".to_owned(),
        }));
        rows.push(row);
    }
    table(&rows)
}

fn bounds(report: &ValidateReport) -> String {
    let tail = &report.tail;
    let count = tail.thresholds.len();
    let bound = |name: &str, ratio: Option<f64>| match ratio {
        Some(ratio) => format!("{name} {:.0}", ratio * count as f64),
        None => format!("{name} not known"),
    };
    let mut out = format!(
        "  bounds on a cycle's growth, of {count} thresholds not below what was seen at: {}, {}, {}\n",
        bound("published", tail.published_valid_ratio),
        bound("published with finite variance", tail.published_finite_valid_ratio),
        bound("corrected", tail.corrected_valid_ratio),
    );
    if tail.corrected_from_simulation > 0 {
        out += &format!(
            "  {DIM}the corrected one is the simulation's share at {}, since that is above the exponential{DIM:#}\n",
            tail.corrected_from_simulation
        );
    }
    out
}

/// What holds, prediction by prediction, and what the exit status is by.
fn verdicts(report: &ValidateReport) -> String {
    let mut out = String::new();
    for (prediction, name) in [
        ("published", "published (arXiv 2606.00516, section 3.3)"),
        ("published_finite", "its bound with finite variance"),
        ("corrected", "corrected"),
        ("exact", "exact (simulation of the measured lengths)"),
    ] {
        let with = |outcome: ValidateOutcome| {
            let of_it = report.verdicts.iter().filter(|verdict| verdict.prediction == prediction);
            let named: Vec<&str> = of_it
                .filter(|verdict| verdict.outcome == outcome)
                .map(|verdict: &Verdict| verdict.quantity)
                .collect();
            named.join(", ")
        };
        let parts = [
            (GOOD, "holds", ValidateOutcome::Holds),
            (BAD, "does not hold", ValidateOutcome::DoesNotHold),
            (DIM, "too few cycles to tell", ValidateOutcome::TooFewCycles),
            (DIM, "not known", ValidateOutcome::NotKnown),
        ];
        let said: Vec<String> = parts
            .into_iter()
            .map(|(style, words, outcome)| (style, words, with(outcome)))
            .filter(|(_, _, quantities)| !quantities.is_empty())
            .map(|(style, words, quantities)| format!("{style}{words}{style:#}: {quantities}"))
            .collect();
        out += &format!("  {name}: {}\n", said.join("; "));
    }
    let (style, word) = if report.is_yes() { (GOOD, "yes") } else { (BAD, "no") };
    out + &format!("  {style}{word}{style:#}, by the simulation and the corrected bound\n")
}

fn memory(report: &ValidateReport) -> String {
    let memory = &report.memory;
    let device = memory.device_peak_bytes.map_or_else(|| "nothing".to_owned(), |bytes| bytes.to_string());
    let mut out = format!(
        "  weights {}, cache up to {}; the pool committed {}, the system saw {device}; {} left after unloading\n",
        memory.weights_bytes,
        memory.peak_kv_bytes,
        memory.peak_committed_bytes,
        memory.used_after_unload_bytes
    );
    if let Some(limit) = report.limit {
        let of = &report.parameters;
        out += &format!(
            "  cache limited to {}: too little room in {:.1} ± {:.1} % of cycles\n  compare: vramkit capacity --lengths \
             {}_measured_lengths.csv --max-output {} --batch {} --threshold {} --capacity-tokens {:.0}, with the lengths of a run without limit\n",
            limit.kv_limit_bytes,
            100.0 * limit.preempting_ratio,
            100.0 * limit.standard_error_ratio,
            report.dataset,
            of.max_output_tokens,
            of.batch_size,
            of.switching_threshold,
            limit.limit_tokens
        );
    }
    out
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
