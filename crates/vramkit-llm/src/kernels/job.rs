//! A part of a product that one thread computes at a time.

use std::ops::Range;

use super::activations::{Activations, NONE, ZERO_8, ZERO_16, ZERO_32, ZERO_128};
use super::packed::Packed;

/// Some groups of 16 rows times some tokens.
pub(super) struct Job<'a> {
    pub weights: Packed<'a>,
    pub groups: Range<usize>,
    pub x: Activations<'a>,
    pub tokens: Range<usize>,
    /// Row 0 of token 0 in the output. Valid for each row of the job's groups and each of its tokens, which belong to
    /// this job alone.
    pub out: *mut f32,
    /// Numbers from one token's rows to the next one's.
    pub stride: usize,
}

impl Job<'_> {
    /// How many rows a group really has.
    pub fn rows(&self, group: usize) -> usize {
        super::form::ROWS.min(self.weights.rows() - group * super::form::ROWS)
    }
}

/// Where in a record the sums begin, for the halves of a block.
pub(super) const fn begin(zero: i32) -> [usize; 2] {
    match zero {
        8 => [ZERO_8, NONE],
        16 => [ZERO_16, NONE],
        128 => [ZERO_128, NONE],
        32 => [ZERO_32, ZERO_32 + 4],
        _ => [NONE, NONE],
    }
}

/// The next tile's tokens when `left` are left and a tile has at most `most`: as even as can be.
#[cfg(target_arch = "x86_64")]
pub(super) fn tile(left: usize, most: usize) -> usize {
    left.div_ceil(left.div_ceil(most))
}
