//! What is computed from weights alone: it is there before the graph runs and stays, so it shares no memory with
//! anything, and is counted apart from what is stored.
//!
//! A result counts where something that is not computed from weights reads it, or it leaves the graph; what is only on
//! the way to such a result is gone once that is there. An operator that leaves the bytes as they are gives another
//! view of the same memory, which counts once.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use prost::Message as _;

use vramkit_units::ByteSize;

use super::inferred::Inferred;
use super::node::{is, makes_weights};
use super::order;
use super::proto::{GraphProto, NodeProto};

/// A tensor that is computed from weights.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Derived {
    /// Its name in the graph.
    pub tensor: String,
    /// The operator that makes it.
    pub operator: String,
    /// Its size.
    pub size: ByteSize,
    /// How a runtime can do without it, where it can.
    pub avoidable: Option<&'static str>,
}

/// Operators whose output has its input's bytes, in their order.
const VIEWS: [&str; 6] = ["Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"];
const PRODUCTS: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// Adds what a graph's weights become, by the address of the node that makes it and the output's number.
pub(super) fn note(
    graph: &GraphProto,
    inferred: &Inferred<'_>,
    derived: &mut BTreeMap<(usize, usize), Derived>,
) -> Result<(), String> {
    let constant = |name: &str| inferred.facts.get(name).is_some_and(|fact| fact.constant);
    // A constant's node, and the tensor whose memory it shows. What is stored is in neither.
    let mut makers: HashMap<&str, (&NodeProto, usize)> = HashMap::new();
    // Two nodes that do the same to the same make the same, which a runtime holds once.
    let mut alike: HashMap<(Rc<Vec<u8>>, usize), &str> = HashMap::new();
    let mut shows: HashMap<&str, &str> = HashMap::new();
    for &node in &inferred.nodes {
        let what = Rc::new(if node.output.iter().any(|name| constant(name)) {
            what(node, &shows)
        } else {
            Vec::new()
        });
        for (i, output) in node.output.iter().enumerate().filter(|(_, name)| constant(name)) {
            let source = node.input.first().filter(|_| i == 0 && is_view(node, inferred));
            match source.map(String::as_str) {
                Some(source) => {
                    let root = shows.get(source).copied().unwrap_or(source);
                    shows.insert(output, root);
                }
                None if makes_weights(node) => {}
                None => match alike.entry((what.clone(), i)) {
                    Entry::Occupied(first) => {
                        shows.insert(output, first.get());
                    }
                    Entry::Vacant(first) => {
                        first.insert(output);
                        makers.insert(output, (node, i));
                    }
                },
            }
        }
    }
    // Who reads each from outside the weights; nobody, where it only leaves the graph.
    let mut readers: HashMap<&str, Vec<&NodeProto>> = HashMap::new();
    let root = |name| shows.get(name).copied().unwrap_or(name);
    for &node in &inferred.nodes {
        if node.output.iter().any(|name| constant(name)) {
            continue;
        }
        for name in order::reads(node).into_iter().map(root) {
            readers.entry(name).or_default().push(node);
        }
    }
    for output in &graph.output {
        readers.entry(root(output.name.as_str())).or_default();
    }
    for (tensor, readers) in readers {
        let Some(&(maker, output)) = makers.get(tensor) else { continue };
        let bytes = inferred.facts.get(tensor).map_or(Ok(0), |fact| fact.bytes())?;
        if bytes == 0 {
            continue;
        }
        let place = (std::ptr::from_ref(maker).addr(), output);
        let size = ByteSize::new(bytes);
        let avoidable = avoidable(maker, &readers);
        let (tensor, operator) = (tensor.to_owned(), maker.op_type.clone());
        derived.insert(place, Derived { tensor, operator, size, avoidable });
    }
    Ok(())
}

/// What a node does to what, whatever its name and its outputs are called.
fn what(node: &NodeProto, shows: &HashMap<&str, &str>) -> Vec<u8> {
    let input =
        node.input.iter().map(|name| shows.get(name.as_str()).map_or(name.clone(), |&root| root.to_owned()));
    let bare = NodeProto { name: String::new(), output: Vec::new(), input: input.collect(), ..node.clone() };
    bare.encode_to_vec()
}

fn is_view(node: &NodeProto, inferred: &Inferred<'_>) -> bool {
    let dtype = |name: Option<&String>| Some(inferred.facts.get(name?.as_str())?.dtype);
    is(node, &VIEWS) || is(node, &["Cast"]) && dtype(node.input.first()) == dtype(node.output.first())
}

/// How a runtime can do without what a node makes of weights.
fn avoidable(maker: &NodeProto, readers: &[&NodeProto]) -> Option<&'static str> {
    let only = |names: &[&str]| !readers.is_empty() && readers.iter().all(|reader| is(reader, names));
    match maker.op_type.as_str() {
        "Transpose" if only(&["Gemm", "MatMul"]) => {
            Some("a product can read a transposed factor as it is stored")
        }
        "DequantizeLinear" if only(&PRODUCTS) => {
            Some("a product can read quantised weights as they are stored")
        }
        "Expand" | "Tile" => Some("an operator can repeat elements as it reads them"),
        _ => None,
    }
}
