//! Risks in words: what `vramkit capacity` says to people.
//!
//! A report comes in, lines go out; nothing is printed here.

use std::fmt::Write as _;

use vramkit::ByteSize;
use vramkit::units::grouped;
use vramkit_ask::{CHARACTERS_A_TOKEN, CapacityReport, MAX_SEATS, OccupancyReport};

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
    let _ = match (occupancy.arrivals_per_step, report.seats_limited) {
        (None, _) => writeln!(text, "{BOLD}{} sequences{BOLD:#}, {replaced}", occupancy.batch),
        (Some(_), true) => {
            writeln!(text, "{BOLD}at most {} sequences{BOLD:#}, as requests come", occupancy.batch)
        }
        (Some(rate), false) => writeln!(
            text,
            "{BOLD}as many sequences as come{BOLD:#}, {:.1} on average",
            rate * occupancy.traffic.mean_output
        ),
    };
    let traffic = &occupancy.traffic;
    let _ = write!(
        text,
        "  traffic   prompts of {:.0}, outputs of {:.0} tokens on average",
        traffic.mean_prompt, traffic.mean_output
    );
    match (&options.lengths, traffic.requests) {
        (Some(path), Some(requests)) => {
            let name = if path.as_os_str() == "-" {
                "standard input".to_owned()
            } else {
                path.display().to_string()
            };
            let _ = write!(text, ": {} requests of {name}", thousands(requests as f64));
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
    for (i, assumed) in report.assumptions.iter().enumerate() {
        let _ = writeln!(text, "  {:10}{DIM}{assumed}{DIM:#}", if i == 0 { "assumed" } else { "" });
    }
    let style = match occupancy.within_risk {
        Some(true) => GOOD,
        Some(false) => BAD,
        None => DIM,
    };
    let interval = occupancy.probability_low.zip(occupancy.probability_high);
    if let (Some(p), Some((low, high))) = (occupancy.probability, interval) {
        let _ = write!(text, "  risk      {style}{}{style:#} {}", chance(p), report.within());
        let _ = writeln!(text, ", {} to {}", chance(low), chance(high));
    } else if let Some((_, high)) = interval {
        let _ = writeln!(text, "  risk      {style}at most {}{style:#} {}", chance(high), report.within());
    }
    if let Some(cold) = occupancy.cold_start_probability {
        let _ = writeln!(text, "            {} if all begin at once (--cold-start)", chance(cold));
    }
    if let (Some(load), Some(wait)) = (occupancy.load_ratio, occupancy.waiting) {
        let step = report.step_seconds.unwrap_or(1.0);
        let _ = writeln!(
            text,
            "  waiting   {} s on average, 19 of 20 at most {} s; {} wait at all, {:.0} % of the sequences are taken",
            give_or_take(wait.mean_steps * step, wait.standard_error_steps * step),
            digits(wait.p95_steps * step),
            chance(wait.waiting_ratio),
            100.0 * load.min(1.0)
        );
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
    if occupancy.arrivals_per_step.is_none() {
        text.push_str(&models(occupancy));
    }
    if let Some(flags) = &report.engine_flags {
        let _ = writeln!(text, "\n  flags     {}", flags.join(" "));
    }
    if let Some(replay) = &report.replay {
        let _ = writeln!(
            text,
            "\n  replayed  {} steps, {} preemptions, {} tokens computed again, at most {} sequences, peak {:.1} % of the blocks",
            thousands(replay.steps as f64),
            thousands(replay.preemptions as f64),
            thousands(replay.recomputed_tokens as f64),
            replay.peak_running,
            occupancy.capacity_tokens.map_or(0.0, |tokens| {
                100.0 * replay.peak_blocks as f64 / (tokens / f64::from(report.block_tokens)).floor()
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
        let whole = |n: Option<u32>| match n {
            None => "refused".to_owned(),
            // More are not looked at.
            Some(MAX_SEATS) => "any number".to_owned(),
            Some(n) => n.to_string(),
        };
        let between = match (batch.max_batch_low, batch.max_batch_high) {
            (Some(low), Some(high)) if high < MAX_SEATS => format!("{low} to {high}"),
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

/// A figure with two standard errors.
fn give_or_take(value: f64, error: f64) -> String {
    if 2.0 * error < 0.02 * value || value == 0.0 {
        return digits(value);
    }
    format!("{} ± {}", digits(value), digits(2.0 * error))
}

/// Two digits.
fn digits(value: f64) -> String {
    match value {
        value if value <= 0.0 => "0".to_owned(),
        value if value < 1.0 => format!("{value:.*}", (1.0 - value.log10().floor()) as usize),
        value if value < 10.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
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
