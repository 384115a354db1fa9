//! A step's work, cut up for threads: which tokens lie in one block, which queries attention takes together.
//!
//! In: the sequences' shares of a step. Out: [`Batch`], of segments and tiles that are tasks of their own; and how much memory attention
//! needs for it beside its results. Never here: arithmetic.

use crate::attention::{AttentionError, BLOCK, CHUNK, CacheKind, CacheLayout, partial_len, scratch_len};
use crate::cache::SequenceBlocks;
use crate::model::hyper::Hyper;

/// Rows of queries that share the conversion of a block.
const TILE_ROWS: usize = 64;
/// Tasks for each thread, so that one that is slowed holds the others up little.
pub(super) const TASKS: usize = 4;

/// A sequence's share of a step.
pub(crate) struct Part<'a> {
    pub tokens: &'a [u32],
    /// The first token's position.
    pub from: usize,
    pub blocks: &'a SequenceBlocks,
    /// Whether the token behind the last one is wanted.
    pub is_last: bool,
}

/// How much memory attention needs beside its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttentionMemory {
    /// Sequences of one token whose chunks are computed apart, so that few sequences keep all threads busy.
    split: usize,
    /// Numbers of the parts of one such sequence and head.
    pub(super) parts: usize,
    /// Numbers of scratch memory of a thread.
    pub(super) scratch: usize,
}

impl AttentionMemory {
    /// For a model and a configuration.
    ///
    /// # Errors
    /// Shapes that no memory holds.
    pub fn of(
        hyper: &Hyper,
        kind: CacheKind,
        sequences: usize,
        context: usize,
        threads: usize,
    ) -> Result<Self, AttentionError> {
        let layout = CacheLayout::new(1, hyper.kv_heads, hyper.key, hyper.value, kind)?;
        let group = hyper.heads / hyper.kv_heads;
        let split = TASKS.saturating_mul(threads).div_ceil(hyper.kv_heads) - 1;
        let count = context.div_ceil(CHUNK);
        Ok(Self {
            split: if count > 1 && threads > 1 { split.min(sequences) } else { 0 },
            parts: partial_len(&layout, 1, group)?.saturating_mul(count),
            scratch: scratch_len(&layout, tile_tokens(group), group)?.next_multiple_of(16),
        })
    }

    /// Numbers of all of it.
    pub fn floats(&self, hyper: &Hyper, threads: usize) -> usize {
        let parts = self.parts.saturating_mul(self.split).saturating_mul(hyper.kv_heads);
        parts.saturating_add(self.scratch.saturating_mul(threads))
    }
}

/// Tokens of a tile of queries.
fn tile_tokens(group: usize) -> usize {
    (TILE_ROWS / group.max(1)).max(1)
}

/// The tokens of a sequence that lie in one block.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub part: usize,
    /// The first one's row in the step.
    pub row: usize,
    /// And its position in its sequence.
    pub position: usize,
    pub count: usize,
}

/// Queries that attention takes together.
pub(super) struct Tile {
    pub part: usize,
    pub head: usize,
    pub row: usize,
    pub position: usize,
    pub tokens: usize,
}

/// A step's work, cut up for threads.
pub(super) struct Batch<'a> {
    pub parts: &'a [Part<'a>],
    pub tokens: usize,
    pub segments: Vec<Segment>,
    pub tiles: Vec<Tile>,
    /// Whether the chunks of each tile are computed apart.
    pub is_split: bool,
}

impl<'a> Batch<'a> {
    pub fn of(parts: &'a [Part<'a>], hyper: &Hyper, memory: AttentionMemory) -> Self {
        let tile = tile_tokens(hyper.heads / hyper.kv_heads);
        let (mut segments, mut tiles, mut row) = (Vec::new(), Vec::new(), 0);
        for (at, part) in parts.iter().enumerate() {
            let mut done = 0;
            while done < part.tokens.len() {
                let position = part.from + done;
                let count = (BLOCK - position % BLOCK).min(part.tokens.len() - done);
                segments.push(Segment { part: at, row: row + done, position, count });
                done += count;
            }
            for head in 0..hyper.kv_heads {
                for first in (0..part.tokens.len()).step_by(tile) {
                    let tokens = tile.min(part.tokens.len() - first);
                    let position = part.from + first;
                    tiles.push(Tile { part: at, head, row: row + first, position, tokens });
                }
            }
            row += part.tokens.len();
        }
        // The last tiles of a prompt look at the most keys: begun first, they end with the others.
        tiles.sort_by_key(|tile| std::cmp::Reverse(tile.tokens * (tile.position + tile.tokens)));
        let are_long = parts.iter().any(|part| part.from >= CHUNK);
        let is_split = are_long && row == parts.len() && parts.len() <= memory.split;
        Self { parts, tokens: row, segments, tiles, is_split }
    }
}
