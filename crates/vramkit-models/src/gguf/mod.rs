//! GGUF: the header of one file, or of the files that a model is split into.
//!
//! In: a path. Out: [`GgufHeader`], every key and every tensor, checked against the files' lengths before anything is believed;
//! and the shape that an architecture's keys describe. [`GgufFile`] copies vocabularies and weights out of the files when asked.
//! Never here: the whole of the weights.
//!
//! ```text
//! folder (which file) ──► source (bytes) ──► read (one file) ──► split (all files) ──► header ──► shape_of
//!                                                                         └────► contents (arrays, weights)
//! ```
//!
//! ```no_run
//! use vramkit_models::gguf::GgufHeader;
//!
//! let header = GgufHeader::read("Phi-3-mini-4k-instruct-q4.gguf".as_ref())?;
//! let weights: u64 = header.tensors.iter().map(|tensor| tensor.bytes).sum();
//! println!("{} of {weights} bytes of weights", header.architecture);
//! # Ok::<(), vramkit_models::ReadError>(())
//! ```

mod architectures;
mod contents;
pub(crate) mod folder;
mod header;
mod keys;
mod read;
mod shape_of;
mod split;
mod tensor_type;

pub use contents::{GgufFile, Texts};
pub use header::{GgufHeader, GgufTensor, GgufValue, KeyError};
pub(crate) use shape_of::shape_of;
pub use tensor_type::TensorType;
