//! Models of any shape with real bytes: seeded weights, a small tokenizer, everything that an engine reads.
//!
//! In: a [`TestModel`]. Out: a GGUF file that llama.cpp opens and runs. Never here: weights that know anything. They are drawn so
//! that activations stay of order one from layer to layer and the logits' standard deviation is about 2.5, as in trained models, so
//! that a difference between two engines is as visible as it would be there.

mod check;
mod fill;
mod header;
mod preset;
mod shape;
mod write;

pub use check::TestModelError;
pub use shape::{Architecture, RopeScaling, TestModel};
