//! How wide a model is, and what its weights are stored as.
//!
//! In: the keys of a configuration and the layers that were read. Out: [`Widths`], types. Never here: an error: what is not
//! there, or no number, is not known, and 0.

use serde_json::Value;

use crate::shape::{Cache, Layer, Widths};

use super::fields::{Fields, HEAD, HEADS, HIDDEN};

/// How wide a model is.
pub(super) fn widths(fields: &Fields<'_>, layers: &[Layer]) -> Widths {
    let of = |names: &[&'static str]| fields.widest(names);
    let inside = fields.inside("ffn_config").ok().flatten();
    let within = |names: &[&'static str]| inside.as_ref().map_or(0, |inside| inside.widest(names));
    let or = |first: u64, second: u64| if first > 0 { first } else { second };
    let hidden = of(HIDDEN);
    let heads = or(of(HEADS), of(&["decoder_attention_heads", "num_query_heads"]));
    let head = or(
        or(of(HEAD), layers.iter().find_map(key_width).unwrap_or(0)),
        hidden.checked_div(heads).unwrap_or(0),
    );
    let feed_forward = or(
        of(&[
            "intermediate_size",
            "ffn_hidden_size",
            "d_ff",
            "ffn_dim",
            "decoder_ffn_dim",
            "n_inner",
            "block_ff_dim",
            "intermediate_size_mlp",
            "dense_intermediate_size",
        ]),
        within(&["ffn_hidden_size"]),
    );
    let experts = or(
        of(&["num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts"]),
        within(&["moe_num_experts"]),
    );
    let experts = if experts > 1 { experts } else { 0 };
    let of_experts = |numbers: u64| if experts > 0 { numbers } else { 0 };
    let one = or(of(&["moe_intermediate_size", "expert_ffn_hidden_size"]), feed_forward);
    let shared =
        of(&["n_shared_experts", "num_shared_experts", "moe_num_shared_experts"]).saturating_mul(one);
    let shared = or(
        of(&[
            "shared_expert_intermediate_size",
            "shared_intermediate_size",
            "moe_shared_expert_intermediate_size",
            "share_expert_dim",
        ]),
        shared,
    );
    Widths {
        hidden,
        vocabulary: of(&["vocab_size", "padded_vocab_size", "n_vocab"]),
        heads,
        head,
        feed_forward,
        experts,
        experts_used: of_experts(or(
            of(&[
                "num_experts_per_tok",
                "num_experts_per_token",
                "moe_topk",
                "moe_top_k",
                "moe_k",
                "top_k_experts",
                "num_selected_experts",
            ]),
            within(&["moe_top_k"]),
        )),
        expert_feed_forward: of_experts(one),
        shared_feed_forward: of_experts(shared),
    }
}

/// Numbers of a key, of a layer that keeps any.
fn key_width(layer: &Layer) -> Option<u64> {
    match layer.cache {
        Cache::Full(heads) | Cache::Window { heads, .. } | Cache::Cross { heads, .. } => Some(heads.key),
        _ => None,
    }
}

/// Most tokens that it was trained for.
pub(super) fn trained_context(fields: &Fields<'_>) -> Option<u64> {
    let names = [
        "max_position_embeddings",
        "n_positions",
        "max_seq_len",
        "model_max_length",
        "seq_length",
        "max_sequence_length",
        "max_context_length",
        "context_length",
        "n_ctx",
        "max_target_positions",
    ];
    Some(fields.widest(&names)).filter(|&tokens| tokens > 0)
}

/// What weights are computed in and how they are quantised: `bfloat16, fp8`. The text model's own words count before the whole's.
pub(super) fn weights_type(text: &Fields<'_>, whole: &serde_json::Map<String, Value>) -> Option<String> {
    let get = |keys: &[&str]| {
        [text.object(), whole]
            .into_iter()
            .find_map(|object| keys.iter().find_map(|&key| object.get(key).filter(|value| !value.is_null())))
    };
    let mut words = Vec::new();
    if let Some(computed) = get(&["dtype", "torch_dtype"]).and_then(Value::as_str) {
        words.push(computed.trim_start_matches("torch.").to_owned());
    }
    if let Some(quantised) = get(&["quantization_config", "compression_config"]) {
        let method = quantised.get("quant_method").and_then(Value::as_str).unwrap_or("quantised");
        let algorithm = quantised.get("quant_algo").and_then(Value::as_str);
        words.push(algorithm.map_or_else(|| method.to_owned(), |algorithm| format!("{method} {algorithm}")));
    }
    (!words.is_empty()).then(|| words.join(", "))
}
