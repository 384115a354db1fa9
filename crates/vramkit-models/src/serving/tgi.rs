//! Text Generation Inference's words: its router's log, as text or as JSON, and its `/info`.
//!
//! ```text
//! INFO text_generation_router: router/src/main.rs:354: Setting max batch total tokens to 43808
//! Args { … max_total_tokens: Some(8192), … max_batch_size: None, … cuda_memory_fraction: 1.0 … }
//! {"max_batch_total_tokens":16000,"max_total_tokens":2048, …}
//! ```

use super::cache::{Engine, Figure, ServingCache};
use super::figures::Figures;
use super::text::{after, decimal, number, setting};

#[derive(Default)]
pub(super) struct Log {
    figures: Figures,
}

impl Log {
    pub(super) fn line(&mut self, number_: u64, line: &str) {
        if let Some(tokens) = after(line, "Setting max batch total tokens to ") {
            self.figures.add(Figure::KvTokens, number_, line, number(tokens));
        }
        let is_args = line.contains("text_generation_launcher") && line.contains("Args {");
        let of = |name: &str| setting(line, name).and_then(number);
        let info = of("max_batch_total_tokens").filter(|_| line.trim_start().starts_with('{') && !is_args);
        if is_args || info.is_some() {
            self.figures.add(Figure::KvTokens, number_, line, info);
            self.figures.add(Figure::MaxModelLen, number_, line, of("max_total_tokens"));
            self.figures.add(Figure::MaxSequences, number_, line, of("max_batch_size"));
            self.figures.add_share(number_, line, setting(line, "cuda_memory_fraction").and_then(decimal));
        }
    }

    pub(super) fn finish(self) -> Option<ServingCache> {
        self.figures.finish(Engine::TextGenerationInference)
    }
}
