//! `vramkit plan`.

use std::io::Write as _;
use std::path::Path;

use vramkit::Step;
use vramkit::plan::Schedule;
use vramkit_ask::{Placed, PlanAnswer, PlanEngine, PlanQuestion, ReadOptions, RuntimeLevel};

use crate::args::dimensions;
use crate::args::{OrderArg, PlanEngineArg, PlanOptions};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::output::{self, BAD};
use crate::plan_text::{describe_plan, explain, pools, verdict};

pub fn run(options: &PlanOptions, caller: &mut Caller) -> Result<bool, Failure> {
    let progress = caller.interruptible("planning");
    let answer = vramkit_ask::plan(&question(options)?, progress)?;
    if let Some(refusal) = &answer.report.refusal {
        let word = if answer.report.feasible == Some(false) { "does not fit" } else { "not found" };
        caller.note(&format!("{BAD}{word}{BAD:#}: {refusal}\n"))?;
        if options.json {
            caller.json(&answer.report)?;
        }
        return Ok(answer.is_yes());
    }
    if let Some(table) = answer.demand.table.as_ref().filter(|table| table.clocks > 1) {
        caller.note(&format!(
            "lives on {} clocks: a step is a set of tensors that may all be live together, and steps have no order\n",
            table.clocks
        ))?;
    }
    write_files(options, &answer)?;
    if options.json {
        caller.json(&answer.report)?
    } else {
        caller.text(&text(options, &answer))?
    }
    Ok(answer.is_yes())
}

fn question(options: &PlanOptions) -> Result<PlanQuestion, Failure> {
    Ok(PlanQuestion {
        files: options.files.clone(),
        read: ReadOptions {
            alignment: options.alignment,
            dims: dimensions(&options.dims)?,
            shapes: options.shapes.clone(),
            in_place: options.in_place,
            // What is exported is to be run.
            several_clocks: options.files.len() == 1
                && options.makespan.is_none()
                && options.export.is_none(),
        },
        reorder: options.order == OrderArg::Memory,
        recompute: options.recompute,
        engine: options.engine.map(|engine| match engine {
            PlanEngineArg::Ort => PlanEngine::onnx_runtime(),
            PlanEngineArg::OrtExtended => PlanEngine::OnnxRuntime(RuntimeLevel::Extended),
            PlanEngineArg::OrtBasic => PlanEngine::OnnxRuntime(RuntimeLevel::Basic),
        }),
        schedule: options.schedule.map(Schedule::from),
        capacity: options.capacity,
        deadline: options.deadline,
        seed: options.seed,
        threads: options.threads.map(usize::from),
        makespan: options.makespan.map(Step),
    })
}

fn text(options: &PlanOptions, answer: &PlanAnswer) -> String {
    let report = &answer.report;
    let mut text = describe_plan(report);
    match &answer.placed {
        Placed::Arena(plan) => {
            if options.explain {
                text += &explain(report, plan);
            }
            if let Some(capacity) = options.capacity {
                text += &verdict(report, capacity, options.explain);
            }
        }
        _ => text += &pools(report),
    }
    text
}

fn write_files(options: &PlanOptions, answer: &PlanAnswer) -> Result<(), Failure> {
    if let Some(path) = &options.output {
        output::file(path, |out| answer.write_offsets(out))?;
    }
    if let Some(path) = &options.svg {
        for picture in answer.pictures()? {
            let path = match &picture.pool {
                Some(pool) => {
                    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                    &path.with_file_name(format!("{stem}-{pool}.svg"))
                }
                None => path,
            };
            output::file(path, |out| out.write_all(picture.svg.as_bytes()))?;
        }
    }
    match &options.export {
        Some(path) => write_export(options, answer, path),
        None => Ok(()),
    }
}

/// Several files become a workload that is called as its file is.
fn write_export(options: &PlanOptions, answer: &PlanAnswer, path: &Path) -> Result<(), Failure> {
    let files: Vec<String> = options.files.iter().map(|file| file.display().to_string()).collect();
    let mut heading = format!("Made by: vramkit plan {} --export {}", files.join(" "), path.display());
    let name = path.file_stem().filter(|_| options.files.len() > 1).map(|name| name.to_string_lossy());
    for model in &answer.report.models {
        let derived = model.derived_bytes;
        if !derived.is_zero() {
            heading += &format!("\n{derived} of the weights of {} are computed from the others.", model.name);
        }
        if model.graph.as_ref().is_some_and(|graph| !graph.bounds.is_empty()) {
            heading +=
                &format!("\nSome sizes of {} depend on data, and are the most that they can be.", model.name);
        }
    }
    let toml = answer.workload_toml(name.as_deref(), &heading);
    output::file(path, |out| out.write_all(toml.as_bytes()))
}
