//! Layers that predict several tokens at once.
//!
//! In: the keys of a configuration and the layers that were read. Out: the layers that draft. Never here: whether an engine
//! uses them.

use crate::error::ReadError;
use crate::shape::{Cache, Heads, Layer};

use super::attention::unknown_type;
use super::fields::{Fields, MOST_LAYERS};

/// Keys that say how many there are.
const COUNTS: [&str; 3] = ["num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers"];

/// The layers that draft: each is like the model's last layer that keeps every token, unless the configuration says otherwise.
pub(super) fn drafts(fields: &Fields<'_>, layers: &[Layer]) -> Result<Vec<Layer>, ReadError> {
    fields.understand(&["mtp", "nextn"]);
    let mut count = 0;
    for key in COUNTS {
        count = fields.number(key)?.unwrap_or(0).max(count);
    }
    if let Some(modules) = fields.number("num_mtp_modules")?
        && fields.flag("use_mtp")? != Some(false)
    {
        let each = fields.number("mtp_transformer_layers")?.unwrap_or(1);
        count = modules.saturating_mul(each).max(count);
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    let alike = kinds(fields, layers)?;
    let total = count.saturating_mul(alike.len() as u64);
    if total > MOST_LAYERS {
        return Err(fields.wrong(format!("{total} drafting layers; at most {MOST_LAYERS} are read")));
    }
    Ok(alike.iter().copied().cycle().take(total as usize).collect())
}

/// What one drafting layer consists of.
fn kinds(fields: &Fields<'_>, layers: &[Layer]) -> Result<Vec<Layer>, ReadError> {
    let last = |is: fn(&Layer) -> bool| layers.iter().rev().find(|layer| is(layer)).copied();
    let grows = |layer: &Layer| matches!(layer.cache, Cache::Full(_) | Cache::Latent { .. });
    let whole = last(grows).map(|layer| Layer::keeping(layer.cache));
    // Where every token is in a compressed entry, a drafting layer has the window alone.
    let window = layers.iter().rev().find_map(|layer| match layer.cache {
        Cache::Compressed { vector, window, .. } => {
            let heads = Heads { kv_heads: 1, key: vector, value: 0 };
            Some(Layer::keeping(Cache::Window { heads, tokens: window }))
        }
        _ => None,
    });
    let whole = whole.or(window);
    let looks_back = |layer: &Layer| matches!(layer.cache, Cache::Window { .. });
    if let Some(pattern) = fields.text("mtp_hybrid_override_pattern")? {
        let of = |letter: char| match letter {
            '*' => Ok(whole.unwrap_or_default()),
            'M' => Ok(last(|layer| layer.state.recurrent > 0).unwrap_or_default()),
            'E' | '-' => Ok(Layer::default()),
            other => Err(unknown_type(fields, &other.to_string())),
        };
        return pattern.chars().map(of).collect();
    }
    // Types that go on beyond the layers are those of the drafting ones.
    let beyond = match fields.object().get("layer_types") {
        Some(_) => fields.texts("layer_types")?.and_then(|types| types.get(layers.len()).copied()),
        None => None,
    };
    let alike = match beyond {
        Some("sliding_attention") => last(looks_back),
        _ => whole.or_else(|| last(looks_back)),
    };
    Ok(vec![alike.unwrap_or_default()])
}
