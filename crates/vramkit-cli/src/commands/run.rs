//! `vramkit run`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use vramkit::plan::Schedule;
use vramkit_ask::{AskError, ParseDeviceError, RunQuestion, TraceFormat, TraceSinks};

use crate::args::RunOptions;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::output;
use crate::plan_text::shared;
use crate::run_text::{counted, describe_run};

pub fn run(options: &RunOptions, caller: &mut Caller) -> Result<bool, Failure> {
    // Before files for the trace are made anew.
    distinct(options)?;
    let prepared = question(options)?.prepare()?;
    let mut sinks = sinks(options)?;
    let outcome = prepared.run(&mut sinks, caller.progress("executing"));
    // The trace is of most use when a run failed.
    if sinks.missing().is_any() {
        let missing = counted(sinks.missing());
        caller.note(&format!("note: {missing} that came too fast are not in the trace's files\n"))?;
    }
    let answer = outcome.map_err(|error| unwritten(options, error))?;
    if let Some(path) = &options.report {
        let page = answer.page().map_err(AskError::from)?;
        output::file(path, |out| out.write_all(page.as_bytes()))?;
    }
    if options.json {
        caller.json(&answer.report)?
    } else {
        let shared = if options.explain { shared(&answer.report.plan) } else { String::new() };
        caller.text(&(describe_run(&answer.report) + &shared))?
    }
    Ok(answer.is_yes())
}

fn question(options: &RunOptions) -> Result<RunQuestion, Failure> {
    Ok(RunQuestion {
        workload: options.workload.clone(),
        schedule: options.schedule.map(Schedule::from),
        device: options
            .device
            .parse()
            .map_err(|error: ParseDeviceError| Failure::Input(error.to_string()))?,
        capacity: options.capacity,
        verify: options.verify.into(),
        dry_run: options.dry_run,
        ..RunQuestion::default()
    })
}

/// What is written is neither the workload nor twice the same file.
fn distinct(options: &RunOptions) -> Result<(), Failure> {
    let mut taken = vec![&options.workload];
    for path in [&options.trace, &options.perfetto, &options.record, &options.report].into_iter().flatten() {
        // Devices and pipes may be written to by several.
        let is_taken = taken.iter().any(|other| *other == path || output::is_same(other, path));
        if is_taken && (path.is_file() || !path.exists()) {
            let path = path.display();
            return Err(Failure::Input(format!("`{path}` would be written over: name another file")));
        }
        taken.push(path);
    }
    Ok(())
}

fn sinks(options: &RunOptions) -> Result<TraceSinks, Failure> {
    let open = |path: &Path| match File::create(path) {
        Ok(file) => Ok(BufWriter::new(file)),
        Err(error) => Err(Failure::Write { path: path.to_owned(), error }),
    };
    let mut sinks = TraceSinks::default();
    if let Some(path) = &options.perfetto {
        sinks = sinks.perfetto(open(path)?);
    }
    if let Some(path) = &options.trace {
        sinks = sinks.json_lines(open(path)?);
    }
    if let Some(path) = &options.record {
        sinks = sinks.recording(open(path)?);
    }
    Ok(sinks)
}

/// Names the file of a trace that could not be written.
fn unwritten(options: &RunOptions, error: AskError) -> Failure {
    match error {
        AskError::WriteTrace { format, error } => {
            let path = match format {
                TraceFormat::Perfetto => &options.perfetto,
                TraceFormat::Recording => &options.record,
                _ => &options.trace,
            };
            Failure::Write { path: path.clone().unwrap_or_default(), error }
        }
        error => error.into(),
    }
}
