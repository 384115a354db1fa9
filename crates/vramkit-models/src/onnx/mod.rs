//! ONNX graphs: what they hold and when.
//!
//! ```text
//! bytes ──► proto ──► functions (inlined) ──► weights
//!                            └──► declared (inputs) ──► infer (order, rules, facts) ──► lifetimes, body_peak ──┐
//!                                                                    model ◄── in_place ◄── (reorder) ◄────────┤
//!                                                                               pattern ◄── runtime ◄──────────┘
//! ```
//!
//! In: a file, and sizes of its symbolic dimensions. Out: an [`OnnxGraph`], which becomes a
//! [`Model`](vramkit_plan::Model), and its [`Weights`](crate::Weights). Never here: nothing is computed and no
//! weights are copied; small tensors that shapes depend on are followed by value. Messages are decoded by `prost`,
//! which bounds nesting; everything after treats sizes as hostile.
//!
//! ```no_run
//! use std::collections::BTreeMap;
//! use std::path::Path;
//!
//! let dims = BTreeMap::from([("batch".to_owned(), 8)]);
//! let graph = vramkit_models::onnx::read(Path::new("resnet50.onnx"), &dims)?;
//! let model = graph.model(&"resnet50".into(), 256, false);
//! println!("{} of weights, {} tensors", model.weights, model.tensors.len());
//! # Ok::<(), vramkit_models::ReadError>(())
//! ```

mod bodies;
mod body_peak;
mod declared;
mod fact;
mod functions;
mod graph;
mod in_place;
mod infer;
mod lifetimes;
mod node;
mod order;
mod proto;
mod reorder;
mod rules;
mod runtime;
mod stored;

pub use graph::{OnnxGraph, RuntimePattern, read};
pub use reorder::OrderSaving;
pub use runtime::RuntimeLevel;

#[cfg(test)]
mod tests;
