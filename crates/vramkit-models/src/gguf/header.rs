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

/// Why the value of a key cannot be what it is taken for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

/// Largest number of anything that is believed: far above every model, far below where products of a few overflow.
const LARGEST: u64 = 1 << 32;

impl GgufHeader {
    /// The value of a key of the architecture: `value("block_count")` is that of `llama.block_count` in a llama file.
    pub fn value(&self, key: &str) -> Option<&GgufValue> {
        self.metadata.get(&format!("{}.{key}", self.architecture))
    }

    fn believed(&self, key: &str, value: i128) -> Result<u64, KeyError> {
        u64::try_from(value)
            .ok()
            .filter(|&value| value <= LARGEST)
            .ok_or_else(|| KeyError(format!("`{}.{key}` is {value}, which no model has", self.architecture)))
    }

    /// A number of the architecture, where it is there.
    ///
    /// # Errors
    /// What is no whole number, or one that no model has.
    pub fn number(&self, key: &str) -> Result<Option<u64>, KeyError> {
        match self.value(key) {
            None => Ok(None),
            Some(GgufValue::Integer(value)) => self.believed(key, *value).map(Some),
            // llama.cpp reads an array where it expects a number as an error, too.
            Some(_) => Err(KeyError(format!("`{}.{key}` is no whole number", self.architecture))),
        }
    }

    /// A number for each layer, the same for all or one each, where it is there.
    ///
    /// # Errors
    /// As [`number`](Self::number); fewer values than layers.
    pub fn numbers(&self, key: &str, layers: usize) -> Result<Option<Vec<u64>>, KeyError> {
        let Some(GgufValue::Integers(values)) = self.value(key) else {
            return Ok(self.number(key)?.map(|value| vec![value; layers]));
        };
        if values.len() < layers {
            let (architecture, count) = (&self.architecture, values.len());
            return Err(KeyError(format!("`{architecture}.{key}` has {count} values for {layers} layers")));
        }
        values.iter().take(layers).map(|&value| self.believed(key, value)).collect::<Result<_, _>>().map(Some)
    }

    /// A whole number of the architecture: `integer("block_count")` is the value of `llama.block_count` in a llama file.
    pub fn integer(&self, key: &str) -> Option<i128> {
        match self.value(key)? {
            GgufValue::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}
