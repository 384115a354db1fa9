//! A tensor as a file stores it.

use vramkit_units::ByteSize;

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

impl StoredTensor {
    /// A stored tensor.
    pub fn new(name: impl Into<String>, dims: Vec<u64>, kind: &'static str, size: ByteSize) -> Self {
        Self { name: name.into(), dims, kind, size }
    }
}
