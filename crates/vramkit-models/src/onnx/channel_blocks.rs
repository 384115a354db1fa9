//! How many channels a block holds in ONNX Runtime's layout for convolutions on a CPU: 8 or 16, after the processor
//! for which it optimised the model. The file does not say, but its weights, which are filled up to whole blocks, do.
//!
//! Weights in, an attribute of the nodes where images enter the layout out; the rule for those reads it
//! (`rules/nchwc.rs`).

use std::collections::{HashMap, HashSet};

use super::proto::{AttributeProto, GraphProto, NodeProto};

/// The attribute's name, which no operator has.
pub(super) const BLOCK: &str = "vramkit.block";

/// Tells each node that reorders an image how long a block is, where weights show it.
pub(super) fn tell(graph: &mut GraphProto) {
    let is = |node: &NodeProto, op: &str| node.domain == "com.microsoft.nchwc" && node.op_type == op;
    if !graph.node.iter().any(|node| is(node, "ReorderInput")) {
        return;
    }
    let stored: HashMap<&str, &[i64]> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor.dims.as_slice())).collect();
    let mut convolved: HashSet<String> = HashSet::new();
    let mut block = 16;
    for node in graph.node.iter().filter(|node| is(node, "Conv")) {
        let [image, weights, ..] = node.input.as_slice() else { continue };
        let Some(&&[filters, channels, ..]) = stored.get(weights.as_str()) else { continue };
        convolved.insert(image.clone());
        // Filters are in whole blocks. So are channels, but for images of less than a block of them.
        if filters % 16 == 8 || (channels > 16 && channels % 16 == 8) {
            block = 8;
        }
    }
    // Long blocks are believed of an image only if weights for it are there, which short ones would have shown in.
    for node in graph.node.iter_mut().filter(|node| is(node, "ReorderInput")) {
        if block == 8 || node.output.first().is_some_and(|output| convolved.contains(output)) {
            node.attribute.retain(|attribute| attribute.name != BLOCK);
            node.attribute.push(AttributeProto {
                name: BLOCK.to_owned(),
                i: block,
                ..AttributeProto::default()
            });
        }
    }
}
