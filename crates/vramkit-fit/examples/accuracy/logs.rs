//! Logs of llama.cpp on real cards, beside what is predicted.
//!
//! In: `tests/data/llama_cpp_logs.csv`. Out: each log with the error of what it says in all, as asked with today's defaults, and with
//! what the log's own build did (`then`: one cache for all sequences, logits of the whole micro-batch …); why, where a figure is off.
//! Weights are taken from the log: files of one name differ in them.

use std::path::Path;

use vramkit_fit::{Backend, FitOptions, GpuLayers, Part, VULKAN_CARD_RANGE, footprint};
use vramkit_testing::gguf::SparseModel;

use super::probes::{Row, options, rows, written};

const MIB: f64 = 1_048_576.0;

/// How far one log is off.
#[derive(Clone, Debug)]
pub struct LogError {
    pub model: String,
    pub device: String,
    /// Weights, cache, state and workspace of the device, where the log says all; a signed part.
    pub total: Option<f64>,
    /// The same with what its build did.
    pub total_then: Option<f64>,
    pub workspace: f64,
    pub workspace_then: f64,
    /// What is different in its build; empty where nothing is.
    pub note: String,
}

/// Every log beside its prediction.
///
/// # Errors
/// What the system says, and why nothing is predicted.
pub fn compared(scratch: &Path) -> Result<Vec<LogError>, String> {
    rows(include_str!("../../tests/data/llama_cpp_logs.csv"))
        .iter()
        .map(|row| compare(row, scratch))
        .collect()
}

fn compare(row: &Row, scratch: &Path) -> Result<LogError, String> {
    let model = SparseModel::from_columns(|column| row.text(column));
    let backend: Backend = row.text("backend").parse()?;
    let header = written(&model, scratch)?;
    let mut asked = options(row, backend);
    asked.largest_tensor = (backend == Backend::Vulkan).then_some(VULKAN_CARD_RANGE);
    let then = then(asked.clone(), row.text("then"))?;
    let predict = |options: &FitOptions| match footprint(&header, options) {
        Ok(predicted) => Ok(predicted.device),
        Err(error) => Err(error.to_string()),
    };
    let (now, then) = (predict(&asked)?, predict(&then)?);
    let workspace =
        |part: &Part| ratio(mib(part.workspace.unwrap_or_default().bytes()), row.number("workspace_mib"));
    Ok(LogError {
        model: row.text("model").to_owned(),
        device: row.text("device").to_owned(),
        total: total(row, &now),
        total_then: total(row, &then),
        workspace: workspace(&now).unwrap_or(0.0),
        workspace_then: workspace(&then).unwrap_or(0.0),
        note: row.text("note").to_owned(),
    })
}

/// What the log's build did that today's do when they are told to.
fn then(mut options: FitOptions, said: &str) -> Result<FitOptions, String> {
    for setting in said.split(',').filter(|setting| !setting.is_empty()) {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        let count = value.parse::<u64>();
        match (name, count) {
            ("unified", _) => options.kv_unified = true,
            ("whole-windows", _) => options.swa_full = true,
            ("outputs", Ok(count)) => options.outputs = Some(count),
            ("sequences", Ok(count)) => options.sequences = Some(count),
            ("layers", Ok(count)) => options.gpu_layers = GpuLayers::Last(count),
            _ => return Err(format!("`{setting}` is no setting")),
        }
    }
    Ok(options)
}

/// The error of everything that the log says of the device; nothing of one that does not say all.
fn total(row: &Row, part: &Part) -> Option<f64> {
    let weights = row.number("weights_mib")?;
    let printed = weights
        + row.number("kv_mib")?
        + row.number("state_mib").unwrap_or(0.0)
        + row.number("workspace_mib")?;
    let rest = part.kv.bytes() + part.state.bytes() + part.workspace?.bytes();
    ratio(weights + mib(rest), Some(printed))
}

fn ratio(predicted: f64, printed: Option<f64>) -> Option<f64> {
    printed.map(|printed| predicted / printed - 1.0)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// Prints the table of logs, and how many are within 3 %.
///
/// # Errors
/// As [`compared`].
pub fn print() -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let logs = compared(&scratch.path().join("model.gguf"))?;
    let percent =
        |error: Option<f64>| error.map_or("–".to_owned(), |error| format!("{:+.2} %", error * 100.0));
    println!("### Logs of real cards\n");
    println!(
        "| model | device | all, as asked | workspace | all, as its build did | workspace | what is different |"
    );
    println!("|---|---|---:|---:|---:|---:|---|");
    for log in &logs {
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            log.model,
            log.device,
            percent(log.total),
            percent(Some(log.workspace)),
            percent(log.total_then),
            percent(Some(log.workspace_then)),
            log.note
        );
    }
    let within = |of: fn(&LogError) -> Option<f64>| {
        let errors: Vec<f64> = logs.iter().filter_map(of).collect();
        (errors.iter().filter(|error| error.abs() <= 0.03).count(), errors.len())
    };
    let (asked, all) = within(|log| log.total);
    let (then, _) = within(|log| log.total_then);
    println!("\nWithin 3 % in all: {asked} of {all} as asked, {then} as their builds did.\n");
    Ok(())
}
