//! The order in which a graph's nodes run: the file's own, where every node comes after what it reads, as the
//! standard demands; sorted, where a careless exporter left it otherwise. A cycle is an error that names it.

use std::collections::{HashMap, HashSet};

use super::node::{bodies, title};
use super::proto::{GraphProto, NodeProto};

/// The nodes in an order in which each comes after those it reads from. `known` says which tensors are there
/// from the start.
pub(super) fn topological(
    nodes: &[NodeProto],
    known: impl Fn(&str) -> bool,
) -> Result<Vec<&NodeProto>, String> {
    let mut maker: HashMap<&str, usize> = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            if maker.insert(output, i).is_some() || known(output) {
                return Err(format!("{}: `{output}` is made twice", title(node)));
            }
        }
    }
    let reads: Vec<Vec<usize>> = nodes
        .iter()
        .map(|node| {
            reads(node)
                .into_iter()
                .filter(|name| !known(name))
                .filter_map(|name| maker.get(name).copied())
                .collect()
        })
        .collect();
    if reads.iter().enumerate().all(|(i, reads)| reads.iter().all(|&made_by| made_by < i)) {
        return Ok(nodes.iter().collect());
    }
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut waits: Vec<usize> = vec![0; nodes.len()];
    for (i, reads) in reads.iter().enumerate() {
        for &made_by in reads {
            readers[made_by].push(i);
            waits[i] += 1;
        }
    }
    // The earliest in the file first, so that what is in order stays so.
    let ready = (0..nodes.len()).filter(|&i| waits[i] == 0).map(std::cmp::Reverse);
    let mut ready: std::collections::BinaryHeap<_> = ready.collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(std::cmp::Reverse(i)) = ready.pop() {
        order.push(&nodes[i]);
        for &reader in &readers[i] {
            waits[reader] -= 1;
            if waits[reader] == 0 {
                ready.push(std::cmp::Reverse(reader));
            }
        }
    }
    if order.len() == nodes.len() {
        return Ok(order);
    }
    // Some node waits for ever. Walking back along what it waits for must come round.
    let mut at = (0..nodes.len()).find(|&i| waits[i] > 0).unwrap_or(0);
    let mut seen = HashSet::new();
    while seen.insert(at) {
        at = reads[at].iter().copied().find(|&made_by| waits[made_by] > 0).unwrap_or(at);
    }
    Err(format!("{} reads what depends on its own output: the graph has a cycle", title(&nodes[at])))
}

/// Every tensor that a node reads, the ones that its bodies take from around them included; each once.
pub(super) fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> =
        node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    bodies(node).for_each(|graph| captured(graph, &mut names));
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(*name));
    names
}

/// The tensors that a body reads and does not make. The depth of bodies is bounded by the decoder's.
fn captured<'g>(graph: &'g GraphProto, names: &mut Vec<&'g str>) {
    let mut own: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    own.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    own.extend(graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str)));
    let outputs = graph.output.iter().map(|output| output.name.as_str());
    names.extend(graph.node.iter().flat_map(reads).chain(outputs).filter(|name| !own.contains(name)));
}
