//! The caller's scratch, cut in pieces that begin at whole cache lines.

use super::convert::row_lanes;
use super::error::AttentionError;
use super::layout::{BLOCK, CacheLayout};
use super::level::{LANES, Lane};
use super::range::CHUNK;
use super::soften::HEAD;

/// Blocks whose keys are converted before they are multiplied.
pub(super) const AT_ONCE: usize = 4;

/// Vectors of each piece of scratch.
#[derive(Clone, Copy)]
pub(super) struct Lens {
    /// Of a row's part.
    pub stride: usize,
    pub parts: usize,
    pub queries: usize,
    pub scores: usize,
    pub converted: usize,
}

/// The pieces of scratch, but for the whole.
pub(super) struct Pieces<'a> {
    pub queries: &'a mut [f32],
    pub scores: &'a mut [f32],
    pub converted: &'a mut [Lane],
    pub parts: &'a mut [Lane],
}

impl Lens {
    pub fn new(layout: &CacheLayout, tokens: usize, group: usize) -> Result<Self, AttentionError> {
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

    pub fn all(&self) -> usize {
        2 * self.parts + self.queries + self.scores + self.converted
    }

    /// The pieces, and the whole of all chunks.
    pub fn split<'a>(&self, scratch: &'a mut [f32]) -> Result<(Pieces<'a>, &'a mut [Lane]), AttentionError> {
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
