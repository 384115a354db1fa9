//! Weights of a file, repacked for the kernels.
//!
//! In: a matrix's bytes as GGUF has them. Out: the same numbers in the order of `form`. Never: a number rounded anew, a
//! scale that is not finite.
#![allow(unsafe_code)]

use std::sync::Mutex;

use half::f16;
use vramkit_models::gguf::TensorType;

use super::error::PackError;
use super::form::{ALIGN, BLOCK, Float, Form, HALVES, Heads, ROWS, SPLIT_HEAD, SUPER, SUPER_HEAD, Shape};
use super::threads::Threads;

/// Bytes that one task repacks, about.
const TASK: usize = 1 << 18;

/// Repacks `rows` × `columns` weights of type `kind` from `source`, as GGUF has them (row by row), into memory of
/// [`packed_bytes`](super::packed_bytes) bytes that begins at a multiple of 64.
///
/// # Errors
/// As [`packed_bytes`](super::packed_bytes); a length that isn't the matrix's; misaligned memory; a weight, scale or
/// minimum that is not finite, with its row and column. What is in `into` after an error is of no account.
pub fn pack(
    kind: TensorType,
    rows: usize,
    columns: usize,
    source: &[u8],
    into: &mut [u8],
    threads: &Threads,
) -> Result<(), PackError> {
    let shape = Shape::new(kind, rows, columns)?;
    let size =
        |what, needed, given| PackError::Size { what, kind: kind.name(), rows, columns, needed, given };
    if source.len() != rows * shape.row_bytes {
        return Err(size("the file's matrix", rows * shape.row_bytes, source.len()));
    }
    if into.len() != shape.bytes {
        return Err(size("the packed matrix", shape.bytes, into.len()));
    }
    let address = into.as_ptr().addr();
    if !address.is_multiple_of(ALIGN) {
        return Err(PackError::Misaligned { address });
    }
    let each = (TASK / shape.group_bytes).max(1);
    let base = Groups(into.as_mut_ptr());
    let failed = Mutex::new(None);
    threads.run(shape.groups().div_ceil(each), &|task| {
        for group in (task * each)..((task + 1) * each).min(shape.groups()) {
            // SAFETY: each group belongs to one task, and `into` has `groups` times `group_bytes`, as was checked.
            let into = unsafe {
                std::slice::from_raw_parts_mut(base.at(group * shape.group_bytes), shape.group_bytes)
            };
            if let Err(bad) = pack_group(&shape, source, group * ROWS, into) {
                let mut failed = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                // The first of the matrix, whichever thread comes first.
                let first = failed.get_or_insert(bad);
                if (bad.row, bad.column) < (first.row, first.column) {
                    *first = bad;
                }
                return;
            }
        }
    });
    match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(Bad { row, column, what }) => Err(PackError::NotFinite { row, column, what }),
        None => Ok(()),
    }
}

/// The packed groups, of which each task takes its own.
struct Groups(*mut u8);

// SAFETY: tasks write disjoint parts of what it points to.
unsafe impl Sync for Groups {}

impl Groups {
    /// # Safety
    /// `offset` lies inside.
    unsafe fn at(&self, offset: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { self.0.add(offset) }
    }
}

/// A number that is not finite.
#[derive(Clone, Copy)]
struct Bad {
    row: usize,
    column: usize,
    what: &'static str,
}

/// Packs the rows from `first` on, at most 16.
fn pack_group(shape: &Shape, source: &[u8], first: usize, into: &mut [u8]) -> Result<(), Bad> {
    let rows = ROWS.min(shape.rows - first);
    let source = &source[first * shape.row_bytes..][..rows * shape.row_bytes];
    if rows < ROWS {
        into.fill(0);
    }
    let bad = |row: usize, column, what| Bad { row: first + row, column, what };
    let (quants, heads) = match shape.form {
        Form::Float(float) => {
            return match float {
                Float::F32 => columns::<4>(source, rows, shape, into, |x| f32::from_le_bytes(x).is_finite()),
                Float::F16 => columns::<2>(source, rows, shape, into, |x| f16::from_le_bytes(x).is_finite()),
                Float::Bf16 => {
                    columns::<2>(source, rows, shape, into, |x| half::bf16::from_le_bytes(x).is_finite())
                }
            }
            .map_err(|(row, column)| bad(row, column, "the weight"));
        }
        Form::Quantised { quants, heads, .. } => (quants, heads),
    };
    let (head, body) = into.split_at_mut(shape.head_bytes);
    let block_bytes = quants.bytes();
    let unit = shape.kind.block_bytes() as usize;
    match heads {
        Heads::Scale | Heads::Minimum => {
            let scales = if heads == Heads::Scale { 1 } else { 2 };
            for (at, (head, into)) in
                head.chunks_exact_mut(scales * HALVES).zip(body.chunks_exact_mut(block_bytes)).enumerate()
            {
                for (row, source) in source.chunks_exact(shape.row_bytes).enumerate() {
                    let block = &source[at * unit..][..unit];
                    for (scale, head) in head.chunks_exact_mut(HALVES).enumerate() {
                        let bytes = [block[2 * scale], block[2 * scale + 1]];
                        if !f16::from_le_bytes(bytes).is_finite() {
                            let what = ["the block's scale", "the block's minimum"][scale];
                            return Err(bad(row, at * BLOCK, what));
                        }
                        head[2 * row..][..2].copy_from_slice(&bytes);
                    }
                    plain_block(&block[2 * scales..], row, into);
                }
            }
        }
        Heads::Super | Heads::Split => {
            let head_bytes = if heads == Heads::Super { SUPER_HEAD } else { SPLIT_HEAD };
            for (at, (head, into)) in
                head.chunks_exact_mut(head_bytes).zip(body.chunks_exact_mut(SUPER * block_bytes)).enumerate()
            {
                for (row, source) in source.chunks_exact(shape.row_bytes).enumerate() {
                    let block = &source[at * unit..][..unit];
                    let packed = if heads == Heads::Super {
                        super_block(block, row, head, into)
                    } else {
                        split_block(block, row, head, into)
                    };
                    packed.map_err(|what| bad(row, at * SUPER * BLOCK, what))?;
                }
            }
        }
    }
    Ok(())
}

/// Floats: 16 rows side by side.
fn columns<const N: usize>(
    source: &[u8],
    rows: usize,
    shape: &Shape,
    into: &mut [u8],
    finite: impl Fn([u8; N]) -> bool,
) -> Result<(), (usize, usize)> {
    let (into, _) = into.as_chunks_mut::<N>();
    for (row, source) in source.chunks_exact(shape.row_bytes).enumerate().take(rows) {
        let (source, _) = source.as_chunks::<N>();
        if let Some(column) = source.iter().position(|x| !finite(*x)) {
            return Err((row, column));
        }
    }
    for (column, into) in into.chunks_exact_mut(ROWS).enumerate().take(shape.columns) {
        for (row, into) in into.iter_mut().enumerate().take(rows) {
            into.copy_from_slice(&source[row * shape.row_bytes + column * N..][..N]);
        }
    }
    Ok(())
}

/// Four columns of one row.
fn put(into: &mut [u8], chunk: usize, row: usize, columns: u32) {
    into[chunk * 64 + row * 4..][..4].copy_from_slice(&columns.to_le_bytes());
}

/// Four bytes.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[4 * at..4 * at + 4].iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte))
}

/// The low halves of four bytes.
const LOW: u32 = 0x0f0f_0f0f;

/// What follows the scales in a block of q4_0, q4_1, q5_0, q5_1 or q8_0: the length tells which numbers.
fn plain_block(block: &[u8], row: usize, into: &mut [u8]) {
    match block.len() {
        // Halves of bytes are in the kernels' order already.
        16 => (0..4).for_each(|chunk| put(into, chunk, row, word(block, chunk))),
        20 => {
            (0..4).for_each(|chunk| put(into, chunk, row, word(block, chunk + 1)));
            let fifth = word(block, 0);
            let spread = |chunk: u32| {
                (((fifth >> (4 * chunk)) & 0xf).wrapping_mul(0x0020_4081) & 0x0101_0101) << chunk
            };
            put(into, 4, row, (0..8).fold(0, |plane, chunk| plane | spread(chunk)));
        }
        // From signed to unsigned with a zero of 128.
        _ => (0..8).for_each(|chunk| put(into, chunk, row, word(block, chunk) ^ 0x8080_8080)),
    }
}

/// A block of q4_K or q5_K.
fn super_block(block: &[u8], row: usize, head: &mut [u8], into: &mut [u8]) -> Result<(), &'static str> {
    for (at, what) in [(0, "the block's scale"), (1, "the block's scale of minima")] {
        let bytes = [block[2 * at], block[2 * at + 1]];
        if !f16::from_le_bytes(bytes).is_finite() {
            return Err(what);
        }
        head[at * HALVES + 2 * row..][..2].copy_from_slice(&bytes);
    }
    // Six bits each: of the first four blocks in bytes 0–3 (scales) and 4–7 (minima), whose upper two bits complete the
    // others' four bits in bytes 8–11.
    let six = &block[4..16];
    for at in 0..SUPER {
        let (scale, minimum) = if at < 4 {
            (six[at] & 63, six[at + 4] & 63)
        } else {
            (six[at + 4] & 15 | six[at - 4] >> 6 << 4, six[at + 4] >> 4 | six[at] >> 6 << 4)
        };
        let multipliers = &mut head[2 * HALVES + at * 2 * ROWS..][..2 * ROWS];
        multipliers[row] = scale;
        multipliers[ROWS + row] = minimum;
    }
    let (fifth, numbers) = block[16..].split_at(block.len() - 144);
    let each = into.len() / SUPER;
    for (at, into) in into.chunks_exact_mut(each).enumerate() {
        // 32 bytes hold two blocks: one in the low halves, one in the high.
        let numbers = &numbers[at / 2 * 32..][..32];
        for chunk in 0..4 {
            let (a, b) = (word(numbers, chunk), word(numbers, chunk + 4));
            let both = if at % 2 == 0 { a & LOW | (b & LOW) << 4 } else { (a >> 4) & LOW | b & !LOW };
            put(into, chunk, row, both);
        }
        if !fifth.is_empty() {
            let plane =
                (0..8).fold(0, |plane, chunk| plane | ((word(fifth, chunk) >> at) & 0x0101_0101) << chunk);
            put(into, 4, row, plane);
        }
    }
    Ok(())
}

/// A block of q6_K.
fn split_block(block: &[u8], row: usize, head: &mut [u8], into: &mut [u8]) -> Result<(), &'static str> {
    let (low, rest) = block.split_at(128);
    let (upper, rest) = rest.split_at(64);
    let (scales, scale) = rest.split_at(16);
    if !f16::from_le_bytes([scale[0], scale[1]]).is_finite() {
        return Err("the block's scale");
    }
    head[2 * row..][..2].copy_from_slice(scale);
    let each = into.len() / SUPER;
    for (at, into) in into.chunks_exact_mut(each).enumerate() {
        let multipliers = &mut head[HALVES + at * 2 * ROWS..][..2 * ROWS];
        multipliers[row] = scales[2 * at];
        multipliers[ROWS + row] = scales[2 * at + 1];
        // Of 128 columns, blocks 0 and 1 are in the low halves of 64 bytes, 2 and 3 in the high; the upper bits of all four
        // are in 32 bytes, two bits each.
        let (half, block) = (at / 4, at % 4);
        let low = &low[half * 64 + block % 2 * 32..][..32];
        let upper = &upper[half * 32..][..32];
        let mut planes = [0; 2];
        let mut numbers = [0; 8];
        for chunk in 0..8 {
            let (low, upper) = (word(low, chunk), word(upper, chunk));
            numbers[chunk] = (if block < 2 { low } else { low >> 4 }) & LOW;
            planes[chunk / 4] |= ((upper >> (2 * block)) & 0x0303_0303) << (2 * (chunk % 4));
        }
        for chunk in 0..4 {
            put(into, chunk, row, numbers[chunk] | numbers[chunk + 4] << 4);
        }
        put(into, 4, row, planes[0]);
        put(into, 5, row, planes[1]);
    }
    Ok(())
}
