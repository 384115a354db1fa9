//! What an engine says of its cache, with the lines that say it, and why text says nothing.

use std::fmt;

use vramkit_units::ByteSize;

use crate::error::ReadError;

/// The program that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Engine {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// llama.cpp, and what is built on it.
    LlamaCpp,
    /// TensorRT-LLM.
    TensorRtLlm,
    /// Hugging Face's Text Generation Inference.
    TextGenerationInference,
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::LlamaCpp => "llama.cpp",
            Self::TensorRtLlm => "TensorRT-LLM",
            Self::TextGenerationInference => "Text Generation Inference",
        })
    }
}

/// A figure of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Figure {
    /// [`ServingCache::kv_tokens`].
    KvTokens,
    /// [`ServingCache::block_tokens`].
    BlockTokens,
    /// [`ServingCache::kv_bytes`].
    KvBytes,
    /// [`ServingCache::max_model_len`].
    MaxModelLen,
    /// [`ServingCache::max_sequences`].
    MaxSequences,
    /// [`ServingCache::gpu_memory_utilization`].
    GpuMemoryUtilization,
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Self::KvTokens => "tokens of the KV cache",
            Self::BlockTokens => "tokens of a block",
            Self::KvBytes => "bytes of the KV cache",
            Self::MaxModelLen => "longest sequence",
            Self::MaxSequences => "most sequences at a time",
            Self::GpuMemoryUtilization => "share of the card's memory",
        })
    }
}

/// Where a figure comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FigureLine {
    /// Which figure.
    pub figure: Figure,
    /// The line, counted from 1.
    pub line: u64,
    /// What it says, cut where it is long.
    pub text: String,
}

/// What an engine says of its KV cache.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServingCache {
    /// Which engine.
    pub engine: Engine,
    /// Tokens that fit into the cache, of all sequences together.
    pub kv_tokens: Option<u64>,
    /// Tokens of a block, the unit in which it is given out.
    pub block_tokens: Option<u32>,
    /// Bytes of the cache, on one card where there are several.
    pub kv_bytes: Option<ByteSize>,
    /// The longest sequence that is served, tokens.
    pub max_model_len: Option<u32>,
    /// Most sequences at a time.
    pub max_sequences: Option<u32>,
    /// The share of a card's memory that the engine may use.
    pub gpu_memory_utilization: Option<f64>,
    /// The line that each figure comes from.
    pub lines: Vec<FigureLine>,
    /// What was assumed, and what contradicts each other.
    pub notes: Vec<String>,
}

impl ServingCache {
    pub(super) fn has_size(&self) -> bool {
        self.kv_tokens.is_some() || self.kv_bytes.is_some()
    }
}

/// Why text says nothing of a cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServingError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// None of the lines that are known is in it.
    #[error(
        "{file}: none of its {lines} lines says what a KV cache has; looked for vLLM's `GPU KV cache size: … tokens`, \
         `# GPU blocks: …` and `vllm:cache_config_info{{…}}`, SGLang's `max_total_num_tokens=…` and \
         `KV Cache is allocated. #tokens: …`, llama.cpp's `n_ctx = …` and `llama_kv_cache: size = …`, TensorRT-LLM's \
         `max tokens in paged KV cache (…)`, Text Generation Inference's `Setting max batch total tokens to …`"
    )]
    Unknown {
        /// The file, or what stands for it.
        file: String,
        /// How many lines it has.
        lines: u64,
    },
    /// Lines of several engines are in it.
    #[error("{file}: lines of several engines ({}); keep those of one", names(engines))]
    SeveralEngines {
        /// The file, or what stands for it.
        file: String,
        /// Whose.
        engines: Vec<Engine>,
    },
}

fn names(engines: &[Engine]) -> String {
    engines.iter().map(Engine::to_string).collect::<Vec<_>>().join(", ")
}
