//! Chunks of keys, one after another: scores, weights, sums of values.
//!
//! In: queries, blocks, scratch. Out: every row's part of each chunk, merged or by itself.

use std::ops::Range;

use super::cache_kind::CacheKind;
use super::convert::{ConvertKeys, ConvertValues, row_lanes};
use super::error::AttentionError;
use super::layout::BLOCK;
use super::level::{HalfLane, Job, LANES, Lane, Lanes};
use super::query::Attend;
use super::range::{CHUNK, Tile, union};
use super::score::{ROWS, scores};
use super::scratch::{AT_ONCE, Lens, Pieces};
use super::soften::{Merge, Soften, clear};
use super::weigh::Weigh;
use crate::ahead::fetch;

/// Blocks of a chunk.
const BLOCKS: usize = CHUNK / BLOCK;

/// Some chunks: merged into the scratch's whole, or one of them into a part.
pub(super) struct Chunks<'a> {
    pub attend: &'a Attend<'a>,
    pub tile: Tile,
    pub lens: Lens,
    pub chunks: Range<usize>,
    pub scratch: &'a mut [f32],
    pub part: Option<&'a mut [Lane]>,
}

impl Job for Chunks<'_> {
    type Out = Result<(), AttentionError>;

    fn run<L: Lanes>(self, lanes: L) -> Self::Out {
        let Self { attend, tile, lens, chunks, scratch, part } = self;
        let (mut pieces, whole) = lens.split(scratch)?;
        lanes.run(Pack { attend, out: pieces.queries });
        if let Some(part) = part {
            pieces.parts = part;
            return chunk(lanes, attend, tile, chunks.start, lens, &mut pieces);
        }
        clear(whole, lens.stride);
        for at in chunks {
            chunk(lanes, attend, tile, at, lens, &mut pieces)?;
            lanes.run(Merge { stride: lens.stride, parts: pieces.parts, whole });
        }
        Ok(())
    }
}

/// Queries times the scale, row by row.
struct Pack<'a> {
    attend: &'a Attend<'a>,
    out: &'a mut [f32],
}

impl Job for Pack<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let &Attend { layout, queries, stride, group, tokens, scale, .. } = self.attend;
        let width = group * layout.key();
        for (token, out) in self.out.chunks_exact_mut(width).take(tokens).enumerate() {
            for (out, x) in out.iter_mut().zip(&queries[token * stride..][..width]) {
                *out = x * scale;
            }
        }
    }
}

/// A chunk's part of every row.
fn chunk<L: Lanes>(
    lanes: L,
    attend: &Attend<'_>,
    tile: Tile,
    chunk: usize,
    lens: Lens,
    pieces: &mut Pieces<'_>,
) -> Result<(), AttentionError> {
    let layout = attend.layout;
    let rows = tile.rows();
    let Pieces { queries, scores: weights, converted, parts } = pieces;
    let at = layout.head_range(attend.layer, attend.head).unwrap_or_default();
    let head = |block: usize| {
        let index = chunk * BLOCKS + block;
        let bytes = attend.blocks.bytes(index, at.clone()).filter(|bytes| bytes.len() == at.len());
        bytes.ok_or(AttentionError::Block { index })
    };
    // A few rows read half precision as it lies; many convert it once.
    let direct = layout.kind() == CacheKind::F16 && rows <= ROWS;
    let blocks = blocks(union(&tile.keys(0, chunk), &tile.keys(rows - 1, chunk)));

    let mut from = blocks.start;
    while from < blocks.end {
        let count = AT_ONCE.min(blocks.end - from);
        if direct {
            let mut keys: [&[HalfLane]; AT_ONCE] = [&[]; AT_ONCE];
            for (at, keys) in keys.iter_mut().enumerate().take(count) {
                *keys = head(from + at)?[..layout.key_bytes()].as_chunks().0;
            }
            for at in from..from + count {
                // What is read next: other blocks lie elsewhere.
                let values = &head(at)?[layout.key_bytes()..];
                fetch(values.as_ptr(), values.len());
                if at + count < blocks.end {
                    fetch(head(at + count)?.as_ptr(), layout.key_bytes());
                }
            }
            scores(
                lanes,
                rows,
                &queries[..rows * layout.key()],
                &keys[..count],
                &mut weights[from * BLOCK..],
            );
        } else {
            for (at, out) in converted.chunks_exact_mut(layout.key()).enumerate().take(count) {
                lanes.run(ConvertKeys { layout, head: head(from + at)?, out });
            }
            let mut keys: [&[Lane]; AT_ONCE] = [&[]; AT_ONCE];
            for (keys, block) in keys.iter_mut().zip(converted.chunks_exact(layout.key())) {
                *keys = block;
            }
            score_tiles(lanes, tile, chunk, from..from + count, queries, &keys, weights);
        }
        from += count;
    }

    let stride = lens.stride;
    let soft_cap = attend.soft_cap;
    lanes.run(Soften { tile, chunk, soft_cap, scores: weights, parts, stride });
    let weights = &**weights;
    let row_lanes = row_lanes(layout);
    for block in blocks {
        let head = head(block)?;
        if direct && layout.value().is_multiple_of(LANES) {
            let values: &[HalfLane] = head[layout.key_bytes()..].as_chunks().0;
            Weigh { tile, chunk, block, row: 0, rows, weights, values, lanes: row_lanes, parts }.weigh(lanes);
        } else {
            lanes.run(ConvertValues { layout, head, out: &mut converted[..BLOCK * row_lanes] });
            for row in (0..rows).step_by(ROWS) {
                let rows = ROWS.min(rows - row);
                let values: &[Lane] = &converted[..BLOCK * row_lanes];
                Weigh { tile, chunk, block, row, rows, weights, values, lanes: row_lanes, parts }
                    .weigh(lanes);
            }
        }
    }
    Ok(())
}

/// Scores of all rows with some converted blocks, but for blocks that none of a tile of registers sees.
fn score_tiles<L: Lanes>(
    lanes: L,
    tile: Tile,
    chunk: usize,
    given: Range<usize>,
    queries: &[f32],
    keys: &[&[Lane]; AT_ONCE],
    weights: &mut [f32],
) {
    let rows = tile.rows();
    let key = keys[0].len();
    for row in (0..rows).step_by(ROWS) {
        let width = ROWS.min(rows - row);
        let seen = blocks(union(&tile.keys(row, chunk), &tile.keys(row + width - 1, chunk)));
        let (from, to) = (seen.start.max(given.start), seen.end.min(given.end));
        if from < to {
            let queries = &queries[row * key..][..width * key];
            let keys = &keys[from - given.start..to - given.start];
            scores(lanes, width, queries, keys, &mut weights[row * CHUNK + from * BLOCK..]);
        }
    }
}

/// The blocks of a chunk in which some keys lie.
fn blocks(keys: Range<usize>) -> Range<usize> {
    if keys.is_empty() { 0..0 } else { keys.start / BLOCK..keys.end.div_ceil(BLOCK) }
}
