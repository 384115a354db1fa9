//! Products of many tokens with AMX: 16 tokens × 16 rows × a block in one instruction.
//!
//! The instruction sums products of signed bytes in 32 bits, so its sums are those of the other levels; what comes after
//! (scales, minima) is done as they do it, 16 rows a register.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::tile::Tile;
use super::unpack::Heads;
use crate::kernels::activations::{RECORD, SCALE, SUM};
use crate::kernels::form::{BLOCK, ROWS};

/// Most tokens of a tile.
pub(super) const TOKENS: usize = 16;

/// Shapes of the tile registers, as `ldtilecfg` takes them.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    /// Bytes of a row, for each register.
    row_bytes: [u16; 16],
    /// Rows.
    rows: [u8; 16],
}

/// Tile registers with shapes, until they are let go.
pub(super) struct Registers {
    /// Tokens of a tile, once there are.
    tokens: usize,
}

impl Registers {
    /// Registers without shapes.
    pub(super) fn new() -> Self {
        Self { tokens: 0 }
    }

    /// Registers 0 and 1 for sums of that many tokens, 2 and 3 for their activations, 4 and 5 for weights.
    ///
    /// # Safety
    /// The machine has AMX, and the system let the process use it.
    unsafe fn shape(&mut self, tokens: usize) {
        if self.tokens == tokens {
            return;
        }
        self.tokens = tokens;
        let mut config =
            Config { palette: 1, start: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        for (first, rows, row_bytes) in [(0, tokens, 64), (2, tokens, BLOCK), (4, BLOCK / 4, 64)] {
            for register in [first, first + 1] {
                config.rows[register] = rows as u8;
                config.row_bytes[register] = row_bytes as u16;
            }
        }
        // SAFETY: as the caller promises; the configuration is one of palette 1, with no more than 16 rows of 64 bytes.
        unsafe {
            asm!(
                "ldtilecfg [{}]", in(reg) &raw const config, options(nostack, readonly, preserves_flags),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            );
        }
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        if self.tokens > 0 {
            // SAFETY: registers have shapes, so the machine has AMX. The system need not keep them any more.
            unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
        }
    }
}

/// Sums of some tokens × 16 rows.
#[repr(C, align(64))]
struct Dots([[i32; ROWS]; TOKENS]);

/// 16 rows × `T` tokens over some unpacked blocks of signed numbers, each block with one scale.
///
/// # Safety
/// The machine has AMX and the system let the process use it; `T` is no more than [`TOKENS`]; heads, numbers, records and
/// sums of that many blocks and tokens are there.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) unsafe fn sums<H: Heads, const T: usize>(
    registers: &mut Registers,
    heads: *const u8,
    numbers: *const u8,
    blocks: usize,
    tile: Tile,
) {
    // SAFETY: as the caller promises: all places are of these blocks and tokens.
    unsafe {
        registers.shape(T);
        let mut heads = H::new(heads);
        // Two, so that a block's products need not wait for the one before. Each is written before it is read.
        let mut buffers = [const { MaybeUninit::<Dots>::uninit() }; 2];
        let mut sums = [_mm512_setzero_ps(); T];
        if !tile.begin {
            for (t, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_maskz_loadu_ps(tile.rows, tile.out.add(t * tile.stride));
            }
        }
        for at in 0..blocks {
            let record = tile.records.add(at * RECORD);
            let dots: *mut i32 = buffers[at % 2].as_mut_ptr().cast();
            macro_rules! product {
                ($sums:literal, $x:literal, $weights:literal) => {
                    asm!(
                        concat!("tilezero ", $sums),
                        concat!("tileloadd ", $x, ", [{x} + {row_bytes}*1]"),
                        concat!("tileloadd ", $weights, ", [{weights} + {line}*1]"),
                        concat!("tdpbssd ", $sums, ", ", $x, ", ", $weights),
                        concat!("tilestored [{dots} + {line}*1], ", $sums),
                        x = in(reg) record,
                        row_bytes = in(reg) tile.row_bytes,
                        weights = in(reg) numbers.add(at * 512),
                        line = in(reg) 64_usize,
                        dots = in(reg) dots,
                        options(nostack, preserves_flags),
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
                    )
                };
            }
            if at % 2 == 0 {
                product!("tmm0", "tmm2", "tmm4");
            } else {
                product!("tmm1", "tmm3", "tmm5");
            }
            heads.enter(at);
            let scales = heads.scale(0);
            for (t, sum) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_ps(record.add(t * tile.row_bytes + SCALE).cast::<f32>().read_unaligned());
                let dot = _mm512_cvtepi32_ps(_mm512_load_si512(dots.add(t * ROWS).cast()));
                *sum = _mm512_fmadd_ps(_mm512_mul_ps(scales, x), dot, *sum);
            }
            if H::MINIMUM {
                let minimum = heads.minimum();
                for (t, sum) in sums.iter_mut().enumerate() {
                    let x =
                        _mm512_set1_ps(record.add(t * tile.row_bytes + SUM).cast::<f32>().read_unaligned());
                    *sum = _mm512_fmadd_ps(minimum, x, *sum);
                }
            }
        }
        for (t, sum) in sums.iter().enumerate() {
            _mm512_mask_storeu_ps(tile.out.add(t * tile.stride), tile.rows, *sum);
        }
    }
}
