//! What a model keeps of a sequence, layer by layer.
//!
//! In: what a header or a configuration says (`gguf/`, `config/` fill these types in). Out: [`ModelShape`], from which bytes
//! follow as `growing per token + bounded per sequence + constant per sequence`. Never here: how an engine rounds, pads or
//! shares what it keeps; that is an engine's own (`vramkit-fit`).
//!
//! ```
//! use vramkit_models::shape::{Cache, Heads, Layer, ModelShape};
//!
//! // Two layers with 8 KV heads of 128 numbers, of which the second keeps the last 1,024 tokens alone.
//! let heads = Heads { kv_heads: 8, key: 128, value: 128 };
//! let mut shape = ModelShape::new("toy", 4096);
//! shape.layers = vec![
//!     Layer::keeping(Cache::Full(heads)),
//!     Layer::keeping(Cache::Window { heads, tokens: 1024 }),
//! ];
//! let kept = shape.elements(1);
//! assert_eq!(kept.growing_per_token, 2 * 8 * 128);
//! assert_eq!(kept.at(100), 2 * 2 * 8 * 128 * 100);
//! assert_eq!(kept.at(5000), 2 * 8 * 128 * 5000 + 2 * 8 * 128 * 1024);
//! ```

/// What a model keeps, and how wide it is.
///
/// ```
/// use vramkit_models::shape::{Cache, Heads, Layer, ModelShape};
///
/// let mut llama = ModelShape::new("llama", 4096);
/// llama.layers = vec![Layer::keeping(Cache::Full(Heads { kv_heads: 8, key: 128, value: 128 })); 32];
/// assert_eq!(llama.elements(1).growing_per_token * 2, 131_072); // bytes of a token in 16-bit numbers
/// assert_eq!(llama.elements(4).growing_per_token * 2, 32_768); // on each of four devices
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelShape {
    /// The architecture's name as its file has it: `general.architecture` of GGUF, `model_type` of a configuration.
    pub architecture: String,
    /// The layers that every token passes, in order.
    pub layers: Vec<Layer>,
    /// Layers that predict several tokens at once (multi-token prediction), used when an engine is told to draft with them.
    pub draft_layers: Vec<Layer>,
    /// How wide it is.
    pub widths: Widths,
    /// Most tokens that it was trained for.
    pub trained_context: Option<u64>,
    /// Most tokens with its positions scaled by a factor (`rope_scaling`), as vLLM takes them; `None` where they are not scaled, or
    /// where [`trained_context`](Self::trained_context) is the scaled length already.
    pub scaled_context: Option<u64>,
    /// Whether the output's matrix is the one of the token embeddings; `None` where nothing says.
    pub tied_embeddings: Option<bool>,
}

/// How wide a model is, in numbers. What is not known, or is not there, is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Widths {
    /// Numbers of a token between layers.
    pub hidden: u64,
    /// Entries of the vocabulary.
    pub vocabulary: u64,
    /// Query heads of the widest layer.
    pub heads: u64,
    /// Numbers in a query head.
    pub head: u64,
    /// Numbers inside a dense feed-forward block; the widest of any layer.
    pub feed_forward: u64,
    /// Experts of a layer.
    pub experts: u64,
    /// Experts that a token passes.
    pub experts_used: u64,
    /// Numbers inside one expert.
    pub expert_feed_forward: u64,
    /// Numbers inside the experts that every token passes, together.
    pub shared_feed_forward: u64,
}

/// What one layer keeps of a sequence.
///
/// ```
/// use vramkit_models::shape::{Cache, Layer, ModelShape, State};
///
/// // Mamba keeps a state, whatever a sequence's length.
/// let mut mamba = ModelShape::new("mamba", 2560);
/// let state = State { convolution: 3 * 5120, recurrent: 16 * 5120 };
/// mamba.layers = vec![Layer::recurrent(Cache::None, state); 64];
/// assert_eq!(mamba.elements(1).at(1), mamba.elements(1).at(1_000_000));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layer {
    /// What it keeps of tokens.
    pub cache: Cache,
    /// What it keeps of the sequence as a whole.
    pub state: State,
}

impl Layer {
    /// A layer that keeps this of tokens, and nothing of the sequence as a whole.
    pub fn keeping(cache: Cache) -> Self {
        Self { cache, state: State::default() }
    }

    /// A layer with a recurrent state.
    pub fn recurrent(cache: Cache, state: State) -> Self {
        Self { cache, state }
    }
}

/// What a layer keeps of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cache {
    /// Nothing.
    #[default]
    None,
    /// A key and a value of every token.
    Full(Heads),
    /// A key and a value of the last so many tokens (a sliding window, or a chunk).
    Window {
        /// The heads.
        heads: Heads,
        /// Tokens that the layer looks back, the present one counted.
        tokens: u64,
    },
    /// One compressed vector of every token (multi-head latent attention, DeepSeek-V2, arXiv:2405.04434), and perhaps the keys of
    /// an indexer that chooses which tokens are looked at.
    Latent {
        /// Numbers of the vector.
        latent: u64,
        /// Numbers of the key that carries positions.
        rope: u64,
        /// Numbers of the indexer's key; 0 without one.
        indexer: u64,
    },
    /// One entry for each so many tokens, beside a window of whole tokens (DeepSeek-V4's compressed attention).
    Compressed {
        /// Tokens of an entry.
        every: u64,
        /// Numbers of an entry, and of a token in the window: a key that is its own value.
        vector: u64,
        /// Numbers of the indexer's key, one an entry; 0 without one.
        indexer: u64,
        /// Tokens of the window.
        window: u64,
    },
    /// What another layer keeps; nothing of its own.
    Shared {
        /// The layer, counted from 0.
        layer: usize,
    },
    /// Keys and values of another input (an encoder's output, a picture): so many tokens, whatever the text's length.
    Cross {
        /// The heads.
        heads: Heads,
        /// Tokens of the other input.
        tokens: u64,
    },
}

/// Keys and values of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// Heads that keep keys and values.
    pub kv_heads: u64,
    /// Numbers of a key.
    pub key: u64,
    /// Numbers of a value; 0 where the value is the key.
    pub value: u64,
}

impl Heads {
    /// Numbers of a token, on each of so many devices that share the heads (at least one head each).
    fn elements(self, devices: u64) -> u64 {
        self.kv_heads.div_ceil(devices).saturating_mul(self.key.saturating_add(self.value))
    }
}

/// What a layer keeps of a sequence as a whole, in numbers, whatever its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Inputs of a short convolution.
    pub convolution: u64,
    /// State of a recurrence (state-space model, linear attention).
    pub recurrent: u64,
}

/// Numbers that a model keeps of a sequence, on one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// Numbers for each token, without bound.
    pub growing_per_token: u64,
    /// Numbers for each token up to a number of tokens: (most tokens, numbers a token), each bound once, ascending.
    pub bounded: Vec<(u64, u64)>,
    /// Numbers of a sequence, whatever its length.
    pub constant: u64,
}

impl Kept {
    /// Numbers kept of a sequence of so many tokens.
    pub fn at(&self, tokens: u64) -> u64 {
        let bounded = self.bounded.iter().map(|&(most, each)| tokens.min(most).saturating_mul(each));
        bounded.fold(
            self.growing_per_token.saturating_mul(tokens).saturating_add(self.constant),
            u64::saturating_add,
        )
    }

    /// Numbers for each token of a sequence that has reached no bound yet.
    pub fn per_token(&self) -> u64 {
        self.bounded.iter().fold(self.growing_per_token, |sum, &(_, each)| sum.saturating_add(each))
    }
}

impl ModelShape {
    /// A model of this architecture without layers yet, whose tokens are so many numbers between them.
    pub fn new(architecture: impl Into<String>, hidden: u64) -> Self {
        Self {
            architecture: architecture.into(),
            layers: Vec::new(),
            draft_layers: Vec::new(),
            widths: Widths { hidden, ..Widths::default() },
            trained_context: None,
            scaled_context: None,
            tied_embeddings: None,
        }
    }

    /// Most tokens that it can be served with as its files say: scaled, or as it was trained.
    pub fn longest_context(&self) -> Option<u64> {
        self.scaled_context.or(self.trained_context)
    }

    /// Numbers that its layers keep of a sequence, on each of so many devices that share the heads by tensor parallelism.
    /// Heads are split, at least one each; a latent vector or a compressed entry is on every device whole; state is split.
    pub fn elements(&self, devices: u64) -> Kept {
        Self::sum(&self.layers, devices.max(1))
    }

    /// The same of the layers that predict several tokens at once.
    pub fn draft_elements(&self, devices: u64) -> Kept {
        Self::sum(&self.draft_layers, devices.max(1))
    }

    fn sum(layers: &[Layer], devices: u64) -> Kept {
        let mut kept = Kept::default();
        let mut bounded = std::collections::BTreeMap::<u64, u64>::new();
        for layer in layers {
            match layer.cache {
                Cache::None | Cache::Shared { .. } => {}
                Cache::Full(heads) => {
                    kept.growing_per_token = kept.growing_per_token.saturating_add(heads.elements(devices));
                }
                Cache::Latent { latent, rope, indexer } => {
                    let vector = latent.saturating_add(rope).saturating_add(indexer);
                    kept.growing_per_token = kept.growing_per_token.saturating_add(vector);
                }
                Cache::Compressed { every, vector, indexer, window } => {
                    let entry = vector.saturating_add(indexer);
                    kept.growing_per_token =
                        kept.growing_per_token.saturating_add(entry.div_ceil(every.max(1)));
                    let each = bounded.entry(window).or_default();
                    *each = each.saturating_add(vector);
                }
                Cache::Window { heads, tokens } => {
                    let each = bounded.entry(tokens).or_default();
                    *each = each.saturating_add(heads.elements(devices));
                }
                Cache::Cross { heads, tokens } => {
                    kept.constant =
                        kept.constant.saturating_add(heads.elements(devices).saturating_mul(tokens));
                }
            }
            let state = layer.state.convolution.saturating_add(layer.state.recurrent);
            kept.constant = kept.constant.saturating_add(state.div_ceil(devices));
        }
        kept.bounded = bounded.into_iter().collect();
        kept
    }
}
