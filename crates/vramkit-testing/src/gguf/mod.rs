//! GGUF files for tests of what reads them: every key and tensor of a model, and a hole where its weights would be, or weights.
//!
//! In: a [`SparseModel`]: an architecture and its sizes. Out: a [`SparseFile`], its keys and tensors in llama.cpp's names, which
//! a test may change before it is written. A [`TestModel`] has a tokenizer and seeded weights of any type too, so that an engine
//! runs it. Never here: the reader under test. What a file must hold is written down a second
//! time, so that both would have to be wrong in the same way.
//!
//! ```text
//! columns of a table ─► SparseModel ─► keys ────┐
//! (or a published model)            └► tensors ─┴─► SparseFile ─► header, hole
//!                                                       ▲
//! TestModel ─► tokenizer, rope ─────────────────────────┴───────► header, seeded weights ─► blocks of a type
//! ```
//!
//! ```
//! use vramkit_testing::gguf::SparseModel;
//!
//! # let path = std::env::temp_dir().join(format!("vramkit-sparse-{}.gguf", std::process::id()));
//! SparseModel::llama_3_1_8b().write(&path)?;
//! assert!(path.metadata()?.len() > 4 << 30); // as long as the model, and next to nothing of it on the disk
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod file;
mod keys;
mod model;
mod quantise;
mod tensors;
mod test_model;
mod vocabulary;
mod write;

pub use file::{SparseFile, SparseTensor, Value};
pub use model::{Experts, Latent, Recurrent, SparseModel};
pub use quantise::{WeightType, dequantise, quantise};
pub use test_model::{Architecture, RopeScaling, TestModel, TestModelError};
