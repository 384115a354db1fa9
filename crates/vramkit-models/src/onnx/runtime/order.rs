//! The order in which the runtime runs a graph's nodes: back from those that nobody reads, the last in the
//! file first, each node after what it reads, of which again the last in the file comes first. The file's own
//! order counts for nothing else. In: nodes with their ranks, ascending.

use std::collections::HashMap;

use crate::onnx::order::reads;
use crate::onnx::proto::NodeProto;

/// Places of the nodes in the order in which they run.
pub(super) fn execution<'n>(nodes: impl Iterator<Item = (usize, &'n NodeProto)> + Clone) -> Vec<usize> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    let count = nodes.clone().last().map_or(0, |(i, _)| i + 1);
    for (i, node) in nodes.clone() {
        makers.extend(node.output.iter().filter(|name| !name.is_empty()).map(|name| (name.as_str(), i)));
    }
    let mut sources: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut read = vec![false; count];
    for (i, node) in nodes.clone() {
        sources[i] = reads(node).into_iter().filter_map(|name| makers.get(name).copied()).collect();
        sources[i].sort_unstable();
        sources[i].dedup();
        sources[i].iter().for_each(|&source| read[source] = true);
    }
    // A node is on the stack to be entered, and below what it waits for to be left.
    let mut stack: Vec<(usize, bool)> = nodes.map(|(i, _)| (i, false)).filter(|&(i, _)| !read[i]).collect();
    let mut seen = vec![false; count];
    let mut order = Vec::with_capacity(count);
    while let Some((i, leave)) = stack.pop() {
        if leave {
            order.push(i);
        } else if !std::mem::replace(&mut seen[i], true) {
            stack.push((i, true));
            stack.extend(sources[i].iter().filter(|&&source| !seen[source]).map(|&source| (source, false)));
        }
    }
    order
}
