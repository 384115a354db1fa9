//! Which parameters a graph carries, and where their bytes are: in the file, beside it, or in a node.
//!
//! Nothing is read here. Parameters beside the file are looked at from outside: they must lie in the model's folder and
//! be as long as the graph says. What a constant node holds is only looked for when somebody reads it.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use vramkit_units::ByteSize;

use super::fact::{Fact, stored};
use super::inferred::Inferred;
use super::node::{Node, bodies, is, makes_weights};
use super::proto::{GraphProto, NodeProto, TensorProto};
use super::rules::constant;
use crate::data_type::DataType;
use crate::file::Identity;
use crate::weights::{Source, WeightTensor, Weights};

/// The weights of a graph as they are found.
pub(super) struct Stored {
    path: Arc<Path>,
    /// Of the model's file; `None` when it is no file, as a pipe is not.
    identity: Option<Identity>,
    weights: Weights,
}

impl Stored {
    /// Of the file `path`.
    pub(super) fn new(path: &Path) -> Self {
        let identity =
            fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|found| Identity::of(&found));
        Self { path: path.into(), identity, weights: Weights::new(path.display().to_string()) }
    }

    pub(super) fn into_weights(self) -> Weights {
        self.weights
    }

    /// Adds every initialiser; of a sparse one its values and their places. Those of bodies, and what constants in bodies hold,
    /// follow.
    pub(super) fn initialisers(&mut self, graph: &GraphProto) -> Result<(), String> {
        self.own_initialisers(graph)?;
        graph.node.iter().flat_map(bodies).try_for_each(|body| self.of_body(body))
    }

    fn of_body(&mut self, body: &GraphProto) -> Result<(), String> {
        self.own_initialisers(body)?;
        for node in &body.node {
            if is(node, &["Constant"])
                && let Some(name) = node.output.first()
            {
                let fact = constant(node).map_err(|reason| format!("constant `{name}`: {reason}"))?;
                self.constant_of(node, name, &fact)?;
            }
            bodies(node).try_for_each(|body| self.of_body(body))?;
        }
        Ok(())
    }

    fn own_initialisers(&mut self, graph: &GraphProto) -> Result<(), String> {
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
        let bytes = size(&fact, Some(tensor)).map_err(named)?;
        let stored = tensor.length.max(tensor.raw_data.len() as u64);
        if tensor.data_location != 1 && stored > 0 && stored != bytes {
            return Err(named(format!("{stored} bytes are stored where its shape needs {bytes}")));
        }
        let source = self.source(tensor, bytes).map_err(named)?;
        let added = self.weights.push(weight(name, &fact, bytes), source);
        added.ok_or_else(|| "the initialisers have more than 2^64 bytes".to_owned())
    }

    /// Adds what the constant nodes of a graph make, one by one, in the order in which they run.
    pub(super) fn constants(&mut self, inferred: &Inferred<'_>) -> Result<(), String> {
        for node in inferred.nodes.iter().filter(|node| makes_weights(node)) {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                if let Some(fact) = inferred.facts.get(name.as_str()).filter(|fact| fact.constant) {
                    self.constant_of(node, name, fact)?;
                }
            }
        }
        Ok(())
    }

    fn constant_of(&mut self, node: &NodeProto, name: &str, fact: &Fact) -> Result<(), String> {
        let bytes = size(fact, Node::new(node, Vec::new()).tensor("value"))?;
        let source = self.constant(node, bytes).unwrap_or_else(Source::Absent);
        let added = self.weights.push(weight(name, fact, bytes), source);
        added.ok_or_else(|| "the weights have more than 2^64 bytes".to_owned())
    }

    /// Where the value of a constant node is.
    fn constant(&self, node: &NodeProto, bytes: u64) -> Result<Source, String> {
        let node = Node::new(node, Vec::new());
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
            return external(tensor, bytes, &self.path);
        }
        if tensor.length > 0 {
            return Ok(match &self.identity {
                Some(identity) if tensor.length == bytes => {
                    Source::File { path: self.path.clone(), identity: identity.clone(), offset: tensor.place }
                }
                None if tensor.length == bytes => {
                    Source::Absent("what it was read from cannot be read again".to_owned())
                }
                _ => absent(tensor.length, bytes),
            });
        }
        let held = plain(tensor);
        let length = held.len() as u64;
        Ok(if length == bytes { Source::Held(held) } else { absent(length, bytes) })
    }
}

fn absent(length: u64, bytes: u64) -> Source {
    Source::Absent(format!("the file has {length} bytes of its values where its shape needs {bytes}"))
}

/// What a stored tensor takes. Text takes what is written of it.
fn size(fact: &Fact, tensor: Option<&TensorProto>) -> Result<u64, String> {
    match tensor.filter(|_| fact.dtype == DataType::STRING) {
        Some(tensor) => Ok(tensor.string_data.iter().map(|text| text.len() as u64).sum()),
        None => fact.bytes(),
    }
}

fn weight(name: &str, fact: &Fact, bytes: u64) -> WeightTensor {
    let dims = fact.shape.iter().map(|&dim| u64::try_from(dim).unwrap_or(0)).collect();
    WeightTensor { name: name.to_owned(), data_type: fact.dtype, dims, size: ByteSize::new(bytes) }
}

/// A tensor's values as little-endian bytes: as they are stored, or out of the field for their type, whose entries may be
/// wider than the elements (or hold two elements of 4 bits).
fn plain(tensor: &TensorProto) -> Bytes {
    if !tensor.raw_data.is_empty() {
        return Bytes::copy_from_slice(&tensor.raw_data);
    }
    if tensor.data_type == DataType::STRING.number() {
        return tensor.string_data.concat().into();
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
fn external(tensor: &TensorProto, bytes: u64, model: &Path) -> Result<Source, String> {
    let entry = |key: &str| {
        tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    };
    let location = entry("location").ok_or("its external data has no location")?;
    let number = |key: &str| match entry(key) {
        Some(text) => {
            let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            digits
                .unwrap_or("")
                .parse::<u64>()
                .map(Some)
                .map_err(|_| format!("its external data has {key} `{text}`"))
        }
        None => Ok(None),
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    // No length is written as 0 too.
    if length.is_some_and(|length| length != 0 && length != bytes) {
        return Err(format!(
            "its external data has {} bytes where its shape needs {bytes}",
            length.unwrap_or(0)
        ));
    }
    let outside = || format!("its external data `{location}` is outside the model's folder");
    let within = inside(location).ok_or_else(outside)?;
    let missing = |error: std::io::Error| format!("its external data `{location}` cannot be read: {error}");
    // A link may lead out of the folder though the name does not. A cache of downloads keeps files elsewhere and links to
    // them: then what belongs together is where the model's own link leads.
    let folder = model.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let real = model.canonicalize().ok().and_then(|model| Some(model.parent()?.to_owned()));
    let beside = folder.join(&within).canonicalize();
    let file = match (beside, &real) {
        (Err(error), Some(real)) => real.join(&within).canonicalize().map_err(|_| missing(error))?,
        (file, _) => file.map_err(missing)?,
    };
    let folders = folder.canonicalize().ok().into_iter().chain(real);
    if !folders.into_iter().any(|folder| file.starts_with(folder)) {
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

/// A location as a path without `.` and `..`; `None` for one that leads out of the folder.
fn inside(location: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in Path::new(location).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            _ => return None,
        }
    }
    (!path.as_os_str().is_empty()).then_some(path)
}
