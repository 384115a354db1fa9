//! Models with an encoder: alone, or with a decoder that looks at its output.
//!
//! In: the keys of a configuration. Out: a layer for each attention of the decoder: its own, and the one over the encoder's
//! output, so that a decoder of 6 blocks has 12. An encoder itself keeps nothing from one call to the next.

use crate::error::ReadError;
use crate::shape::{Cache, Heads, Layer};

use super::attention::{self, grouped, part};
use super::fields::{Fields, HEAD, LAYERS};

type Layers = Result<Vec<Layer>, ReadError>;

/// An encoder: nothing is kept, unless the configuration makes a decoder of it.
pub(super) fn encoder(fields: &Fields<'_>) -> Layers {
    if fields.flag("is_decoder")? == Some(true) {
        return attention::plain(fields);
    }
    fields.understand(&["attention", "window", "chunk", "type", "conv", "sliding", "state"]);
    let layers = fields.any_of(LAYERS)?.unwrap_or(0);
    if layers > super::fields::MOST_LAYERS {
        return Err(fields.wrong(format!("{layers} layers; at most {} are read", super::fields::MOST_LAYERS)));
    }
    Ok(vec![Layer::default(); layers as usize])
}

/// A decoder's own attention and the one over the encoder's output, in every block.
fn both(fields: &Fields<'_>, blocks: usize, heads: Heads, input: u64) -> Layers {
    // What these say is about the encoder, or about how attention over its output is made; neither changes what is kept.
    fields.understand(&[
        "encoder",
        "cross_attention",
        "attention_type",
        "chunk",
        "conv",
        "window",
        "num_global",
    ]);
    let own = Layer::keeping(Cache::Full(heads));
    let over = Layer::keeping(Cache::Cross { heads, tokens: input });
    Ok([own, over].into_iter().cycle().take(blocks.saturating_mul(2)).collect())
}

/// T5: as many decoder blocks as encoder blocks unless it says otherwise; inputs of `n_positions` tokens.
pub(super) fn t5(fields: &Fields<'_>) -> Layers {
    let encoder_blocks = fields.layers()?;
    let blocks = match fields.any_of(&["num_decoder_layers"])? {
        Some(_) => fields.layer_count(&["num_decoder_layers"])?,
        None => encoder_blocks,
    };
    let queries = fields.heads()?;
    let head = fields.any_of(HEAD)?.ok_or_else(|| fields.missing("d_kv"))?;
    // The family's code takes 512 where the key is absent; relative positions know no bound of their own.
    let input = fields.number("n_positions")?.unwrap_or(512);
    both(fields, blocks, grouped(fields, queries, queries, head)?, input)
}

/// The heads of a decoder of BART's kind.
fn decoder(fields: &Fields<'_>) -> Result<(usize, Heads), ReadError> {
    let blocks = fields.layer_count(&["decoder_layers"])?;
    let queries = fields.positive("decoder_attention_heads")?;
    let head = part(fields, fields.hidden()?, queries)?;
    Ok((blocks, grouped(fields, queries, queries, head)?))
}

/// BART and those after it: inputs of `max_position_embeddings` tokens.
pub(super) fn bart(fields: &Fields<'_>) -> Layers {
    let (blocks, heads) = decoder(fields)?;
    let input = match fields.number("max_encoder_position_embeddings")? {
        Some(input) => input,
        None => fields.need("max_position_embeddings")?,
    };
    both(fields, blocks, heads, input)
}

/// Whisper: inputs of `max_source_positions` frames.
pub(super) fn whisper(fields: &Fields<'_>) -> Layers {
    let (blocks, heads) = decoder(fields)?;
    both(fields, blocks, heads, fields.need("max_source_positions")?)
}
