//! `vramkit replay`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use vramkit::ByteSize;
use vramkit_ask::{
    DiffReport, FirstFailure, HeldReport, Moment, PolicyReport, QuestionError, ReplayAnswer, ReplayQuestion,
    ReplayReport, TraceReport,
};

use crate::args::ReplayOptions;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::output::{self, BAD, BOLD};

/// Owners that the text names.
const OWNERS: usize = 10;

pub fn run(options: &ReplayOptions, caller: &mut Caller) -> Result<bool, Failure> {
    let at = match &options.at {
        Some(at) => at.parse()?,
        None if options.diff => Moment::End,
        None => Moment::Peak,
    };
    let question = ReplayQuestion {
        traces: options.traces.clone(),
        policies: ReplayQuestion::policies(&options.policy)?,
        capacity: options.capacity,
        alloc_conf: options.alloc_conf.clone(),
        least_capacity: options.least_capacity,
        by: options.by.parse().map_err(QuestionError::NotAWord)?,
        at,
        diff: options.diff,
    };
    for path in [&options.svg, &options.flame, &options.folded].into_iter().flatten() {
        if options.traces.iter().any(|trace| output::is_same(trace, path)) {
            return Err(Failure::Input(format!(
                "`{}` would be written over the trace that it is of",
                path.display()
            )));
        }
    }
    let answer = vramkit_ask::replay(&question, caller.progress("replaying"))?;
    let written = |path: &Option<PathBuf>, content: fn(&ReplayAnswer) -> Option<String>| match path {
        Some(path) => content(&answer)
            .map_or(Ok(()), |content| output::file(path, |out| out.write_all(content.as_bytes()))),
        None => Ok(()),
    };
    written(&options.svg, ReplayAnswer::picture)?;
    written(&options.flame, ReplayAnswer::flame)?;
    written(&options.folded, ReplayAnswer::folded)?;
    if options.json {
        caller.json(&answer.report)?
    } else {
        caller.text(&text(&answer.report))?
    }
    Ok(answer.is_yes())
}

fn text(report: &ReplayReport) -> String {
    let mut text = String::new();
    for trace in &report.traces {
        text += &about(trace);
        if report.diff.is_none() {
            if !trace.policies.is_empty() {
                text += &policies(trace);
            }
            text += &held(&trace.held);
        }
    }
    if let Some(diff) = &report.diff {
        text += &grown(diff);
    }
    text
}

/// What a file is, and what is odd about it.
fn about(trace: &TraceReport) -> String {
    let mut text = format!(
        "{BOLD}{}{BOLD:#}  {} operations, most live {}",
        trace.file, trace.operations, trace.peak_live_bytes
    );
    if let Some(reserved) = trace.recorded_reserved_bytes {
        let ratio = reserved.ratio_of(trace.peak_live_bytes);
        let _ = write!(text, ", recorded program held {reserved} ({ratio:.3})");
    }
    if !trace.recorded_settings.is_empty() {
        let _ = write!(text, ", with {}", trace.recorded_settings);
    }
    text.push('\n');
    for note in &trace.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    text
}

fn policies(trace: &TraceReport) -> String {
    let header = [
        "policy",
        "arena",
        "arena / live",
        "held / live",
        "external",
        "internal",
        "refused",
        "least capacity",
        "ns/op",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for policy in &trace.policies {
        // What is refused takes nothing: such ratios say less.
        let mark = if policy.failures > 0 { "*" } else { "" };
        let of_live = |bytes: ByteSize| format!("{:.4}{mark}", bytes.ratio_of(trace.peak_live_bytes));
        let percent = |ratio: f64| format!("{:.1} %", ratio * 100.0);
        rows.push(vec![
            policy.policy.to_string(),
            policy.peak_arena_bytes.to_string(),
            of_live(policy.peak_arena_bytes),
            of_live(policy.peak_committed_bytes),
            percent(policy.external_fragmentation_ratio),
            percent(policy.internal_fragmentation_ratio),
            match policy.failures {
                0 => "0".to_owned(),
                failures => format!("{BAD}{failures}{BAD:#}"),
            },
            policy
                .least_capacity_bytes
                .map_or_else(|| "not looked for".to_owned(), |bytes| bytes.to_string()),
            format!("{:.1}", policy.nanoseconds_per_operation),
        ]);
    }
    let mut text = output::table(&rows);
    if trace.policies.iter().any(|policy| policy.failures > 0) {
        text += "  * of what was granted alone\n";
    }
    for policy in &trace.policies {
        if let Some(failure) = &policy.first_failure {
            text += &failed(policy, failure);
        }
    }
    text
}

/// Where a policy fails first.
fn failed(policy: &PolicyReport, failure: &FirstFailure) -> String {
    let mut text = format!(
        "  {}: operation {} asks for {} with {} live; {} free, {} in one piece. The program would have ended here",
        policy.policy,
        failure.operation,
        failure.requested_bytes,
        failure.live_bytes,
        failure.free_bytes,
        failure.largest_free_bytes
    );
    if policy.failures > 1 {
        let _ = write!(text, "; had it not, {} more would be refused", policy.failures - 1);
    }
    text.push('\n');
    if failure.requested_bytes <= failure.largest_free_bytes {
        text += "    (its piece would be large enough, but it takes more of the device: a whole segment)\n";
    }
    if !failure.owner.is_empty() {
        let _ = writeln!(text, "    asked by {}", failure.owner);
    }
    for frame in failure.frames.iter().filter(|frame| **frame != failure.owner).take(OWNERS) {
        let _ = writeln!(text, "      {frame}");
    }
    if failure.frames.len() > OWNERS {
        let _ = writeln!(text, "      and {} frames further out", failure.frames.len() - OWNERS);
    }
    text
}

/// Who holds what, where the recording says so of anything.
fn held(held: &HeldReport) -> String {
    if held.owners.iter().all(|owner| owner.owner.is_empty()) {
        return String::new();
    }
    let mut text = format!("  held {}: {}\n", held.when(), held.bytes);
    for owner in held.owners.iter().take(OWNERS) {
        let name = if owner.owner.is_empty() { "not recorded" } else { &owner.owner };
        let share = 100.0 * owner.bytes.ratio_of(held.bytes);
        let _ = writeln!(
            text,
            "    {:>10}  {share:>5.1} %  in {:<6} {name}",
            owner.bytes.to_string(),
            owner.allocations
        );
    }
    if held.owners.len() > OWNERS {
        let rest: ByteSize = held.owners[OWNERS..].iter().map(|owner| owner.bytes).sum();
        let _ = writeln!(
            text,
            "    {:>10}  {:>5.1} %  by {} others",
            rest.to_string(),
            100.0 * rest.ratio_of(held.bytes),
            held.owners.len() - OWNERS
        );
    }
    text
}

/// Bytes with their sign.
fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { '-' } else { '+' };
    format!("{sign}{}", ByteSize::new(bytes.unsigned_abs()))
}

fn grown(diff: &DiffReport) -> String {
    let mut text = format!(
        "{BOLD}from {} to {}{BOLD:#}, {}: {}\n",
        diff.before,
        diff.after,
        diff.when(),
        signed(diff.grown_bytes)
    );
    if diff.owners.is_empty() {
        text += "  every owner holds the same in both\n";
    }
    let shown: Vec<_> = if diff.owners.len() > 2 * OWNERS {
        diff.owners[..OWNERS].iter().chain(&diff.owners[diff.owners.len() - OWNERS..]).collect()
    } else {
        diff.owners.iter().collect()
    };
    for owner in &shown {
        let name = if owner.owner.is_empty() { "not recorded" } else { &owner.owner };
        let _ = writeln!(
            text,
            "  {:>11}  from {} to {}, {:+} allocations  {name}",
            signed(owner.grown_bytes),
            owner.before_bytes,
            owner.after_bytes,
            owner.grown_allocations
        );
    }
    if shown.len() < diff.owners.len() {
        let _ = writeln!(text, "  and {} owners between these", diff.owners.len() - shown.len());
    }
    text
}
