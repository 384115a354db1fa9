//! What attention is asked: queries of one KV head, and the blocks they look at.
//!
//! In: what the caller states. Out: the same, checked but for the blocks, which are looked at as they are needed.

use std::ops::Range;

use super::error::AttentionError;
use super::layout::CacheLayout;
use super::range::{CHUNK, Tile};
use super::scratch::Lens;

/// A sequence's blocks, in its order. Sequences may share blocks.
pub trait Blocks {
    /// The bytes `at` of the sequence's block number `block` (all its layers); `None` where there are none.
    fn bytes(&self, block: usize, at: Range<usize>) -> Option<&[u8]>;
}

/// Whole blocks, [`CacheLayout::block_bytes`] each.
impl Blocks for &[&[u8]] {
    fn bytes(&self, block: usize, at: Range<usize>) -> Option<&[u8]> {
        self.get(block)?.get(at)
    }
}

/// Queries of one KV head, and what they look at.
///
/// A large tile shares the conversion of keys and values among its queries; about 64 rows (`group` times tokens) are
/// enough.
#[derive(Clone, Copy)]
pub struct Attend<'a> {
    /// The cache's layout.
    pub layout: &'a CacheLayout,
    /// The sequence's blocks, which hold the keys and values up to the last query's position.
    pub blocks: &'a (dyn Blocks + Sync),
    /// Which layer of the blocks.
    pub layer: usize,
    /// Which KV head of the layer.
    pub head: usize,
    /// Queries: the `group` heads of token `t` are `queries[t * stride..][..group * key]`.
    pub queries: &'a [f32],
    /// Floats from one token's queries to the next's.
    pub stride: usize,
    /// Query heads that share the KV head.
    pub group: usize,
    /// How many consecutive tokens.
    pub tokens: usize,
    /// The first token's position in its sequence.
    pub position: usize,
    /// A query sees its own key and those at most `window - 1` positions before it; `None`: all before it.
    pub window: Option<usize>,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Scores are made `cap * tanh(score / cap)`.
    pub soft_cap: Option<f32>,
}

/// Checks all but the blocks.
pub(super) fn check(attend: &Attend<'_>) -> Result<(Tile, Lens), AttentionError> {
    let &Attend { layout, queries, stride, group, tokens, position, window, scale, soft_cap, .. } = attend;
    for (what, number) in [
        ("the number of query heads of a KV head", group),
        ("the number of tokens", tokens),
        ("the window", window.unwrap_or(1)),
    ] {
        if number == 0 {
            return Err(AttentionError::Zero { what });
        }
    }
    for (what, index, count) in
        [("layer", attend.layer, layout.layers()), ("KV head", attend.head, layout.kv_heads())]
    {
        if index >= count {
            return Err(AttentionError::Index { what, index, count });
        }
    }
    if !scale.is_finite() {
        return Err(AttentionError::Number { what: "the scale", got: scale.into(), allowed: "finite" });
    }
    if let Some(cap) = soft_cap.filter(|cap| !(cap.is_finite() && *cap > 0.0)) {
        return Err(AttentionError::Number { what: "the soft cap", got: cap.into(), allowed: "above 0" });
    }
    let lens = Lens::new(layout, tokens, group)?;
    let need = (tokens - 1)
        .checked_mul(stride)
        .and_then(|start| start.checked_add(group * layout.key()))
        .filter(|_| position.checked_add(tokens).and_then(|end| end.checked_add(CHUNK)).is_some())
        .ok_or(AttentionError::TooLarge { what: "the queries" })?;
    if queries.len() < need {
        return Err(AttentionError::Length { what: "the queries", need, got: queries.len() });
    }
    Ok((Tile { position, tokens, group, window }, lens))
}
