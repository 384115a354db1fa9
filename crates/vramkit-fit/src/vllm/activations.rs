//! What vLLM's profile run has alive at its peak.
//!
//! In: widths and [`Settings`]. Out: bytes on one device. Never here: the cache, weights.
//!
//! Before it sizes the cache vLLM runs one step of dummy tokens, as many as a step may have, then samples from as many rows
//! of logits as there may be sequences, and takes the allocator's peak. One of the two is the peak: the widest block of a
//! layer, or sampling, which is over the whole vocabulary on every device. In every log of text models that is compared it is
//! sampling, so the layer's part is derived from vLLM's source and has not been measured.

use vramkit_models::shape::{Cache, ModelShape};

use super::settings::{COMPUTE_BYTES, Settings};

/// Tokens whose latent vectors are made into keys and values at a time (`v1/attention/backends/mla/common.py`).
const LATENT_CHUNK: u64 = 65_536;
/// Numbers of a head's key and of its value once they are made from a latent vector (DeepSeek-V2's, and its heirs').
const LATENT_HEAD: u64 = 256;
/// Tokens of a block of latent attention.
const LATENT_BLOCK: u64 = 64;

/// Bytes alive at the peak; `None` when the vocabulary or the hidden width is not known.
pub(super) fn peak(shape: &ModelShape, settings: &Settings) -> Option<u64> {
    let widths = shape.widths;
    if widths.hidden == 0 || widths.vocabulary == 0 {
        return None;
    }
    Some(sampling(shape, settings).max(forward(shape, settings)))
}

/// Sampling: the hidden states of the step, the rows that are sampled from, and everything over the vocabulary.
fn sampling(shape: &ModelShape, settings: &Settings) -> u64 {
    let rows = settings.step_tokens.saturating_add(settings.step_sequences);
    let hidden = numbers(&[rows, shape.widths.hidden, COMPUTE_BYTES]);
    let logits = numbers(&[settings.step_sequences, shape.widths.vocabulary]);
    // A saturating cast: what is over 2^64 is as much as can be said.
    hidden.saturating_add((logits as f64 * settings.release.bytes_per_logit) as u64)
}

/// A layer: hidden states and residual, and the widest of attention, feed-forward and experts.
fn forward(shape: &ModelShape, settings: &Settings) -> u64 {
    let widths = shape.widths;
    let split = |width: u64| width.div_ceil(settings.devices);
    let kv = shape.layers.iter().map(|layer| match layer.cache {
        Cache::Full(heads) | Cache::Window { heads, .. } => {
            heads.kv_heads.div_ceil(settings.devices).saturating_mul(heads.key.saturating_add(heads.value))
        }
        _ => 0,
    });
    // Queries, keys and values, and the attention's output, as wide as the queries.
    let queries = split(widths.heads.saturating_mul(widths.head));
    let attention = queries.saturating_mul(2).saturating_add(kv.max().unwrap_or(0));
    // Gate and up in one matrix, and their product.
    let dense = split(widths.feed_forward).saturating_mul(3);
    let shared = split(widths.shared_feed_forward).saturating_mul(3);
    // For each expert of a token: gate and up, whose place the output takes, and their product; and the router's answer in f32.
    let inner = split(widths.expert_feed_forward);
    let expert = inner.saturating_mul(2).max(widths.hidden).saturating_add(inner);
    let experts = widths.experts_used.saturating_mul(expert).saturating_add(widths.experts.saturating_mul(2));
    let widest = attention.max(dense).max(experts.saturating_add(shared));
    let layer = widths.hidden.saturating_mul(2).saturating_add(widest);
    numbers(&[settings.step_tokens, layer, COMPUTE_BYTES]).saturating_add(latent(shape, settings))
}

/// The workspace of latent attention, and the keys and values that are made from it.
fn latent(shape: &ModelShape, settings: &Settings) -> u64 {
    let vectors = shape.layers.iter().filter_map(|layer| match layer.cache {
        Cache::Latent { latent, rope, .. } => Some(latent.saturating_add(rope)),
        _ => None,
    });
    let Some(vector) = vectors.max() else { return 0 };
    let blocks = settings.step_sequences.saturating_mul(LATENT_BLOCK);
    let tokens =
        settings.context.saturating_mul(8).max(blocks.saturating_mul(4)).min(LATENT_CHUNK).max(blocks);
    let heads = shape.widths.heads.div_ceil(settings.devices);
    let made = numbers(&[heads, LATENT_HEAD]);
    numbers(&[tokens, vector.saturating_add(made), COMPUTE_BYTES])
}

fn numbers(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product, &factor| product.saturating_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::super::release::Release;
    use super::*;
    use vramkit_models::shape::{Layer, Widths};

    fn settings() -> Settings {
        Settings {
            release: Release::of(Some((0, 11))),
            context: 16_000,
            sequences: 1,
            step_sequences: 1024,
            step_tokens: 8192,
            devices: 1,
            draft_tokens: 0,
            cache_bytes: 2,
            state_bytes: 2,
            memory: None,
            utilization: 0.9,
        }
    }

    fn shape(cache: Cache) -> ModelShape {
        let mut shape = ModelShape::new("toy", 7168);
        shape.layers = vec![Layer::keeping(cache)];
        shape.widths =
            Widths { hidden: 7168, vocabulary: 129_280, heads: 128, head: 192, ..Widths::default() };
        shape
    }

    #[test]
    fn with_few_sequences_a_layer_is_the_peak() {
        let mut shape = shape(Cache::None);
        shape.widths.feed_forward = 18_432;
        let few = Settings { step_sequences: 8, ..settings() };
        // Hidden states, residual; gate and up, and their product; 2 bytes each.
        assert_eq!(peak(&shape, &few), Some(8192 * 2 * (2 * 7168 + 3 * 18_432)));
        assert!(peak(&shape, &settings()) > peak(&shape, &few));
        let split = Settings { devices: 4, ..few };
        assert_eq!(peak(&shape, &split), Some(8192 * 2 * (2 * 7168 + 3 * 18_432 / 4)));
    }

    #[test]
    fn experts_take_their_share_for_each_token() {
        let mut shape = shape(Cache::None);
        (shape.widths.experts, shape.widths.experts_used, shape.widths.expert_feed_forward) = (256, 8, 2048);
        (shape.widths.heads, shape.widths.head) = (1, 1);
        let few = Settings { step_sequences: 8, ..settings() };
        assert_eq!(peak(&shape, &few), Some(8192 * 2 * (2 * 7168 + 8 * (7168 + 2048) + 256 * 2)));
    }

    #[test]
    fn latent_attention_makes_keys_and_values_of_a_chunk() {
        let latent = shape(Cache::Latent { latent: 512, rope: 64, indexer: 0 });
        let none = shape(Cache::None);
        let few = Settings { step_sequences: 8, ..settings() };
        let difference = peak(&latent, &few).unwrap() - peak(&none, &few).unwrap();
        assert_eq!(difference, 65_536 * 2 * (576 + 128 * 256));
    }

    #[test]
    fn without_a_vocabulary_nothing_is_said() {
        let mut shape = shape(Cache::None);
        shape.widths.vocabulary = 0;
        assert_eq!(peak(&shape, &settings()), None);
    }
}
