//! A token's keys and values, written where they belong in a block.
//!
//! In: 32-bit floats of every head of one layer. Out: one slot of the layer's part of a block, in the cache's type. Never:
//! a finite number in place of one that the type cannot hold (it becomes infinite, or in q8_0 its group a NaN).

use half::f16;

use super::cache_kind::{CacheKind, GROUP};
use super::error::AttentionError;
use super::layout::{BLOCK, CacheLayout};
use super::level::{Job, LANES, Lane, Lanes, Level};
use super::math::{MAGIC, larger, largest, sum};

/// The largest number of q8_0.
const MOST: f32 = 127.0;

/// Writes one token into slot `slot` (its position modulo [`BLOCK`]) of one layer of a block.
///
/// `layer` is the block's bytes in [`CacheLayout::layer_range`]; `k` and `v` are the heads one behind another,
/// `kv_heads * key` and `kv_heads * value` elements. Half precision is the nearest; q8_0's scale is the largest
/// magnitude of 32 over 127, in half precision, and its numbers are the nearest multiples of that.
///
/// # Errors
/// A slot that is not there, or a slice of another length.
pub fn write_token(
    level: Level,
    layout: &CacheLayout,
    layer: &mut [u8],
    slot: usize,
    k: &[f32],
    v: &[f32],
) -> Result<(), AttentionError> {
    if slot >= BLOCK {
        return Err(AttentionError::Index { what: "slot", index: slot, count: BLOCK });
    }
    let heads = layout.kv_heads();
    for (what, need, got) in [
        ("a layer of a block", layout.layer_len(), layer.len()),
        ("a token's keys", heads * layout.key(), k.len()),
        ("a token's values", heads * layout.value(), v.len()),
    ] {
        if need != got {
            return Err(AttentionError::Length { what, need, got });
        }
    }
    level.run(WriteToken { layout, layer, slot, k, v });
    Ok(())
}

struct WriteToken<'a> {
    layout: &'a CacheLayout,
    layer: &'a mut [u8],
    slot: usize,
    k: &'a [f32],
    v: &'a [f32],
}

impl Job for WriteToken<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self { layout, layer, slot, k, v } = self;
        let (key, value) = (layout.key(), layout.value());
        let heads = layer.chunks_exact_mut(layout.head_len());
        for ((head, k), v) in heads.zip(k.chunks_exact(key)).zip(v.chunks_exact(value)) {
            let (keys, values) = head.split_at_mut(layout.key_bytes());
            match layout.kind() {
                CacheKind::F32 => {
                    let rows = keys.as_chunks_mut::<{ 4 * BLOCK }>().0;
                    for (row, x) in rows.iter_mut().zip(k) {
                        row.as_chunks_mut::<4>().0[slot] = x.to_le_bytes();
                    }
                    let rows = values[4 * value * slot..].as_chunks_mut::<4>().0;
                    for (bytes, x) in rows.iter_mut().zip(v) {
                        *bytes = x.to_le_bytes();
                    }
                }
                CacheKind::F16 => {
                    let rows = keys.as_chunks_mut::<{ 2 * BLOCK }>().0;
                    for (rows, x) in rows.chunks_mut(LANES).zip(k.chunks(LANES)) {
                        let half = lanes.narrow(&padded(x));
                        for (row, bytes) in rows.iter_mut().zip(half.as_chunks::<2>().0) {
                            row.as_chunks_mut::<2>().0[slot] = *bytes;
                        }
                    }
                    let row = &mut values[2 * value * slot..][..2 * value];
                    for (bytes, x) in row.chunks_mut(2 * LANES).zip(v.chunks(LANES)) {
                        bytes.copy_from_slice(&lanes.narrow(&padded(x))[..bytes.len()]);
                    }
                }
                CacheKind::Q8_0 => {
                    let (numbers, scales) = keys.split_at_mut(key * BLOCK);
                    let groups = k.as_chunks::<GROUP>().0.iter();
                    for ((group, rows), scales) in groups
                        .zip(numbers.as_chunks_mut::<{ GROUP * BLOCK }>().0)
                        .zip(scales.as_chunks_mut::<{ 2 * BLOCK }>().0)
                    {
                        let (scale, numbers) = quantise(group);
                        scales.as_chunks_mut::<2>().0[slot] = scale.to_le_bytes();
                        for (row, number) in rows.as_chunks_mut::<BLOCK>().0.iter_mut().zip(numbers) {
                            row[slot] = number.cast_unsigned();
                        }
                    }
                    let (numbers, scales) = values.split_at_mut(value * BLOCK);
                    let numbers = numbers[value * slot..].as_chunks_mut::<GROUP>().0;
                    let scales = scales[2 * (value / GROUP) * slot..].as_chunks_mut::<2>().0;
                    let groups = v.as_chunks::<GROUP>().0.iter();
                    for ((group, bytes), at) in groups.zip(numbers).zip(scales) {
                        let (scale, numbers) = quantise(group);
                        *at = scale.to_le_bytes();
                        *bytes = numbers.map(i8::cast_unsigned);
                    }
                }
            }
        }
    }
}

/// Up to 16 elements as a vector, zeros behind them.
#[inline(always)]
fn padded(x: &[f32]) -> Lane {
    let mut lane = [0.0; LANES];
    lane[..x.len()].copy_from_slice(x);
    lane
}

/// 32 elements as 8-bit integers with a scale.
#[inline(always)]
fn quantise(group: &[f32; GROUP]) -> (f16, [i8; GROUP]) {
    // Maxima a lane each; a NaN or an infinity times zero is a NaN, which stays in the sum.
    let mut most = [0.0_f32; LANES];
    let mut zero = [0.0_f32; LANES];
    for half in group.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            most[lane] = larger(half[lane].abs(), most[lane]);
            zero[lane] += half[lane] * 0.0;
        }
    }
    let scale = f16::from_f32(largest(&most) / MOST);
    if sum(&zero) != 0.0 || scale.is_infinite() {
        return (f16::NAN, [1; GROUP]);
    }
    let inverse = if scale == f16::ZERO { 0.0 } else { 1.0 / scale.to_f32() };
    let mut numbers = [0; GROUP];
    for (number, x) in numbers.iter_mut().zip(group) {
        let x = x * inverse;
        let x = if x > MOST { MOST } else { x };
        let x = if x < -MOST { -MOST } else { x };
        // The low byte of the sum is the nearest integer.
        *number = ((x + MAGIC).to_bits() as u8).cast_signed();
    }
    (scale, numbers)
}
