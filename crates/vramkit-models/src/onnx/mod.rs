//! ONNX graphs: what they hold and when.
//!
//! ```text
//! file ──► skim ──► proto ──► functions (inlined) ──► stored (weights)
//!                                   │
//!             declared, measured (inputs) ──► infer (order, rules, facts, bounds) ──► derived
//!                                                  └──► lifetimes ──┬──► (reorder) ──► in_place ──► model
//!                                                                 └──► runtime (as ONNX Runtime plans)
//! ```
//!
//! In: a file, sizes of its symbolic dimensions, shapes that were measured. Out: an [`OnnxGraph`], which becomes a
//! [`Model`](vramkit_plan::Model), its [`Weights`](crate::Weights) and what is computed from them ([`Derived`]). Never
//! here: weights are not read; small tensors that shapes depend on are followed by value. `skim` passes over what does not
//! decide a shape, `prost` decodes the rest, and everything after treats sizes as hostile: work and memory are in proportion
//! to the file.
//!
//! ```no_run
//! use std::collections::BTreeMap;
//! use std::path::Path;
//!
//! let dims = BTreeMap::from([("batch".to_owned(), 8)]);
//! let sizes = vramkit_models::onnx::Sizes { dims: &dims, measured: None };
//! let graph = vramkit_models::onnx::read(Path::new("resnet50.onnx"), sizes)?;
//! let model = graph.model(&"resnet50".into(), 256, false);
//! println!("{} of weights, {} tensors", model.weights, model.tensors.len());
//! # Ok::<(), vramkit_models::ReadError>(())
//! ```

mod bodies;
mod bounds;
mod channel_blocks;
mod context;
mod declared;
mod derived;
mod fact;
mod functions;
mod graph;
mod in_place;
mod infer;
mod inferred;
mod lifetimes;
mod measured;
mod node;
mod open;
mod order;
mod proto;
mod reorder;
mod rules;
mod runtime;
mod skim;
mod stored;
mod symbols;
mod value;

pub use derived::Derived;
pub use graph::{OnnxGraph, Sizes, read};
pub use open::OpenDimension;
pub use reorder::OrderSaving;
pub use runtime::{RuntimeLevel, RuntimePattern};
pub(crate) use symbols::unknown_dimension;

#[cfg(test)]
mod tests;
