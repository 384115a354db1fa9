//! ONNX Runtime's operators on numbers of few bits: each input is followed by its scale and zero point, or weights
//! come in packed blocks.

use crate::data_type::DataType;
use crate::onnx::fact::Fact;
use crate::onnx::node::{Node, Outputs, axis, broadcast, product, sum};

use super::linear::{gemm_shape, matrices};
use super::nhwc::channels_last_if_asked;
use super::{elementwise, reduce, window};

/// The rule of a quantised operator of ONNX Runtime's; `None` for other operators.
pub(super) fn contributed(node: &Node<'_>, op: &str) -> Option<Outputs> {
    Some(match op {
        "QuantizeLinear" | "DequantizeLinear" => elementwise::quantize(node, op),
        "QuantizeWithOrder" => typed(node, Ok(Some(DataType::INT8))),
        "DequantizeWithOrder" => typed(node, node.element_type("to")),
        "QLinearSigmoid"
        | "QLinearLeakyRelu"
        | "QLinearSoftmax"
        | "QOrderedGelu"
        | "QOrderedLayerNormalization" => node.like(0).map(|output| vec![output]),
        "QLinearAdd" | "QLinearMul" => together(node, &[0, 3], 0),
        "QLinearWhere" => together(node, &[0, 1, 4], 1),
        "MulInteger" => together(node, &[0, 2], 0).map(|outputs| as_type(outputs, DataType::INT32)),
        "QLinearAveragePool" => channels_last_if_asked(node, window::pool),
        "QLinearGlobalAveragePool" => channels_last_if_asked(node, window::global_pool),
        "QLinearConv" => channels_last_if_asked(node, |node| window::convolution(node, op)),
        "QLinearConcat" => concat(node),
        "QLinearReduceMean" => reduce::reduce(node, op),
        "ReduceSumInteger" => reduce::reduce(node, op).map(|outputs| as_type(outputs, DataType::INT32)),
        "MatMulInteger16" => multiplied(node, Some(DataType::INT32)),
        "MatMulIntegerToFloat" => node.input(2).and_then(|scale| multiplied(node, Some(scale.dtype))),
        "DynamicQuantizeMatMul" => multiplied(node, None),
        "QGemm" => gemm(node),
        "GemmFloat8" => node.element_type("dtype").and_then(|dtype| {
            let dtype = dtype.unwrap_or(DataType::FLOAT);
            Ok(vec![Some(Fact::new(dtype, gemm_shape(node, 1)?))])
        }),
        "MatMulNBits" | "MatMulPacked" => to_columns(node, &["N"]),
        "MatMulBnb4" => to_columns(node, &[if node.int_or("transB", 1) != 0 { "N" } else { "K" }]),
        "MatMulNBitsMlp" => to_columns(node, &["N"]).and_then(|outputs| with_input(node, outputs)),
        "MatMulNBitsQkv" => {
            to_columns(node, &["Nq", "Nkv", "Nkv"]).and_then(|outputs| with_input(node, outputs))
        }
        "MatMulFpQ4" => by_shape(node),
        "MatMulNBitsQLoRA" | "MatMulBlockQuantizedFp4Weight" | "MatMulBlockQuantizedFp8Weight" => {
            by_rows(node)
        }
        "GatherBlockQuantized" => gather_blocks(node),
        "GatherPacked" => gather_packed(node),
        "QEmbedLayerNormalization" => embed(node),
        "DynamicQuantizeLSTM" => lstm(node),
        _ => return None,
    })
}

fn as_type(mut outputs: Vec<Option<Fact>>, dtype: DataType) -> Vec<Option<Fact>> {
    outputs.iter_mut().flatten().for_each(|fact| fact.dtype = dtype);
    outputs
}

/// The first input in another element type.
fn typed(node: &Node<'_>, dtype: Result<Option<DataType>, String>) -> Outputs {
    let dtype = dtype?.ok_or("attribute `to` is missing")?;
    Ok(vec![Some(Fact::new(dtype, node.input(0)?.shape.clone()))])
}

/// Some inputs broadcast together, of the element type of one.
fn together(node: &Node<'_>, inputs: &[usize], typed: usize) -> Outputs {
    let shapes: Vec<&[i64]> =
        inputs.iter().map(|&i| Ok(node.input(i)?.shape.as_slice())).collect::<Result<_, String>>()?;
    Ok(vec![Some(Fact::new(node.input(typed)?.dtype, broadcast(shapes)?))])
}

/// Scale and zero point of the result, then a tensor, its scale and its zero point for each part.
fn concat(node: &Node<'_>) -> Outputs {
    let first = node.input(2)?;
    let along = axis(node.int("axis").ok_or("attribute `axis` is missing")?, first.rank())?;
    let mut shape = first.shape.clone();
    let mut length = 0;
    for i in (2..node.inputs.len()).step_by(3) {
        let mut part = node.input(i)?.shape.clone();
        length = sum([length, part.get(along).copied().unwrap_or(0)])?;
        if let Some(dim) = part.get_mut(along) {
            *dim = first.shape[along];
        }
        if part != first.shape {
            return Err(format!("{:?} and {:?} along axis {along}", first.shape, node.input(i)?.shape));
        }
    }
    shape[along] = length;
    Ok(vec![Some(Fact::new(node.input(1)?.dtype, shape))])
}

fn multiplied(node: &Node<'_>, dtype: Option<DataType>) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    Ok(vec![Some(Fact::new(dtype.unwrap_or(a.dtype), matrices(&a.shape, &b.shape)?))])
}

/// In full precision unless a zero point of the result is given.
fn gemm(node: &Node<'_>) -> Outputs {
    let dtype = node.optional(8).map_or(DataType::FLOAT, |zero| zero.dtype);
    Ok(vec![Some(Fact::new(dtype, gemm_shape(node, 3)?))])
}

/// The first input with its last axis, of length `K`, replaced by as many columns as each of these attributes says.
fn to_columns(node: &Node<'_>, counts: &[&str]) -> Outputs {
    let input = node.input(0)?;
    let (&length, lead) = input.shape.split_last().ok_or("an input without axes")?;
    let rows = node.count(if counts == ["K"] { "N" } else { "K" })?;
    if length != rows {
        return Err(format!("{length} columns meet {rows} rows"));
    }
    let output = |name: &&str| -> Result<Option<Fact>, String> {
        Ok(Some(Fact::new(input.dtype, [lead, &[node.count(name)?]].concat())))
    };
    counts.iter().map(output).collect()
}

/// These outputs, and then the sum that the input was made to.
fn with_input(node: &Node<'_>, mut outputs: Vec<Option<Fact>>) -> Outputs {
    outputs.push(node.like(0)?);
    Ok(outputs)
}

/// The weights' own shape is an input.
fn by_shape(node: &Node<'_>) -> Outputs {
    let a = node.input(0)?;
    Ok(vec![Some(Fact::new(a.dtype, matrices(&a.shape, node.known(2)?)?))])
}

/// Weights have a row for each column of the result.
fn by_rows(node: &Node<'_>) -> Outputs {
    let (input, weights) = (node.input(0)?, node.input(1)?);
    let (_, lead) = input.shape.split_last().ok_or("an input without axes")?;
    let &columns = weights.shape.first().ok_or("weights without axes")?;
    Ok(vec![Some(Fact::new(input.dtype, [lead, &[columns]].concat()))])
}

/// As the standard's Gather; in bytes that hold several elements, those lie along the last axis.
fn gather_blocks(node: &Node<'_>) -> Outputs {
    let (data, indices, scales) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let mut shape = data.shape.clone();
    let along = axis(node.int_or("gather_axis", 0), data.rank())?;
    if data.dtype == DataType::UINT8 {
        let bits = node.int_or("bits", 4);
        if ![2, 4, 8].contains(&bits) {
            return Err(format!("attribute `bits` is {bits}"));
        }
        if let Some(last) = shape.last_mut() {
            *last = product([*last, 8 / bits])?;
        }
    }
    shape.splice(along..=along, indices.shape.iter().copied());
    Ok(vec![Some(Fact::new(scales.dtype, shape))])
}

fn gather_packed(node: &Node<'_>) -> Outputs {
    let dtype = node.element_type("output_dtype")?.unwrap_or(DataType::BFLOAT16);
    Ok(vec![Some(Fact::new(dtype, [node.input(1)?.shape.as_slice(), &[node.count("K")?]].concat()))])
}

/// Embeddings are of the scales' type, and the mask of the words'.
fn embed(node: &Node<'_>) -> Outputs {
    let (words, table, scale) = (node.input(0)?, node.input(2)?, node.input(8)?);
    let (&[batch, length], &[_, hidden]) = (words.shape.as_slice(), table.shape.as_slice()) else {
        return Err(format!("words of {:?} and a table of {:?}", words.shape, table.shape));
    };
    Ok(vec![
        Some(Fact::new(scale.dtype, vec![batch, length, hidden])),
        Some(Fact::new(words.dtype, vec![batch])),
    ])
}

/// Weights are turned: four gates stand side by side.
fn lstm(node: &Node<'_>) -> Outputs {
    let (x, r) = (node.input(0)?, node.input(2)?);
    let (&[length, batch, _], &[directions, rows, _]) = (x.shape.as_slice(), r.shape.as_slice()) else {
        return Err(format!("a sequence of {:?} and weights of {:?}", x.shape, r.shape));
    };
    let hidden = node.int("hidden_size").unwrap_or(rows);
    let last = Some(Fact::new(x.dtype, vec![directions, batch, hidden]));
    Ok(vec![Some(Fact::new(x.dtype, vec![length, directions, batch, hidden])), last.clone(), last])
}
