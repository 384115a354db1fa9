//! Causal attention of consecutive queries of one sequence, for one KV head and the query heads that share it.
//!
//! In: queries, the sequence's blocks, a window. Out: a row of means of values for every query. Keys are taken in chunks
//! at fixed positions, each chunk's part is computed from zero, and parts are merged in the order of chunks: so a query's
//! bits are the same in any tile, on any number of threads and with the chunks computed apart.

use std::ops::Range;

use super::convert::{ConvertKeys, ConvertValues, row_lanes};
use super::error::AttentionError;
use super::layout::{BLOCK, CacheKind, CacheLayout};
use super::level::{HalfLane, Job, LANES, Lane, Lanes, Level};
use super::range::{Tile, union};
use super::rows::RowsMut;
use super::score::{ROWS, scores};
use super::soften::{Finish, HEAD, Merge, Soften, clear};
use super::weigh::Weigh;

pub use super::range::CHUNK;

/// Blocks of a chunk.
const BLOCKS: usize = CHUNK / BLOCK;
/// Blocks whose keys are converted before they are multiplied.
const AT_ONCE: usize = 4;

/// A sequence's blocks, in its order. Sequences may share blocks.
pub trait Blocks {
    /// The bytes `at` of the sequence's block number `block` (all its layers); `None` where there are none.
    fn bytes(&self, block: usize, at: Range<usize>) -> Option<&[u8]>;
}

/// Whole blocks, [`CacheLayout::block_bytes`] each.
impl Blocks for [&[u8]] {
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

/// Floats that [`attend`] and [`attend_chunk`] need as scratch for a tile of so many tokens and heads a KV head.
///
/// # Errors
/// More than this machine can address.
pub fn scratch_len(layout: &CacheLayout, tokens: usize, group: usize) -> Result<usize, AttentionError> {
    let lens = Lens::new(layout, tokens, group)?;
    // Vectors begin at whole cache lines, which may leave some floats unused before the first.
    Ok(lens.all() * LANES + LANES - 1)
}

/// Floats of one chunk's part, as [`attend_chunk`] writes it.
///
/// # Errors
/// More than this machine can address.
pub fn partial_len(layout: &CacheLayout, tokens: usize, group: usize) -> Result<usize, AttentionError> {
    Ok(Lens::new(layout, tokens, group)?.parts * LANES)
}

/// The chunks that a tile's queries look at, for [`attend_chunk`]: those of [`CHUNK`] keys from multiples of it on.
///
/// # Errors
/// What [`attend`] refuses.
pub fn chunks(attend: &Attend<'_>) -> Result<Range<usize>, AttentionError> {
    let (tile, _) = check(attend)?;
    Ok(tile.first() / CHUNK..tile.end().div_ceil(CHUNK))
}

/// Attention, in one piece: `out` has a row of `group * value` floats for every token.
///
/// # Errors
/// Shapes that do not agree, a block that is missing (`out` is unchanged), or numbers that make no sense (a window of
/// 0). Of keys, values and queries that are no numbers the results are none.
pub fn attend(
    level: Level,
    attend: &Attend<'_>,
    scratch: &mut [f32],
    out: &mut RowsMut<'_>,
) -> Result<(), AttentionError> {
    let (tile, lens) = check(attend)?;
    check_out(attend, out)?;
    let chunks = chunks(attend)?;
    level.choose(Chunks { attend, tile, lens, chunks, scratch, part: None })?;
    let (_, whole) = lens.split(scratch)?;
    finish(level, attend, whole, out);
    Ok(())
}

/// One chunk's part of the same, so that the chunks of a long sequence can be computed on several threads.
///
/// `part` is of [`partial_len`]. The parts of all [`chunks`], one behind another, go to [`combine`].
///
/// # Errors
/// As of [`attend`].
pub fn attend_chunk(
    level: Level,
    attend: &Attend<'_>,
    chunk: usize,
    scratch: &mut [f32],
    part: &mut [f32],
) -> Result<(), AttentionError> {
    let (tile, lens) = check(attend)?;
    let need = lens.parts * LANES;
    if part.len() != need {
        return Err(AttentionError::Length { what: "a chunk's part", need, got: part.len() });
    }
    let chunks = chunks(attend)?;
    if !chunks.contains(&chunk) {
        return Err(AttentionError::Index { what: "chunk", index: chunk, count: chunks.end });
    }
    let part = Some(part.as_chunks_mut().0);
    level.choose(Chunks { attend, tile, lens, chunks: chunk..chunk + 1, scratch, part })
}

/// The results of parts, with the same bits as [`attend`]'s. `parts` is used up.
///
/// # Errors
/// As of [`attend`]; or parts that are not as many as [`chunks`] says.
pub fn combine(
    level: Level,
    attend: &Attend<'_>,
    parts: &mut [f32],
    out: &mut RowsMut<'_>,
) -> Result<(), AttentionError> {
    let (_, lens) = check(attend)?;
    check_out(attend, out)?;
    let need = chunks(attend)?
        .len()
        .checked_mul(lens.parts * LANES)
        .ok_or(AttentionError::TooLarge { what: "the parts of all chunks" })?;
    if parts.len() != need {
        return Err(AttentionError::Length { what: "the parts of all chunks", need, got: parts.len() });
    }
    let (whole, others) = parts.as_chunks_mut().0.split_at_mut(lens.parts);
    for parts in others.chunks_exact(lens.parts) {
        level.run(Merge { stride: lens.stride, parts, whole });
    }
    finish(level, attend, whole, out);
    Ok(())
}

/// Checks all but the blocks.
fn check(attend: &Attend<'_>) -> Result<(Tile, Lens), AttentionError> {
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

fn check_out(attend: &Attend<'_>, out: &RowsMut<'_>) -> Result<(), AttentionError> {
    let width = attend.group * attend.layout.value();
    for (what, need, got) in
        [("the output's rows", attend.tokens, out.rows()), ("the output's width", width, out.width())]
    {
        if need != got {
            return Err(AttentionError::Length { what, need, got });
        }
    }
    Ok(())
}

/// Writes the results.
fn finish(level: Level, attend: &Attend<'_>, whole: &[Lane], out: &mut RowsMut<'_>) {
    let value = attend.layout.value();
    let mut parts = whole.chunks_exact(HEAD + row_lanes(attend.layout));
    for token in 0..attend.tokens {
        let heads = out.row(token).unwrap_or_default().chunks_exact_mut(value);
        for (out, whole) in heads.zip(&mut parts) {
            level.run(Finish { whole, out });
        }
    }
}

/// Vectors of each piece of scratch.
#[derive(Clone, Copy)]
struct Lens {
    /// Of a row's part.
    stride: usize,
    parts: usize,
    queries: usize,
    scores: usize,
    converted: usize,
}

/// The pieces of scratch, but for the whole.
struct Pieces<'a> {
    queries: &'a mut [f32],
    scores: &'a mut [f32],
    converted: &'a mut [Lane],
    parts: &'a mut [Lane],
}

impl Lens {
    fn new(layout: &CacheLayout, tokens: usize, group: usize) -> Result<Self, AttentionError> {
        let stride = HEAD + row_lanes(layout);
        let lens = tokens.checked_mul(group).and_then(|rows| {
            Some(Self {
                stride,
                parts: rows.checked_mul(stride)?,
                queries: rows.checked_mul(layout.key())?.div_ceil(LANES),
                scores: rows.checked_mul(CHUNK / LANES)?,
                converted: layout.key().checked_mul(AT_ONCE)?.max(row_lanes(layout).checked_mul(BLOCK)?),
            })
        });
        // Far below what a slice can have, so that sums and products of a few of them fit too.
        lens.filter(|lens| {
            [lens.parts, lens.queries, lens.scores, lens.converted]
                .iter()
                .all(|&lanes| lanes <= isize::MAX as usize / (16 * size_of::<Lane>()))
        })
        .ok_or(AttentionError::TooLarge { what: "the scratch of a tile" })
    }

    fn all(&self) -> usize {
        2 * self.parts + self.queries + self.scores + self.converted
    }

    /// The pieces, and the whole of all chunks.
    fn split<'a>(&self, scratch: &'a mut [f32]) -> Result<(Pieces<'a>, &'a mut [Lane]), AttentionError> {
        let (got, need) = (scratch.len(), self.all() * LANES);
        let before = scratch.as_ptr().align_offset(size_of::<Lane>()).min(LANES - 1);
        let lanes = scratch.get_mut(before..).unwrap_or_default().as_chunks_mut().0;
        if lanes.len() < self.all() {
            return Err(AttentionError::Length { what: "the scratch", need: need + LANES - 1, got });
        }
        let (whole, rest) = lanes.split_at_mut(self.parts);
        let (parts, rest) = rest.split_at_mut(self.parts);
        let (queries, rest) = rest.split_at_mut(self.queries);
        let (scores, rest) = rest.split_at_mut(self.scores);
        let converted = &mut rest[..self.converted];
        let (queries, scores) = (queries.as_flattened_mut(), scores.as_flattened_mut());
        Ok((Pieces { queries, scores, converted, parts }, whole))
    }
}

/// Some chunks: merged into the scratch's whole, or one of them into a part.
struct Chunks<'a> {
    attend: &'a Attend<'a>,
    tile: Tile,
    lens: Lens,
    chunks: Range<usize>,
    scratch: &'a mut [f32],
    part: Option<&'a mut [Lane]>,
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
            let lanes_of_row = row_lanes;
            Weigh { tile, chunk, block, row: 0, rows, weights, values, lanes: lanes_of_row, parts }
                .weigh(lanes);
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
