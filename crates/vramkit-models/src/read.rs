//! One door for all kinds of files: what a path holds is told by its ending.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use vramkit_plan::Model;

use crate::demand::{Demand, ReadOptions, Settings};
use crate::error::ReadError;
use crate::file::{kind, stem, whole};
use crate::model_file::{ModelFile, read_model};
use crate::onnx::unknown_dimension;
use crate::workload::{self, Syntax};

/// Reads a workload, a lifetime table or a graph.
///
/// # Errors
/// What is wrong with the file, or with one that it names: see [`ReadError`].
pub fn read(path: &Path, options: &ReadOptions) -> Result<Demand, ReadError> {
    read_all(&[path], options)
}

fn one(path: &Path, options: &ReadOptions) -> Result<Demand, ReadError> {
    let name = path.display().to_string();
    let syntax = match kind(path).as_str() {
        "toml" => Syntax::Toml,
        "json" => Syntax::Json,
        _ => {
            let ModelFile { model, table, graph, weights } = read_model(path, &stem(&name).into(), options)?;
            let mut demand = Demand::new(stem(&name));
            demand.settings.push(Settings { from_file: true, graph, weights, ..Settings::default() });
            demand.models.push(model);
            demand.table = table;
            return Ok(demand);
        }
    };
    let text = String::from_utf8(whole(path)?)
        .map_err(|_| ReadError::within(&name, "not UTF-8 text; a workload is plain text"))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    workload::parse(&name, &text, syntax, folder, options)
}

/// Reads several files as one demand. Models of different files with one name are numbered.
///
/// # Errors
/// As [`read`], of the first file with a fault; a size for a dimension that none of them has.
pub fn read_all(paths: &[impl AsRef<Path>], options: &ReadOptions) -> Result<Demand, ReadError> {
    let demand = match paths {
        [path] => one(path.as_ref(), options)?,
        _ => together(paths, options)?,
    };
    let graphs = demand.settings.iter().filter_map(|settings| settings.graph.as_ref());
    let symbols: Vec<_> = graphs.map(|source| source.graph.symbols()).collect();
    unknown_dimension(&options.dims, &symbols)?;
    Ok(demand)
}

fn together(paths: &[impl AsRef<Path>], options: &ReadOptions) -> Result<Demand, ReadError> {
    let mut all = Demand::new("workload".to_owned());
    let mut taken: HashSet<Arc<str>> = HashSet::new();
    // With which number a name was last made another.
    let mut numbers: HashMap<Arc<str>, u64> = HashMap::new();
    for path in paths {
        let mut demand = one(path.as_ref(), options)?;
        for model in &mut demand.models {
            while taken.contains(&model.name) {
                let number = numbers.entry(model.name.clone()).or_insert(1);
                *number += 1;
                let free = format!("{}-{number}", model.name);
                if !taken.contains(&*free) {
                    rename(model, free.into());
                }
            }
        }
        taken.extend(demand.models.iter().map(|model| model.name.clone()));
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
