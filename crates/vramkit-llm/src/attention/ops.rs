//! What is done element by element, and norms.
//!
//! In: slices of one length. Out: a slice of the same. Never: a sum whose order depends on anything but the length.
//!
//! ```
//! use vramkit_llm::attention::{Level, ops};
//!
//! let mut out = [0.0; 4];
//! ops::rms_norm(Level::best(), &[2.0; 4], &[0.5; 4], 0.0, &mut out)?;
//! assert_eq!(out, [0.5; 4]);
//! # Ok::<(), vramkit_llm::attention::AttentionError>(())
//! ```

use super::error::AttentionError;
use super::level::{Job, LANES, Lanes, Level};
use super::math::{gelu, silu, sum, tanh};

/// Vectors that a sum of squares is kept in.
const SUMS: usize = 4;

/// `out = x / sqrt(mean(x²) + eps) * weight`. (The 1 that gemma adds to its weights is in the weights of GGUF files.)
///
/// # Errors
/// Slices of different lengths.
pub fn rms_norm(
    level: Level,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    out: &mut [f32],
) -> Result<(), AttentionError> {
    same("the norm's weights", x.len(), weight.len())?;
    same("the norm's output", x.len(), out.len())?;
    level.run(Norm { x, weight, eps, out });
    Ok(())
}

/// The same for each of the heads in `x`, in place: all have the norm's weights (qwen3, gemma3).
///
/// # Errors
/// A slice that does not consist of heads of the weights' length.
pub fn rms_norm_heads(level: Level, x: &mut [f32], weight: &[f32], eps: f32) -> Result<(), AttentionError> {
    if weight.is_empty() {
        return Err(AttentionError::Zero { what: "the number of a norm's weights" });
    }
    same("the heads to be normed", x.len().next_multiple_of(weight.len()), x.len())?;
    level.run(NormHeads { x, weight, eps });
    Ok(())
}

/// `x = silu(x) * up`, where silu(x) = x / (1 + e^-x).
///
/// # Errors
/// Slices of different lengths.
pub fn silu_mul(level: Level, x: &mut [f32], up: &[f32]) -> Result<(), AttentionError> {
    same("the factors of silu", x.len(), up.len())?;
    level.run(SiluMul { x, up });
    Ok(())
}

/// `x = gelu(x) * up`, gelu by its approximation with tanh.
///
/// # Errors
/// Slices of different lengths.
pub fn gelu_mul(level: Level, x: &mut [f32], up: &[f32]) -> Result<(), AttentionError> {
    same("the factors of gelu", x.len(), up.len())?;
    level.run(GeluMul { x, up });
    Ok(())
}

/// `x += y`.
///
/// # Errors
/// Slices of different lengths.
pub fn add(level: Level, x: &mut [f32], y: &[f32]) -> Result<(), AttentionError> {
    same("what is added", x.len(), y.len())?;
    level.run(Add { x, y });
    Ok(())
}

/// `x *= factor`.
pub fn scale(level: Level, x: &mut [f32], factor: f32) {
    level.run(Scale { x, factor });
}

/// `x = cap * tanh(x / cap)`, to an absolute error of 2e-7 times the cap.
///
/// # Errors
/// A cap that is not finite and above 0.
pub fn soft_cap(level: Level, x: &mut [f32], cap: f32) -> Result<(), AttentionError> {
    if !(cap.is_finite() && cap > 0.0) {
        let allowed = "finite and above 0";
        return Err(AttentionError::Number { what: "the soft cap", got: cap.into(), allowed });
    }
    level.run(SoftCap { x, cap });
    Ok(())
}

fn same(what: &'static str, need: usize, got: usize) -> Result<(), AttentionError> {
    if need == got { Ok(()) } else { Err(AttentionError::Length { what, need, got }) }
}

/// 1 / sqrt(mean(x²) + eps): element i is summed in lane i % 64, lanes then pairwise.
#[inline(always)]
fn inverse_root(x: &[f32], eps: f32) -> f32 {
    let mut sums = [[0.0_f32; LANES]; SUMS];
    let (whole, rest) = x.as_chunks::<{ LANES * SUMS }>();
    for x in whole {
        for (sum, x) in sums.as_flattened_mut().iter_mut().zip(x) {
            *sum = x.mul_add(*x, *sum);
        }
    }
    for (sum, x) in sums.as_flattened_mut().iter_mut().zip(rest) {
        *sum = x.mul_add(*x, *sum);
    }
    let [a, b, c, d] = sums;
    let mut all = [0.0; LANES];
    for lane in 0..LANES {
        all[lane] = (a[lane] + b[lane]) + (c[lane] + d[lane]);
    }
    1.0 / (sum(&all) / x.len() as f32 + eps).sqrt()
}

struct Norm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Job for Norm<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let inverse = inverse_root(self.x, self.eps);
        for ((out, x), weight) in self.out.iter_mut().zip(self.x).zip(self.weight) {
            *out = x * inverse * weight;
        }
    }
}

struct NormHeads<'a> {
    x: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Job for NormHeads<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        for head in self.x.chunks_exact_mut(self.weight.len()) {
            let inverse = inverse_root(head, self.eps);
            for (x, weight) in head.iter_mut().zip(self.weight) {
                *x = *x * inverse * weight;
            }
        }
    }
}

struct SiluMul<'a> {
    x: &'a mut [f32],
    up: &'a [f32],
}

impl Job for SiluMul<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        for (x, up) in self.x.iter_mut().zip(self.up) {
            *x = silu(*x) * up;
        }
    }
}

struct GeluMul<'a> {
    x: &'a mut [f32],
    up: &'a [f32],
}

impl Job for GeluMul<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        for (x, up) in self.x.iter_mut().zip(self.up) {
            *x = gelu(*x) * up;
        }
    }
}

struct Add<'a> {
    x: &'a mut [f32],
    y: &'a [f32],
}

impl Job for Add<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        for (x, y) in self.x.iter_mut().zip(self.y) {
            *x += y;
        }
    }
}

struct Scale<'a> {
    x: &'a mut [f32],
    factor: f32,
}

impl Job for Scale<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        for x in self.x {
            *x *= self.factor;
        }
    }
}

struct SoftCap<'a> {
    x: &'a mut [f32],
    cap: f32,
}

impl Job for SoftCap<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let inverse = 1.0 / self.cap;
        for x in self.x {
            *x = self.cap * tanh(*x * inverse);
        }
    }
}
