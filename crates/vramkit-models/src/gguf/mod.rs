//! GGUF: the header of one file, or of the files that a model is split into.
//!
//! In: a path. Out: [`GgufHeader`], every key and every tensor with its place, checked against the file's length before anything
//! is believed. Never here: what the keys mean (`shape_of.rs` alone asks for any by name).

mod header;
mod tensor_type;

pub use header::{GgufHeader, GgufTensor, GgufValue};
pub use tensor_type::TensorType;
