//! The shape rules: for each operator of the standard, what its outputs look like given its inputs.
//!
//! One file a family of operators; this one is the table. A rule that needs values (a reshape's target, a
//! slice's bounds) takes them from `Fact::value`, which the rules carry along for small
//! tensors. The rules follow the operators' texts in the ONNX standard (Operators.md, opset 1 to 24); those of
//! other domains have files of their own.

mod attention;
mod classic;
mod contributed;
mod control;
mod elementwise;
mod generate;
mod linear;
mod movement;
mod nchwc;
mod nhwc;
mod pick;
mod quantised;
mod recurrent;
mod reduce;
mod sequences;
mod window;

use super::bodies::Bodies;
use super::fact::Fact;
use super::node::{Node, Outputs};
use super::proto::NodeProto;

/// What a constant's node holds.
pub(super) fn constant(node: &NodeProto) -> Result<Fact, String> {
    let outputs = generate::constant(&Node::new(node, Vec::new()))?;
    outputs.into_iter().next().flatten().ok_or_else(|| "its value is of no kind that is known".to_owned())
}

/// Applies an operator's rule; `None` for an operator that has none.
pub(super) fn apply(node: &Node<'_>, opset: i64, inference: &dyn Bodies) -> Option<Outputs> {
    let op = node.proto.op_type.as_str();
    match node.proto.domain.as_str() {
        "" | "ai.onnx" => standard(node, op, opset, inference),
        "ai.onnx.ml" => classic::apply(node, op),
        "ai.onnx.preview" if op == "FlexAttention" => Some(attention::flexible(node)),
        "ai.onnx.preview.training" => match op {
            "Adagrad" => Some(elementwise::optimiser(node, 2, &[0, 2])),
            "Adam" => Some(elementwise::optimiser(node, 2, &[0, 2, 3])),
            "Momentum" => Some(elementwise::optimiser(node, 2, &[0, 2])),
            _ => None,
        },
        "com.microsoft" => contributed::apply(node, op),
        "com.microsoft.nchwc" => nchwc::apply(node, op),
        "com.ms.internal.nhwc" => nhwc::apply(node, op),
        _ => None,
    }
}

fn standard(node: &Node<'_>, op: &str, opset: i64, inference: &dyn Bodies) -> Option<Outputs> {
    Some(match op {
        "Abs"
        | "Acos"
        | "Acosh"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "BitwiseNot"
        | "Ceil"
        | "Celu"
        | "Clip"
        | "Cos"
        | "Cosh"
        | "CumProd"
        | "CumSum"
        | "Elu"
        | "Erf"
        | "Exp"
        | "Floor"
        | "Gelu"
        | "HardSigmoid"
        | "HardSwish"
        | "Hardmax"
        | "InstanceNormalization"
        | "GroupNormalization"
        | "LRN"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "LpNormalization"
        | "MeanVarianceNormalization"
        | "Mish"
        | "Neg"
        | "Not"
        | "PRelu"
        | "Reciprocal"
        | "Relu"
        | "ReverseSequence"
        | "RotaryEmbedding"
        | "Round"
        | "TensorScatter"
        | "Selu"
        | "Shrink"
        | "Sigmoid"
        | "Sign"
        | "Sin"
        | "Sinh"
        | "Softmax"
        | "Softplus"
        | "Softsign"
        | "Sqrt"
        | "SwiGLU"
        | "Swish"
        | "Tan"
        | "Tanh"
        | "ThresholdedRelu"
        | "Trilu" => elementwise::unary(node, op),
        "Identity" | "OptionalGetElement" => elementwise::same(node),
        // ONNX Runtime writes the second, its own, into this domain too.
        "RMSNormalization" | "SimplifiedLayerNormalization" => contributed::simplified_normalization(node),
        "IsInf" | "IsNaN" => elementwise::predicate(node),
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Pow" | "BitShift" | "BitwiseAnd" | "BitwiseOr"
        | "BitwiseXor" => elementwise::binary(node, op),
        "And" | "Or" | "Xor" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => {
            elementwise::comparison(node, op)
        }
        "Max" | "Min" | "Mean" | "Sum" => elementwise::variadic(node, op),
        "Where" => elementwise::select(node),
        "BitCast" | "Cast" | "CastLike" => elementwise::cast(node, op),
        "QuantizeLinear" | "DequantizeLinear" | "DynamicQuantizeLinear" => elementwise::quantize(node, op),
        "BatchNormalization" => elementwise::batch_normalization(node),
        "LayerNormalization" => elementwise::layer_normalization(node),
        "Dropout" => elementwise::dropout(node, opset),
        "Conv" | "ConvInteger" | "QLinearConv" | "DeformConv" => window::convolution(node, op),
        "ConvTranspose" => window::transposed_convolution(node, None),
        "AveragePool" | "LpPool" | "MaxPool" => window::pool(node),
        "GlobalAveragePool" | "GlobalLpPool" | "GlobalMaxPool" => window::global_pool(node),
        "MaxUnpool" => window::unpool(node),
        "MaxRoiPool" | "RoiAlign" => window::region_pool(node, op),
        "Col2Im" => window::columns_to_image(node),
        "Gemm" => linear::gemm(node),
        "MatMul" | "MatMulInteger" | "QLinearMatMul" => linear::matmul(node, op),
        "Einsum" => linear::einsum(node),
        "Det" => linear::determinant(node),
        "Attention" => attention::standard(node),
        "LinearAttention" => attention::linear(node),
        "CausalConvWithState" => contributed::causal_convolution(node),
        "Reshape" => movement::reshape(node),
        "Flatten" => movement::flatten(node),
        "Squeeze" => movement::squeeze(node),
        "Unsqueeze" => movement::unsqueeze(node),
        "Transpose" => movement::transpose(node),
        "Concat" => movement::concat(node),
        "Split" => movement::split(node),
        "Expand" => movement::expand(node),
        "Tile" => movement::tile(node),
        "Pad" => movement::pad(node),
        "SpaceToDepth" | "DepthToSpace" => movement::space_and_depth(node, op),
        "Upsample" | "Resize" => movement::resize(node, op),
        "AffineGrid" => movement::affine_grid(node),
        "GridSample" => movement::grid_sample(node),
        "CenterCropPad" => movement::center_crop_pad(node),
        "Slice" => pick::slice(node),
        "Gather" => pick::gather(node),
        "GatherElements" => pick::gather_elements(node),
        "GatherND" => pick::gather_nd(node),
        "OneHot" => pick::one_hot(node),
        "TopK" => pick::top_k(node),
        "Compress" => pick::compress(node),
        "NonZero" => pick::non_zero(node),
        "NonMaxSuppression" => pick::non_max_suppression(node),
        "Unique" => pick::unique(node),
        "Scatter" | "ScatterElements" | "ScatterND" => pick::scatter(node, op),
        "ArgMax" | "ArgMin" => reduce::arg(node),
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean"
        | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => reduce::reduce(node, op),
        "NegativeLogLikelihoodLoss" | "SoftmaxCrossEntropyLoss" => reduce::loss(node, op),
        "TfIdfVectorizer" => reduce::n_grams(node),
        "RNN" => recurrent::recurrent(node, 1),
        "GRU" => recurrent::recurrent(node, 3),
        "LSTM" => recurrent::recurrent(node, 4),
        "Shape" => generate::shape(node),
        "Size" => generate::size(node),
        "Constant" => generate::constant(node),
        "ConstantOfShape" => generate::constant_of_shape(node),
        "Range" => generate::range(node),
        "EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli" => generate::like(node, op),
        "RandomNormal" | "RandomUniform" => generate::random(node),
        "Multinomial" => generate::multinomial(node),
        "BlackmanWindow" | "HannWindow" | "HammingWindow" => generate::window(node),
        "MelWeightMatrix" => generate::mel_weight_matrix(node),
        "DFT" => generate::fourier(node, opset),
        "STFT" => generate::short_time_fourier(node),
        "If" => control::choice(node, inference),
        "Loop" => control::repeat(node, inference),
        "Scan" => control::scan(node, opset, inference),
        "ImageDecoder" => {
            Err(node.cannot_tell("the size of an image is in its data; a measured shape can tell it"))
        }
        "SequenceMap" => control::sequence_map(node, inference),
        "SequenceConstruct" => sequences::construct(node),
        "SequenceEmpty" => sequences::empty(),
        "SequenceInsert" => sequences::insert(node),
        "SequenceErase" => sequences::erase(node),
        "SequenceAt" => sequences::at(node),
        "SequenceLength" => sequences::length(node),
        "ConcatFromSequence" => sequences::concat(node),
        "SplitToSequence" => sequences::split(node),
        "Optional" => sequences::optional(node),
        "OptionalHasElement" => sequences::has_element(),
        "StringConcat" => elementwise::text(node),
        "StringNormalizer" | "RegexFullMatch" => elementwise::text_like(node, op),
        _ => return None,
    })
}
