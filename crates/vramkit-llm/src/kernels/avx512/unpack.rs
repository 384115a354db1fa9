//! Weights in registers, 16 rows at a time: a block's numbers and its scales and minima.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use crate::kernels::activations::{NONE, ZERO_32};
use crate::kernels::form::{HALVES, Quants as Numbers, ROWS, SPLIT_HEAD, SUPER, SUPER_HEAD};

/// Numbers of a block, as unpacked.
pub(super) trait Quants {
    const BYTES: usize;
    /// Chunk `C` of a block.
    ///
    /// # Safety
    /// The machine has these instructions; a block is at `block`.
    unsafe fn chunk<const C: usize>(block: *const u8) -> __m512i;
}

pub(super) struct Four;
pub(super) struct Five;
pub(super) struct Six;
pub(super) struct Eight;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn load(at: *const u8) -> __m512i {
    // SAFETY: the caller names a place of 64 bytes.
    unsafe { _mm512_loadu_si512(at.cast()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn nibble<const C: usize>(block: *const u8) -> __m512i {
    // SAFETY: four times 64 bytes are at `block`.
    let both = unsafe { load(block.add(C % 4 * 64)) };
    let low = _mm512_set1_epi8(15);
    if C < 4 { _mm512_and_si512(both, low) } else { _mm512_and_si512(_mm512_srli_epi16::<4>(both), low) }
}

impl Quants for Eight {
    const BYTES: usize = Numbers::Eight.bytes();
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn chunk<const C: usize>(block: *const u8) -> __m512i {
        // SAFETY: eight times 64 bytes are at `block`.
        unsafe { load(block.add(C * 64)) }
    }
}

impl Quants for Four {
    const BYTES: usize = Numbers::Four.bytes();
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn chunk<const C: usize>(block: *const u8) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe { nibble::<C>(block) }
    }
}

/// (a & mask) | b.
const PICK: i32 = 0b1110_1010;

impl Quants for Five {
    const BYTES: usize = Numbers::Five.bytes();
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn chunk<const C: usize>(block: *const u8) -> __m512i {
        // SAFETY: five times 64 bytes are at `block`.
        let (low, plane) = unsafe { (nibble::<C>(block), load(block.add(256))) };
        // Bit C to bit 4.
        let fifth = match C {
            0 => _mm512_slli_epi32::<4>(plane),
            1 => _mm512_slli_epi32::<3>(plane),
            2 => _mm512_slli_epi32::<2>(plane),
            3 => _mm512_slli_epi32::<1>(plane),
            4 => plane,
            5 => _mm512_srli_epi32::<1>(plane),
            6 => _mm512_srli_epi32::<2>(plane),
            _ => _mm512_srli_epi32::<3>(plane),
        };
        _mm512_ternarylogic_epi32::<PICK>(fifth, _mm512_set1_epi8(16), low)
    }
}

impl Quants for Six {
    const BYTES: usize = Numbers::Six.bytes();
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn chunk<const C: usize>(block: *const u8) -> __m512i {
        // SAFETY: six times 64 bytes are at `block`.
        let (low, plane) = unsafe { (nibble::<C>(block), load(block.add(256 + C / 4 * 64))) };
        // Bits 2C and 2C + 1 to bits 4 and 5.
        let upper = match C % 4 {
            0 => _mm512_slli_epi32::<4>(plane),
            1 => _mm512_slli_epi32::<2>(plane),
            2 => plane,
            _ => _mm512_srli_epi32::<2>(plane),
        };
        _mm512_ternarylogic_epi32::<PICK>(upper, _mm512_set1_epi8(48), low)
    }
}

/// Scales and minima of a block's 16 rows.
pub(super) trait Heads {
    /// Bytes of a block's heads; 0 where they are next to the core already.
    const BYTES: usize;
    /// Whether there are minima.
    const MINIMUM: bool;
    /// Whether the halves of a block have scales of their own.
    const SPLIT: bool;
    /// Where in a record the sums of the halves begin.
    const BEGIN: [usize; 2];
    /// Before any block.
    fn new(heads: *const u8) -> Self;
    /// Goes to block `at`, which follows the one before.
    ///
    /// # Safety
    /// The machine has these instructions; the heads have such a block.
    unsafe fn enter(&mut self, at: usize);
    /// The scales of a half, or of the block; after `enter`.
    ///
    /// # Safety
    /// As `enter`.
    unsafe fn scale(&self, half: usize) -> __m512;
    /// The minima; after `enter`.
    ///
    /// # Safety
    /// As `enter`.
    unsafe fn minimum(&self) -> __m512;
}

/// 16 f16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
pub(super) unsafe fn halves(at: *const u8) -> __m512 {
    // SAFETY: the caller names a place of 32 bytes.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(at.cast()) })
}

/// 16 times 0.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
fn zeros() -> __m512 {
    _mm512_setzero_ps()
}

/// f16 scales.
pub(super) struct Scale<const ZERO: usize>(*const u8);

impl<const ZERO: usize> Heads for Scale<ZERO> {
    const BYTES: usize = HALVES;
    const MINIMUM: bool = false;
    const SPLIT: bool = false;
    const BEGIN: [usize; 2] = [ZERO, NONE];
    fn new(heads: *const u8) -> Self {
        Self(heads.wrapping_sub(HALVES))
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn enter(&mut self, _: usize) {
        self.0 = self.0.wrapping_add(HALVES);
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn scale(&self, _: usize) -> __m512 {
        // SAFETY: a block's scales are here.
        unsafe { halves(self.0) }
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn minimum(&self) -> __m512 {
        zeros()
    }
}

/// f16 scales and minima.
pub(super) struct Minimum(*const u8);

impl Heads for Minimum {
    const BYTES: usize = 2 * HALVES;
    const MINIMUM: bool = true;
    const SPLIT: bool = false;
    const BEGIN: [usize; 2] = [NONE, NONE];
    fn new(heads: *const u8) -> Self {
        Self(heads.wrapping_sub(2 * HALVES))
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn enter(&mut self, _: usize) {
        self.0 = self.0.wrapping_add(2 * HALVES);
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn scale(&self, _: usize) -> __m512 {
        // SAFETY: a block's scales are here.
        unsafe { halves(self.0) }
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn minimum(&self) -> __m512 {
        // SAFETY: a block's minima are here.
        unsafe { halves(self.0.add(HALVES)) }
    }
}

/// Scales and minima with multipliers.
pub(super) struct Super {
    heads: *const u8,
    multipliers: *const u8,
    scale: __m512,
    minimum: __m512,
}

impl Heads for Super {
    const BYTES: usize = SUPER_HEAD / SUPER;
    const MINIMUM: bool = true;
    const SPLIT: bool = false;
    const BEGIN: [usize; 2] = [NONE, NONE];
    fn new(heads: *const u8) -> Self {
        // SAFETY: 0 is a number of each lane.
        let zero = unsafe { std::mem::zeroed() };
        Self { heads, multipliers: heads, scale: zero, minimum: zero }
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn enter(&mut self, at: usize) {
        if at.is_multiple_of(SUPER) {
            let head = self.heads.wrapping_add(at / SUPER * SUPER_HEAD);
            // SAFETY: eight blocks' heads are here. The type subtracts its minima.
            unsafe {
                self.scale = halves(head);
                self.minimum = _mm512_sub_ps(zeros(), halves(head.add(HALVES)));
            }
            self.multipliers = head.wrapping_add(2 * HALVES);
        } else {
            self.multipliers = self.multipliers.wrapping_add(2 * ROWS);
        }
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn scale(&self, _: usize) -> __m512 {
        // SAFETY: a block's multipliers are here.
        let multipliers = unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(self.multipliers.cast())) };
        _mm512_mul_ps(self.scale, _mm512_cvtepi32_ps(multipliers))
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn minimum(&self) -> __m512 {
        // SAFETY: a block's multipliers are here.
        let multipliers = unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(self.multipliers.add(ROWS).cast())) };
        _mm512_mul_ps(self.minimum, _mm512_cvtepi32_ps(multipliers))
    }
}

/// Scales with multipliers of half blocks.
pub(super) struct Split {
    heads: *const u8,
    multipliers: *const u8,
    scale: __m512,
}

impl Heads for Split {
    const BYTES: usize = SPLIT_HEAD / SUPER;
    const MINIMUM: bool = false;
    const SPLIT: bool = true;
    const BEGIN: [usize; 2] = [ZERO_32, ZERO_32 + 4];
    fn new(heads: *const u8) -> Self {
        // SAFETY: 0 is a number of each lane.
        Self { heads, multipliers: heads, scale: unsafe { std::mem::zeroed() } }
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn enter(&mut self, at: usize) {
        if at.is_multiple_of(SUPER) {
            let head = self.heads.wrapping_add(at / SUPER * SPLIT_HEAD);
            // SAFETY: eight blocks' heads are here.
            self.scale = unsafe { halves(head) };
            self.multipliers = head.wrapping_add(HALVES);
        } else {
            self.multipliers = self.multipliers.wrapping_add(2 * ROWS);
        }
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn scale(&self, half: usize) -> __m512 {
        // SAFETY: a block's multipliers are here.
        let multipliers = unsafe { _mm_loadu_si128(self.multipliers.add(half * ROWS).cast()) };
        _mm512_mul_ps(self.scale, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(multipliers)))
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn minimum(&self) -> __m512 {
        zeros()
    }
}

/// Heads of a panel; `H` says which there are.
pub(super) struct Unpacked<H> {
    heads: *const u8,
    kind: std::marker::PhantomData<H>,
}

/// Bytes of a block's heads in a panel.
const UNPACKED: usize = 3 * 64;

impl<H: Heads> Heads for Unpacked<H> {
    const BYTES: usize = 0;
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
