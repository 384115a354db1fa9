//! `vramkit run`.

use std::fmt::Write as _;
use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::device::{Backing, CudaDevice, HostDevice, SimulatedDevice};
use vramkit::orchestrator::{PolicyLadder, RunError, Session, SessionModel, Standing};
use vramkit::plan::{MemoryPlanner, Schedule};
use vramkit::report::{PlanReport, RunReport};
use vramkit::trace::TraceCollector;
use vramkit_models::{Demand, ReadError, ReadOptions, read};

use crate::args::RunOptions;
use crate::commands::plan::describe;
use crate::failure::Failure;
use crate::output::{self, BAD, GOOD};
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
    let progress = Progress::new("executing", Some(session.steps()));
    let outcome = session.run_keeping_plan(&trace, &|steps| progress.advance(steps));
    drop(progress);
    // The trace is of most use when a run failed.
    if let Some(path) = &options.trace {
        output::file(path, |out| trace.write_json_lines(out))?;
    }
    if let Some(path) = &options.perfetto {
        output::file(path, |out| trace.write_perfetto(out))?;
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

fn text(report: &RunReport) -> String {
    let mut text = describe(&report.plan);
    let good = |yes: bool| if yes { GOOD } else { BAD };
    if report.dry_run {
        let _ = writeln!(text, "dry run on {}: no memory was taken", report.device.name);
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
    let system = report.system_peak_bytes.map_or("not available".to_owned(), ByteSize::grouped);
    let _ = writeln!(
        text,
        "  peak {} bytes committed by the pool, {system} resident as the system says",
        report.peak_committed_bytes.grouped()
    );
    let levels = report.levels.iter().filter(|(_, n)| **n > 0);
    let levels: Vec<String> = levels.map(|(level, n)| format!("{level} {n}")).collect();
    let _ = writeln!(
        text,
        "  pressure read: {}; {} level changes; {:.3} s waiting for memory",
        levels.join(", "),
        report.level_changes,
        report.stall_seconds
    );
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
