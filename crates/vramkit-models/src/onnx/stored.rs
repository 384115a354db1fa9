//! Which parameters a graph carries, and where their bytes are: in the file, beside it, or in a node.
//!
//! Nothing is read here. Parameters beside the file are looked at from outside: they must lie in the model's folder and
//! be as long as the graph says. What a constant node holds is only looked for when somebody reads it.

use std::fs;
use std::path::{Component, Path};
use std::sync::Arc;

use bytes::Bytes;
use vramkit_units::ByteSize;

use super::fact::{Fact, stored};
use super::infer::Inferred;
use super::node::{Node, makes_weights};
use super::proto::{GraphProto, NodeProto, TensorProto};
use crate::data_type::DataType;
use crate::file::Identity;
use crate::weights::{Source, WeightTensor, Weights};

/// The weights of a graph as they are found.
pub(super) struct Stored<'a> {
    path: Arc<Path>,
    /// Of the model's file; `None` when it is no file, as a pipe is not.
    identity: Option<Identity>,
    content: &'a Bytes,
    weights: Weights,
}

impl<'a> Stored<'a> {
    /// Of the file `path` with this content.
    pub(super) fn new(path: &Path, content: &'a Bytes) -> Self {
        let identity =
            fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|found| Identity::of(&found));
        Self { path: path.into(), identity, content, weights: Weights::new(path.display().to_string()) }
    }

    pub(super) fn into_weights(self) -> Weights {
        self.weights
    }

    /// Adds every initialiser; of a sparse one its values and their places.
    pub(super) fn initialisers(&mut self, graph: &GraphProto) -> Result<(), String> {
        graph.initializer.iter().try_for_each(|tensor| self.initialiser(tensor, &tensor.name))?;
        for sparse in &graph.sparse_initializer {
            let of = sparse.values.as_ref().map_or("", |values| &values.name);
            if let Some(tensor) = &sparse.values {
                self.initialiser(tensor, of)?;
            }
            if let Some(tensor) = &sparse.indices {
                let name =
                    if tensor.name.is_empty() { format!("{of} (indices)") } else { tensor.name.clone() };
                self.initialiser(tensor, &name)?;
            }
        }
        Ok(())
    }

    fn initialiser(&mut self, tensor: &TensorProto, name: &str) -> Result<(), String> {
        let named = |reason: String| format!("initialiser `{}`: {reason}", tensor.name);
        let fact = stored(tensor).map_err(named)?;
        let bytes = fact.bytes().map_err(named)?;
        if tensor.data_location != 1 && !tensor.raw_data.is_empty() && tensor.raw_data.len() as u64 != bytes {
            return Err(named(format!(
                "{} bytes are stored where its shape needs {bytes}",
                tensor.raw_data.len()
            )));
        }
        let source = self.source(tensor, bytes).map_err(named)?;
        let added = self.weights.push(weight(name, &fact, bytes), source);
        added.ok_or_else(|| "the initialisers have more than 2^64 bytes".to_owned())
    }

    /// Adds what the constant nodes of a graph make, one by one, in the order in which they run.
    pub(super) fn constants(&mut self, inferred: &Inferred<'_>) -> Result<(), String> {
        for node in inferred.nodes.iter().filter(|node| makes_weights(node)) {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                let Some(fact) = inferred.facts.get(name.as_str()) else { continue };
                let bytes = fact.bytes()?;
                let source = self.constant(node, bytes).unwrap_or_else(Source::Absent);
                let added = self.weights.push(weight(name, fact, bytes), source);
                added.ok_or("the weights have more than 2^64 bytes")?;
            }
        }
        Ok(())
    }

    /// Where the value of a constant node is.
    fn constant(&self, node: &NodeProto, bytes: u64) -> Result<Source, String> {
        let node = Node { proto: node, inputs: Vec::new() };
        if node.proto.op_type == "ConstantOfShape" {
            return match node.tensor("value") {
                Some(element) => repeated(element),
                None => Ok(Source::Repeated(vec![0])),
            };
        }
        let value: Vec<u8> = if let Some(tensor) = node.tensor("value") {
            return self.source(tensor, bytes);
        } else if let Some(value) = node.int("value_int") {
            value.to_le_bytes().to_vec()
        } else if let Some(values) = node.ints("value_ints") {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        } else if let Some(value) = node.float("value_float") {
            value.to_le_bytes().to_vec()
        } else if let Some(values) = node.floats("value_floats") {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        } else {
            return Err("its values are neither numbers nor a dense tensor".to_owned());
        };
        Ok(Source::Held(value.into()))
    }

    /// Where the bytes of a stored tensor are. An error says what is wrong with a place beside the file.
    fn source(&self, tensor: &TensorProto, bytes: u64) -> Result<Source, String> {
        if tensor.data_location == 1 {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            return external(tensor, bytes, folder);
        }
        let place = place_in(self.content, &tensor.raw_data).filter(|_| !tensor.raw_data.is_empty());
        let held = place.is_none().then(|| plain(tensor));
        let length = held.as_ref().map_or(tensor.raw_data.len(), Bytes::len) as u64;
        if length != bytes {
            let reason = format!("the file has {length} bytes of its values where its shape needs {bytes}");
            return Ok(Source::Absent(reason));
        }
        Ok(match (place, held, &self.identity) {
            (Some(offset), _, Some(identity)) => {
                Source::File { path: self.path.clone(), identity: identity.clone(), offset }
            }
            (Some(_), _, None) => Source::Absent("what it was read from cannot be read again".to_owned()),
            (None, held, _) => Source::Held(held.unwrap_or_default()),
        })
    }
}

fn weight(name: &str, fact: &Fact, bytes: u64) -> WeightTensor {
    let dims = fact.shape.iter().map(|&dim| u64::try_from(dim).unwrap_or(0)).collect();
    WeightTensor { name: name.to_owned(), data_type: fact.dtype, dims, size: ByteSize::new(bytes) }
}

/// Where a slice of the content begins in it: the decoder hands out such slices for plain bytes.
fn place_in(content: &Bytes, part: &Bytes) -> Option<u64> {
    let start = (part.as_ptr() as usize).checked_sub(content.as_ptr() as usize)?;
    (start.checked_add(part.len())? <= content.len()).then_some(start as u64)
}

/// A tensor's values as little-endian bytes: as they are stored, or out of the field for their type, whose entries may be
/// wider than the elements (or hold two elements of 4 bits).
fn plain(tensor: &TensorProto) -> Bytes {
    if !tensor.raw_data.is_empty() {
        return Bytes::copy_from_slice(&tensor.raw_data);
    }
    fn list<T, const N: usize>(entries: &[T], width: usize, bytes: impl Fn(&T) -> [u8; N]) -> Bytes {
        let mut all = Vec::with_capacity(entries.len() * width.min(N));
        entries.iter().for_each(|entry| all.extend_from_slice(&bytes(entry)[..width.min(N)]));
        all.into()
    }
    let width = DataType::new(tensor.data_type).bits().unwrap_or(0).div_ceil(8) as usize;
    match tensor.data_type {
        1 | 14 => list(&tensor.float_data, 4, |value| value.to_le_bytes()),
        11 | 15 => list(&tensor.double_data, 8, |value| value.to_le_bytes()),
        7 => list(&tensor.int64_data, 8, |value| value.to_le_bytes()),
        12 | 13 => list(&tensor.uint64_data, width, |value| value.to_le_bytes()),
        _ => list(&tensor.int32_data, width, |value| value.to_le_bytes()),
    }
}

/// A single element, over and over.
fn repeated(element: &TensorProto) -> Result<Source, String> {
    let fact = stored(element)?;
    let mut bytes = plain(element).to_vec();
    if fact.shape.iter().any(|&dim| dim != 1) || bytes.is_empty() || bytes.len() as u64 != fact.bytes()? {
        return Err("its value is not one element in the file".to_owned());
    }
    // Elements of less than a byte fill it.
    match fact.dtype.bits() {
        Some(4) => bytes[0] = (bytes[0] & 0xf) * 0x11,
        Some(2) => bytes[0] = (bytes[0] & 0x3) * 0x55,
        _ => {}
    }
    Ok(Source::Repeated(bytes))
}

/// A place beside the file: the tensor's bytes are where the graph says, inside the model's folder.
fn external(tensor: &TensorProto, bytes: u64, folder: &Path) -> Result<Source, String> {
    let entry = |key: &str| {
        tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    };
    let location = entry("location").ok_or("its external data has no location")?;
    let number = |key: &str| match entry(key) {
        Some(text) => {
            text.parse::<u64>().map(Some).map_err(|_| format!("its external data has {key} `{text}`"))
        }
        None => Ok(None),
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if length.is_some_and(|length| length != bytes) {
        return Err(format!(
            "its external data has {} bytes where its shape needs {bytes}",
            length.unwrap_or(0)
        ));
    }
    let path = Path::new(location);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let outside = || format!("its external data `{location}` is outside the model's folder");
    if location.is_empty() || !inside {
        return Err(outside());
    }
    let missing = |error: std::io::Error| format!("its external data `{location}` cannot be read: {error}");
    let file = folder.join(path).canonicalize().map_err(missing)?;
    // A link may lead out of the folder though the name does not.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !file.starts_with(folder.canonicalize().map_err(missing)?) {
        return Err(outside());
    }
    let metadata = file.metadata().map_err(missing)?;
    if !metadata.is_file() {
        return Err(format!("its external data `{location}` is no file"));
    }
    let size = metadata.len();
    match offset.checked_add(bytes) {
        Some(end) if end <= size => {
            Ok(Source::File { path: file.into(), identity: Identity::of(&metadata), offset })
        }
        _ => Err(format!(
            "its external data `{location}` has {size} bytes; {bytes} from {offset} on are wanted"
        )),
    }
}
