//! Operators with graphs inside. Their bodies see the tensors around them; what a body holds while it runs is
//! counted with the node (see [`super::super::lifetimes`]).

use crate::onnx::fact::{DataType, Fact, elements};
use crate::onnx::infer::Scope;
use crate::onnx::node::{Node, Outputs, axis};

/// Which branch runs is not known, so each output is taken to be the larger one's.
pub(super) fn choice(node: &Node<'_>, scope: &Scope<'_>) -> Outputs {
    let branch = |name: &str| {
        let graph = node.graph(name).ok_or_else(|| format!("attribute `{name}` is missing"))?;
        scope.outputs_of(graph, Vec::new())
    };
    let (then, other) = (branch("then_branch")?, branch("else_branch")?);
    // The condition may be known, as it is when an exporter leaves a check of a shape in.
    match node.input(0)?.known_ints() {
        Some(&[0]) => return Ok(other.into_iter().map(Some).collect()),
        Some(&[_]) => return Ok(then.into_iter().map(Some).collect()),
        _ => {}
    }
    if then.len() != other.len() {
        return Err(format!("branches with {} and {} outputs", then.len(), other.len()));
    }
    let larger = |(a, b): (Fact, Fact)| -> Result<Option<Fact>, String> {
        let (mut a, b) = if a.bytes()? >= b.bytes()? { (a, b) } else { (b, a) };
        if a != b {
            a.value = None;
        }
        Ok(Some(a))
    };
    then.into_iter().zip(other).map(larger).collect()
}

/// Carried values keep their shapes; scanned outputs are as long as the trip count, which must be known.
pub(super) fn repeat(node: &Node<'_>, scope: &Scope<'_>) -> Outputs {
    let body = node.graph("body").ok_or("attribute `body` is missing")?;
    let scalar = |dtype| Fact::new(dtype, Vec::new());
    let mut inputs = vec![scalar(DataType::INT64), scalar(DataType::BOOL)];
    let carried = node.inputs.len().saturating_sub(2);
    for i in 0..carried {
        let fact = node.input(i + 2)?;
        inputs.push(Fact::new(fact.dtype, fact.shape.clone()));
    }
    let outputs = scope.outputs_of(body, inputs)?;
    let trips = node.optional(0).and_then(Fact::known_ints).and_then(|trips| trips.first().copied());
    let results = outputs.into_iter().skip(1).enumerate().map(|(i, fact)| {
        if i < carried {
            return Some(Fact::new(fact.dtype, fact.shape));
        }
        let mut shape = vec![trips?.max(0)];
        shape.extend(&fact.shape);
        Some(Fact::new(fact.dtype, shape))
    });
    Ok(results.collect())
}

/// The last inputs are cut into slices, one an iteration; the last outputs are put together of slices.
pub(super) fn scan(node: &Node<'_>, scope: &Scope<'_>) -> Outputs {
    let body = node.graph("body").ok_or("attribute `body` is missing")?;
    let scanned = usize::try_from(node.int_or("num_scan_inputs", 0)).unwrap_or(0);
    let states = node.inputs.len().checked_sub(scanned).ok_or("more scanned inputs than inputs")?;
    let mut inputs = Vec::new();
    let mut length = 0;
    for i in 0..node.inputs.len() {
        let fact = node.input(i)?;
        let mut shape = fact.shape.clone();
        if i >= states {
            let along = node.ints("scan_input_axes").and_then(|axes| axes.get(i - states)).copied().unwrap_or(0);
            length = shape.remove(axis(along, fact.rank())?);
        }
        inputs.push(Fact::new(fact.dtype, shape));
    }
    let outputs = scope.outputs_of(body, inputs)?;
    let result = |(i, fact): (usize, Fact)| -> Result<Option<Fact>, String> {
        let mut shape = fact.shape;
        if i >= states {
            let along = node.ints("scan_output_axes").and_then(|axes| axes.get(i - states)).copied().unwrap_or(0);
            shape.insert(axis(along, shape.len() + 1)?, length);
        }
        elements(&shape)?;
        Ok(Some(Fact::new(fact.dtype, shape)))
    };
    outputs.into_iter().enumerate().map(result).collect()
}
