//! When a size depends on data, the most that it can be is what is planned for. That passes on to what is computed from
//! it where more of it never means less of the result; elsewhere the value counts as not known.

use super::fact::Fact;
use super::node::is;
use super::proto::NodeProto;

/// Whether more of what input `i` holds never makes an output, or a value in it, less.
fn grows_with(node: &NodeProto, i: usize, inputs: &[Option<&Fact>]) -> bool {
    const ALL: &[&str] = &[
        "Add",
        "Cast",
        "Ceil",
        "Concat",
        "ConstantOfShape",
        "Dropout",
        "Expand",
        "Flatten",
        "Floor",
        "Identity",
        "Max",
        "Min",
        "OneHot",
        "Pad",
        "ReduceMax",
        "ReduceMin",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Resize",
        "Round",
        "Shape",
        "Size",
        "Sqrt",
        "Squeeze",
        "Sum",
        "Tile",
        "TopK",
        "Transpose",
        "Unsqueeze",
        "Upsample",
    ];
    let positive = |i: usize, least: f64| {
        let fact = inputs.get(i).copied().flatten();
        let exact = fact.filter(|fact| !fact.bound || least == 0.0);
        exact
            .and_then(|fact| fact.value.as_ref())
            .is_some_and(|value| value.floats().iter().all(|&value| value >= least))
    };
    is(node, ALL)
        || (i == 0 && is(node, &["Gather", "Split", "Sub", "Loop", "Slice"]))
        || (i == 0 && is(node, &["Div"]) && positive(1, f64::MIN_POSITIVE))
        || (i < 2 && is(node, &["Mul"]) && positive(1 - i, 0.0))
        || (i > 0 && is(node, &["Where"]))
        || (i == 1 && is(node, &["Range"]))
        || (i == 2 && is(node, &["Slice"]))
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
