//! A model about which many questions are asked.
//!
//! In: a header. Out: footprints. What does not depend on options is worked out once: the tensors of a large model are hundreds of
//! thousands of names.

use std::sync::OnceLock;

use vramkit_models::header::ModelHeader;

use crate::error::FitError;
use crate::footprint::Footprint;
use crate::options::{FitOptions, Runtime};
use crate::run::footprint;
use crate::vllm::{self, Stored};

/// A model about which many questions are asked.
///
/// ```
/// use vramkit_fit::{Backend, FitOptions, Prepared, Runtime};
/// use vramkit_models::header::{Format, ModelHeader};
/// use vramkit_models::shape::{Cache, Heads, Layer, ModelShape};
///
/// let mut shape = ModelShape::new("llama", 4096);
/// shape.layers = vec![Layer::keeping(Cache::Full(Heads { kv_heads: 8, key: 128, value: 128 })); 32];
/// shape.widths.heads = 32;
/// let model = Prepared::new(ModelHeader::new("toy", Format::HuggingFace, shape));
/// let mut options = FitOptions::new(Runtime::Vllm, Backend::Cuda);
/// for context in [4096, 8192] {
///     options.context = Some(context);
///     assert_eq!(model.footprint(&options)?.device.kv.bytes(), context * 131_072);
/// }
/// # Ok::<(), vramkit_fit::FitError>(())
/// ```
#[derive(Debug)]
pub struct Prepared {
    header: ModelHeader,
    stored: OnceLock<Option<Stored>>,
}

impl Prepared {
    /// Takes a model.
    pub fn new(header: ModelHeader) -> Self {
        Self { header, stored: OnceLock::new() }
    }

    /// The model.
    pub fn header(&self) -> &ModelHeader {
        &self.header
    }

    /// What an engine takes for it: as [`footprint`](crate::footprint).
    ///
    /// # Errors
    /// As [`footprint`](crate::footprint).
    pub fn footprint(&self, options: &FitOptions) -> Result<Footprint, FitError> {
        if options.runtime != Runtime::Vllm {
            return footprint(&self.header, options);
        }
        let stored = self.stored.get_or_init(|| Stored::of(&self.header));
        vllm::with_stored(&self.header, stored.as_ref(), options).map(|answer| answer.footprint)
    }
}
