//! Rotation of queries and keys by their position.
//!
//! In: a model's base, scaling and frequency factors; a position. Out: angles of the position, and heads turned by them.
//! Never: an angle that depends on how tokens are batched; angles are computed in 64 bits, then rounded once.

use std::f64::consts::TAU;

use super::error::AttentionError;
use super::level::{Job, Lanes, Level};

/// Which elements of a head are turned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// Neighbours, 2i and 2i + 1: llama's files, `norm` in llama.cpp.
    Pairs,
    /// Halves, i and i + dims / 2: `neox` in llama.cpp.
    Halves,
}

/// How a longer context than that of the training is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// It is not.
    None,
    /// Positions over `factor`.
    Linear {
        /// How many times longer the context is.
        factor: f32,
    },
    /// YaRN (Peng et al. 2023, arXiv 2309.00071): frequencies of fewer than `beta_slow` turns within the original
    /// context are divided by `factor`, those of more than `beta_fast` are kept, and between them mixed.
    Yarn {
        /// How many times longer the context is.
        factor: f32,
        /// The context of the training, tokens.
        original: usize,
        /// Turns from which on a frequency is kept, 32 in most models.
        beta_fast: f32,
        /// Turns up to which a frequency is divided, 1 in most models.
        beta_slow: f32,
    },
}

/// A model's rotation: a frequency for every pair.
///
/// ```
/// use vramkit_llm::attention::{Level, Rope, RopeScaling, RopeStyle};
///
/// let rope = Rope::new(RopeStyle::Halves, 2, 10_000.0, RopeScaling::None, None, 1.0)?;
/// let mut angles = [0.0; 2];
/// rope.angles(1, &mut angles)?;
/// let mut head = [1.0, 0.0];
/// rope.apply(Level::best(), &angles, &mut head, 2)?;
/// assert_eq!(head, [1f32.cos(), 1f32.sin()]);
/// # Ok::<(), vramkit_llm::attention::AttentionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    style: RopeStyle,
    frequencies: Box<[f64]>,
    magnitude: f64,
}

impl Rope {
    /// The rotation of the first `dims` elements of each head.
    ///
    /// Pair i turns by `base^(-2i / dims) / factors[i]` a position, before scaling; `factors` are a model's
    /// `rope_freqs` or `rope_factors_long`/`rope_factors_short`. Sines and cosines are multiplied by `magnitude`, the
    /// attention factor; YaRN's own, 0.1 ln(factor) + 1, is not added here, as models differ in whether they want it.
    ///
    /// # Errors
    /// An odd or no dimension, a base or factor that is not above 0, factors that are not one a pair.
    pub fn new(
        style: RopeStyle,
        dims: usize,
        base: f32,
        scaling: RopeScaling,
        factors: Option<&[f32]>,
        magnitude: f32,
    ) -> Result<Self, AttentionError> {
        if dims == 0 || !dims.is_multiple_of(2) {
            let allowed = "even and above 0";
            return Err(AttentionError::Number { what: "the rotated dimension", got: dims as f64, allowed });
        }
        let pairs = dims / 2;
        positive("the base of the rotation", base)?;
        positive("the attention factor of the rotation", magnitude)?;
        if let Some(factors) = factors {
            if factors.len() != pairs {
                let what = "the frequency factors";
                return Err(AttentionError::Length { what, need: pairs, got: factors.len() });
            }
            for &factor in factors {
                // Published ones are from 1 to some hundred; one near 0 turns by angles beyond what an f32 tells apart.
                positive("a frequency factor", factor)?;
                if factor < 1e-4 {
                    let allowed = "1e-4 or more";
                    return Err(AttentionError::Number {
                        what: "a frequency factor",
                        got: factor.into(),
                        allowed,
                    });
                }
            }
        }
        let (base, dims) = (f64::from(base), dims as f64);
        let plain = |pair: usize| {
            let factor = factors.map_or(1.0, |factors| f64::from(factors[pair]));
            base.powf(-2.0 * pair as f64 / dims) / factor
        };
        let frequencies = match scaling {
            RopeScaling::None => (0..pairs).map(plain).collect(),
            RopeScaling::Linear { factor } => {
                positive("the factor of linear scaling", factor)?;
                (0..pairs).map(|pair| plain(pair) / f64::from(factor)).collect()
            }
            RopeScaling::Yarn { factor, original, beta_fast, beta_slow } => {
                positive("the factor of YaRN", factor)?;
                positive("YaRN's fast beta", beta_fast)?;
                positive("YaRN's slow beta", beta_slow)?;
                if original == 0 {
                    return Err(AttentionError::Zero { what: "the original context of YaRN" });
                }
                // The pair that turns `turns` times within the original context.
                let pair_of =
                    |turns: f32| dims * (original as f64 / (f64::from(turns) * TAU)).ln() / (2.0 * base.ln());
                let first = pair_of(beta_fast).floor().max(0.0);
                let last = pair_of(beta_slow).ceil().min(dims - 1.0);
                let frequency = |pair: usize| {
                    let divided = ((pair as f64 - first) / (last - first).max(0.001)).clamp(0.0, 1.0);
                    plain(pair) * (divided / f64::from(factor) + 1.0 - divided)
                };
                (0..pairs).map(frequency).collect()
            }
        };
        Ok(Self { style, frequencies, magnitude: magnitude.into() })
    }

    /// Elements of a head that are turned; those behind them stay.
    pub fn dims(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// The angles of a position: `dims / 2` cosines, then as many sines, into `out` of [`Rope::dims`] floats. They serve
    /// every head of every layer with this rotation.
    ///
    /// # Errors
    /// A slice of another length.
    pub fn angles(&self, position: usize, out: &mut [f32]) -> Result<(), AttentionError> {
        if out.len() != self.dims() {
            let what = "the angles of a position";
            return Err(AttentionError::Length { what, need: self.dims(), got: out.len() });
        }
        let (cosines, sines) = out.split_at_mut(self.frequencies.len());
        for ((cosine, sine), frequency) in cosines.iter_mut().zip(sines).zip(&self.frequencies) {
            let (s, c) = (position as f64 * frequency).sin_cos();
            *cosine = (c * self.magnitude) as f32;
            *sine = (s * self.magnitude) as f32;
        }
        Ok(())
    }

    /// Turns heads of `head` elements each, one behind another, all of one token.
    ///
    /// # Errors
    /// Heads smaller than [`Rope::dims`], a slice that does not consist of heads, or angles of another length.
    pub fn apply(
        &self,
        level: Level,
        angles: &[f32],
        heads: &mut [f32],
        head: usize,
    ) -> Result<(), AttentionError> {
        let dims = self.dims();
        if head < dims {
            return Err(AttentionError::Length { what: "a head to be turned", need: dims, got: head });
        }
        if !heads.len().is_multiple_of(head) {
            let need = heads.len().next_multiple_of(head);
            return Err(AttentionError::Length { what: "the heads to be turned", need, got: heads.len() });
        }
        if angles.len() != dims {
            let what = "the angles of a position";
            return Err(AttentionError::Length { what, need: dims, got: angles.len() });
        }
        level.run(Turn { style: self.style, angles, heads, head });
        Ok(())
    }
}

struct Turn<'a> {
    style: RopeStyle,
    angles: &'a [f32],
    heads: &'a mut [f32],
    head: usize,
}

impl Job for Turn<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let (cosines, sines) = self.angles.split_at(self.angles.len() / 2);
        for head in self.heads.chunks_exact_mut(self.head) {
            match self.style {
                RopeStyle::Pairs => {
                    for (([x, y], c), s) in head.as_chunks_mut::<2>().0.iter_mut().zip(cosines).zip(sines) {
                        (*x, *y) = turn(*x, *y, *c, *s);
                    }
                }
                RopeStyle::Halves => {
                    let (xs, rest) = head.split_at_mut(cosines.len());
                    for (((x, y), c), s) in xs.iter_mut().zip(rest).zip(cosines).zip(sines) {
                        (*x, *y) = turn(*x, *y, *c, *s);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn turn(x: f32, y: f32, c: f32, s: f32) -> (f32, f32) {
    (x.mul_add(c, -(y * s)), x.mul_add(s, y * c))
}

/// Refuses what is not finite and above 0.
fn positive(what: &'static str, number: f32) -> Result<(), AttentionError> {
    if number.is_finite() && number > 0.0 {
        return Ok(());
    }
    Err(AttentionError::Number { what, got: number.into(), allowed: "finite and above 0" })
}
