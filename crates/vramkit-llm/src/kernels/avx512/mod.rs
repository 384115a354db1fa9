//! Products with AVX-512 VNNI: 16 rows a register, one lane a row.
//!
//! A tile is 16 rows × up to 12 tokens. For few tokens, weights are unpacked in registers as they are read; for many,
//! [`PANEL`] blocks at a time once for all, next to the core.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

mod floats;
mod unpack;

pub(super) use floats::floats;

use super::activations::{RECORD, SCALE, SUM, ZERO_8, ZERO_16, ZERO_128};
use super::form::{Form, Heads as Kind, Quants as Numbers, ROWS};
use super::job::{Job, tile};
use unpack::{Eight, Five, Four, Heads, Minimum, Quants, Scale, Six, Split, Super};

/// Blocks that are unpacked at a time.
const PANEL: usize = 32;
/// Tokens from which on unpacking once for all is faster.
const MANY: usize = 24;

/// A panel's weights, unpacked.
#[repr(C, align(64))]
struct Panel {
    numbers: [[u8; 512]; PANEL],
    heads: [[[f32; ROWS]; 3]; PANEL],
}

/// Heads of a panel; `H` says which there are.
struct Unpacked<H> {
    heads: *const u8,
    kind: std::marker::PhantomData<H>,
}

/// Bytes of a block's heads in a panel.
const UNPACKED: usize = 3 * 64;

impl<H: Heads> Heads for Unpacked<H> {
    const MINIMUM: bool = H::MINIMUM;
    const SPLIT: bool = H::SPLIT;
    const BEGIN: [usize; 2] = H::BEGIN;
    fn new(heads: *const u8) -> Self {
        Self { heads: heads.wrapping_sub(UNPACKED), kind: std::marker::PhantomData }
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn enter(&mut self, _: usize) {
        self.heads = self.heads.wrapping_add(UNPACKED);
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn scale(&self, half: usize) -> __m512 {
        // SAFETY: a block's heads are here.
        unsafe { _mm512_loadu_ps(self.heads.add(64 * half).cast()) }
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn minimum(&self) -> __m512 {
        // SAFETY: a block's heads are here.
        unsafe { _mm512_loadu_ps(self.heads.add(128).cast()) }
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
    /// The rows that there are.
    rows: __mmask16,
    /// Whether to begin at 0, or go on.
    begin: bool,
}

/// 16 rows × `T` tokens over some blocks.
///
/// # Safety
/// The machine has these instructions; heads, numbers, records and sums of that many blocks and tokens are there.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn sums<Q: Quants, H: Heads, const T: usize>(
    heads: *const u8,
    numbers: *const u8,
    blocks: usize,
    tile: Tile,
) {
    // SAFETY: as the caller promises: all places are of these blocks and tokens.
    unsafe {
        let mut heads = H::new(heads);
        let mut sums = [_mm512_setzero_ps(); T];
        if !tile.begin {
            for (t, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_maskz_loadu_ps(tile.rows, tile.out.add(t * tile.stride));
            }
        }
        for at in 0..blocks {
            let block = numbers.add(at * Q::BYTES);
            let record = tile.records.add(at * RECORD);
            let place = |t: usize, at: usize| record.add(t * tile.row_bytes + at);
            heads.enter(at);
            let mut dots = [_mm512_setzero_si512(); T];
            macro_rules! begin {
                ($half:literal) => {
                    for (t, dot) in dots.iter_mut().enumerate() {
                        *dot = _mm512_set1_epi32(place(t, H::BEGIN[$half]).cast::<i32>().read_unaligned());
                    }
                };
            }
            macro_rules! chunk {
                ($chunk:literal) => {
                    let weights = Q::chunk::<$chunk>(block);
                    for (t, dot) in dots.iter_mut().enumerate() {
                        let x = _mm512_set1_epi32(place(t, 4 * $chunk).cast::<i32>().read_unaligned());
                        *dot = _mm512_dpbusd_epi32(*dot, weights, x);
                    }
                };
            }
            macro_rules! end {
                ($half:literal) => {
                    let scales = heads.scale($half);
                    for (t, sum) in sums.iter_mut().enumerate() {
                        let x = _mm512_set1_ps(place(t, SCALE).cast::<f32>().read_unaligned());
                        *sum = _mm512_fmadd_ps(_mm512_mul_ps(scales, x), _mm512_cvtepi32_ps(dots[t]), *sum);
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
                let minimum = heads.minimum();
                for (t, sum) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(place(t, SUM).cast::<f32>().read_unaligned());
                    *sum = _mm512_fmadd_ps(minimum, x, *sum);
                }
            }
        }
        for (t, sum) in sums.iter().enumerate() {
            _mm512_mask_storeu_ps(tile.out.add(t * tile.stride), tile.rows, *sum);
        }
    }
}

/// Unpacks `blocks` blocks; `heads` has entered the block before them.
///
/// # Safety
/// As [`sums`]; there are no more than [`PANEL`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn unpack<Q: Quants, H: Heads>(
    heads: &mut H,
    first: usize,
    numbers: *const u8,
    blocks: usize,
    panel: &mut Panel,
) {
    for (at, (into, head)) in panel.numbers.iter_mut().zip(&mut panel.heads).take(blocks).enumerate() {
        // SAFETY: as the caller promises; a chunk is 64 bytes, and 16 numbers are 64 bytes.
        unsafe {
            let block = numbers.add(at * Q::BYTES);
            let into = into.as_mut_ptr();
            macro_rules! chunk {
                ($($chunk:literal)*) => {
                    $(_mm512_storeu_si512(into.add(64 * $chunk).cast(), Q::chunk::<$chunk>(block));)*
                };
            }
            chunk!(0 1 2 3 4 5 6 7);
            heads.enter(first + at);
            _mm512_storeu_ps(head[0].as_mut_ptr(), heads.scale(0));
            _mm512_storeu_ps(head[1].as_mut_ptr(), heads.scale(1));
            _mm512_storeu_ps(head[2].as_mut_ptr(), heads.minimum());
        }
    }
}

/// A job's groups, in one of the combinations of numbers and heads.
///
/// # Safety
/// The machine has these instructions; the weights are of this combination; `job.out` is as [`Job`] says.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn groups<Q: Quants, H: Heads>(job: &Job) {
    let blocks = job.weights.shape.blocks();
    let row_bytes = job.x.row_bytes();
    let many = job.tokens.len() >= MANY;
    let mut panel = std::mem::MaybeUninit::<Panel>::uninit();
    for group in job.groups.clone() {
        let bytes = job.weights.group(group);
        let (head, numbers) = bytes.split_at(job.weights.shape.head_bytes);
        let (head, numbers) = (head.as_ptr(), numbers.as_ptr());
        let rows = (0xffff_u32 >> (ROWS - job.rows(group))) as __mmask16;
        let mut unpacker = H::new(head);
        let each = if many { PANEL } else { blocks };
        for first in (0..blocks).step_by(each) {
            let blocks = each.min(blocks - first);
            // SAFETY: a group has that many blocks, a token that many records; the rows and tokens are of this job.
            unsafe {
                if many {
                    let numbers = numbers.add(first * Q::BYTES);
                    unpack::<Q, H>(&mut unpacker, first, numbers, blocks, panel.assume_init_mut());
                }
                let mut token = job.tokens.start;
                while token < job.tokens.end {
                    let left = job.tokens.end - token;
                    let count = tile(left, if many { 12 } else { 8 });
                    let tile = Tile {
                        records: job.x.records.as_ptr().add(token * row_bytes + first * RECORD),
                        row_bytes,
                        out: job.out.add(token * job.stride + group * ROWS),
                        stride: job.stride,
                        rows,
                        begin: first == 0,
                    };
                    if many {
                        let panel = panel.assume_init_ref();
                        let (head, numbers) = (panel.heads.as_ptr().cast(), panel.numbers.as_ptr().cast());
                        let sums = match count {
                            12 => sums::<Eight, Unpacked<H>, 12>,
                            11 => sums::<Eight, Unpacked<H>, 11>,
                            10 => sums::<Eight, Unpacked<H>, 10>,
                            9 => sums::<Eight, Unpacked<H>, 9>,
                            8 => sums::<Eight, Unpacked<H>, 8>,
                            _ => sums::<Eight, Unpacked<H>, 7>,
                        };
                        sums(head, numbers, blocks, tile);
                    } else {
                        let sums = match count {
                            1 => sums::<Q, H, 1>,
                            2 => sums::<Q, H, 2>,
                            3 => sums::<Q, H, 3>,
                            4 => sums::<Q, H, 4>,
                            5 => sums::<Q, H, 5>,
                            6 => sums::<Q, H, 6>,
                            7 => sums::<Q, H, 7>,
                            _ => sums::<Q, H, 8>,
                        };
                        sums(head, numbers, blocks, tile);
                    }
                    token += count;
                }
            }
        }
    }
}

/// # Safety
/// The machine has AVX-512 with VNNI; `job.out` is as [`Job`] says.
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
