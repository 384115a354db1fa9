//! How wide a model is, and what its weights are stored as.
//!
//! In: the keys of a configuration and the layers that were read. Out: [`Widths`], types, what was left out. Never here: a guess: a
//! key that is there and holds no number that can be believed is an error; what is not there is not known, and 0.

use serde_json::Value;

use crate::error::ReadError;
use crate::shape::{Cache, Layer, Widths};

use super::families;
use super::fields::{Fields, HEAD, HEADS, HIDDEN};

/// Numbers inside a dense feed-forward block.
const FEED_FORWARD: &[&str] = &[
    "intermediate_size",
    "ffn_hidden_size",
    "d_ff",
    "ffn_dim",
    "decoder_ffn_dim",
    "n_inner",
    "block_ff_dim",
    "intermediate_size_mlp",
    "dense_intermediate_size",
];
/// Experts of a layer.
const EXPERTS: &[&str] = &["num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts"];
/// Numbers inside one expert.
const ONE_EXPERT: &[&str] = &["moe_intermediate_size", "expert_ffn_hidden_size"];
/// Experts that a token passes.
const EXPERTS_USED: &[&str] = &[
    "num_experts_per_tok",
    "num_experts_per_token",
    "moe_topk",
    "moe_top_k",
    "moe_k",
    "top_k_experts",
    "num_selected_experts",
];
/// Experts that every token passes.
const SHARED: &[&str] = &["n_shared_experts", "num_shared_experts", "moe_num_shared_experts"];
/// Numbers inside them, together.
const SHARED_TOGETHER: &[&str] = &[
    "shared_expert_intermediate_size",
    "shared_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "share_expert_dim",
];

/// How wide a model is.
///
/// # Errors
/// A key that holds no whole number that can be believed, or lists of fewer numbers than there are layers; a width of 0 where
/// there has to be one.
pub(super) fn widths(fields: &Fields<'_>, layers: &[Layer]) -> Result<Widths, ReadError> {
    let of = |names: &[&'static str]| fields.widest(names, layers.len());
    let inside = fields.inside("ffn_config")?;
    let within = |names: &[&'static str]| match &inside {
        Some(inside) => inside.widest(names, layers.len()),
        None => Ok(0),
    };
    let or = |first: u64, second: u64| if first > 0 { first } else { second };
    let hidden = fields.only(HIDDEN)?;
    let heads = or(of(HEADS)?, of(&["decoder_attention_heads", "num_query_heads"])?);
    let head = or(
        or(of(HEAD)?, layers.iter().find_map(key_width).unwrap_or(0)),
        hidden.checked_div(heads).unwrap_or(0),
    );
    let feed_forward = or(of(FEED_FORWARD)?, within(&["ffn_hidden_size"])?);
    let experts = or(of(EXPERTS)?, within(&["moe_num_experts"])?);
    let experts = if experts > 1 && !families::is_dense(fields.family()) { experts } else { 0 };
    let of_experts = |numbers: u64| if experts > 0 { numbers } else { 0 };
    let (one, together) = (of(ONE_EXPERT)?, of(SHARED_TOGETHER)?);
    let absent = match experts {
        0 if feed_forward == 0 && together == 0 => fields.zero_among(FEED_FORWARD),
        0 => None,
        _ => fields.zero_among(ONE_EXPERT),
    };
    if let Some(key) = absent {
        return Err(fields.zero(key));
    }
    let one = or(one, feed_forward);
    let shared = or(together, of(SHARED)?.saturating_mul(one));
    Ok(Widths {
        hidden,
        vocabulary: fields.only(&["vocab_size", "padded_vocab_size", "n_vocab"])?,
        heads,
        head,
        feed_forward,
        experts,
        experts_used: of_experts(or(of(EXPERTS_USED)?, within(&["moe_top_k"])?)),
        expert_feed_forward: of_experts(one),
        shared_feed_forward: of_experts(shared),
    })
}

/// What is said of experts that are not counted.
pub(super) fn experts_note(fields: &Fields<'_>, widths: &Widths) -> Option<String> {
    if widths.experts > 0 {
        return None;
    }
    let family = fields.family();
    let is_dense = families::is_dense(family);
    let given = |key: &&&str| fields.object().get(**key).and_then(Value::as_f64);
    let key = match is_dense {
        true => EXPERTS.iter().find(|key| given(key).is_some_and(|experts| experts > 1.0))?,
        false if families::has_default(family, EXPERTS) => {
            EXPERTS.iter().find(|key| given(key) == Some(0.0))?
        }
        false => return None,
    };
    let place = fields.place(key);
    Some(match is_dense {
        true => format!(
            "{place} is no key of the family {family}, whose layers are dense; its experts are not counted"
        ),
        false => format!("{place} is 0, so its layers are counted as dense"),
    })
}

/// Numbers of a key, of a layer that keeps any.
fn key_width(layer: &Layer) -> Option<u64> {
    match layer.cache {
        Cache::Full(heads) | Cache::Window { heads, .. } | Cache::Cross { heads, .. } => Some(heads.key),
        _ => None,
    }
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
