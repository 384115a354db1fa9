//! The published model of threshold batching, exactly as printed: one of several predictions.
//!
//! Source: "Threshold-Based Exclusive Batching for LLM Inference", arXiv 2606.00516 (ICML 2026), § 3.3. Units are tokens and
//! steps; N seats, θ = k/N, termination probability p, mean prompt E\[L\]. `docs/occupancy.md` has the error of each
//! formula over a grid, and what is wrong with it.

use crate::batch::Batch;
use crate::error::OccupancyError;
use crate::lengths::Lengths;

/// The published formulas for one batch and one traffic.
///
/// ```
/// use vramkit_occupancy::{Batch, Lengths, PublishedFormulas};
///
/// let formulas = PublishedFormulas::new(Batch::new(64, 16)?, &Lengths::geometric(100.0, 0.01)?)?;
/// assert_eq!(formulas.kappa().round(), 100.0); // 1 / (p^2 E[L])
/// # Ok::<(), vramkit_occupancy::OccupancyError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PublishedFormulas {
    n: f64,
    theta: f64,
    p: f64,
    prompt: f64,
    prompt_variance: f64,
}

impl PublishedFormulas {
    /// Takes the mean prompt, its variance and the termination probability of any traffic.
    ///
    /// # Errors
    /// Prompts of no tokens: κ = 1/(p²E\[L\]) has no value.
    pub fn new(batch: Batch, lengths: &Lengths) -> Result<Self, OccupancyError> {
        let prompt = lengths.mean_prompt();
        Self::from_means(batch, prompt, lengths.prompt_variance(), lengths.termination()).ok_or_else(|| {
            OccupancyError::Refused {
                what: "the published formulas".to_owned(),
                why: "they divide by the mean prompt, which is 0".to_owned(),
                instead: "use the corrected ones".to_owned(),
            }
        })
    }

    /// Takes the mean prompt, its variance and a termination probability that was estimated elsewhere; `None` for prompts of no
    /// tokens or a probability of 0.
    pub fn from_means(batch: Batch, prompt: f64, prompt_variance: f64, termination: f64) -> Option<Self> {
        let (n, theta) = (f64::from(batch.seats()), batch.theta());
        (prompt > 0.0 && termination > 0.0).then_some(Self {
            n,
            theta,
            p: termination,
            prompt,
            prompt_variance,
        })
    }

    /// E\[X0\] = N·E\[L\] + N(1−θ)²/(θp)·ln(1/(1−θ)); at θ = 1 its limit.
    pub fn x0(&self) -> f64 {
        self.n * self.prompt + self.n * partial(self.theta, 2) / self.p
    }

    /// κ = 1/(p²E\[L\]).
    pub fn kappa(&self) -> f64 {
        1.0 / (self.p * self.p * self.prompt)
    }

    /// E\[Xmax\] = E\[X0\] + κ.
    pub fn xmax(&self) -> f64 {
        self.x0() + self.kappa()
    }

    /// The drift d = −N·p·E\[L\], tokens a step.
    pub fn drift(&self) -> f64 {
        -self.n * self.p * self.prompt
    }

    /// The variance v ≈ 2N/p of a step.
    pub fn variance(&self) -> f64 {
        2.0 * self.n / self.p
    }

    /// The variance in its finite form, N·p·Var(S) + N·p·q·E\[S\]², with S = L + output.
    pub fn finite_variance(&self) -> f64 {
        let (p, q) = (self.p, 1.0 - self.p);
        let mean = self.prompt + 1.0 / p;
        let variance = self.prompt_variance + q / (p * p);
        self.n * p * variance + self.n * p * q * mean * mean
    }

    /// P(sup Y > x) ≤ exp(−2|d|x/v), with v = 2N/p: tokens above X0 in, a probability out.
    pub fn tail(&self, above: f64) -> f64 {
        (-2.0 * self.drift().abs() * above.max(0.0) / self.variance()).exp()
    }

    /// The memory, in tokens, at which the published bound is a risk: what sizing by it would choose.
    pub fn capacity(&self, risk: f64) -> f64 {
        self.x0() + self.variance() / (2.0 * self.drift().abs()) * -risk.ln()
    }

    /// The same bound with the finite variance.
    pub fn finite_tail(&self, above: f64) -> f64 {
        (-2.0 * self.drift().abs() * above.max(0.0) / self.finite_variance()).exp()
    }
}

/// (1−θ)^power/θ·ln(1/(1−θ)), which is 0 at θ = 1.
pub(crate) fn partial(theta: f64, power: i32) -> f64 {
    if theta >= 1.0 { 0.0 } else { (1.0 - theta).powi(power) / theta * -(-theta).ln_1p() }
}
