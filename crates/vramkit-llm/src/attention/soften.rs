//! From scores to weights within a chunk, and from chunks to a whole: softmax without a second pass.
//!
//! A row's part of a chunk is its largest score, the sum of its weights (a lane for every sixteenth key) and the sum of
//! its values by weight; parts are merged one after another in the order of chunks.

use std::ops::Range;

use super::level::{Job, LANES, Lane, Lanes};
use super::math::{exp, larger, largest, sum, tanh};
use super::range::{CHUNK, Tile};

/// Vectors of a row's part before its values: the largest score in the first lane of one, the sums of weights.
pub(super) const HEAD: usize = 2;

/// Makes weights of a tile's scores, and the first two vectors of the rows' parts; the others become zero.
pub(super) struct Soften<'a> {
    pub tile: Tile,
    pub chunk: usize,
    pub soft_cap: Option<f32>,
    /// `rows` rows of [`CHUNK`].
    pub scores: &'a mut [f32],
    /// `rows` rows of `stride` vectors.
    pub parts: &'a mut [Lane],
    pub stride: usize,
}

impl Job for Soften<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let rows = self.scores.as_chunks_mut::<CHUNK>().0;
        for (at, (row, part)) in rows.iter_mut().zip(self.parts.chunks_exact_mut(self.stride)).enumerate() {
            let keys = self.tile.keys(at, self.chunk);
            (part[0], part[1]) = if keys.is_empty() { NONE } else { soften(row, keys, self.soft_cap) };
            part[HEAD..].fill([0.0; LANES]);
        }
    }
}

/// What a row has of a chunk of which it sees nothing.
const NONE: (Lane, Lane) = ([f32::NEG_INFINITY; LANES], [0.0; LANES]);

/// Whether a part is [`NONE`]: where every score is minus infinity, the weights are no numbers.
#[inline(always)]
fn is_none(part: &[Lane]) -> bool {
    part[0][0] == f32::NEG_INFINITY && part[1] == NONE.1
}

/// Weights of the keys that a row sees, in their scores' places; the largest score, and the sums of weights.
#[inline(always)]
fn soften(row: &mut [f32; CHUNK], keys: Range<usize>, soft_cap: Option<f32>) -> (Lane, Lane) {
    let start = keys.start / LANES * LANES;
    let row = &mut row[start..keys.end.next_multiple_of(LANES)];
    if let Some(cap) = soft_cap {
        let inverse = 1.0 / cap;
        for x in row.iter_mut() {
            *x = cap * tanh(*x * inverse);
        }
    }
    row[..keys.start - start].fill(f32::NEG_INFINITY);
    row[keys.end - start..].fill(f32::NEG_INFINITY);
    let mut most = [f32::NEG_INFINITY; LANES];
    for vector in row.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            most[lane] = larger(vector[lane], most[lane]);
        }
    }
    let most = largest(&most);
    for x in row.iter_mut() {
        *x = exp(*x - most);
    }
    let mut sums = [0.0; LANES];
    for vector in row.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            sums[lane] += vector[lane];
        }
    }
    ([most; LANES], sums)
}

/// Adds the parts of a chunk to those of the chunks before it.
pub(super) struct Merge<'a> {
    pub stride: usize,
    /// `rows` rows of `stride` vectors.
    pub parts: &'a [Lane],
    /// The same of the chunks before.
    pub whole: &'a mut [Lane],
}

impl Job for Merge<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let rows = self.whole.chunks_exact_mut(self.stride).zip(self.parts.chunks_exact(self.stride));
        for (whole, part) in rows {
            if is_none(part) {
                continue;
            }
            if is_none(whole) {
                whole.copy_from_slice(part);
                continue;
            }
            let most = larger(whole[0][0], part[0][0]);
            let (before, now) = (exp(whole[0][0] - most), exp(part[0][0] - most));
            whole[0] = [most; LANES];
            for (whole, part) in whole[1..].iter_mut().zip(&part[1..]) {
                for lane in 0..LANES {
                    whole[lane] = whole[lane].mul_add(before, part[lane] * now);
                }
            }
        }
    }
}

/// Makes every row's part that of no chunk at all.
pub(super) fn clear(whole: &mut [Lane], stride: usize) {
    for row in whole.chunks_exact_mut(stride) {
        (row[0], row[1]) = NONE;
    }
}

/// The mean of values by weight, from a row's whole; zeros of a row that saw nothing.
pub(super) struct Finish<'a> {
    /// `stride` vectors.
    pub whole: &'a [Lane],
    pub out: &'a mut [f32],
}

impl Job for Finish<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        if is_none(self.whole) {
            return self.out.fill(0.0);
        }
        let inverse = 1.0 / sum(&self.whole[1]);
        for (out, x) in self.out.iter_mut().zip(self.whole[HEAD..].as_flattened()) {
            *out = x * inverse;
        }
    }
}
