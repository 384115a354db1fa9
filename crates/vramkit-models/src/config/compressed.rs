//! Compressed attention, as DeepSeek-V4 has it: one entry for several tokens, beside a window of whole ones.
//!
//! In: the keys of a configuration. Out: a layer for each.

use crate::error::ReadError;
use crate::shape::{Cache, Heads, Layer, State};

use super::attention;
use super::fields::Fields;

/// DeepSeek-V4: a window in every layer; beside it, in most, an entry for each so many tokens, and in those with few tokens an
/// entry the keys of an indexer. Inputs wait until an entry is whole, twice (what goes into it, and its gate), and where entries
/// overlap, so do those of the one before.
pub(super) fn deepseek_v4(fields: &Fields<'_>) -> Result<Vec<Layer>, ReadError> {
    fields.understand(&["compress", "layer_types"]);
    let layers = fields.layers()?;
    fields.heads()?;
    fields.hidden()?;
    let (vector, window) = (fields.positive("head_dim")?, fields.positive("sliding_window")?);
    let kv_heads = fields.need("num_key_value_heads")?;
    if kv_heads != 1 {
        return Err(fields.wrong(format!("{kv_heads} KV heads; this family has 1, whose key is its value")));
    }
    let kinds = v4_kinds(fields, layers)?;
    let indexer = fields.positive("index_head_dim")?;
    let layer = |kind: &V4| match *kind {
        V4::Window => {
            Layer::keeping(Cache::Window { heads: Heads { kv_heads, key: vector, value: 0 }, tokens: window })
        }
        V4::Apart(every) => {
            let waiting = vector.saturating_mul(every).saturating_mul(2);
            let cache = Cache::Compressed { every, vector, indexer: 0, window };
            Layer::recurrent(cache, State { convolution: waiting, recurrent: 0 })
        }
        V4::Overlapping(every) => {
            // Two series, and one of the entry before.
            let waiting = vector.saturating_add(indexer).saturating_mul(every).saturating_mul(2 * 3);
            let cache = Cache::Compressed { every, vector, indexer, window };
            Layer::recurrent(cache, State { convolution: waiting, recurrent: 0 })
        }
    };
    Ok(kinds.iter().map(layer).collect())
}

/// Kinds of DeepSeek-V4's layers, with the tokens of an entry.
#[derive(Clone, Copy)]
enum V4 {
    Window,
    Overlapping(u64),
    Apart(u64),
}

/// What each layer is: by its type, or by how many tokens an entry has; what goes on beyond the layers is of the drafting ones.
fn v4_kinds(fields: &Fields<'_>, layers: usize) -> Result<Vec<V4>, ReadError> {
    let rates = fields.inside("compress_rates")?;
    let rate = |name: &'static str, legacy: &'static str, usual: u64| {
        let given = match &rates {
            Some(rates) => rates.number(name)?,
            None => fields.number(legacy)?,
        };
        match given.unwrap_or(usual) {
            0 => Err(fields.wrong(format!("`compress_rates` has 0 tokens for `{name}`"))),
            rate => Ok(rate),
        }
    };
    let few = rate("compressed_sparse_attention", "compress_rate_csa", 4)?;
    let many = rate("heavily_compressed_attention", "compress_rate_hca", 128)?;
    let kinds: Vec<V4> = match (fields.texts("layer_types")?, fields.numbers("compress_ratios")?) {
        (Some(types), _) => {
            let kind = |kind: &&str| match *kind {
                "sliding_attention" => Ok(V4::Window),
                "compressed_sparse_attention" => Ok(V4::Overlapping(few)),
                "heavily_compressed_attention" => Ok(V4::Apart(many)),
                kind => Err(attention::unknown_type(fields, kind)),
            };
            types.iter().map(kind).collect::<Result<_, _>>()?
        }
        (None, Some(ratios)) => {
            let kind = |&ratio: &u64| match ratio {
                0 => Ok(V4::Window),
                4 => Ok(V4::Overlapping(few)),
                128 => Ok(V4::Apart(many)),
                ratio => Err(fields.wrong(format!("`compress_ratios` has {ratio}; 0, 4 and 128 are known"))),
            };
            ratios.iter().map(kind).collect::<Result<_, _>>()?
        }
        (None, None) => return Err(fields.missing("compress_ratios")),
    };
    if kinds.len() < layers {
        fields.as_many("compress_ratios", kinds.len(), layers)?;
    }
    Ok(kinds.into_iter().take(layers).collect())
}
