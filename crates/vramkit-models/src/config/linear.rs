//! Attention in some layers, linear attention or a short convolution in the others.
//!
//! In: the keys of a configuration. Out: a layer for each. Linear attention keeps a matrix for each head, whatever the length.

use crate::error::ReadError;
use crate::shape::{Cache, Heads, Layer, State};

use super::attention::{by_type, heads, unknown_type};
use super::fields::Fields;
use super::latent::vector;
use super::recurrent::convolution;

type Layers = Result<Vec<Layer>, ReadError>;

/// A layer of each type: attention as it is given, or state.
fn by_types(fields: &Fields<'_>, types: &[&str], cache: Cache, state: State) -> Layers {
    fields.as_many("layer_types", types.len(), fields.layers()?)?;
    let layer = |kind: &&str| match *kind {
        "full_attention" | "attention" => Ok(Layer::keeping(cache)),
        "linear_attention" | "conv" => Ok(Layer::recurrent(Cache::None, state)),
        kind => match cache {
            Cache::Full(heads) => Ok(Layer::keeping(by_type(fields, kind, heads)?)),
            _ => Err(unknown_type(fields, kind)),
        },
    };
    types.iter().map(layer).collect()
}

/// Types of layers of which the last of every so many has attention.
fn last_of_every(layers: usize, every: u64) -> Vec<&'static str> {
    let kind = |i: u64| if i.is_multiple_of(every) { "full_attention" } else { "linear_attention" };
    (1..=layers as u64).map(kind).collect()
}

/// The state of a gated delta rule (arXiv:2412.06464): a matrix for each value head; the convolution runs over queries, keys and
/// values.
fn delta_state(fields: &Fields<'_>, keys: (u64, u64), values: (u64, u64)) -> Result<State, ReadError> {
    let ((key_heads, key), (value_heads, value)) = (keys, values);
    if !value_heads.is_multiple_of(key_heads) {
        return Err(fields.wrong(format!(
            "{value_heads} heads of values are no multiple of {key_heads} heads of keys in linear attention"
        )));
    }
    let channels =
        key_heads.saturating_mul(key).saturating_mul(2).saturating_add(value_heads.saturating_mul(value));
    Ok(State {
        convolution: convolution(fields, "linear_conv_kernel_dim", channels)?,
        recurrent: value_heads.saturating_mul(key).saturating_mul(value),
    })
}

/// Qwen3-Next and Qwen3.5.
pub(super) fn delta(fields: &Fields<'_>) -> Layers {
    fields.understand(&["mamba_ssm_dtype", "full_attention_interval"]);
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    let keys = (fields.positive("linear_num_key_heads")?, fields.positive("linear_key_head_dim")?);
    let values = (fields.positive("linear_num_value_heads")?, fields.positive("linear_value_head_dim")?);
    let state = delta_state(fields, keys, values)?;
    let types = match fields.texts("layer_types")? {
        Some(types) => types,
        None => last_of_every(layers, fields.positive("full_attention_interval")?),
    };
    by_types(fields, &types, Cache::Full(heads), state)
}

/// OLMo hybrid: the widths of linear attention follow from the model's where they are not given.
pub(super) fn olmo_hybrid(fields: &Fields<'_>) -> Layers {
    fields.understand(&["linear_a_log", "linear_dt", "linear_allow"]);
    let (layers, heads, queries) = (fields.layers()?, heads(fields)?, fields.heads()?);
    let key_heads = fields.number("linear_num_key_heads")?.unwrap_or(queries).max(1);
    let value_heads = fields.number("linear_num_value_heads")?.unwrap_or(queries).max(1);
    let three_quarters = fields.hidden()?.saturating_mul(3) / 4 / key_heads;
    let key = fields.number("linear_key_head_dim")?.unwrap_or(three_quarters);
    let value = fields.number("linear_value_head_dim")?.unwrap_or(key.saturating_mul(2));
    let state = delta_state(fields, (key_heads, key), (value_heads, value))?;
    let types = match fields.texts("layer_types")? {
        Some(types) => types,
        None => {
            let mut types = last_of_every(layers, 4);
            if layers < 4 {
                types[layers - 1] = "full_attention";
            }
            types
        }
    };
    by_types(fields, &types, Cache::Full(heads), state)
}

/// Kimi Linear: latent attention in some layers; in the others a matrix for each head, and convolutions over queries, keys and
/// values.
pub(super) fn kimi(fields: &Fields<'_>) -> Layers {
    fields.understand(&["head_dim"]);
    let layers = fields.layers()?;
    let cache = vector(fields)?.ok_or_else(|| fields.missing("kv_lora_rank"))?;
    let inside = fields.inside("linear_attn_config")?;
    let of = |inner: &'static str, outer: &'static str| match &inside {
        Some(inside) => inside.positive(inner),
        None => fields.positive(outer),
    };
    let (count, head) = (of("num_heads", "linear_num_heads")?, of("head_dim", "linear_head_dim")?);
    let kernel = of("short_conv_kernel_size", "linear_conv_kernel_dim")?;
    let channels = count.saturating_mul(head);
    let state = State {
        convolution: (kernel - 1).saturating_mul(channels).saturating_mul(3),
        recurrent: channels.saturating_mul(head),
    };
    let types = match (fields.texts("layer_types")?, &inside) {
        (Some(types), _) => types,
        (None, Some(inside)) => listed(fields, inside, layers)?,
        (None, None) => return Err(fields.missing("linear_attn_config")),
    };
    by_types(fields, &types, cache, state)
}

/// Kimi Linear's two lists of layers, counted from 1.
fn listed(fields: &Fields<'_>, inside: &Fields<'_>, layers: usize) -> Result<Vec<&'static str>, ReadError> {
    let mut types = vec![""; layers];
    for (key, kind) in [("full_attn_layers", "full_attention"), ("kda_layers", "linear_attention")] {
        for layer in inside.numbers(key)?.ok_or_else(|| inside.missing(key))? {
            let place = usize::try_from(layer).ok().and_then(|layer| types.get_mut(layer.checked_sub(1)?));
            let place = place.ok_or_else(|| {
                fields.wrong(format!("{} names layer {layer} of 1 to {layers}", inside.place(key)))
            })?;
            *place = kind;
        }
    }
    match types.iter().position(|kind| kind.is_empty()) {
        Some(layer) => {
            Err(fields.wrong(format!("`linear_attn_config` does not say what layer {} is", layer + 1)))
        }
        None => Ok(types),
    }
}

/// Ling with Kimi's delta attention: as Kimi Linear, the last of every so many layers with latent attention.
pub(super) fn bailing_hybrid(fields: &Fields<'_>) -> Layers {
    fields.understand(&["kda_", "linear_"]);
    let layers = fields.layers()?;
    let cache = vector(fields)?.ok_or_else(|| fields.missing("kv_lora_rank"))?;
    let head = fields.positive("head_dim")?;
    let channels = fields.heads()?.saturating_mul(head);
    let convolution = convolution(fields, "short_conv_kernel_size", channels.saturating_mul(3))?;
    let state = State { convolution, recurrent: channels.saturating_mul(head) };
    let types = match fields.texts("layer_types")? {
        Some(types) => types,
        None => last_of_every(layers, fields.positive("layer_group_size")?),
    };
    by_types(fields, &types, cache, state)
}

/// Ring with linear attention: the last of every so many layers keeps every token, and those after the last whole group.
pub(super) fn bailing_linear(fields: &Fields<'_>) -> Layers {
    fields.understand(&["linear_"]);
    let (layers, heads, queries) = (fields.layers()? as u64, heads(fields)?, fields.heads()?);
    let every = fields.positive("layer_group_size")?;
    let matrix = heads.key.saturating_mul(heads.key);
    let state = State { convolution: 0, recurrent: queries.saturating_mul(matrix) };
    let full = |i: u64| (i + 1).is_multiple_of(every) || i >= layers / every * every;
    let layer = |i: u64| match full(i) {
        true => Layer::keeping(Cache::Full(heads)),
        false => Layer::recurrent(Cache::None, state),
    };
    Ok((0..layers).map(layer).collect())
}

/// MiniMax: lightning attention, a matrix for each query head (arXiv:2501.08313).
pub(super) fn lightning(fields: &Fields<'_>) -> Layers {
    fields.understand(&[
        "layernorm_",
        "linear_attn_alpha",
        "linear_attn_beta",
        "full_attn_alpha",
        "full_attn_beta",
        "mlp_",
    ]);
    let (layers, heads, queries) = (fields.layers()?, heads(fields)?, fields.heads()?);
    let matrix = heads.key.saturating_mul(heads.key);
    let state = State { convolution: 0, recurrent: queries.saturating_mul(matrix) };
    let types = match (fields.texts("layer_types")?, fields.numbers("attn_type_list")?) {
        (Some(types), _) => types,
        (None, Some(list)) => {
            let kind = |&kind: &u64| match kind {
                0 => Ok("linear_attention"),
                1 => Ok("full_attention"),
                other => Err(unknown_type(fields, &other.to_string())),
            };
            list.iter().map(kind).collect::<Result<_, _>>()?
        }
        (None, None) if fields.family() == "minimax" => {
            let kind = |i: usize| if i.is_multiple_of(2) { "full_attention" } else { "linear_attention" };
            (0..layers).map(kind).collect()
        }
        (None, None) => return Err(fields.missing("attn_type_list")),
    };
    by_types(fields, &types, Cache::Full(heads), state)
}

/// LFM2: a short convolution over the hidden width in the layers without attention.
pub(super) fn short_conv(fields: &Fields<'_>) -> Layers {
    fields.understand(&["conv_bias", "conv_dim", "conv_use", "block_", "full_attn_idxs"]);
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    let state = State { convolution: convolution(fields, "conv_L_cache", fields.hidden()?)?, recurrent: 0 };
    let types = match (fields.texts("layer_types")?, fields.numbers("full_attn_idxs")?) {
        (Some(types), _) => types,
        (None, Some(full)) => {
            let kind = |i: u64| if full.contains(&i) { "full_attention" } else { "conv" };
            (0..layers as u64).map(kind).collect()
        }
        (None, None) => return Err(fields.missing("layer_types")),
    };
    by_types(fields, &types, Cache::Full(heads), state)
}

/// Griffin, as RecurrentGemma has it (arXiv:2402.19427): a recurrence of one number a channel, and windows.
pub(super) fn griffin(fields: &Fields<'_>) -> Layers {
    fields.understand(&["block_types", "conv1d"]);
    let layers = fields.layers()?;
    let heads: Heads = heads(fields)?;
    let width = match fields.number("lru_width")? {
        Some(width) => width,
        None => fields.hidden()?,
    };
    let state = State { convolution: convolution(fields, "conv1d_width", width)?, recurrent: width };
    let window = Cache::Window { heads, tokens: fields.positive("attention_window_size")? };
    let types = fields.texts("block_types")?.or(fields.texts("_block_types")?);
    let types = types
        .filter(|types| !types.is_empty())
        .unwrap_or_else(|| vec!["recurrent", "recurrent", "attention"]);
    let layer = |kind: &str| match kind {
        "attention" => Ok(Layer::keeping(window)),
        "recurrent" => Ok(Layer::recurrent(Cache::None, state)),
        kind => Err(unknown_type(fields, kind)),
    };
    types.iter().cycle().take(layers).map(|kind| layer(kind)).collect()
}
