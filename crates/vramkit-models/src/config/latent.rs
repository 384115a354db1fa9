//! Latent attention: one compressed vector of every token, and perhaps the keys of an indexer.
//!
//! In: the keys of a configuration. Out: a layer for each.

use crate::error::ReadError;
use crate::shape::{Cache, Heads, Layer};

use super::attention;
use super::fields::{Fields, KV_HEADS};

type Layers = Result<Vec<Layer>, ReadError>;

/// The vector of a layer. `None` where the configuration switches latent attention off.
pub(super) fn vector(fields: &Fields<'_>) -> Result<Option<Cache>, ReadError> {
    // Asked for so that they count as understood: they shape queries and values, which are not kept.
    fields.understand(&["v_head_dim", "qk_nope_head_dim", "q_lora_rank", "num_key_value_heads"]);
    let off = fields.flag("use_mla")? == Some(false);
    let rank = fields.number("kv_lora_rank")?.filter(|&rank| rank > 0 && !off);
    let Some(latent) = rank else {
        let given = off || fields.object().contains_key("kv_lora_rank");
        return if given { Ok(None) } else { Err(fields.missing("kv_lora_rank")) };
    };
    let rope = fields.need("qk_rope_head_dim")?;
    let indexer = fields.number("index_head_dim")?.unwrap_or(0);
    fields.understand(&["index_n_heads", "index_topk"]);
    Ok(Some(Cache::Latent { latent, rope, indexer }))
}

/// A latent vector in every layer; keys and values of whole heads where it is switched off.
pub(super) fn latent(fields: &Fields<'_>) -> Layers {
    let layers = fields.layers()?;
    fields.heads()?;
    fields.hidden()?;
    match vector(fields)? {
        Some(cache) => indexed(fields, vec![Layer::keeping(cache); layers]),
        None => Ok(attention::all(layers, whole_heads(fields)?)),
    }
}

/// Heads as wide as their part of the hidden width; a `head_dim` beside means the part that carries positions.
fn whole_heads(fields: &Fields<'_>) -> Result<Heads, ReadError> {
    let queries = fields.heads()?;
    let kv_heads = fields.any_of(KV_HEADS)?.unwrap_or(queries);
    attention::grouped(fields, queries, kv_heads, attention::part(fields, fields.hidden()?, queries)?)
}

/// Which layers have an indexer of their own: all, or as the configuration says (`S` and `shared` take the tokens that an
/// earlier layer chose).
fn indexed(fields: &Fields<'_>, mut layers: Vec<Layer>) -> Layers {
    let count = layers.len();
    if let Some(types) = fields.texts("layer_types")? {
        fields.as_many("layer_types", types.len(), count)?;
        for kind in types {
            if !["indexed_attention", "deepseek_sparse_attention", "full_attention"].contains(&kind) {
                return Err(attention::unknown_type(fields, kind));
            }
        }
    }
    let own: Option<Vec<bool>> =
        match (fields.texts("indexer_types")?, fields.object().get("index_topk_pattern")) {
            (Some(types), _) => Some(types.iter().map(|kind| *kind != "shared").collect()),
            (None, Some(serde_json::Value::String(letters))) => {
                Some(letters.bytes().map(|letter| letter != b'S').collect())
            }
            _ => match (fields.number("index_topk_freq")?, fields.number("index_skip_topk_offset")?) {
                (Some(every), offset) if every > 1 => {
                    let after = |i: usize| (i as u64 + 1).saturating_sub(offset.unwrap_or(2));
                    Some((0..count).map(|i| after(i).is_multiple_of(every)).collect())
                }
                // The family's code takes the first and then every fourth.
                _ if fields.family().starts_with("hy_v4") => {
                    Some((0..count).map(|i| i == 0 || i % 4 == 1).collect())
                }
                _ => None,
            },
        };
    fields.understand(&["index_topk_pattern"]);
    let Some(own) = own else { return Ok(layers) };
    fields.as_many("indexer_types", own.len(), count)?;
    for (layer, own) in layers.iter_mut().zip(own) {
        if let (Cache::Latent { indexer, .. }, false) = (&mut layer.cache, own) {
            *indexer = 0;
        }
    }
    Ok(layers)
}

/// Two latent attentions in each layer, which count as two layers.
pub(super) fn longcat(fields: &Fields<'_>) -> Layers {
    let layers = fields.layer_count(&["num_layers"])?;
    fields.heads()?;
    fields.hidden()?;
    match vector(fields)? {
        Some(cache) => Ok(vec![Layer::keeping(cache); layers.saturating_mul(2)]),
        None => Err(fields.missing("kv_lora_rank")),
    }
}
