//! A graph from its file: all stages of reading one, one after the other.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use vramkit_plan::Model;
use vramkit_units::{ByteSize, Step};

use super::body_peak::body_peak;
use super::declared;
use super::fact::Fact;
use super::functions;
use super::in_place;
use super::infer::Scope;
use super::lifetimes::{self, Activation};
use super::node::title;
use super::proto::{ModelProto, NodeProto};
use super::reorder::{self, OrderSaving};
use super::runtime::{self, RuntimeLevel};
use super::stored::Stored;
use crate::error::ReadError;
use crate::file::whole;
use crate::weights::Weights;

/// A graph whose shapes are all known.
#[derive(Clone, Debug)]
pub struct OnnxGraph {
    nodes: Vec<NodeProto>,
    activations: Vec<Activation>,
    facts: HashMap<String, Fact>,
    weights: Arc<Weights>,
}

/// What ONNX Runtime plans for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimePattern {
    /// Of the block that it takes at the start.
    pub size: ByteSize,
    /// Tensors of the graph as it runs, and where in the block they begin.
    pub tensors: Vec<(String, ByteSize)>,
    /// Operators of the graph for which the figure may be off.
    pub doubts: Vec<&'static str>,
}

/// Reads a graph. `dims` gives symbolic dimensions their sizes, in elements.
///
/// # Errors
/// A file that cannot be read or is no ONNX model, a dimension without a size
/// ([`MissingDimension`](ReadError::MissingDimension)), an operator whose outputs have unknown shapes, weights beside
/// the file that are not there: each with the node or tensor.
pub fn read(path: &Path, dims: &BTreeMap<String, u64>) -> Result<OnnxGraph, ReadError> {
    parse(path, whole(path)?.into(), dims)
}

/// Reads a graph from the content of the file `path`; weights beside it are in its folder.
pub(super) fn parse(
    path: &Path,
    content: Bytes,
    dims: &BTreeMap<String, u64>,
) -> Result<OnnxGraph, ReadError> {
    let file = path.display().to_string();
    let within = |reason: String| ReadError::within(&file, reason);
    let model =
        ModelProto::decode(content.clone()).map_err(|error| within(format!("not an ONNX model: {error}")))?;
    let mut graph = model.graph.ok_or_else(|| within("not an ONNX model: it holds no graph".to_owned()))?;
    let opset = model
        .opset_import
        .iter()
        .filter(|set| matches!(set.domain.as_str(), "" | "ai.onnx"))
        .map(|set| set.version)
        .max();
    functions::inline(&mut graph, &model.functions).map_err(within)?;
    let mut stored = Stored::new(path, &content);
    stored.initialisers(&graph).map_err(within)?;
    let inputs = declared::inputs(&file, &graph, dims)?;
    let scope = Scope::new(opset.unwrap_or(1), dims);
    let inferred = scope.infer(&graph, inputs).map_err(within)?;
    let mut activations = lifetimes::activations(&graph, &inferred).map_err(within)?;
    for (step, node) in inferred.nodes.iter().enumerate() {
        let bytes = body_peak(node, &scope, &inferred).map_err(within)?;
        if bytes > 0 {
            let step = step as u64;
            let id = format!("{} (body)", title(node));
            activations.push(Activation { id, start: step, end: step + 1, bytes, ..Activation::default() });
        }
    }
    stored.constants(&inferred).map_err(within)?;
    let nodes = inferred.nodes.into_iter().cloned().collect();
    let facts = inferred.facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect();
    Ok(OnnxGraph { nodes, activations, facts, weights: Arc::new(stored.into_weights()) })
}

impl OnnxGraph {
    /// Its parameters: initialisers, and what constant nodes make.
    pub fn weights(&self) -> &Arc<Weights> {
        &self.weights
    }

    /// Runs the nodes in the order that has least live at most, and with `recompute` cheap ones again rather than
    /// keeping what they made, where that lowers it further.
    pub fn reorder(&mut self, recompute: bool) -> OrderSaving {
        let (saving, activations) = reorder::reorder(&mut self.nodes, &self.activations, recompute);
        self.activations = activations;
        saving
    }

    /// The block that ONNX Runtime (CPU provider) plans for a run of this graph, its memory pattern. The order of the
    /// nodes is the runtime's own; of several that could run next, that in the file decides.
    ///
    /// # Errors
    /// Sizes that do not go into 64 bits.
    pub fn runtime_pattern(&self, level: RuntimeLevel) -> Result<RuntimePattern, String> {
        let graph = runtime::load(&self.nodes, &self.activations, &self.facts, level)?;
        let pattern = runtime::pattern(&graph.nodes, &graph.activations, &|name| graph.facts.get(name))?;
        let tensors = graph.activations.iter().zip(&pattern.offsets);
        Ok(RuntimePattern {
            size: ByteSize::new(pattern.peak),
            tensors: tensors
                .filter_map(|(a, offset)| Some((a.id.clone(), ByteSize::new((*offset)?))))
                .collect(),
            doubts: runtime::doubts(&self.nodes),
        })
    }

    /// The graph as a model: a step a node, tensors aligned to `alignment` bytes (a power of two). With `in_place`,
    /// operators that can are taken to write over their input.
    pub fn model(&self, name: &Arc<str>, alignment: u64, in_place: bool) -> Model {
        let mut tensors = lifetimes::lifetimes(&self.activations, name, alignment);
        if in_place {
            in_place::alias(&self.nodes.iter().collect::<Vec<_>>(), &self.activations, &mut tensors);
        }
        Model { name: name.clone(), weights: self.weights.size(), start: Step(0), tensors }
    }
}

impl Weights {
    /// The weights of an ONNX file, which is read for its shapes as [`onnx::read`](crate::onnx::read) does: a constant may be
    /// as large as a symbolic dimension.
    ///
    /// # Errors
    /// As [`onnx::read`](crate::onnx::read).
    pub fn open(path: &Path, dims: &BTreeMap<String, u64>) -> Result<Self, ReadError> {
        read(path, dims).map(|graph| Arc::unwrap_or_clone(graph.weights))
    }
}
