//! `vramkit plan`.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use vramkit::ByteSize;
use vramkit::plan::{
    AllocationPlan, MemoryPlanner, Observer, PoolPlanError, PooledPlan, Schedule, choose_starts,
};
use vramkit::report::{OrderReport, PlanReport, StartsReport};
use vramkit::units::Step;
use vramkit_models::workload::to_toml;
use vramkit_models::{Demand, ReadError, ReadOptions, read_all, table};

use crate::args::{OrderArg, PlanOptions};
use crate::failure::Failure;
use crate::interrupt;
use crate::output::{self, BAD, GOOD};
use crate::plan_text::{because, describe_plan, explain};
use crate::progress::Progress;

pub fn run(options: &PlanOptions) -> Result<bool, Failure> {
    let read = ReadOptions {
        alignment: options.alignment,
        dims: options.dims.iter().cloned().collect(),
        in_place: options.in_place,
        reorder: options.order == OrderArg::Memory,
        recompute: options.recompute,
    };
    let mut demand = read_all(&options.files, &read)?;
    let several = if options.files.len() > 1 { Schedule::Sequential } else { Schedule::Fixed };
    let schedule = options.schedule.map(Schedule::from).or(demand.schedule).unwrap_or(several);
    demand.schedule = Some(schedule);
    let starts = match options.makespan {
        Some(makespan) => Some(choose(&mut demand, schedule, Step(makespan), options.seed)?),
        None => None,
    };
    let mut planner = MemoryPlanner::thorough(options.deadline).seed(options.seed);
    if let Some(threads) = options.threads {
        planner = planner.threads(threads.into());
    }
    if let Some(capacity) = options.capacity {
        planner = planner.capacity(capacity);
    }
    let progress = Progress::new("planning", None);
    planner = planner.observer(Watch { show: Box::new(progress.messages()), interrupted: interrupt::flag() });
    let files: Vec<String> = options.files.iter().map(|file| file.display().to_string()).collect();
    let files = files.join(", ");
    if !demand.pools.is_empty() {
        let pooled = planner.plan_pools(&demand.models, schedule, &demand.pools);
        drop(progress);
        return over_pools(options, &demand, starts, &files, pooled);
    }
    let plan = planner
        .plan(&demand.models, schedule)
        .map_err(|error| ReadError::Lifetimes { file: files, error })?;
    drop(progress);
    write_files(options, &demand, &plan)?;
    let mut report = PlanReport::new(&plan, options.capacity, options.json);
    savings(&mut report, &demand, starts);
    if options.json {
        output::json(&report)?;
    } else {
        let mut text = describe_plan(&report);
        if options.explain {
            text += &explain(&report, &plan);
        }
        if let Some(capacity) = options.capacity {
            text += &match report.feasible {
                Some(true) => format!("{GOOD}fits{GOOD:#} a capacity of {capacity}\n"),
                Some(false) => {
                    let reason = report.conflict.as_ref().map_or_else(
                        || format!("at least {} are needed", plan.proven_bound),
                        |conflict| because(conflict, options.explain),
                    );
                    format!("{BAD}does not fit{BAD:#} a capacity of {capacity}: {reason}\n")
                }
                None => {
                    format!("{BAD}not found{BAD:#} within a capacity of {capacity}, nor proven impossible\n")
                }
            };
        }
        output::text(&text)?;
    }
    Ok(report.feasible == Some(true))
}

/// A plan over several pools.
fn over_pools(
    options: &PlanOptions,
    demand: &Demand,
    starts: Option<StartsReport>,
    files: &str,
    pooled: Result<PooledPlan, PoolPlanError>,
) -> Result<bool, Failure> {
    let pooled = match pooled {
        Ok(pooled) => pooled,
        // There is no plan, or none was found: an answer, not a fault of the input.
        Err(ref full @ PoolPlanError::Full { proven, ref closest, .. }) => {
            let reason = full.to_string();
            let word = if proven { "does not fit" } else { "not found" };
            output::note(&format!("{BAD}{word}{BAD:#}: {reason}\n"))?;
            if options.json {
                output::json(&refused(closest.as_deref(), demand, proven, reason)?)?;
            }
            return Ok(false);
        }
        Err(error) => return Err(ReadError::In { file: files.to_owned(), reason: error.to_string() }.into()),
    };
    if let Some(path) = &options.output {
        output::file(path, |out| table::write_pools(&pooled, out))?;
    }
    if let Some(path) = &options.svg {
        for (pool, plan) in &pooled.pools {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let own = path.with_file_name(format!("{stem}-{}.svg", pool.name));
            draw(plan, Some(pool.capacity), &own)?;
        }
    }
    write_export(options, demand)?;
    let mut report = PlanReport::of_pools(&pooled, options.json);
    savings(&mut report, demand, starts);
    if options.json {
        output::json(&report)?;
        return Ok(true);
    }
    let mut text = describe_plan(&report);
    let mut rows = vec![["pool", "tensors", "arena", "capacity", "live peak"].map(str::to_owned).to_vec()];
    for pool in report.pools.iter().flatten() {
        rows.push(vec![
            pool.name.clone(),
            pool.tensors.to_string(),
            pool.arena_bytes.to_string(),
            pool.capacity_bytes.to_string(),
            pool.lower_bound_bytes.to_string(),
        ]);
    }
    text += &output::table(&rows);
    let _ = writeln!(text, "{} are not in the pool that they prefer", pooled.displaced);
    output::text(&text)?;
    Ok(true)
}

fn write_files(options: &PlanOptions, demand: &Demand, plan: &AllocationPlan) -> Result<(), Failure> {
    if let Some(path) = &options.output {
        output::file(path, |out| match &demand.table {
            Some(rows) => rows.write_with_offsets(&plan.offsets, out),
            None => table::write_plan(plan, out),
        })?;
    }
    if let Some(path) = &options.svg {
        draw(plan, options.capacity, path)?;
    }
    write_export(options, demand)
}

fn draw(plan: &AllocationPlan, capacity: Option<ByteSize>, path: &Path) -> Result<(), Failure> {
    let svg = vramkit_report::plan_svg(&PlanReport::new(plan, capacity, true));
    output::file(path, |out| std::io::Write::write_all(out, svg.as_bytes()))
}

fn write_export(options: &PlanOptions, demand: &Demand) -> Result<(), Failure> {
    if let Some(path) = &options.export {
        let files: Vec<String> = options.files.iter().map(|file| file.display().to_string()).collect();
        let heading = format!("Made by: vramkit plan {} --export {}", files.join(" "), path.display());
        let mut demand = demand.clone();
        if let Some(name) = path.file_stem().filter(|_| options.files.len() > 1) {
            demand.name = name.to_string_lossy().into_owned();
        }
        let toml = to_toml(&demand, &heading);
        output::file(path, |out| std::io::Write::write_all(out, toml.as_bytes()))?;
    }
    Ok(())
}

/// Sets the models' starts, and says what that saves.
fn choose(
    demand: &mut Demand,
    schedule: Schedule,
    makespan: Step,
    seed: u64,
) -> Result<StartsReport, Failure> {
    if schedule != Schedule::Fixed {
        return Err(Failure::Input(format!(
            "--makespan chooses when models start on one clock; the {schedule} schedule has none (--schedule fixed)"
        )));
    }
    let chosen =
        choose_starts(&demand.models, makespan, seed).map_err(|error| Failure::Input(error.to_string()))?;
    for (model, start) in demand.models.iter_mut().zip(&chosen.starts) {
        model.start = *start;
    }
    Ok(StartsReport {
        makespan,
        given_peak_bytes: chosen.before,
        chosen_peak_bytes: chosen.peak,
        bound_bytes: chosen.bound,
    })
}

/// Adds what orders and starts saved.
fn savings(report: &mut PlanReport, demand: &Demand, starts: Option<StartsReport>) {
    for ((model, own), settings) in report.models.iter_mut().zip(&demand.models).zip(&demand.settings) {
        model.start = starts.is_some().then_some(own.start);
        model.order = settings.order.map(|saving| OrderReport {
            file_peak_bytes: saving.before,
            reordered_peak_bytes: saving.reordered,
            proven: saving.proven,
            recomputed_peak_bytes: saving.recomputed,
            repeated_steps: saving.repeated,
        });
    }
    report.starts = starts;
}

/// What there is to say where no distribution over pools fits: the closest one, or nothing placed at all.
fn refused(
    closest: Option<&PooledPlan>,
    demand: &Demand,
    proven: bool,
    reason: String,
) -> Result<PlanReport, Failure> {
    let report = match closest {
        Some(closest) => PlanReport::of_pools(closest, true),
        None => {
            let schedule = demand.schedule.unwrap_or_default();
            let nothing = MemoryPlanner::new().plan(&[], schedule);
            let nothing = nothing.map_err(|error| Failure::Input(error.to_string()))?;
            PlanReport::new(&nothing, None, true)
        }
    };
    Ok(report.refused(proven, reason))
}

/// Shows how far planning is, and ends it with the best so far on Ctrl-C and SIGTERM.
struct Watch {
    show: Box<dyn Fn(String) + Send + Sync>,
    interrupted: &'static AtomicBool,
}

impl Observer for Watch {
    fn progress(&self, bound: ByteSize, arena: ByteSize) {
        (self.show)(format!("planning: {arena} so far, {bound} at least"));
    }

    fn is_cancelled(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}
