//! Which inputs the runtime's kernels write their outputs over (CPU provider).
//!
//! *Always* where the output is the input seen in another shape: it has no buffer of its own, even where the
//! input is one of the graph's or is read again. *If last* where the kernel may write over an input of the
//! same shape that nobody reads afterwards. Element-by-element arithmetic (`Add`, `Mul`, `Exp`, …) is in
//! neither list: its kernels do not allow it. Found by running each operator of the standard's own tests
//! between two that copy, and comparing the pattern's size with and without a buffer for the output.

use crate::onnx::proto::NodeProto;

/// How an output may do with an input's buffer: the input's place among the node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    Always(usize),
    IfLast(usize),
}

/// What the kernel of a node allows for its output number `output`.
pub(super) fn sharing(node: &NodeProto, output: usize) -> Option<Sharing> {
    if output != 0 {
        return None;
    }
    let standard = matches!(node.domain.as_str(), "" | "ai.onnx");
    Some(match (node.domain.as_str(), node.op_type.as_str()) {
        (_, "Flatten" | "Identity" | "Reshape" | "Squeeze" | "Unsqueeze") if standard => Sharing::Always(0),
        (
            _,
            "BitCast" | "Celu" | "Clip" | "Elu" | "HardSigmoid" | "LeakyRelu" | "LogSoftmax" | "Relu"
            | "Scatter" | "ScatterElements" | "Selu" | "Shrink" | "Sigmoid" | "Softmax" | "Softplus"
            | "Softsign" | "Tanh" | "TensorScatter" | "ThresholdedRelu" | "Trilu",
        ) if standard => Sharing::IfLast(0),
        // A convolution that adds to what another branch gave writes over that.
        ("com.microsoft", "FusedConv" | "NhwcFusedConv") | ("com.microsoft.nchwc", "Conv") => {
            Sharing::IfLast(3)
        }
        _ => return None,
    })
}
