//! TensorRT-LLM's words.
//!
//! ```text
//! [TensorRT-LLM][INFO] Number of tokens per block: 64.
//! [TensorRT-LLM][INFO] [MemUsageChange] Allocated 26.91 GiB for max tokens in paged KV cache (220480).
//! [TensorRT-LLM][INFO] Using 10718 tokens in paged KV cache.                                     (before)
//! [02/14/2025-09:38:53] [TRT-LLM] [I] max_seq_len=131072, max_num_requests=2048, max_num_tokens=8192
//! ```
//!
//! A cache is made and taken down to measure with before the one that serves, so the last counts.

use super::cache::{Engine, Figure, ServingCache};
use super::figures::Figures;
use super::text::{after, bytes, number, setting};

#[derive(Default)]
pub(super) struct Log {
    figures: Figures,
}

impl Log {
    pub(super) fn line(&mut self, number_: u64, line: &str) {
        if let Some(rest) = after(line, "for max tokens in paged KV cache (") {
            self.figures.add(Figure::KvTokens, number_, line, number(rest));
            self.figures.add(Figure::KvBytes, number_, line, after(line, "Allocated ").and_then(bytes));
        }
        if line.contains(" tokens in paged KV cache.")
            && let Some(rest) = after(line, "Using ")
        {
            self.figures.add(Figure::KvTokens, number_, line, number(rest));
        }
        if let Some(rest) = after(line, "Number of tokens per block: ") {
            self.figures.add(Figure::BlockTokens, number_, line, number(rest));
        }
        if line.contains("[TRT-LLM]") && line.contains("max_num_requests=") {
            let of = |name: &str| setting(line, name).and_then(number);
            self.figures.add(Figure::MaxModelLen, number_, line, of("max_seq_len"));
            self.figures.add(Figure::MaxSequences, number_, line, of("max_num_requests"));
        }
    }

    pub(super) fn finish(mut self) -> Option<ServingCache> {
        for figure in [Figure::KvTokens, Figure::KvBytes, Figure::MaxModelLen, Figure::MaxSequences] {
            self.figures.keep(
                figure,
                true,
                "the engine measures with a cache that it takes down; the last counts",
            );
        }
        self.figures.finish(Engine::TensorRtLlm)
    }
}
