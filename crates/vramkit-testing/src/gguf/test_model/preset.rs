//! Models that tests and benchmarks ask for by name.

use super::super::quantise::WeightType;
use super::shape::{Architecture, RopeScaling, TestModel};

impl TestModel {
    /// About two million weights (four of `gemma3`), in 32-bit numbers: every architecture's own parts are there, rows fit all
    /// types, heads are grouped where the family groups them.
    pub fn tiny(architecture: Architecture) -> Self {
        let gemma = architecture == Architecture::Gemma3;
        let phi = architecture == Architecture::Phi3;
        Self {
            architecture,
            // The sixth layer of gemma3 is the first without a window.
            layers: if gemma { 6 } else { 3 },
            hidden: 256,
            heads: 4,
            kv_heads: if phi { 4 } else { 2 },
            head: 64,
            feed_forward: 512,
            vocabulary: 544,
            context: 2048,
            window: match architecture {
                Architecture::Gemma3 | Architecture::Mistral => 32,
                _ => 0,
            },
            rope_base: if gemma { 1e6 } else { 10_000.0 },
            rope_scaling: if phi {
                RopeScaling::Long { original: 256, attention: 1.19 }
            } else {
                RopeScaling::None
            },
            tied: matches!(architecture, Architecture::Gemma3 | Architecture::Qwen2),
            biases: architecture == Architecture::Qwen2,
            kind: WeightType::F32,
            embedding_kind: None,
            smol: false,
            seed: 0,
        }
    }

    /// About 130 million weights of `llama` with a head of its own: 12 layers of width 768, 12 heads, 32,000 tokens.
    pub fn bench_130m(kind: WeightType) -> Self {
        Self {
            layers: 12,
            hidden: 768,
            heads: 12,
            kv_heads: 12,
            feed_forward: 2048,
            vocabulary: 32_000,
            kind,
            ..Self::tiny(Architecture::Llama)
        }
    }

    /// Keys and values of Phi-3-mini (393,216 bytes a token as 16-bit numbers) with next to no weights: 7 MB.
    ///
    /// Of `llama`, since llama.cpp wants `phi3`'s residual stream as wide as its heads together, which would be 1.2 billion weights.
    pub fn phi3_shaped() -> Self {
        Self {
            layers: 32,
            hidden: 32,
            heads: 32,
            kv_heads: 32,
            head: 96,
            feed_forward: 32,
            vocabulary: 320,
            context: 4096,
            kind: WeightType::Q4_0,
            ..Self::tiny(Architecture::Llama)
        }
    }
}
