//! GLM 4: norms behind attention and feed-forward, too.

use crate::llama_cpp::attention::Extras;
use crate::llama_cpp::builder::Builder;

pub(super) fn glm4(b: &mut Builder<'_>) {
    let mut stream = b.embeddings();
    // Four positions a token where pictures are understood.
    let sections = b.parts.keys.each("rope.dimension_sections", 1, 0).unwrap_or_default();
    let positions = b.positions(if sections.first().is_some_and(|&first| first > 0) { 4 } else { 1 });
    let inputs = b.attention_inputs();
    let wanted = b.wanted_rows();
    for layer in 0..b.layers() {
        let normed = b.norm(layer, "attn_norm", stream);
        let mut heads = b.heads(layer, normed);
        heads.q = b.graph.rope(heads.q, positions, None);
        heads.k = b.graph.rope(heads.k, positions, None);
        let attended = b.attention(layer, &inputs, heads, Extras::default());
        let (attended, residual) = b.keep_wanted(layer, wanted, attended, stream);
        let attended = b.norm(layer, "post_attention_norm", attended);
        let joined = b.graph.add(attended, residual);
        let normed = b.norm(layer, "ffn_norm", joined);
        let forward = b.fused_feed_forward(layer, normed);
        let forward = b.norm(layer, "post_ffw_norm", forward);
        stream = b.graph.add(forward, joined);
    }
    b.finish(stream, |_, logits| logits);
}
