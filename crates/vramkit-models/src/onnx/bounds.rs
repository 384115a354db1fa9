//! When a size depends on data, the most that it can be is what is planned for. That passes on to what is computed from
//! it where more of it never means less of the result; elsewhere the value counts as not known.

use super::fact::Fact;
use super::node::is;
use super::proto::NodeProto;

/// Operators whose result, or the values in it, never becomes less where any of these inputs holds more.
const ALL: &[&str] = &[
    "Add",
    "Ceil",
    "Concat",
    "Dropout",
    "Flatten",
    "Floor",
    "Identity",
    "Max",
    "Min",
    "ReduceMax",
    "ReduceMin",
    "ReduceSum",
    "Relu",
    "Round",
    "Shape",
    "Size",
    "Sqrt",
    "Squeeze",
    "Sum",
    "Transpose",
    "Unsqueeze",
];

/// Whether a rule may see what input `i` holds at most.
fn grows_with(node: &NodeProto, i: usize, inputs: &[Option<&Fact>]) -> bool {
    let exact = |i: usize, holds: fn(f64) -> bool| {
        let fact = inputs.get(i).copied().flatten().filter(|fact| !fact.bound);
        let value = fact.and_then(|fact| fact.value.as_ref());
        value.is_some_and(|value| value.floats().into_iter().all(holds))
    };
    // A type without a sign, or a short one, wraps what it cannot hold.
    let to = node.attribute.iter().find(|attribute| attribute.name == "to").map(|attribute| attribute.i);
    is(node, ALL)
        || (is(node, &["Cast"]) && matches!(to, Some(1 | 6 | 7 | 11)))
        || (i == 0 && is(node, &["Gather", "Loop", "Reshape", "Split", "Sub"]))
        || (i == 0 && is(node, &["Div"]) && exact(1, |by| by > 0.0))
        || (i < 2 && is(node, &["Mul"]) && exact(1 - i, |by| by >= 0.0))
        || (i > 0 && is(node, &["Where"]))
        || is_length(node, i, inputs)
}

/// Whether input `i` says how long an output is, which is the longer the more it says.
fn is_length(node: &NodeProto, i: usize, inputs: &[Option<&Fact>]) -> bool {
    let forward = |i: usize| {
        let value = inputs.get(i).copied().flatten().and_then(|fact| fact.value.as_ref());
        value.is_some_and(|value| value.floats().into_iter().all(|step| step > 0.0))
    };
    (i == 0 && is(node, &["ConstantOfShape"]))
        || (i == 1 && is(node, &["Expand", "OneHot", "Pad", "Tile", "TopK"]))
        || (i == 1 && is(node, &["Range"]) && forward(2))
}

/// Whether an output's length comes from a bound: then it is not known which elements there are, and no value is.
pub(super) fn hides_values(node: &NodeProto, inputs: &[Option<&Fact>]) -> bool {
    let bound = |(i, input): (usize, &Option<&Fact>)| {
        input.is_some_and(|fact| fact.bound) && is_length(node, i, inputs)
    };
    inputs.iter().enumerate().any(bound)
}

/// The inputs as a rule may see them: values that are no more than bounds only where the result grows with them. One entry
/// an input; `None` where it is seen as it is.
pub(super) fn veiled(node: &NodeProto, inputs: &[Option<&Fact>]) -> Vec<Option<Fact>> {
    let veil = |(i, input): (usize, &Option<&Fact>)| {
        let fact = input.filter(|fact| fact.bound && fact.value.is_some())?;
        (!grows_with(node, i, inputs)).then(|| Fact { value: None, ..fact.clone() })
    };
    inputs.iter().enumerate().map(veil).collect()
}
