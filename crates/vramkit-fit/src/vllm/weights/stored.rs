//! Stored tensors, divided as vLLM divides them.
//!
//! In: tensors by name. Out: bytes on one device. Never here: a guess at a tensor that is not stored.
//!
//! A checkpoint of experts has tens of thousands of tensors, and a question is asked many times with other options: names are
//! looked at in their parts between dots, without copies.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use vramkit_models::header::{ModelHeader, StoredTensor};

use super::super::settings::{Settings, kv_heads};
use super::common::{VOCABULARY_MULTIPLE, allocated, has_mxfp4};
use super::mxfp4;

/// How many ways a tensor is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What is asked of each tensor about its model.
struct Loading<'a> {
    settings: &'a Settings,
    /// Layers that every token passes; those after them draft.
    layers: usize,
    /// Whether there are layers that draft.
    drafts: bool,
    tied: bool,
    kv_heads: u64,
    /// Whether experts are stored as mxfp4, and known so well that what kernels make of them is counted instead.
    mxfp4: bool,
}

/// Bytes of what vLLM loads onto one device, and what is to be said.
pub(super) fn bytes(
    model: &ModelHeader,
    tensors: &[StoredTensor],
    settings: &Settings,
) -> (u64, Vec<String>) {
    let widths = model.shape.widths;
    let loading = Loading {
        settings,
        layers: model.shape.layers.len(),
        drafts: !model.shape.draft_layers.is_empty(),
        tied: model.shape.tied_embeddings == Some(true),
        kv_heads: model.shape.layers.iter().filter_map(kv_heads).min().unwrap_or(1).max(1),
        mxfp4: has_mxfp4(model) && widths.hidden > 0 && widths.experts > 0 && widths.expert_feed_forward > 0,
    };
    let mut loaded = HashMap::<Matrix<'_>, u64>::with_capacity(tensors.len() / 2);
    for tensor in tensors {
        let bytes = loaded.entry(Matrix(&tensor.name)).or_default();
        *bytes = bytes.saturating_add(loading.part(tensor));
    }
    let mut notes = Vec::new();
    if settings.devices > 1 {
        notes.push(
            "tensors are shared out by their names; quantised ones may be padded on each device".into(),
        );
    }
    let loaded = loaded.into_values().map(allocated).fold(0, u64::saturating_add);
    let layers =
        tensors.iter().filter(|tensor| loading.mxfp4 && tensor.name.ends_with("down_proj_blocks")).count();
    let experts = mxfp4::experts(widths, settings).saturating_mul(layers as u64);
    (loaded.saturating_add(experts), notes)
}

/// The matrix that a tensor of this name is loaded into: queries, keys and values become one, gate and up another, and those of
/// a layer's experts one each. Names that end up in one matrix are equal.
#[derive(Clone, Copy)]
struct Matrix<'a>(&'a str);

impl<'a> Matrix<'a> {
    fn parts(self) -> impl Iterator<Item = &'a str> {
        let mut in_experts = false;
        self.0.split('.').filter_map(move |part| {
            if std::mem::replace(&mut in_experts, part == "experts")
                && part.bytes().all(|byte| byte.is_ascii_digit())
            {
                return None;
            }
            Some(match part {
                "q_proj" | "k_proj" | "v_proj" => "qkv_proj",
                "gate_proj" | "up_proj" => "gate_up_proj",
                "w1" | "w3" => "w13",
                other => other,
            })
        })
    }
}

impl PartialEq for Matrix<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.parts().eq(other.parts())
    }
}

impl Eq for Matrix<'_> {}

impl Hash for Matrix<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().for_each(|part| part.hash(state));
    }
}

impl Loading<'_> {
    /// Bytes of a tensor on one device.
    fn part(&self, tensor: &StoredTensor) -> u64 {
        let devices = self.settings.devices;
        let size = self.loaded_size(tensor);
        match self.split(&tensor.name) {
            Split::Whole => size,
            Split::Devices => size.div_ceil(devices),
            Split::KvHeads => size.div_ceil(devices.min(self.kv_heads)),
            Split::Vocabulary => vocabulary_part(tensor, size, devices),
            Split::Unused => 0,
        }
    }

    /// How a tensor of this name is split.
    fn split(&self, name: &str) -> Split {
        let mut split = Split::Devices;
        let mut before = "";
        for part in name.split('.') {
            match part {
                // Layers that predict several tokens at once are loaded when they are to.
                "mtp" if self.settings.draft_tokens == 0 => return Split::Unused,
                _ if before == "layers" && self.is_unused_draft(part) => return Split::Unused,
                "inv_freq" => return Split::Unused,
                "lm_head" | "embed_out" if self.tied => return Split::Unused,
                "lm_head" | "embed_out" | "embed_tokens" | "word_embeddings" | "wte" | "tok_embeddings" => {
                    split = Split::Vocabulary;
                }
                // The towers of pictures and sounds have heads of their own.
                "visual" | "vision_tower" | "vision_model" | "audio_tower" => return Split::Devices,
                "experts" => return split,
                "k_proj" | "v_proj" => split = Split::KvHeads,
                // Routers, indexers and down-projections of latent attention are on every device.
                "gate" | "router" | "indexer" => return Split::Whole,
                _ if part.starts_with("kv_a_") || part.starts_with("q_a_") || part.contains("norm") => {
                    return Split::Whole;
                }
                // What is added after the devices' parts are summed up.
                "bias" if ["o_proj", "down_proj", "out_proj", "dense"].contains(&before) => {
                    return Split::Whole;
                }
                _ => {}
            }
            before = part;
        }
        split
    }

    fn is_unused_draft(&self, number: &str) -> bool {
        let drafts = self.drafts && self.settings.draft_tokens == 0;
        drafts && number.parse::<usize>().is_ok_and(|number| number >= self.layers)
    }

    /// A tensor's bytes once it is loaded: matrices of 32 bits become the model's 16; biases of mxfp4 experts may become 32. What
    /// their kernels make of the experts themselves is counted by the layer.
    fn loaded_size(&self, tensor: &StoredTensor) -> u64 {
        let size = tensor.size.bytes();
        let ends = |ending: &str| tensor.name.ends_with(ending);
        if tensor.kind == "F32" && tensor.dims.len() > 1 && ends(".weight") {
            return size / 2;
        }
        match self.mxfp4 {
            true if ends("_blocks") || ends("_scales") => 0,
            true if ends("_proj_bias") => (size / 2).saturating_mul(mxfp4::bias_bytes(self.settings)),
            _ => size,
        }
    }
}

/// A device's rows of a matrix whose rows are the vocabulary.
fn vocabulary_part(tensor: &StoredTensor, size: u64, devices: u64) -> u64 {
    let Some(&rows) = tensor.dims.first().filter(|&&rows| rows > 0 && tensor.dims.len() == 2) else {
        return size.div_ceil(devices);
    };
    let padded = rows.div_ceil(VOCABULARY_MULTIPLE).saturating_mul(VOCABULARY_MULTIPLE).div_ceil(devices);
    (size / rows).saturating_mul(padded)
}

#[cfg(test)]
mod tests {
    use super::super::super::release::Release;
    use super::*;

    fn split(name: &str, draft_tokens: u64) -> Split {
        let settings = Settings {
            release: Release::of(None),
            context: 16,
            sequences: 1,
            step_sequences: 1,
            step_tokens: 1,
            devices: 2,
            draft_tokens,
            cache_bytes: 2,
            state_bytes: 2,
            memory: None,
            utilization: 0.9,
        };
        let loading =
            Loading { settings: &settings, layers: 61, drafts: true, tied: false, kv_heads: 1, mxfp4: false };
        loading.split(name)
    }

    #[test]
    fn a_name_says_how_its_tensor_is_split() {
        let is = |name, expected| assert_eq!(split(name, 0), expected, "{name}");
        is("model.embed_tokens.weight", Split::Vocabulary);
        is("lm_head.weight", Split::Vocabulary);
        is("model.layers.3.self_attn.q_proj.weight", Split::Devices);
        is("model.layers.3.self_attn.k_proj.bias", Split::KvHeads);
        is("model.layers.3.self_attn.qkv_proj.weight", Split::Devices);
        is("model.layers.3.self_attn.o_proj.bias", Split::Whole);
        is("model.layers.3.self_attn.kv_a_proj_with_mqa.weight", Split::Whole);
        is("model.layers.3.self_attn.kv_b_proj.weight", Split::Devices);
        is("model.layers.3.self_attn.indexer.wq_b.weight", Split::Whole);
        is("model.layers.3.post_attention_layernorm.weight", Split::Whole);
        is("model.layers.3.mlp.gate.weight", Split::Whole);
        is("model.layers.3.mlp.gate_proj.weight", Split::Devices);
        is("model.layers.3.mlp.experts.7.down_proj.weight_scale_inv", Split::Devices);
        is("model.visual.blocks.70.attn.k_proj.weight", Split::Devices);
        is("model.layers.61.eh_proj.weight", Split::Unused);
        is("mtp.fc.weight", Split::Unused);
        assert_eq!(split("model.layers.61.eh_proj.weight", 1), Split::Devices);
    }

    #[test]
    fn names_of_one_matrix_are_equal() {
        assert!(Matrix("a.q_proj.weight") == Matrix("a.v_proj.weight"));
        assert!(Matrix("a.experts.1.up_proj.weight") == Matrix("a.experts.12.gate_proj.weight"));
        assert!(Matrix("layers.1.up_proj.weight") != Matrix("layers.12.up_proj.weight"));
        assert!(Matrix("a.q_proj.weight") != Matrix("a.q_proj.bias"));
    }
}
