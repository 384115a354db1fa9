//! What ONNX Runtime (CPU provider, sequential execution) plans for a graph that it runs: its memory pattern,
//! one block that it takes at the start of every run after the first of its kind.
//!
//! ```text
//! nodes, activations, facts ──► loaded ──► order ──► buffers (in_place) ──► placement ──► Pattern
//! ```
//!
//! In: a graph, its nodes in the order of the file. Out: the block's size, and where in it each activation of
//! the graph that runs is. Inputs, outputs and weights are not in it, nor what shares their buffers, nor what
//! kernels take for themselves while they run. The rules are those of ONNX Runtime 1.32; figures in the tests
//! were measured with it. What runs inside of bodies has a pattern of its own, which is not counted here.

mod buffers;
mod in_place;
mod loaded;
mod order;
mod placement;

pub use loaded::RuntimeLevel;
pub(super) use loaded::{doubts, load};

use std::collections::HashMap;

use vramkit_units::ByteSize;

use buffers::Facts;

use super::lifetimes::Activation;
use super::order::reads;
use super::proto::NodeProto;

/// What ONNX Runtime plans for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimePattern {
    /// Of the block that it takes at the start.
    pub size: ByteSize,
    /// Operators of the graph for which the figure may be off.
    pub doubts: Vec<&'static str>,
}

/// The block that a run takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pattern {
    /// Its size in bytes.
    pub(super) peak: u64,
    /// Where each activation begins in it; `None` for one that is not in it.
    pub(super) offsets: Vec<Option<u64>>,
    /// Places of the nodes in the order in which they run.
    pub(super) order: Vec<usize>,
}

/// The pattern of a graph. What is no activation is a weight.
///
/// # Errors
/// Sizes that do not go into 64 bits.
pub(super) fn pattern<'a>(
    nodes: &'a [NodeProto],
    activations: &'a [Activation],
    facts: &'a Facts<'a>,
) -> Result<Pattern, String> {
    let order = order::execution(nodes.iter().enumerate());
    let buffers = buffers::assign(nodes, &order, activations, facts);
    let block = placement::place(&buffers.events, activations)?;
    let offsets = buffers.holders.iter().map(|&holder| block.offsets[holder]).collect();
    Ok(Pattern { peak: block.size, offsets, order })
}

/// Says when activations live where nodes run in this order.
pub(super) fn set_lives(nodes: &[&NodeProto], activations: &mut [Activation]) {
    let ids: Vec<String> = activations.iter().map(|activation| activation.id.clone()).collect();
    let places: HashMap<&str, usize> = ids.iter().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
    let last = nodes.len() as u64;
    for activation in activations.iter_mut() {
        (activation.start, activation.end) = (0, if activation.stays { last } else { 1 });
        activation.boundary = activation.given || activation.stays;
        activation.reads.clear();
    }
    for (node, step) in nodes.iter().zip(0..) {
        for &i in node.output.iter().filter_map(|name| places.get(name.as_str())) {
            activations[i].start = step;
            activations[i].end = activations[i].end.max(step + 1);
        }
        for &i in reads(node).iter().filter_map(|name| places.get(name)) {
            activations[i].reads.push(step);
            activations[i].end = activations[i].end.max(step + 1);
        }
    }
}

#[cfg(test)]
mod tests;
