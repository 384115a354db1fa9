//! ONNX Runtime's own operators (`com.microsoft`): what its optimiser fuses nodes into, and what exporters for it
//! write. Those of attention and those on quantised numbers have files of their own.
//!
//! The rules follow ONNX Runtime's list of contributed operators and what it infers itself. Operators whose outputs
//! are known only to an execution provider (EPContext, Snpe) have none.

use crate::data_type::DataType;
use crate::onnx::fact::{Fact, elements};
use crate::onnx::node::{Node, Outputs, axis, product};

use super::linear::{gemm, matrices};
use super::nhwc::channels_last;
use super::{attention, elementwise, generate, movement, pick, quantised, recurrent, window};

/// Applies an operator's rule; `None` for an operator that has none.
pub(super) fn apply(node: &Node<'_>, op: &str) -> Option<Outputs> {
    Some(match op {
        "BiasAdd"
        | "BiasGelu"
        | "BiasSoftmax"
        | "BranchwiseRMSNorm"
        | "FastGelu"
        | "GatedAdd"
        | "GatedRMSNorm"
        | "Gelu"
        | "GroupNorm"
        | "HyperConnectionPostMix"
        | "Inverse"
        | "MRotaryEmbedding"
        | "MoE"
        | "MoEPacked"
        | "QMoE"
        | "QuickGelu"
        | "RotaryEmbedding"
        | "SampleOp"
        | "ScaledSiLU"
        | "Trilu" => like(node, &[0]),
        "LinearAttentionGate" | "SkipGroupNorm" => like(node, &[0, 0]),
        "EngramGate" => like(node, &[0, 0]),
        "GemmaRotaryEmbedding" => like(node, &[1, 3]),
        "NGramRepeatBlock" => like(node, &[1]),
        "BiasDropout" => with_mask(node, bools),
        "BitmaskBiasDropout" | "BitmaskDropout" => with_mask(node, bits),
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => skip_normalization(node),
        "SimplifiedLayerNormalization" => simplified_normalization(node),
        "EmbedLayerNormalization" => embed(node),
        "BiasSplitGelu" => halved(node),
        "SwiGLU" if node.optional(1).is_none() => halved(node),
        "SwiGLU" => like(node, &[0]),
        "ComplexMul" | "ComplexMulConj" => elementwise::binary(node, op),
        "MurmurHash3" => hash(node),
        "IsAllFinite" => Ok(vec![Some(Fact::new(DataType::BOOL, Vec::new()))]),
        "FusedMatMul" | "FusedMatMulActivation" | "TransposeMatMul" => fused_matmul(node, 0),
        "SparseToDenseMatMul" => fused_matmul(node, 1),
        "FusedGemm" => gemm(node),
        "GemmFastGelu" => fused_matmul(node, 0),
        "CDist" => distances(node),
        "FusedConv" => window::convolution(node, "Conv"),
        "NhwcConv" | "NhwcFusedConv" => channels_last(node, |node| window::convolution(node, "Conv")),
        "NhwcMaxPool" => channels_last(node, window::pool),
        "MaxpoolWithMask" => window::pool(node),
        "ConvTransposeWithDynamicPads" => dynamic_pads(node),
        "CropAndResize" => crop(node),
        "GridSample" => movement::grid_sample(node),
        "Pad" => movement::pad(node),
        "ExpandDims" => expand_dims(node),
        "GatherND" => pick::gather_nd(node),
        "TorchEmbedding" => embedding(node),
        "WordConvEmbedding" => word_embedding(node),
        "UnfoldTensor" => unfold(node),
        "Rfft" => fourier(node),
        "Irfft" => fourier_back(node),
        "Range" => generate::range(node),
        "Unique" => unique(node),
        "AttnLSTM" => recurrent::recurrent(node, 4),
        "RemovePadding" => remove_padding(node),
        "RestorePadding" => restore_padding(node),
        "NGramHashMapping" => n_gram_hashes(node),
        "CausalConvWithState" => causal_convolution(node),
        "BeamSearch" | "WhisperBeamSearch" => beam_search(node),
        "GreedySearch" | "Sampling" => sequences(node),
        _ => return attention::contributed(node, op).or_else(|| quantised::contributed(node, op)),
    })
}

/// Outputs that look like these inputs.
fn like(node: &Node<'_>, inputs: &[usize]) -> Outputs {
    inputs.iter().map(|&i| node.like(i)).collect()
}

/// The first input and a mask of it.
fn with_mask(node: &Node<'_>, mask: impl Fn(&Fact) -> Result<Fact, String>) -> Outputs {
    Ok(vec![node.like(0)?, Some(mask(node.input(0)?)?)])
}

fn bools(input: &Fact) -> Result<Fact, String> {
    Ok(Fact::new(DataType::BOOL, input.shape.clone()))
}

/// A bit an element, in words of 32.
fn bits(input: &Fact) -> Result<Fact, String> {
    let words = elements(&input.shape)?.div_ceil(32);
    Ok(Fact::new(DataType::UINT32, vec![i64::try_from(words).map_err(|_| "too many elements")?]))
}

/// The result, mean and deviation of each row, and the sum that was normalised.
fn skip_normalization(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let (_, lead) = input.shape.split_last().ok_or("an input without axes")?;
    let statistics = Some(Fact::new(DataType::FLOAT, [lead, &[1]].concat()));
    Ok(vec![node.like(0)?, statistics.clone(), statistics, node.like(0)?])
}

/// The result, of the scale's type, and the deviation of each row.
pub(super) fn simplified_normalization(node: &Node<'_>) -> Outputs {
    let (input, scale) = (node.input(0)?, node.input(1)?);
    let from = axis(node.int_or("axis", -1), input.rank())?;
    let mut reduced = input.shape.clone();
    reduced.iter_mut().skip(from).for_each(|dim| *dim = 1);
    let stash = node.element_type("stash_type")?.unwrap_or(DataType::FLOAT);
    Ok(vec![Some(Fact::new(scale.dtype, input.shape.clone())), Some(Fact::new(stash, reduced))])
}

/// Embeddings of words, how many words each sentence has, and the sum that was normalised.
fn embed(node: &Node<'_>) -> Outputs {
    let (words, table) = (node.input(0)?, node.input(2)?);
    let (&[batch, length], &[_, hidden]) = (words.shape.as_slice(), table.shape.as_slice()) else {
        return Err(format!("words of {:?} and a table of {:?}", words.shape, table.shape));
    };
    let output = Some(Fact::new(table.dtype, vec![batch, length, hidden]));
    Ok(vec![output.clone(), Some(Fact::new(words.dtype, vec![batch])), output])
}

/// One half of the last axis scales the other.
fn halved(node: &Node<'_>) -> Outputs {
    let mut output = node.like(0)?;
    let last = output.as_mut().and_then(|fact| fact.shape.last_mut()).ok_or("an input without axes")?;
    if *last % 2 != 0 {
        return Err(format!("{last} is not two equal halves"));
    }
    *last /= 2;
    Ok(vec![output])
}

fn hash(node: &Node<'_>) -> Outputs {
    let dtype = if node.int_or("positive", 1) != 0 { DataType::UINT32 } else { DataType::INT32 };
    Ok(vec![Some(Fact::new(dtype, node.input(0)?.shape.clone()))])
}

/// Either factor may be turned, and the first of its axes may stand for its rows with the others as a batch. The
/// result is of the type of the input `typed`.
fn fused_matmul(node: &Node<'_>, typed: usize) -> Outputs {
    let turned = |i: usize, batched: &str, turned: &str| -> Result<Vec<i64>, String> {
        let mut shape = node.input(i)?.shape.clone();
        if let Some(last) = shape.len().checked_sub(1).filter(|&last| last > 0) {
            if node.int_or(batched, 0) != 0 {
                shape[..last].rotate_left(1);
            }
            if node.int_or(turned, 0) != 0 {
                shape.swap(last, last - 1);
            }
        }
        Ok(shape)
    };
    let (a, b) = (turned(0, "transBatchA", "transA")?, turned(1, "transBatchB", "transB")?);
    Ok(vec![Some(Fact::new(node.input(typed)?.dtype, matrices(&a, &b)?))])
}

fn distances(node: &Node<'_>) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let (&[m, n], &[k, n2]) = (a.shape.as_slice(), b.shape.as_slice()) else {
        return Err(format!("matrices of {:?} and {:?}", a.shape, b.shape));
    };
    if n != n2 {
        return Err(format!("points of {n} and of {n2} coordinates"));
    }
    Ok(vec![Some(Fact::new(a.dtype, vec![m, k]))])
}

/// Pads are an input.
fn dynamic_pads(node: &Node<'_>) -> Outputs {
    let pads = match node.optional(2) {
        Some(_) => Some(node.known(2)?),
        None => None,
    };
    window::transposed_convolution(node, pads)
}

fn crop(node: &Node<'_>) -> Outputs {
    let (image, regions) = (node.input(0)?, node.input(1)?);
    match (image.shape.as_slice(), regions.shape.as_slice(), node.known(3)?) {
        (&[_, channels, _, _], &[count, _], &[height, width]) => {
            Ok(vec![Some(Fact::new(image.dtype, vec![count, channels, height, width]))])
        }
        (image, regions, size) => Err(format!("{size:?} of regions of {regions:?} of an image of {image:?}")),
    }
}

fn expand_dims(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let mut shape = input.shape.clone();
    shape.insert(axis(node.known_one(1)?, input.rank() + 1)?, 1);
    Ok(vec![Some(Fact::new(input.dtype, shape))])
}

fn embedding(node: &Node<'_>) -> Outputs {
    let (table, indices) = (node.input(0)?, node.input(1)?);
    let &[_, size] = table.shape.as_slice() else {
        return Err(format!("a table of {:?}", table.shape));
    };
    Ok(vec![Some(Fact::new(table.dtype, [indices.shape.as_slice(), &[size]].concat()))])
}

/// Letters of words, over which filters slide.
fn word_embedding(node: &Node<'_>) -> Outputs {
    let (words, filters) = (node.input(0)?, node.input(1)?);
    let (&[count, _], Some(&size)) = (words.shape.as_slice(), filters.shape.first()) else {
        return Err(format!("words of {:?} and filters of {:?}", words.shape, filters.shape));
    };
    Ok(vec![Some(Fact::new(filters.dtype, vec![count, size]))])
}

/// Slices along an axis, which overlap, side by side in a new last axis.
fn unfold(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let along = axis(node.int_or("dim", -1), input.rank())?;
    let (size, step) = (node.count("size")?, node.int_or("step", 1));
    let mut shape = input.shape.clone();
    if step < 1 || size > shape[along] {
        return Err(format!("slices of {size} every {step} of {}", shape[along]));
    }
    shape[along] = (shape[along] - size) / step + 1;
    shape.push(size);
    Ok(vec![Some(Fact::new(input.dtype, shape))])
}

/// Complex numbers are two in a new last axis; half of a real signal's need not be kept.
fn fourier(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let mut shape = input.shape.clone();
    let last = shape.last_mut().ok_or("a signal without axes")?;
    if node.int_or("onesided", 1) != 0 {
        *last = *last / 2 + 1;
    }
    shape.push(2);
    Ok(vec![Some(Fact::new(input.dtype, shape))])
}

fn fourier_back(node: &Node<'_>) -> Outputs {
    let input = node.input(0)?;
    let [lead @ .., length, 2] = input.shape.as_slice() else {
        return Err(format!("no complex numbers in {:?}", input.shape));
    };
    let length = if node.int_or("onesided", 1) != 0 { product([length - 1, 2])? } else { *length };
    Ok(vec![Some(Fact::new(input.dtype, [lead, &[length]].concat()))])
}

/// How many different values there are is known only once they are; each element's place among them is one number.
fn unique(node: &Node<'_>) -> Outputs {
    Ok(vec![None, Some(Fact::new(DataType::INT64, node.input(0)?.shape.clone())), None])
}

/// How many tokens are left depends on values; where they were does not.
fn remove_padding(node: &Node<'_>) -> Outputs {
    let (input, counts) = (node.input(0)?, node.input(1)?);
    let &[batch, length, _] = input.shape.as_slice() else {
        return Err(format!("tokens of {:?}", input.shape));
    };
    let fact = |shape| Some(Fact::new(counts.dtype, shape));
    let ends = batch.checked_add(1).ok_or("too many elements")?;
    Ok(vec![None, fact(vec![batch, length]), fact(vec![ends]), fact(vec![1])])
}

fn restore_padding(node: &Node<'_>) -> Outputs {
    let (input, places) = (node.input(0)?, node.input(1)?);
    let (&[_, hidden], &[batch, length]) = (input.shape.as_slice(), places.shape.as_slice()) else {
        return Err(format!("tokens of {:?} at places of {:?}", input.shape, places.shape));
    };
    Ok(vec![Some(Fact::new(input.dtype, vec![batch, length, hidden]))])
}

/// A hash for each n-gram from two words on, and the words before the next.
fn n_gram_hashes(node: &Node<'_>) -> Outputs {
    let words = node.input(0)?;
    let &[batch, length] = words.shape.as_slice() else {
        return Err(format!("words of {:?}", words.shape));
    };
    let earlier = node.count("max_ngram_size")? - 1;
    let hashes = product([earlier, node.count("n_head_per_ngram")?])?;
    Ok(vec![
        Some(Fact::new(words.dtype, vec![batch, length, hashes])),
        Some(Fact::new(words.dtype, vec![batch, earlier])),
    ])
}

/// In the layout that is usual; what is carried on to the next call is as long as the filter reaches back.
pub(super) fn causal_convolution(node: &Node<'_>) -> Outputs {
    let (input, weights) = (node.input(0)?, node.input(1)?);
    let usual = ["activation", "ndim", "dilation"];
    let other = node.proto.attribute.iter().any(|attribute| !usual.contains(&attribute.name.as_str()));
    let (false, 1, &[batch, channels, _], &[_, 1, kernel]) =
        (other, node.int_or("ndim", 1), input.shape.as_slice(), weights.shape.as_slice())
    else {
        return Ok(Vec::new());
    };
    let carried = product([kernel.max(1) - 1, node.int_or("dilation", 1)])?;
    Ok(vec![node.like(0)?, Some(Fact::new(input.dtype, vec![batch, channels, carried]))])
}

/// As long as sequences may get. What the decoder holds meanwhile is not part of this.
fn sequences(node: &Node<'_>) -> Outputs {
    let &batch = node.input(0)?.shape.first().ok_or("a prompt without axes")?;
    Ok(vec![Some(Fact::new(DataType::INT32, vec![batch, node.known_one(1)?]))])
}

/// Several sequences for each prompt, and what each is worth; scores of single words depend on the decoder.
fn beam_search(node: &Node<'_>) -> Outputs {
    let &batch = node.input(0)?.shape.first().ok_or("a prompt without axes")?;
    let (longest, returned) = (node.known_one(1)?, node.known_one(4)?);
    let dtype = node.optional(5).map_or(DataType::FLOAT, |penalty| penalty.dtype);
    Ok(vec![
        Some(Fact::new(DataType::INT32, vec![batch, returned, longest])),
        Some(Fact::new(dtype, vec![batch, returned])),
    ])
}
