//! Headers of safetensors files, one or the shards of a folder; the format is Hugging Face's.
//!
//! In: a file, or a folder with an index. Out: the tensors that are stored, in their order. The format's own crate reads a
//! header from the whole file in memory alone; here the header is read, and the data's length is held against the file's.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use vramkit_units::ByteSize;

use crate::error::ReadError;
use crate::file::whole;
use crate::source::Source;
use crate::stored::StoredTensor;

/// Longest header, bytes (the format's limit).
const HEADER: u64 = 100_000_000;

/// Types of numbers, and bits of one.
const TYPES: &[(&str, u64)] = &[
    ("BOOL", 8),
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("U8", 8),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("I16", 16),
    ("U16", 16),
    ("F16", 16),
    ("BF16", 16),
    ("I32", 32),
    ("U32", 32),
    ("F32", 32),
    ("C64", 64),
    ("F64", 64),
    ("I64", 64),
    ("U64", 64),
];

/// A tensor's entry.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The entries in the file's order, of which a map would lose those that are there twice.
struct Entries(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Entries;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// The tensors of one file, in the order of their data.
///
/// # Errors
/// What is wrong with the header, by the tensor's name: a type that is not known, bytes that do not match the shape, an
/// overlap, a hole, data that the file does not hold.
pub(crate) fn file(path: &Path) -> Result<Vec<StoredTensor>, ReadError> {
    let mut source = Source::open(path)?;
    let length = source.u64("the header's length")?;
    if length > HEADER {
        return Err(source.wrong(format!(
            "says that its header is of {length} bytes; up to {HEADER} are allowed, so it is no safetensors file"
        )));
    }
    let header = source.take(length as usize, "the header")?.to_vec();
    let data = source.remaining();
    let Entries(mut entries) = serde_json::from_slice(&header)
        .map_err(|error| source.wrong(format!("its header is no header of safetensors: {error}")))?;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut names = HashSet::new();
    let mut end = 0;
    let mut tensors = Vec::new();
    for (name, Entry { dtype, shape, data_offsets: (from, to) }) in entries {
        let wrong = |reason: String| source.wrong(format!("tensor `{name}`: {reason}"));
        if !names.insert(name.clone()) {
            return Err(wrong("it is there twice".to_owned()));
        }
        let Some(&(kind, bits)) = TYPES.iter().find(|known| known.0 == dtype) else {
            let known: Vec<_> = TYPES.iter().map(|known| known.0).collect();
            return Err(wrong(format!("its type `{dtype}` is not known; known are {}", known.join(", "))));
        };
        let bits = shape.iter().try_fold(bits, |product, &length| product.checked_mul(length));
        let size = to.checked_sub(from);
        if bits.is_none_or(|bits| !bits.is_multiple_of(8) || Some(bits / 8) != size) {
            let shape: Vec<_> = shape.iter().map(u64::to_string).collect();
            return Err(wrong(format!(
                "its data is from byte {from} to {to}, which is not what {} numbers of {kind} take",
                shape.join(" × ")
            )));
        }
        if from != end {
            let what = if from < end { "overlaps what is before it" } else { "leaves a hole before it" };
            return Err(wrong(format!("its data begins at byte {from} and {what}, which ends at {end}")));
        }
        if to > data {
            return Err(wrong(format!(
                "its data ends at byte {to}, and the file has {data} bytes of data; it is cut short or damaged"
            )));
        }
        end = to;
        tensors.push(StoredTensor::new(name, shape, kind, ByteSize::new(to - from)));
    }
    if end != data {
        return Err(source.wrong(format!("has {data} bytes of data, of which its header names {end}")));
    }
    Ok(tensors)
}

/// `model.safetensors.index.json`: which file has which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

const INDEX: &str = "model.safetensors.index.json";

/// The tensors of all files of a folder; `None` where it has no safetensors.
///
/// # Errors
/// A file that the index names and that is not there, or lacks a tensor; what [`file`] finds wrong with one.
pub(crate) fn folder(folder: &Path) -> Result<Option<Vec<StoredTensor>>, ReadError> {
    let index_path = folder.join(INDEX);
    let index = match index_path.exists() {
        false => None,
        true => Some(read_index(&index_path)?),
    };
    let files = match &index {
        Some(index) => index.weight_map.values().map(|name| folder.join(name)).collect(),
        None => in_folder(folder)?,
    };
    if files.is_empty() {
        return Ok(None);
    }
    let mut tensors = Vec::new();
    for path in &files {
        if index.is_some() && !path.exists() {
            return Err(ReadError::within(
                &index_path.display().to_string(),
                format!("names {}, which is missing", path.display()),
            ));
        }
        tensors.extend(file(path)?);
    }
    let mut names = HashSet::new();
    if let Some(twice) = tensors.iter().find(|tensor| !names.insert(tensor.name.as_str())) {
        let reason = format!("tensor `{}` is in two of its files", twice.name);
        return Err(ReadError::within(&folder.display().to_string(), reason));
    }
    if let Some(index) = &index
        && let Some((name, file)) = index.weight_map.iter().find(|(name, _)| !names.contains(name.as_str()))
    {
        let reason = format!("says that `{file}` has tensor `{name}`, which no file has");
        return Err(ReadError::within(&index_path.display().to_string(), reason));
    }
    Ok(Some(tensors))
}

fn read_index(path: &Path) -> Result<Index, ReadError> {
    let name = path.display().to_string();
    let index: Index = serde_json::from_slice(&whole(path)?)
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
