//! Families that say their heads in words of their own.
//!
//! In: the keys of a configuration. Out: a layer for each.

use serde_json::Value;

use crate::error::ReadError;
use crate::shape::{Cache, Heads, Layer};

use super::attention::{all, grouped, heads, part};
use super::fields::{Fields, HEAD, KV_HEADS, MOST_LAYERS};

type Layers = Result<Vec<Layer>, ReadError>;

/// So many layers whose heads are a part of the hidden width each.
fn with_kv_heads(fields: &Fields<'_>, kv_heads: u64) -> Layers {
    let queries = fields.heads()?;
    let head = match fields.any_of(HEAD)? {
        Some(head) => head,
        None => part(fields, fields.hidden()?, queries)?,
    };
    Ok(all(fields.layers()?, grouped(fields, queries, kv_heads, head)?))
}

/// Falcon: one KV head for all queries unless it is of the new architecture or says otherwise.
pub(super) fn falcon(fields: &Fields<'_>) -> Layers {
    let queries = fields.heads()?;
    let given = fields.any_of(KV_HEADS)?;
    // Before the family had its name, the one with groups was called RefinedWeb and the one without RefinedWebModel.
    let newer = fields.flag("new_decoder_architecture")?.unwrap_or(fields.family() == "RefinedWeb");
    let multi_query = fields.flag("multi_query")?.unwrap_or(false);
    with_kv_heads(fields, if newer || !multi_query { given.unwrap_or(queries) } else { 1 })
}

/// StarCoder: one KV head for all queries, if `multi_query` says so.
pub(super) fn gpt_bigcode(fields: &Fields<'_>) -> Layers {
    let one = fields.flag("multi_query")?.unwrap_or(false);
    with_kv_heads(fields, if one { 1 } else { fields.heads()? })
}

/// MPT: `attn_config.kv_n_heads`.
pub(super) fn mpt(fields: &Fields<'_>) -> Layers {
    let queries = fields.heads()?;
    let Some(inside) = fields.inside("attn_config")? else { return with_kv_heads(fields, queries) };
    // -1 is none.
    if let Some(window) = inside.object().get("sliding_window_size").filter(|window| !window.is_null())
        && window.as_i64().is_none_or(|window| window > 0)
    {
        return Err(fields.wrong(format!("{} {window} is not covered", inside.place("sliding_window_size"))));
    }
    let one = inside.text("attn_type")? == Some("multiquery_attention");
    let given = inside.number("kv_n_heads")?;
    with_kv_heads(fields, given.unwrap_or(if one { 1 } else { queries }))
}

/// DBRX: `attn_config.kv_n_heads`, one where it is not given.
pub(super) fn dbrx(fields: &Fields<'_>) -> Layers {
    let given = match fields.inside("attn_config")? {
        Some(inside) => inside.number("kv_n_heads")?,
        None => None,
    };
    with_kv_heads(fields, given.unwrap_or(1))
}

/// JetMoE: query heads are as many times the KV heads as experts are used.
pub(super) fn jetmoe(fields: &Fields<'_>) -> Layers {
    let kv_heads = fields.positive("num_key_value_heads")?;
    let head = fields.any_of(&["head_dim", "kv_channels"])?.ok_or_else(|| fields.missing("kv_channels"))?;
    Ok(all(fields.layers()?, grouped(fields, kv_heads, kv_heads, head)?))
}

/// ChatGLM: `multi_query_group_num`, if `multi_query_attention` says so.
pub(super) fn chatglm(fields: &Fields<'_>) -> Layers {
    let groups = fields.number("multi_query_group_num")?;
    let grouped = fields.flag("multi_query_attention")?.unwrap_or(false);
    match groups {
        Some(groups) if grouped => with_kv_heads(fields, groups),
        None if grouped => Err(fields.missing("multi_query_group_num")),
        _ => with_kv_heads(fields, fields.heads()?),
    }
}

/// CodeShell: `num_query_groups`, if `group_query_attention` says so.
pub(super) fn codeshell(fields: &Fields<'_>) -> Layers {
    let groups = fields.number("num_query_groups")?;
    match fields.flag("group_query_attention")?.unwrap_or(false) {
        true => with_kv_heads(fields, groups.ok_or_else(|| fields.missing("num_query_groups"))?),
        false => with_kv_heads(fields, fields.heads()?),
    }
}

/// Layers with heads of their own number, all of the same width.
fn with_each(fields: &Fields<'_>, queries: &[u64], kv_heads: &[u64], head: u64) -> Layers {
    let layer =
        |(&queries, &kv_heads)| Ok(Layer::keeping(Cache::Full(grouped(fields, queries, kv_heads, head)?)));
    queries.iter().zip(kv_heads).map(layer).collect()
}

/// OpenELM: heads of each layer.
pub(super) fn openelm(fields: &Fields<'_>) -> Layers {
    let layers = fields.layers()?;
    let each = |key| fields.each(key, layers)?.ok_or_else(|| fields.missing(key));
    let (queries, kv_heads) = (each("num_query_heads")?, each("num_kv_heads")?);
    with_each(fields, &queries, &kv_heads, fields.positive("head_dim")?)
}

/// DeciLM: KV heads of each layer.
pub(super) fn per_layer_heads(fields: &Fields<'_>) -> Layers {
    let (layers, queries) = (fields.layers()?, fields.heads()?);
    let key = "num_key_value_heads_per_layer";
    let kv_heads = fields.each(key, layers)?.ok_or_else(|| fields.missing(key))?;
    let head = match fields.number("head_dim")? {
        Some(head) => head,
        None => part(fields, fields.hidden()?, queries)?,
    };
    with_each(fields, &vec![queries; layers], &kv_heads, head)
}

/// Nemotron found by search (`nemotron-nas`): a block for each layer, with attention over groups of heads or without any.
pub(super) fn block_configs(fields: &Fields<'_>) -> Layers {
    let (layers, queries) = (fields.layers()?, fields.heads()?);
    let heads: Heads = heads(fields)?;
    let blocks = fields.list("block_configs")?.ok_or_else(|| fields.missing("block_configs"))?;
    fields.as_many("block_configs", blocks.len(), layers)?;
    let mut kept = Vec::with_capacity(layers.min(MOST_LAYERS as usize));
    for (i, block) in blocks.iter().enumerate() {
        let wrong = |what: &str| fields.wrong(format!("`block_configs[{i}].attention` {what}"));
        let attention = block.get("attention").and_then(|value| value.as_object());
        let attention = attention.ok_or_else(|| wrong("is missing"))?;
        let is = |key: &str| match attention.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(wrong(&format!("has a `{key}` that is neither true nor false"))),
        };
        if ["window_length", "sparsify", "num_sink_tokens"]
            .iter()
            .any(|&key| attention.get(key).is_some_and(|value| !value.is_null()))
        {
            return Err(wrong("has a window, which is not covered"));
        }
        kept.push(if is("no_op")? || is("replace_with_linear")? {
            Layer::default()
        } else {
            let group = attention.get("n_heads_in_group").and_then(|value| value.as_u64());
            let group = group.filter(|&group| group > 0 && queries.is_multiple_of(group));
            let group = group.ok_or_else(|| wrong("has no `n_heads_in_group` that divides the heads"))?;
            Layer::keeping(Cache::Full(grouped(fields, queries, queries / group, heads.key)?))
        });
    }
    Ok(kept)
}
