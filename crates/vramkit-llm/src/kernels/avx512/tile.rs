//! One tile of a product: where it reads activations and writes sums.

use std::arch::x86_64::*;

/// Where a tile reads activations and writes sums.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// The first token's first record.
    pub records: *const u8,
    /// Bytes from one token to the next.
    pub row_bytes: usize,
    /// The first token's 16 sums.
    pub out: *mut f32,
    /// Numbers from one token to the next.
    pub stride: usize,
    /// The rows that there are.
    pub rows: __mmask16,
    /// Whether to begin at 0, or go on.
    pub begin: bool,
}
