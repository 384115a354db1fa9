//! What a test model is like.

use super::super::quantise::WeightType;
use super::super::vocabulary::Family;

/// An architecture of which test models can be made.
///
/// ```
/// use vramkit_testing::gguf::{Architecture, TestModel};
///
/// for architecture in Architecture::ALL {
///     let file = TestModel::tiny(architecture).file()?;
///     assert_eq!(file.keys[0].0, "general.architecture");
/// }
/// assert_eq!(Architecture::named("mistral"), Some(Architecture::Mistral));
/// # Ok::<(), vramkit_testing::gguf::TestModelError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Rotated neighbours, a feed-forward layer with a gate.
    Llama,
    /// Queries, keys and values in one matrix, gate and input of the feed-forward layer in another.
    Phi3,
    /// Biases on queries, keys and values.
    Qwen2,
    /// A norm for every head of queries and keys.
    Qwen3,
    /// As [`Self::Llama`], in GGUF's name of today's Mistral models, with a key for the window, which llama.cpp does not read.
    Mistral,
    /// Norms of heads, norms behind attention and feed-forward layer, five of six layers with a window.
    Gemma3,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Llama, Self::Phi3, Self::Qwen2, Self::Qwen3, Self::Mistral, Self::Gemma3];

    /// GGUF's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Phi3 => "phi3",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Mistral => "mistral3",
            Self::Gemma3 => "gemma3",
        }
    }

    /// The architecture of a name of GGUF's, or of `mistral`.
    pub fn named(name: &str) -> Option<Self> {
        let name = if name == "mistral" { "mistral3" } else { name };
        Self::ALL.into_iter().find(|architecture| architecture.name() == name)
    }

    /// Its tokenizer.
    pub(super) fn family(self) -> Family {
        match self {
            Self::Llama => Family::LLAMA,
            Self::Phi3 => Family::PHI,
            Self::Qwen2 | Self::Qwen3 => Family::QWEN,
            Self::Mistral => Family::MISTRAL,
            Self::Gemma3 => Family::GEMMA,
        }
    }
}

/// How positions beyond the trained ones are rotated.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// As they are.
    None,
    /// Every position divided by a factor.
    Linear {
        /// The factor.
        factor: f32,
    },
    /// Low frequencies divided by a factor, high ones not (YaRN).
    Yarn {
        /// The factor.
        factor: f32,
        /// Tokens of the context before.
        original: u64,
    },
    /// A divisor for every frequency in a tensor, as Llama 3.1 has them; of [`Architecture::Llama`] and [`Architecture::Mistral`].
    Divisors {
        /// The largest divisor.
        factor: f32,
    },
    /// Divisors for contexts up to the original one, others beyond, as Phi-3 has them; of [`Architecture::Phi3`].
    Long {
        /// Tokens of the context before.
        original: u64,
        /// By which rotated queries and keys are multiplied.
        attention: f32,
    },
}

/// A model with real bytes.
///
/// ```
/// use vramkit_testing::gguf::{Architecture, TestModel, WeightType};
///
/// # let path = std::env::temp_dir().join(format!("vramkit-made-{}.gguf", std::process::id()));
/// let model = TestModel { kind: WeightType::Q8_0, seed: 7, ..TestModel::tiny(Architecture::Qwen3) };
/// model.write(&path)?;
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TestModel {
    /// The architecture.
    pub architecture: Architecture,
    /// Layers.
    pub layers: u64,
    /// Width of the residual stream. llama.cpp reads files of `phi3` only where it is `heads × head`.
    pub hidden: u64,
    /// Query heads.
    pub heads: u64,
    /// Heads of keys and values, of which `heads` is a multiple.
    pub kv_heads: u64,
    /// Width of a head, even.
    pub head: u64,
    /// Width of a feed-forward layer.
    pub feed_forward: u64,
    /// Tokens of the vocabulary; those beyond what training gives are unused.
    pub vocabulary: u64,
    /// Tokens of context that it says it was trained for.
    pub context: u64,
    /// Tokens of a window, in the architectures' own key; 0 for none. llama.cpp heeds it of `gemma3` alone.
    pub window: u64,
    /// Base of the rotations' frequencies.
    pub rope_base: f32,
    /// How positions beyond are rotated.
    pub rope_scaling: RopeScaling,
    /// Embeddings are the output matrix.
    pub tied: bool,
    /// Queries, keys and values have biases; of `llama`, `mistral3` and `qwen2`.
    pub biases: bool,
    /// The type of matrices. Norms and biases are 32-bit numbers.
    pub kind: WeightType,
    /// The type of embeddings and output matrix, where it is another one.
    pub embedding_kind: Option<WeightType>,
    /// The pre-tokeniser is `smollm` and a chat is ChatML, as the SmolLM2 models have it; of `llama`.
    pub smol: bool,
    /// What the weights are drawn from.
    pub seed: u64,
}

impl TestModel {
    pub(super) fn family(&self) -> Family {
        if self.smol && self.architecture == Architecture::Llama {
            Family::SMOL
        } else {
            self.architecture.family()
        }
    }
}
