//! Operators that make one number of many along some axes.

use crate::data_type::DataType;
use crate::onnx::fact::Fact;
use crate::onnx::node::{Node, Outputs, axis};
use crate::onnx::value::{Value, each, stretched};

/// A shape without (or with one element along) these axes.
fn without(shape: &[i64], axes: &[usize], keep: bool) -> Vec<i64> {
    let kept = shape.iter().enumerate().filter_map(|(i, &dim)| match (axes.contains(&i), keep) {
        (true, true) => Some(1),
        (true, false) => None,
        (false, _) => Some(dim),
    });
    kept.collect()
}

pub(super) fn reduce(node: &Node<'_>, op: &str) -> Outputs {
    let input = node.input(0)?;
    let axes = node.ints_or_input("axes", 1)?.unwrap_or_default();
    if axes.is_empty() && node.int_or("noop_with_empty_axes", 0) != 0 {
        // Nothing is added up, but absolute values and squares are taken all the same.
        let same = matches!(op, "ReduceMax" | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum");
        let value = input.value.clone().filter(|_| same);
        return Ok(vec![Some(Fact::with(input.dtype, input.shape.clone(), value))]);
    }
    let axes: Vec<usize> = match axes.as_slice() {
        [] => (0..input.rank()).collect(),
        axes => axes.iter().map(|&a| axis(a, input.rank())).collect::<Result<_, _>>()?,
    };
    let keep = node.int_or("keepdims", 1) != 0;
    let shape = without(&input.shape, &axes, keep);
    let value = input.known_ints().and_then(|ints| {
        let kept = without(&input.shape, &axes, true);
        let mut results: Vec<Option<i64>> = vec![None; each(&kept, |_| ())?.len()];
        let places = each(&input.shape, |index| stretched(&kept, index))?;
        for (place, &i) in places.into_iter().zip(ints) {
            let result = results.get_mut(place)?;
            *result = Some(match (*result, op) {
                (None, _) => i,
                (Some(so_far), "ReduceProd") => so_far.checked_mul(i)?,
                (Some(so_far), "ReduceSum") => so_far.checked_add(i)?,
                (Some(so_far), "ReduceMax") => so_far.max(i),
                (Some(so_far), "ReduceMin") => so_far.min(i),
                _ => return None,
            });
        }
        let known = matches!(op, "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin");
        Some(Value::Ints(results.into_iter().collect::<Option<_>>().filter(|_| known)?))
    });
    Ok(vec![Some(Fact::with(input.dtype, shape, value))])
}

pub(super) fn arg(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let along = axis(node.int_or("axis", 0), input.rank())?;
    let shape = without(&input.shape, &[along], node.int_or("keepdims", 1) != 0);
    Ok(vec![Some(Fact::new(DataType::INT64, shape))])
}

pub(super) fn loss(node: &Node<'_>, op: &str) -> Outputs {
    let (input, target) = (node.input(0)?, node.input(1)?);
    let reduced = node.text("reduction").is_none_or(|reduction| reduction != "none");
    let shape = if reduced { Vec::new() } else { target.shape.clone() };
    let mut outputs = vec![Some(Fact::new(input.dtype, shape))];
    if op == "SoftmaxCrossEntropyLoss" {
        outputs.push(Some(Fact::new(input.dtype, input.shape.clone())));
    }
    Ok(outputs)
}

/// Counts of n-grams along the last axis, each at the place that `ngram_indexes` gives it.
pub(super) fn n_grams(node: &Node<'_>) -> Outputs {
    let places = node.ints("ngram_indexes").ok_or("attribute `ngram_indexes` is missing")?;
    if let Some(place) = places.iter().find(|&&place| place < 0) {
        return Err(format!("attribute `ngram_indexes` has {place}, which is negative"));
    }
    let last = places.iter().max().ok_or("attribute `ngram_indexes` is empty")?;
    let counts = last.checked_add(1).ok_or("too many elements")?;
    let shape = match *node.input(0)?.shape {
        [_] => vec![counts],
        [batch, _] => vec![batch, counts],
        ref shape => return Err(format!("a list or a batch of lists is needed, not {shape:?}")),
    };
    Ok(vec![Some(Fact::new(DataType::FLOAT, shape))])
}
