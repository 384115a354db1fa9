//! Products with AVX-512 VNNI: 16 rows a register, one lane a row.
//!
//! A tile is 16 rows × up to 12 tokens. For few tokens, weights are unpacked in registers as they are read; for many,
//! [`PANEL`] blocks at a time once for all, next to the core.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

mod floats;
mod tile;
mod tiles;
mod unpack;

pub(super) use floats::floats;

use super::activations::{RECORD, SCALE, SUM, ZERO_8, ZERO_16, ZERO_128};
use super::form::{Form, Heads as Kind, Quants as Numbers, ROWS};
use super::job::{Job, tile};
use crate::ahead::fetch_behind;
use tile::Tile;
use unpack::{Eight, Five, Four, Heads, Minimum, Quants, Scale, Six, Split, Super, Unpacked};

/// Blocks that are unpacked at a time.
const PANEL: usize = 32;
/// Groups that are unpacked at a time where AMX multiplies.
const PANELS: usize = 4;
/// Tokens from which on unpacking once for all is faster.
const MANY: usize = 24;
/// The same, where AMX multiplies.
const AMX_MANY: usize = 32;
/// Most tokens of a tile whose weights are unpacked in registers.
const FEW: usize = 8;

/// A panel's weights, unpacked.
#[repr(C, align(64))]
struct Panel {
    numbers: [[u8; 512]; PANEL],
    heads: [[[f32; ROWS]; 3]; PANEL],
}

impl Panel {
    const fn new() -> Self {
        Self { numbers: [[0; 512]; PANEL], heads: [[[0.0; ROWS]; 3]; PANEL] }
    }
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
        // In memory a group begins with its heads.
        let group = heads;
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
            if H::BYTES > 0 {
                fetch_behind(group.wrapping_add(at * (Q::BYTES + H::BYTES)), Q::BYTES + H::BYTES);
            }
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

/// Unpacks `blocks` blocks, `zero` taken from their numbers; `heads` has entered the block before them.
///
/// # Safety
/// As [`sums`]; there are no more than [`PANEL`]; `panel` is valid for writes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn unpack<Q: Quants, H: Heads>(
    heads: &mut H,
    first: usize,
    numbers: *const u8,
    blocks: usize,
    zero: i8,
    panel: *mut Panel,
) {
    for at in 0..blocks {
        // SAFETY: as the caller promises; a chunk is 64 bytes, and 16 numbers are 64 bytes.
        unsafe {
            let block = numbers.add(at * Q::BYTES);
            let into: *mut u8 = (&raw mut (*panel).numbers[at]).cast();
            let head: *mut f32 = (&raw mut (*panel).heads[at]).cast();
            let zero = _mm512_set1_epi8(zero);
            fetch_behind(block, Q::BYTES);
            macro_rules! chunk {
                ($($chunk:literal)*) => {$(
                    let numbers = _mm512_sub_epi8(Q::chunk::<$chunk>(block), zero);
                    _mm512_storeu_si512(into.add(64 * $chunk).cast(), numbers);
                )*};
            }
            chunk!(0 1 2 3 4 5 6 7);
            heads.enter(first + at);
            _mm512_storeu_ps(head, heads.scale(0));
            _mm512_storeu_ps(head.add(ROWS), heads.scale(1));
            _mm512_storeu_ps(head.add(2 * ROWS), heads.minimum());
        }
    }
}

/// A group's heads and numbers, and the lanes of its rows.
fn parts(job: &Job, group: usize) -> (*const u8, *const u8, __mmask16) {
    let (heads, numbers) = job.weights.group(group).split_at(job.weights.shape.head_bytes);
    (heads.as_ptr(), numbers.as_ptr(), (0xffff_u32 >> (ROWS - job.rows(group))) as __mmask16)
}

/// Where a group's tile begins, at a token and a block.
///
/// # Safety
/// Group and token are of this job, and there is such a block.
unsafe fn place(job: &Job, group: usize, token: usize, block: usize, rows: __mmask16) -> Tile {
    // SAFETY: as the caller promises.
    let (records, out) = unsafe {
        (
            job.x.records.as_ptr().add(token * job.x.row_bytes() + block * RECORD),
            job.out.add(token * job.stride + group * ROWS),
        )
    };
    Tile { records, row_bytes: job.x.row_bytes(), out, stride: job.stride, rows, begin: block == 0 }
}

/// A job of few tokens.
///
/// # Safety
/// The machine has these instructions; the weights are of this combination; `job.out` is as [`Job`] says.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn few<Q: Quants, H: Heads>(job: &Job) {
    for group in job.groups.clone() {
        let (heads, numbers, rows) = parts(job, group);
        let mut token = job.tokens.start;
        while token < job.tokens.end {
            let count = tile(job.tokens.end - token, FEW);
            let sums = match count {
                1 => sums::<Q, H, 1>,
                2 => sums::<Q, H, 2>,
                3 => sums::<Q, H, 3>,
                4 => sums::<Q, H, 4>,
                5 => sums::<Q, H, 5>,
                6 => sums::<Q, H, 6>,
                7 => sums::<Q, H, 7>,
                _ => sums::<Q, H, FEW>,
            };
            // SAFETY: as the caller promises.
            unsafe { sums(heads, numbers, job.weights.shape.blocks(), place(job, group, token, 0, rows)) };
            token += count;
        }
    }
}

/// A job of at least [`MANY`] tokens.
///
/// # Safety
/// As [`few`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn many<Q: Quants, H: Heads>(job: &Job) {
    let blocks = job.weights.shape.blocks();
    let mut panel = Panel::new();
    for group in job.groups.clone() {
        let (heads, numbers, rows) = parts(job, group);
        let mut unpacker = H::new(heads);
        for first in (0..blocks).step_by(PANEL) {
            let blocks = PANEL.min(blocks - first);
            // SAFETY: as the caller promises; a group has that many blocks.
            unsafe {
                unpack::<Q, H>(&mut unpacker, first, numbers.add(first * Q::BYTES), blocks, 0, &raw mut panel)
            };
            let (heads, numbers) = (panel.heads.as_ptr().cast(), panel.numbers.as_ptr().cast());
            let mut token = job.tokens.start;
            while token < job.tokens.end {
                let count = tile(job.tokens.end - token, 12);
                let sums = match count {
                    12 => sums::<Eight, Unpacked<H>, 12>,
                    11 => sums::<Eight, Unpacked<H>, 11>,
                    10 => sums::<Eight, Unpacked<H>, 10>,
                    9 => sums::<Eight, Unpacked<H>, 9>,
                    8 => sums::<Eight, Unpacked<H>, 8>,
                    // No fewer: two tiles and more are of at least 24 tokens.
                    _ => sums::<Eight, Unpacked<H>, 7>,
                };
                // SAFETY: as the caller promises; the panel has these blocks.
                unsafe { sums(heads, numbers, blocks, place(job, group, token, first, rows)) };
                token += count;
            }
        }
    }
}

/// A job of many tokens, with AMX.
///
/// # Safety
/// As [`few`], and the machine has AMX and the system let the process use it.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn tiles<Q: Quants, H: Heads>(job: &Job, zero: i32) {
    let blocks = job.weights.shape.blocks();
    // Not cleared, which would take longer than a product of few groups. Each is written before it is read.
    let mut panels = [const { MaybeUninit::<Panel>::uninit() }; PANELS];
    let mut registers = tiles::Registers::new();
    for start in job.groups.clone().step_by(PANELS) {
        let groups = start..(start + PANELS).min(job.groups.end);
        let mut unpackers: [H; PANELS] = std::array::from_fn(|at| {
            // Beyond the last there is nothing to unpack.
            H::new(parts(job, (start + at).min(groups.end - 1)).0)
        });
        for first in (0..blocks).step_by(PANEL) {
            let blocks = PANEL.min(blocks - first);
            for ((group, unpacker), panel) in groups.clone().zip(&mut unpackers).zip(&mut panels) {
                let (_, numbers, _) = parts(job, group);
                // SAFETY: as the caller promises; a group has that many blocks. The zero of 128 is −128 in 8 bits.
                unsafe {
                    let numbers = numbers.add(first * Q::BYTES);
                    unpack::<Q, H>(unpacker, first, numbers, blocks, zero as i8, panel.as_mut_ptr());
                }
            }
            let mut token = job.tokens.start;
            while token < job.tokens.end {
                let (count, sums): (_, Tiles) = match job.tokens.end - token {
                    tiles::TOKENS.. => (tiles::TOKENS, tiles::sums::<Unpacked<H>, { tiles::TOKENS }>),
                    8.. => (8, tiles::sums::<Unpacked<H>, 8>),
                    4.. => (4, tiles::sums::<Unpacked<H>, 4>),
                    2.. => (2, tiles::sums::<Unpacked<H>, 2>),
                    _ => (1, tiles::sums::<Unpacked<H>, 1>),
                };
                // The tokens' records stay next to the core while the groups pass.
                for (group, panel) in groups.clone().zip(&panels) {
                    let (.., rows) = parts(job, group);
                    let panel = panel.as_ptr();
                    // SAFETY: as the caller promises; the panel has these blocks.
                    unsafe {
                        let heads = (&raw const (*panel).heads).cast();
                        let numbers = (&raw const (*panel).numbers).cast();
                        sums(&mut registers, heads, numbers, blocks, place(job, group, token, first, rows));
                    }
                }
                token += count;
            }
        }
    }
}

/// Sums of a tile.
type Tiles = unsafe fn(&mut tiles::Registers, *const u8, *const u8, usize, Tile);

/// A job, in one of the combinations of numbers and heads.
///
/// # Safety
/// As [`few`]; with `amx`, as [`tiles`].
unsafe fn groups<Q: Quants, H: Heads>(job: &Job, zero: i32, amx: bool) {
    // SAFETY: as the caller promises.
    unsafe {
        match job.tokens.len() {
            // Half blocks leave half of a tile empty: that is no faster.
            AMX_MANY.. if amx && !H::SPLIT => tiles::<Q, H>(job, zero),
            MANY.. => many::<Q, H>(job),
            _ => few::<Q, H>(job),
        }
    }
}

/// # Safety
/// The machine has AVX-512 with VNNI, and, with `amx`, AMX, which the system let the process use; `job.out` is as [`Job`] says.
pub(super) unsafe fn quantised(job: &Job, amx: bool) {
    let Form::Quantised { quants, heads, zero } = job.weights.shape.form else { return };
    // SAFETY: as the caller promises.
    unsafe {
        match (quants, heads) {
            (Numbers::Eight, _) => groups::<Eight, Scale<ZERO_128>>(job, zero, amx),
            (Numbers::Four, Kind::Scale) => groups::<Four, Scale<ZERO_8>>(job, zero, amx),
            (Numbers::Five, Kind::Scale) => groups::<Five, Scale<ZERO_16>>(job, zero, amx),
            (Numbers::Four, Kind::Super) => groups::<Four, Super>(job, zero, amx),
            (Numbers::Five, Kind::Super) => groups::<Five, Super>(job, zero, amx),
            (Numbers::Four, _) => groups::<Four, Minimum>(job, zero, amx),
            (Numbers::Five, _) => groups::<Five, Minimum>(job, zero, amx),
            (Numbers::Six, _) => groups::<Six, Split>(job, zero, amx),
        }
    }
}
