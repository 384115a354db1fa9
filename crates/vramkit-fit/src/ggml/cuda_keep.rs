//! What the CUDA back end keeps longer than it is read, because it computes several nodes in one kernel
//! (`ggml_backend_cuda_graph_optimize`).

use std::collections::HashMap;

use vramkit_models::gguf::TensorType;

use crate::ggml::graph::Graph;
use crate::ggml::tensor::{Op, TensorId, Unary};

/// Most experts whose weighted sum is one kernel.
const SUMMED: u64 = 15;

/// Until which node which tensors are kept.
pub(crate) fn keep(graph: &Graph, nodes: &[TensorId]) -> HashMap<TensorId, Vec<TensorId>> {
    let mut kept: HashMap<TensorId, Vec<TensorId>> = HashMap::new();
    let mut add = |tensor: TensorId, until: TensorId| {
        let list = kept.entry(until).or_default();
        if !list.contains(&tensor) {
            list.push(tensor);
        }
    };
    let mut at = 0;
    while at < nodes.len() {
        if let Some((experts, weights, length)) = weighted_sum(graph, &nodes[at..]) {
            let result = nodes[at + length - 1];
            add(experts, result);
            add(weights, result);
            at += length - 1;
        }
        if let Some(length) = choice(graph, &nodes[at..]) {
            if let Some(&until) = nodes.get(at + length) {
                for &node in &nodes[at..at + length] {
                    add(node, until);
                    graph.get(node).sources().iter().for_each(|&source| add(source, until));
                }
            }
            at += length - 1;
        }
        at += 1;
    }
    kept
}

/// Results of experts times their weights, then views of each, added up: what goes in, and how many nodes these are.
fn weighted_sum(graph: &Graph, nodes: &[TensorId]) -> Option<(TensorId, TensorId, usize)> {
    let product = graph.get(*nodes.first()?);
    let [experts, weights] = *product.sources() else { return None };
    let (full, factor) = (graph.get(experts), graph.get(weights));
    let used = product.ne[1];
    let fits = product.op == Op::Mul
        && product.kind == TensorType::F32
        && product.contiguous()
        && full.contiguous()
        && factor.contiguous()
        && full.ne == product.ne
        && factor.ne == [1, product.ne[1], product.ne[2], product.ne[3]]
        && (2..=SUMMED).contains(&used);
    if !fits {
        return None;
    }
    let length = 2 * used as usize;
    let views = nodes.get(1..=used as usize)?;
    let sums = nodes.get(used as usize + 1..length)?;
    let looks =
        views.iter().all(|&view| graph.get(view).op == Op::View && graph.get(view).sources() == [nodes[0]]);
    let adds = sums.iter().enumerate().all(|(at, &sum)| {
        let before = if at == 0 { views[0] } else { sums[at - 1] };
        graph.get(sum).op == Op::Add && graph.get(sum).sources() == [before, views[at + 1]]
    });
    (looks && adds).then_some((experts, weights, length))
}

/// A choice of experts by their scores: how many nodes it is.
fn choice(graph: &Graph, nodes: &[TensorId]) -> Option<usize> {
    let op = |at: usize| nodes.get(at).map(|&node| graph.get(node).op);
    let scores = graph.get(*nodes.first()?);
    if !matches!(scores.op, Op::SoftMax | Op::Unary(Unary::Sigmoid)) || scores.sources().len() > 1 {
        return None;
    }
    let mut at = 1;
    let mut take = |wanted: &[Op]| {
        let matches = wanted.iter().enumerate().all(|(i, &wanted)| op(at + i) == Some(wanted));
        if matches {
            at += wanted.len();
        }
        matches
    };
    if !take(&[Op::Reshape]) {
        return None;
    }
    take(&[Op::Add]);
    if !take(&[Op::ArgSort, Op::View, Op::GetRows]) {
        return None;
    }
    take(&[Op::Reshape, Op::SumRows, Op::Clamp, Op::Div, Op::Reshape]);
    take(&[Op::Scale]);
    let experts = scores.ne[0];
    let has_kernel = (experts.is_power_of_two() && experts <= 512) || [288, 576].contains(&experts);
    has_kernel.then_some(at)
}
