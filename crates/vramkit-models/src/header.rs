//! What the headers of a model's files say: its shape, and which tensors it stores.
//!
//! In: a path. Out: [`ModelHeader`]; weights themselves are never read. Which reader a path goes to is decided here.

use std::path::PathBuf;

use vramkit_units::ByteSize;

use crate::gguf::GgufHeader;
use crate::shape::ModelShape;

/// What the headers of a model's files say.
///
/// ```
/// use vramkit_models::header::{Format, ModelHeader};
/// use vramkit_models::shape::ModelShape;
///
/// // A model that is described and not read from files.
/// let mut model = ModelHeader::new("toy", Format::HuggingFace, ModelShape::new("llama", 4096));
/// model.weights_type = Some("bfloat16".into());
/// assert_eq!(model.tensors, None);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelHeader {
    /// What to call it: the file's or the folder's name without its ending.
    pub name: String,
    /// The file that was named.
    pub path: PathBuf,
    /// What kind of files these are.
    pub format: Format,
    /// What it keeps and how wide it is.
    pub shape: ModelShape,
    /// The tensors that its files store, in their order; `None` where only a configuration is there, so that nobody knows.
    pub tensors: Option<Vec<StoredTensor>>,
    /// Of GGUF: the header itself, which says all that an engine reads.
    pub gguf: Option<GgufHeader>,
    /// Of a configuration: the bytes of one number in which weights are meant to be computed (`torch_dtype`), and how they
    /// are quantised (`quantization_config.quant_method`).
    pub weights_type: Option<String>,
    /// What is not sure about it, in sentences.
    pub notes: Vec<String>,
}

impl ModelHeader {
    /// A model of this name and shape, of which no file is there yet.
    pub fn new(name: impl Into<String>, format: Format, shape: ModelShape) -> Self {
        Self {
            name: name.into(),
            path: PathBuf::new(),
            format,
            shape,
            tensors: None,
            gguf: None,
            weights_type: None,
            notes: Vec::new(),
        }
    }
}

impl StoredTensor {
    /// A stored tensor.
    pub fn new(name: impl Into<String>, dims: Vec<u64>, kind: &'static str, size: ByteSize) -> Self {
        Self { name: name.into(), dims, kind, size }
    }
}

/// A kind of model files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// GGUF, one file or several.
    Gguf,
    /// A Hugging Face configuration, with safetensors where they are there.
    HuggingFace,
    /// Safetensors alone, whose shape nothing says.
    Safetensors,
}

/// A tensor that a file stores.
///
/// ```
/// use vramkit_models::header::StoredTensor;
/// use vramkit_units::ByteSize;
///
/// let tensor = StoredTensor::new("lm_head.weight", vec![32_000, 4096], "BF16", ByteSize::mib(250));
/// assert_eq!(tensor.dims, [32_000, 4096]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredTensor {
    /// Its name in the file.
    pub name: String,
    /// Its dimensions, the fastest-running first as in GGUF, or last as in safetensors: in the file's order.
    pub dims: Vec<u64>,
    /// The type of its numbers, as the format names it (`q4_K`, `BF16`).
    pub kind: &'static str,
    /// Bytes that it takes in the file.
    pub size: ByteSize,
}
