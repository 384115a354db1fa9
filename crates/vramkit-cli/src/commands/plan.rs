//! `vramkit plan`.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use vramkit::ByteSize;
use vramkit::plan::{
    AllocationPlan, MemoryPlanner, Observer, PoolError, PooledPlan, Schedule, choose_starts,
};
use vramkit::report::{ConflictReport, OrderReport, PlanReport, StartsReport};
use vramkit::units::Step;
use vramkit_models::workload::to_toml;
use vramkit_models::{Demand, ReadError, ReadOptions, read_all, table};

use crate::args::{OrderArg, PlanOptions};
use crate::failure::Failure;
use crate::interrupt;
use crate::output::{self, BAD, BOLD, GOOD};
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
        let mut text = describe(&report);
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
    pooled: Result<PooledPlan, PoolError>,
) -> Result<bool, Failure> {
    let pooled = match pooled {
        Ok(pooled) => pooled,
        // There is no plan: an answer, not a fault of the input.
        Err(full @ PoolError::Full { .. }) => {
            output::note(&format!("{BAD}does not fit{BAD:#}: {full}\n"))?;
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
    let mut text = describe(&report);
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

/// Shows how far planning is, and ends it with the best so far on Ctrl-C.
struct Watch {
    show: Box<dyn Fn(String) + Send + Sync>,
    interrupted: &'static AtomicBool,
}

impl Observer for Watch {
    fn progress(&self, bound: u64, arena: u64) {
        let (bound, arena) = (ByteSize::new(bound), ByteSize::new(arena));
        (self.show)(format!("planning: {arena} so far, {bound} at least"));
    }

    fn is_cancelled(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

/// A plan in a few lines and a table.
pub fn describe(report: &PlanReport) -> String {
    let mut text = String::new();
    let verdict = match report.proven_optimal {
        true => format!("{GOOD}proven optimal{GOOD:#}"),
        false => {
            format!("{:.3} % over the lower bound of {}", report.gap_ratio * 100.0, report.lower_bound_bytes)
        }
    };
    let arena = report.arena_bytes;
    let _ = writeln!(text, "{BOLD}{arena}{BOLD:#} arena ({} bytes), {verdict}", arena.grouped());
    let tensors: usize = report.models.iter().map(|model| model.tensors).sum();
    if !report.sum_of_sizes_bytes.is_zero() {
        let (sum, peaks) = (report.sum_of_sizes_bytes, report.sum_of_peaks_bytes);
        let _ = writeln!(text, "  {:.2} % less than {sum}, the sum of {tensors} tensors", less(arena, sum));
        let _ = writeln!(
            text,
            "  {:.2} % less than {peaks}, the sum of the models' live peaks",
            less(arena, peaks)
        );
    }
    text + &details(report)
}

/// How a plan came about, and its models in a table.
pub fn details(report: &PlanReport) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "  {} schedule; {} in {:.3} ms; {} pairs of tensors share addresses",
        report.schedule,
        report.method,
        report.elapsed_seconds * 1e3,
        report.shared_pairs
    );
    for model in &report.models {
        let Some(order) = &model.order else { continue };
        let (before, after) = (order.file_peak_bytes, order.reordered_peak_bytes);
        let proven = if order.proven { "no order has less" } else { "not proven lowest" };
        let saved = less(after, before);
        let _ = writeln!(
            text,
            "  order of {}: {before} live at most become {after}, {saved:.2} % less; {proven}",
            model.name
        );
        if order.repeated_steps > 0 {
            let (steps, again) = (order.repeated_steps, order.recomputed_peak_bytes);
            let _ =
                writeln!(text, "    {again} with {steps} steps done again, {:.2} % less", less(again, after));
        }
    }
    if let Some(starts) = &report.starts {
        let (before, after, bound) = (starts.given_peak_bytes, starts.chosen_peak_bytes, starts.bound_bytes);
        let _ = writeln!(
            text,
            "  starts: {before} live at most become {after} within {} steps; {bound} at least",
            starts.makespan.0
        );
        let own =
            report.models.iter().filter_map(|model| Some(format!("{} at {}", model.name, model.start?.0)));
        let _ = writeln!(text, "    {}", own.collect::<Vec<_>>().join(", "));
    }
    let mut rows =
        vec![["model", "tensors", "sum of sizes", "live peak", "weights"].map(str::to_owned).to_vec()];
    for model in &report.models {
        rows.push(vec![
            model.name.clone(),
            model.tensors.to_string(),
            model.sum_of_sizes_bytes.to_string(),
            model.live_peak_bytes.to_string(),
            model.weights_bytes.to_string(),
        ]);
    }
    text + &output::table(&rows)
}

/// How much less one number is than another, in percent.
fn less(after: ByteSize, before: ByteSize) -> f64 {
    100.0 * (1.0 - after.ratio_of(before))
}

/// Why a capacity cannot be met, in words.
fn because(conflict: &ConflictReport, all: bool) -> String {
    let n = conflict.tensors.len();
    let needs = conflict.needs_bytes;
    let mut text = match (conflict.step, n) {
        (Some(step), 1) => format!("one tensor needs {needs} at {step}"),
        (Some(step), _) => format!("{n} tensors need {needs} at {step}"),
        (None, _) if conflict.irreducible => {
            format!("{n} tensors together need more, though any {} of them would fit", n - 1)
        }
        (None, _) => format!("{n} tensors together need more"),
    };
    let shown = if all { n } else { n.min(5) };
    text += &format!(" ({}", conflict.tensors[..shown].join(", "));
    text += if shown < n { ", ...; --explain names all)" } else { ")" };
    text
}

/// Where the bound comes from, and how planning got on.
fn explain(report: &PlanReport, plan: &AllocationPlan) -> String {
    let mut text = String::new();
    if let Some((step, live)) = plan.fullest_step() {
        let bound = report.lower_bound_bytes;
        let mut live: Vec<_> = live.iter().map(|&i| &plan.tensors[i]).collect();
        live.sort_by_key(|tensor| std::cmp::Reverse(tensor.size));
        let _ =
            writeln!(text, "{BOLD}lower bound{BOLD:#}: {bound}, live at {step} in {} tensors", live.len());
        for tensor in live.iter().take(5) {
            let share = 100.0 * tensor.size.ratio_of(bound);
            let _ = writeln!(text, "  {} {share:.1} %: {} of {}", tensor.size, tensor.id, tensor.model);
        }
    }
    if report.proven_bound_bytes > report.lower_bound_bytes {
        let _ = writeln!(text, "{BOLD}proven bound{BOLD:#}: {}, by search", report.proven_bound_bytes);
    }
    let parts = report.steps.iter().map(|step| step.part + 1).max().unwrap_or(0);
    let _ = writeln!(text, "{BOLD}search{BOLD:#}: {parts} part{}", if parts == 1 { "" } else { "s" });
    let mut rows = vec![["part", "tensors", "time", "method", "arena", "bound"].map(str::to_owned).to_vec()];
    for step in &report.steps {
        rows.push(vec![
            step.part.to_string(),
            step.tensors.to_string(),
            format!("{:.3} ms", step.elapsed_seconds * 1e3),
            step.method.clone(),
            step.arena_bytes.grouped(),
            step.bound_bytes.grouped(),
        ]);
    }
    text + &output::table(&rows)
}
