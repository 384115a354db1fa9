//! Safetensors, Hugging Face's format: one file, or all files of a model.
//!
//! In: a file, or a folder with or without an index. Out: the tensors that are stored. Never here: a part of a model taken for the
//! whole: what an index or the files' own names (`model-00001-of-00002.safetensors`) say is missing is an error.

mod file;
mod folder;
mod shards;

pub(crate) use folder::{folder, with_shards};
