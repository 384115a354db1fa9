//! Shapes that a runtime measured, for tensors whose sizes depend on data.
//!
//! In: a JSON object of tensors and their shapes (`{"boxes": [1, 300, 4]}`), or a profile that ONNX Runtime wrote, a list of
//! events of which those of nodes carry the shapes of their outputs. Out: a shape by tensor. Of several runs in one profile
//! the largest counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::proto::{GraphProto, NodeProto};
use crate::error::ReadError;
use crate::file::whole;

/// Shapes by tensor.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    tensors: BTreeMap<String, Vec<i64>>,
    strangers: Vec<String>,
}

/// An event of a profile, as far as it is read.
#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    name: String,
    #[serde(default)]
    args: Arguments,
}

#[derive(Default, Deserialize)]
struct Arguments {
    /// One an output: the element type's name, and the shape.
    #[serde(default)]
    output_type_shape: Vec<BTreeMap<String, Vec<i64>>>,
}

/// What a profile calls the time that a node took.
const NODE: &str = "_kernel_time";

impl Measured {
    pub(super) fn get(&self, tensor: &str) -> Option<&[i64]> {
        self.tensors.get(tensor).map(Vec::as_slice)
    }

    /// Reads shapes of the tensors of `graph`.
    ///
    /// # Errors
    /// A file that is neither of both kinds, or names no tensor of the graph.
    pub(super) fn read(path: &Path, graph: &GraphProto) -> Result<Self, ReadError> {
        let file = path.display().to_string();
        let within = |reason: String| ReadError::within(&file, reason);
        let expected = "a JSON object of tensors and their shapes, or a profile of ONNX Runtime";
        let content: Value = serde_json::from_slice(&whole(path)?)
            .map_err(|error| within(format!("expected {expected}: {error}")))?;
        let is_profile = content.is_array();
        let measured = match content {
            Value::Object(tensors) => Self::listed(tensors).map_err(within)?,
            Value::Array(events) => Self::profiled(events, graph),
            _ => return Err(within(format!("expected {expected}"))),
        };
        let mut strangers: BTreeSet<&str> = measured.tensors.keys().map(String::as_str).collect();
        tensors(graph, &mut |name| {
            strangers.remove(name);
        });
        if strangers.len() == measured.tensors.len() {
            let why = if is_profile {
                "; a profile goes by the names of nodes, which the graph's have to be"
            } else {
                ""
            };
            return Err(within(format!("it has a shape of no tensor of the graph{why}")));
        }
        let strangers = strangers.into_iter().map(str::to_owned).collect();
        Ok(Self { strangers, ..measured })
    }

    /// Names that are no tensors of the graph.
    pub(super) fn strangers(&self) -> &[String] {
        &self.strangers
    }

    fn listed(list: serde_json::Map<String, Value>) -> Result<Self, String> {
        let mut tensors = BTreeMap::new();
        for (name, shape) in list {
            let shape: Option<Vec<i64>> = serde_json::from_value(shape).ok();
            let shape = shape.filter(|shape| shape.iter().all(|&dim| dim >= 0));
            let shape = shape.ok_or_else(|| format!("`{name}`: a shape is a list of numbers from 0 on"))?;
            tensors.insert(name, shape);
        }
        Ok(Self { tensors, strangers: Vec::new() })
    }

    fn profiled(events: Vec<Value>, graph: &GraphProto) -> Self {
        let mut all = Vec::new();
        named(graph, &mut all);
        let mut nodes: BTreeMap<&str, Option<&NodeProto>> = BTreeMap::new();
        for node in all {
            // Of two nodes of one name, in different bodies, the profile does not say which it means.
            nodes.entry(&node.name).and_modify(|known| *known = None).or_insert(Some(node));
        }
        let mut measured = Self::default();
        // Events of other kinds have other fields.
        for event in events.into_iter().filter_map(|event| serde_json::from_value::<Event>(event).ok()) {
            let node = event.name.strip_suffix(NODE).and_then(|name| *nodes.get(name)?);
            let Some(node) = node else { continue };
            for (name, output) in node.output.iter().zip(&event.args.output_type_shape) {
                let Some(shape) = output.values().next().filter(|_| !name.is_empty()) else { continue };
                let size =
                    |shape: &[i64]| shape.iter().fold(1u64, |n, &dim| n.saturating_mul(dim.max(0) as u64));
                let known = measured.tensors.entry(name.clone()).or_insert_with(|| shape.clone());
                if size(shape) > size(known) {
                    known.clone_from(shape);
                }
            }
        }
        measured
    }
}

fn named<'g>(graph: &'g GraphProto, nodes: &mut Vec<&'g NodeProto>) {
    for node in &graph.node {
        if !node.name.is_empty() {
            nodes.push(node);
        }
        super::node::bodies(node).for_each(|body| named(body, nodes));
    }
}

fn tensors(graph: &GraphProto, each: &mut impl FnMut(&str)) {
    graph.input.iter().for_each(|input| each(&input.name));
    for node in &graph.node {
        node.output.iter().for_each(|name| each(name));
        super::node::bodies(node).for_each(|body| tensors(body, each));
    }
}
