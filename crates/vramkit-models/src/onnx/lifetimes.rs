//! From what every tensor looks like to when it lives.
//!
//! Node i is step i. A tensor made by node i and last read by node j lives in `[i, j + 1)`, an unread one in
//! `[i, i + 1)`, a graph's input from 0, a graph's output to the end. What is stored, and what is computed from that
//! alone, is no activation. A node with bodies holds what its largest body holds at most, in a tensor of its own named
//! after its first output.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use vramkit_plan::{LifetimeAnalyzer, Schedule, TensorLifetime};
use vramkit_units::{ByteSize, Step};

use super::inferred::Inferred;
use super::order;
use super::proto::GraphProto;

/// A tensor that lives for part of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Activation {
    pub(super) id: String,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) bytes: u64,
    /// The nodes that read it, ascending.
    pub(super) reads: Vec<u64>,
    /// Whether it comes from outside, or goes there.
    pub(super) boundary: bool,
    /// Whether it is there before the graph runs.
    pub(super) given: bool,
    /// Whether it is wanted after it has run.
    pub(super) stays: bool,
}

/// The tensors that a graph's initialisers give.
pub(super) fn stored_names(graph: &GraphProto) -> HashSet<&str> {
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    graph.initializer.iter().chain(sparse).map(|tensor| tensor.name.as_str()).collect()
}

/// Every activation of a graph.
pub(super) fn activations(graph: &GraphProto, inferred: &Inferred<'_>) -> Result<Vec<Activation>, String> {
    let stored = stored_names(graph);
    let last = inferred.nodes.len() as u64;
    let mut all: Vec<Activation> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let bytes = |name: &str| inferred.facts.get(name).map_or(Ok(0), |fact| fact.bytes());
    let add = |name: &str, start: u64, boundary: bool| -> Result<Activation, String> {
        Ok(Activation {
            id: name.to_owned(),
            start,
            end: start + 1,
            bytes: bytes(name)?,
            reads: Vec::new(),
            boundary,
            given: boundary,
            stays: false,
        })
    };
    for input in graph.input.iter().filter(|input| !stored.contains(input.name.as_str())) {
        if places.insert(&input.name, all.len()).is_some() {
            return Err(format!("input `{}` is there twice", input.name));
        }
        all.push(add(&input.name, 0, true)?);
    }
    for (i, node) in inferred.nodes.iter().enumerate() {
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            if !inferred.facts.get(output.as_str()).is_some_and(|fact| fact.constant) {
                places.insert(output, all.len());
                all.push(add(output, i as u64, false)?);
            }
        }
    }
    for (i, node) in inferred.nodes.iter().enumerate() {
        for name in order::reads(node) {
            if let Some(&place) = places.get(name) {
                all[place].reads.push(i as u64);
                all[place].end = all[place].end.max(i as u64 + 1);
            }
        }
    }
    for output in &graph.output {
        if let Some(&place) = places.get(output.name.as_str()) {
            all[place].end = all[place].end.max(last);
            all[place].boundary = true;
            all[place].stays = true;
        }
    }
    for (step, (node, &bytes)) in inferred.nodes.iter().zip(&inferred.held).enumerate() {
        if bytes > 0 {
            // Names of nodes need not differ; those of tensors do.
            let named = node.output.iter().find(|name| !name.is_empty());
            let id = named.map_or_else(|| format!("step {step} (body)"), |name| format!("{name} (body)"));
            let start = step as u64;
            all.push(Activation { id, start, end: start + 1, bytes, ..Activation::default() });
        }
    }
    Ok(all)
}

/// Most bytes that the activations hold at one time.
pub(super) fn live_peak(activations: &[Activation]) -> Result<u64, String> {
    let lifetimes = lifetimes(activations, &"body".into(), 1);
    let peak =
        LifetimeAnalyzer::new(&lifetimes, Schedule::Fixed).peak().map_err(|error| error.to_string())?;
    Ok(peak.bytes())
}

/// Activations as lifetimes of a model.
pub(super) fn lifetimes(activations: &[Activation], model: &Arc<str>, alignment: u64) -> Vec<TensorLifetime> {
    let lifetime = |activation: &Activation| TensorLifetime {
        gaps: Vec::new(),
        pools: Vec::new(),
        id: activation.id.as_str().into(),
        model: model.clone(),
        start: Step(activation.start),
        end: Step(activation.end),
        size: ByteSize::new(activation.bytes),
        alignment,
        pinned: None,
        hint: None,
        alias_group: None,
        reads: activation.reads.iter().map(|&read| Step(read)).collect(),
    };
    activations.iter().map(lifetime).collect()
}
