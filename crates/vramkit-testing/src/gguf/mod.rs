//! GGUF files for tests of what reads them: every key and tensor of a model, and a hole where its weights would be.
//!
//! In: a [`SparseModel`]: an architecture and its sizes. Out: a [`SparseFile`], its keys and tensors in llama.cpp's names, which
//! a test may change before it is written. Never here: the reader under test. What a file must hold is written down a second
//! time, so that both would have to be wrong in the same way.
//!
//! ```text
//! columns of a table ─► SparseModel ─► keys ────┐
//! (or a published model)            └► tensors ─┴─► SparseFile ─► header, hole
//! ```

mod file;
mod keys;
mod model;
mod tensors;

pub use file::{SparseFile, SparseTensor, Value};
pub use model::{Experts, Latent, Recurrent, SparseModel};
