//! Phi 3 and 4: one matrix for queries, keys and values, one for gate and value.

use crate::ggml::Glu;
use crate::llama_cpp::attention::Extras;
use crate::llama_cpp::builder::Builder;
use crate::llama_cpp::experts::{Experts, Gating};

pub(super) fn phi3(b: &mut Builder<'_>) {
    let mut stream = b.embeddings();
    let positions = b.positions(1);
    let inputs = b.attention_inputs();
    let wanted = b.wanted_rows();
    for layer in 0..b.layers() {
        let factors = b.rope_factors(layer);
        let normed = b.norm(layer, "attn_norm", stream);
        let mut heads = b.heads(layer, normed);
        heads.q = b.graph.rope(heads.q, positions, factors);
        heads.k = b.graph.rope(heads.k, positions, factors);
        heads.q = b.graph.scale(heads.q);
        let attended = b.attention(layer, &inputs, heads, Extras::default());
        let (attended, residual) = b.keep_wanted(layer, wanted, attended, stream);
        let joined = b.graph.add(attended, residual);
        let normed = b.norm(layer, "ffn_norm", joined);
        let forward = if b.weight(layer, "ffn_gate_inp.weight").is_none() {
            b.fused_feed_forward(layer, normed)
        } else {
            let how = Experts { glu: Glu::Swi, gating: Gating::SoftMax, normalised: true, scaled: false };
            b.experts(layer, normed, how)
        };
        stream = b.graph.add(joined, forward);
    }
    b.finish(stream, Builder::output_bias);
}
