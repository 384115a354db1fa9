//! Types with blocks of 32 numbers: one step, or a step and a least value, for all of them.

use super::rounding::{as_half, half_bytes, inverse, nearest};
use super::weight_type::WeightType;

/// One block.
pub(super) fn put(kind: WeightType, numbers: &[f32; 32], into: &mut Vec<u8>) {
    match kind {
        WeightType::Q8_0 => eights(numbers, into),
        WeightType::Q4_0 => packed(&symmetric(numbers, 8, into), false, into),
        WeightType::Q5_0 => packed(&symmetric(numbers, 16, into), true, into),
        WeightType::Q4_1 => packed(&from_least(numbers, 15, into), false, into),
        _ => packed(&from_least(numbers, 31, into), true, into),
    }
}

/// Step; 32 signed bytes.
fn eights(numbers: &[f32; 32], into: &mut Vec<u8>) {
    let step = as_half(numbers.iter().fold(0.0f32, |most, number| most.max(number.abs())) / 127.0);
    into.extend(half_bytes(step));
    let inverse = inverse(step);
    into.extend(numbers.iter().map(|number| nearest(number * inverse, -127, 127) as i8 as u8));
}

/// Steps around the middle, which stands for 0. The number farthest from 0 becomes the lowest, which has no counterpart above.
fn symmetric(numbers: &[f32; 32], middle: i32, into: &mut Vec<u8>) -> [u8; 32] {
    let farthest =
        numbers.iter().fold(0.0f32, |most, &number| if number.abs() > most.abs() { number } else { most });
    let step = as_half(farthest / -middle as f32);
    into.extend(half_bytes(step));
    let inverse = inverse(step);
    numbers.map(|number| (nearest(number * inverse, -middle, middle - 1) + middle) as u8)
}

/// Steps above the least number.
fn from_least(numbers: &[f32; 32], levels: i32, into: &mut Vec<u8>) -> [u8; 32] {
    let least = as_half(numbers.iter().copied().fold(f32::INFINITY, f32::min));
    let most = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let step = as_half((most - least) / levels as f32);
    into.extend(half_bytes(step));
    into.extend(half_bytes(least));
    let inverse = inverse(step);
    numbers.map(|number| nearest((number - least) * inverse, 0, levels) as u8)
}

/// The fifth bits in one word where there are five, then 16 bytes: the first half's four bits below the second half's.
fn packed(numbers: &[u8; 32], five: bool, into: &mut Vec<u8>) {
    if five {
        let fifth =
            numbers.iter().enumerate().fold(0u32, |bits, (at, &number)| bits | u32::from(number >> 4) << at);
        into.extend(fifth.to_le_bytes());
    }
    into.extend((0..16).map(|at| numbers[at] & 15 | (numbers[at + 16] & 15) << 4));
}
