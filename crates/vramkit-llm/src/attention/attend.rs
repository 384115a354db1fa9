//! Causal attention of consecutive queries of one sequence, for one KV head and the query heads that share it.
//!
//! In: queries, the sequence's blocks, a window. Out: a row of means of values for every query. Keys are taken in chunks
//! at fixed positions, each chunk's part is computed from zero, and parts are merged in the order of chunks: so a query's
//! bits are the same in any tile, on any number of threads and with the chunks computed apart.

use std::ops::Range;

use super::chunk::Chunks;
use super::convert::row_lanes;
use super::error::AttentionError;
use super::layout::CacheLayout;
use super::level::{LANES, Lane, Level};
use super::query::{Attend, check};
use super::range::CHUNK;
use super::rows::RowsMut;
use super::scratch::Lens;
use super::soften::{Finish, HEAD, Merge};

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
