//! ONNX graphs: what they hold and when.
//!
//! ```text
//! bytes ──► proto ──► inlined functions ──► order ──► infer (rules, facts) ──► lifetimes ──► (reorder) ──► model
//!                                                                         └──► weights
//! ```
//!
//! Nothing is computed and no weights are read; small tensors that shapes depend on are followed by value.
//! Messages are decoded by `prost`, which bounds nesting; everything after treats sizes as hostile.

mod fact;
mod functions;
mod in_place;
mod infer;
mod lifetimes;
mod node;
mod order;
mod proto;
mod reorder;
mod rules;
mod weights;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use vramkit_plan::Model;
use vramkit_units::ByteSize;
use vramkit_units::Step;

use crate::error::ReadError;
use infer::Scope;
use lifetimes::Activation;
use proto::{ModelProto, NodeProto};
pub use reorder::OrderSaving;

/// A graph whose shapes are all known.
#[derive(Clone, Debug)]
pub struct OnnxGraph {
    nodes: Vec<NodeProto>,
    activations: Vec<Activation>,
    weights: u64,
}

/// Reads a graph. `folder` is where weights beside the file are; `dims` gives symbolic dimensions their sizes.
pub fn read(
    file: &str,
    content: Bytes,
    folder: &Path,
    dims: &BTreeMap<String, u64>,
) -> Result<OnnxGraph, ReadError> {
    let within = |reason: String| ReadError::within(file, reason);
    let model = ModelProto::decode(content).map_err(|error| within(format!("not an ONNX model: {error}")))?;
    let mut graph = model.graph.ok_or_else(|| within("not an ONNX model: it holds no graph".to_owned()))?;
    let opset = model
        .opset_import
        .iter()
        .filter(|set| matches!(set.domain.as_str(), "" | "ai.onnx"))
        .map(|set| set.version)
        .max();
    functions::inline(&mut graph, &model.functions).map_err(within)?;
    let weights = weights::bytes(&graph, folder).map_err(within)?;
    let scope = Scope::new(opset.unwrap_or(1), dims);
    let inferred = scope.infer(&graph, None).map_err(within)?;
    let (mut activations, constants) = lifetimes::activations(&graph, &inferred).map_err(within)?;
    for (step, node) in inferred.nodes.iter().enumerate() {
        let bytes = infer::body_peak(node, &scope, &inferred).map_err(within)?;
        if bytes > 0 {
            let step = step as u64;
            let id = format!("{} (body)", infer::title(node));
            activations.push(Activation { id, start: step, end: step + 1, bytes, ..Activation::default() });
        }
    }
    let weights = weights
        .checked_add(constants)
        .ok_or_else(|| within("the weights have more than 2^64 bytes".to_owned()))?;
    let nodes = inferred.nodes.into_iter().cloned().collect();
    Ok(OnnxGraph { nodes, activations, weights })
}

impl OnnxGraph {
    /// Bytes of parameters: initialisers, and what constant nodes make.
    pub fn weights(&self) -> ByteSize {
        ByteSize::new(self.weights)
    }

    /// Runs the nodes in the order that has least live at most, and with `recompute` cheap ones again rather than
    /// keeping what they made, where that lowers it further.
    pub fn reorder(&mut self, recompute: bool) -> OrderSaving {
        let (saving, activations) = reorder::reorder(&mut self.nodes, &self.activations, recompute);
        self.activations = activations;
        saving
    }

    /// The graph as a model: a step a node. With `in_place`, operators that can are taken to write over their
    /// input.
    pub fn model(&self, name: &Arc<str>, alignment: u64, in_place: bool) -> Model {
        let mut tensors = lifetimes::lifetimes(&self.activations, name, alignment);
        if in_place {
            in_place::alias(&self.nodes.iter().collect::<Vec<_>>(), &self.activations, &mut tensors);
        }
        Model { name: name.clone(), weights: self.weights(), start: Step(0), tensors }
    }
}

#[cfg(test)]
mod tests;
