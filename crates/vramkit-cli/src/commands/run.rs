//! `vramkit run`.

use std::fmt::Write as _;
use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::device::{Backing, CudaDevice, HostDevice, SimulatedDevice};
use vramkit::orchestrator::{PolicyLadder, RunError, Session, SessionModel, Standing};
use vramkit::plan::{MemoryPlanner, Schedule};
use vramkit::report::{PlanReport, RunReport};
use vramkit::trace::{Dropped, TraceCollector};
use vramkit_models::{Demand, ReadError, ReadOptions, read};

use crate::args::RunOptions;
use crate::commands::trace_files::TraceFiles;
use crate::failure::Failure;
use crate::output::{self, BAD, BOLD, GOOD};
use crate::plan_text::details;
use crate::progress::Progress;

/// A card that many know, for the simulated device without a capacity.
const SIMULATED_CAPACITY: ByteSize = ByteSize::gib(80);

/// How long a better plan than the first answers is searched for.
const PLANNING: std::time::Duration = std::time::Duration::from_secs(1);

pub fn run(options: &RunOptions) -> Result<bool, Failure> {
    let demand = read(&options.workload, &ReadOptions::default())?;
    if !demand.pools.is_empty() {
        let name = options.workload.display();
        return Err(Failure::Input(format!(
            "{name} distributes tensors over {} pools, and a run binds one; `vramkit plan {name}` places them",
            demand.pools.len()
        )));
    }
    let capacity = options.capacity.or(demand.capacity);
    let device = device(&options.device, capacity)?;
    let session = session(options, demand, capacity, device);
    let trace = Arc::new(TraceCollector::new());
    let files = TraceFiles::begin(&trace, options.trace.as_deref(), options.perfetto.as_deref())?;
    let progress = Progress::new("executing", Some(session.steps()));
    let outcome = session.run_keeping_plan(&trace, &|steps| progress.advance(steps));
    drop(progress);
    // The trace is of most use when a run failed.
    if let Some(missing) = files.map(TraceFiles::finish).transpose()?
        && missing.is_any()
    {
        output::note(&format!(
            "note: {} that came too fast are not in the trace's files\n",
            counted(missing)
        ))?;
    }
    let (report, plan) = outcome.map_err(|error| match error {
        RunError::Lifetimes(error) => {
            Failure::from(ReadError::Lifetimes { file: options.workload.display().to_string(), error })
        }
        error => error.into(),
    })?;
    if let Some(path) = &options.report {
        let page = vramkit_report::run_page(&report, &PlanReport::new(&plan, None, true));
        output::file(path, |out| std::io::Write::write_all(out, page.as_bytes()))?;
    }
    if options.json {
        output::json(&report)?;
    } else {
        output::text(&text(&report))?;
    }
    Ok(report.aliasing_violations == 0 && report.used_after_release_bytes.is_zero())
}

/// The device of a name. Its capacity is at least the pool's, which needs whole granules.
fn device(name: &str, capacity: Option<ByteSize>) -> Result<Arc<dyn Backing>, Failure> {
    let granules = |size: ByteSize| size.checked_align_up(HostDevice::GRANULARITY.bytes()).unwrap_or(size);
    match name {
        "host" => Ok(match capacity {
            Some(capacity) => Arc::new(HostDevice::new(granules(capacity))),
            None => Arc::new(HostDevice::with_available_memory()),
        }),
        "sim" => Ok(Arc::new(SimulatedDevice::new(granules(capacity.unwrap_or(SIMULATED_CAPACITY))))),
        _ => match name.strip_prefix("cuda:").and_then(|index| index.parse().ok()) {
            Some(index) => match CudaDevice::new(index) {
                Ok(card) => Ok(Arc::new(card)),
                Err(error) => Err(Failure::NoDevice(format!("device `{name}` is not here: {error}"))),
            },
            None => Err(Failure::Input(format!("`{name}` is not a device: use host, sim or cuda:N"))),
        },
    }
}

fn session(
    options: &RunOptions,
    demand: Demand,
    capacity: Option<ByteSize>,
    device: Arc<dyn Backing>,
) -> Session {
    let models = demand.models.into_iter().zip(demand.settings).map(|(model, settings)| SessionModel {
        model,
        standing: Standing { priority: settings.priority, ..Standing::default() },
        degrade_to_ratio: settings.degrade_to_ratio,
    });
    Session {
        name: demand.name,
        models: models.collect(),
        schedule: options.schedule.map(Schedule::from).or(demand.schedule).unwrap_or_default(),
        device,
        capacity,
        ladder: demand.ladder.unwrap_or_else(PolicyLadder::orchestrator),
        repetitions: demand.repetitions,
        verify: options.verify.into(),
        dry_run: options.dry_run,
        planner: MemoryPlanner::thorough(PLANNING),
    }
}

fn counted(dropped: Dropped) -> String {
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
        let (apart, less) = (report.apart_bytes, 100.0 * report.reduction_of_apart_ratio);
        let _ =
            writeln!(text, "  {less:.2} % less than {apart}, what the models need each for itself: {alone}");
    }
    let verdict = match plan.proven_optimal {
        true => format!("{GOOD}proven optimal{GOOD:#}"),
        false => {
            format!("{:.3} % over the lower bound of {}", plan.gap_ratio * 100.0, plan.lower_bound_bytes)
        }
    };
    let _ = writeln!(text, "  arena of {} bytes, {verdict}", arena.grouped());
    let mut compare = |ratio: f64, bytes: ByteSize, what: &str| {
        let _ = writeln!(text, "    {:.2} % less than {bytes}, {what}", 100.0 * ratio);
    };
    if !weights.is_zero() && !plan.sum_of_peaks_bytes.is_zero() {
        compare(report.reduction_of_sum_of_peaks_ratio, plan.sum_of_peaks_bytes, "the models' live peaks");
    }
    if !plan.sum_of_sizes_bytes.is_zero() {
        let tensors: usize = plan.models.iter().map(|model| model.tensors).sum();
        let what = format!("{tensors} tensors each in a place of its own");
        compare(report.reduction_of_sum_of_sizes_ratio, plan.sum_of_sizes_bytes, &what);
    }
    text
}

/// What a dry run would have done: how often each kind of decision, and where pressure stood.
fn rehearsed(report: &RunReport) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for decision in report.decisions.iter().filter(|decision| !decision.done) {
        let (kind, _) = decision.event.describe();
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    format!(
        "dry run for {}: no memory was taken\n  would be: {}\n  most in use {} bytes of {}\n",
        report.device.name,
        kinds.join(", "),
        report.peak_used_bytes.grouped(),
        report.capacity_bytes,
    )
}

fn pressure(report: &RunReport) -> String {
    let levels = report.levels.iter().filter(|(_, n)| **n > 0);
    let levels: Vec<String> = levels.map(|(level, n)| format!("{level} {n}")).collect();
    format!("  pressure read: {}; {} level changes", levels.join(", "), report.level_changes)
}

fn text(report: &RunReport) -> String {
    let mut text = headline(report) + &details(&report.plan);
    let good = |yes: bool| if yes { GOOD } else { BAD };
    if report.dry_run {
        let _ = writeln!(text, "{}{}", rehearsed(report), pressure(report));
        return text;
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
    let system = match (report.system_peak_bytes, &report.system_peak_unavailable) {
        (Some(bytes), _) => format!("{} resident as the system says", bytes.grouped()),
        (None, Some(reason)) => format!("resident: not known, {reason}"),
        (None, None) => "resident: not known".to_owned(),
    };
    let committed = report.peak_committed_bytes.grouped();
    let _ = writeln!(text, "  peak {committed} bytes committed by the pool, {system}");
    let _ = writeln!(text, "{}; {:.3} s waiting for memory", pressure(report), report.stall_seconds);
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
