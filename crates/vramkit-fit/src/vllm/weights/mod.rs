//! Weights as vLLM loads them onto one device.
//!
//! In: a model's header. Out: bytes, or `None` where only a configuration is there that does not say enough; and what is to be
//! said about it. Never here: activations, cache.
//!
//! Stored tensors are taken as they are (`stored`); without them, parameters of plain architectures are counted (`counted`).
//! Three things come on top of what a file holds: the table of rotary positions, which vLLM counts among the weights; what its kernels
//! want of 4-bit experts; and what PyTorch's allocator adds to a large tensor.

mod common;
mod counted;
mod mxfp4;
mod stored;

use vramkit_models::header::ModelHeader;
use vramkit_models::shape::Cache;

use super::settings::{COMPUTE_BYTES, Settings};
use common::has_mxfp4;

/// Weights on one device, and sentences about them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Weights {
    /// Bytes.
    pub bytes: Option<u64>,
    /// How far weights of this kind were off from what vLLM prints, at most; nothing where none was compared.
    pub off: Option<f64>,
    /// What rests on a guess.
    pub notes: Vec<String>,
}

/// What vLLM loads onto one device.
pub(super) fn weights(model: &ModelHeader, settings: &Settings) -> Weights {
    let positions = positions(model);
    // Which kernels 4-bit experts are laid out for is a guess.
    let off = if has_mxfp4(model) { 0.03 } else { 0.01 };
    if let Some(tensors) = &model.tensors {
        let (bytes, notes) = stored::bytes(model, tensors, settings);
        let plain = tensors.iter().all(|tensor| matches!(tensor.kind, "BF16" | "F16" | "F32"));
        return Weights { bytes: Some(bytes.saturating_add(positions)), off: plain.then_some(off), notes };
    }
    match counted::bytes(model, settings) {
        Ok(bytes) => Weights {
            bytes: Some(bytes.saturating_add(positions)),
            off: Some(off),
            notes: vec![
                "weights are counted from the configuration: its tensors' files are not there".into(),
            ],
        },
        Err(missing) => {
            let note = format!(
                "weights are not known: {missing}; put the model's safetensors beside its configuration"
            );
            Weights { bytes: None, off: None, notes: vec![note] }
        }
    }
}

/// The table of sines and cosines: one row a position, half of a head's numbers each. Latent attention turns its own part only.
fn positions(model: &ModelHeader) -> u64 {
    let width = model.shape.layers.iter().map(|layer| match layer.cache {
        Cache::Full(_) | Cache::Window { .. } => model.shape.widths.head,
        Cache::Latent { rope, .. } => rope,
        _ => 0,
    });
    let tokens = model.shape.trained_context.unwrap_or(0);
    tokens.saturating_mul(width.max().unwrap_or(0)).saturating_mul(COMPUTE_BYTES)
}
