//! Stored tensors, divided as vLLM divides them.
//!
//! In: tensors by name. Out: bytes on one device. Never here: a guess at a tensor that is not stored.
//!
//! A checkpoint of experts has tens of thousands of tensors, and a question is asked many times with other options: names are
//! looked at once, in their parts between dots, and [`Stored`] keeps what of them matters under any options.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use vramkit_models::header::{ModelHeader, StoredTensor};
use vramkit_models::shape::Widths;

use super::super::settings::{Settings, kv_heads};
use super::agreement::{Agreement, agreement};
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

/// A tensor without its name.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// Which of the matrices it is loaded into.
    matrix: usize,
    split: Split,
    /// Whether it is loaded when the model's own layers draft alone.
    drafts: bool,
    /// Bytes once it is loaded; of a bias that kernels may widen, its numbers.
    size: u64,
    widened: bool,
    /// Rows of a matrix; 0 of anything else.
    rows: u64,
}

/// What of stored tensors matters for their size under any options.
#[derive(Debug)]
pub(crate) struct Stored {
    parts: Vec<Part>,
    matrices: usize,
    kv_heads: u64,
    widths: Widths,
    /// Layers with experts that are counted as their kernels lay them out.
    mxfp4_layers: u64,
    /// Whether all have 16 or 32 bits a number.
    pub plain: bool,
    /// Whether there is a tower for pictures or sounds.
    pub multimodal: bool,
    /// How they agree with the configuration.
    pub agreement: Agreement,
}

/// What is asked of each tensor's name about its model.
struct Loading {
    /// Layers that every token passes; those after them draft.
    layers: usize,
    /// Whether there are layers that draft.
    drafts: bool,
    tied: bool,
    /// Whether experts are stored as mxfp4, and known so well that what kernels make of them is counted instead.
    mxfp4: bool,
}

impl Stored {
    /// Looks at a model's tensors; `None` where it has none stored.
    pub(crate) fn of(model: &ModelHeader) -> Option<Self> {
        let tensors = model.tensors.as_deref()?;
        let (shape, widths) = (&model.shape, model.shape.widths);
        let loading = Loading {
            layers: shape.layers.len(),
            drafts: !shape.draft_layers.is_empty(),
            tied: shape.tied_embeddings == Some(true),
            mxfp4: has_mxfp4(model)
                && widths.hidden > 0
                && widths.experts > 0
                && widths.expert_feed_forward > 0,
        };
        let mut matrices = HashMap::<Matrix<'_>, usize>::with_capacity(tensors.len() / 2);
        let mut parts = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let next = matrices.len();
            let matrix = *matrices.entry(Matrix(&tensor.name)).or_insert(next);
            parts.push(loading.part(tensor, matrix));
        }
        let experts = |tensor: &&StoredTensor| loading.mxfp4 && tensor.name.ends_with("down_proj_blocks");
        let tower = |part: &str| part.starts_with("vis") || part.starts_with("audio");
        Some(Self {
            parts,
            matrices: matrices.len(),
            kv_heads: shape.layers.iter().filter_map(kv_heads).min().unwrap_or(1).max(1),
            widths,
            mxfp4_layers: tensors.iter().filter(experts).count() as u64,
            plain: tensors.iter().all(|tensor| matches!(tensor.kind, "BF16" | "F16" | "F32")),
            multimodal: tensors.iter().any(|tensor| tensor.name.split('.').take(2).any(tower)),
            agreement: agreement(model, tensors),
        })
    }

    /// Bytes of what vLLM loads onto one device, and what is to be said.
    pub(in crate::vllm) fn bytes(&self, settings: &Settings) -> (u64, Vec<String>) {
        let mut loaded = vec![0_u64; self.matrices];
        for part in &self.parts {
            if let Some(bytes) = loaded.get_mut(part.matrix) {
                *bytes = bytes.saturating_add(self.part(part, settings));
            }
        }
        let mut notes = Vec::new();
        if settings.devices > 1 {
            notes.push(
                "tensors are shared out by their names; quantised ones may be padded on each device".into(),
            );
        }
        let loaded = loaded.into_iter().map(allocated).fold(0, u64::saturating_add);
        let experts = mxfp4::experts(self.widths, settings).saturating_mul(self.mxfp4_layers);
        (loaded.saturating_add(experts), notes)
    }

    /// Bytes of a tensor on one device.
    fn part(&self, part: &Part, settings: &Settings) -> u64 {
        if part.drafts && settings.draft_tokens == 0 {
            return 0;
        }
        let devices = settings.devices;
        let size = match part.widened {
            true => part.size.saturating_mul(mxfp4::bias_bytes(settings)),
            false => part.size,
        };
        match part.split {
            Split::Whole => size,
            Split::Vocabulary if part.rows > 0 => {
                let padded = part.rows.div_ceil(VOCABULARY_MULTIPLE).saturating_mul(VOCABULARY_MULTIPLE);
                (size / part.rows).saturating_mul(padded.div_ceil(devices))
            }
            Split::Devices | Split::Vocabulary => size.div_ceil(devices),
            Split::KvHeads => size.div_ceil(devices.min(self.kv_heads)),
            Split::Unused => 0,
        }
    }
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

impl Loading {
    /// What matters of a tensor that is loaded into this matrix.
    fn part(&self, tensor: &StoredTensor, matrix: usize) -> Part {
        let (split, drafts) = self.split(&tensor.name);
        let (size, widened) = self.loaded(tensor);
        let rows = tensor.dims.first().filter(|_| tensor.dims.len() == 2).copied().unwrap_or(0);
        Part { matrix, split, drafts, size, widened, rows }
    }

    /// How a tensor of this name is split, and whether it is one of the layers that predict several tokens at once, which are
    /// loaded when they are to.
    fn split(&self, name: &str) -> (Split, bool) {
        let (mut split, mut drafts) = (Split::Devices, false);
        let mut before = "";
        for part in name.split('.') {
            match part {
                "mtp" => drafts = true,
                _ if before == "layers" && self.is_draft(part) => drafts = true,
                "inv_freq" => return (Split::Unused, drafts),
                "lm_head" | "embed_out" if self.tied => return (Split::Unused, drafts),
                "lm_head" | "embed_out" | "embed_tokens" | "word_embeddings" | "wte" | "tok_embeddings" => {
                    split = Split::Vocabulary;
                }
                // The towers of pictures and sounds have heads of their own.
                "visual" | "vision_tower" | "vision_model" | "audio_tower" => {
                    return (Split::Devices, drafts);
                }
                "experts" => return (split, drafts),
                "k_proj" | "v_proj" => split = Split::KvHeads,
                // Routers, indexers and down-projections of latent attention are on every device.
                "gate" | "router" | "indexer" => return (Split::Whole, drafts),
                _ if part.starts_with("kv_a_") || part.starts_with("q_a_") || part.contains("norm") => {
                    return (Split::Whole, drafts);
                }
                // What is added after the devices' parts are summed up.
                "bias" if ["o_proj", "down_proj", "out_proj", "dense"].contains(&before) => {
                    return (Split::Whole, drafts);
                }
                _ => {}
            }
            before = part;
        }
        (split, drafts)
    }

    fn is_draft(&self, number: &str) -> bool {
        self.drafts && number.parse::<usize>().is_ok_and(|number| number >= self.layers)
    }

    /// A tensor's bytes once it is loaded: matrices of 32 bits become the model's 16. Biases of mxfp4 experts may become 32: of
    /// them the numbers. What their kernels make of the experts themselves is counted by the layer.
    fn loaded(&self, tensor: &StoredTensor) -> (u64, bool) {
        let size = tensor.size.bytes();
        let ends = |ending: &str| tensor.name.ends_with(ending);
        if tensor.kind == "F32" && tensor.dims.len() > 1 && ends(".weight") {
            return (size / 2, false);
        }
        match self.mxfp4 {
            true if ends("_blocks") || ends("_scales") => (0, false),
            true if ends("_proj_bias") => (size / 2, true),
            _ => (size, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(name: &str) -> (Split, bool) {
        Loading { layers: 61, drafts: true, tied: false, mxfp4: false }.split(name)
    }

    #[test]
    fn a_name_says_how_its_tensor_is_split() {
        let is = |name, expected| assert_eq!(split(name), (expected, false), "{name}");
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
        assert_eq!(split("model.layers.61.eh_proj.weight"), (Split::Devices, true));
        assert_eq!(split("mtp.fc.weight"), (Split::Devices, true));
    }

    #[test]
    fn names_of_one_matrix_are_equal() {
        assert!(Matrix("a.q_proj.weight") == Matrix("a.v_proj.weight"));
        assert!(Matrix("a.experts.1.up_proj.weight") == Matrix("a.experts.12.gate_proj.weight"));
        assert!(Matrix("layers.1.up_proj.weight") != Matrix("layers.12.up_proj.weight"));
        assert!(Matrix("a.q_proj.weight") != Matrix("a.q_proj.bias"));
    }
}
