//! `vramkit replay`.

use std::fmt::Write as _;
use std::io::Write as _;

use vramkit::ByteSize;
use vramkit_ask::{ReplayQuestion, ReplayReport};

use crate::args::ReplayOptions;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::output::{self, BAD, BOLD};

pub fn run(options: &ReplayOptions, caller: &mut Caller) -> Result<bool, Failure> {
    let question = ReplayQuestion {
        traces: options.traces.clone(),
        policies: ReplayQuestion::policies(&options.policy)?,
        capacity: options.capacity,
    };
    let answer = vramkit_ask::replay(&question, caller.progress("replaying"))?;
    if let Some(path) = &options.svg
        && let Some(svg) = answer.picture()
    {
        output::file(path, |out| out.write_all(svg.as_bytes()))?;
    }
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
