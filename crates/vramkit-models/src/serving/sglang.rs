//! SGLang's words: its log of starting up, and its `/metrics`.
//!
//! ```text
//! KV Cache is allocated. #tokens: 38141, K size: 2.33 GB, V size: 2.33 GB        a pool; later ones are a draft model's
//! max_total_num_tokens=38141, chunked_prefill_size=2048, max_prefill_tokens=16384, max_running_requests=2048, context_len=131072
//! sglang:max_total_num_tokens{…} 38141.0
//! ```

use std::collections::BTreeSet;

use super::cache::{Engine, Figure, ServingCache};
use super::figures::Figures;
use super::metrics::Sample;
use super::text::{after, bytes, decimal, number, setting};

#[derive(Default)]
pub(super) struct Log {
    figures: Figures,
    /// Tokens of pools, for where nothing says what they are together.
    pools: Vec<(u64, u64, String)>,
    /// The engines of a data-parallel group that say what they have.
    engines: BTreeSet<u64>,
}

impl Log {
    pub(super) fn line(&mut self, number_: u64, line: &str) {
        if let Some(tokens) = setting(line, "max_total_num_tokens").and_then(number) {
            self.figures.add(Figure::KvTokens, number_, line, Some(tokens));
            let of = |name: &str| setting(line, name).and_then(number);
            self.figures.add(Figure::MaxSequences, number_, line, of("max_running_requests"));
            self.figures.add(Figure::MaxModelLen, number_, line, of("context_len"));
        }
        if let Some(rest) = after(line, "KV Cache is allocated. ") {
            let tokens = after(rest, "#tokens: ").and_then(number);
            self.pools.extend(tokens.map(|tokens| (tokens, number_, line.to_owned())));
            let sizes = ["KV size: ", ", K size: ", ", V size: ", ", K ", ", V "];
            let sum =
                sizes.iter().filter_map(|word| after(rest, word).and_then(bytes)).reduce(u64::saturating_add);
            self.figures.add(Figure::KvBytes, number_, line, sum);
        }
        if line.contains("server_args=ServerArgs(") {
            self.figures.add(Figure::BlockTokens, number_, line, setting(line, "page_size").and_then(number));
            let share = setting(line, "mem_fraction_static").and_then(decimal);
            if share.is_some() {
                self.figures
                    .note("the share of the card's memory is `mem_fraction_static`: weights and cache");
            }
            self.figures.add_share(number_, line, share);
        }
    }

    pub(super) fn sample(&mut self, number_: u64, line: &str, sample: &Sample) {
        let figure = match sample.name {
            "sglang:max_total_num_tokens" => Figure::KvTokens,
            "sglang:page_size" => Figure::BlockTokens,
            "sglang:context_len" => Figure::MaxModelLen,
            _ => return,
        };
        if figure == Figure::KvTokens {
            self.engines.extend(sample.label("dp_rank").and_then(number));
        }
        let is_whole = sample.value >= 1.0 && sample.value < u64::MAX as f64;
        self.figures.add(figure, number_, line, is_whole.then_some(sample.value as u64));
    }

    pub(super) fn finish(mut self) -> Option<ServingCache> {
        if !self.figures.has(Figure::KvTokens) {
            for (tokens, line, text) in &self.pools {
                self.figures.add(Figure::KvTokens, *line, text, Some(*tokens));
            }
        }
        if self.engines.len() > 1 {
            let engines = self.engines.len();
            self.figures.note(format!(
                "{engines} engines share the requests, each with a cache of its own: figures are of one"
            ));
        }
        self.figures.keep(
            Figure::KvBytes,
            false,
            "pools of a draft model, of layers with a window, or of other workers; the first counts",
        );
        self.figures.finish(Engine::Sglang)
    }
}
