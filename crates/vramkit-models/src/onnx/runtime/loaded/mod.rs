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

use std::collections::{HashMap, HashSet};

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
const DOUBTFUL: [&str; 11] = [
    "Attention",
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "If",
    "Loop",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "Scan",
];

/// The operators of a graph for which a pattern may be off.
pub(in crate::onnx) fn doubts(nodes: &[NodeProto]) -> Vec<&'static str> {
    DOUBTFUL.into_iter().filter(|op| nodes.iter().any(|node| node.op_type == *op)).collect()
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
    /// A node that reads it twice is there twice.
    readers: HashMap<String, Vec<usize>>,
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
        for (i, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                self.links.maker.insert(output.clone(), i);
            }
            let named: HashSet<&str> = node.input.iter().map(String::as_str).collect();
            let captured = reads(node).into_iter().filter(|name| !named.contains(name));
            for name in node.input.iter().map(String::as_str).chain(captured).filter(|name| !name.is_empty())
            {
                self.links.readers.entry(name.to_owned()).or_default().push(i);
            }
        }
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

    fn readers(&self, name: &str) -> &[usize] {
        self.links.readers.get(name).map_or(&[], Vec::as_slice)
    }

    /// The operator of a node of the standard, else of the runtime's own domains.
    fn op(&self, i: usize) -> &str {
        self.node(i).map_or("", |node| node.op_type.as_str())
    }

    /// The only node that reads a tensor, once, which goes nowhere else.
    fn reader(&self, name: &str) -> Option<usize> {
        match self.readers(name) {
            &[one] if !self.stays.contains(name) && self.node(one).is_some() => Some(one),
            _ => None,
        }
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

    /// Lets node `first` do what `second`, which reads it, does after it; `added` are inputs that it takes
    /// over.
    fn merge(&mut self, first: usize, second: usize, added: &[String]) {
        let Some(Some(gone)) = self.nodes.get_mut(second).map(Option::take) else { return };
        let Some(Some(node)) = self.nodes.get_mut(first) else { return };
        let (Some(output), Some(own)) = (gone.output.first(), node.output.first_mut()) else { return };
        let hidden = std::mem::replace(own, output.clone());
        node.input.extend(added.iter().cloned());
        self.facts.remove(&hidden);
        self.links.maker.insert(output.clone(), first);
        for name in added {
            for reader in
                self.links.readers.entry(name.clone()).or_default().iter_mut().filter(|r| **r == second)
            {
                *reader = first;
            }
        }
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
            if let Some(node) = self.nodes.get_mut(i).and_then(Option::take) {
                node.output.iter().filter(|name| **name != output).for_each(|name| {
                    self.facts.remove(name);
                });
            }
        }
        let node = NodeProto {
            op_type: op.to_owned(),
            domain: domain.to_owned(),
            input,
            output: vec![output],
            ..NodeProto::default()
        };
        let at = *group.first()?;
        self.nodes[at] = Some(node);
        self.link();
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
