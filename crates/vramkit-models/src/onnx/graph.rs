//! A graph from its file: all stages of reading one, one after the other.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use vramkit_plan::report::{BoundReport, DerivedReport, GraphReport};
use vramkit_plan::{Model, OrderBudget};
use vramkit_units::{ByteSize, Step};

use super::channel_blocks;
use super::context::Context;
use super::declared::{self, Declared};
use super::derived::Derived;
use super::fact::Fact;
use super::functions;
use super::in_place;
use super::infer::Scope;
use super::lifetimes::{self, Activation};
use super::measured::Measured;
use super::proto::{GraphProto, ModelProto, NodeProto};
use super::reorder::{self, OrderSaving};
use super::runtime::{self, RuntimeLevel, RuntimePattern};
use super::skim::{Input, Unreadable, skim};
use super::stored::Stored;
use super::symbols::{Symbols, unknown_dimension};
use crate::error::ReadError;
use crate::file::whole;
use crate::weights::Weights;

/// What the user says of a graph.
#[derive(Clone, Copy, Debug)]
pub struct Sizes<'a> {
    /// Sizes of symbolic dimensions, in elements, by their symbol or their place (`input[0]`).
    pub dims: &'a BTreeMap<String, u64>,
    /// A file of shapes that a runtime measured: a JSON object of tensors and shapes, or a profile of ONNX Runtime.
    pub measured: Option<&'a Path>,
}

/// A graph whose shapes are all known.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxGraph {
    nodes: Vec<NodeProto>,
    activations: Vec<Activation>,
    facts: HashMap<String, Fact>,
    weights: Arc<Weights>,
    derived: Vec<Derived>,
    bounds: BTreeMap<String, String>,
    left_out: BTreeMap<String, String>,
    uncounted: BTreeMap<String, String>,
    notes: Vec<String>,
    symbols: Symbols,
}

/// Reads a graph.
///
/// Of a file, the contents of large tensors are passed over, so that memory is in proportion to its graph.
///
/// # Errors
/// A file that cannot be read or is no ONNX model, dimensions without a size
/// ([`MissingDimensions`](ReadError::MissingDimensions)), an operator whose outputs have unknown shapes, weights beside
/// the file that are not there: each with the node or tensor.
pub fn read(path: &Path, sizes: Sizes<'_>) -> Result<OnnxGraph, ReadError> {
    let io = |error| ReadError::Io { path: path.to_owned(), error };
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => {
            let file = File::open(path).map_err(io)?;
            parse(path, &mut BufReader::new(file), found.len(), sizes)
        }
        _ => {
            let content = whole(path)?;
            let length = content.len() as u64;
            parse(path, &mut Cursor::new(content), length, sizes)
        }
    }
}

/// Reads a graph from the `length` bytes of the file `path`; weights beside it are in its folder.
pub(super) fn parse(
    path: &Path,
    input: &mut impl Input,
    length: u64,
    sizes: Sizes<'_>,
) -> Result<OnnxGraph, ReadError> {
    let file = path.display().to_string();
    let within = |reason: String| ReadError::within(&file, reason);
    let content = skim(input, length).map_err(|error| match error {
        Unreadable::Io(error) => ReadError::Io { path: path.to_owned(), error },
        Unreadable::Malformed(reason) => within(format!("not an ONNX model: {reason}")),
    })?;
    let structure = content.len() as u64;
    let model = ModelProto::decode(Bytes::from(content))
        .map_err(|error| within(format!("not an ONNX model: {error}")))?;
    let mut graph = model.graph.ok_or_else(|| within("not an ONNX model: it holds no graph".to_owned()))?;
    let standard = model.opset_import.iter().filter(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
    let opset = standard.map(|set| set.version).max().unwrap_or(1);
    functions::inline(&mut graph, &model.functions, structure).map_err(within)?;
    channel_blocks::tell(&mut graph);
    let mut stored = Stored::new(path);
    stored.initialisers(&graph).map_err(within)?;
    let measured = match sizes.measured {
        Some(path) => Measured::read(path, &graph)?,
        None => Measured::default(),
    };
    let mut context = Context::new(opset, sizes.dims, &measured, structure);
    context.can_override = model.ir_version >= 4;
    if !graph.sparse_initializer.is_empty() {
        context.note(
            "sparse weights are counted as they are stored; a runtime may fill them up as it loads them"
                .to_owned(),
        );
    }
    for name in measured.strangers() {
        context.note(format!("`{name}` has a measured shape, and is no tensor of the graph"));
    }
    let inferred = inputs(&graph, &context).and_then(|inputs| Scope::new(&context).infer(&graph, inputs));
    let missing = std::mem::take(&mut context.found.borrow_mut().open);
    if !missing.is_empty() {
        // Whatever else is wrong may come from their sizes, which were taken to be 1.
        return Err(ReadError::MissingDimensions { file, open: missing });
    }
    let inferred = inferred.map_err(within)?;
    let activations = lifetimes::activations(&graph, &inferred).map_err(within)?;
    stored.constants(&inferred).map_err(within)?;
    let nodes = inferred.nodes.into_iter().cloned().collect();
    // Values have done their work.
    let facts =
        inferred.facts.into_iter().map(|(name, fact)| (name.to_owned(), Fact { value: None, ..fact }));
    let facts = facts.collect();
    let found = context.found.take();
    let mut derived: Vec<Derived> = found.derived.into_values().collect();
    derived.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.tensor.cmp(&b.tensor)));
    let stored = stored.into_weights();
    let sum = derived.iter().try_fold(stored.size(), |sum, one| sum.checked_add(one.size));
    sum.ok_or_else(|| {
        within("its weights and what is computed from them have more than 2^64 bytes".to_owned())
    })?;
    Ok(OnnxGraph {
        nodes,
        activations,
        facts,
        weights: Arc::new(stored),
        derived,
        bounds: found.bounds,
        left_out: found.left_out,
        notes: found.notes,
        uncounted: found.uncounted,
        symbols: declared::symbols(&graph),
    })
}

/// The facts of a graph's inputs, in order; `None` for those that initialisers give.
fn inputs(graph: &GraphProto, context: &Context<'_>) -> Result<Vec<Option<Fact>>, String> {
    let stored = lifetimes::stored_names(graph);
    let mut facts = Vec::with_capacity(graph.input.len());
    for info in &graph.input {
        if stored.contains(info.name.as_str()) {
            facts.push(None);
            continue;
        }
        let named = |reason: String| format!("input `{}`: {reason}", info.name);
        let fact = match (declared::declared(info, context.dims), context.measured.get(&info.name)) {
            (Declared::Whole(fact), Some(shape)) if fact.shape != shape && fact.other.is_none() => {
                return Err(named(format!("measured as {shape:?}, and is {:?}", fact.shape)));
            }
            (Declared::Whole(fact), _) => fact,
            (Declared::Open(fact, _), Some(shape)) => Fact::new(fact.dtype, shape.to_vec()),
            (Declared::Shapeless(dtype), Some(shape)) => Fact::new(dtype, shape.to_vec()),
            (Declared::Open(fact, open), None) => {
                context.open(open);
                fact
            }
            (Declared::Shapeless(_), None) => {
                let reason = "the file does not carry its shape, which a measured one can tell";
                return Err(named(reason.to_owned()));
            }
            (Declared::TooLarge { name, size }, _) => {
                return Err(named(format!("{size} is too large for dimension `{name}`")));
            }
            (Declared::Unsaid(reason), _) => return Err(named(reason)),
        };
        if !fact.is_counted() {
            context.uncounted(&info.name, if fact.other.is_none() { "text" } else { "no tensor" });
        }
        facts.push(Some(fact));
    }
    Ok(facts)
}

impl OnnxGraph {
    /// Its parameters: initialisers, and what constant nodes make, in bodies too.
    pub fn weights(&self) -> &Arc<Weights> {
        &self.weights
    }

    /// What it computes from its weights alone, the largest first: there before it runs, and as long.
    pub fn derived(&self) -> &[Derived] {
        &self.derived
    }

    /// Its parameters, and what it computes from them alone.
    pub fn resident(&self) -> ByteSize {
        // Both were added up as they were read.
        self.derived.iter().fold(self.weights.size(), |sum, one| sum.saturating_add(one.size))
    }

    /// Tensors whose sizes depend on data and are the most that they can be, with the operator that makes each. Sizes that
    /// are computed from them are the most that they can be as well.
    pub fn bounds(&self) -> &BTreeMap<String, String> {
        &self.bounds
    }

    /// Nodes with two branches of which one is not planned for, as it fits no shape for the sizes given, with the reason.
    pub fn left_out(&self) -> &BTreeMap<String, String> {
        &self.left_out
    }

    /// Tensors that take memory which is not counted, with what they are: text, or no tensors.
    pub fn uncounted(&self) -> &BTreeMap<String, String> {
        &self.uncounted
    }

    /// Every name under which a size can be given to a dimension.
    pub(crate) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// Runs the nodes in the order with least live at most that is found within a budget. With `in_place`, operators that can
    /// are taken to write over their input.
    pub fn reorder(&mut self, in_place: bool, budget: &OrderBudget<'_>) -> OrderSaving {
        let over = self.over(in_place);
        let (saving, activations) = reorder::reorder(&mut self.nodes, &self.activations, &over, budget);
        self.activations = activations;
        saving
    }

    /// Runs cheap nodes again rather than keeping what they made, where that has less live at most than the order that there is. What
    /// that order saved comes in, and what both save goes out; `in_place` as for [`reorder`](Self::reorder).
    pub fn recompute(&mut self, saved: OrderSaving, in_place: bool, budget: &OrderBudget<'_>) -> OrderSaving {
        let over = self.over(in_place);
        let (saving, activations) =
            reorder::recompute(&mut self.nodes, &self.activations, &over, saved, budget);
        self.activations = activations;
        saving
    }

    /// The activations that take another's place, with that one.
    fn over(&self, in_place: bool) -> Vec<(usize, usize)> {
        if !in_place {
            return Vec::new();
        }
        let nodes: Vec<&NodeProto> = self.nodes.iter().collect();
        in_place::taken(&nodes, &self.activations, &self.facts)
    }

    /// What of this a plan's document says.
    pub fn report(&self) -> GraphReport {
        let derived = self.derived.iter().map(|one| DerivedReport {
            id: one.tensor.clone(),
            operator: one.operator.clone(),
            size_bytes: one.size,
            avoidable: one.avoidable.map(str::to_owned),
        });
        let sources = self.bounds.iter().map(|(id, operator)| BoundReport {
            id: id.clone(),
            operator: operator.clone(),
            is_source: true,
        });
        let outputs =
            self.nodes.iter().flat_map(|node| node.output.iter().map(move |id| (id, &node.op_type)));
        let follows =
            |id: &str| !self.bounds.contains_key(id) && self.facts.get(id).is_some_and(|fact| fact.bound);
        let following = outputs.filter(|(id, _)| follows(id)).map(|(id, operator)| BoundReport {
            id: id.clone(),
            operator: operator.clone(),
            is_source: false,
        });
        let left_out = self.left_out.iter().map(|(node, reason)| {
            format!(
                "one branch of {node} is not planned for, as it fits no shape for the sizes given: {reason}"
            )
        });
        let uncounted = self
            .uncounted
            .iter()
            .map(|(tensor, what)| format!("what `{tensor}` takes is not counted: {what}"));
        let bounds = sources.chain(following).collect();
        GraphReport {
            derived: derived.collect(),
            bounds,
            notes: self.notes.iter().cloned().chain(left_out).chain(uncounted).collect(),
        }
    }

    /// What ONNX Runtime (CPU provider) plans for a run of this graph, its memory pattern, and the tensors that are in it, as a
    /// model with a step a node of the graph that it runs. The order of the nodes is the runtime's own; of several that could
    /// run next, that in the file decides.
    ///
    /// # Errors
    /// Sizes that do not go into 64 bits.
    pub fn as_run(&self, name: &Arc<str>, level: RuntimeLevel) -> Result<(RuntimePattern, Model), String> {
        let mut graph = runtime::load(&self.nodes, &self.activations, &self.facts, level)?;
        let pattern = runtime::pattern(&graph.nodes, &graph.activations, &|name| graph.facts.get(name))?;
        let nodes: Vec<&NodeProto> = pattern.order.iter().filter_map(|&i| graph.nodes.get(i)).collect();
        runtime::set_lives(&nodes, &mut graph.activations);
        let mut tensors = lifetimes::lifetimes(&graph.activations, name, 1);
        in_place::alias(&nodes, &graph.activations, &graph.facts, &mut tensors);
        let mut placed = pattern.offsets.iter().map(Option::is_some);
        tensors.retain(|_| placed.next().unwrap_or(false));
        let size = ByteSize::new(pattern.peak);
        let model = Model { name: name.clone(), weights: ByteSize::ZERO, start: Step(0), tensors };
        Ok((RuntimePattern { size, doubts: runtime::doubts(&self.nodes) }, model))
    }

    /// The graph as a model: a step a node, tensors aligned to `alignment` bytes (a power of two). With `in_place`,
    /// operators that can are taken to write over their input.
    pub fn model(&self, name: &Arc<str>, alignment: u64, in_place: bool) -> Model {
        let mut tensors = lifetimes::lifetimes(&self.activations, name, alignment);
        if in_place {
            in_place::alias(
                &self.nodes.iter().collect::<Vec<_>>(),
                &self.activations,
                &self.facts,
                &mut tensors,
            );
        }
        Model { name: name.clone(), weights: self.resident(), start: Step(0), tensors }
    }
}

impl Weights {
    /// The weights of an ONNX file, which is read for its shapes as [`onnx::read`](crate::onnx::read) does: a constant may be
    /// as large as a symbolic dimension.
    ///
    /// # Errors
    /// As [`onnx::read`](crate::onnx::read).
    pub fn open(path: &Path, dims: &BTreeMap<String, u64>) -> Result<Self, ReadError> {
        let graph = read(path, Sizes { dims, measured: None })?;
        unknown_dimension(dims, &[&graph.symbols])?;
        Ok(Arc::unwrap_or_clone(graph.weights))
    }
}
