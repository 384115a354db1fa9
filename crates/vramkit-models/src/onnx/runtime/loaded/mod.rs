//! A graph as the runtime has it after loading: which nodes it takes out, does in one, or replaces.
//!
//! ```text
//! file ──► simplified (constants, copies) ──► fused (one kernel for several nodes) ──► blocked (channels in blocks)
//! ```
//!
//! In: nodes, activations and facts of the file. Out: the same of the graph that runs, at one of the
//! runtime's levels of optimisation. What it does is followed as far as it changes which tensors there are
//! and how large they are: rewrites of transposes and of quantised operators are not, so that a plan of such
//! a graph is off.

mod blocked;
mod fused;
mod simplified;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::onnx::fact::Fact;
use crate::onnx::lifetimes::Activation;
use crate::onnx::order::reads;
use crate::onnx::proto::NodeProto;

/// How far ONNX Runtime optimises a graph when it loads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuntimeLevel {
    /// Without what follows.
    Basic,
    /// With kernels for several nodes.
    Extended,
    /// With everything, its default.
    All {
        /// How many channels its convolutions take at a time: 16 on a processor with AVX-512, else 8.
        block: u32,
    },
}

/// Operators around which the runtime rewrites a graph in ways that are not followed, or which have a pattern
/// of their own.
const DOUBTFUL: [&str; 17] = [
    "Attention",
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "If",
    "InstanceNormalization",
    "Loop",
    "MatMulInteger",
    "Mish",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "Resize",
    "Scan",
    "Shape",
    "Transpose",
    "Upsample",
];

/// The operators of a graph for which a pattern may be off.
pub(in crate::onnx) fn doubts(nodes: &[NodeProto]) -> Vec<&'static str> {
    let mut doubts: Vec<&'static str> =
        DOUBTFUL.into_iter().filter(|op| nodes.iter().any(|node| node.op_type == *op)).collect();
    doubts.extend(nodes.iter().any(|node| node.domain == "ai.onnx.ml").then_some("operators of ai.onnx.ml"));
    doubts
}

/// The graph while it is rewritten.
#[derive(Clone, Debug)]
pub(in crate::onnx) struct Loaded {
    /// A node's rank decides which of several runs first; a node that is put in later ranks behind all
    /// others.
    nodes: Vec<Option<NodeProto>>,
    facts: HashMap<String, Fact>,
    /// What comes from outside, and what goes there.
    given: HashSet<String>,
    stays: HashSet<String>,
    /// Weights of one element.
    scalars: HashSet<String>,
    links: Links,
}

/// Who makes and who reads a tensor.
#[derive(Clone, Debug, Default)]
struct Links {
    maker: HashMap<String, usize>,
    /// With how often each does.
    readers: HashMap<String, BTreeMap<usize, usize>>,
    /// What bodies take from around them.
    captured: HashSet<String>,
}

/// The graph that runs.
pub(in crate::onnx) struct Graph {
    pub(in crate::onnx) nodes: Vec<NodeProto>,
    pub(in crate::onnx) activations: Vec<Activation>,
    pub(in crate::onnx) facts: HashMap<String, Fact>,
}

/// What becomes of a graph at a level.
///
/// # Errors
/// Sizes that do not go into 64 bits.
pub(in crate::onnx) fn load(
    nodes: &[NodeProto],
    activations: &[Activation],
    facts: &HashMap<String, Fact>,
    level: RuntimeLevel,
) -> Result<Graph, String> {
    let ids = |wanted: fn(&Activation) -> bool| {
        activations.iter().filter(|a| wanted(a)).map(|a| a.id.clone()).collect::<HashSet<_>>()
    };
    let mut loaded = Loaded {
        nodes: nodes.iter().cloned().map(Some).collect(),
        facts: facts.clone(),
        given: ids(|a| a.given),
        stays: ids(|a| a.stays),
        scalars: HashSet::new(),
        links: Links::default(),
    };
    let known: HashSet<&str> = activations.iter().map(|a| a.id.as_str()).collect();
    let single = |fact: &Fact| fact.shape.iter().all(|&dim| dim == 1);
    let weights = facts.iter().filter(|(name, fact)| !known.contains(name.as_str()) && single(fact));
    loaded.scalars = weights.map(|(name, _)| name.clone()).collect();
    loaded.facts.retain(|name, _| known.contains(name.as_str()));
    loaded.simplify();
    if level != RuntimeLevel::Basic {
        loaded.fuse();
    }
    if let RuntimeLevel::All { block } = level {
        loaded.block(block.into());
    }
    loaded.finish()
}

impl Loaded {
    fn link(&mut self) {
        self.links = Links::default();
        (0..self.nodes.len()).for_each(|i| self.attach(i));
    }

    /// Puts a node at a place and notes what it makes and reads.
    fn put(&mut self, i: usize, node: NodeProto) {
        if let Some(place) = self.nodes.get_mut(i) {
            *place = Some(node);
            self.attach(i);
        }
    }

    fn attach(&mut self, i: usize) {
        let Some(Some(node)) = self.nodes.get(i) else { return };
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            self.links.maker.insert(output.clone(), i);
        }
        for (name, captured) in read_by(node) {
            *self.links.readers.entry(name.clone()).or_default().entry(i).or_default() += 1;
            if captured {
                self.links.captured.insert(name);
            }
        }
    }

    /// Takes a node out.
    fn take(&mut self, i: usize) -> Option<NodeProto> {
        let node = self.nodes.get_mut(i)?.take()?;
        for output in &node.output {
            if self.links.maker.get(output) == Some(&i) {
                self.links.maker.remove(output);
            }
        }
        for (name, _) in read_by(&node) {
            if let Some(readers) = self.links.readers.get_mut(&name) {
                readers.remove(&i);
            }
        }
        Some(node)
    }

    /// Whether a tensor is there before the graph runs.
    fn weight(&self, name: &str) -> bool {
        !self.facts.contains_key(name) && !self.links.maker.contains_key(name)
    }

    fn shape(&self, name: &str) -> Option<&[i64]> {
        self.facts.get(name).map(|fact| fact.shape.as_slice())
    }

    fn node(&self, i: usize) -> Option<&NodeProto> {
        self.nodes.get(i)?.as_ref()
    }

    fn maker(&self, name: &str) -> Option<usize> {
        self.links.maker.get(name).copied().filter(|&i| self.node(i).is_some())
    }

    /// The nodes that read a tensor, ascending.
    fn readers(&self, name: &str) -> impl Iterator<Item = usize> + '_ {
        self.links.readers.get(name).into_iter().flat_map(|readers| readers.keys().copied())
    }

    /// The operator of a node of the standard, else of the runtime's own domains.
    fn op(&self, i: usize) -> &str {
        self.node(i).map_or("", |node| node.op_type.as_str())
    }

    /// The only node that reads a tensor, once, which goes nowhere else.
    fn reader(&self, name: &str) -> Option<usize> {
        let readers = self.links.readers.get(name).filter(|readers| readers.len() == 1)?;
        let (&reader, &times) = readers.first_key_value()?;
        (times == 1 && !self.stays.contains(name)).then_some(reader)
    }

    /// The only node that reads a node's first output.
    fn follower(&self, i: usize) -> Option<usize> {
        self.reader(self.node(i)?.output.first()?)
    }

    /// A node's inputs that are no weights, other than this one.
    fn others(&self, i: usize, but: &str) -> Vec<String> {
        let inputs = self.node(i).map_or(&[][..], |node| node.input.as_slice());
        inputs.iter().filter(|name| !name.is_empty() && *name != but && !self.weight(name)).cloned().collect()
    }

    /// Lets node `first` do what `second` does after it with weights alone.
    fn merge(&mut self, first: usize, second: usize) {
        let (Some(gone), Some(mut node)) = (self.take(second), self.take(first)) else { return };
        if let (Some(output), Some(own)) = (gone.output.first(), node.output.first_mut()) {
            self.facts.remove(&std::mem::replace(own, output.clone()));
        }
        self.put(first, node);
    }

    /// Replaces nodes by one that makes what the last of them makes; it ranks as the first in the list does.
    fn replace(
        &mut self,
        group: &[usize],
        last: usize,
        op: &str,
        domain: &str,
        input: Vec<String>,
    ) -> Option<usize> {
        let output = self.node(last)?.output.first()?.clone();
        for &i in group.iter().chain([&last]) {
            for name in self.take(i).into_iter().flat_map(|node| node.output).filter(|name| *name != output) {
                self.facts.remove(&name);
            }
        }
        let (op_type, domain, output) = (op.to_owned(), domain.to_owned(), vec![output]);
        let at = *group.first()?;
        self.put(at, NodeProto { op_type, domain, input, output, ..NodeProto::default() });
        Some(at)
    }

    fn finish(self) -> Result<Graph, String> {
        let nodes: Vec<NodeProto> = self.nodes.into_iter().flatten().collect();
        let made = nodes.iter().flat_map(|node| node.output.iter());
        let mut seen = HashSet::new();
        let mut activations = Vec::new();
        for name in self.given.iter().chain(made).filter(|name| seen.insert(name.as_str())) {
            if let Some(fact) = self.facts.get(name) {
                activations.push(Activation {
                    id: name.clone(),
                    bytes: fact.bytes().map_err(|error| format!("`{name}`: {error}"))?,
                    given: self.given.contains(name),
                    stays: self.stays.contains(name),
                    ..Activation::default()
                });
            }
        }
        Ok(Graph { nodes, activations, facts: self.facts })
    }
}

/// What a node reads, as often as it does, and what its bodies take from around them.
fn read_by(node: &NodeProto) -> Vec<(String, bool)> {
    let named: HashSet<&str> = node.input.iter().map(String::as_str).collect();
    let captured =
        reads(node).into_iter().filter(|name| !named.contains(name)).map(|name| (name.to_owned(), true));
    let inputs = node.input.iter().filter(|name| !name.is_empty()).map(|name| (name.clone(), false));
    inputs.chain(captured).collect()
}
