//! `vramkit validate`.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use vramkit_ask::{
    AskError, Drawing, Listener, ReadError, ValidateProgress, ValidateQuestion, ValidateReport,
    ValidateSource,
};

use crate::args::{DatasetArg, FormatArg, ValidateOptions};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::output;
use crate::validate_text;

pub fn run(options: &ValidateOptions, caller: &mut Caller) -> Result<bool, Failure> {
    if options.tensor_parallel_size != 1 {
        return Err(Failure::Input(format!(
            "--tensor-parallel-size {}: the engine computes on one device, and its cache is in that device's memory alone; 1 is the \
             only size, and what each of several devices would hold is a question for `vramkit fit --tensor-parallel`",
            options.tensor_parallel_size
        )));
    }
    let sources = sources(options)?;
    // A second data set that is not there shows before the first one has run.
    for source in &sources {
        fs::metadata(source.path()).map_err(|error| {
            let path = source.path().to_owned();
            Failure::Ask(ReadError::Io { path, error }.into())
        })?;
    }
    can_be_made(&options.output_dir)?;
    let reports = sources.iter().map(|source| one(options, source, caller)).collect::<Result<Vec<_>, _>>()?;
    let written = draw(options, &reports)?;
    // All that they know is in the results now.
    for journal in sources.iter().filter_map(|source| journal(options, source)) {
        if journal.exists() {
            fs::remove_file(&journal).map_err(|error| Failure::Write { path: journal, error })?;
        }
    }
    let is_yes = reports.iter().all(ValidateReport::is_yes);
    if options.json {
        let mut reports = reports;
        let mut first = reports.remove(0);
        first.beside = reports;
        caller.json(&first)?;
    } else {
        let texts: String = reports.iter().map(validate_text::text).collect();
        let written: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        caller.text(&format!("{texts}written: {}\n", written.join(", ")))?;
    }
    Ok(is_yes)
}

/// Where the cycles of a data set are noted. Of a limited run who made way for whom is not, so it has none.
fn journal(options: &ValidateOptions, source: &ValidateSource) -> Option<PathBuf> {
    let file = options.output_dir.join(format!("{}_memory_validation.journal", source.name()));
    options.kv_limit.is_none().then_some(file)
}

/// The data sets that are asked for, the one of `--dataset` first.
fn sources(options: &ValidateOptions) -> Result<Vec<ValidateSource>, Failure> {
    let source = |dataset: DatasetArg| {
        let (path, option, make): (_, _, fn(PathBuf) -> ValidateSource) = match dataset {
            DatasetArg::Alpaca => (&options.alpaca_path, "--alpaca-path", ValidateSource::Alpaca),
            DatasetArg::Sharegpt => (&options.sharegpt_path, "--sharegpt-path", ValidateSource::ShareGpt),
            DatasetArg::Lengths => (&options.lengths_path, "--lengths-path", ValidateSource::Lengths),
        };
        path.clone()
            .map(make)
            .ok_or_else(|| Failure::Input(format!("this data set needs its file: give {option}")))
    };
    let chosen = options.dataset;
    if !options.run_both {
        return Ok(vec![source(chosen)?]);
    }
    let both = match chosen {
        DatasetArg::Alpaca => [chosen, DatasetArg::Sharegpt],
        DatasetArg::Sharegpt => [chosen, DatasetArg::Alpaca],
        DatasetArg::Lengths => {
            return Err(Failure::Input("--run-both runs alpaca and sharegpt: lengths run alone".to_owned()));
        }
    };
    both.into_iter().map(source).collect()
}

/// That files can be made in a folder shows before the run, not behind it; it is made when there is something to put into it.
fn can_be_made(folder: &Path) -> Result<(), Failure> {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let tried = if there.is_dir() {
        output::try_folder(there)
    } else {
        Err(std::io::ErrorKind::NotADirectory.into())
    };
    tried.map_err(|error| Failure::Write { path: folder.to_owned(), error })
}

/// Runs one experiment.
fn one(
    options: &ValidateOptions,
    source: &ValidateSource,
    caller: &mut Caller,
) -> Result<ValidateReport, Failure> {
    let question = ValidateQuestion {
        most_samples: options.max_samples,
        batch_size: options.batch_size,
        threshold: options.switching_threshold,
        cycles: options.num_cycles,
        warmup_cycles: options.warmup_cycles,
        most_output_tokens: options.max_output_tokens,
        scale: options.scale,
        leave_out_bad_rows: options.skip_bad_rows,
        context: options.ctx,
        threads: options.threads,
        seed: options.seed,
        capacity: options.capacity,
        kv_limit: options.kv_limit,
        journal: journal(options, source),
        renderer: Some(super::generate::renderer(caller)?),
        ..ValidateQuestion::new(&options.model, source.clone())
    };
    let interrupted = caller.interrupted();
    let progress = caller.interruptible(source.name());
    let (mut shown, mut noted) = (None, Ok(()));
    let report = vramkit_ask::validate(&question, &mut |at: ValidateProgress| {
        let before = *shown.get_or_insert_with(|| {
            progress.begun(at.of as u64);
            if at.cycles > 0 {
                noted = caller.note(&format!("going on behind cycle {} of {}\n", at.cycles, at.of));
            }
            0
        });
        progress.advanced((at.cycles - before) as u64);
        shown = Some(at.cycles);
        if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    drop(progress);
    noted?;
    Ok(report.map_err(AskError::from)?)
}

/// Writes each result, draws it beside its document, and several side by side.
fn draw(options: &ValidateOptions, reports: &[ValidateReport]) -> Result<Vec<PathBuf>, Failure> {
    let folder = &options.output_dir;
    fs::create_dir_all(folder).map_err(|error| Failure::Write { path: folder.clone(), error })?;
    let mut written = Vec::new();
    for report in reports {
        // A limited run leaves the results of the one that it is compared with.
        let limited = if report.limit.is_some() { "_limited" } else { "" };
        let name = format!("{}{limited}", report.dataset);
        let stem = options.output_dir.join(format!("{name}_memory_validation"));
        let result = stem.with_extension("json");
        output::replace(&result, &serde_json::to_vec_pretty(report).map_err(std::io::Error::from)?)?;
        written.push(result);
        let lengths = options.output_dir.join(format!("{name}_measured_lengths.csv"));
        let rows = report.lengths.iter().map(|[prompt, output]| format!("{prompt},{output}\n"));
        let table: String = ["prompt_tokens,output_tokens\n".to_owned()].into_iter().chain(rows).collect();
        output::replace(&lengths, table.as_bytes())?;
        written.push(lengths);
        let drawing = Drawing::of_reports(std::slice::from_ref(report))?;
        written.extend(super::report::write(&drawing, &stem, &[FormatArg::Pdf, FormatArg::Html])?);
    }
    if reports.len() > 1 {
        let stem = options.output_dir.join("both_memory_validation");
        written.extend(super::report::write(
            &Drawing::of_reports(reports)?,
            &stem,
            &[FormatArg::Pdf, FormatArg::Html],
        )?);
    }
    Ok(written)
}
