//! vLLM's words: its log of starting up, of either engine, and `vllm:cache_config_info`.
//!
//! ```text
//! # GPU blocks: 7406, # CPU blocks: 512                          blocks, which the size of a block makes tokens
//! GPU KV cache size: 299,584 tokens                              tokens, of one engine of a data-parallel group
//! Maximum concurrency for 4,096 tokens per request: 73.14x       the longest sequence
//! Available KV cache memory: 16.00 GiB                           bytes, of one worker
//! … with config: … max_seq_len=4096 … block_size=16 …           settings; also `non-default args: {'max_model_len': 4096}`
//! ```

use std::collections::BTreeSet;

use super::cache::{Engine, Figure, ServingCache};
use super::figures::Figures;
use super::metrics::Sample;
use super::text::{after, after_any_case, bytes, decimal, number, setting};

/// What a block has where nothing says otherwise, on CUDA.
const USUAL_BLOCK: u64 = 16;

#[derive(Default)]
pub(super) struct Log {
    figures: Figures,
    /// Blocks with their line, where tokens are not said.
    blocks: Vec<(u64, u64, String)>,
    /// How many of the longest sequences fit, by the log.
    concurrency: Option<(u64, f64)>,
    is_vllm: bool,
    /// The engines of a data-parallel group that say what they have.
    engines: BTreeSet<u64>,
}

impl Log {
    pub(super) fn line(&mut self, number_: u64, line: &str) {
        if let Some(tokens) = after(line, "GPU KV cache size: ").filter(|rest| rest.contains("tokens")) {
            self.figures.add(Figure::KvTokens, number_, line, number(tokens));
            self.engines.extend(after(line, "EngineCore_DP").and_then(number));
            self.is_vllm = true;
        }
        for word in ["# GPU blocks: ", "# cuda blocks: "] {
            if let Some(blocks) = after_any_case(line, word).and_then(number) {
                self.blocks.push((blocks, number_, line.to_owned()));
                self.is_vllm = true;
            }
        }
        if let Some(rest) = after(line, "Maximum concurrency for ")
            && let Some(length) = number(rest).filter(|_| rest.contains("tokens per request"))
        {
            self.figures.add(Figure::MaxModelLen, number_, line, Some(length));
            self.concurrency = after(rest, "per request: ").and_then(decimal).map(|times| (length, times));
            self.is_vllm = true;
        }
        for words in ["Available KV cache memory: ", "memory reserved for KV Cache is "] {
            if let Some(amount) = after(line, words) {
                self.figures.add(Figure::KvBytes, number_, line, bytes(amount));
                self.is_vllm = true;
            }
        }
        if let Some(length) = after(line, "Using max model len ") {
            self.figures.add(Figure::MaxModelLen, number_, line, number(length));
        }
        if let Some(size) = after(line, "Setting attention block size to ") {
            self.figures.add(Figure::BlockTokens, number_, line, number(size));
        }
        if let Some(share) = after(line, "gpu_memory_utilization (") {
            self.figures.add_share(number_, line, decimal(share));
        }
        let is_settings = ["LLM engine (v", "non-default args: ", "args: Namespace(", "with config: "];
        if is_settings.iter().any(|words| line.contains(words)) {
            self.settings(number_, line);
        }
    }

    fn settings(&mut self, number_: u64, line: &str) {
        self.is_vllm |= line.contains("LLM engine (v") || line.contains("non-default args: ");
        for (name, figure) in [
            ("max_seq_len", Figure::MaxModelLen),
            ("max_model_len", Figure::MaxModelLen),
            ("block_size", Figure::BlockTokens),
            ("max_num_seqs", Figure::MaxSequences),
        ] {
            self.figures.add(figure, number_, line, setting(line, name).and_then(number));
        }
        self.figures.add_share(number_, line, setting(line, "gpu_memory_utilization").and_then(decimal));
    }

    pub(super) fn sample(&mut self, number_: u64, line: &str, sample: &Sample) {
        if sample.name != "vllm:cache_config_info" {
            return;
        }
        self.is_vllm = true;
        let label = |name: &str| sample.label(name).and_then(number);
        self.engines.extend(label("engine"));
        self.figures.add(Figure::BlockTokens, number_, line, label("block_size"));
        self.figures.add(Figure::KvBytes, number_, line, label("kv_cache_memory_bytes"));
        self.figures.add_share(number_, line, sample.label("gpu_memory_utilization").and_then(decimal));
        // Of a model whose layers differ, blocks are not tokens by their size alone; newer versions say tokens.
        match (label("kv_cache_size_tokens"), label("num_gpu_blocks")) {
            (Some(tokens), _) => self.figures.add(Figure::KvTokens, number_, line, Some(tokens)),
            (None, Some(blocks)) => self.blocks.push((blocks, number_, line.to_owned())),
            (None, None) => {}
        }
    }

    pub(super) fn finish(mut self) -> Option<ServingCache> {
        if !self.is_vllm {
            return None;
        }
        if !self.figures.has(Figure::KvTokens) && !self.blocks.is_empty() {
            let block = self.block();
            for (blocks, line, text) in &self.blocks {
                self.figures.add(Figure::KvTokens, *line, text, blocks.checked_mul(block));
            }
        }
        if self.engines.len() > 1 {
            let engines = self.engines.len();
            self.figures.note(format!(
                "{engines} engines share the requests, each with a cache of its own: figures are of one"
            ));
        }
        if self.figures.has(Figure::KvBytes) {
            self.figures
                .note("bytes are those of one worker; each card of a tensor-parallel group has as many");
        }
        self.figures.finish(Engine::Vllm)
    }

    /// Tokens of a block: as said, or as what fits makes it, or as usual.
    fn block(&mut self) -> u64 {
        if let Some(block) = self.figures.least(Figure::BlockTokens) {
            return block;
        }
        let least = self.blocks.iter().min_by_key(|(blocks, ..)| *blocks).cloned();
        if let (Some((blocks, line, text)), Some((length, times))) = (least, self.concurrency)
            && blocks > 0
        {
            let block = (length as f64 * times / blocks as f64).round();
            if (1.0..=4096.0).contains(&block) && (block as u64).is_power_of_two() {
                self.figures.add(Figure::BlockTokens, line, &text, Some(block as u64));
                return block as u64;
            }
        }
        self.figures.note(format!(
            "a block is taken to have {USUAL_BLOCK} tokens, as is usual: no line says its size"
        ));
        USUAL_BLOCK
    }
}
