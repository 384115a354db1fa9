//! Another order of a graph's nodes, and doing cheap ones twice, where that lowers what is live at most.
//!
//! The graph becomes a [`Dataflow`] of bytes; the order and the repeated steps that come back become nodes and
//! lifetimes again. A repeated node is named after the first with ` (again)`; what it makes, with a number of its own
//! besides.

use std::collections::{HashMap, HashSet};

use vramkit_plan::{Dataflow, FlowValue, OrderBudget, Recomputed};
use vramkit_units::ByteSize;

use super::in_place;
use super::lifetimes::Activation;
use super::order;
use super::proto::NodeProto;

/// What another order saves, and what repeating steps saves beyond that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrderSaving {
    /// Most bytes live in the file's order.
    pub before: ByteSize,
    /// Most bytes live in the best order found.
    pub reordered: ByteSize,
    /// No order has less than this, as far as was shown.
    pub bound: ByteSize,
    /// Whether no order has less than the best one found.
    pub proven: bool,
    /// Most bytes live in the best order found of the nodes and some repeated ones.
    pub recomputed: ByteSize,
    /// How many steps are repeated.
    pub repeated: usize,
}

/// Reorders nodes; activations follow. `over` are the activations that take another's place, with that one.
pub(super) fn reorder(
    nodes: &mut Vec<NodeProto>,
    activations: &[Activation],
    over: &[(usize, usize)],
    budget: &OrderBudget<'_>,
) -> (OrderSaving, Vec<Activation>) {
    let flow = dataflow(nodes, activations, over);
    let given: Vec<usize> = (0..nodes.len()).collect();
    let before = flow.peak_of(&given);
    let best = flow.best_order(&given, budget);
    let saving = OrderSaving {
        before,
        reordered: best.peak,
        bound: best.bound,
        proven: best.proven,
        recomputed: best.peak,
        repeated: 0,
    };
    let activations = arrange(nodes, activations, &flow, &best.order, &[]);
    (saving, activations)
}

/// Repeats some nodes, and reorders all then, where less is live at most than in the order that there is; activations follow. Given what that
/// order saved, says what both save.
pub(super) fn recompute(
    nodes: &mut Vec<NodeProto>,
    activations: &[Activation],
    over: &[(usize, usize)],
    saved: OrderSaving,
    budget: &OrderBudget<'_>,
) -> (OrderSaving, Vec<Activation>) {
    let given: Vec<usize> = (0..nodes.len()).collect();
    let Recomputed { flow, order, repeats, .. } =
        dataflow(nodes, activations, over).recompute(&given, budget);
    let saving = OrderSaving { recomputed: flow.peak_of(&order), repeated: repeats.len(), ..saved };
    let activations = arrange(nodes, activations, &flow, &order, &repeats);
    (saving, activations)
}

/// Puts nodes into an order of a dataflow of theirs, with some of them repeated in it.
fn arrange(
    nodes: &mut Vec<NodeProto>,
    activations: &[Activation],
    again: &Dataflow,
    order: &[usize],
    repeats: &[usize],
) -> Vec<Activation> {
    // Values after the dataflow's own were added one a repeated step.
    let added = again.values.len() - repeats.len();
    let mut all: Vec<Activation> = activations.to_vec();
    for (i, &of) in repeats.iter().enumerate() {
        let value = &again.values[added + i];
        let mut node = nodes[of].clone();
        let fresh: Vec<(String, String)> =
            node.output.iter().map(|name| (name.clone(), format!("{name} (again{})", nodes.len()))).collect();
        node.output = fresh.iter().map(|(_, new)| new.clone()).collect();
        node.name = if node.name.is_empty() { String::new() } else { format!("{} (again)", node.name) };
        for &reader in &value.readers {
            let inputs = nodes.get_mut(reader).map(|node| node.input.iter_mut());
            for input in inputs.into_iter().flatten() {
                if let Some((_, new)) = fresh.iter().find(|(old, _)| old == input) {
                    *input = new.clone();
                }
            }
        }
        all.push(Activation {
            id: fresh.first().map_or_else(String::new, |(_, new)| new.clone()),
            bytes: value.size.bytes(),
            ..Activation::default()
        });
        nodes.push(node);
    }
    let mut position = vec![0u64; order.len()];
    order.iter().zip(0..).for_each(|(&step, at)| position[step] = at);
    let lives = again.lives(order);
    let own = (0..activations.len()).chain(added..again.values.len());
    for (activation, v) in all.iter_mut().zip(own) {
        (activation.start, activation.end) = (lives[v].0.0, lives[v].1.0);
        activation.reads = again.values[v].readers.iter().map(|&reader| position[reader]).collect();
        activation.reads.sort_unstable();
    }
    *nodes = order.iter().map(|&step| nodes[step].clone()).collect();
    all
}

/// The first values are the activations, in their order; then nothing but dependencies on constants.
fn dataflow(nodes: &[NodeProto], activations: &[Activation], over: &[(usize, usize)]) -> Dataflow {
    let mut values: Vec<FlowValue> = activations
        .iter()
        .map(|activation| FlowValue {
            size: ByteSize::new(activation.bytes),
            maker: (!activation.given).then_some(activation.start as usize),
            readers: activation.reads.iter().map(|&read| read as usize).collect(),
            stays: activation.stays,
            over: None,
        })
        .collect();
    over.iter().for_each(|&(output, input)| values[output].over = Some(input));
    let known: HashSet<&str> = activations.iter().map(|activation| activation.id.as_str()).collect();
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        let constants = node.output.iter().filter(|name| !name.is_empty() && !known.contains(name.as_str()));
        constants.for_each(|name| {
            makers.insert(name, i);
        });
    }
    for (i, node) in nodes.iter().enumerate() {
        for &maker in order::reads(node).iter().filter_map(|name| makers.get(name)) {
            values.push(FlowValue {
                size: ByteSize::ZERO,
                maker: Some(maker),
                readers: vec![i],
                ..FlowValue::default()
            });
        }
    }
    Dataflow { cheap: nodes.iter().map(in_place::can_work_in_place).collect(), values }
}
