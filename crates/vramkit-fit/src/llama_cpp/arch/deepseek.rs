//! DeepSeek 2 and 3: latent attention, kept as one vector a token or unfolded; shared and routed experts.

use crate::error::FitError;
use crate::ggml::{Glu, TensorId};
use crate::llama_cpp::attention::{Extras, Heads, Inputs};
use crate::llama_cpp::builder::Builder;
use crate::llama_cpp::cache::Keeping;
use crate::llama_cpp::experts::{Experts, Gating};
use crate::llama_cpp::hyper::{Hyper, Keys};

/// Sizes of a latent attention.
#[derive(Clone, Copy)]
struct Latent {
    rank: u64,
    rope: u64,
    key: u64,
    value: u64,
}

/// Whether the vector is kept as it is: files of before that was possible have no sizes for it.
fn is_folded(keys: Keys<'_>) -> Result<bool, FitError> {
    let key = keys.number("attention.key_length_mla", 0)?;
    Ok(key != 0 && keys.number("attention.value_length_mla", 0)? != 0)
}

/// One vector, or keys and values.
pub(super) fn keeping(keys: Keys<'_>, hyper: &Hyper) -> Result<Keeping, FitError> {
    let rank = keys.needed("attention.kv_lora_rank")?;
    let rope = keys.number("rope.dimension_count", 0)?;
    let layer = hyper.layers.first().copied().unwrap_or_default();
    if rank == 0 || rope == 0 {
        return Err(keys.wrong("a latent vector without numbers"));
    }
    if is_folded(keys)? {
        if layer.key != rank + rope || layer.kv_heads != 1 {
            return Err(keys.wrong(format!(
                "{} KV heads of {} numbers, and a latent vector of {rank} with {rope} for positions",
                layer.kv_heads, layer.key
            )));
        }
        return Ok(Keeping { latent: Some(rank + rope), ..Keeping::default() });
    }
    if layer.key <= rope {
        return Err(keys.wrong(format!("heads of {} numbers, {rope} of them for positions", layer.key)));
    }
    Ok(Keeping::default())
}

pub(super) fn deepseek2(b: &mut Builder<'_>) {
    let keys = b.parts.keys;
    let number = |key: &str| keys.number(key, 0).unwrap_or(0);
    let folded = is_folded(keys).unwrap_or(false);
    let shape = b.parts.hyper.layers[0];
    let latent = Latent {
        rank: number("attention.kv_lora_rank"),
        rope: number("rope.dimension_count"),
        key: if folded { number("attention.key_length_mla") } else { shape.key },
        value: if folded { number("attention.value_length_mla") } else { shape.value },
    };
    b.graph.check(latent.key > latent.rope, || {
        format!("heads of {} numbers, {} of them for positions", latent.key, latent.rope)
    });
    let dense = number("leading_dense_block_count");
    let gating = match number("expert_gating_func") {
        2 => Gating::Sigmoid,
        3 => Gating::SoftMaxOfChosen,
        _ => Gating::SoftMax,
    };
    let how = Experts {
        glu: Glu::Swi,
        gating,
        normalised: keys.flag("expert_weights_norm", false),
        scaled: b.scales_experts(),
    };
    let mut stream = b.embeddings();
    let positions = b.positions(1);
    let inputs = b.attention_inputs();
    let wanted = b.wanted_rows();
    for layer in 0..b.layers() {
        let normed = b.norm(layer, "attn_norm", stream);
        let attended = attention(b, layer, &inputs, positions, normed, latent, folded);
        let (attended, residual) = b.keep_wanted(layer, wanted, attended, stream);
        let joined = b.graph.add(attended, residual);
        let normed = b.norm(layer, "ffn_norm", joined);
        let forward = if (layer as u64) < dense {
            b.swiglu(layer, normed)
        } else {
            let chosen = b.experts(layer, normed, how);
            let shared = b.shared_experts(layer, normed);
            b.graph.add(chosen, shared)
        };
        stream = b.graph.add(forward, joined);
    }
    b.finish(stream, |_, logits| logits);
}

fn attention(
    b: &mut Builder<'_>,
    layer: usize,
    inputs: &Inputs,
    positions: TensorId,
    a: TensorId,
    latent: Latent,
    folded: bool,
) -> TensorId {
    let (tokens, heads) = (b.tokens, b.parts.hyper.layers[layer].heads);
    let plain = latent.key.saturating_sub(latent.rope);
    let q = if b.weight(layer, "attn_q.weight").is_some() {
        b.mul(layer, "attn_q", a)
    } else {
        let low = b.mul(layer, "attn_q_a", a);
        let low = b.norm(layer, "attn_q_a_norm", low);
        b.mul(layer, "attn_q_b", low)
    };
    let q = b.graph.reshape(q, [latent.key, heads, tokens, 1]);
    let both = b.mul(layer, "attn_kv_a_mqa", a);
    let row = 4 * (latent.rank + latent.rope);
    let vector = b.graph.view_2d(both, latent.rank, tokens, row);
    let k_rope = b.graph.view(both, [latent.rope, 1, tokens, 1], [4, row, row, row * tokens]);
    let k_rope = b.graph.rope(k_rope, positions, None);
    let vector = b.norm(layer, "attn_kv_a_norm", vector);
    if !folded {
        let unfolded = b.mul(layer, "attn_kv_b", vector);
        let each = 4 * (plain + latent.value);
        let strides = [4, each, each * heads, each * heads * tokens];
        let k_plain = b.graph.view(unfolded, [plain, heads, tokens, 1], strides);
        let v = b.graph.view(unfolded, [latent.value, heads, tokens, 1], strides);
        let v = b.graph.cont(v);
        let q = b.graph.rope(q, positions, None);
        let repeated = b.graph.repeat(k_rope, [latent.rope, heads, tokens, 1]);
        let k = b.graph.concat(k_plain, repeated, 0);
        return b.attention(layer, inputs, Heads { q, k, v }, Extras::default());
    }
    let nb = b.graph.get(q).nb;
    let q_plain = b.graph.view(q, [plain, heads, tokens, 1], nb);
    let q_rope = b.graph.view(q, [latent.rope, heads, tokens, 1], nb);
    let q_rope = b.graph.rope(q_rope, positions, None);
    let q_plain = b.graph.permute(q_plain, [0, 2, 1, 3]);
    let fold = b.needed(layer, "attn_k_b.weight");
    let absorbed = b.graph.mul_mat(fold, q_plain);
    let absorbed = b.graph.permute(absorbed, [0, 2, 1, 3]);
    let q = b.graph.concat(absorbed, q_rope, 0);
    let v = b.graph.reshape(vector, [latent.rank, 1, tokens, 1]);
    let k = b.graph.concat(v, k_rope, 0);
    let unfold = b.needed(layer, "attn_v_b.weight");
    let extras = Extras { unfold: Some(unfold), ..Extras::default() };
    b.latent_attention(layer, inputs, Heads { q, k, v }, extras)
}
