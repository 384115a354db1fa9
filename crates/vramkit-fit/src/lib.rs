//! Will it fit? What a model takes of the device and of the host under a named engine, from its headers alone.
//!
//! In: a [`ModelHeader`](vramkit_models::header::ModelHeader) and [`FitOptions`]. Out: a [`Footprint`]: bytes, each with how well it has
//! been checked. Never here: weights, devices, files.
//!
//! ```text
//! ModelHeader ─┬─► llama_cpp: tensors placed, cache laid out, the graph's allocation replayed ─┐
//! FitOptions ──┼─► vllm: weights, cache by block and layer group, profile run ────────────────┼─► Footprint ─► answers: longest
//!              └─► (planned arenas) ──────────────────────────────────────────────────────────┘    context, most sequences …
//! ```

//!
//! ```
//! use vramkit_fit::{Backend, FitOptions, Limits, Room, Runtime, answer, footprint};
//! use vramkit_models::header::{Format, ModelHeader};
//! use vramkit_models::shape::{Cache, Heads, Layer, ModelShape};
//! use vramkit_units::ByteSize;
//!
//! // The shape of Llama-3.1-8B; `ModelHeader::read` has it from a file.
//! let mut shape = ModelShape::new("llama", 4096);
//! shape.layers = vec![Layer::keeping(Cache::Full(Heads { kv_heads: 8, key: 128, value: 128 })); 32];
//! shape.widths.vocabulary = 128_256;
//! (shape.widths.heads, shape.widths.head, shape.widths.feed_forward) = (32, 128, 14_336);
//! (shape.trained_context, shape.tied_embeddings) = (Some(131_072), Some(false));
//! let mut model = ModelHeader::new("llama-3.1-8b", Format::HuggingFace, shape);
//! model.weights_type = Some("bfloat16".into());
//!
//! let card = Room::of(ByteSize::gib(24));
//! let mut options = FitOptions::new(Runtime::Vllm, Backend::Cuda);
//! options.device_memory = Some(card.total);
//! let limits = Limits { trained_context: model.shape.trained_context, layers: None };
//! let answers = answer(&|options| Ok(vec![footprint(&model, options)?]), &options, Some(&card), limits)?;
//! assert_eq!(answers.verdict.and_then(|verdict| verdict.fits), Some(false));
//! // A third of the context does.
//! assert!(answers.context.is_some_and(|most| (40_000..50_000).contains(&most.value)));
//! assert!(answers.suggestions[0].options[0].starts_with("--max-model-len 4"));
//! # Ok::<(), vramkit_fit::FitError>(())
//! ```

#![forbid(unsafe_code)]

mod answers;
mod cache_type;
mod error;
mod footprint;
mod ggml;
mod llama_cpp;
mod options;
mod overhead;
mod prepared;
mod run;
pub mod vllm;

pub use answers::{Answers, Largest, Limits, Most, Need, Room, StoppedBy, Suggestion, Verdict, answer};
pub use cache_type::CacheTypeError;
pub use error::FitError;
pub use footprint::{Accuracy, Checked, Footprint, Part, ReservedCache};
pub use options::{
    Backend, FitOptions, FlashAttention, GpuLayers, Runtime, VULKAN_CARD_RANGE, VULKAN_GUARANTEED_RANGE,
};
pub use prepared::Prepared;
pub use run::{footprint, workspace_lifetimes};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
