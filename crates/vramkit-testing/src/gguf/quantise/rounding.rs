//! Rounding that all types share.

use half::f16;

/// A 16-bit floating-point number's bytes.
pub(super) fn half_bytes(number: f32) -> [u8; 2] {
    f16::from_f32(number).to_le_bytes()
}

/// The number that a 16-bit one keeps of it.
pub(super) fn as_half(number: f32) -> f32 {
    f16::from_f32(number).to_f32()
}

/// Reciprocal of a step; 0 for a step of 0, whose block is all zeros.
pub(super) fn inverse(step: f32) -> f32 {
    if step == 0.0 { 0.0 } else { 1.0 / step }
}

/// The nearest whole number within `[low, high]`.
pub(super) fn nearest(number: f32, low: i32, high: i32) -> i32 {
    (number.round_ties_even() as i32).clamp(low, high)
}
