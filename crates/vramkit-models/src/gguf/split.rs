//! The files that a model is split into, read as one header (`split.count`, `split.no`; `NAME-00001-of-00003.gguf`).

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use crate::error::ReadError;
use crate::file::Identity;
use crate::gguf::read::{ArrayPlace, FilePart, read};
use crate::gguf::{GgufHeader, GgufValue};

/// Most files of one model.
const FILES: i128 = 10_000;

impl GgufHeader {
    /// Reads the header of a model from its only file, or from the first of several and the others beside it.
    ///
    /// # Errors
    /// No GGUF of version 2 or 3, little-endian; a file cut short; a count, length, offset or type that cannot be; a tensor
    /// outside the file or over another; one of several files missing. What is wrong is named, with its number.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        whole(path).map(|whole| whole.header)
    }
}

/// A model's header, and where in its files everything is that the header does not hold.
pub(super) struct Whole {
    pub header: GgufHeader,
    pub files: Vec<(PathBuf, Identity)>,
    /// Of each tensor of the header: in which file, and where it begins there.
    pub starts: Vec<(usize, u64)>,
    /// Arrays of the first file.
    pub arrays: BTreeMap<String, ArrayPlace>,
}

/// Reads a model from its only or first file.
pub(super) fn whole(path: &Path) -> Result<Whole, ReadError> {
    let FilePart { metadata, mut tensors, starts, arrays, identity } = read(path)?;
    let mut paths = vec![(path.to_owned(), identity)];
    let mut starts: Vec<(usize, u64)> = starts.into_iter().map(|start| (0, start)).collect();
    let wrong = |reason: String| ReadError::within(&path.display().to_string(), reason);
    let number = |key: &str| match metadata.get(key) {
        Some(GgufValue::Integer(value)) => Some(*value),
        _ => None,
    };
    let files = number("split.count").unwrap_or(0);
    let place = number("split.no").unwrap_or(0);
    if files > 1 {
        if files > FILES || !(0..files).contains(&place) {
            return Err(wrong(format!("says that it is file {} of {files}", place + 1)));
        }
        if place != 0 {
            let first = sibling(path, place, 0, files);
            let first = first.map_or(String::new(), |first| format!(", {}", first.display()));
            return Err(wrong(format!(
                "is file {} of {files} of a model: give the first one{first}",
                place + 1
            )));
        }
        let mut names: HashSet<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
        for at in 1..files {
            let Some(next) = sibling(path, 0, at, files) else {
                return Err(wrong(format!(
                    "is the first of {files} files, whose names must end in -00001-of-{files:05}.gguf"
                )));
            };
            if !next.exists() {
                return Err(wrong(format!(
                    "is the first of {files} files, and {} is missing",
                    next.display()
                )));
            }
            let part = read(&next)?;
            let says = |key: &str, expected: i128| match part.metadata.get(key) {
                Some(GgufValue::Integer(value)) => *value == expected,
                _ => false,
            };
            if !says("split.no", at) || !says("split.count", files) {
                return Err(ReadError::within(
                    &next.display().to_string(),
                    format!("does not say that it is file {} of {files}", at + 1),
                ));
            }
            for tensor in part.tensors {
                if !names.insert(tensor.name.clone()) {
                    return Err(wrong(format!("tensor `{}` is in two of the {files} files", tensor.name)));
                }
                tensors.push(tensor);
            }
            starts.extend(part.starts.into_iter().map(|start| (paths.len(), start)));
            paths.push((next, part.identity));
        }
        if let Some(said) = number("split.tensors.count").filter(|&said| said != tensors.len() as i128) {
            let found = tensors.len();
            return Err(wrong(format!("{files} files hold {found} tensors, and the first says {said}")));
        }
    }
    let architecture = match metadata.get("general.architecture") {
        Some(GgufValue::Text(name)) => name.clone(),
        Some(_) => return Err(wrong("`general.architecture` is no text".to_owned())),
        None => return Err(wrong("no `general.architecture` in it, so nobody knows what it is".to_owned())),
    };
    Ok(Whole { header: GgufHeader { architecture, metadata, tensors }, files: paths, starts, arrays })
}

/// The path of another file of the same model; `None` where this one's name is not made so.
fn sibling(path: &Path, from: i128, to: i128, files: i128) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let start = name.strip_suffix(&format!("-{:05}-of-{files:05}.gguf", from + 1))?;
    Some(path.with_file_name(format!("{start}-{:05}-of-{files:05}.gguf", to + 1)))
}
