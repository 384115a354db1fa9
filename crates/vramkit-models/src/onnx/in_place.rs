//! Which operators may write their output over their input, when the user asks for it.
//!
//! An output joins its input's alias group when the operator works element by element and both have the same shape and
//! elements of the same size, or when it only renames the shape of its first input; nobody else reads the input, and the
//! input neither comes from outside the graph nor goes there. An input that may be stretched, as it has at most so many
//! elements, is read more than once. Chains join one group.

use std::collections::HashMap;
use std::sync::Arc;

use vramkit_plan::TensorLifetime;

use super::fact::Fact;
use super::lifetimes::Activation;
use super::node::is;
use super::proto::NodeProto;

pub(super) fn can_work_in_place(node: &NodeProto) -> bool {
    let standard = matches!(node.domain.as_str(), "" | "ai.onnx");
    standard
        && matches!(
            node.op_type.as_str(),
            "Abs"
                | "Add"
                | "BatchNormalization"
                | "Ceil"
                | "Celu"
                | "Clip"
                | "Cos"
                | "Div"
                | "Dropout"
                | "Elu"
                | "Erf"
                | "Exp"
                | "Flatten"
                | "Floor"
                | "Gelu"
                | "HardSigmoid"
                | "HardSwish"
                | "Identity"
                | "LeakyRelu"
                | "Log"
                | "Max"
                | "Min"
                | "Mish"
                | "Mul"
                | "Neg"
                | "Not"
                | "PRelu"
                | "Pow"
                | "Reciprocal"
                | "Relu"
                | "Reshape"
                | "Round"
                | "Selu"
                | "Sigmoid"
                | "Sign"
                | "Sin"
                | "Softplus"
                | "Softsign"
                | "Sqrt"
                | "Squeeze"
                | "Sub"
                | "Sum"
                | "Tan"
                | "Tanh"
                | "ThresholdedRelu"
                | "Unsqueeze"
        )
}

/// Puts outputs that can take their input's place into its alias group. `tensors` stand for `activations`, one
/// each.
pub(super) fn alias(
    nodes: &[&NodeProto],
    activations: &[Activation],
    facts: &HashMap<String, Fact>,
    tensors: &mut [TensorLifetime],
) {
    for (output, input) in taken(nodes, activations, facts) {
        let group = match &tensors[input].alias_group {
            Some(group) => group.clone(),
            None => Arc::clone(&tensors[input].id),
        };
        tensors[input].alias_group = Some(group.clone());
        tensors[output].alias_group = Some(group);
    }
}

/// The activations that can take another's place, each with that one, in the order of the nodes that make them.
pub(super) fn taken(
    nodes: &[&NodeProto],
    activations: &[Activation],
    facts: &HashMap<String, Fact>,
) -> Vec<(usize, usize)> {
    let places: HashMap<&str, usize> =
        activations.iter().enumerate().map(|(i, a)| (a.id.as_str(), i)).collect();
    let place = |(step, node): (usize, &&NodeProto)| {
        let output = node.output.first().and_then(|name| places.get(name.as_str())).copied()?;
        if !can_work_in_place(node) {
            return None;
        }
        let renames = is(node, &["Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"]);
        let alike = |input: usize| {
            let (from, to) = (facts.get(&activations[input].id)?, facts.get(&activations[output].id)?);
            Some(from.shape == to.shape && from.dtype.bits() == to.dtype.bits() && !from.bound)
        };
        let inputs = node.input.iter().take(if renames { 1 } else { usize::MAX });
        let candidate = inputs.filter_map(|name| places.get(name.as_str()).copied()).find(|&input| {
            let source = &activations[input];
            !source.boundary
                && source.reads == [step as u64]
                && source.bytes == activations[output].bytes
                && (renames || alike(input).unwrap_or(false))
        });
        Some((output, candidate?))
    };
    nodes.iter().enumerate().filter_map(place).collect()
}
