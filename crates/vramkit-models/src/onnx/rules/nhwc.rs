//! Images whose channels come last: operators that say so, and the domain into which ONNX Runtime moves the
//! standard's when an execution provider wants them so (`com.ms.internal.nhwc`).
//!
//! Rules are those for channels that come second, with the image turned before and what comes out turned back.

use crate::onnx::node::{Node, Outputs};

use super::{elementwise, movement, window};

/// Applies an operator's rule; `None` for an operator that has none.
pub(super) fn apply(node: &Node<'_>, op: &str) -> Option<Outputs> {
    Some(match op {
        "Conv" | "QLinearConv" => channels_last(node, |node| window::convolution(node, op)),
        "ConvTranspose" => channels_last(node, |node| window::transposed_convolution(node, None)),
        "AveragePool" | "LpPool" | "MaxPool" => channels_last(node, window::pool),
        "GlobalAveragePool" | "GlobalLpPool" | "GlobalMaxPool" => channels_last(node, window::global_pool),
        "SpaceToDepth" | "DepthToSpace" => channels_last(node, |node| movement::space_and_depth(node, op)),
        "GridSample" => channels_last(node, movement::grid_sample),
        "BatchNormalization" => elementwise::batch_normalization(node),
        "InstanceNormalization" | "LRN" => node.like(0).map(|output| vec![output]),
        _ => return None,
    })
}

/// A rule for images whose channels come second, applied to an image whose channels come last. The image is the
/// first input; outputs of fewer axes are no images.
pub(super) fn channels_last(node: &Node<'_>, rule: impl Fn(&Node<'_>) -> Outputs) -> Outputs {
    let mut image = node.input(0)?.clone();
    let rank = image.rank();
    if rank < 3 {
        return Err(format!("an image of rank {rank}"));
    }
    image.shape[1..].rotate_right(1);
    let mut inputs = node.inputs.clone();
    inputs[0] = Some(&image);
    let mut outputs = rule(&Node::new(node.proto, inputs))?;
    for fact in outputs.iter_mut().flatten().filter(|fact| fact.rank() == rank) {
        fact.shape[1..].rotate_left(1);
    }
    Ok(outputs)
}

/// As [`channels_last`] where an attribute says that channels come last.
pub(super) fn channels_last_if_asked(node: &Node<'_>, rule: impl Fn(&Node<'_>) -> Outputs) -> Outputs {
    if node.int_or("channels_last", 0) != 0 { channels_last(node, rule) } else { rule(node) }
}
