//! What a family's reader did not understand.
//!
//! In: the keys that it never asked for. Out: an error that names the first one that may change what is kept, or nothing. Never
//! here: a guess at what such a key means.

use serde_json::Value;

use crate::error::ReadError;

use super::fields::Fields;

/// Words of keys that say something about what is kept.
const WORDS: &[&str] = &[
    "sliding",
    "window",
    "swa_",
    "_swa",
    "hybrid",
    "mamba",
    "ssm",
    "kv_lora",
    "use_mla",
    "kv_shar",
    "shared_kv",
    "share_kv",
    "kv_source",
    "kv_reuse",
    "use_cla",
    "cla_share",
    "yoco",
    "layer_types",
    "block_type",
    "layers_type",
    "attn_type",
    "attention_type",
    "attn_layer",
    "attention_layers",
    "compress",
    "chunk",
    "cross_attention",
    "index_head",
    "indexer",
    "linear_attn",
    "linear_key",
    "linear_value",
    "linear_num",
    "linear_conv",
    "full_attn",
    "full_attention",
    "recurrent",
    "retention",
    "conv_kernel",
    "conv_l",
    "d_conv",
    "d_state",
    "state_size",
    "lru_",
    "block_config",
    "per_layer",
    "_per_layer",
    "attention_other",
    "global_head",
    "num_global",
    "v_head_dim",
    "multi_query",
    "encoder_decoder",
    "kv_n_heads",
    "num_query_groups",
];

/// Keys with such a word that say nothing about it: layers of feed-forward blocks, how something is computed, sizes without the
/// switch that brings them in.
const HARMLESS: &[&str] = &[
    "chunk_size_feed_forward",
    "max_window_layers",
    "mlp_layer_types",
    "cross_attention_hidden_size",
    "hidden_size_per_layer_input",
    "indexer_rope_interleave",
    "vocab_size_per_layer_input",
    "window_layers",
    "layer_types_mlp",
];

/// Fails at a key that the reader did not understand and that may change what is kept, and at types of fewer layers than there are.
pub(super) fn check(fields: &Fields<'_>, layers: usize) -> Result<(), ReadError> {
    let off = fields.object().get("use_sliding_window") == Some(&Value::Bool(false));
    for (key, value) in fields.unasked() {
        // Of as many layers or more: those of drafting layers may follow.
        if let ("layer_types", Value::Array(types)) = (key, value)
            && types.len() < layers
        {
            fields.as_many(key, types.len(), layers)?;
        }
        let lower = key.to_lowercase();
        let says = WORDS.iter().any(|word| lower.contains(word));
        // Gemma 2 says its window twice.
        let again = key == "sliding_window_size" && fields.object().get("sliding_window") == Some(value);
        let harmless = again
            || HARMLESS.contains(&key)
            || (off && (lower.contains("sliding") || lower.contains("window")));
        if says && !harmless && is_active(value) {
            return Err(fields.wrong(format!(
                "{} may change what a layer keeps, and what it means in the family {} is not known",
                fields.place(key),
                fields.family()
            )));
        }
    }
    Ok(())
}

/// Whether a value says anything: not null, false, 0, empty, or the same as without it.
fn is_active(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => {
            !["", "full_attention", "attention", "none", "default"].contains(&text.as_str())
        }
        Value::Array(list) => list.iter().any(|entry| match entry {
            // Attention of every token in every layer, as lists say it.
            Value::String(kind) => kind != "full_attention" && kind != "attention",
            Value::Number(kind) => kind.as_u64() != Some(1),
            _ => true,
        }),
        Value::Object(object) => !object.is_empty(),
    }
}
