//! The header itself.

use std::collections::BTreeMap;

use crate::gguf::TensorType;

/// What a GGUF header says, of all files of a split model together.
///
/// ```no_run
/// use vramkit_models::gguf::GgufHeader;
///
/// let header = GgufHeader::read("model-00001-of-00003.gguf".as_ref())?;
/// println!("{} layers", header.integer("block_count").unwrap_or(0));
/// # Ok::<(), vramkit_models::ReadError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GgufHeader {
    /// `general.architecture`.
    pub architecture: String,
    /// The keys with their values. Arrays of more than 4,096 values, and arrays of texts, keep their length alone.
    pub metadata: BTreeMap<String, GgufValue>,
    /// The tensors, in the files' order.
    pub tensors: Vec<GgufTensor>,
}

/// A value of a key.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum GgufValue {
    /// A whole number (of any width).
    Integer(i128),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(String),
    /// An array of whole numbers.
    Integers(Vec<i128>),
    /// An array of truth values.
    Bools(Vec<bool>),
    /// Another array, of which the length is kept.
    Array(u64),
}

/// A tensor of a GGUF file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GgufTensor {
    /// Its name.
    pub name: String,
    /// Its dimensions, the fastest-running first; 4, of which the last are 1.
    pub dims: [u64; 4],
    /// The type of its numbers.
    pub kind: TensorType,
    /// Bytes that it takes: rows of whole blocks.
    pub bytes: u64,
}

impl GgufHeader {
    /// A whole number of the architecture: `integer("block_count")` is the value of `llama.block_count` in a llama file.
    pub fn integer(&self, key: &str) -> Option<i128> {
        match self.metadata.get(&format!("{}.{key}", self.architecture))? {
            GgufValue::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}
