//! Llama and those that differ from it in little: mistral, mixtral, qwen 2 and 3 (dense and of experts), granite.

use crate::ggml::TensorId;
use crate::llama_cpp::attention::{Extras, Inputs};
use crate::llama_cpp::builder::Builder;

/// What differs.
#[derive(Clone, Copy, Default)]
struct Variant {
    /// Rotations have frequencies of their own, where the file lists them.
    factors: bool,
    /// Queries and keys are normed.
    normed_heads: bool,
    /// Queries are scaled by their position.
    temperature: bool,
    /// Embeddings, residuals and logits are scaled.
    scales: Option<Scales>,
}

#[derive(Clone, Copy, Default)]
struct Scales {
    embeddings: bool,
    residuals: bool,
}

pub(super) fn llama(b: &mut Builder<'_>) {
    build(b, Variant { factors: true, ..Variant::default() });
}

pub(super) fn mistral3(b: &mut Builder<'_>) {
    let temperature = b.parts.keys.float("attention.temperature_scale", 0.0) != 0.0;
    build(b, Variant { factors: true, temperature, ..Variant::default() });
}

pub(super) fn qwen2(b: &mut Builder<'_>) {
    build(b, Variant::default());
}

pub(super) fn qwen3(b: &mut Builder<'_>) {
    build(b, Variant { normed_heads: true, ..Variant::default() });
}

pub(super) fn granite(b: &mut Builder<'_>) {
    let scales = Scales {
        embeddings: b.parts.keys.float("embedding_scale", 0.0) != 0.0,
        residuals: b.parts.keys.float("residual_scale", 0.0) != 0.0,
    };
    build(b, Variant { factors: true, scales: Some(scales), ..Variant::default() });
}

fn build(b: &mut Builder<'_>, variant: Variant) {
    let mut stream = b.embeddings();
    let scales = variant.scales.unwrap_or_default();
    if scales.embeddings {
        stream = b.graph.scale(stream);
        b.graph.expand(stream);
    }
    let positions = b.positions(1);
    let temperature = variant.temperature.then(|| {
        let tokens = b.tokens;
        b.graph.input(vramkit_models::gguf::TensorType::F32, [1, 1, tokens, 1])
    });
    let inputs = b.attention_inputs();
    let wanted = b.wanted_rows();
    for layer in 0..b.layers() {
        let normed = b.norm(layer, "attn_norm", stream);
        let attended = attention(b, layer, normed, positions, temperature, &inputs, variant);
        let (mut attended, residual) = b.keep_wanted(layer, wanted, attended, stream);
        if scales.residuals {
            attended = b.graph.scale(attended);
        }
        let joined = b.graph.add(attended, residual);
        let mut forward = feed_forward(b, layer, joined);
        if scales.residuals {
            forward = b.graph.scale(forward);
        }
        stream = b.graph.add(forward, joined);
    }
    b.finish(stream, |b, logits| {
        let logits = b.output_bias(logits);
        if variant.scales.is_some() { b.graph.scale(logits) } else { logits }
    });
}

fn attention(
    b: &mut Builder<'_>,
    layer: usize,
    a: TensorId,
    positions: TensorId,
    temperature: Option<TensorId>,
    inputs: &Inputs,
    variant: Variant,
) -> TensorId {
    let factors = if variant.factors { b.rope_factors(layer) } else { None };
    let mut heads = b.heads(layer, a);
    if variant.normed_heads {
        heads.q = b.norm(layer, "attn_q_norm", heads.q);
    }
    heads.q = b.graph.rope(heads.q, positions, factors);
    if variant.normed_heads {
        heads.k = b.norm(layer, "attn_k_norm", heads.k);
    }
    heads.k = b.graph.rope(heads.k, positions, factors);
    if let Some(temperature) = temperature {
        heads.q = b.graph.mul(heads.q, temperature);
    }
    b.attention(layer, inputs, heads, Extras::default())
}

fn feed_forward(b: &mut Builder<'_>, layer: usize, a: TensorId) -> TensorId {
    let normed = b.norm(layer, "ffn_norm", a);
    if b.weight(layer, "ffn_gate_inp.weight").is_none() {
        return b.swiglu(layer, normed);
    }
    let chosen = b.usual_experts(layer, normed);
    if b.weight(layer, "ffn_up_shexp.weight").is_none() {
        return chosen;
    }
    let shared = b.shared_experts(layer, normed);
    b.graph.add(chosen, shared)
}
