//! Norms, gates and rotations against 64-bit references, and the same bits at every level.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use vramkit_llm::attention::{AttentionError, Level, Rope, RopeScaling, RopeStyle, ops};

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Asserts that a function's result is the same at all levels, and gives it.
fn at_all_levels(mut work: impl FnMut(Level) -> Vec<f32>) -> Vec<f32> {
    let best = work(Level::best());
    for level in Level::available() {
        assert_eq!(bits(&best), bits(&work(level)), "{level:?}");
    }
    best
}

fn numbers() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-20.0..20.0_f32, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn norms_are_the_reference(x in numbers(), eps in prop_oneof![Just(1e-6_f32), Just(1e-5)]) {
        let weight: Vec<f32> = x.iter().map(|x| 1.0 + x / 40.0).collect();
        let got = at_all_levels(|level| {
            let mut out = vec![0.0; x.len()];
            ops::rms_norm(level, &x, &weight, eps, &mut out).unwrap();
            out
        });
        let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
        let inverse = 1.0 / (squares / x.len() as f64 + f64::from(eps)).sqrt();
        for ((got, x), weight) in got.iter().zip(&x).zip(&weight) {
            let want = f64::from(*x) * inverse * f64::from(*weight);
            prop_assert!((f64::from(*got) - want).abs() <= 1e-6 * want.abs(), "{got} {want}");
        }
        // Heads are normed each for itself, with the same bits as alone.
        let mut heads = [x.clone(), weight.clone()].concat();
        ops::rms_norm_heads(Level::best(), &mut heads, &weight, eps).unwrap();
        prop_assert_eq!(bits(&heads[..x.len()]), bits(&got));
    }

    #[test]
    fn gates_are_the_reference(x in numbers()) {
        let up: Vec<f32> = x.iter().rev().copied().collect();
        let silu = at_all_levels(|level| {
            let mut out = x.clone();
            ops::silu_mul(level, &mut out, &up).unwrap();
            out
        });
        let gelu = at_all_levels(|level| {
            let mut out = x.clone();
            ops::gelu_mul(level, &mut out, &up).unwrap();
            out
        });
        for (at, (x, up)) in x.iter().zip(&up).enumerate() {
            let (x, up) = (f64::from(*x), f64::from(*up));
            let want = x / (1.0 + (-x).exp()) * up;
            prop_assert!((f64::from(silu[at]) - want).abs() <= 1e-6 * want.abs(), "silu {x}");
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            let want = 0.5 * x * (1.0 + inner.tanh()) * up;
            prop_assert!((f64::from(gelu[at]) - want).abs() <= 4e-6 * want.abs() + 1e-5, "gelu {x}");
        }
    }

    #[test]
    fn sums_products_and_caps_are_the_reference(x in numbers(), cap in 0.5..60.0_f32) {
        let capped = at_all_levels(|level| {
            let mut x = x.clone();
            ops::soft_cap(level, &mut x, cap).unwrap();
            x
        });
        for (got, x) in capped.iter().zip(&x) {
            let want = f64::from(cap) * (f64::from(*x) / f64::from(cap)).tanh();
            prop_assert!((f64::from(*got) - want).abs() <= 3e-7 * f64::from(cap), "{got} {want}");
        }
        let mut sums = x.clone();
        ops::add(Level::best(), &mut sums, &capped).unwrap();
        ops::scale(Level::best(), &mut sums, 0.3);
        for (at, sum) in sums.iter().enumerate() {
            prop_assert_eq!(*sum, (x[at] + capped[at]) * 0.3);
        }
    }

    #[test]
    fn rotations_are_the_reference(
        position in 0..100_000_usize,
        pairs in 1..64_usize,
        rest in 0..8_usize,
        halves in any::<bool>(),
        scaled in any::<bool>(),
        with_factors in any::<bool>(),
    ) {
        let style = if halves { RopeStyle::Halves } else { RopeStyle::Pairs };
        let scaling = if scaled { RopeScaling::Linear { factor: 4.0 } } else { RopeScaling::None };
        let factors: Vec<f32> = (0..pairs).map(|pair| 1.0 + pair as f32 / 7.0).collect();
        let factors = with_factors.then_some(factors.as_slice());
        let (dims, head) = (2 * pairs, 2 * pairs + rest);
        let rope = Rope::new(style, dims, 10_000.0, scaling, factors, 1.19).unwrap();
        let mut angles = vec![0.0; dims];
        rope.angles(position, &mut angles).unwrap();
        let heads: Vec<f32> = (0..3 * head).map(|at| ((at * 37 % 101) as f32 - 50.0) / 25.0).collect();
        let got = at_all_levels(|level| {
            let mut heads = heads.clone();
            rope.apply(level, &angles, &mut heads, head).unwrap();
            heads
        });
        for (got, x) in got.chunks(head).zip(heads.chunks(head)) {
            for pair in 0..pairs {
                let (i, j) = if halves { (pair, pair + pairs) } else { (2 * pair, 2 * pair + 1) };
                let mut theta = position as f64 * 10_000_f64.powf(-2.0 * pair as f64 / dims as f64);
                theta /= factors.map_or(1.0, |factors| f64::from(factors[pair]));
                theta /= if scaled { 4.0 } else { 1.0 };
                let (s, c) = theta.sin_cos();
                let (a, b) = (f64::from(x[i]), f64::from(x[j]));
                prop_assert!((f64::from(got[i]) - 1.19_f32 as f64 * (a * c - b * s)).abs() < 2e-6);
                prop_assert!((f64::from(got[j]) - 1.19_f32 as f64 * (a * s + b * c)).abs() < 2e-6);
            }
            prop_assert_eq!(&got[dims..], &x[dims..]);
        }
    }
}

#[test]
fn gates_hold_at_the_ends() {
    let x = [-1e30, -200.0, -90.0, 0.0, 90.0, 200.0, 1e30, f32::INFINITY, f32::NAN];
    let got = at_all_levels(|level| {
        let mut out = x.to_vec();
        ops::silu_mul(level, &mut out, &[1.0; 9]).unwrap();
        out[8] = if out[8].is_nan() { 0.0 } else { 1.0 };
        out
    });
    assert!(got[1].abs() < 1e-30 && got[2].abs() < 1e-30, "{got:?}");
    assert_eq!(got[3..], [0.0, 90.0, 200.0, 1e30, f32::INFINITY, 0.0]);
}

/// YaRN keeps quick frequencies and divides slow ones.
#[test]
fn yarn_divides_slow_frequencies_alone() {
    let yarn = RopeScaling::Yarn { factor: 4.0, original: 4096, beta_fast: 32.0, beta_slow: 1.0 };
    let angles = |scaling, position| {
        let rope = Rope::new(RopeStyle::Halves, 128, 1e6, scaling, None, 1.0).unwrap();
        let mut angles = vec![0.0; 128];
        rope.angles(position, &mut angles).unwrap();
        angles
    };
    let (plain, scaled) = (angles(RopeScaling::None, 3), angles(yarn, 3));
    let linear = angles(RopeScaling::Linear { factor: 4.0 }, 3);
    assert_eq!((plain[64], plain[70]), (scaled[64], scaled[70]));
    assert_eq!(linear[127], scaled[127]);
    let middle = 64 + 30;
    assert!(plain[middle] > scaled[middle] && scaled[middle] > linear[middle]);
}

#[test]
fn what_cannot_be_is_refused() {
    let rope = |dims, base, scaling, factors| Rope::new(RopeStyle::Pairs, dims, base, scaling, factors, 1.0);
    assert!(matches!(rope(0, 1e4, RopeScaling::None, None), Err(AttentionError::Number { .. })));
    assert!(matches!(rope(7, 1e4, RopeScaling::None, None), Err(AttentionError::Number { .. })));
    assert!(matches!(rope(8, f32::NAN, RopeScaling::None, None), Err(AttentionError::Number { .. })));
    let zero = RopeScaling::Linear { factor: 0.0 };
    assert!(matches!(rope(8, 1e4, zero, None), Err(AttentionError::Number { .. })));
    let factors = [1.0, 1.0, 0.0, 1.0];
    assert!(matches!(rope(8, 1e4, RopeScaling::None, Some(&factors)), Err(AttentionError::Number { .. })));
    assert!(matches!(rope(6, 1e4, RopeScaling::None, Some(&factors)), Err(AttentionError::Length { .. })));
    let rope = rope(8, 1e4, RopeScaling::None, None).unwrap();
    assert!(rope.angles(0, &mut [0.0; 7]).is_err());
    assert!(rope.apply(Level::best(), &[0.0; 8], &mut [0.0; 12], 6).is_err());
    assert!(rope.apply(Level::best(), &[0.0; 8], &mut [0.0; 12], 8).is_err());
    let level = Level::best();
    assert!(ops::rms_norm(level, &[1.0; 3], &[1.0; 2], 1e-5, &mut [0.0; 3]).is_err());
    assert!(ops::rms_norm_heads(level, &mut [1.0; 3], &[1.0; 2], 1e-5).is_err());
    assert!(ops::rms_norm_heads(level, &mut [1.0; 3], &[], 1e-5).is_err());
    assert!(ops::add(level, &mut [1.0; 3], &[1.0; 2]).is_err());
    assert!(ops::soft_cap(level, &mut [1.0; 3], -1.0).is_err());
}
