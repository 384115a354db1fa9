//! Products of floating-point weights: 8 rows a register, one column after the other.
#![allow(unsafe_code)]
// Rows and tokens index several arrays at once.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::lanes::{LANES, mask};
use super::unpack::halves;
use crate::ahead::fetch_behind;
use crate::kernels::form::{Float, PART, ROWS};
use crate::kernels::job::{Job, tile};

/// Most tokens of a tile.
const TILE: usize = 6;

/// Weights of 8 rows in a column.
trait Weights {
    /// Bytes of 8 weights.
    const BYTES: usize;
    /// # Safety
    /// The machine has these instructions; 8 numbers are at `at`.
    unsafe fn load(at: *const u8) -> __m256;
}

struct F32;
struct F16;
struct Bf16;

impl Weights for F32 {
    const BYTES: usize = 32;
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m256 {
        // SAFETY: as the caller promises.
        unsafe { _mm256_loadu_ps(at.cast()) }
    }
}

impl Weights for F16 {
    const BYTES: usize = 16;
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m256 {
        // SAFETY: as the caller promises.
        unsafe { halves(at) }
    }
}

impl Weights for Bf16 {
    const BYTES: usize = 16;
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m256 {
        // SAFETY: as the caller promises. A bf16 is the upper half of an f32.
        let upper = unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast())) };
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(upper))
    }
}

/// `R` tiles of 8 rows × `T` tokens; tiles are counted from the matrix's first.
///
/// # Safety
/// The machine has these instructions; the tiles and tokens are of this job; there are rows in each tile.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sums<W: Weights, const R: usize, const T: usize>(job: &Job, first: usize, token: usize) {
    let columns = job.x.columns;
    let group_bytes = job.weights.shape.group_bytes;
    // SAFETY: the groups have that many columns, the tokens too.
    unsafe {
        let mut weights = [job.weights.bytes.as_ptr(); R];
        for (r, weights) in weights.iter_mut().enumerate() {
            let tile = first + r;
            *weights = weights.add(tile / 2 * group_bytes + tile % 2 * W::BYTES);
        }
        let x = job.x.x.as_ptr().add(token * columns);
        let mut sums = [[_mm256_setzero_ps(); T]; R];
        let mut column = 0;
        while column < columns {
            let end = columns.min(column + PART);
            let mut parts = [[_mm256_setzero_ps(); T]; R];
            while column < end {
                let mut w = [_mm256_setzero_ps(); R];
                for (r, w) in w.iter_mut().enumerate() {
                    let at = weights[r].add(column * 2 * W::BYTES);
                    fetch_behind(at, W::BYTES);
                    *w = W::load(at);
                }
                for t in 0..T {
                    let x = _mm256_set1_ps(*x.add(t * columns + column));
                    for r in 0..R {
                        parts[r][t] = _mm256_fmadd_ps(w[r], x, parts[r][t]);
                    }
                }
                column += 1;
            }
            for r in 0..R {
                for t in 0..T {
                    sums[r][t] = _mm256_add_ps(sums[r][t], parts[r][t]);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let row = (first + r) * LANES;
            let mask = mask(job.weights.rows() - row);
            for (t, sum) in sums.iter().enumerate() {
                _mm256_maskstore_ps(job.out.add((token + t) * job.stride + row), mask, *sum);
            }
        }
    }
}

/// A tile and how many times 8 rows it takes: the fewer tokens, the more, so that many sums are under way.
type Tile = (usize, unsafe fn(&Job, usize, usize));

fn tile_of<W: Weights>(tokens: usize, tiles: usize) -> Tile {
    match (tokens, tiles) {
        (1, 4..) => (4, sums::<W, 4, 1>),
        (2, 2..) => (2, sums::<W, 2, 2>),
        (3, 2..) => (2, sums::<W, 2, 3>),
        (1, _) => (1, sums::<W, 1, 1>),
        (2, _) => (1, sums::<W, 1, 2>),
        (3, _) => (1, sums::<W, 1, 3>),
        (4, _) => (1, sums::<W, 1, 4>),
        (5, _) => (1, sums::<W, 1, 5>),
        _ => (1, sums::<W, 1, TILE>),
    }
}

/// # Safety
/// The machine has AVX2, FMA and F16C; `job.out` is as [`Job`] says.
pub(in crate::kernels) unsafe fn floats(job: &Job, float: Float) {
    let last = (job.groups.end * ROWS).min(job.weights.rows()).div_ceil(LANES);
    let mut first = job.groups.start * ROWS / LANES;
    while first < last {
        let mut taken = 1;
        let mut token = job.tokens.start;
        // Several at once only with few tokens, which are one tile.
        let tiles = if job.tokens.len() <= TILE { last - first } else { 1 };
        while token < job.tokens.end {
            let tokens = tile(job.tokens.end - token, TILE);
            let (each, sums) = match float {
                Float::F32 => tile_of::<F32>(tokens, tiles),
                Float::F16 => tile_of::<F16>(tokens, tiles),
                Float::Bf16 => tile_of::<Bf16>(tokens, tiles),
            };
            taken = each;
            // SAFETY: as the caller promises.
            unsafe { sums(job, first, token) };
            token += tokens;
        }
        first += taken;
    }
}
