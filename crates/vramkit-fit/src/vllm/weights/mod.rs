//! Weights as vLLM loads them onto one device.
//!
//! In: a model's header. Out: bytes, or `None` where only a configuration is there that does not say enough; and what is to be
//! said about it. Never here: activations, cache.
//!
//! Stored tensors are taken as they are (`stored`); without them, parameters of plain architectures are counted (`counted`).
//! Three things come on top of what a file holds: the table of rotary positions, which vLLM counts among the weights; what its kernels
//! want of 4-bit experts; and what PyTorch's allocator adds to a large tensor.

mod agreement;
mod common;
mod counted;
mod mxfp4;
mod stored;

use vramkit_models::header::ModelHeader;
use vramkit_models::shape::Cache;
use vramkit_units::ByteSize;

use super::settings::{COMPUTE_BYTES, Settings};
pub(super) use agreement::Agreement;
use common::has_mxfp4;
pub(crate) use stored::Stored;

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

/// How far stored tensors may be from what the configuration counts before it is said.
const FAR: f64 = 0.1;

/// What vLLM loads onto one device, of these stored tensors where there are any.
pub(super) fn weights(model: &ModelHeader, stored: Option<&Stored>, settings: &Settings) -> Weights {
    let positions = positions(model);
    // Which kernels 4-bit experts are laid out for is a guess.
    let off = if has_mxfp4(model) { 0.03 } else { 0.01 };
    if let Some(stored) = stored {
        let (bytes, mut notes) = stored.bytes(settings);
        let doubts = [unheld(stored), far(model, stored, settings, bytes)];
        let doubts: Vec<String> = doubts.into_iter().flatten().collect();
        let off = (stored.plain && doubts.is_empty()).then_some(off);
        notes.extend(doubts);
        return Weights { bytes: Some(bytes.saturating_add(positions)), off, notes };
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

/// Says that names of tensors do not tell whether all of the model is there.
fn unheld(stored: &Stored) -> Option<String> {
    (stored.agreement == Agreement::Unknown).then(|| {
        "names of its tensors do not say which layer they are of, so nobody knows whether all of the model is there".into()
    })
}

/// Says that tensors take far more or less than the configuration's parameters, where those are counted. What towers and drafting
/// layers take is not in the count.
fn far(model: &ModelHeader, stored: &Stored, settings: &Settings, bytes: u64) -> Option<String> {
    let counted = counted::bytes(model, settings).ok()?;
    let apart = bytes.abs_diff(counted) as f64 > FAR * counted as f64;
    (apart && !stored.multimodal && settings.draft_tokens == 0).then(|| {
        let (bytes, counted) = (ByteSize::new(bytes), ByteSize::new(counted));
        format!(
            "its tensors take {bytes}, and by its configuration they would take {counted}: a part may be missing, or of another model"
        )
    })
}

/// The table of sines and cosines: one row a position, half of a head's numbers each. Latent attention turns its own part only.
fn positions(model: &ModelHeader) -> u64 {
    let width = model.shape.layers.iter().map(|layer| match layer.cache {
        Cache::Full(_) | Cache::Window { .. } => model.shape.widths.head,
        Cache::Latent { rope, .. } => rope,
        _ => 0,
    });
    let tokens = model.shape.longest_context().unwrap_or(0);
    tokens.saturating_mul(width.max().unwrap_or(0)).saturating_mul(COMPUTE_BYTES)
}
