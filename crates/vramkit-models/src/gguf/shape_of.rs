//! What a model in a GGUF file keeps, layer by layer, from its keys.
//!
//! In: a header. Out: [`ModelShape`]. Which kind of layers an architecture has is a line in `architectures.rs`; one that is not
//! listed there is refused by its name. Keys and defaults are those of llama.cpp v0.5.0 (`load_arch_hparams`).

use crate::error::{ReadError, nearest};
use crate::gguf::architectures::{KNOWN, Kind, Pattern, Recurrent, Span};
use crate::gguf::keys::Keys;
use crate::gguf::{GgufHeader, GgufValue};
use crate::shape::{Cache, Heads, Layer, ModelShape, State, Widths};

/// Most layers that llama.cpp takes.
const LAYERS: u64 = 512;

/// The shape that a header's keys describe.
///
/// # Errors
/// An architecture that is not known, a key that is missing, a number that contradicts another: each named.
pub(crate) fn shape_of(file: &str, header: &GgufHeader) -> Result<ModelShape, ReadError> {
    let keys = Keys { file, header };
    let name = header.architecture.as_str();
    let Some(&(_, kind)) = KNOWN.iter().find(|known| known.0 == name) else {
        let hint = nearest(name, KNOWN.iter().map(|known| known.0));
        let known: Vec<_> = KNOWN.iter().map(|known| known.0).collect();
        return Err(keys.wrong(format!(
            "architecture `{name}` is not known, so nobody can tell what its layers keep{hint}; known are {}",
            known.join(", ")
        )));
    };
    let common = Common::read(keys)?;
    let mut shape = ModelShape::new(name, common.hidden);
    shape.trained_context = keys.found("context_length")?;
    shape.tied_embeddings = (!header.tensors.is_empty()).then(|| header.tensor("output.weight").is_none());
    shape.widths = common.widths(keys)?;
    let layers = layers(keys, kind, &common)?;
    let (trunk, drafts) = layers.split_at(common.trunk);
    shape.layers = trunk.to_vec();
    shape.draft_layers = drafts.to_vec();
    Ok(shape)
}

/// What every architecture says.
struct Common {
    hidden: u64,
    /// Layers, those that predict further tokens counted, and without them.
    all: usize,
    trunk: usize,
    heads: Vec<u64>,
    kv_heads: Vec<u64>,
    feed_forward: Vec<u64>,
    key: u64,
    value: u64,
}

impl Common {
    fn read(keys: Keys<'_>) -> Result<Self, ReadError> {
        let all = keys.needed("block_count")?;
        if all == 0 || all > LAYERS {
            return Err(keys.wrong(format!("{all} layers; llama.cpp takes 1 to {LAYERS}")));
        }
        let drafts = keys.number("nextn_predict_layers", 0)?;
        if drafts >= all {
            return Err(keys.wrong(format!("{drafts} of {all} layers predict further tokens")));
        }
        let hidden = keys.needed("embedding_length")?;
        if hidden == 0 {
            return Err(keys.wrong("embeddings of 0 numbers"));
        }
        let (all, trunk) = (all as usize, (all - drafts) as usize);
        // Arrays may leave the layers that predict further tokens out.
        let each = |key: &str| -> Result<Option<Vec<u64>>, ReadError> {
            let mut found = keys.each(key, all).or_else(|error| keys.each(key, trunk).map_err(|_| error))?;
            if let Some(values) = &mut found {
                let last = values.last().copied().unwrap_or(0);
                values.resize(all, last);
            }
            Ok(found)
        };
        let heads = each("attention.head_count")?.unwrap_or_else(|| vec![0; all]);
        let kv_heads = each("attention.head_count_kv")?.unwrap_or_else(|| heads.clone());
        for (at, (&heads, &kv_heads)) in heads.iter().zip(&kv_heads).enumerate() {
            if kv_heads > heads || (kv_heads > 0 && heads % kv_heads != 0) {
                return Err(
                    keys.wrong(format!("layer {at}: {heads} heads cannot share {kv_heads} KV heads evenly"))
                );
            }
        }
        let widest = heads.iter().copied().find(|&heads| heads > 0);
        let default = widest.map_or(0, |heads| hidden / heads);
        Ok(Self {
            hidden,
            all,
            trunk,
            feed_forward: each("feed_forward_length")?.unwrap_or_else(|| vec![0; all]),
            key: keys.number("attention.key_length", default)?,
            value: keys.number("attention.value_length", default)?,
            heads,
            kv_heads,
        })
    }

    fn widths(&self, keys: Keys<'_>) -> Result<Widths, ReadError> {
        let most = |values: &[u64]| values.iter().copied().max().unwrap_or(0);
        let header = keys.header;
        let vocabulary = match keys.found("vocab_size")? {
            Some(size) => size,
            None => {
                match (header.tensor("token_embd.weight"), header.metadata.get("tokenizer.ggml.tokens")) {
                    (Some(tensor), _) => tensor.dims[1],
                    (None, Some(GgufValue::Array(count))) => *count,
                    _ => 0,
                }
            }
        };
        let expert_feed_forward =
            keys.each("expert_feed_forward_length", self.trunk)?.map_or(0, |each| most(&each));
        Ok(Widths {
            hidden: self.hidden,
            vocabulary,
            heads: most(&self.heads),
            head: self.key,
            feed_forward: most(&self.feed_forward),
            experts: keys.number("expert_count", 0)?,
            experts_used: keys.each("expert_used_count", self.trunk)?.map_or(0, |each| most(&each)),
            expert_feed_forward,
            shared_feed_forward: keys.number("expert_shared_feed_forward_length", 0)?,
        })
    }

    fn heads(&self, layer: usize) -> Heads {
        Heads { kv_heads: self.kv_heads[layer], key: self.key, value: self.value }
    }

    /// Keys and values of a layer; nothing where it has no heads.
    fn full(&self, layer: usize) -> Layer {
        let heads = self.heads(layer);
        Layer::keeping(if heads.kv_heads == 0 { Cache::None } else { Cache::Full(heads) })
    }
}

fn layers(keys: Keys<'_>, kind: Kind, common: &Common) -> Result<Vec<Layer>, ReadError> {
    let plain = |layer: usize| common.full(layer);
    let all = 0..common.all;
    Ok(match kind {
        Kind::Nothing => vec![Layer::default(); common.all],
        Kind::Plain => {
            with_heads(keys, common)?;
            all.map(plain).collect()
        }
        Kind::Windows(span, pattern) => {
            with_heads(keys, common)?;
            windows(keys, common, span, pattern)?
        }
        Kind::Shared(span, pattern, from) => {
            let own = match from {
                Some(from) => from as usize,
                None => {
                    let shared = keys.number("attention.shared_kv_layers", 0)? as usize;
                    common.all.checked_sub(shared).ok_or_else(|| {
                        keys.wrong(format!("{shared} of {} layers share another's cache", common.all))
                    })?
                }
            };
            let mut layers = windows(keys, common, span, pattern)?;
            for layer in layers.iter_mut().skip(own) {
                let back = if matches!(layer.cache, Cache::Window { .. }) { 2 } else { 1 };
                let shared = own.checked_sub(back).ok_or_else(|| {
                    keys.wrong(format!("layers from {own} on share the cache of layers that are not there"))
                })?;
                layer.cache = Cache::Shared { layer: shared };
            }
            layers
        }
        Kind::Latent | Kind::Indexed => {
            with_heads(keys, common)?;
            let indexer = matches!(kind, Kind::Indexed);
            let length = if indexer { keys.needed("attention.indexer.key_length")? } else { 0 };
            // Releases before GLM 5.2, told by their context, have an indexer in every layer.
            let in_all = keys.header.architecture != "glm-dsa" || keys.number("context_length", 0)? < 1 << 20;
            let full = match keys.flags("attention.indexer.types", common.trunk)? {
                Some(flags) => flags,
                None if indexer && !in_all => {
                    return Err(keys.wrong("no `glm-dsa.attention.indexer.types` in it"));
                }
                None => vec![true; common.trunk],
            };
            let with = |at: usize| full.get(at).copied().unwrap_or(false);
            all.map(|at| latent(keys, common, at, if with(at) { length } else { 0 }))
                .collect::<Result<_, _>>()?
        }
        Kind::Hybrid(recurrent) | Kind::LatentHybrid(recurrent) => {
            let state = state(keys, common)?;
            let window = keys.number("attention.sliding_window", 0)?;
            let is_recurrent = recurrent_layers(keys, common, recurrent)?;
            all.map(|at| match (is_recurrent[at], kind) {
                (true, _) => Ok(Layer::recurrent(Cache::None, state)),
                (false, Kind::LatentHybrid(_)) => latent(keys, common, at, 0),
                // LFM2's attention may look back a window (`lfm2.cpp`).
                (false, _) if window > 0 && keys.header.architecture.starts_with("lfm2") => {
                    Ok(Layer::keeping(Cache::Window { heads: common.heads(at), tokens: window }))
                }
                (false, _) => Ok(plain(at)),
            })
            .collect::<Result<_, _>>()?
        }
        Kind::Both => {
            let state = state(keys, common)?;
            all.map(|at| Layer::recurrent(plain(at).cache, state)).collect()
        }
        Kind::Recurrent => vec![Layer::recurrent(Cache::None, state(keys, common)?); common.all],
    })
}

/// A model without any heads is no model of attention.
fn with_heads(keys: Keys<'_>, common: &Common) -> Result<(), ReadError> {
    match common.heads.iter().all(|&heads| heads == 0) {
        true => Err(keys.wrong(format!("no `{}.attention.head_count` in it", keys.header.architecture))),
        false => Ok(()),
    }
}

fn windows(keys: Keys<'_>, common: &Common, span: Span, pattern: Pattern) -> Result<Vec<Layer>, ReadError> {
    const WINDOW: &str = "attention.sliding_window";
    const PATTERN: &str = "attention.sliding_window_pattern";
    let tokens = match span {
        Span::Needed => keys.needed(WINDOW)?,
        Span::Optional => keys.number(WINDOW, 0)?,
        // EXAONE 4 has windows in its model of 64 layers alone.
        Span::Default(_) if keys.header.architecture == "exaone4" && common.trunk != 64 => 0,
        Span::Default(tokens) => keys.number(WINDOW, tokens)?,
        Span::Fixed(tokens) => {
            if keys.found(WINDOW)? == Some(0) {
                0
            } else {
                tokens
            }
        }
        Span::FixedIfFound(tokens) => {
            if keys.number(WINDOW, 0)? == 0 {
                0
            } else {
                tokens
            }
        }
    };
    if tokens == 0 {
        return Ok((0..common.all).map(|at| common.full(at)).collect());
    }
    let listed = keys.flags(PATTERN, common.trunk)?;
    let period = |otherwise: u64| -> Result<u64, ReadError> {
        if listed.is_some() { Ok(otherwise) } else { keys.number(PATTERN, otherwise) }
    };
    let place = |at: usize, period: u64| at as u64 % period.max(1);
    let is_windowed: Vec<bool> = match (pattern, listed.clone()) {
        (_, Some(flags)) => flags,
        (Pattern::Listed, None) => {
            return Err(keys.wrong(format!("no `{}.{PATTERN}` in it", keys.header.architecture)));
        }
        (Pattern::LastFull(otherwise), None) => {
            let period = period(otherwise)?;
            (0..common.trunk).map(|at| period == 0 || place(at, period) + 1 < period).collect()
        }
        (Pattern::FirstFull(otherwise), None) => {
            let period = period(otherwise)?;
            (0..common.trunk).map(|at| period == 0 || place(at, period) != 0).collect()
        }
    };
    let key = keys.number("attention.key_length_swa", common.key)?;
    let value = keys.number("attention.value_length_swa", common.value)?;
    Ok((0..common.all)
        .map(|at| match is_windowed.get(at) {
            Some(true) if common.kv_heads[at] > 0 => {
                let heads = Heads { kv_heads: common.kv_heads[at], key, value };
                Layer::keeping(Cache::Window { heads, tokens })
            }
            _ => common.full(at),
        })
        .collect())
}

/// One vector of every token where the file has the projections absorbed, as all since 2025 have; else keys and values.
fn latent(keys: Keys<'_>, common: &Common, at: usize, indexer: u64) -> Result<Layer, ReadError> {
    let absorbed = keys.number("attention.key_length_mla", 0)? > 0;
    if !absorbed {
        return Ok(common.full(at));
    }
    let latent = keys.needed("attention.kv_lora_rank")?;
    let rope = common.key.checked_sub(latent).ok_or_else(|| {
        let key = common.key;
        keys.wrong(format!("`attention.key_length` is {key}, less than `attention.kv_lora_rank` {latent}"))
    })?;
    Ok(Layer::keeping(Cache::Latent { latent, rope, indexer }))
}

fn recurrent_layers(keys: Keys<'_>, common: &Common, recurrent: Recurrent) -> Result<Vec<bool>, ReadError> {
    let mut flags: Vec<bool> = match recurrent {
        Recurrent::NoHeads => common.kv_heads.iter().map(|&heads| heads == 0).collect(),
        Recurrent::NoHeadsNoFeedForward => common
            .kv_heads
            .iter()
            .zip(&common.feed_forward)
            .map(|(&heads, &width)| heads == 0 && width == 0)
            .collect(),
        Recurrent::Interval(otherwise) => match keys.flags("attention.recurrent_layers", common.trunk)? {
            Some(flags) => flags,
            None => {
                let interval = keys.number("full_attention_interval", otherwise)?;
                if interval == 0 {
                    return Err(keys.wrong("`full_attention_interval` is 0"));
                }
                (0..common.trunk).map(|at| !(at as u64 + 1).is_multiple_of(interval)).collect()
            }
        },
    };
    flags.resize(common.all, false);
    // Layers that predict further tokens attend.
    flags[common.trunk..].fill(false);
    Ok(flags)
}

/// What a recurrent layer keeps (`llama_hparams::n_embd_r`, `n_embd_s`).
fn state(keys: Keys<'_>, common: &Common) -> Result<State, ReadError> {
    let hidden = common.hidden;
    let most_heads = common.heads.iter().copied().max().unwrap_or(0);
    match keys.header.architecture.as_str() {
        "rwkv6" | "rwkv6qwen2" | "rwkv7" | "arwkv7" => {
            let shifts = keys.number("token_shift_count", 2)?;
            let head = keys.needed("wkv.head_size")?;
            Ok(State { convolution: shifts.saturating_mul(hidden), recurrent: hidden.saturating_mul(head) })
        }
        "lfm2" | "lfm2moe" => {
            let length = keys.needed("shortconv.l_cache")?;
            Ok(State { convolution: hidden.saturating_mul(length.saturating_sub(1)), recurrent: 0 })
        }
        "kimi-linear" => {
            let head = keys.needed("kda.head_dim")?;
            let kernel = keys.needed("ssm.conv_kernel")?;
            let inner = most_heads.saturating_mul(head);
            Ok(State {
                convolution: inner.saturating_mul(3 * kernel.saturating_sub(1)),
                recurrent: inner.saturating_mul(head),
            })
        }
        "minimax-01" => {
            let head = common.key;
            Ok(State { convolution: 0, recurrent: head.saturating_mul(head).saturating_mul(most_heads) })
        }
        _ => {
            let kernel = keys.needed("ssm.conv_kernel")?;
            let inner = keys.needed("ssm.inner_size")?;
            let state = keys.needed("ssm.state_size")?;
            let groups = keys.number("ssm.group_count", 0)?;
            let channels = inner.saturating_add(groups.saturating_mul(state).saturating_mul(2));
            Ok(State {
                convolution: channels.saturating_mul(kernel.saturating_sub(1)),
                recurrent: inner.saturating_mul(state),
            })
        }
    }
}
