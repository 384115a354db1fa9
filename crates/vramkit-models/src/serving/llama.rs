//! llama.cpp's words, as `llama-server` and what is built on it print them.
//!
//! ```text
//! llama_context: n_seq_max     = 4
//! llama_context: n_ctx         = 8192            all sequences together
//! llama_context: n_ctx_seq     = 2048            one of them (before: n_ctx_per_seq)
//! llama_context: kv_unified    = false           whether sequences share the cells
//! llama_kv_cache_iswa: creating     SWA KV cache, size = 768 cells
//! llama_kv_cache: size = 512.00 MiB (  2048 cells,  32 layers,  4/4 seqs), K (f16): …     cells of one of 4 streams
//! ```
//!
//! A second context, a draft model's, is left out. Layers with a window have a cache of their own: its bytes count, and the
//! tokens are those of the others.

use super::cache::{Engine, Figure, ServingCache};
use super::figures::Figures;
use super::text::{after, bytes, number, setting};

#[derive(Default)]
pub(super) struct Log {
    figures: Figures,
    contexts: u32,
    n_ctx: Option<(u64, u64, String)>,
    per_sequence: Option<(u64, u64, String)>,
    sequences: Option<(u64, u64, String)>,
    is_unified: Option<bool>,
    /// Whether the next cache is one of layers with a window.
    is_window: bool,
    /// Bytes by `size = …`, and by `KV buffer size = …` where that is all.
    sizes: u64,
    buffers: u64,
    size_line: Option<(u64, String)>,
}

impl Log {
    pub(super) fn line(&mut self, number_: u64, line: &str) {
        let is_context = line.contains("llama_context: ") || line.contains("llama_new_context_with_model: ");
        // `n_ctx_seq (8192) < n_ctx_train (32768)` is no setting.
        if is_context && !line.contains('(') {
            self.setting(number_, line);
        }
        if let Some(rest) = after(line, "n_slots = ") {
            self.first(|log| &mut log.sequences, number_, line, number(rest));
            let slot = after(rest, "n_ctx_slot = ").and_then(number);
            self.first(|log| &mut log.per_sequence, number_, line, slot);
        }
        let is_cache =
            line.contains("llama_kv_cache") || line.contains("llama_new_context_with_model: KV self size");
        if is_cache && self.contexts <= 1 {
            self.cache(number_, line);
        }
    }

    fn setting(&mut self, number_: u64, line: &str) {
        let of = |name: &str| setting(line, name).and_then(number);
        if let Some(cells) = of("n_ctx") {
            self.contexts += 1;
            if self.contexts == 1 {
                self.n_ctx = Some((cells, number_, line.to_owned()));
            }
        }
        if self.contexts > 1 {
            return;
        }
        self.first(|log| &mut log.sequences, number_, line, of("n_seq_max"));
        self.first(|log| &mut log.per_sequence, number_, line, of("n_ctx_seq").or(of("n_ctx_per_seq")));
        if let Some(value) = setting(line, "kv_unified") {
            self.is_unified.get_or_insert(value.starts_with("true"));
        }
    }

    fn first(
        &mut self,
        of: impl Fn(&mut Self) -> &mut Option<(u64, u64, String)>,
        number_: u64,
        line: &str,
        value: Option<u64>,
    ) {
        if let Some(value) = value.filter(|value| *value > 0) {
            of(self).get_or_insert((value, number_, line.to_owned()));
        }
    }

    fn cache(&mut self, number_: u64, line: &str) {
        if line.contains("creating") {
            self.is_window = line.contains(" SWA KV cache") && !line.contains("non-SWA");
            return;
        }
        if let Some(amount) = after(line, "KV buffer size =").and_then(bytes) {
            self.buffers = self.buffers.saturating_add(amount);
            self.size_line.get_or_insert((number_, line.to_owned()));
            return;
        }
        let size = after(line, ": size =").or_else(|| after(line, "KV self size  ="));
        let Some(amount) = size.and_then(bytes) else { return };
        self.sizes = self.sizes.saturating_add(amount);
        self.size_line = Some((number_, line.to_owned()));
        let cells = after(line, "(").filter(|rest| rest.contains("cells")).and_then(number);
        // `4/4 seqs`: sequences, and the streams of cells that they are in.
        let seqs = after(line, "layers,").and_then(|rest| rest.split_once(" seqs"));
        let streams = seqs.and_then(|(seqs, _)| number(seqs.split_once('/')?.1));
        if let Some(cells) = cells.filter(|_| !self.is_window) {
            let tokens = cells.checked_mul(streams.unwrap_or(1).max(1));
            self.figures.add(Figure::KvTokens, number_, line, tokens);
        }
    }

    pub(super) fn finish(mut self) -> Option<ServingCache> {
        if let Some((cells, line, text)) = self.n_ctx.take() {
            if !self.figures.has(Figure::KvTokens) {
                self.figures.add(Figure::KvTokens, line, &text, Some(cells));
            }
            if self.per_sequence.is_none() {
                self.per_sequence = Some((cells, line, text));
            }
        }
        let amount = if self.sizes > 0 { self.sizes } else { self.buffers };
        if let Some((line, text)) = self.size_line.take() {
            self.figures.add(Figure::KvBytes, line, &text, Some(amount));
        }
        if !self.figures.has(Figure::KvTokens) && !self.figures.has(Figure::KvBytes) {
            return None;
        }
        if let (Some(false), Some((sequences, ..)), Some((length, ..))) =
            (self.is_unified, &self.sequences, &self.per_sequence)
            && *sequences > 1
        {
            self.figures.note(format!("each of the {sequences} sequences has {length} tokens of its own"));
        }
        if self.contexts > 1 {
            self.figures.note("later contexts, as those of a draft model, are left out");
        }
        for (figure, found) in
            [(Figure::MaxModelLen, self.per_sequence), (Figure::MaxSequences, self.sequences)]
        {
            if let Some((value, line, text)) = found {
                self.figures.add(figure, line, &text, Some(value));
            }
        }
        self.figures.finish(Engine::LlamaCpp)
    }
}
