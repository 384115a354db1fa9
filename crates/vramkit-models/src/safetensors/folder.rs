//! All safetensors of a model: those that its index names, or those of a folder.
//!
//! In: a folder, or one of several files. Out: the tensors of all of them, none twice.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::file::file;
use super::shards::{self, Shard};
use crate::error::ReadError;
use crate::file::{check_pointer, whole};
use crate::stored::StoredTensor;

/// `model.safetensors.index.json`: which file has which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

const INDEX: &str = "model.safetensors.index.json";

/// The tensors of all files of a folder; `None` where it has no safetensors.
///
/// # Errors
/// A file that the index or the names of others name and that is not there, or lacks a tensor; an index of a part of the files
/// alone; what [`file`] finds wrong with one.
pub(crate) fn folder(folder: &Path) -> Result<Option<Vec<StoredTensor>>, ReadError> {
    let index_path = folder.join(INDEX);
    let index_name = index_path.display().to_string();
    let index = match index_path.exists() {
        false => None,
        true => Some(read_index(&index_path)?),
    };
    let files: BTreeSet<PathBuf> = match &index {
        Some(index) => index.weight_map.values().map(|name| folder.join(name)).collect(),
        None => in_folder(folder)?,
    };
    if files.is_empty() {
        return match index {
            Some(_) => Err(ReadError::within(&index_name, "names no tensor")),
            None => Ok(None),
        };
    }
    if let Some(gone) = index.as_ref().and_then(|_| files.iter().find(|path| !path.exists())) {
        return Err(ReadError::within(&index_name, format!("names {}, which is missing", gone.display())));
    }
    let names: Vec<_> = files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    if let Some(missing) = shards::missing(names.iter().copied()) {
        return Err(match index {
            Some(_) => ReadError::within(
                &index_name,
                format!("names no tensor of {missing}, which is one of its files"),
            ),
            None => missing_shard(folder, &missing),
        });
    }
    let tensors = all(folder, &files)?;
    if let Some(index) = &index {
        let names: HashSet<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        if let Some((name, file)) = index.weight_map.iter().find(|(name, _)| !names.contains(name.as_str())) {
            let reason = format!("says that `{file}` has tensor `{name}`, which no file has");
            return Err(ReadError::within(&index_name, reason));
        }
    }
    Ok(Some(tensors))
}

/// The tensors of a file, and of the others where its name says that it is one of several.
///
/// # Errors
/// One of the others missing; what [`file`] finds wrong with one.
pub(crate) fn with_shards(path: &Path) -> Result<Vec<StoredTensor>, ReadError> {
    let Some(shard) = path.file_name().and_then(|name| Shard::of(name.to_str()?)) else {
        return file(path);
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let files: BTreeSet<PathBuf> = shard.all().map(|name| folder.join(name)).collect();
    match files.iter().find(|path| !path.exists()) {
        Some(gone) => Err(missing_shard(path, &gone.file_name().unwrap_or_default().to_string_lossy())),
        None => all(folder, &files),
    }
}

fn missing_shard(path: &Path, name: &str) -> ReadError {
    ReadError::within(
        &path.display().to_string(),
        format!("{name} is missing, which the names of its other files tell of"),
    )
}

/// The tensors of these files.
fn all(folder: &Path, files: &BTreeSet<PathBuf>) -> Result<Vec<StoredTensor>, ReadError> {
    let mut tensors = Vec::new();
    for path in files {
        tensors.extend(file(path)?);
    }
    if files.len() > 1 {
        let mut names = HashSet::new();
        if let Some(twice) = tensors.iter().find(|tensor| !names.insert(tensor.name.as_str())) {
            let reason = format!("tensor `{}` is in two of its files", twice.name);
            return Err(ReadError::within(&folder.display().to_string(), reason));
        }
    }
    Ok(tensors)
}

fn read_index(path: &Path) -> Result<Index, ReadError> {
    let name = path.display().to_string();
    let content = whole(path)?;
    check_pointer(&name, &content)?;
    let index: Index = serde_json::from_slice(&content)
        .map_err(|error| ReadError::within(&name, format!("is no index of safetensors: {error}")))?;
    // A name with a folder in it would lead out of the model.
    match index
        .weight_map
        .values()
        .find(|file| Path::new(file).file_name().is_none_or(|name| name != file.as_str()))
    {
        Some(file) => Err(ReadError::within(&name, format!("`{file}` is no name of a file"))),
        None => Ok(index),
    }
}

/// The files of a folder without an index: `model*.safetensors` where there are any, else all.
fn in_folder(folder: &Path) -> Result<BTreeSet<PathBuf>, ReadError> {
    let io = |error| ReadError::Io { path: folder.to_owned(), error };
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|ending| ending == "safetensors") {
            all.insert(path);
        }
    }
    let is_model =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("model"));
    let (models, others): (BTreeSet<_>, BTreeSet<_>) = all.into_iter().partition(is_model);
    Ok(if models.is_empty() { others } else { models })
}
