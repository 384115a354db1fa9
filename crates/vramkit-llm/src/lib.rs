//! Inference for GGUF models whose every byte (weights, KV cache, activations) is granted by vramkit.
//!
//! In: a model file, an orchestrator with its pool, prompts. Out: tokens, and at any time who holds which bytes: weights and arena
//! as the binding of the model, each block of keys and values with the sequence that it was granted for. An engine is a tenant
//! like any other: it is planned, bound, loaded, evicted, loaded again.
//!
//! ```text
//! text ──► tokens ──► engine: sequences, batches of a step ──► model: arithmetic of a step ──► logits ──► tokens ──► text
//!                       │ blocks of a few tokens                 │ kernels (products), attention
//!                       ▼                                        ▼
//!                     cache ────────────► pool ◄──── orchestrator: weights, arena by plan
//! ```
//!
//! ```no_run
//! use vramkit_llm::LlamaInferenceAdapter;
//!
//! let adapter = LlamaInferenceAdapter::from_model_ref("SmolLM2-135M-Instruct.Q4_1.gguf")?;
//! adapter.load()?;
//! adapter.prefill(&adapter.encode("The capital of France is")?)?;
//! println!("{}", adapter.decode(&[adapter.decode_token()?])?);
//! adapter.unload();
//! assert_eq!(adapter.used(), vramkit::ByteSize::ZERO);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adapter;
mod ahead;
pub mod attention;
mod cache;
mod engine;
mod error;
mod host;
pub mod kernels;
mod model;
pub mod text;

pub use adapter::{ForwardPassConfig, LlamaInferenceAdapter, load_with_vram_limit};
pub use attention::CacheKind;
pub use engine::{
    Admission, Engine, EngineConfig, Finish, MemoryUse, Needs, Prefill, Request, Sampling, SequenceId,
    StepEvent, TokenProbability,
};
pub use error::{AdapterError, LoadError};
pub use host::host_pool;
pub use text::{ChatTemplate, Special, Tokenizer};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
