//! gpt-oss: layers with a window, sinks, experts with biases.

use crate::error::FitError;
use crate::ggml::Glu;
use crate::llama_cpp::attention::Extras;
use crate::llama_cpp::builder::Builder;
use crate::llama_cpp::experts::{Experts, Gating};
use crate::llama_cpp::hyper::{Hyper, Keys};

/// Every second layer looks back a window.
pub(super) fn windows(keys: Keys<'_>, hyper: &mut Hyper) -> Result<(), FitError> {
    hyper.window = keys.needed("attention.sliding_window")?;
    keys.window_layers(hyper, 2)
}

pub(super) fn gpt_oss(b: &mut Builder<'_>) {
    let mut stream = b.embeddings();
    let positions = b.positions(1);
    let inputs = b.window_inputs();
    let wanted = b.wanted_rows();
    let how = Experts {
        glu: Glu::SwiOai,
        gating: Gating::SoftMaxOfChosen,
        normalised: false,
        scaled: b.scales_experts(),
    };
    for layer in 0..b.layers() {
        let normed = b.norm(layer, "attn_norm", stream);
        let mut heads = b.heads(layer, normed);
        heads.q = b.graph.rope(heads.q, positions, None);
        heads.k = b.graph.rope(heads.k, positions, None);
        let sinks = b.weight(layer, "attn_sinks.weight");
        let attended = b.window_attention(layer, &inputs, heads, Extras { sinks, ..Extras::default() });
        let (attended, residual) = b.keep_wanted_early(layer, wanted, attended, stream);
        let joined = b.graph.add(attended, residual);
        let normed = b.norm(layer, "post_attention_norm", joined);
        let forward = b.experts(layer, normed, how);
        stream = b.graph.add(forward, joined);
    }
    b.graph.get_mut(stream).output = true;
    let rows = b.keep_wanted_late(wanted, stream);
    b.finish(rows, |_, logits| logits);
}
