//! What an architecture's keys say of the arithmetic: widths, heads, rotation, windows, which norms there are.
//!
//! In: a GGUF header and the shape that it describes. Out: [`Hyper`], complete and held against itself, so that nothing later meets a number that cannot be.
//! Keys and defaults are those of llama.cpp v0.5.0. An architecture that is not here is refused by its name.

use vramkit_models::gguf::{GgufHeader, GgufValue};
use vramkit_models::shape::{Cache, Heads, Layer, ModelShape};

use crate::error::LoadError;

/// Which family's graph a file asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    Llama,
    Mistral,
    Phi3,
    Qwen2,
    Qwen3,
    Gemma3,
}

/// Architectures by the names that files have for them.
const KNOWN: &[(&str, Architecture)] = &[
    ("llama", Architecture::Llama),
    ("mistral", Architecture::Mistral),
    ("mistral3", Architecture::Mistral),
    ("phi3", Architecture::Phi3),
    ("qwen2", Architecture::Qwen2),
    ("qwen3", Architecture::Qwen3),
    ("gemma3", Architecture::Gemma3),
];

/// How pairs of numbers are taken for rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// Neighbours.
    Neighbours,
    /// The first half with the second.
    Halves,
}

/// How positions rotate queries and keys.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rotation {
    pub pairs: Pairs,
    /// Numbers of a head that rotate.
    pub dimensions: usize,
    pub base: f32,
    /// Positions are multiplied by this.
    pub scale: f32,
    pub yarn: Option<Yarn>,
    /// Cosines and sines are multiplied by this.
    pub magnitude: f32,
}

/// Interpolation by frequency (YaRN, arXiv:2309.00071).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Yarn {
    pub original_context: u32,
    pub beta_fast: f32,
    pub beta_slow: f32,
}

/// Which tensor has factors for frequencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LongFactors {
    /// None.
    None,
    /// `rope_freqs.weight`, where it is there.
    One,
    /// `rope_factors_short.weight` up to this many tokens of context, `rope_factors_long.weight` beyond.
    ShortOrLong { original_context: u64 },
}

/// Everything but the weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hyper {
    pub architecture: Architecture,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    /// Numbers of a query or key head, and of a value head.
    pub key: usize,
    pub value: usize,
    pub feed_forward: usize,
    pub vocabulary: usize,
    pub trained_context: u64,
    pub epsilon: f32,
    /// Of each layer, how many tokens it looks back, the present one counted; `None` for all.
    pub windows: Vec<Option<usize>>,
    pub rotation: Rotation,
    /// Of layers with a window, where it is another.
    pub window_rotation: Option<Rotation>,
    pub factors: LongFactors,
    /// Queries are multiplied by this before they meet keys.
    pub attention_scale: f32,
    /// Embeddings are multiplied by this.
    pub embedding_scale: f32,
    pub logit_cap: Option<f32>,
    /// Whether one matrix makes queries, keys and values, and one gate and up.
    pub fused: Fused,
}

/// Which matrices of a file are several in one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fused {
    pub qkv: bool,
    pub gate_up: bool,
}

/// Keys of one file's architecture.
struct Keys<'a> {
    header: &'a GgufHeader,
    /// What to call the file.
    model: &'a str,
}

impl Keys<'_> {
    fn wrong(&self, reason: impl Into<String>) -> LoadError {
        LoadError::Model { model: self.model.to_owned(), reason: reason.into() }
    }

    fn number(&self, key: &str) -> Result<Option<u64>, LoadError> {
        self.header.number(key).map_err(|error| self.wrong(error.to_string()))
    }

    fn float(&self, key: &str) -> Result<Option<f32>, LoadError> {
        let value = match self.header.value(key) {
            None => return Ok(None),
            Some(GgufValue::Float(value)) => *value as f32,
            Some(GgufValue::Integer(value)) => *value as f32,
            Some(_) => return Err(self.wrong(format!("`{key}` is no number"))),
        };
        if value.is_finite() { Ok(Some(value)) } else { Err(self.wrong(format!("`{key}` is {value}"))) }
    }

    fn positive(&self, key: &str, otherwise: f32) -> Result<f32, LoadError> {
        match self.float(key)? {
            Some(value) if value > 0.0 => Ok(value),
            Some(value) => Err(self.wrong(format!("`{key}` is {value}; it must be above 0"))),
            None => Ok(otherwise),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&str>, LoadError> {
        match self.header.value(key) {
            Some(GgufValue::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(format!("`{key}` is no text"))),
            None => Ok(None),
        }
    }

    /// Keys that would change the arithmetic, and that this engine does not have.
    fn refuse(&self, keys: &[&str]) -> Result<(), LoadError> {
        for key in keys {
            match self.header.value(key) {
                None => {}
                Some(GgufValue::Float(value)) if *value == 0.0 => {}
                Some(GgufValue::Integer(0)) => {}
                Some(GgufValue::Bool(false)) => {}
                Some(value) => {
                    return Err(
                        self.wrong(format!("`{key}` is {value:?}, which this engine does not compute"))
                    );
                }
            }
        }
        Ok(())
    }
}

impl Hyper {
    /// What a file's header says.
    ///
    /// # Errors
    /// [`LoadError::Architecture`] for one that is not supported; [`LoadError::Model`] for a key that is missing, cannot be, or
    /// asks for what the engine does not compute.
    pub fn read(header: &GgufHeader, shape: &ModelShape, model: &str) -> Result<Self, LoadError> {
        let keys = Keys { header, model };
        let name = header.architecture.as_str();
        let Some(&(_, architecture)) = KNOWN.iter().find(|known| known.0 == name) else {
            let known = KNOWN.iter().map(|known| known.0).collect::<Vec<_>>().join(", ");
            return Err(LoadError::Architecture { architecture: name.to_owned(), known });
        };
        keys.refuse(&[
            "expert_count",
            "attention.temperature_scale",
            "attn_logit_softcapping",
            "logit_scale",
            "residual_scale",
            "embedding_scale",
            "attention.scale",
            "attention.clamp_kqv",
            "nextn_predict_layers",
        ])?;
        // The one key whose usual value is true.
        if !matches!(header.value("attention.causal"), None | Some(GgufValue::Bool(true))) {
            return Err(keys.wrong("`attention.causal` is not true: this engine's tokens look back alone"));
        }
        let (heads, windows) = layers(&keys, &shape.layers)?;
        let narrow = |value: u64, what: &str| match u32::try_from(value) {
            Ok(value) if value > 0 => Ok(value as usize),
            _ => Err(keys.wrong(format!("{what} is {value}"))),
        };
        let widths = shape.widths;
        let key = narrow(heads.key, "the length of a key")?;
        let hyper = Self {
            architecture,
            hidden: narrow(widths.hidden, "the embedding's length")?,
            heads: narrow(widths.heads, "the number of heads")?,
            kv_heads: narrow(heads.kv_heads, "the number of KV heads")?,
            key,
            value: narrow(heads.value, "the length of a value")?,
            feed_forward: narrow(widths.feed_forward, "the feed-forward block's length")?,
            vocabulary: narrow(widths.vocabulary, "the vocabulary")?,
            trained_context: shape
                .trained_context
                .ok_or_else(|| keys.wrong(format!("no `{name}.context_length` in it")))?,
            epsilon: keys
                .float("attention.layer_norm_rms_epsilon")?
                .filter(|epsilon| *epsilon >= 0.0)
                .ok_or_else(|| keys.wrong(format!("no `{name}.attention.layer_norm_rms_epsilon` in it")))?,
            rotation: rotation(&keys, architecture, key)?,
            window_rotation: None,
            factors: factors(&keys, architecture, shape.trained_context)?,
            attention_scale: 1.0 / (key as f32).sqrt(),
            embedding_scale: 1.0,
            logit_cap: None,
            windows,
            fused: Fused {
                qkv: architecture == Architecture::Phi3 && header.tensor("blk.0.attn_qkv.weight").is_some(),
                gate_up: architecture == Architecture::Phi3,
            },
        };
        if architecture == Architecture::Gemma3 { gemma(&keys, hyper, shape.layers.len()) } else { Ok(hyper) }
    }

    /// The windows that there are, each once, in the order of the layers.
    pub fn distinct_windows(&self) -> Vec<Option<usize>> {
        let mut found = Vec::new();
        for window in &self.windows {
            if !found.contains(window) {
                found.push(*window);
            }
        }
        found
    }

    pub fn layers(&self) -> usize {
        self.windows.len()
    }

    /// Numbers of a token's keys and values in one layer.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * (self.key + self.value)
    }
}

/// Heads, which must be the same in every layer, and each layer's window.
fn layers(keys: &Keys<'_>, layers: &[Layer]) -> Result<(Heads, Vec<Option<usize>>), LoadError> {
    // llama files of Mistral's models may name a window for all layers.
    let all = keys.number("attention.sliding_window")?.filter(|tokens| *tokens > 0);
    let of_all = matches!(keys.header.architecture.as_str(), "llama" | "mistral" | "mistral3");
    let mut found: Option<Heads> = None;
    let mut windows = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let (heads, window) = match layer.cache {
            Cache::Full(heads) => (heads, all.filter(|_| of_all)),
            Cache::Window { heads, tokens } => (heads, Some(tokens)),
            _ => return Err(keys.wrong(format!("layer {at} keeps no keys and values of its own"))),
        };
        if *found.get_or_insert(heads) != heads {
            return Err(keys.wrong(format!("layer {at} has other heads than those before it")));
        }
        windows.push(window.map(|tokens| usize::try_from(tokens).unwrap_or(usize::MAX)));
    }
    let heads = found.ok_or_else(|| keys.wrong("no layers in it"))?;
    let query = keys.header.numbers("attention.head_count", layers.len());
    let query = query.map_err(|error| keys.wrong(error.to_string()))?.unwrap_or_default();
    if query.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(keys.wrong("its layers have different numbers of heads"));
    }
    Ok((heads, windows))
}

fn rotation(keys: &Keys<'_>, architecture: Architecture, key: usize) -> Result<Rotation, LoadError> {
    let dimensions = match keys.number("rope.dimension_count")? {
        Some(count) if count as usize <= key && count.is_multiple_of(2) && count > 0 => count as usize,
        Some(count) => {
            return Err(keys.wrong(format!("`rope.dimension_count` is {count} for heads of {key}")));
        }
        None if key.is_multiple_of(2) => key,
        None => return Err(keys.wrong(format!("heads of {key} numbers cannot be rotated in pairs"))),
    };
    let pairs = match architecture {
        Architecture::Llama | Architecture::Mistral => Pairs::Neighbours,
        _ => Pairs::Halves,
    };
    let plain = Rotation {
        pairs,
        dimensions,
        base: keys.positive("rope.freq_base", 10_000.0)?,
        scale: 1.0,
        yarn: None,
        magnitude: keys.positive("rope.scaling.attn_factor", 1.0)?,
    };
    // The older key means linear scaling.
    let factor = match keys.float("rope.scaling.factor")? {
        Some(factor) => factor,
        None => keys.float("rope.scale_linear")?.unwrap_or(0.0),
    };
    let scale = if factor == 0.0 { 1.0 } else { 1.0 / factor };
    if scale <= 0.0 {
        return Err(keys.wrong(format!("`rope.scaling.factor` is {factor}")));
    }
    match keys.text("rope.scaling.type")?.unwrap_or("linear") {
        "none" => Ok(plain),
        "linear" => Ok(Rotation { scale, ..plain }),
        // Factors of frequencies say it all, in the one family whose files have them.
        "longrope" if architecture == Architecture::Phi3 && scale == 1.0 => Ok(plain),
        "longrope" => Err(keys.wrong(
            "`rope.scaling.type` is `longrope`, which this engine computes for phi3 alone, and without `rope.scaling.factor`",
        )),
        "yarn" if architecture == Architecture::Gemma3 || factor < 1.0 => Err(keys.wrong(format!(
            "`rope.scaling.type` is `yarn` with a factor of {factor}; this engine computes it from 1 on, and not for gemma3"
        ))),
        "yarn" => {
            let original = match keys.number("rope.scaling.original_context_length")? {
                Some(original) => original,
                None => keys.number("context_length")?.unwrap_or(0),
            };
            let original_context = u32::try_from(original)
                .ok()
                .filter(|original| *original > 0)
                .ok_or_else(|| keys.wrong(format!("`rope.scaling.original_context_length` is {original}")))?;
            let yarn = Yarn {
                original_context,
                beta_fast: keys.positive("rope.scaling.yarn_beta_fast", 32.0)?,
                beta_slow: keys.positive("rope.scaling.yarn_beta_slow", 1.0)?,
            };
            let ext = keys.float("rope.scaling.yarn_ext_factor")?.unwrap_or(1.0);
            let log = keys.float("rope.scaling.yarn_log_multiplier")?.unwrap_or(0.0);
            if ext != 1.0 || log != 0.0 {
                return Err(
                    keys.wrong("a yarn scaling with factors of its own, which this engine does not compute")
                );
            }
            let magnitude = plain.magnitude * (1.0 + 0.1 * (1.0 / scale).ln());
            Ok(Rotation { scale, yarn: Some(yarn), magnitude, ..plain })
        }
        other => Err(keys
            .wrong(format!("`rope.scaling.type` is `{other}`; none, linear, yarn and longrope are known"))),
    }
}

fn factors(
    keys: &Keys<'_>,
    architecture: Architecture,
    trained: Option<u64>,
) -> Result<LongFactors, LoadError> {
    match architecture {
        Architecture::Llama | Architecture::Mistral => return Ok(LongFactors::One),
        Architecture::Phi3 => {}
        _ => return Ok(LongFactors::None),
    }
    let original = keys.number("rope.scaling.original_context_length")?;
    Ok(LongFactors::ShortOrLong { original_context: original.or(trained).unwrap_or(0) })
}

/// What Gemma 3 does otherwise.
fn gemma(keys: &Keys<'_>, hyper: Hyper, layers: usize) -> Result<Hyper, LoadError> {
    let local = Rotation {
        base: keys.positive("rope.freq_base_swa", 10_000.0)?,
        scale: 1.0,
        yarn: None,
        ..hyper.rotation.clone()
    };
    let turned = keys.number("rope.dimension_count_swa")?;
    if turned.is_some_and(|turned| turned != hyper.rotation.dimensions as u64) {
        return Err(keys.wrong(
            "`rope.dimension_count_swa` is not `rope.dimension_count`, which this engine does not compute",
        ));
    }
    // The model of 27 billion parameters, told by its layers, scales by the hidden width of a head.
    let of_a_head = if layers == 62 { hyper.hidden / hyper.heads } else { hyper.key };
    let cap = keys.float("final_logit_softcapping")?.filter(|cap| *cap != 0.0);
    if let Some(cap) = cap.filter(|cap| *cap < 0.0) {
        return Err(keys.wrong(format!("`final_logit_softcapping` is {cap}; it must be 0 or more")));
    }
    Ok(Hyper {
        window_rotation: Some(local),
        attention_scale: 1.0 / (of_a_head as f32).sqrt(),
        embedding_scale: (hyper.hidden as f32).sqrt(),
        logit_cap: cap,
        ..hyper
    })
}
