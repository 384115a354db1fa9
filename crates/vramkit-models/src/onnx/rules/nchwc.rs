//! ONNX Runtime's internal layout for convolutions on a CPU (`com.microsoft.nchwc`), which its optimised models hold:
//! channels in blocks of 8 or 16, the last block filled up.
//!
//! Weights in the file are in blocks already, so a convolution's channels are read off them. The one place where the
//! block itself matters is where an image enters the layout (`onnx/channel_blocks.rs`).

use crate::onnx::channel_blocks::BLOCK;
use crate::onnx::fact::Fact;
use crate::onnx::node::{Node, Outputs, product};

use super::window;

/// Applies an operator's rule; `None` for an operator that has none.
pub(super) fn apply(node: &Node<'_>, op: &str) -> Option<Outputs> {
    Some(match op {
        "ReorderInput" => enter(node),
        "ReorderOutput" => leave(node),
        "Conv" => convolution(node),
        "MaxPool" | "AveragePool" => window::pool(node).map(|outputs| outputs.into_iter().take(1).collect()),
        "GlobalAveragePool" | "GlobalMaxPool" => window::global_pool(node),
        "Upsample" => upsample(node),
        _ => return None,
    })
}

/// The image's batch, its channels and its axes, wherever the channels are.
fn parts(shape: &[i64], channels_last: bool) -> Result<(i64, i64, &[i64]), String> {
    match shape {
        [batch, axes @ .., channels] if channels_last => Ok((*batch, *channels, axes)),
        [batch, channels, axes @ ..] => Ok((*batch, *channels, axes)),
        _ => Err(format!("an image of {shape:?}")),
    }
}

/// How long a block is depends on the processor for which the file was made, and weights in it may show.
fn enter(node: &Node<'_>) -> Outputs {
    let image = node.input(0)?;
    let (batch, channels, axes) = parts(&image.shape, node.int_or("channels_last", 0) != 0)?;
    let filled = |block: i64| product([channels / block + i64::from(channels % block > 0), block]);
    let (short, long) = (filled(8)?, filled(16)?);
    let known = node.int(BLOCK);
    if short != long && ![Some(8), Some(16)].contains(&known) {
        return Err(format!(
            "its {channels} channels are filled up to {short} or to {long}, after the processor for which the file \
             was made"
        ));
    }
    Ok(vec![Some(Fact::new(
        image.dtype,
        [&[batch, if known == Some(16) { long } else { short }], axes].concat(),
    ))])
}

fn leave(node: &Node<'_>) -> Outputs {
    let image = node.input(0)?;
    let (batch, _, axes) = parts(&image.shape, false)?;
    let channels = node.count("channels")?;
    let shape = match node.int_or("channels_last", 0) {
        0 => [&[batch, channels], axes].concat(),
        _ => [&[batch], axes, &[channels]].concat(),
    };
    Ok(vec![Some(Fact::new(image.dtype, shape))])
}

/// The image's own channels say nothing: they may be in blocks or not.
fn convolution(node: &Node<'_>) -> Outputs {
    let (image, weights) = (node.input(0)?, node.input(1)?);
    Ok(vec![Some(Fact::new(image.dtype, window::slid(node, image, weights)?))])
}

fn upsample(node: &Node<'_>) -> Outputs {
    let image = node.input(0)?;
    let scales = node.ints("scales").ok_or("attribute `scales` is missing")?;
    if scales.len() != image.rank() || scales.iter().any(|&scale| scale < 1) {
        return Err(format!("scales {scales:?} for an image of {:?}", image.shape));
    }
    let scaled = image.shape.iter().zip(scales).map(|(&dim, &scale)| product([dim, scale]));
    Ok(vec![Some(Fact::new(image.dtype, scaled.collect::<Result<_, _>>()?))])
}
