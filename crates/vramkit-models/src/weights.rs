//! Weights where they are: which tensors a model file carries, and any part of one on demand.
//!
//! In: a reader's list of tensors with the place of each. Out: their names, types and sizes, and copies of byte ranges
//! into memory of the caller's. Never here: the whole of the weights in memory, or another type than the file's. What
//! the file keeps as plain bytes stays in it and is read when asked for; only values that it keeps in another form
//! (typed fields of a protocol buffer) are held.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use vramkit_units::ByteSize;

use crate::file::Identity;

use crate::data_type::DataType;
use crate::error::ReadError;

/// One tensor of a model's weights.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WeightTensor {
    /// Its name in the file.
    pub name: String,
    /// The type of its elements.
    pub data_type: DataType,
    /// Its shape, in elements; empty for a single element.
    pub dims: Vec<u64>,
    /// Its size.
    pub size: ByteSize,
}

/// The weights of one model file.
///
/// ```no_run
/// use std::collections::BTreeMap;
/// use std::path::Path;
/// use vramkit_models::Weights;
/// use vramkit_units::ByteSize;
///
/// let weights = Weights::open(Path::new("resnet50.onnx"), &BTreeMap::new())?;
/// let mut piece = vec![0; 1 << 20];
/// for (i, tensor) in weights.tensors().iter().enumerate() {
///     let mut at = 0;
///     while at < tensor.size.bytes() {
///         let length = (tensor.size.bytes() - at).min(1 << 20);
///         weights.read(i, ByteSize::new(at), &mut piece[..length as usize])?;
///         at += length;
///     }
/// }
/// # Ok::<(), vramkit_models::ReadError>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Weights {
    file: String,
    size: ByteSize,
    tensors: Vec<WeightTensor>,
    sources: Vec<Source>,
}

/// Where a tensor's bytes come from.
#[derive(Clone, PartialEq)]
pub(crate) enum Source {
    /// A file, from this offset on.
    File { path: Arc<Path>, identity: Identity, offset: u64 },
    /// Memory.
    Held(Bytes),
    /// These bytes over and over; at least one.
    Repeated(Vec<u8>),
    /// Nowhere, and why.
    Absent(String),
}

impl Weights {
    pub(crate) fn new(file: String) -> Self {
        Self { file, size: ByteSize::ZERO, tensors: Vec::new(), sources: Vec::new() }
    }

    /// Adds a tensor; `None` when the sizes pass 2^64 bytes.
    pub(crate) fn push(&mut self, tensor: WeightTensor, source: Source) -> Option<()> {
        self.size = self.size.checked_add(tensor.size)?;
        self.tensors.push(tensor);
        self.sources.push(source);
        Some(())
    }

    /// Every tensor, in the file's order: initialisers, then what constant nodes make.
    pub fn tensors(&self) -> &[WeightTensor] {
        &self.tensors
    }

    /// The size of all of them.
    pub fn size(&self) -> ByteSize {
        self.size
    }

    /// Copies bytes of a tensor, from `offset` in it on, until `into` is full. Elements are little-endian, as the file's.
    ///
    /// # Errors
    /// A tensor that is not there, or a range that passes its end; values that the file does not carry; a file that cannot
    /// be read any more. `into` then holds anything.
    pub fn read(&self, tensor: usize, offset: ByteSize, into: &mut [u8]) -> Result<(), ReadError> {
        let wrong = |reason: String| ReadError::within(&self.file, reason);
        let (Some(weight), Some(source)) = (self.tensors.get(tensor), self.sources.get(tensor)) else {
            return Err(wrong(format!("no weight number {tensor}; there are {}", self.tensors.len())));
        };
        let within = offset.checked_add(ByteSize::new(into.len() as u64)).filter(|end| *end <= weight.size);
        if within.is_none() {
            return Err(wrong(format!(
                "weight `{}` has {} bytes; {} from {} on are wanted",
                weight.name,
                weight.size.bytes(),
                into.len(),
                offset.bytes()
            )));
        }
        let skip = offset.bytes();
        match source {
            Source::File { path, identity, offset } => {
                let filled = identity.open(path).and_then(|mut file| {
                    file.seek(SeekFrom::Start(offset.saturating_add(skip)))?;
                    file.read_exact(into)
                });
                filled.map_err(|error| ReadError::Io { path: path.to_path_buf(), error })
            }
            Source::Held(bytes) => {
                let start = skip as usize;
                let part = bytes.get(start..start + into.len());
                into.copy_from_slice(part.ok_or_else(|| wrong("a weight shorter than it says".to_owned()))?);
                Ok(())
            }
            Source::Repeated(pattern) => {
                let first = (skip % pattern.len() as u64) as usize;
                let endless = pattern.iter().cycle().skip(first);
                into.iter_mut().zip(endless).for_each(|(byte, value)| *byte = *value);
                Ok(())
            }
            Source::Absent(reason) => Err(wrong(format!("weight `{}`: {reason}", weight.name))),
        }
    }
}

impl fmt::Debug for Weights {
    /// Without the values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, size, tensors, .. } = self;
        f.debug_struct("Weights").field("file", file).field("size", size).field("tensors", tensors).finish()
    }
}
