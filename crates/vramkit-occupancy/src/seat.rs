//! What one sequence holds at a moment drawn at random, and that law tilted.
//!
//! With a seat that is refilled as soon as its sequence ends, a moment falls on a request with a probability
//! proportional to its output, and on each of its tokens alike (renewal theory's inspection paradox). In a step of token
//! a the request (L, O) holds L + a tokens, 1 ≤ a ≤ O, before anything is freed. So
//!
//! π(d) = Σ_j w_j · 1{L_j < d ≤ L_j + O_j} / E\[O\].
//!
//! Tilting by t means weighting d with e^{td} and dividing by M(t) = E\[e^{td}\]: what is rare becomes common, by a factor
//! that is known (Esscher 1932). K(t) = ln M(t).

use realfft::num_complex::Complex;

use crate::lengths::{Law, Lengths};
use crate::limits::MAX_TOKENS;

/// K(t) and its first two derivatives: the mean and the variance under the tilt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cumulants {
    pub(crate) k: f64,
    pub(crate) mean: f64,
    pub(crate) variance: f64,
}

/// The demand of one sequence, in blocks.
#[derive(Clone, Debug)]
pub(crate) enum Seat {
    /// π over `base + 1, base + 2, ...`.
    Table { base: f64, pi: Vec<f64> },
    /// A prompt of `prompt` tokens (one more with probability `part`), and 1, 2, ... tokens geometrically.
    Geometric { prompt: f64, part: f64, termination: f64 },
}

impl Seat {
    /// Of a traffic, counted in blocks of so many tokens.
    pub(crate) fn new(lengths: &Lengths, block: u32) -> Self {
        if let (Some((prompt, termination)), 1) = (lengths.as_geometric(), block) {
            return Self::Geometric { prompt: prompt.floor(), part: prompt.fract(), termination };
        }
        let tokens = match &lengths.law {
            Law::Geometric { prompt, termination } => {
                let ln_q = (-termination).ln_1p();
                // Without a cap: as far as any tilt that is asked for can reach.
                let far = (-700.0 / ln_q).ceil().min(f64::from(MAX_TOKENS)).max(1.0) as u32;
                let last = lengths.max_output.unwrap_or(far);
                let part = prompt.fract();
                let mut tokens = vec![0.0; prompt.floor() as usize + last as usize + 2];
                for age in 0..last {
                    let weight = (f64::from(age) * ln_q).exp();
                    let at = prompt.floor() as usize + age as usize + 1;
                    tokens[at] += weight * (1.0 - part);
                    tokens[at + 1] += weight * part;
                }
                tokens
            }
            Law::Log(requests) => {
                let last = requests.iter().map(|r| r.prompt + r.output).max().unwrap_or(0) as usize;
                // Each request adds one to each of its demands: differences first, then their sums.
                let mut tokens = vec![0.0; last + 2];
                for request in requests.iter() {
                    tokens[request.prompt as usize + 1] += 1.0;
                    tokens[(request.prompt + request.output) as usize + 1] -= 1.0;
                }
                let mut sum = 0.0;
                for weight in &mut tokens {
                    sum += *weight;
                    *weight = sum;
                }
                tokens
            }
        };
        let mut blocks = vec![0.0; tokens.len().div_ceil(block as usize) + 1];
        for (d, weight) in tokens.iter().enumerate() {
            blocks[d.div_ceil(block as usize)] += weight;
        }
        let first = blocks.iter().position(|&weight| weight > 0.0).unwrap_or(0);
        let last = blocks.iter().rposition(|&weight| weight > 0.0).unwrap_or(0);
        let total: f64 = blocks.iter().sum();
        let pi = blocks[first..=last].iter().map(|weight| weight / total).collect();
        Self::Table { base: first as f64 - 1.0, pi }
    }

    /// The least and the most that one sequence holds.
    pub(crate) fn range(&self) -> (f64, f64) {
        match self {
            Self::Table { base, pi } => (base + 1.0, base + pi.len() as f64),
            Self::Geometric { prompt, part, termination } => {
                let last = if *termination < 1.0 { f64::INFINITY } else { prompt + 1.0 + part.ceil() };
                (prompt + 1.0, last)
            }
        }
    }

    /// The tilts at which K is finite are those below.
    pub(crate) fn limit(&self) -> f64 {
        match self {
            Self::Table { .. } => f64::INFINITY,
            Self::Geometric { termination, .. } => -(-termination).ln_1p(),
        }
    }

    pub(crate) fn cumulants(&self, t: f64) -> Cumulants {
        match self {
            Self::Table { base, pi } => {
                // Relative to the end that weighs most, so that nothing overflows.
                let origin = if t > 0.0 { pi.len() as f64 } else { 1.0 };
                let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
                for (i, &weight) in pi.iter().enumerate() {
                    let from = (i + 1) as f64 - origin;
                    let weight = weight * (t * from).exp();
                    sum += weight;
                    first += weight * from;
                    second += weight * from * from;
                }
                let mean = first / sum;
                Cumulants {
                    k: sum.ln() + t * (base + origin),
                    mean: base + origin + mean,
                    variance: (second / sum - mean * mean).max(0.0),
                }
            }
            Self::Geometric { prompt, part, termination } => {
                let ratio = (1.0 - termination) * t.exp();
                let tilted = part * t.exp() / (1.0 - part + part * t.exp());
                Cumulants {
                    k: t * (prompt + 1.0) + (part * t.exp_m1()).ln_1p() + termination.ln() - (-ratio).ln_1p(),
                    mean: prompt + tilted + 1.0 / (1.0 - ratio),
                    variance: tilted * (1.0 - tilted) + ratio / (1.0 - ratio).powi(2),
                }
            }
        }
    }

    /// The Fourier transform of the tilted law at the first `size / 2 + 1` multiples of 2π/`size`.
    pub(crate) fn transform(
        &self,
        t: f64,
        size: usize,
        fft: &dyn realfft::RealToComplex<f64>,
    ) -> Vec<Complex<f64>> {
        match self {
            Self::Table { base, pi } => {
                let k = self.cumulants(t).k;
                let mut folded = vec![0.0; size];
                for (i, &weight) in pi.iter().enumerate() {
                    let d = base + (i + 1) as f64;
                    folded[d as usize % size] += weight * (t * d - k).exp();
                }
                let mut spectrum = fft.make_output_vec();
                fft.process(&mut folded, &mut spectrum).expect("both have the plan's lengths");
                spectrum
            }
            Self::Geometric { prompt, part, termination } => {
                let ratio = (1.0 - termination) * t.exp();
                let tilted = part * t.exp() / (1.0 - part + part * t.exp());
                let turn = |multiple: f64, j: usize| {
                    // The angle modulo a full turn first: the product is large.
                    let angle = (multiple * j as f64) % size as f64 / size as f64;
                    Complex::from_polar(1.0, -std::f64::consts::TAU * angle)
                };
                let at = |j: usize| {
                    let one = turn(1.0, j);
                    turn(prompt + 1.0, j) * (1.0 - tilted + one * tilted) * (1.0 - ratio)
                        / (1.0 - one * ratio)
                };
                (0..=size / 2).map(at).collect()
            }
        }
    }
}
