//! The graph that a model's tensors come from, which is kept beside them so that they can be made anew.

use std::sync::Arc;

use vramkit_plan::{Model, TensorLifetime};

use crate::onnx::OnnxGraph;

/// A graph, and how lifetimes are made of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GraphSource {
    pub(crate) graph: Arc<OnnxGraph>,
    pub(crate) alignment: u64,
    pub(crate) in_place: bool,
}

impl GraphSource {
    pub(crate) fn tensors(&self, model: &Model) -> Vec<TensorLifetime> {
        self.graph.model(&model.name, self.alignment, self.in_place).tensors
    }
}
