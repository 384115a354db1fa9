//! The context that llama.cpp opens, as it rounds and clamps what was asked (`llama-context.cpp`).

use vramkit_models::gguf::TensorType;

use crate::error::FitError;
use crate::options::{FitOptions, FlashAttention};

/// Most sequences that llama.cpp takes.
const SEQUENCES: u64 = 256;

/// Largest context that is believed, tokens.
const CONTEXT: u64 = 1 << 31;

/// Cells of a cache come in so many.
const CELLS: u64 = 256;

/// Sizes of a context.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Context {
    /// Tokens of all sequences together.
    pub tokens: u64,
    /// Tokens of one sequence: cells of each stream's cache.
    pub tokens_each: u64,
    pub sequences: u64,
    pub batch: u64,
    pub micro_batch: u64,
    pub unified: bool,
    pub flash: bool,
    /// Flash attention is given up where the device lacks it.
    pub flash_if_possible: bool,
    pub swa_full: bool,
    pub type_k: TensorType,
    pub type_v: TensorType,
    /// Rows of logits that are reserved: one a sequence, as a server does.
    pub outputs: u64,
    /// Tokens that are drafted, which recurrent states are kept for.
    pub drafts: u64,
}

impl Context {
    pub fn new(model: &str, options: &FitOptions, trained: u64) -> Result<Self, FitError> {
        let wrong = |reason: String| FitError::Option { model: model.to_owned(), reason };
        let sequences = options.sequences.unwrap_or(1);
        if sequences == 0 || sequences > SEQUENCES {
            return Err(wrong(format!("{sequences} sequences; llama.cpp takes 1 to {SEQUENCES}")));
        }
        if options.context == Some(0) {
            return Err(wrong("a context of 0 tokens holds nothing".to_owned()));
        }
        let asked = options.context.unwrap_or(trained);
        if asked == 0 || asked > CONTEXT {
            return Err(wrong(format!("a context of {asked} tokens; 1 to {CONTEXT} are possible")));
        }
        let up = |tokens: u64| tokens.div_ceil(CELLS) * CELLS;
        let batch = options.batch.unwrap_or(2048);
        let micro_batch = options.micro_batch.unwrap_or(512);
        if batch == 0 || micro_batch == 0 {
            return Err(wrong("a batch of 0 tokens computes nothing".to_owned()));
        }
        let batch = batch.min(asked);
        let micro_batch = micro_batch.min(batch);
        let whole = up(asked);
        let tokens_each = if options.kv_unified { whole } else { up(whole / sequences) };
        let tokens = if options.kv_unified { whole } else { tokens_each.saturating_mul(sequences) };
        if tokens_each == 0 {
            return Err(wrong(format!("{asked} tokens leave none for each of {sequences} sequences")));
        }
        let flash = options.flash_attention != FlashAttention::Off;
        let type_k = options.cache_type_k.unwrap_or(TensorType::F16);
        let type_v = options.cache_type_v.unwrap_or(TensorType::F16);
        for kind in [type_k, type_v] {
            if !CACHED.contains(&kind.name()) {
                return Err(wrong(format!(
                    "llama.cpp keeps no cache in {}; it can in {}",
                    kind.name(),
                    CACHED.join(", ")
                )));
            }
        }
        if !flash && type_v.block_elements() > 1 {
            return Err(wrong(format!(
                "values kept in {} need flash attention, which is off",
                type_v.name()
            )));
        }
        Ok(Self {
            tokens,
            tokens_each,
            sequences,
            batch,
            micro_batch,
            unified: options.kv_unified,
            flash,
            flash_if_possible: options.flash_attention == FlashAttention::Auto,
            swa_full: options.swa_full,
            type_k,
            type_v,
            outputs: options.outputs.unwrap_or(sequences).clamp(1, batch),
            drafts: options.draft_tokens,
        })
    }

    /// Caches beside each other: one, or one for each sequence.
    pub fn streams(&self) -> u64 {
        if self.unified { 1 } else { self.sequences }
    }

    /// Cells that a window of so many tokens takes.
    pub fn window_cells(&self, window: u64) -> u64 {
        if self.swa_full {
            return self.tokens_each;
        }
        let sharing = if self.unified { self.sequences } else { 1 };
        let needed = window.saturating_mul(sharing).saturating_add(self.micro_batch);
        self.tokens_each.min(needed).div_ceil(CELLS) * CELLS
    }

    /// Tokens of the largest step: a multiple of the sequences.
    pub fn step_tokens(&self) -> u64 {
        self.tokens.min(self.micro_batch).div_ceil(self.sequences) * self.sequences
    }
}

/// Types that llama.cpp's options name for its cache.
pub(crate) const CACHED: [&str; 9] = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"];
