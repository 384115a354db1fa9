//! Attention in some layers, a state-space model in the others, or both in one.
//!
//! In: the keys of a configuration. Out: a layer for each.

use crate::error::ReadError;
use crate::shape::{Cache, Heads, Layer, State};

use super::attention::{self, grouped, heads, unknown_type};
use super::fields::{Fields, KV_HEADS};
use super::recurrent::{HeadKeys, as_wide, of_channels, of_heads};

type Layers = Result<Vec<Layer>, ReadError>;

/// Keys of the second form of Mamba, as Bamba, Granite and Falcon-H1 name them.
const MAMBA: HeadKeys = HeadKeys {
    heads: "mamba_n_heads",
    groups: "mamba_n_groups",
    state: "mamba_d_state",
    kernel: "mamba_d_conv",
};

/// Words of keys that a reader of these families takes for granted: how a scan is computed changes nothing that is kept.
fn understand(fields: &Fields<'_>) {
    fields.understand(&["mamba", "chunk_size", "use_conv", "ssm_", "expert_layer", "layers_block_type"]);
}

/// A layer with attention alone, or with state alone.
fn either(attention: bool, heads: Heads, state: State) -> Layer {
    if attention { Layer::keeping(Cache::Full(heads)) } else { Layer::recurrent(Cache::None, state) }
}

/// Jamba: attention once a period, Mamba's first form in the others.
pub(super) fn jamba(fields: &Fields<'_>) -> Layers {
    understand(fields);
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    let inner = fields.positive("mamba_expand")?.saturating_mul(fields.hidden()?);
    let state = of_channels(fields, inner, "mamba_d_state", "mamba_d_conv")?;
    let (period, offset) = (fields.positive("attn_layer_period")?, fields.need("attn_layer_offset")?);
    if offset >= period {
        return Err(
            fields.wrong(format!("`attn_layer_offset` {offset} is not below `attn_layer_period` {period}"))
        );
    }
    Ok((0..layers as u64).map(|i| either(i % period == offset, heads, state)).collect())
}

/// The width of a state-space block, its heads checked against it.
fn block(fields: &Fields<'_>, inner: u64) -> Result<u64, ReadError> {
    let count = fields.positive("mamba_n_heads")?;
    // `auto` is what is left for each head.
    let auto = fields.object().get("mamba_d_head").is_some_and(serde_json::Value::is_string);
    let head = if auto { None } else { fields.number("mamba_d_head")? };
    as_wide(fields, count, head.unwrap_or(inner / count), inner)?;
    Ok(inner)
}

fn expanded(fields: &Fields<'_>) -> Result<u64, ReadError> {
    Ok(fields.positive("mamba_expand")?.saturating_mul(fields.hidden()?))
}

/// Bamba: attention in the layers of a list, Mamba's second form in the others.
pub(super) fn bamba(fields: &Fields<'_>) -> Layers {
    understand(fields);
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    let state = of_heads(fields, block(fields, expanded(fields)?)?, &MAMBA)?;
    let attention = fields.numbers("attn_layer_indices")?.unwrap_or_default();
    inside(fields, "attn_layer_indices", &attention, layers)?;
    Ok((0..layers as u64).map(|i| either(attention.contains(&i), heads, state)).collect())
}

/// Indices of layers must be indices of layers.
fn inside(fields: &Fields<'_>, key: &str, indices: &[u64], layers: usize) -> Result<(), ReadError> {
    match indices.iter().find(|&&index| index >= layers as u64) {
        Some(index) => Err(fields.wrong(format!("{} names layer {index} of {layers}", fields.place(key)))),
        None => Ok(()),
    }
}

/// Granite 4: as `layer_types` says.
pub(super) fn granite(fields: &Fields<'_>) -> Layers {
    understand(fields);
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    let types = match fields.texts("layer_types")? {
        Some(types) => types,
        None => fields.texts("layers_block_type")?.unwrap_or_else(|| vec!["mamba"; layers]),
    };
    fields.as_many("layer_types", types.len(), layers)?;
    // Granite 4 has sizes without any state-space layer, whose keys are then left as they are.
    let has_state = types.iter().any(|kind| is_state(kind));
    let state = match has_state {
        true => of_heads(fields, block(fields, expanded(fields)?)?, &MAMBA)?,
        false => State::default(),
    };
    let layer = |kind: &&str| match *kind {
        "attention" | "full_attention" => Ok(either(true, heads, state)),
        kind if is_state(kind) => Ok(either(false, heads, state)),
        kind => Err(unknown_type(fields, kind)),
    };
    types.iter().map(layer).collect()
}

fn is_state(kind: &str) -> bool {
    ["mamba", "linear_attention"].contains(&kind)
}

/// Falcon-H1: attention and Mamba's second form side by side in every layer.
pub(super) fn falcon_h1(fields: &Fields<'_>) -> Layers {
    understand(fields);
    let heads = heads(fields)?;
    let inner = match fields.number("mamba_d_ssm")? {
        Some(inner) => inner,
        None => expanded(fields)?,
    };
    let state = of_heads(fields, block(fields, inner)?, &MAMBA)?;
    Ok(vec![Layer::recurrent(Cache::Full(heads), state); fields.layers()?])
}

/// Nemotron-H: a letter for each layer.
pub(super) fn nemotron_h(fields: &Fields<'_>) -> Layers {
    fields.understand(&["mamba", "chunk_size", "use_conv", "mtp_"]);
    fields
        .number("sliding_window")?
        .map_or(Ok(()), |_| Err(fields.wrong("a `sliding_window` in Nemotron-H is not covered")))?;
    let heads = heads(fields)?;
    let (count, head) = (fields.positive("mamba_num_heads")?, fields.positive("mamba_head_dim")?);
    let keys = HeadKeys {
        heads: "mamba_num_heads",
        groups: "n_groups",
        state: "ssm_state_size",
        kernel: "conv_kernel",
    };
    let state = of_heads(fields, count.saturating_mul(head), &keys)?;
    let kinds = match fields.text("hybrid_override_pattern")? {
        // Bars between the letters part stages of a pipeline.
        Some(pattern) => {
            pattern.chars().filter(|&letter| letter != '|').map(|letter| letter.to_string()).collect()
        }
        None => match fields.texts("layers_block_type")?.or(fields.texts("layer_types")?) {
            Some(types) => types.into_iter().map(str::to_owned).collect::<Vec<_>>(),
            None => return Err(fields.missing("hybrid_override_pattern")),
        },
    };
    if fields.object().contains_key("num_hidden_layers") {
        fields.as_many("hybrid_override_pattern", kinds.len(), fields.layers()?)?;
    }
    if kinds.is_empty() || kinds.len() as u64 > super::fields::MOST_LAYERS {
        return Err(fields.wrong(format!("`hybrid_override_pattern` has {} layers", kinds.len())));
    }
    nemotron_layers(fields, kinds.iter().map(String::as_str), heads, state)
}

/// A layer for each letter or type.
pub(super) fn nemotron_layers<'k>(
    fields: &Fields<'_>,
    kinds: impl Iterator<Item = &'k str>,
    heads: Heads,
    state: State,
) -> Layers {
    let layer = |kind: &str| match kind {
        "*" | "attention" | "full_attention" => Ok(either(true, heads, state)),
        "M" | "mamba" | "linear_attention" => Ok(either(false, heads, state)),
        "E" | "-" | "moe" | "mlp" => Ok(Layer::default()),
        kind => Err(unknown_type(fields, kind)),
    };
    kinds.map(layer).collect()
}

/// Zamba's attention looks at the token beside the model's input, so its heads are of twice the hidden width.
fn doubled(fields: &Fields<'_>) -> Result<Heads, ReadError> {
    let queries = fields.heads()?;
    let kv_heads = fields.any_of(KV_HEADS)?.unwrap_or(queries);
    let head = match fields.number("attention_head_dim")? {
        Some(head) => head,
        None => attention::part(fields, fields.hidden()?.saturating_mul(2), queries)?,
    };
    grouped(fields, queries, kv_heads, head)
}

/// State in every layer; attention beside it in those of the type `hybrid`.
fn beside(fields: &Fields<'_>, types: &[&str], heads: Heads, state: State) -> Layers {
    let layer = |kind: &&str| match *kind {
        "hybrid" => Ok(Layer::recurrent(Cache::Full(heads), state)),
        kind if is_state(kind) => Ok(Layer::recurrent(Cache::None, state)),
        kind => Err(unknown_type(fields, kind)),
    };
    types.iter().map(layer).collect()
}

/// Zamba: one attention block shared by several layers, each with a cache of its own; Mamba's first form in every layer.
pub(super) fn zamba(fields: &Fields<'_>) -> Layers {
    understand(fields);
    fields.understand(&["attention_hidden_size", "attn_layer_"]);
    let (layers, heads) = (fields.layers()?, doubled(fields)?);
    let inner = expanded(fields)?;
    let state = of_channels(fields, inner, "mamba_d_state", "mamba_d_conv")?;
    let types = match fields.texts("layers_block_type")? {
        Some(types) => types,
        None => {
            let (period, offset) = (fields.positive("attn_layer_period")?, fields.need("attn_layer_offset")?);
            let later = (3..layers as u64).map(|i| (i - 3) % period == offset);
            let attention = [false, false, true].into_iter().chain(later).take(layers);
            attention.map(|attention| if attention { "hybrid" } else { "mamba" }).collect()
        }
    };
    fields.as_many("layers_block_type", types.len(), layers)?;
    beside(fields, &types, heads, state)
}

/// Zamba 2: the same with Mamba's second form.
pub(super) fn zamba2(fields: &Fields<'_>) -> Layers {
    understand(fields);
    fields.understand(&[
        "hybrid_layer_ids",
        "attention_hidden_size",
        "shared",
        "kv_channels",
        "num_query_groups",
    ]);
    let (layers, heads) = (fields.layers()?, doubled(fields)?);
    let inner = expanded(fields)?;
    let keys = HeadKeys {
        heads: "n_mamba_heads",
        groups: "mamba_ngroups",
        state: "mamba_d_state",
        kernel: "mamba_d_conv",
    };
    let state = of_heads(fields, inner, &keys)?;
    let Some(types) = fields.texts("layers_block_type")? else {
        return Err(fields.missing("layers_block_type"));
    };
    fields.as_many("layers_block_type", types.len(), layers)?;
    beside(fields, &types, heads, state)
}

/// PLaMo 2: every so many layers attention, Mamba with heads in the others.
pub(super) fn plamo2(fields: &Fields<'_>) -> Layers {
    understand(fields);
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    let inner = fields.positive("mamba_num_heads")?.saturating_mul(fields.positive("hidden_size_per_head")?);
    let state = of_channels(fields, inner, "mamba_d_state", "mamba_d_conv")?;
    // A window is in use where a list says which layers have none.
    let window = fields.number("attention_window_size")?;
    let full = fields.numbers("full_attention_idx")?;
    let window = window.zip(full.as_ref());
    if let Some((_, full)) = window {
        inside(fields, "full_attention_idx", full, layers)?;
    }
    let step = fields.positive("mamba_step")?;
    let count = layers as u64;
    let attention = |i: u64| match step {
        1 => false,
        step if count <= step / 2 => i == count - 1,
        step => i % step == step / 2,
    };
    let layer = |i: u64| match window {
        Some((tokens, full)) if attention(i) && !full.contains(&i) => {
            Layer::keeping(Cache::Window { heads, tokens })
        }
        _ => either(attention(i), heads, state),
    };
    Ok((0..count).map(layer).collect())
}
