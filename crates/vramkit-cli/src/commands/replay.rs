//! `vramkit replay`.

use std::fmt::Write as _;
use std::io::Write as _;

use vramkit::ByteSize;
use vramkit_replay::{PolicyName, ReplayReport, Trace, TraceReport, place, read_traces, replay};
use vramkit_report::{TraceBox, TracePicture, trace_svg};

use crate::args::ReplayOptions;
use crate::failure::Failure;
use crate::output::{self, BAD, BOLD};
use crate::progress::Progress;

pub fn run(options: &ReplayOptions) -> Result<bool, Failure> {
    let policies = policies(&options.policy)?;
    let mut traces = Vec::new();
    for file in &options.traces {
        traces.extend(read_traces(file)?);
    }
    let progress = Progress::new("replaying", Some((traces.len() * policies.len()) as u64));
    let report = |trace: &Trace| TraceReport {
        file: trace.name.clone(),
        operations: trace.operations.len(),
        peak_live_bytes: trace.peak_live(),
        recorded_reserved_bytes: trace.recorded_reserved,
        policies: policies
            .iter()
            .map(|&policy| {
                let report = replay(trace, policy, options.capacity);
                progress.advance(1);
                report
            })
            .collect(),
    };
    let report = ReplayReport { schema: "vramkit.replay/1", traces: traces.iter().map(report).collect() };
    drop(progress);
    if let (Some(path), Some(trace), Some(&policy)) = (&options.svg, traces.first(), policies.first()) {
        let svg = trace_svg(&picture(trace, policy, options.capacity));
        output::file(path, |out| out.write_all(svg.as_bytes()))?;
    }
    if options.json {
        output::json(&report)?;
    } else {
        output::text(&text(&report))?;
    }
    // With a capacity it is a question: does some policy get each trace through?
    let fits = |trace: &TraceReport| trace.policies.iter().any(|policy| policy.failures == 0);
    Ok(report.traces.iter().all(fits))
}

fn policies(names: &[String]) -> Result<Vec<PolicyName>, Failure> {
    let mut policies = Vec::new();
    for name in names {
        let named = if name == "all" {
            PolicyName::ALL.to_vec()
        } else {
            vec![name.parse().map_err(Failure::Input)?]
        };
        for policy in named {
            if !policies.contains(&policy) {
                policies.push(policy);
            }
        }
    }
    Ok(policies)
}

fn picture(trace: &Trace, policy: PolicyName, capacity: Option<ByteSize>) -> TracePicture {
    let boxes = place(trace, policy, capacity).into_iter().map(|placed| TraceBox {
        start: placed.start,
        end: placed.end,
        offset: placed.offset,
        size: placed.granted,
        owner: trace.owners[usize::from(trace.owner_of[placed.number as usize])].clone(),
    });
    TracePicture {
        title: format!("{}, {policy}", trace.name),
        operations: trace.operations.len(),
        peak_at: trace.peak_at(),
        peak_live: trace.peak_live(),
        boxes: boxes.collect(),
    }
}

fn text(report: &ReplayReport) -> String {
    let mut text = String::new();
    for trace in &report.traces {
        let _ = write!(
            text,
            "{BOLD}{}{BOLD:#}  {} operations, most live {}",
            trace.file, trace.operations, trace.peak_live_bytes
        );
        if let Some(reserved) = trace.recorded_reserved_bytes {
            let ratio = reserved.ratio_of(trace.peak_live_bytes);
            let _ = write!(text, ", recorded program held {reserved} ({ratio:.3})");
        }
        text.push('\n');
        let header =
            ["policy", "arena", "arena / live", "held / live", "external", "internal", "refused", "ns/op"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for policy in &trace.policies {
            let of_live = |bytes: ByteSize| format!("{:.4}", bytes.ratio_of(trace.peak_live_bytes));
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
                format!("{:.1}", policy.nanoseconds_per_operation),
            ]);
        }
        text += &output::table(&rows);
    }
    text
}
