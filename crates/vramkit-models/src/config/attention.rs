//! Layers that keep keys and values: of every token, or of a window.
//!
//! In: the keys of a configuration. Out: a layer for each. Never here: latent attention, recurrences, or heads that a family
//! says in words of its own.

use crate::error::ReadError;
use crate::shape::{Cache, Heads, Layer};

use super::fields::{Fields, HEAD, KV_HEADS};

type Layers = Result<Vec<Layer>, ReadError>;

/// Heads with keys and values as wide as a query head.
pub(super) fn heads(fields: &Fields<'_>) -> Result<Heads, ReadError> {
    let queries = fields.heads()?;
    let hidden = fields.hidden()?;
    let kv_heads = fields.any_of(KV_HEADS)?.unwrap_or(queries);
    let head = match fields.any_of(HEAD)? {
        Some(head) => head,
        None => part(fields, hidden, queries)?,
    };
    grouped(fields, queries, kv_heads, head)
}

/// The width of a head where nothing but the hidden width gives it.
pub(super) fn part(fields: &Fields<'_>, hidden: u64, queries: u64) -> Result<u64, ReadError> {
    if !hidden.is_multiple_of(queries) {
        return Err(fields.wrong(format!(
            "a hidden size of {hidden} is no multiple of {queries} heads, and no `head_dim` is given"
        )));
    }
    Ok(hidden / queries)
}

/// So many query heads over so many KV heads, which have to divide them.
pub(super) fn grouped(
    fields: &Fields<'_>,
    queries: u64,
    kv_heads: u64,
    head: u64,
) -> Result<Heads, ReadError> {
    if kv_heads == 0 || head == 0 {
        return Err(
            fields.wrong(format!("{kv_heads} KV heads of {head} numbers; attention has at least 1 of each"))
        );
    }
    if !queries.is_multiple_of(kv_heads) {
        return Err(fields.wrong(format!("{queries} query heads are no multiple of {kv_heads} KV heads")));
    }
    Ok(Heads { kv_heads, key: head, value: head })
}

/// Heads of each layer, where `per_layer_config` gives some layers other ones than `usual`; `None` without it.
pub(super) fn of_each_layer(fields: &Fields<'_>, usual: Heads) -> Result<Option<Vec<Heads>>, ReadError> {
    let key = "per_layer_config";
    let Some(others) = fields.inside(key)? else { return Ok(None) };
    let (layers, queries) = (fields.layers()?, fields.heads()?);
    let mut heads = vec![usual; layers];
    for name in others.object().keys() {
        let place = name.parse().ok().and_then(|layer: usize| heads.get_mut(layer));
        let place = place.ok_or_else(|| fields.wrong(format!("`{key}` names layer {name} of {layers}")))?;
        let Some(other) = others.inside_of(name)? else { continue };
        let queries = other.number("num_attention_heads")?.unwrap_or(queries);
        let kv_heads = other.number("num_key_value_heads")?.unwrap_or(usual.kv_heads);
        *place = grouped(fields, queries, kv_heads, other.number("head_dim")?.unwrap_or(usual.key))?;
        super::guard::check(&other, 0)?;
    }
    Ok(Some(heads))
}

/// So many layers that keep every token.
pub(super) fn all(layers: usize, heads: Heads) -> Vec<Layer> {
    vec![Layer::keeping(Cache::Full(heads)); layers]
}

/// Every layer keeps every token.
pub(super) fn plain(fields: &Fields<'_>) -> Layers {
    Ok(all(fields.layers()?, heads(fields)?))
}

/// A layer with a window of so many tokens, or without one.
fn windowed(heads: Heads, window: Option<u64>) -> Layer {
    Layer::keeping(match window {
        Some(tokens) => Cache::Window { heads, tokens },
        None => Cache::Full(heads),
    })
}

/// The window, if the configuration has one.
fn window(fields: &Fields<'_>) -> Result<Option<u64>, ReadError> {
    match fields.number("sliding_window")? {
        Some(0) => Err(fields.wrong(format!("{} is 0 tokens", fields.place("sliding_window")))),
        window => Ok(window),
    }
}

/// The window, if the configuration has one and switches it on.
fn gated(fields: &Fields<'_>) -> Result<Option<u64>, ReadError> {
    let on = fields.flag("use_sliding_window")?.unwrap_or(false);
    if on {
        fields.positive("sliding_window").map(Some)
    } else {
        fields.number("sliding_window").map(|_| None)
    }
}

/// Every layer keeps a window, where there is one.
pub(super) fn one_window(fields: &Fields<'_>) -> Layers {
    // Doge's: how many tokens are never left out of attention; all are kept.
    fields.understand(&["keep_window_size"]);
    Ok(vec![windowed(heads(fields)?, window(fields)?); fields.layers()?])
}

/// Every layer keeps a window, where it is switched on.
pub(super) fn gated_window(fields: &Fields<'_>) -> Layers {
    Ok(vec![windowed(heads(fields)?, gated(fields)?); fields.layers()?])
}

/// Layers from `max_window_layers` on keep a window, where it is switched on.
pub(super) fn upper_windows(fields: &Fields<'_>) -> Layers {
    let (layers, heads, window) = (fields.layers()?, heads(fields)?, gated(fields)?);
    if let Some(types) = fields.texts("layer_types")? {
        return by_types(fields, &types, heads);
    }
    let Some(window) = window else { return Ok(all(layers, heads)) };
    let first = fields.need("max_window_layers")?;
    Ok((0..layers).map(|i| windowed(heads, (i as u64 >= first).then_some(window))).collect())
}

/// Every second layer below `max_window_layers` keeps a window, where it is switched on.
pub(super) fn lower_windows(fields: &Fields<'_>) -> Layers {
    let (layers, heads, window) = (fields.layers()?, heads(fields)?, gated(fields)?);
    if let Some(types) = fields.texts("layer_types")? {
        return by_types(fields, &types, heads);
    }
    let Some(window) = window else { return Ok(all(layers, heads)) };
    let end = fields.need("max_window_layers")?;
    let has = |i: usize| i.is_multiple_of(2) && (i as u64) < end;
    Ok((0..layers).map(|i| windowed(heads, has(i).then_some(window))).collect())
}

/// As `layer_types` says, or all but the last of each so many layers keep a window; the last so many may share.
pub(super) fn interleaved(fields: &Fields<'_>) -> Layers {
    let heads = heads(fields)?;
    let types = interleaved_types(fields)?;
    let layers = by_types(fields, &types, heads)?;
    shared(fields, &types, layers)
}

/// The types of layers whose windows come in a pattern.
pub(super) fn interleaved_types<'a>(fields: &Fields<'a>) -> Result<Vec<&'a str>, ReadError> {
    let layers = fields.layers()?;
    fields.understand(&["sliding_window_pattern", "global_attn_every_n_layers"]);
    if let Some(types) = fields.texts("layer_types")? {
        fields.as_many("layer_types", types.len(), layers)?;
        return Ok(types);
    }
    if fields.number("sliding_window")?.is_none() {
        return Ok(vec!["full_attention"; layers]);
    }
    let kind = |full| if full { "full_attention" } else { "sliding_attention" };
    // EXAONE writes its pattern in letters: local or global.
    let key = "sliding_window_pattern";
    if let Some(letters) = fields.object().get(key).and_then(|value| value.as_str()) {
        let letters = letters.as_bytes();
        if letters.is_empty() || letters.iter().any(|letter| !b"LG".contains(letter)) {
            return Err(fields.wrong(format!("{} is no pattern of the letters L and G", fields.place(key))));
        }
        return Ok((0..layers).map(|i| kind(letters[i % letters.len()] == b'G')).collect());
    }
    let every =
        match (fields.number("_sliding_window_pattern")?, fields.number("global_attn_every_n_layers")?) {
            (Some(every), _) | (None, Some(every)) => every,
            (None, None) => fields.need(key)?,
        };
    if every == 0 {
        return Err(fields.wrong(format!("{} is 0 layers", fields.place(key))));
    }
    Ok((1..=layers).map(|i| kind((i as u64).is_multiple_of(every))).collect())
}

/// Command A's experts: as `layer_types` says, or in a pattern, with another one for the first layers, which are dense.
pub(super) fn cohere2_moe(fields: &Fields<'_>) -> Layers {
    fields.understand(&["sliding_window_pattern"]);
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    if let Some(types) = fields.texts("layer_types")? {
        return by_types(fields, &types, heads);
    }
    let window = window(fields)?;
    let dense = fields.number("first_k_dense_replace")?.unwrap_or(0);
    let first = fields.positive("prefix_dense_sliding_window_pattern")?;
    let every = fields.positive("sliding_window_pattern")?;
    let full = |i: u64| match i.checked_sub(dense) {
        Some(after) => (after + 1).is_multiple_of(every),
        None => (i + 1).is_multiple_of(first),
    };
    Ok((0..layers as u64).map(|i| windowed(heads, window.filter(|_| !full(i)))).collect())
}

/// As `layer_types` says, or the first of every four keeps every token.
pub(super) fn first_full(fields: &Fields<'_>) -> Layers {
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    if let Some(types) = fields.texts("layer_types")? {
        return by_types(fields, &types, heads);
    }
    let window = window(fields)?;
    Ok((0..layers).map(|i| windowed(heads, window.filter(|_| !i.is_multiple_of(4)))).collect())
}

/// As `layer_types` says; every token without them.
pub(super) fn typed(fields: &Fields<'_>) -> Layers {
    let (layers, heads) = (fields.layers()?, heads(fields)?);
    fields.understand(&["sliding_window", "num_attention_heads_per_layer", "mtp_layer_types"]);
    match fields.texts("layer_types")? {
        Some(types) => by_types(fields, &types, heads),
        None => Ok(all(layers, heads)),
    }
}

/// As `layer_types` says, which has to be there.
pub(super) fn typed_only(fields: &Fields<'_>) -> Layers {
    let types = fields.texts("layer_types")?.ok_or_else(|| fields.missing("layer_types"))?;
    by_types(fields, &types, heads(fields)?)
}

/// As `layer_types` says; windows without them.
pub(super) fn typed_windows(fields: &Fields<'_>) -> Layers {
    match fields.texts("layer_types")? {
        Some(types) => by_types(fields, &types, heads(fields)?),
        None => one_window(fields),
    }
}

/// A layer for each of these types, as `transformers` names them.
pub(super) fn by_types(fields: &Fields<'_>, types: &[&str], heads: Heads) -> Layers {
    fields.as_many("layer_types", types.len(), fields.layers()?)?;
    types.iter().map(|kind| Ok(Layer::keeping(by_type(fields, kind, heads)?))).collect()
}

/// What a layer of this type keeps.
pub(super) fn by_type(fields: &Fields<'_>, kind: &str, heads: Heads) -> Result<Cache, ReadError> {
    match kind {
        "full_attention" | "attention" => Ok(Cache::Full(heads)),
        "sliding_attention" => Ok(Cache::Window { heads, tokens: fields.positive("sliding_window")? }),
        "chunked_attention" => Ok(Cache::Window { heads, tokens: fields.positive("attention_chunk_size")? }),
        _ => Err(unknown_type(fields, kind)),
    }
}

/// A type of layers that this family's reader does not know.
pub(super) fn unknown_type(fields: &Fields<'_>, kind: &str) -> ReadError {
    let shown: String = kind.chars().take(40).collect();
    fields.wrong(format!("layers of the type `{shown}` are not known in the family {}", fields.family()))
}

/// The last `num_kv_shared_layers` keep nothing of their own: each looks at what the last layer of its type before them keeps.
pub(super) fn shared(fields: &Fields<'_>, types: &[&str], mut layers: Vec<Layer>) -> Layers {
    let sharing = fields.number("num_kv_shared_layers")?.unwrap_or(0);
    let count = layers.len();
    let Some(first) = usize::try_from(sharing).ok().and_then(|sharing| count.checked_sub(sharing)) else {
        return Err(
            fields.wrong(format!("{sharing} of {count} layers share a cache: none is left that keeps it"))
        );
    };
    let (own, shared) = types.split_at(first);
    for (place, (i, kind)) in layers.iter_mut().skip(first).zip(shared.iter().enumerate()) {
        let Some(layer) = own.iter().rposition(|known| known == kind) else {
            let i = first + i;
            return Err(fields.wrong(format!(
                "layer {i} shares the cache of an earlier `{kind}`, and no layer below {first} is one"
            )));
        };
        *place = Layer::keeping(Cache::Shared { layer });
    }
    Ok(layers)
}
