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

#![forbid(unsafe_code)]

mod answers;
mod cache_type;
mod error;
mod footprint;
mod ggml;
mod llama_cpp;
mod options;
mod overhead;
mod run;
pub mod vllm;

pub use answers::{Answers, Largest, Limits, Most, Need, Room, StoppedBy, Suggestion, Verdict, answer};
pub use cache_type::CacheTypeError;
pub use error::FitError;
pub use footprint::{Accuracy, Checked, Footprint, Part, ReservedCache};
pub use options::{
    Backend, FitOptions, FlashAttention, GpuLayers, Runtime, VULKAN_CARD_RANGE, VULKAN_GUARANTEED_RANGE,
};
pub use run::footprint;
