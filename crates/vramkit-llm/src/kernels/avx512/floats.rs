//! Products of floating-point weights: 16 rows a register, one column after the other.
#![allow(unsafe_code)]
// Rows and tokens index several arrays at once.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::unpack::halves;
use crate::ahead::fetch_behind;
use crate::kernels::form::{Float, PART, ROWS};
use crate::kernels::job::{Job, tile};

/// Most tokens of a tile.
const TILE: usize = 12;

/// Weights of 16 rows in a column.
trait Weights {
    const BYTES: usize;
    /// # Safety
    /// The machine has these instructions; 16 numbers are at `at`.
    unsafe fn load(at: *const u8) -> __m512;
}

struct F32;
struct F16;
struct Bf16;

impl Weights for F32 {
    const BYTES: usize = 64;
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m512 {
        // SAFETY: as the caller promises.
        unsafe { _mm512_loadu_ps(at.cast()) }
    }
}

impl Weights for F16 {
    const BYTES: usize = 32;
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m512 {
        // SAFETY: as the caller promises.
        unsafe { halves(at) }
    }
}

impl Weights for Bf16 {
    const BYTES: usize = 32;
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m512 {
        // SAFETY: as the caller promises. A bf16 is the upper half of an f32.
        let upper = unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast())) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(upper))
    }
}

/// `G` groups × `T` tokens.
///
/// # Safety
/// The machine has these instructions; the groups and tokens are of this job.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn sums<W: Weights, const G: usize, const T: usize>(job: &Job, group: usize, token: usize) {
    let columns = job.x.columns;
    let group_bytes = job.weights.shape.group_bytes;
    // SAFETY: the groups have that many columns, the tokens too.
    unsafe {
        let weights = job.weights.bytes.as_ptr().add(group * group_bytes);
        let x = job.x.x.as_ptr().add(token * columns);
        let mut sums = [[_mm512_setzero_ps(); T]; G];
        let mut column = 0;
        while column < columns {
            let end = columns.min(column + PART);
            let mut parts = [[_mm512_setzero_ps(); T]; G];
            while column < end {
                let mut w = [_mm512_setzero_ps(); G];
                for (g, w) in w.iter_mut().enumerate() {
                    let at = weights.add(g * group_bytes + column * W::BYTES);
                    fetch_behind(at, W::BYTES);
                    *w = W::load(at);
                }
                for t in 0..T {
                    let x = _mm512_set1_ps(*x.add(t * columns + column));
                    for g in 0..G {
                        parts[g][t] = _mm512_fmadd_ps(w[g], x, parts[g][t]);
                    }
                }
                column += 1;
            }
            for g in 0..G {
                for t in 0..T {
                    sums[g][t] = _mm512_add_ps(sums[g][t], parts[g][t]);
                }
            }
        }
        for (g, sums) in sums.iter().enumerate() {
            let rows = (0xffff_u32 >> (ROWS - job.rows(group + g))) as __mmask16;
            for (t, sum) in sums.iter().enumerate() {
                let out = job.out.add((token + t) * job.stride + (group + g) * ROWS);
                _mm512_mask_storeu_ps(out, rows, *sum);
            }
        }
    }
}

/// A tile and how many groups it takes: the fewer tokens, the more groups, so that many sums are under way.
type Tile = (usize, unsafe fn(&Job, usize, usize));

fn tile_of<W: Weights>(tokens: usize, groups: usize) -> Tile {
    match (tokens, groups) {
        (1, 4..) => (4, sums::<W, 4, 1>),
        (2, 4..) => (4, sums::<W, 4, 2>),
        (3, 2..) => (2, sums::<W, 2, 3>),
        (4, 2..) => (2, sums::<W, 2, 4>),
        (5, 2..) => (2, sums::<W, 2, 5>),
        (1, _) => (1, sums::<W, 1, 1>),
        (2, _) => (1, sums::<W, 1, 2>),
        (3, _) => (1, sums::<W, 1, 3>),
        (4, _) => (1, sums::<W, 1, 4>),
        (5, _) => (1, sums::<W, 1, 5>),
        (6, _) => (1, sums::<W, 1, 6>),
        (7, _) => (1, sums::<W, 1, 7>),
        (8, _) => (1, sums::<W, 1, 8>),
        (9, _) => (1, sums::<W, 1, 9>),
        (10, _) => (1, sums::<W, 1, 10>),
        (11, _) => (1, sums::<W, 1, 11>),
        _ => (1, sums::<W, 1, TILE>),
    }
}

/// # Safety
/// The machine has AVX-512 with VNNI; `job.out` is as [`Job`] says.
pub(in crate::kernels) unsafe fn floats(job: &Job, float: Float) {
    let mut group = job.groups.start;
    while group < job.groups.end {
        let mut taken = 1;
        let mut token = job.tokens.start;
        // Several at once only with few tokens, which are one tile.
        let groups = if job.tokens.len() <= TILE { job.groups.end - group } else { 1 };
        while token < job.tokens.end {
            let tokens = tile(job.tokens.end - token, TILE);
            let (each, sums) = match float {
                Float::F32 => tile_of::<F32>(tokens, groups),
                Float::F16 => tile_of::<F16>(tokens, groups),
                Float::Bf16 => tile_of::<Bf16>(tokens, groups),
            };
            taken = each;
            // SAFETY: as the caller promises.
            unsafe { sums(job, group, token) };
            token += tokens;
        }
        group += taken;
    }
}
