//! Which operators may write their output over their input, when the user asks for it.
//!
//! An output joins its input's alias group when the operator works element by element (or only renames a shape),
//! both have the same number of bytes, nobody else reads the input, and the input neither comes from outside the
//! graph nor goes there. Chains join one group.

use std::collections::HashMap;
use std::sync::Arc;

use vramkit_plan::TensorLifetime;

use super::lifetimes::Activation;
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
pub(super) fn alias(nodes: &[&NodeProto], activations: &[Activation], tensors: &mut [TensorLifetime]) {
    let places: HashMap<&str, usize> =
        activations.iter().enumerate().map(|(i, a)| (a.id.as_str(), i)).collect();
    for (step, node) in nodes.iter().enumerate() {
        let Some(&output) = node.output.first().and_then(|name| places.get(name.as_str())) else {
            continue;
        };
        if !can_work_in_place(node) {
            continue;
        }
        let candidate =
            node.input.iter().filter_map(|name| places.get(name.as_str()).copied()).find(|&input| {
                let source = &activations[input];
                !source.boundary && source.reads == [step as u64] && source.bytes == activations[output].bytes
            });
        let Some(input) = candidate else { continue };
        let group = match &tensors[input].alias_group {
            Some(group) => group.clone(),
            None => Arc::clone(&tensors[input].id),
        };
        tensors[input].alias_group = Some(group.clone());
        tensors[output].alias_group = Some(group);
    }
}
