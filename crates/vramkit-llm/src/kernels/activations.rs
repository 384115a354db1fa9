//! Activations as the kernels take them: numbers of 8 bits with a scale for each 32.
//!
//! In: rows of f32. Out: for each block of 32 columns a record of 64 bytes: 32 numbers (i8), then what kernels would
//! otherwise compute again for every row of weights (see the constants below). Never: another result for a row that comes
//! with others.
//!
//! A block's scale is its largest magnitude / 127, a number is `round(x · (127 / largest))`, half to even. A block whose
//! largest magnitude is below 2^-100 counts as zeros; one with an infinity or a NaN has the scale NaN, and so have the
//! results.
#![allow(unsafe_code)]

use super::form::BLOCK;
use super::threads::Threads;

/// Bytes of a block's record.
pub(super) const RECORD: usize = 64;
/// Where in a record: the scale (f32).
pub(super) const SCALE: usize = 32;
/// The scale times the sum of the numbers (f32): what a minimum is multiplied by.
pub(super) const SUM: usize = 36;
/// −zero × the sum of the numbers (i32), where products begin whose weights have that zero.
pub(super) const ZERO_8: usize = 40;
/// The same.
pub(super) const ZERO_16: usize = 44;
/// The same.
pub(super) const ZERO_128: usize = 48;
/// The same, for the first half of the block and, 4 bytes on, the second.
pub(super) const ZERO_32: usize = 52;
/// Nothing: where products begin whose weights have no zero.
pub(super) const NONE: usize = 60;

/// Magnitudes below which a block counts as zeros: `127 / largest` is finite above.
const LEAST: f32 = f32::from_bits((127 - 100) << 23);

/// Quantised rows of activations, with the rows themselves, which floating-point weights are multiplied by.
#[derive(Clone, Copy, Debug)]
pub struct Activations<'a> {
    pub(super) x: &'a [f32],
    pub(super) records: &'a [u8],
    pub(super) tokens: usize,
    pub(super) columns: usize,
}

impl Activations<'_> {
    /// Rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Columns of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes of a row's records.
    pub(super) fn row_bytes(&self) -> usize {
        self.columns.div_ceil(BLOCK) * RECORD
    }
}

/// Bytes that [`quantise`] needs: 64 for each 32 columns begun, of each token. `usize::MAX` when they would be more.
pub fn activation_bytes(tokens: usize, columns: usize) -> usize {
    columns.div_ceil(BLOCK).saturating_mul(RECORD).saturating_mul(tokens)
}

/// Quantises `tokens` rows of `columns` each, which lie one behind another in `x`, into memory of
/// [`activation_bytes`] bytes; aligned at 64 bytes it is used fastest.
///
/// # Panics
/// When `x` or `into` is shorter than the shape says: both are the engine's own.
pub fn quantise<'a>(
    x: &'a [f32],
    tokens: usize,
    columns: usize,
    into: &'a mut [u8],
    threads: &Threads,
) -> Activations<'a> {
    let row_bytes = columns.div_ceil(BLOCK) * RECORD;
    let records = &mut into[..activation_bytes(tokens, columns)];
    let x = &x[..tokens.saturating_mul(columns)];
    if columns > 0 {
        let each = tokens.div_ceil(4 * threads.count()).max(MOST_SERIAL.div_ceil(columns));
        let base = Rows(records.as_mut_ptr());
        threads.run(tokens.div_ceil(each), &|task| {
            let first = task * each;
            for token in first..(first + each).min(tokens) {
                // SAFETY: each token belongs to one task, and its records lie inside `records`, whose length is
                // tokens × row_bytes.
                let row = unsafe { std::slice::from_raw_parts_mut(base.at(token * row_bytes), row_bytes) };
                quantise_row(&x[token * columns..][..columns], row);
            }
        });
    }
    Activations { x, records, tokens, columns }
}

/// Numbers that one thread quantises sooner than another wakes up.
const MOST_SERIAL: usize = 4096;

/// The records of all tokens, of which each task takes its own.
struct Rows(*mut u8);

// SAFETY: tasks write disjoint parts of what it points to.
unsafe impl Sync for Rows {}

impl Rows {
    /// # Safety
    /// `offset` lies inside.
    unsafe fn at(&self, offset: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { self.0.add(offset) }
    }
}

fn quantise_row(x: &[f32], records: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    match super::level::Level::chosen() {
        super::level::Level::Scalar => {}
        super::level::Level::Avx2 => {
            // SAFETY: the level says that the machine has these instructions.
            return unsafe { quantise_row_avx2(x, records) };
        }
        _ => {
            // SAFETY: the level says that the machine has these instructions.
            return unsafe { quantise_row_avx512(x, records) };
        }
    }
    row(x, records);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn quantise_row_avx2(x: &[f32], records: &mut [u8]) {
    row(x, records);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn quantise_row_avx512(x: &[f32], records: &mut [u8]) {
    row(x, records);
}

/// One row, in plain Rust that the compiler makes vectors of. No sum depends on order: they are of integers.
#[inline(always)]
fn row(x: &[f32], records: &mut [u8]) {
    let (whole, rest) = x.as_chunks::<BLOCK>();
    let (records, _) = records.as_chunks_mut::<RECORD>();
    for (block, record) in whole.iter().zip(&mut *records) {
        quantise_block(block, record);
    }
    if let (false, Some(record)) = (rest.is_empty(), records.get_mut(whole.len())) {
        let mut block = [0.0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        quantise_block(&block, record);
    }
}

#[inline(always)]
fn quantise_block(x: &[f32; BLOCK], record: &mut [u8; RECORD]) {
    // As bits, magnitudes are in order, infinities above and NaNs above these.
    let largest = x.iter().map(|x| x.to_bits() & 0x7fff_ffff).fold(0, u32::max);
    let largest = f32::from_bits(largest);
    let (scale, factor) = if !largest.is_finite() {
        (f32::NAN, 0.0)
    } else if largest < LEAST {
        (0.0, 0.0)
    } else {
        (largest / 127.0, 127.0 / largest)
    };
    // Rounds half to even: between 2^23 and 2^24 an f32 has no fraction. The bits then are the number, above those of the
    // constant.
    const ROUND: f32 = 12_582_912.0;
    let numbers: [i32; BLOCK] =
        x.map(|x| (x * factor + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32);
    // NaN × 0 is no number: in such a block the numbers are of no account, but let them be the same everywhere.
    let numbers = if largest.is_finite() { numbers } else { [0; BLOCK] };
    for (byte, number) in record.iter_mut().zip(numbers) {
        *byte = number as i8 as u8;
    }
    let first: i32 = numbers[..BLOCK / 2].iter().sum();
    let second: i32 = numbers[BLOCK / 2..].iter().sum();
    let sum = first + second;
    let mut put = |at: usize, bytes: [u8; 4]| record[at..at + 4].copy_from_slice(&bytes);
    put(SCALE, scale.to_le_bytes());
    put(SUM, (scale * sum as f32).to_le_bytes());
    put(ZERO_8, (-8 * sum).to_le_bytes());
    put(ZERO_16, (-16 * sum).to_le_bytes());
    put(ZERO_128, (-128 * sum).to_le_bytes());
    put(ZERO_32, (-32 * first).to_le_bytes());
    put(ZERO_32 + 4, (-32 * second).to_le_bytes());
    put(NONE, [0; 4]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quantised_rows_are_near_and_alone_or_together_the_same(
            x in proptest::collection::vec(-1e3_f32..1e3, 3 * 100),
        ) {
            let threads = Threads::new(2);
            let mut all = vec![0; activation_bytes(3, 100)];
            quantise(&x, 3, 100, &mut all, &threads);
            for (token, x) in x.chunks(100).enumerate() {
                let mut one = vec![0; activation_bytes(1, 100)];
                let row_bytes = one.len();
                quantise(x, 1, 100, &mut one, &threads);
                prop_assert_eq!(&one, &all[token * row_bytes..][..row_bytes]);
                let mut plain = vec![0; row_bytes];
                row(x, &mut plain);
                prop_assert_eq!(&plain, &one);
                for (block, x) in one.chunks(RECORD).zip(x.chunks(BLOCK)) {
                    let scale = f32::from_le_bytes(block[SCALE..SCALE + 4].try_into().unwrap());
                    for (x, number) in x.iter().zip(block) {
                        let got = scale * f32::from(*number as i8);
                        prop_assert!((x - got).abs() <= scale * 0.5001, "{} for {}", got, x);
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_that_are_none_make_the_scale_none_and_tiny_ones_are_zero() {
        for (x, scale) in
            [(f32::NAN, None), (f32::NEG_INFINITY, None), (1e-38, Some(0.0)), (254.0, Some(2.0))]
        {
            let mut block = [0.0; BLOCK];
            block[7] = x;
            let mut record = [1; RECORD];
            quantise_block(&block, &mut record);
            let got = f32::from_le_bytes(record[SCALE..SCALE + 4].try_into().unwrap());
            assert_eq!((!got.is_nan()).then_some(got), scale, "{x}");
            assert_eq!(record[7], if x == 254.0 { 127 } else { 0 });
        }
    }
}
