//! One door for all kinds of files: what a path holds is told by its ending.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use vramkit_plan::{Model, PoolLimit, Schedule};
use vramkit_pressure::PolicyLadder;
use vramkit_units::ByteSize;
use vramkit_units::Step;

use crate::error::ReadError;
use crate::onnx::{self, OrderSaving};
use crate::table::{self, LifetimeTable};
use crate::workload::{self, ALIGNMENT, Syntax};

/// What the user says about files as they are read.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Alignment of tensors without their own; 1 in tables and 256 elsewhere when not given.
    pub alignment: Option<u64>,
    /// Sizes of symbolic dimensions of graphs.
    pub dims: BTreeMap<String, u64>,
    /// Whether operators that can work in place are taken to do so.
    pub in_place: bool,
    /// Whether graphs run in the file's order or in the one that has least live at most.
    pub reorder: bool,
    /// Whether cheap operators of reordered graphs are run again where that has less live at most.
    pub recompute: bool,
}

/// What one model of a workload asks for beside its memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Lower goes first when memory is needed.
    pub priority: i32,
    /// When asked to degrade, the model makes do with this part of its tensors' sizes.
    pub degrade_to_ratio: Option<f64>,
    /// Whether its tensors come from a model file.
    pub from_file: bool,
    /// What another order of its steps saved, where one was looked for.
    pub order: Option<OrderSaving>,
}

/// What files ask for.
#[derive(Clone, Debug)]
pub struct Demand {
    /// What to call it.
    pub name: String,
    /// The models.
    pub models: Vec<Model>,
    /// What each asks for beside its memory, in the same order.
    pub settings: Vec<Settings>,
    /// The schedule that the file names.
    pub schedule: Option<Schedule>,
    /// The capacity that the file names.
    pub capacity: Option<ByteSize>,
    /// Kinds of memory, the preferred first; empty for one without a limit.
    pub pools: Vec<PoolLimit>,
    /// How often every model runs.
    pub repetitions: u32,
    /// The ladder that the file names.
    pub ladder: Option<PolicyLadder>,
    /// The rows, when the demand is one lifetime table.
    pub table: Option<LifetimeTable>,
}

impl Demand {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            models: Vec::new(),
            settings: Vec::new(),
            schedule: None,
            capacity: None,
            pools: Vec::new(),
            repetitions: 1,
            ladder: None,
            table: None,
        }
    }
}

/// The last part of a path, without its ending.
pub(crate) fn stem(path: &str) -> String {
    Path::new(path).file_stem().map_or_else(|| path.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

fn bytes(path: &Path) -> Result<Vec<u8>, ReadError> {
    fs::read(path).map_err(|error| ReadError::Io { path: path.to_owned(), error })
}

fn kind(path: &Path) -> String {
    path.extension().map_or_else(String::new, |ending| ending.to_string_lossy().to_lowercase())
}

/// Reads a workload, a lifetime table or a graph.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Demand, ReadError> {
    let name = path.display().to_string();
    let syntax = match kind(path).as_str() {
        "toml" => Syntax::Toml,
        "json" => Syntax::Json,
        _ => {
            let (model, table, order) = read_model(path, &stem(&name).into(), options)?;
            let mut demand = Demand::new(stem(&name));
            demand.settings.push(Settings { from_file: true, order, ..Settings::default() });
            demand.models.push(model);
            demand.table = table;
            return Ok(demand);
        }
    };
    let text = String::from_utf8(bytes(path)?)
        .map_err(|_| ReadError::within(&name, "not UTF-8 text; a workload is plain text"))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    workload::parse(&name, &text, syntax, folder, options)
}

/// Reads several files as one demand. Models of different files with one name are numbered.
pub fn read_all(paths: &[impl AsRef<Path>], options: &ReadOptions) -> Result<Demand, ReadError> {
    if let [path] = paths {
        return read(path.as_ref(), options);
    }
    let mut all = Demand::new("workload".to_owned());
    for path in paths {
        let mut demand = read(path.as_ref(), options)?;
        for model in &mut demand.models {
            let taken = |name: &str| all.models.iter().any(|other| &*other.name == name);
            if taken(&model.name) {
                let free = (2..).map(|n| format!("{}-{n}", model.name)).find(|name| !taken(name));
                rename(model, free.expect("there are more numbers than models").into());
            }
        }
        all.models.append(&mut demand.models);
        all.settings.append(&mut demand.settings);
        all.capacity = all.capacity.or(demand.capacity);
        all.pools.append(&mut demand.pools);
        all.ladder = all.ladder.or(demand.ladder);
        all.repetitions = all.repetitions.max(demand.repetitions);
    }
    Ok(all)
}

fn rename(model: &mut Model, name: Arc<str>) {
    model.tensors.iter_mut().for_each(|tensor| tensor.model = name.clone());
    model.name = name;
}

/// Reads one model: a graph or a lifetime table (which comes back too), and what another order saved.
pub(crate) fn read_model(
    path: &Path,
    name: &Arc<str>,
    options: &ReadOptions,
) -> Result<(Model, Option<LifetimeTable>, Option<OrderSaving>), ReadError> {
    let file = path.display().to_string();
    match kind(path).as_str() {
        "csv" => {
            let alignment = options.alignment.unwrap_or(1);
            let table = table::parse(&file, &bytes(path)?, name, alignment)?;
            let tensors = table.tensors.clone();
            let model = Model { name: name.clone(), weights: ByteSize::ZERO, start: Step(0), tensors };
            Ok((model, Some(table), None))
        }
        "onnx" => {
            let folder = path.parent().unwrap_or(Path::new("."));
            let alignment = options.alignment.unwrap_or(ALIGNMENT);
            let mut graph = onnx::read(&file, bytes(path)?.into(), folder, &options.dims)?;
            let wanted = options.reorder || options.recompute;
            let saving = wanted.then(|| graph.reorder(options.recompute));
            Ok((graph.model(name, alignment, options.in_place), None, saving))
        }
        _ => Err(ReadError::UnknownKind(file)),
    }
}
