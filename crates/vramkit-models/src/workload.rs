//! Workload files: models, inline or by file, with the schedule, capacity and policies to run them under.
//!
//! TOML and JSON hold the same keys ([`WorkloadFile`]); an unknown key is an error that names the nearest known
//! one. [`to_toml`] writes a demand as such a file, a tensor a line.
//!
//! ```
//! use vramkit_models::{ReadOptions, read, workload::to_toml};
//!
//! # let path = std::env::temp_dir().join(format!("vramkit-workload-doc-{}.toml", std::process::id()));
//! std::fs::write(&path, r#"
//!     schedule = "sequential"
//!     [[models]]
//!     name = "net"
//!     tensors = [{ id = "a", size = "8 MiB", start = 0, end = 2 }]
//! "#)?;
//! let demand = read(&path, &ReadOptions::default())?;
//! assert!(to_toml(&demand, "as it was read").contains("size = 8388608"));
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use vramkit_plan::{LifetimeError, Model, PoolLimit, Schedule, TensorLifetime};
use vramkit_pressure::PolicyLadder;
use vramkit_units::{ByteSize, Step};

use crate::demand::{ALIGNMENT, Demand, ReadOptions, Settings};
use crate::error::{ReadError, nearest};
use crate::file::stem;
use crate::model_file::{ModelFile, read_model};
use crate::onnx::unknown_dimension;

/// A workload file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadFile {
    /// What to call it; the file's name otherwise.
    #[serde(default)]
    pub name: Option<String>,
    /// How the models run beside one another; `fixed` otherwise.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// Most bytes of the pool.
    #[serde(default)]
    pub capacity: Option<ByteSize>,
    /// Alignment of tensors without their own; 256 otherwise.
    #[serde(default)]
    pub alignment: Option<u64>,
    /// How often every model runs; once otherwise.
    #[serde(default)]
    pub repetitions: Option<u32>,
    /// When to act on pressure, and how; the `orchestrator` preset otherwise.
    #[serde(default)]
    pub pressure: Option<PolicyLadder>,
    /// Kinds of memory, the preferred first, over which tensors are distributed; one without a limit otherwise.
    #[serde(default)]
    pub pools: Vec<PoolEntry>,
    /// The models.
    pub models: Vec<ModelEntry>,
}

/// A model of a workload: a file, or tensors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Its name; the file's name otherwise.
    #[serde(default)]
    pub name: Option<String>,
    /// An ONNX graph or a lifetime table, relative to the workload file.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// Sizes of the graph's symbolic dimensions.
    #[serde(default)]
    pub dims: BTreeMap<String, u64>,
    /// The step at which it starts under the fixed schedule; 0 otherwise.
    #[serde(default)]
    pub start: u64,
    /// Bytes of parameters; the file's otherwise.
    #[serde(default)]
    pub weights: Option<ByteSize>,
    /// Lower goes first when memory is needed; 0 otherwise.
    #[serde(default)]
    pub priority: i32,
    /// When asked to degrade, the model makes do with this part of its tensors' sizes.
    #[serde(default)]
    pub degrade_to_ratio: Option<f64>,
    /// Its tensors, where there is no file.
    #[serde(default)]
    pub tensors: Vec<TensorEntry>,
}

/// A tensor of a workload.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorEntry {
    /// Its name, unique in the workload.
    pub id: String,
    /// Its size.
    pub size: ByteSize,
    /// The step that makes it.
    pub start: u64,
    /// The first step that no longer needs it.
    pub end: u64,
    /// Its alignment; the workload's otherwise.
    #[serde(default)]
    pub alignment: Option<u64>,
    /// Where it is pinned.
    #[serde(default)]
    pub offset: Option<ByteSize>,
    /// Where a search may try it first.
    #[serde(default)]
    pub hint: Option<ByteSize>,
    /// Its alias group.
    #[serde(default)]
    pub group: Option<String>,
    /// The steps that read it; its last one otherwise.
    #[serde(default)]
    pub reads: Vec<u64>,
    /// Steps, from the first of each pair to before the second, during which its content does not matter.
    #[serde(default)]
    pub gaps: Vec<(u64, u64)>,
    /// The pools that it may be in, the preferred first; any otherwise.
    #[serde(default)]
    pub pools: Vec<String>,
}

/// A pool of a workload.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolEntry {
    /// Its name, which tensors mention.
    pub name: String,
    /// Most bytes of its arena.
    pub capacity: ByteSize,
}

/// How a workload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    Toml,
    Json,
}

/// Reads a workload; `folder` is where the files that it names are.
pub(crate) fn parse(
    file: &str,
    text: &str,
    syntax: Syntax,
    folder: &std::path::Path,
    options: &ReadOptions,
) -> Result<Demand, ReadError> {
    let workload: WorkloadFile = match syntax {
        Syntax::Toml => toml::from_str(text).map_err(|error| {
            let before = error.span().map_or("", |span| &text[..span.start.min(text.len())]);
            let line = before.matches('\n').count() as u64 + 1;
            ReadError::At { file: file.to_owned(), line, reason: with_hint(error.message()) }
        })?,
        Syntax::Json => serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
            ReadError::At { file: file.to_owned(), line: error.line() as u64, reason: with_hint(message) }
        })?,
    };
    demand(file, workload, folder, options)
}

/// Adds the nearest known key to an unknown one: serde's message lists all that are known, in backquotes.
fn with_hint(message: &str) -> String {
    let message = message.trim_end();
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return message.to_owned();
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or("");
    format!("{message}{}", nearest(unknown, names))
}

fn demand(
    file: &str,
    workload: WorkloadFile,
    folder: &std::path::Path,
    options: &ReadOptions,
) -> Result<Demand, ReadError> {
    let within = |reason: String| ReadError::within(file, reason);
    let lifetimes = |error: LifetimeError| ReadError::Lifetimes { file: file.to_owned(), error };
    let alignment = options.alignment.or(workload.alignment).unwrap_or(ALIGNMENT);
    if !alignment.is_power_of_two() {
        return Err(within(format!("alignment {alignment} is not a power of two")));
    }
    if let Some(ladder) = &workload.pressure {
        ladder.check().map_err(|error| within(format!("pressure: {error}")))?;
    }
    if workload.repetitions == Some(0) {
        return Err(within("repetitions must be at least 1".to_owned()));
    }
    let mut demand = Demand::new(workload.name.clone().unwrap_or_else(|| stem(file)));
    // Ids of inline tensors name one tensor of the whole workload.
    let mut ids: HashMap<String, String> = HashMap::new();
    let mut names: HashSet<Arc<str>> = HashSet::new();
    for entry in workload.models {
        let (model, settings) = model(&within, entry, alignment, folder, options)?;
        if !names.insert(model.name.clone()) {
            return Err(lifetimes(LifetimeError::DuplicateModel(model.name)));
        }
        if !settings.from_file {
            for tensor in &model.tensors {
                if let Some(other) = ids.insert(tensor.id.to_string(), model.name.to_string()) {
                    let reason =
                        format!("tensor `{}` is in `{other}` and again in `{}`", tensor.id, model.name);
                    return Err(within(format!("{reason}; ids name one tensor of a workload")));
                }
            }
        }
        demand.models.push(model);
        demand.settings.push(settings);
    }
    demand.schedule = workload.schedule;
    demand.capacity = workload.capacity;
    let limit = |pool: PoolEntry| PoolLimit { name: pool.name.into(), capacity: pool.capacity };
    demand.pools = workload.pools.into_iter().map(limit).collect();
    demand.repetitions = workload.repetitions.unwrap_or(1);
    demand.ladder = workload.pressure;
    Ok(demand)
}

fn model(
    within: &dyn Fn(String) -> ReadError,
    entry: ModelEntry,
    alignment: u64,
    folder: &std::path::Path,
    options: &ReadOptions,
) -> Result<(Model, Settings), ReadError> {
    let label = entry.name.clone().or_else(|| entry.file.as_ref().map(|file| stem(&file.to_string_lossy())));
    let Some(name) = label.filter(|name| !name.is_empty()) else {
        return Err(within("a model has neither a `name` nor a `file`".to_owned()));
    };
    if let Some(ratio) = entry.degrade_to_ratio
        && !(ratio > 0.0 && ratio < 1.0)
    {
        return Err(within(format!("model `{name}`: degrade_to_ratio {ratio} must be within (0, 1)")));
    }
    let mut settings = Settings {
        priority: entry.priority,
        degrade_to_ratio: entry.degrade_to_ratio,
        from_file: entry.file.is_some(),
        ..Settings::default()
    };
    let name: Arc<str> = name.into();
    let mut model = match &entry.file {
        Some(_) if !entry.tensors.is_empty() => {
            return Err(within(format!("model `{name}` has both a `file` and `tensors`; give one of them")));
        }
        Some(file) => {
            let mut options = options.clone();
            options.alignment = Some(alignment);
            options.several_clocks = false;
            // What is said now goes before what the file says.
            options.dims =
                entry.dims.iter().map(|(name, &size)| (name.clone(), size)).chain(options.dims).collect();
            let ModelFile { model, graph, weights, .. } = read_model(&folder.join(file), &name, &options)?;
            let symbols: Vec<_> = graph.iter().map(|source| source.graph.symbols()).collect();
            unknown_dimension(&entry.dims, &symbols)?;
            (settings.graph, settings.weights) = (graph, weights);
            model
        }
        None if !entry.dims.is_empty() => {
            return Err(within(format!("model `{name}` has `dims` but no `file` to use them on")));
        }
        None => Model {
            name: name.clone(),
            weights: ByteSize::ZERO,
            start: Step(0),
            tensors: entry.tensors.into_iter().map(|tensor| lifetime(tensor, &name, alignment)).collect(),
        },
    };
    model.start = Step(entry.start);
    model.weights = entry.weights.unwrap_or(model.weights);
    Ok((model, settings))
}

fn lifetime(entry: TensorEntry, model: &Arc<str>, alignment: u64) -> TensorLifetime {
    let mut reads: Vec<Step> = entry.reads.into_iter().map(Step).collect();
    reads.sort_unstable();
    reads.dedup();
    TensorLifetime {
        id: entry.id.into(),
        model: model.clone(),
        start: Step(entry.start),
        end: Step(entry.end),
        gaps: entry.gaps.into_iter().map(|(start, end)| (Step(start), Step(end))).collect(),
        size: entry.size,
        alignment: entry.alignment.unwrap_or(alignment),
        pinned: entry.offset,
        hint: entry.hint,
        alias_group: entry.group.map(Into::into),
        pools: entry.pools.into_iter().map(Into::into).collect(),
        reads,
    }
}

/// A demand as a workload file, with `heading` as its first comment.
pub fn to_toml(demand: &Demand, heading: &str) -> String {
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut out = String::new();
    for line in heading.lines() {
        let _ = writeln!(out, "# {line}");
    }
    let _ = writeln!(out, "name = {}", text(&demand.name));
    if let Some(schedule) = demand.schedule {
        let _ = writeln!(out, "schedule = \"{schedule}\"");
    }
    if let Some(capacity) = demand.capacity {
        let _ = writeln!(out, "capacity = {}", capacity.bytes());
    }
    // Ids name one tensor of a workload; those of graphs that share names are led by the model's.
    let mut seen = std::collections::HashSet::new();
    let clash = demand.models.iter().flat_map(|model| &model.tensors).any(|tensor| !seen.insert(&tensor.id));
    let alignments: Vec<u64> =
        demand.models.iter().flat_map(|m| m.tensors.iter().map(|t| t.alignment)).collect();
    let common = alignments.first().copied().unwrap_or(ALIGNMENT);
    let _ = writeln!(out, "alignment = {common}");
    for pool in &demand.pools {
        let _ =
            writeln!(out, "\n[[pools]]\nname = {}\ncapacity = {}", text(&pool.name), pool.capacity.bytes());
    }
    for model in &demand.models {
        let _ = writeln!(out, "\n[[models]]\nname = {}", text(&model.name));
        if model.start.0 > 0 {
            let _ = writeln!(out, "start = {}", model.start.0);
        }
        if !model.weights.is_zero() {
            let _ = writeln!(out, "weights = {}", model.weights.bytes());
        }
        let _ = writeln!(out, "tensors = [");
        for tensor in &model.tensors {
            let (start, end) = (tensor.start.0, tensor.end.0);
            let id = if clash { format!("{}/{}", model.name, tensor.id) } else { tensor.id.to_string() };
            let _ = write!(out, "  {{ id = {}, size = {}", text(&id), tensor.size.bytes());
            let _ = write!(out, ", start = {start}, end = {end}");
            if tensor.alignment != common {
                let _ = write!(out, ", alignment = {}", tensor.alignment);
            }
            if let Some(pin) = tensor.pinned {
                let _ = write!(out, ", offset = {}", pin.bytes());
            }
            if let Some(hint) = tensor.hint {
                let _ = write!(out, ", hint = {}", hint.bytes());
            }
            if let Some(group) = &tensor.alias_group {
                let _ = write!(out, ", group = {}", text(group));
            }
            if !tensor.gaps.is_empty() {
                let gaps: Vec<String> =
                    tensor.gaps.iter().map(|(start, end)| format!("[{}, {}]", start.0, end.0)).collect();
                let _ = write!(out, ", gaps = [{}]", gaps.join(", "));
            }
            if !tensor.pools.is_empty() {
                let pools: Vec<String> = tensor.pools.iter().map(|pool| text(pool)).collect();
                let _ = write!(out, ", pools = [{}]", pools.join(", "));
            }
            // A single read in the last step is what no reads mean.
            if tensor.reads.len() > 1 || tensor.reads.first().is_some_and(|read| read.0 + 1 != end) {
                let reads: Vec<String> = tensor.reads.iter().map(|read| read.0.to_string()).collect();
                let _ = write!(out, ", reads = [{}]", reads.join(", "));
            }
            let _ = writeln!(out, " }},");
        }
        let _ = writeln!(out, "]");
    }
    out
}
