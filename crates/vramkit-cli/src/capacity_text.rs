//! Risks in words: what `vramkit capacity` says to people.
//!
//! A report comes in, lines go out; nothing is printed here.

use std::fmt::Write as _;

use vramkit::ByteSize;
use vramkit::units::grouped;
use vramkit_ask::{CHARACTERS_A_TOKEN, CapacityReport, OccupancyReport};

use crate::args::CapacityOptions;
use crate::output::{self, BAD, BOLD, DIM, GOOD};

/// The answer in some lines and tables.
pub fn describe_capacity(options: &CapacityOptions, report: &CapacityReport) -> String {
    let occupancy = &report.occupancy;
    let mut text = String::new();
    let replaced = match occupancy.continuous {
        true => "each replaced at once".to_owned(),
        false => format!("replaced when {} have ended", occupancy.threshold),
    };
    let _ = writeln!(text, "{BOLD}{} sequences{BOLD:#}, {replaced}", occupancy.batch);
    let traffic = &occupancy.traffic;
    let _ = write!(
        text,
        "  traffic   prompts of {:.0}, outputs of {:.0} tokens on average",
        traffic.mean_prompt, traffic.mean_output
    );
    match (&options.lengths, traffic.requests) {
        (Some(path), Some(requests)) => {
            let _ = write!(text, ": {} requests of {}", thousands(requests as f64), path.display());
        }
        _ => text.push_str(", geometric"),
    }
    text.push('\n');
    if report.lengths_estimated {
        let _ = writeln!(
            text,
            "            {DIM}estimated from text, {CHARACTERS_A_TOKEN} characters a token{DIM:#}"
        );
    }
    if report.rows_left_out > 0 {
        let _ = writeln!(text, "            {DIM}{} rows left out{DIM:#}", report.rows_left_out);
    }
    if let Some(capacity) = occupancy.capacity_tokens {
        let _ = write!(text, "  memory    {} tokens", thousands(capacity));
        if let Some(bytes) = occupancy.kv_bytes_per_token {
            let _ = write!(text, " of {} each", ByteSize::new(bytes));
        }
        if let Some(bytes) = report.kv_bytes_per_sequence {
            let _ = write!(text, ", beside {} for each sequence", ByteSize::new(bytes));
        }
        text.push('\n');
    }
    if let (Some(p), Some(low), Some(high)) =
        (occupancy.probability, occupancy.probability_low, occupancy.probability_high)
    {
        let style = if p <= occupancy.risk { GOOD } else { BAD };
        let _ = write!(text, "  risk      {style}{}{style:#} {}", chance(p), report.within());
        let _ = writeln!(text, ", {} to {}", chance(low), chance(high));
    }
    if let (Some(method), Some(reason)) = (occupancy.probability_method, &occupancy.probability_reason) {
        let _ = writeln!(text, "            {DIM}{method}: {reason}{DIM:#}");
    }
    if let (Some(needed), Some(low), Some(high)) = (
        occupancy.capacity_tokens_needed,
        occupancy.capacity_tokens_needed_low,
        occupancy.capacity_tokens_needed_high,
    ) {
        let _ =
            write!(text, "  needs     {} tokens for a risk of {}", thousands(needed), chance(occupancy.risk));
        let _ = write!(text, ", {} to {}", thousands(low), thousands(high));
        if let Some(bytes) = occupancy.capacity_bytes_needed {
            let _ = write!(text, " ({})", ByteSize::new(bytes));
        }
        text.push('\n');
    }
    if !occupancy.batches.is_empty() {
        text.push_str(&batches(report));
    }
    text.push_str(&models(occupancy));
    if let Some(replay) = &report.replay {
        let _ = writeln!(
            text,
            "\n  replayed  {} steps, {} preemptions, {} tokens computed again, at most {} sequences, peak {:.1} % of the blocks",
            thousands(replay.steps as f64),
            thousands(replay.preemptions as f64),
            thousands(replay.recomputed_tokens as f64),
            replay.peak_running,
            occupancy.capacity_tokens.map_or(0.0, |tokens| {
                100.0 * replay.peak_blocks as f64 / (tokens / f64::from(options.block)).floor()
            })
        );
    }
    for note in &occupancy.notes {
        let _ = writeln!(text, "  {DIM}note: {note}{DIM:#}");
    }
    text
}

fn batches(report: &CapacityReport) -> String {
    let mut rows = vec![["largest batch", "sequences", "between"].map(str::to_owned).to_vec()];
    for batch in &report.occupancy.batches {
        let whole = |n: Option<u32>| n.map_or_else(|| "refused".to_owned(), |n| n.to_string());
        let between = match (batch.max_batch_low, batch.max_batch_high) {
            (Some(low), Some(high)) => format!("{low} to {high}"),
            _ => String::new(),
        };
        rows.push(vec![
            format!("{} {}", chance(batch.risk), report.within()),
            whole(batch.max_batch),
            between,
        ]);
    }
    let none = || "none".to_owned();
    rows.push(vec!["mean fits".into(), report.occupancy.mean_fit_batch.map_or_else(none, |n| n.to_string())]);
    rows.push(vec![
        "worst case fits".into(),
        report.occupancy.worst_case_batch.map_or_else(none, |n| n.to_string()),
    ]);
    format!("\n{}", output::table(&rows))
}

/// The models beside one another.
fn models(report: &OccupancyReport) -> String {
    let mut rows =
        vec![["tokens", "published", "corrected", "exact", "simulated", "+-"].map(str::to_owned).to_vec()];
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    for (name, of) in [("E[X0]", &report.x0), ("kappa", &report.kappa), ("E[Xmax]", &report.xmax)] {
        rows.push(
            std::iter::once(name.to_owned())
                .chain([of.published, of.corrected, of.exact, of.simulated, of.standard_error].map(number))
                .collect(),
        );
    }
    if report.capacity_tokens.is_some() {
        let tail = &report.tail;
        let risk = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), chance);
        let name = if report.continuous { "P(over) at a step" } else { "P(over) in a cycle" };
        rows.push(vec![name.to_owned(), risk(tail.published), risk(tail.corrected), risk(tail.exact)]);
    }
    format!("\n{}", output::table(&rows))
}

/// A probability for a person.
fn chance(p: f64) -> String {
    match p {
        p if p <= 0.0 => "0".to_owned(),
        p if p > 0.999 => format!("{:.3} %", 100.0 * p),
        p if p >= 0.01 => format!("{} %", significant(100.0 * p)),
        p if p >= 1e-3 => format!("{:.2} %", 100.0 * p),
        p => {
            let text = format!("{p:.1e}");
            text.replace(".0e", "e")
        }
    }
}

fn significant(value: f64) -> String {
    if value >= 9.95 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn thousands(value: f64) -> String {
    grouped(value.round_ties_even() as u64)
}
