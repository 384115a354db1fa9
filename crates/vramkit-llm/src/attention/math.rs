//! Functions of one number, and reductions of 16 lanes, written so that they vectorise and are the same everywhere.

use std::f32::consts::{LN_2, LOG2_E};

use super::level::{LANES, Lane};

/// Adding it to a float of small size leaves the nearest integer in the low bits.
pub(super) const MAGIC: f32 = 12_582_912.0;
/// What the logarithm of 2 lost when it was rounded.
const LN2_LOW: f32 = -1.904_654_2e-9;
/// (e^r - 1 - r) / r² for |r| ≤ ln 2 / 2, fitted to the least largest error (3.6e-9 relative to e^r).
const POLYNOMIAL: [f32; 5] = [0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_745, 0.001_381_454];

/// e^x with a relative error below 1.2e-7 (one unit in the last place) for x in -87..=88. Below -87 it is 0, above 88 it
/// is e^88, of a NaN a NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Comparisons that a NaN fails, so that it stays.
    let bounded = if x > 88.0 { 88.0 } else { x };
    let shifted = bounded.mul_add(LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN_2, bounded));
    let [c2, c3, c4, c5, c6] = POLYNOMIAL;
    let p = c6.mul_add(r, c5).mul_add(r, c4).mul_add(r, c3).mul_add(r, c2);
    let p = (r * r).mul_add(p, r) + 1.0;
    // The low bits of `shifted` are n; its high bits leave by the shift.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    if x < -87.0 { 0.0 } else { p * scale }
}

/// The hyperbolic tangent with an absolute error below 2e-7.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// x times the logistic function of z.
#[inline(always)]
pub(super) fn gate(x: f32, z: f32) -> f32 {
    x / (1.0 + exp(-z))
}

/// x times the logistic function of x.
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    gate(x, x)
}

/// The Gaussian error unit by its usual approximation, x / 2 (1 + tanh(√(2/π) (x + 0.044715 x³))).
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    // 1 + tanh(u) is twice the logistic function of 2u.
    const TWICE: f32 = 1.595_769;
    gate(x, TWICE * x * (0.044_715 * x).mul_add(x, 1.0))
}

/// The sum of all lanes, halves onto halves.
#[inline(always)]
pub(super) fn sum(lane: &Lane) -> f32 {
    let mut sums = *lane;
    let mut width = LANES / 2;
    while width > 0 {
        for at in 0..width {
            sums[at] += sums[at + width];
        }
        width /= 2;
    }
    sums[0]
}

/// The largest lane; a NaN is not seen.
#[inline(always)]
pub(super) fn largest(lane: &Lane) -> f32 {
    let mut most = *lane;
    let mut width = LANES / 2;
    while width > 0 {
        for at in 0..width {
            most[at] = larger(most[at], most[at + width]);
        }
        width /= 2;
    }
    most[0]
}

/// The larger of two; the second where one is a NaN.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 97th float of the range.
    #[test]
    fn the_error_of_exp_is_as_stated() {
        let mut worst = 0.0_f64;
        for sign in [1_u32, 0] {
            for bits in (0..89.0_f32.to_bits()).step_by(97) {
                let x = f32::from_bits(sign << 31 | bits);
                if (-87.0..=88.0).contains(&x) {
                    worst = worst.max((f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs());
                }
            }
        }
        assert!(worst < 1.2e-7, "{worst}");
        assert!(worst > 1e-8, "nothing was compared");
    }

    #[test]
    fn exp_at_its_ends() {
        assert_eq!([exp(0.0), exp(-88.0), exp(f32::NEG_INFINITY)], [1.0, 0.0, 0.0]);
        assert_eq!([exp(89.0), exp(f32::INFINITY)], [exp(88.0); 2]);
        assert!(exp(f32::NAN).is_nan());
    }
}
