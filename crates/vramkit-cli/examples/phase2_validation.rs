//! Runs the three-model workload under every schedule on this machine's memory and writes
//! `docs/PHASE2_VALIDATION.md`; with `--check`, compares the file's facts with what was measured instead.
//!
//! ```text
//! cargo run --release --example phase2_validation            # writes the document
//! cargo run --release --example phase2_validation -- --check # exits with 1 when a requirement is not met
//! ```
//!
//! Required: at least 15 % less than the sum of sizes and than the sum of peaks, the proven optimum of
//! 350,000,000 bytes, every tensor intact, nothing in use after release.

#![allow(clippy::print_stderr)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use vramkit::ByteSize;
use vramkit::device::HostDevice;
use vramkit::orchestrator::Verify;
use vramkit::plan::{LifetimeAnalyzer, Schedule};
use vramkit_ask::{AskError, DeviceChoice, RunAnswer, RunQuestion, RunReport, TraceSinks, quiet};

const REQUIRED_REDUCTION: f64 = 0.15;
const OPTIMUM: ByteSize = ByteSize::mb(350);

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(schedule: Schedule) -> Result<RunAnswer, AskError> {
    let question = RunQuestion {
        workload: root().join("examples/three-models.toml"),
        schedule: Some(schedule),
        device: DeviceChoice::Host,
        verify: Verify::Full,
        ..RunQuestion::default()
    };
    vramkit_ask::run(&question, &mut TraceSinks::default(), quiet())
}

/// What is required and not met.
fn shortcomings(fixed: &RunReport, all: &[RunAnswer]) -> Vec<String> {
    let mut found = Vec::new();
    let mut require = |met: bool, what: String| {
        if !met {
            found.push(what);
        }
    };
    for (name, ratio) in [
        ("sum of sizes", fixed.reduction_of_sum_of_sizes_ratio),
        ("sum of peaks", fixed.reduction_of_sum_of_peaks_ratio),
    ] {
        require(ratio >= REQUIRED_REDUCTION, format!("only {:.2} % less than the {name}", ratio * 100.0));
    }
    require(
        fixed.plan.arena_bytes == OPTIMUM,
        format!("the arena is {}, not {OPTIMUM}", fixed.plan.arena_bytes),
    );
    for run in all.iter().map(|answer| &answer.report) {
        let schedule = run.plan.schedule;
        require(run.plan.proven_optimal, format!("{schedule}: the arena is not proven optimal"));
        require(
            run.verified_tensors == 7,
            format!("{schedule}: {} of 7 tensors verified", run.verified_tensors),
        );
        require(
            run.aliasing_violations == 0,
            format!("{schedule}: {} aliasing violations", run.aliasing_violations),
        );
        require(run.used_after_release_bytes.is_zero(), format!("{schedule}: memory in use after release"));
        let system = run.system_peak_bytes.unwrap_or(run.peak_committed_bytes);
        let apart = system.max(run.peak_committed_bytes) - system.min(run.peak_committed_bytes);
        require(apart <= HostDevice::GRANULARITY, format!("{schedule}: pool and system differ by {apart}"));
    }
    found
}

/// The document. Holds no times: the same on every machine.
fn document(runs: &[RunAnswer]) -> String {
    let RunAnswer { report: fixed, plan, .. } = &runs[0];
    let mut text = String::from(
        "# Three models in one arena\n\n\
         The workload of `examples/three-models.toml`, planned, bound to this machine's memory, executed with every byte\n\
         verified, and released. Made by `cargo run --release --example phase2_validation`; CI runs it with `--check`, which\n\
         fails when a reduction falls below 15 %, when the arena is not the proven optimum of 350,000,000 bytes, or when\n\
         this file is not what the command writes.\n\n",
    );
    let _ = writeln!(text, "| model | tensor | size | lives | offset in the arena |\n|---|---|---|---|---|");
    for (tensor, offset) in plan.tensors.iter().zip(&plan.offsets) {
        let (start, end) = (tensor.start.0, tensor.end.0);
        let _ = writeln!(
            text,
            "| {} | {} | {} | [{start}, {end}) | {} |",
            tensor.model,
            tensor.id,
            tensor.size,
            offset.grouped()
        );
    }
    let analyzer = LifetimeAnalyzer::new(&plan.tensors, plan.schedule);
    let pairs = analyzer.opportunities();
    let across: Vec<_> = pairs.iter().filter(|pair| pair.across_models()).collect();
    let _ = writeln!(
        text,
        "\nPairs of different models that are never live together: {}.\n\n| pair | saves | why it is safe |\n|---|---|---|",
        across.len()
    );
    for pair in across {
        let (first, second) = (&pair.first.id, &pair.second.id);
        let _ = writeln!(text, "| {first}, {second} | {} | {} |", pair.saved(), pair.reason());
    }
    let _ = writeln!(
        text,
        "\n## Against isolation\n\n| | bytes | the arena is smaller by | required |\n|---|---|---|---|\n\
         | every tensor its own | {} | {:.2} % | 15 % |\n| every model its own live peak | {} | {:.2} % | 15 % |\n\
         | one arena | {} | | |\n| lower bound (most bytes live at once) | {} | | |\n",
        fixed.plan.sum_of_sizes_bytes.grouped(),
        fixed.reduction_of_sum_of_sizes_ratio * 100.0,
        fixed.plan.sum_of_peaks_bytes.grouped(),
        fixed.reduction_of_sum_of_peaks_ratio * 100.0,
        fixed.plan.arena_bytes.grouped(),
        fixed.plan.lower_bound_bytes.grouped(),
    );
    let _ = writeln!(
        text,
        "## Executed\n\n| schedule | arena | proven optimal | committed by the pool | resident, as the system says | tensors \
         verified | aliasing violations | in use after release |\n|---|---|---|---|---|---|---|---|"
    );
    for run in runs.iter().map(|answer| &answer.report) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} of 7 | {} | {} |",
            run.plan.schedule,
            run.plan.arena_bytes.grouped(),
            if run.plan.proven_optimal { "yes" } else { "no" },
            run.peak_committed_bytes.grouped(),
            run.system_peak_bytes.map_or("not available".to_owned(), ByteSize::grouped),
            run.verified_tensors,
            run.aliasing_violations,
            run.used_after_release_bytes.grouped()
        );
    }
    text.push_str(
        "\nMemory is committed in granules of 2 MiB. The fixed schedule is the clock of the file; sequential runs one model\n\
         at a time; concurrent allows any interleaving, under which only tensors of one model may share.\n",
    );
    text
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let check = std::env::args().nth(1).is_some_and(|argument| argument == "--check");
    let runs = [run(Schedule::Fixed)?, run(Schedule::Sequential)?, run(Schedule::Concurrent)?];
    let path = root().join("docs/PHASE2_VALIDATION.md");
    let text = document(&runs);
    let mut shortcomings = shortcomings(&runs[0].report, &runs);
    if check {
        if std::fs::read_to_string(&path)? != text {
            shortcomings.push("docs/PHASE2_VALIDATION.md is not what was measured; write it anew".to_owned());
        }
    } else {
        std::fs::write(&path, text)?;
    }
    for shortcoming in &shortcomings {
        eprintln!("not met: {shortcoming}");
    }
    Ok(if shortcomings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
