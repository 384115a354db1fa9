//! Weights in registers, 8 rows at a time: a block's numbers and its scales and minima.
//!
//! All places are of a tile of 8 rows: what belongs to the second tile of a group begins as many bytes later as the first
//! tile's takes.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use crate::kernels::activations::{NONE, ZERO_32};
use crate::kernels::form::{HALVES, Quants as Numbers, ROWS, SPLIT_HEAD, SUPER, SUPER_HEAD};

/// Numbers of a block, as unpacked.
pub(super) trait Quants {
    const BYTES: usize;
    /// How many chunks' products, two by two, are summed in 16 bits without passing them; 0 when numbers are of 8 bits,
    /// signed.
    const CHUNKS: usize;
    /// Chunk `C` of a block.
    ///
    /// # Safety
    /// The machine has these instructions; a block is at `block`.
    unsafe fn chunk<const C: usize>(block: *const u8) -> __m256i;
}

pub(super) struct Four;
pub(super) struct Five;
pub(super) struct Six;
pub(super) struct Eight;
/// Numbers that were unpacked before.
pub(super) struct Flat<Q>(std::marker::PhantomData<Q>);

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn load(at: *const u8) -> __m256i {
    // SAFETY: the caller names a place of 32 bytes.
    unsafe { _mm256_loadu_si256(at.cast()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn nibble<const C: usize>(block: *const u8) -> __m256i {
    // SAFETY: four times 64 bytes are at `block`, of which the first half, or second, is this tile's.
    let both = unsafe { load(block.add(C % 4 * 64)) };
    let low = _mm256_set1_epi8(15);
    if C < 4 { _mm256_and_si256(both, low) } else { _mm256_and_si256(_mm256_srli_epi16::<4>(both), low) }
}

impl Quants for Eight {
    const BYTES: usize = Numbers::Eight.bytes();
    const CHUNKS: usize = 0;
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn chunk<const C: usize>(block: *const u8) -> __m256i {
        // SAFETY: eight times 64 bytes are at `block`, of which the first half, or second, is this tile's.
        let unsigned = unsafe { load(block.add(C * 64)) };
        _mm256_xor_si256(unsigned, _mm256_set1_epi8(i8::MIN))
    }
}

impl<Q: Quants> Quants for Flat<Q> {
    const BYTES: usize = Numbers::Eight.bytes();
    const CHUNKS: usize = Q::CHUNKS;
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn chunk<const C: usize>(block: *const u8) -> __m256i {
        // SAFETY: eight times 64 bytes are at `block`, of which the first half, or second, is this tile's.
        unsafe { load(block.add(C * 64)) }
    }
}

impl Quants for Four {
    const BYTES: usize = Numbers::Four.bytes();
    // 8 × 2 × 15 × 127 = 30,480
    const CHUNKS: usize = 8;
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn chunk<const C: usize>(block: *const u8) -> __m256i {
        // SAFETY: as the caller promises.
        unsafe { nibble::<C>(block) }
    }
}

impl Quants for Five {
    const BYTES: usize = Numbers::Five.bytes();
    // 4 × 2 × 31 × 127 = 31,496
    const CHUNKS: usize = 4;
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn chunk<const C: usize>(block: *const u8) -> __m256i {
        // SAFETY: five times 64 bytes are at `block`.
        let (low, plane) = unsafe { (nibble::<C>(block), load(block.add(256))) };
        // Bit C to bit 4.
        let fifth = match C {
            0 => _mm256_slli_epi32::<4>(plane),
            1 => _mm256_slli_epi32::<3>(plane),
            2 => _mm256_slli_epi32::<2>(plane),
            3 => _mm256_slli_epi32::<1>(plane),
            4 => plane,
            5 => _mm256_srli_epi32::<1>(plane),
            6 => _mm256_srli_epi32::<2>(plane),
            _ => _mm256_srli_epi32::<3>(plane),
        };
        _mm256_or_si256(low, _mm256_and_si256(fifth, _mm256_set1_epi8(16)))
    }
}

impl Quants for Six {
    const BYTES: usize = Numbers::Six.bytes();
    // 2 × 2 × 63 × 127 = 32,004
    const CHUNKS: usize = 2;
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn chunk<const C: usize>(block: *const u8) -> __m256i {
        // SAFETY: six times 64 bytes are at `block`.
        let (low, plane) = unsafe { (nibble::<C>(block), load(block.add(256 + C / 4 * 64))) };
        // Bits 2C and 2C + 1 to bits 4 and 5.
        let upper = match C % 4 {
            0 => _mm256_slli_epi32::<4>(plane),
            1 => _mm256_slli_epi32::<2>(plane),
            2 => plane,
            _ => _mm256_srli_epi32::<2>(plane),
        };
        _mm256_or_si256(low, _mm256_and_si256(upper, _mm256_set1_epi8(48)))
    }
}

/// Scales and minima of a block's 8 rows. All places are of the block's.
pub(super) trait Heads {
    /// Bytes of a block's heads; 0 where they are next to the core already.
    const BYTES: usize;
    /// Whether there are minima.
    const MINIMUM: bool;
    /// Whether the halves of a block have scales of their own.
    const SPLIT: bool;
    /// Where in a record the sums of the halves begin.
    const BEGIN: [usize; 2];
    /// The scales of a half of block `at`, or of the block, in the group's heads.
    ///
    /// # Safety
    /// The machine has these instructions; the heads have such a block; `tile` is 0 or 1.
    unsafe fn scale(heads: *const u8, at: usize, half: usize, tile: usize) -> __m256;
    /// The minima.
    ///
    /// # Safety
    /// As `scale`.
    unsafe fn minimum(heads: *const u8, at: usize, tile: usize) -> __m256;
}

/// 8 f16.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) unsafe fn halves(at: *const u8) -> __m256 {
    // SAFETY: the caller names a place of 16 bytes.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(at.cast()) })
}

/// f16 scales.
pub(super) struct Scale<const ZERO: usize>;

impl<const ZERO: usize> Heads for Scale<ZERO> {
    const BYTES: usize = HALVES;
    const MINIMUM: bool = false;
    const SPLIT: bool = false;
    const BEGIN: [usize; 2] = [ZERO, NONE];
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scale(heads: *const u8, at: usize, _: usize, tile: usize) -> __m256 {
        // SAFETY: a block's scales are here.
        unsafe { halves(heads.add(at * HALVES + tile * HALVES / 2)) }
    }
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn minimum(_: *const u8, _: usize, _: usize) -> __m256 {
        _mm256_setzero_ps()
    }
}

/// f16 scales and minima.
pub(super) struct Minimum;

impl Heads for Minimum {
    const BYTES: usize = 2 * HALVES;
    const MINIMUM: bool = true;
    const SPLIT: bool = false;
    const BEGIN: [usize; 2] = [NONE, NONE];
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scale(heads: *const u8, at: usize, _: usize, tile: usize) -> __m256 {
        // SAFETY: a block's scales are here.
        unsafe { halves(heads.add(at * 2 * HALVES + tile * HALVES / 2)) }
    }
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn minimum(heads: *const u8, at: usize, tile: usize) -> __m256 {
        // SAFETY: a block's minima are here.
        unsafe { halves(heads.add(at * 2 * HALVES + HALVES + tile * HALVES / 2)) }
    }
}

/// Scales and minima with multipliers.
pub(super) struct Super;

impl Heads for Super {
    const BYTES: usize = SUPER_HEAD / SUPER;
    const MINIMUM: bool = true;
    const SPLIT: bool = false;
    const BEGIN: [usize; 2] = [NONE, NONE];
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scale(heads: *const u8, at: usize, _: usize, tile: usize) -> __m256 {
        // SAFETY: the heads of the block's eight are here, and its multipliers.
        unsafe {
            let head = heads.add(at / SUPER * SUPER_HEAD);
            let multipliers = head.add(2 * HALVES + at % SUPER * 2 * ROWS + tile * ROWS / 2);
            let multipliers = _mm256_cvtepu8_epi32(_mm_loadl_epi64(multipliers.cast()));
            _mm256_mul_ps(halves(head.add(tile * HALVES / 2)), _mm256_cvtepi32_ps(multipliers))
        }
    }
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn minimum(heads: *const u8, at: usize, tile: usize) -> __m256 {
        // SAFETY: the heads of the block's eight are here, and its multipliers. The type subtracts its minima.
        unsafe {
            let head = heads.add(at / SUPER * SUPER_HEAD);
            let multipliers = head.add(2 * HALVES + at % SUPER * 2 * ROWS + ROWS + tile * ROWS / 2);
            let multipliers = _mm256_cvtepu8_epi32(_mm_loadl_epi64(multipliers.cast()));
            let scale = _mm256_sub_ps(_mm256_setzero_ps(), halves(head.add(HALVES + tile * HALVES / 2)));
            _mm256_mul_ps(scale, _mm256_cvtepi32_ps(multipliers))
        }
    }
}

/// Scales with multipliers of half blocks.
pub(super) struct Split;

impl Heads for Split {
    const BYTES: usize = SPLIT_HEAD / SUPER;
    const MINIMUM: bool = false;
    const SPLIT: bool = true;
    const BEGIN: [usize; 2] = [ZERO_32, ZERO_32 + 4];
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scale(heads: *const u8, at: usize, half: usize, tile: usize) -> __m256 {
        // SAFETY: the heads of the block's eight are here, and its multipliers.
        unsafe {
            let head = heads.add(at / SUPER * SPLIT_HEAD);
            let multipliers = head.add(HALVES + (at % SUPER * 2 + half) * ROWS + tile * ROWS / 2);
            let multipliers = _mm256_cvtepi8_epi32(_mm_loadl_epi64(multipliers.cast()));
            _mm256_mul_ps(halves(head.add(tile * HALVES / 2)), _mm256_cvtepi32_ps(multipliers))
        }
    }
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn minimum(_: *const u8, _: usize, _: usize) -> __m256 {
        _mm256_setzero_ps()
    }
}

/// Bytes of a block's heads in a panel of unpacked weights.
const UNPACKED: usize = 3 * 64;

/// Heads of a panel of unpacked weights; `H` says which there are.
pub(super) struct Unpacked<H>(std::marker::PhantomData<H>);

impl<H: Heads> Heads for Unpacked<H> {
    const BYTES: usize = 0;
    const MINIMUM: bool = H::MINIMUM;
    const SPLIT: bool = H::SPLIT;
    const BEGIN: [usize; 2] = H::BEGIN;
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scale(heads: *const u8, at: usize, half: usize, tile: usize) -> __m256 {
        // SAFETY: a block's heads are here.
        unsafe { _mm256_loadu_ps(heads.add(at * UNPACKED + half * 64 + tile * 32).cast()) }
    }
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn minimum(heads: *const u8, at: usize, tile: usize) -> __m256 {
        // SAFETY: a block's heads are here.
        unsafe { _mm256_loadu_ps(heads.add(at * UNPACKED + 128 + tile * 32).cast()) }
    }
}
