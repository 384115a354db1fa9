//! vLLM's start-up lines in public logs, beside what is predicted from the configuration alone.
//!
//! In: `tests/data/vllm_logs.csv`: numbers of each log, its settings, which constants were fitted on it (or why it is outside of
//! what is modelled), and its source. Out: a table of cases, and errors by quantity, of all cases and of those on which nothing
//! was fitted. What is outside is shown and not summed up.

use vramkit_fit::{Backend, FitOptions, Runtime, vllm};
use vramkit_units::ByteSize;

use super::vllm_models;

/// One log. What is empty in the table was not printed, or not set.
pub struct Case {
    /// The model's public name.
    pub model: String,
    /// vLLM's release.
    pub release: String,
    /// The device.
    pub device: String,
    /// What the case was fitted on; empty for one that tests.
    pub fitted: String,
    columns: std::collections::HashMap<String, String>,
}

impl Case {
    /// A number of the log or of its settings.
    pub fn number(&self, column: &str) -> Option<f64> {
        self.columns.get(column)?.parse().ok()
    }

    fn count(&self, column: &str) -> Option<u64> {
        self.columns.get(column)?.parse().ok()
    }

    /// What was set.
    pub fn options(&self) -> FitOptions {
        let mut options = FitOptions::new(Runtime::Vllm, Backend::Cuda);
        options.context = self.count("context");
        options.sequences = self.count("sequences");
        options.max_num_batched_tokens = self.count("step_tokens");
        options.tensor_parallel = self.count("devices").unwrap_or(1);
        options.fp8_cache = self.columns.get("fp8_cache").is_some_and(|cache| cache == "yes");
        options.device_memory = self.number("total_gib").map(gib);
        options.gpu_memory_utilization = self.number("utilization").unwrap_or(0.9);
        let release = self.release.split_once('.');
        options.engine_release =
            release.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        options
    }
}

/// Every log of the table.
pub fn cases() -> Vec<Case> {
    let mut reader = csv::Reader::from_reader(include_str!("../../tests/data/vllm_logs.csv").as_bytes());
    let names: Vec<String> = reader.headers().into_iter().flatten().map(str::to_owned).collect();
    let rows = reader.records().flatten();
    rows.map(|row| {
        let columns: std::collections::HashMap<_, _> =
            names.iter().cloned().zip(row.iter().map(str::to_owned)).collect();
        let text = |name: &str| columns.get(name).cloned().unwrap_or_default();
        Case {
            model: text("model"),
            release: text("release"),
            device: text("device"),
            fitted: text("fitted"),
            columns,
        }
    })
    .collect()
}

/// What is compared: a name, what was printed, what is predicted.
pub type Compared = (&'static str, f64, f64);

/// Compares a log with its prediction.
///
/// # Errors
/// The reason why nothing is predicted.
pub fn compare(case: &Case) -> Result<Vec<Compared>, String> {
    let model = vllm_models::header(&case.model).ok_or("no such model")?;
    let options = case.options();
    let takes = vllm::footprint(&model, &options).map_err(|error| error.to_string())?;
    let part = takes.footprint.device;
    let as_gib = |size: ByteSize| size.bytes() as f64 / ByteSize::gib(1).bytes() as f64;
    let mut compared = Vec::new();
    let mut both = |name, printed: Option<f64>, predicted: Option<f64>| {
        if let (Some(printed), Some(predicted)) = (printed, predicted) {
            compared.push((name, printed, predicted));
        }
    };
    both("weights", case.number("weights_gib"), part.weights.map(as_gib));
    both("activations", case.number("activation_gib"), part.workspace.map(as_gib));
    both("non-torch", case.number("non_torch_gib"), takes.footprint.overhead.map(as_gib));
    both("graphs", case.number("graphs_gib").filter(|&graphs| graphs > 0.0), Some(as_gib(takes.cuda_graphs)));
    // Where the configuration does not say how large the weights are, the printed ones stand for them.
    let weights = part.weights.map(as_gib).or(case.number("weights_gib"));
    let cache = weights.zip(takes.budget.map(as_gib)).map(|(weights, budget)| {
        let rest = part.workspace.map_or(0.0, as_gib) + takes.footprint.overhead.map_or(0.0, as_gib);
        (budget - weights - rest).max(0.0)
    });
    both("cache size", case.number("cache_gib"), cache);
    let printed = case.number("cache_gib").filter(|&cache| cache > 0.0).map(gib);
    let lines = printed.and_then(|cache| takes.lines(cache));
    both("tokens of the printed cache", case.number("cache_tokens"), lines.map(|lines| lines.0 as f64));
    both("concurrency of the printed cache", case.number("concurrency"), lines.map(|lines| lines.1));
    Ok(compared)
}

/// The relative error, in percent; nothing where nothing was printed.
pub fn error_percent(printed: f64, predicted: f64) -> Option<f64> {
    (printed != 0.0).then(|| (predicted / printed - 1.0) * 100.0)
}

fn gib(size: f64) -> ByteSize {
    ByteSize::new((size * ByteSize::gib(1).bytes() as f64) as u64)
}

/// Prints the table, then errors by quantity.
pub fn print() {
    let mut errors = std::collections::BTreeMap::<&str, Vec<(f64, bool)>>::new();
    println!(
        "{:<22} {:<7} {:<13} {:<34} {:>12} {:>12} {:>8}",
        "model", "release", "device", "quantity", "printed", "predicted", "error"
    );
    for case in cases() {
        match compare(&case) {
            Err(reason) => println!("{:<22} {:<7} {:<13} {reason}", case.model, case.release, case.device),
            Ok(compared) => {
                for (name, printed, predicted) in compared {
                    let error = error_percent(printed, predicted);
                    let mark = match case.fitted.as_str() {
                        "" => "",
                        outside if outside.starts_with("outside") => " (outside)",
                        _ => " (fitted)",
                    };
                    println!(
                        "{:<22} {:<7} {:<13} {name:<34} {printed:>12.2} {predicted:>12.2} {:>7}%{mark}",
                        case.model,
                        case.release,
                        case.device,
                        error.map_or("-".into(), |error| format!("{error:+.1}"))
                    );
                    if let Some(error) = error.filter(|_| !case.fitted.starts_with("outside")) {
                        errors.entry(name).or_default().push((error.abs(), case.fitted.is_empty()));
                    }
                }
            }
        }
    }
    println!("\n{:<34} {:>6} {:>8} {:>8} {:>8}", "error of", "cases", "median", "95th", "worst");
    for (name, all) in errors {
        let tested: Vec<f64> = all.iter().filter(|error| error.1).map(|error| error.0).collect();
        summary(name, all.iter().map(|error| error.0).collect());
        summary("  where nothing was fitted", tested);
    }
}

fn summary(name: &str, mut errors: Vec<f64>) {
    errors.sort_by(f64::total_cmp);
    let at = |part: f64| {
        errors.get(((errors.len() as f64 * part).ceil() as usize).saturating_sub(1)).copied().unwrap_or(0.0)
    };
    println!("{name:<34} {:>6} {:>7.2}% {:>7.2}% {:>7.2}%", errors.len(), at(0.5), at(0.95), at(1.0));
}
