//! Runs in words: what `vramkit run` says to people.
//!
//! A report comes in, lines go out; nothing is printed here.

use std::fmt::Write as _;

use vramkit::ByteSize;
use vramkit::trace::Dropped;
use vramkit_ask::{RunReport, UnreadWeights};

use crate::output::{BAD, BOLD, GOOD};
use crate::plan_text::{beyond_peaks, details};

/// Records that are missing somewhere.
pub fn counted(dropped: Dropped) -> String {
    format!("{} events, {} steps and {} samples", dropped.events, dropped.spans, dropped.samples)
}

/// What the models take together, against what they would take apart, and what of it the arena saves.
fn headline(report: &RunReport) -> String {
    let plan = &report.plan;
    let (arena, weights) = (plan.arena_bytes, report.weights_bytes);
    let (held, alone) = match weights.is_zero() {
        true => (format!("{BOLD}{arena}{BOLD:#} in one arena"), "live peaks"),
        false => (
            format!("{BOLD}{}{BOLD:#}: {arena} in one arena, {weights} of weights", report.together_bytes),
            "live peaks and weights",
        ),
    };
    let mut text = format!("{held}\n");
    if !report.apart_bytes.is_zero() {
        let against = report.together_bytes.against(report.apart_bytes);
        let _ = writeln!(
            text,
            "  {against}, what the models need each for itself: {alone}{}",
            beyond_peaks(plan)
        );
    }
    let verdict = match plan.proven_optimal {
        true => format!("{GOOD}proven optimal{GOOD:#}"),
        false => {
            format!("{:.3} % over the lower bound of {}", plan.gap_ratio * 100.0, plan.lower_bound_bytes)
        }
    };
    let _ = writeln!(text, "  arena of {} bytes, {verdict}", arena.grouped());
    let mut compare = |bytes: ByteSize, what: &str| {
        let _ = writeln!(text, "    {}, {what}", arena.against(bytes));
    };
    if !weights.is_zero() && !plan.sum_of_peaks_bytes.is_zero() {
        compare(plan.sum_of_peaks_bytes, "the models' live peaks");
    }
    if !plan.sum_of_sizes_bytes.is_zero() {
        let tensors: usize = plan.models.iter().map(|model| model.tensors).sum();
        let what = format!("{tensors} tensors each in a place of its own");
        compare(plan.sum_of_sizes_bytes, &what);
    }
    text
}

/// How often each kind of decision was made; in a dry run, those that would be.
fn decided(report: &RunReport) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for decision in report.decisions.iter().filter(|decision| decision.done != report.dry_run) {
        let (kind, _) = decision.event.describe();
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    kinds.join(", ")
}

/// What a dry run would have done, and where pressure stood.
fn rehearsed(report: &RunReport) -> String {
    format!(
        "dry run for {}: no memory was taken\n  would be: {}\n  most in use {} bytes of {}\n",
        report.device.name,
        decided(report),
        report.peak_used_bytes.grouped(),
        report.capacity_bytes,
    )
}

fn pressure(report: &RunReport) -> String {
    let levels = report.levels.iter().filter(|(_, n)| **n > 0);
    let levels: Vec<String> = levels.map(|(level, n)| format!("{level} {n}")).collect();
    format!("  pressure read: {}; {} level changes", levels.join(", "), report.level_changes)
}

/// A run in some lines.
pub fn describe_run(report: &RunReport) -> String {
    let mut text = headline(report) + &details(&report.plan);
    let good = |yes: bool| if yes { GOOD } else { BAD };
    if report.dry_run {
        let _ = writeln!(text, "{}{}", rehearsed(report), pressure(report));
        return text + &unread(report);
    }
    let (clean, empty) =
        (good(report.aliasing_violations == 0), good(report.used_after_release_bytes.is_zero()));
    let times =
        if report.repetitions == 1 { String::new() } else { format!(", {} times", report.repetitions) };
    let _ = writeln!(text, "executed on {}{times} in {:.3} s", report.device.name, report.elapsed_seconds);
    let _ = writeln!(
        text,
        "  {clean}{} tensors verified, {} aliasing violations{clean:#}",
        report.verified_tensors, report.aliasing_violations
    );
    if !report.weights_read_bytes.is_zero() {
        let _ = writeln!(text, "  {} of weights loaded from models' files", report.weights_read_bytes);
    }
    text += &unread(report);
    let system = match (report.system_peak_bytes, &report.system_peak_unavailable) {
        (Some(bytes), _) => format!("{} resident as the system says", bytes.grouped()),
        (None, Some(reason)) => format!("resident: not known, {reason}"),
        (None, None) => "resident: not known".to_owned(),
    };
    let committed = report.peak_committed_bytes.grouped();
    let _ = writeln!(text, "  peak {committed} bytes committed by the pool, {system}");
    let _ = writeln!(text, "{}; {:.3} s waiting for memory", pressure(report), report.stall_seconds);
    let _ = writeln!(text, "  decided: {}", decided(report));
    if report.dropped.is_any() {
        let _ = writeln!(
            text,
            "  the report is of the last decisions: {} are not in it",
            counted(report.dropped)
        );
    }
    let _ = writeln!(
        text,
        "  {empty}{} bytes in use after release{empty:#}",
        report.used_after_release_bytes.grouped()
    );
    for mismatch in &report.release_mismatches {
        let _ = writeln!(
            text,
            "  {BAD}not given back{BAD:#}: releasing `{}` freed {} bytes, and {} less were in use",
            mismatch.model,
            mismatch.freed_bytes.grouped(),
            mismatch.fell_bytes.grouped()
        );
    }
    for violation in &report.violations {
        let _ = writeln!(
            text,
            "  {BAD}not intact{BAD:#}: `{}` of `{}` at {}, byte {}",
            violation.tensor,
            violation.model,
            violation.step,
            violation.at_bytes.grouped()
        );
    }
    text
}

/// Models whose weights stay in their files, a line each.
fn unread(report: &RunReport) -> String {
    let line = |unread: &UnreadWeights| {
        format!("  {BAD}weights of `{}` not read{BAD:#}: {}\n", unread.model, unread.reason)
    };
    report.weights_unread.iter().map(line).collect()
}
