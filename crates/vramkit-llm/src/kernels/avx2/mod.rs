//! Products with AVX2: 8 rows a register, one lane a row.
//!
//! Bytes are multiplied and added two by two in 16 bits, where they cannot pass what 16 bits hold: numbers of up to six
//! bits are, by some chunks at a time; of numbers of 8 bits the magnitude is multiplied by the activation with its sign
//! changed (128 · 127 · 2 = 32,512).
#![allow(unsafe_code)]
// Rows and tokens index several arrays at once.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

mod floats;
mod lanes;
mod unpack;

pub(super) use floats::floats;

use super::activations::{RECORD, SCALE, SUM, ZERO_8, ZERO_16, ZERO_128};
use super::form::{Form, Heads as Kind, Quants as Numbers, ROWS};
use super::job::{Job, tile};
use crate::ahead::fetch_behind;
use lanes::{LANES, mask};
use unpack::{Eight, Five, Flat, Four, Heads, Minimum, Quants, Scale, Six, Split, Super, Unpacked};

/// Blocks that are unpacked at a time.
const PANEL: usize = 32;
/// Tokens from which on unpacking once for all is faster.
const MANY: usize = 12;
/// Most tokens of a tile.
const TILE: usize = 4;

/// A panel's weights, unpacked.
#[repr(C, align(64))]
struct Panel {
    numbers: [[u8; 512]; PANEL],
    heads: [[[f32; ROWS]; 3]; PANEL],
}

impl Panel {
    fn new() -> Self {
        Self { numbers: [[0; 512]; PANEL], heads: [[[0.0; ROWS]; 3]; PANEL] }
    }
}

/// Where a tile reads activations and writes sums.
#[derive(Clone, Copy)]
struct Tile {
    /// The first token's first record.
    records: *const u8,
    /// Bytes from one token to the next.
    row_bytes: usize,
    /// The first token's 16 sums.
    out: *mut f32,
    /// Numbers from one token to the next.
    stride: usize,
    /// How many rows there are.
    rows: usize,
    /// Whether to begin at 0, or go on.
    begin: bool,
}

/// `R` tiles of 8 rows, from the `first` of a group on, × `T` tokens over some blocks.
///
/// # Safety
/// The machine has these instructions; heads, numbers, records and sums of that many blocks and tokens are there; there are
/// rows in each tile.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sums<Q: Quants, H: Heads, const R: usize, const T: usize>(
    heads: *const u8,
    numbers: *const u8,
    blocks: usize,
    first: usize,
    tile: Tile,
) {
    // SAFETY: as the caller promises: all places are of these blocks, tiles and tokens.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let mut sums = [[_mm256_setzero_ps(); T]; R];
        if !tile.begin {
            for (r, sums) in sums.iter_mut().enumerate() {
                let mask = mask(tile.rows - (first + r) * LANES);
                for (t, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm256_maskload_ps(tile.out.add(t * tile.stride + (first + r) * LANES), mask);
                }
            }
        }
        for at in 0..blocks {
            if H::BYTES > 0 {
                // In memory a group begins with its heads.
                fetch_behind(heads.wrapping_add(at * (Q::BYTES + H::BYTES)), Q::BYTES + H::BYTES);
            }
            let block = numbers.add(at * Q::BYTES + first * 32);
            let record = tile.records.add(at * RECORD);
            let place = |t: usize, at: usize| record.add(t * tile.row_bytes + at);
            // Numbers of 8 bits are signed here, and their sums begin at 0.
            let signed = Q::CHUNKS == 0;
            let mut dots = [[_mm256_setzero_si256(); T]; R];
            let mut pairs = [[_mm256_setzero_si256(); T]; R];
            macro_rules! begin {
                ($half:literal) => {
                    for t in 0..T {
                        let begin = if signed {
                            _mm256_setzero_si256()
                        } else {
                            _mm256_set1_epi32(place(t, H::BEGIN[$half]).cast::<i32>().read_unaligned())
                        };
                        for dots in &mut dots {
                            dots[t] = begin;
                        }
                    }
                };
            }
            macro_rules! chunk {
                ($chunk:literal) => {
                    for r in 0..R {
                        let weights = Q::chunk::<$chunk>(block.add(r * 32));
                        let magnitudes = if signed { _mm256_abs_epi8(weights) } else { weights };
                        for t in 0..T {
                            let x = _mm256_set1_epi32(place(t, 4 * $chunk).cast::<i32>().read_unaligned());
                            if signed {
                                let two = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(x, weights));
                                dots[r][t] = _mm256_add_epi32(dots[r][t], _mm256_madd_epi16(two, ones));
                            } else {
                                let two = _mm256_maddubs_epi16(weights, x);
                                pairs[r][t] = if $chunk % Q::CHUNKS.max(1) == 0 {
                                    two
                                } else {
                                    _mm256_add_epi16(pairs[r][t], two)
                                };
                                if $chunk % Q::CHUNKS.max(1) + 1 == Q::CHUNKS {
                                    let four = _mm256_madd_epi16(pairs[r][t], ones);
                                    dots[r][t] = _mm256_add_epi32(dots[r][t], four);
                                }
                            }
                        }
                    }
                };
            }
            macro_rules! end {
                ($half:literal) => {
                    for r in 0..R {
                        let scales = H::scale(heads, at, $half, first + r);
                        for t in 0..T {
                            let x = _mm256_set1_ps(place(t, SCALE).cast::<f32>().read_unaligned());
                            let dot = _mm256_cvtepi32_ps(dots[r][t]);
                            sums[r][t] = _mm256_fmadd_ps(_mm256_mul_ps(scales, x), dot, sums[r][t]);
                        }
                    }
                };
            }
            begin!(0);
            chunk!(0);
            chunk!(1);
            chunk!(2);
            chunk!(3);
            if H::SPLIT {
                end!(0);
                begin!(1);
            }
            chunk!(4);
            chunk!(5);
            chunk!(6);
            chunk!(7);
            end!(1);
            if H::MINIMUM {
                for r in 0..R {
                    let minimum = H::minimum(heads, at, first + r);
                    for t in 0..T {
                        let x = _mm256_set1_ps(place(t, SUM).cast::<f32>().read_unaligned());
                        sums[r][t] = _mm256_fmadd_ps(minimum, x, sums[r][t]);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let mask = mask(tile.rows - (first + r) * LANES);
            for (t, sum) in sums.iter().enumerate() {
                _mm256_maskstore_ps(tile.out.add(t * tile.stride + (first + r) * LANES), mask, *sum);
            }
        }
    }
}

/// Unpacks `blocks` blocks from the `first` on.
///
/// # Safety
/// As [`sums`]; there are no more than [`PANEL`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack<Q: Quants, H: Heads>(
    heads: *const u8,
    numbers: *const u8,
    first: usize,
    blocks: usize,
    panel: &mut Panel,
) {
    for (at, (into, head)) in panel.numbers.iter_mut().zip(&mut panel.heads).take(blocks).enumerate() {
        let at = first + at;
        fetch_behind(numbers.wrapping_add(at * Q::BYTES), Q::BYTES);
        for tile in 0..2 {
            // SAFETY: as the caller promises; a chunk of 8 rows is 32 bytes, and 8 numbers are.
            unsafe {
                let block = numbers.add(at * Q::BYTES + tile * 32);
                let into = into.as_mut_ptr().add(tile * 32);
                macro_rules! chunk {
                    ($($chunk:literal)*) => {
                        $(_mm256_storeu_si256(into.add(64 * $chunk).cast(), Q::chunk::<$chunk>(block));)*
                    };
                }
                chunk!(0 1 2 3 4 5 6 7);
                _mm256_storeu_ps(head[0].as_mut_ptr().add(tile * LANES), H::scale(heads, at, 0, tile));
                _mm256_storeu_ps(head[1].as_mut_ptr().add(tile * LANES), H::scale(heads, at, 1, tile));
                _mm256_storeu_ps(head[2].as_mut_ptr().add(tile * LANES), H::minimum(heads, at, tile));
            }
        }
    }
}

/// Some tokens of a group.
///
/// # Safety
/// As [`sums`].
unsafe fn tokens<Q: Quants, H: Heads>(
    heads: *const u8,
    numbers: *const u8,
    blocks: usize,
    count: usize,
    tile: Tile,
) {
    let tiles = tile.rows.div_ceil(LANES);
    // SAFETY: as the caller promises.
    unsafe {
        match (count, tiles) {
            (1, 2) => sums::<Q, H, 2, 1>(heads, numbers, blocks, 0, tile),
            (2, 2) => sums::<Q, H, 2, 2>(heads, numbers, blocks, 0, tile),
            _ => {
                for first in 0..tiles {
                    match count {
                        1 => sums::<Q, H, 1, 1>(heads, numbers, blocks, first, tile),
                        2 => sums::<Q, H, 1, 2>(heads, numbers, blocks, first, tile),
                        3 => sums::<Q, H, 1, 3>(heads, numbers, blocks, first, tile),
                        _ => sums::<Q, H, 1, TILE>(heads, numbers, blocks, first, tile),
                    }
                }
            }
        }
    }
}

/// A job's groups, in one of the combinations of numbers and heads.
///
/// # Safety
/// The machine has these instructions; the weights are of this combination; `job.out` is as [`Job`] says.
unsafe fn groups<Q: Quants, H: Heads>(job: &Job) {
    let blocks = job.weights.shape.blocks();
    let row_bytes = job.x.row_bytes();
    let many = job.tokens.len() >= MANY;
    // Few tokens need none, and it takes time to clear.
    let mut panel = many.then(Panel::new);
    for group in job.groups.clone() {
        let (head, numbers) = job.weights.group(group).split_at(job.weights.shape.head_bytes);
        let (head, numbers) = (head.as_ptr(), numbers.as_ptr());
        let each = if many { PANEL } else { blocks };
        for first in (0..blocks).step_by(each) {
            let blocks = each.min(blocks - first);
            // SAFETY: a group has that many blocks, a token that many records; the rows and tokens are of this job.
            unsafe {
                if let Some(panel) = &mut panel {
                    unpack::<Q, H>(head, numbers, first, blocks, panel);
                }
                let mut token = job.tokens.start;
                while token < job.tokens.end {
                    let count = tile(job.tokens.end - token, TILE);
                    let tile = Tile {
                        records: job.x.records.as_ptr().add(token * row_bytes + first * RECORD),
                        row_bytes,
                        out: job.out.add(token * job.stride + group * ROWS),
                        stride: job.stride,
                        rows: job.rows(group),
                        begin: first == 0,
                    };
                    if let Some(panel) = &panel {
                        let (head, numbers) = (panel.heads.as_ptr().cast(), panel.numbers.as_ptr().cast());
                        tokens::<Flat<Q>, Unpacked<H>>(head, numbers, blocks, count, tile);
                    } else {
                        tokens::<Q, H>(head, numbers, blocks, count, tile);
                    }
                    token += count;
                }
            }
        }
    }
}

/// # Safety
/// The machine has AVX2, FMA and F16C; `job.out` is as [`Job`] says.
pub(super) unsafe fn quantised(job: &Job) {
    let Form::Quantised { quants, heads, .. } = job.weights.shape.form else { return };
    // SAFETY: as the caller promises.
    unsafe {
        match (quants, heads) {
            (Numbers::Eight, _) => groups::<Eight, Scale<ZERO_128>>(job),
            (Numbers::Four, Kind::Scale) => groups::<Four, Scale<ZERO_8>>(job),
            (Numbers::Five, Kind::Scale) => groups::<Five, Scale<ZERO_16>>(job),
            (Numbers::Four, Kind::Super) => groups::<Four, Super>(job),
            (Numbers::Five, Kind::Super) => groups::<Five, Super>(job),
            (Numbers::Four, _) => groups::<Four, Minimum>(job),
            (Numbers::Five, _) => groups::<Five, Minimum>(job),
            (Numbers::Six, _) => groups::<Six, Split>(job),
        }
    }
}
