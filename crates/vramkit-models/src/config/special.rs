//! Families with a rule of their own for which layers look at a part alone, or at another layer's keys.
//!
//! In: the keys of a configuration. Out: a layer for each.

use crate::error::ReadError;
use crate::shape::{Cache, Heads, Layer};

use super::attention::{self, grouped, heads};
use super::fields::{Fields, MOST_LAYERS};

type Layers = Result<Vec<Layer>, ReadError>;

/// Gemma 4: layers that keep every token have heads of another width, and perhaps another number of them.
pub(super) fn gemma4(fields: &Fields<'_>) -> Layers {
    let (queries, narrow) = (fields.heads()?, heads(fields)?);
    let mut types = attention::interleaved_types(fields)?;
    // The family's code makes the last layer look at every token, whatever is said of it.
    if let Some(last) = types.last_mut() {
        *last = "full_attention";
    }
    let each = attention::of_each_layer(fields, narrow)?;
    let wide = match &each {
        Some(_) => narrow,
        None => {
            let other = fields.number("num_global_key_value_heads")?;
            let same = fields.flag("attention_k_eq_v")?.unwrap_or(false);
            let kv_heads = other.filter(|_| same).unwrap_or(narrow.kv_heads);
            grouped(fields, queries, kv_heads, fields.positive("global_head_dim")?)?
        }
    };
    fields.understand(&["global_head_dim", "num_global_key_value_heads"]);
    let heads = |i: usize, kind: &str| match &each {
        Some(each) => each.get(i).copied().unwrap_or(narrow),
        None if kind == "full_attention" => wide,
        None => narrow,
    };
    let layer =
        |(i, kind): (usize, &&str)| Ok(Layer::keeping(attention::by_type(fields, kind, heads(i, kind))?));
    let layers = types.iter().enumerate().map(layer).collect::<Result<Vec<_>, ReadError>>()?;
    attention::shared(fields, &types, layers)
}

/// A list of flags, one for each layer: 0 where positions are not rotated. By default that is the last of every so many.
fn rotated(fields: &Fields<'_>, layers: usize) -> Result<Vec<bool>, ReadError> {
    let given = fields.list("no_rope_layers")?.filter(|list| !list.is_empty());
    if given.is_some() {
        let flags = fields.each("no_rope_layers", layers)?.unwrap_or_default();
        return Ok(flags.into_iter().map(|flag| flag != 0).collect());
    }
    let every = fields.positive("no_rope_layer_interval")?;
    Ok((1..=layers as u64).map(|i| !i.is_multiple_of(every)).collect())
}

/// Llama 4: layers with rotated positions look at their own chunk.
pub(super) fn llama4(fields: &Fields<'_>) -> Layers {
    fields.understand(&["attn_temperature"]);
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    let chunk = fields.number("attention_chunk_size")?;
    if let Some(types) = fields.texts("layer_types")? {
        return attention::by_types(fields, &types, heads);
    }
    let rotated = rotated(fields, layers)?;
    let cache = |rotated: bool| match chunk.filter(|_| rotated) {
        Some(tokens) => Cache::Window { heads, tokens },
        None => Cache::Full(heads),
    };
    Ok(rotated.into_iter().map(|rotated| Layer::keeping(cache(rotated))).collect())
}

/// SmolLM3: layers without rotated positions keep a window, if it is switched on.
pub(super) fn smollm3(fields: &Fields<'_>) -> Layers {
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    if let Some(types) = fields.texts("layer_types")? {
        return attention::by_types(fields, &types, heads);
    }
    let on = fields.flag("use_sliding_window")?.unwrap_or(false);
    let window = fields.number("sliding_window")?.filter(|_| on);
    let rotated = rotated(fields, layers)?;
    let cache = |rotated: bool| match window.filter(|_| !rotated) {
        Some(tokens) => Cache::Window { heads, tokens },
        None => Cache::Full(heads),
    };
    Ok(rotated.into_iter().map(|rotated| Layer::keeping(cache(rotated))).collect())
}

/// Heads whose values are of another width than their keys.
fn with_values(fields: &Fields<'_>, heads: Heads, key: &'static str) -> Result<Heads, ReadError> {
    Ok(Heads { value: fields.number(key)?.unwrap_or(heads.value), ..heads })
}

/// MiMo-V2: values narrower than keys; layers with a window have heads of their own.
pub(super) fn mimo_v2(fields: &Fields<'_>) -> Layers {
    fields.understand(&["swa_rope", "swa_num_attention_heads", "attention_chunk_size", "swa_attention_sink"]);
    let layers = fields.layers()?;
    let full = with_values(fields, heads(fields)?, "v_head_dim")?;
    let kv_heads = fields.number("swa_num_key_value_heads")?.unwrap_or(full.kv_heads.saturating_mul(2));
    let key = fields.number("swa_head_dim")?.unwrap_or(full.key);
    let queries = fields.number("swa_num_attention_heads")?.unwrap_or(fields.heads()?);
    let narrow = Heads { value: full.value, ..grouped(fields, queries, kv_heads, key)? };
    let narrow = with_values(fields, narrow, "swa_v_head_dim")?;
    let window = match fields.number("sliding_window_size")? {
        Some(window) => window,
        None => fields.positive("sliding_window")?,
    };
    fields.understand(&["sliding_window"]);
    let is_window: Vec<bool> = match (fields.texts("layer_types")?, fields.numbers("hybrid_layer_pattern")?) {
        (Some(types), _) => types.iter().map(|kind| *kind == "sliding_attention").collect(),
        (None, Some(pattern)) => pattern.iter().map(|&kind| kind == 1).collect(),
        (None, None) => (0..layers).map(|i| i != 0 && !(i + 1).is_multiple_of(6)).collect(),
    };
    fields.as_many("hybrid_layer_pattern", is_window.len(), layers)?;
    let layer = |window_here: bool| match window_here {
        true => Layer::keeping(Cache::Window { heads: narrow, tokens: window }),
        false => Layer::keeping(Cache::Full(full)),
    };
    Ok(is_window.into_iter().map(layer).collect())
}

/// Step 3.5: `layer_types` may go on with those of the drafting layers; layers with a window have heads of their own.
pub(super) fn step3p5(fields: &Fields<'_>) -> Layers {
    // What `per_layer_config` adds to it are query heads, which keep nothing.
    fields.understand(&[
        "attention_other_setting",
        "sliding_attention_heads",
        "sliding_window",
        "mtp_",
        "per_layer_config",
    ]);
    let (layers, full) = (fields.layers()?, heads(fields)?);
    let narrow = match fields.inside("attention_other_setting")? {
        Some(other) => {
            let queries = other.number("num_attention_heads")?.unwrap_or(fields.heads()?);
            let kv_heads = other.number("num_attention_groups")?.unwrap_or(full.kv_heads);
            grouped(fields, queries, kv_heads, other.number("head_dim")?.unwrap_or(full.key))?
        }
        None => full,
    };
    let Some(types) = fields.texts("layer_types")? else { return Ok(attention::all(layers, full)) };
    let drafts = fields.number("num_nextn_predict_layers")?.unwrap_or(0);
    let drafted = types.len() as u64 == (layers as u64).saturating_add(drafts);
    fields.as_many("layer_types", if drafted { layers } else { types.len() }, layers)?;
    let heads = |kind: &str| if kind == "sliding_attention" { narrow } else { full };
    let layer = |kind: &&str| Ok(Layer::keeping(attention::by_type(fields, kind, heads(kind))?));
    types.iter().take(layers).map(layer).collect()
}

/// GPT-Neo: lists of kinds, each repeated so many times.
pub(super) fn gpt_neo(fields: &Fields<'_>) -> Layers {
    fields.understand(&["attention_layers"]);
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    let window = fields.positive("window_size")?;
    let mut kinds: Vec<&str> = Vec::new();
    let key = "attention_types";
    let wrong =
        || fields.wrong(format!("{} is no list of kinds with how often each comes", fields.place(key)));
    for entry in fields.list(key)?.ok_or_else(|| fields.missing(key))? {
        let (names, times) = match entry.as_array().map(Vec::as_slice) {
            Some([names, times]) => (names.as_array().ok_or_else(wrong)?, times.as_u64().ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        let names =
            names.iter().map(|name| name.as_str().ok_or_else(wrong)).collect::<Result<Vec<_>, _>>()?;
        if times.saturating_mul(names.len() as u64) > MOST_LAYERS {
            return Err(fields.wrong(format!(
                "{} repeats {times} times; at most {MOST_LAYERS} layers are read",
                fields.place(key)
            )));
        }
        for _ in 0..times {
            kinds.extend(&names);
            fields.as_many(key, kinds.len().min(layers), kinds.len())?;
        }
    }
    fields.as_many(key, kinds.len(), layers)?;
    let layer = |kind: &&str| match *kind {
        "global" => Ok(Layer::keeping(Cache::Full(heads))),
        "local" => Ok(Layer::keeping(Cache::Window { heads, tokens: window })),
        kind => Err(attention::unknown_type(fields, kind)),
    };
    kinds.iter().map(layer).collect()
}

/// Hunyuan: if `use_cla` says so, every so many layers share the keys and values of the first of them (arXiv:2405.12981).
pub(super) fn hunyuan(fields: &Fields<'_>) -> Layers {
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    fields.understand(&["cla_share_factor"]);
    let mut kept = attention::all(layers, heads);
    if fields.flag("use_cla")?.unwrap_or(false) {
        let together = fields.positive("cla_share_factor")?;
        for (i, layer) in kept.iter_mut().enumerate() {
            let first = i - (i as u64 % together) as usize;
            if i != first {
                layer.cache = Cache::Shared { layer: first };
            }
        }
    }
    Ok(kept)
}

/// Llama 3.2 with pictures: some layers look at the picture alone.
pub(super) fn mllama(fields: &Fields<'_>) -> Layers {
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    let mut kept = attention::all(layers, heads);
    let key = "cross_attention_layers";
    let cross = match fields.numbers(key)? {
        Some(cross) => cross,
        // The family's code takes these where the key is absent.
        None => (3..layers as u64).step_by(5).collect(),
    };
    let tokens = picture(fields)?;
    for layer in cross {
        let place = usize::try_from(layer).ok().and_then(|layer| kept.get_mut(layer));
        let place = place.ok_or_else(|| fields.wrong(format!("`{key}` names layer {layer} of {layers}")))?;
        place.cache = Cache::Cross { heads, tokens };
    }
    Ok(kept)
}

/// Tokens of a picture of Llama 3.2: each tile has one for each patch and one more. As its code takes them where the
/// configuration of pictures does not say: four tiles of 560 pixels, patches of 14.
fn picture(fields: &Fields<'_>) -> Result<u64, ReadError> {
    let vision = fields.whole_configuration().get("vision_config");
    let of = |key: &str, usual: u64| {
        let Some(given) = vision.and_then(|vision| vision.get(key)).filter(|given| !given.is_null()) else {
            return Ok(usual);
        };
        given.as_u64().filter(|given| (1..=1 << 16).contains(given)).ok_or_else(|| {
            fields.wrong(format!("`vision_config.{key}` is {given}, and not a whole number from 1 to 65536"))
        })
    };
    let side = of("image_size", 560)? / of("patch_size", 14)?;
    Ok((side * side + 1).saturating_mul(of("max_num_tiles", 4)?))
}
