//! Operators with graphs inside. Their bodies see the tensors around them; what a body holds while it runs is
//! counted with the node (see `onnx/body_peak.rs`).

use crate::data_type::DataType;
use crate::onnx::bodies::Bodies;
use crate::onnx::fact::{Fact, elements};
use crate::onnx::node::{Node, Outputs, axis};
use crate::onnx::proto::GraphProto;

/// The bodies of a node that may run, each with the facts of its inputs. A branch that a known condition rules out
/// is not among them: exporters leave checks of shapes in whose other branch fits no shape.
pub(in crate::onnx) fn bodies<'a>(node: &Node<'a>) -> Result<Vec<(&'a GraphProto, Vec<Fact>)>, String> {
    let graph = |name: &str| node.graph(name).ok_or_else(|| format!("attribute `{name}` is missing"));
    Ok(match node.proto.op_type.as_str() {
        "If" => match node.input(0)?.known_ints() {
            Some(&[0]) => vec![(graph("else_branch")?, Vec::new())],
            Some(&[_]) => vec![(graph("then_branch")?, Vec::new())],
            _ => vec![(graph("then_branch")?, Vec::new()), (graph("else_branch")?, Vec::new())],
        },
        "Loop" => {
            let scalar = |dtype| Fact::new(dtype, Vec::new());
            let mut inputs = vec![scalar(DataType::INT64), scalar(DataType::BOOL)];
            for i in 2..node.inputs.len() {
                let fact = node.input(i)?;
                inputs.push(Fact::new(fact.dtype, fact.shape.clone()));
            }
            vec![(graph("body")?, inputs)]
        }
        "Scan" => vec![(graph("body")?, scanned(node)?.0)],
        _ => Vec::new(),
    })
}

/// Which branch runs may not be known, so each output is taken to be the larger one's.
pub(super) fn choice(node: &Node<'_>, inference: &dyn Bodies) -> Outputs {
    let outputs: Result<Vec<_>, String> =
        bodies(node)?.into_iter().map(|(body, inputs)| inference.outputs(body, inputs)).collect();
    let mut outputs = outputs?.into_iter();
    let first = outputs.next().unwrap_or_default();
    let Some(second) = outputs.next() else {
        return Ok(first.into_iter().map(Some).collect());
    };
    if first.len() != second.len() {
        return Err(format!("branches with {} and {} outputs", first.len(), second.len()));
    }
    let larger = |(a, b): (Fact, Fact)| -> Result<Option<Fact>, String> {
        let (mut a, b) = if a.bytes()? >= b.bytes()? { (a, b) } else { (b, a) };
        if a != b {
            a.value = None;
        }
        Ok(Some(a))
    };
    first.into_iter().zip(second).map(larger).collect()
}

/// Carried values keep their shapes; scanned outputs are as long as the trip count, which must be known.
pub(super) fn repeat(node: &Node<'_>, inference: &dyn Bodies) -> Outputs {
    let carried = node.inputs.len().saturating_sub(2);
    let mut outputs = Vec::new();
    for (body, inputs) in bodies(node)? {
        outputs = inference.outputs(body, inputs)?;
    }
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
pub(super) fn scan(node: &Node<'_>, inference: &dyn Bodies) -> Outputs {
    let body = node.graph("body").ok_or("attribute `body` is missing")?;
    let (inputs, states, length) = scanned(node)?;
    let outputs = inference.outputs(body, inputs)?;
    let result = |(i, fact): (usize, Fact)| -> Result<Option<Fact>, String> {
        let mut shape = fact.shape;
        if i >= states {
            let along =
                node.ints("scan_output_axes").and_then(|axes| axes.get(i - states)).copied().unwrap_or(0);
            shape.insert(axis(along, shape.len() + 1)?, length);
        }
        elements(&shape)?;
        Ok(Some(Fact::new(fact.dtype, shape)))
    };
    outputs.into_iter().enumerate().map(result).collect()
}

/// What a scan's body is given, how many of it are states, and how many slices there are.
fn scanned(node: &Node<'_>) -> Result<(Vec<Fact>, usize, i64), String> {
    let scanned = usize::try_from(node.int_or("num_scan_inputs", 0)).unwrap_or(0);
    let states = node.inputs.len().checked_sub(scanned).ok_or("more scanned inputs than inputs")?;
    let mut inputs = Vec::new();
    let mut length = 0;
    for i in 0..node.inputs.len() {
        let fact = node.input(i)?;
        let mut shape = fact.shape.clone();
        if i >= states {
            let along =
                node.ints("scan_input_axes").and_then(|axes| axes.get(i - states)).copied().unwrap_or(0);
            length = shape.remove(axis(along, fact.rank())?);
        }
        inputs.push(Fact::new(fact.dtype, shape));
    }
    Ok((inputs, states, length))
}
