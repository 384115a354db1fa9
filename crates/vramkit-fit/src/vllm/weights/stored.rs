//! Stored tensors, divided as vLLM divides them.
//!
//! In: tensors by name. Out: bytes on one device. Never here: a guess at a tensor that is not stored.

use std::collections::HashMap;

use vramkit_models::header::{ModelHeader, StoredTensor};

use super::super::settings::Settings;
use super::{MXFP4_MULTIPLE, VOCABULARY_MULTIPLE, allocated, has_mxfp4};

/// How many ways a tensor is split.
enum Split {
    /// Not at all: every device has it whole.
    Whole,
    /// Over all devices.
    Devices,
    /// Over KV heads, of which several devices may have the same.
    KvHeads,
    /// By rows of the vocabulary, padded first.
    Vocabulary,
    /// Not loaded.
    Unused,
}

/// Bytes of what vLLM loads onto one device, and what is to be said.
pub(super) fn bytes(
    model: &ModelHeader,
    tensors: &[StoredTensor],
    settings: &Settings,
) -> (u64, Vec<String>) {
    let kv_heads = model.shape.layers.iter().filter_map(super::super::settings::kv_heads).min().unwrap_or(1);
    let mut notes = Vec::new();
    let mut loaded = HashMap::<String, u64>::new();
    for tensor in tensors {
        let size = padded(model, tensor);
        let part = match split(model, tensor, settings) {
            Split::Whole => size,
            Split::Devices => size.div_ceil(settings.devices),
            Split::KvHeads => size.div_ceil(settings.devices.min(kv_heads.max(1))),
            Split::Vocabulary => vocabulary_part(tensor, size, settings.devices),
            Split::Unused => 0,
        };
        let bytes = loaded.entry(merged(&tensor.name)).or_default();
        *bytes = bytes.saturating_add(part);
    }
    if settings.devices > 1 {
        notes.push(
            "tensors are shared out by their names; quantised ones may be padded on each device".into(),
        );
    }
    (loaded.into_values().map(allocated).fold(0, u64::saturating_add), notes)
}

fn split(model: &ModelHeader, tensor: &StoredTensor, settings: &Settings) -> Split {
    let name = tensor.name.as_str();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    if is_draft(model, name) && settings.draft_tokens == 0 {
        return Split::Unused;
    }
    if has(&["lm_head", "embed_out"]) && model.shape.tied_embeddings == Some(true) || has(&["inv_freq"]) {
        return Split::Unused;
    }
    if has(&["embed_tokens", "lm_head", "embed_out", "word_embeddings", "wte.", "tok_embeddings"]) {
        return Split::Vocabulary;
    }
    // Down-projections of latent attention, routers and indexers are on every device; so is what follows a row split.
    if has(&["kv_a_", "q_a_", ".indexer.", "mlp.gate.", ".router.", "block_sparse_moe.gate.", "norm"]) {
        return Split::Whole;
    }
    if has(&["k_proj", "v_proj"]) && !has(&["experts", "visual", "vision"]) {
        return Split::KvHeads;
    }
    let row_bias = tensor.dims.len() == 1 && has(&["o_proj", "down_proj", "dense"]);
    if row_bias { Split::Whole } else { Split::Devices }
}

/// The matrix that a tensor is loaded into: queries, keys and values become one, gate and up another, and those of a layer's
/// experts one each.
fn merged(name: &str) -> String {
    let mut name = name.replace("q_proj", "qkv").replace("k_proj", "qkv").replace("v_proj", "qkv");
    name = name
        .replace("gate_proj", "gate_up")
        .replace("up_proj", "gate_up")
        .replace(".w1.", ".w13.")
        .replace(".w3.", ".w13.");
    let Some((before, after)) = name.split_once(".experts.") else { return name };
    match after.split_once('.') {
        Some((number, rest)) if number.parse::<u64>().is_ok() => format!("{before}.experts.{rest}"),
        _ => name,
    }
}

/// Whether a tensor belongs to layers that predict several tokens at once.
fn is_draft(model: &ModelHeader, name: &str) -> bool {
    if name.starts_with("mtp.") || name.contains(".mtp.") {
        return true;
    }
    let number =
        name.split_once("layers.").and_then(|(_, rest)| rest.split('.').next()?.parse::<usize>().ok());
    let in_text = !name.contains("visual") && !name.contains("vision");
    let layers = model.shape.layers.len();
    in_text
        && layers > 0
        && !model.shape.draft_layers.is_empty()
        && number.is_some_and(|number| number >= layers)
}

/// A device's rows of a matrix whose rows are the vocabulary.
fn vocabulary_part(tensor: &StoredTensor, size: u64, devices: u64) -> u64 {
    let Some(&rows) = tensor.dims.first().filter(|&&rows| rows > 0 && tensor.dims.len() == 2) else {
        return size.div_ceil(devices);
    };
    let padded = rows.div_ceil(VOCABULARY_MULTIPLE).saturating_mul(VOCABULARY_MULTIPLE).div_ceil(devices);
    (size / rows).saturating_mul(padded)
}

/// A tensor's bytes once 4-bit experts are padded: gate and up, and down, all grow in the hidden width alone.
fn padded(model: &ModelHeader, tensor: &StoredTensor) -> u64 {
    let hidden = model.shape.widths.hidden;
    let packed = tensor.name.ends_with("_blocks") || tensor.name.ends_with("_scales");
    if !(packed && has_mxfp4(model)) || hidden == 0 {
        return tensor.size.bytes();
    }
    let wide = hidden.div_ceil(MXFP4_MULTIPLE).saturating_mul(MXFP4_MULTIPLE);
    let bytes = u128::from(tensor.size.bytes()) * u128::from(wide) / u128::from(hidden);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
