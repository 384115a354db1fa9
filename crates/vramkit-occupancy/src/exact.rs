//! Threshold batching with geometric outputs: moments without simulation.
//!
//! At the start of a cycle all N sequences are alike, because a geometric output forgets its age; so cycles' lengths τ
//! and survivors S are independent of each other and of the ages. With M_n alive after n steps, binomial of N and q^n,
//! the cycle ends at the first n with M_n ≤ N − k. All sums below are over n, of binomial partial moments.
//!
//! Derivations: `docs/occupancy.md`. The peak is a Spitzer-type sum (Spitzer, "A combinatorial lemma and its application to
//! probability theory", 1956), which is exact for a walk of independent steps and here an approximation.

use statrs::function::beta::checked_beta_reg;
use statrs::function::gamma::{checked_gamma_lr, checked_gamma_ur, ln_gamma};

use crate::batch::Batch;
use crate::root::{geometric_given_back, tail_exponent};

/// Moments of τ and the survivors S of a cycle: what the others need. `s` is S/N, `s2` is S(S−1)/(N(N−1)).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CycleMoments {
    pub(crate) s: f64,
    pub(crate) s_tau: f64,
    pub(crate) s_tau2: f64,
    pub(crate) s2: f64,
    pub(crate) s2_tau: f64,
    pub(crate) s2_tau2: f64,
    pub(crate) tau: f64,
}

/// First and second moments of an age at the start of decoding.
#[derive(Clone, Copy, Debug)]
struct Ages {
    /// E[A].
    mean: f64,
    /// E[A²].
    square: f64,
    /// E[A_i·A_j] of two seats.
    product: f64,
}

/// Exact moments, and the peak by a Spitzer-type sum, for prompts of one length and geometric outputs.
///
/// ```
/// use vramkit_occupancy::{Batch, Exact};
///
/// let exact = Exact::new(Batch::new(64, 16)?, 100.0, 0.0, 0.01);
/// let memory = exact.capacity(1e-6); // tokens for a risk of 1e-6 a cycle
/// assert!(exact.tail(memory) <= 1.01e-6);
/// # Ok::<(), vramkit_occupancy::OccupancyError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    batch: Batch,
    prompt: f64,
    prompt_variance: f64,
    termination: f64,
    pub(crate) cycle: CycleMoments,
    ages: Ages,
}

impl Exact {
    /// For prompts with this mean and variance, independent of outputs that end with probability `termination` a token.
    /// Takes time proportional to E\[τ\] up to some 100,000 steps; for slower traffic several steps are taken as one,
    /// which is exact to 1e-4.
    pub fn new(batch: Batch, prompt: f64, prompt_variance: f64, termination: f64) -> Self {
        // With steps of h tokens every length is h times as many; p becomes 1 − q^h.
        let fine = 4e-3 / f64::from(batch.seats());
        let stride = if termination < fine.min(1e-4) { (fine.min(1e-4) / termination).floor() } else { 1.0 };
        let coarse = -(stride * (-termination).ln_1p()).exp_m1();
        let mut cycle = CycleMoments::of(batch, coarse);
        for (moment, power) in [
            (&mut cycle.s_tau, 1),
            (&mut cycle.s_tau2, 2),
            (&mut cycle.s2_tau, 1),
            (&mut cycle.s2_tau2, 2),
            (&mut cycle.tau, 1),
        ] {
            *moment *= stride.powi(power);
        }
        let first = cycle.s_tau / (1.0 - cycle.s);
        let ages = Ages {
            mean: first,
            square: (cycle.s_tau2 + 2.0 * first * cycle.s_tau) / (1.0 - cycle.s),
            product: (cycle.s2_tau2 + 2.0 * first * cycle.s2_tau) / (1.0 - cycle.s2),
        };
        Self { batch, prompt, prompt_variance, termination, cycle, ages }
    }

    /// The batch, the prompts' mean and variance, and the termination probability.
    pub(crate) fn of(&self) -> (Batch, f64, f64, f64) {
        (self.batch, self.prompt, self.prompt_variance, self.termination)
    }

    fn n(&self) -> f64 {
        f64::from(self.batch.seats())
    }

    /// E\[X0\] = N·E\[L\] + E\[Sτ\]/(1 − E\[s\]), tokens.
    pub fn x0(&self) -> f64 {
        self.n() * (self.prompt + self.ages.mean)
    }

    /// The fluid form of the same: N·E\[L\] + N(1−θ)/(θp)·ln(1/(1−θ)).
    pub fn fluid_x0(&self) -> f64 {
        self.n() * (self.prompt + crate::published::partial(self.batch.theta(), 1) / self.termination)
    }

    /// Var\[X0\] = N·Var L + N·E\[A²\] + N(N−1)·E\[A_iA_j\] − (N·E\[A\])², square tokens.
    pub fn x0_variance(&self) -> f64 {
        let n = self.n();
        let Ages { mean, square, product } = self.ages;
        n * self.prompt_variance + n * square + n * (n - 1.0) * product - (n * mean).powi(2)
    }

    /// E\[τ\], steps of a cycle.
    pub fn steps(&self) -> f64 {
        self.cycle.tau
    }

    /// P(peak > capacity) of one cycle, before free, from a Gamma law with the mean and variance of the peak beyond its
    /// prompts: good to a factor of some 3 down to 1e-3. It is what is called `corrected`.
    pub fn tail(&self, capacity: f64) -> f64 {
        let prompts = self.n() * self.prompt;
        let (mean, variance) = (self.x0() + self.kappa() - prompts, self.x0_variance());
        let beyond = capacity - prompts;
        if beyond <= 0.0 {
            return 1.0;
        }
        if variance <= 1e-9 * mean * mean {
            // A batch that empties starts each cycle with its prompts alone: all that varies is the growth.
            return (-(beyond - mean).max(0.0) / self.kappa_after_free().max(1.0)).exp();
        }
        checked_gamma_ur(mean * mean / variance, beyond * mean / variance).unwrap_or(0.0)
    }

    /// The memory, in tokens, at which [`tail`](Self::tail) is a risk in (0, 1): sizing by the corrected moments.
    pub fn capacity(&self, risk: f64) -> f64 {
        let (mut low, mut high) = (self.n() * self.prompt, self.x0() + self.kappa());
        while self.tail(high) > risk {
            high += high - low;
        }
        while high - low > 1e-9 * high + 1e-6 {
            let middle = 0.5 * (low + high);
            if self.tail(middle) > risk { low = middle } else { high = middle }
        }
        high
    }

    /// The exponent r with which peaks above X0 become rare, P(Y > x) ≈ e^(−rx): the positive root of
    /// e^r(1 − p + p·E[e^(−r(L+A))]) = 1 with A geometric from 1. The seats cancel. For large batches at θ = .5 the first cycles
    /// are worse than it says.
    pub fn tail_exponent(&self) -> f64 {
        let p = self.termination;
        tail_exponent(p, |r| geometric_given_back(r, self.prompt, p, f64::INFINITY))
    }

    /// κ before free: the Spitzer-type sum after free, and the N tokens of a step on top.
    pub fn kappa(&self) -> f64 {
        self.kappa_after_free() + self.n()
    }

    /// κ after free ≈ Σ_n (1/n) Σ_{J<k} Bin(J; N, 1−qⁿ) · E\[((N−J)n − Σ_{j≤J}(L+A_j))⁺\], the sum of ages fitted by a
    /// Gamma law with the exact mean and variance.
    pub fn kappa_after_free(&self) -> f64 {
        let ending = |step: f64| (-(step * (-self.termination).ln_1p()).exp_m1(), ());
        spitzer_sum(self.batch, self.steps_that_matter(), ending, |step, _, ended| self.growth(step, ended))
    }

    /// E[((N−J)n − Σ_{j≤J}(L+A_j))⁺].
    fn growth(&self, step: f64, ended: u32) -> f64 {
        let j = f64::from(ended);
        let room = (self.n() - j) * step - j * self.prompt;
        if room <= 0.0 {
            return 0.0;
        }
        let Ages { mean, square, product } = self.ages;
        let sum = j * mean;
        let variance = j * (square + self.prompt_variance) + j * (j - 1.0) * product - sum * sum;
        room_left(room, sum, variance)
    }

    /// Steps after which a cycle has ended but for one in 10^15.
    fn steps_that_matter(&self) -> f64 {
        ((f64::from(self.batch.seats())).ln() + 36.0) / -(-self.termination).ln_1p()
    }
}

impl CycleMoments {
    fn of(batch: Batch, p: f64) -> Self {
        let n = f64::from(batch.seats());
        let (seats, most) = (batch.seats(), batch.seats() - batch.threshold());
        let ln_q = (-p).ln_1p();
        let mut sums = Self::default();
        // What has happened by the step before: P(M ≤ most), and E[s; M ≤ most], E[s2; M ≤ most].
        let mut before = [0.0; 3];
        let mut step = 0.0;
        loop {
            step += 1.0;
            let alive = (step * ln_q).exp();
            let ended = -(step * ln_q).exp_m1();
            let done = cdf(most, seats, alive, ended);
            // E[(M)_j; M ≤ m] = (N)_j u^j P(Bin(N−j, u) ≤ m−j), from the one tail and two terms.
            let one = if most >= 1 { cdf_below(done, most, seats, alive, ended) } else { 0.0 };
            let two = if most >= 2 { cdf_below(one, most - 1, seats - 1, alive, ended) } else { 0.0 };
            let now = [done, alive * one, alive * alive * two];
            // Those that were at `most` or below the step before have lost a share p (or twice, for pairs) since.
            let q = 1.0 - p;
            let hit = [now[0] - before[0], now[1] - q * before[1], now[2] - q * q * before[2]];
            sums.tau += step * hit[0];
            sums.s += hit[1];
            sums.s_tau += step * hit[1];
            sums.s_tau2 += step * step * hit[1];
            sums.s2 += hit[2];
            sums.s2_tau += step * hit[2];
            sums.s2_tau2 += step * step * hit[2];
            before = now;
            if 1.0 - done < 1e-13 && n * ended > f64::from(batch.threshold()) * 0.5 {
                return sums;
            }
        }
    }
}

/// P(Bin(n, u) ≤ m), where `v` is 1 − u.
fn cdf(m: u32, n: u32, u: f64, v: f64) -> f64 {
    if m >= n || u <= 0.0 {
        return 1.0;
    }
    let (n, m, mean) = (f64::from(n), f64::from(m), f64::from(n) * u);
    let spread = 9.0 * (mean * v).sqrt() + 20.0;
    if m > mean + spread {
        return 1.0;
    }
    if m < mean - spread {
        return 0.0;
    }
    checked_beta_reg(n - m, m + 1.0, v).unwrap_or(f64::NAN)
}

/// P(Bin(n−1, u) ≤ m−1) from P(Bin(n, u) ≤ m).
fn cdf_below(cdf: f64, m: u32, n: u32, u: f64, v: f64) -> f64 {
    // cdf(n, m) = cdf(n−1, m−1) + v·pmf(n−1, m).
    if m >= n {
        return 1.0;
    }
    (cdf - v * binomial_with(m, n - 1, u, v)).clamp(0.0, 1.0)
}

fn binomial(k: u32, n: u32, p: f64) -> f64 {
    binomial_with(k, n, p, 1.0 - p)
}

fn binomial_with(k: u32, n: u32, p: f64, q: f64) -> f64 {
    if k > n {
        return 0.0;
    }
    let (k, n) = (f64::from(k), f64::from(n));
    let power = |base: f64, exponent: f64| if exponent == 0.0 { 0.0 } else { exponent * base.ln() };
    (ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0) + power(p, k) + power(q, n - k)).exp()
}

pub(crate) fn gamma_cdf(shape: f64, x: f64) -> f64 {
    // Far above, the series has nothing to add.
    if x > shape + 40.0 * shape.sqrt() + 100.0 { 1.0 } else { checked_gamma_lr(shape, x).unwrap_or(f64::NAN) }
}

/// E[(room − A)⁺] for A of a Gamma law with this mean and variance.
pub(crate) fn room_left(room: f64, mean: f64, variance: f64) -> f64 {
    if mean <= 0.0 || variance <= 1e-9 * mean * mean {
        return (room - mean).max(0.0);
    }
    let (shape, scale) = (mean * mean / variance, variance / mean);
    room * gamma_cdf(shape, room / scale) - mean * gamma_cdf(shape + 1.0, room / scale)
}

/// Σ_n (1/n) Σ_{J<k} Bin(J; N, h(n))·growth(n, J), up to a last step: by n steps a sequence has ended with probability h(n), which
/// comes with what else the growth needs to know of the step.
pub(crate) fn spitzer_sum<T>(
    batch: Batch,
    last: f64,
    ended_by: impl Fn(f64) -> (f64, T),
    growth: impl Fn(f64, &T, u32) -> f64,
) -> f64 {
    let (n, k) = (batch.seats(), batch.threshold());
    let (mut sum, mut step) = (0.0, 1.0);
    while step <= last {
        // The terms are smooth in n: later ones stand for their neighbours.
        let stride = f64::floor(step / 200.0).max(1.0);
        let middle = step + (stride - 1.0) / 2.0;
        let (ending, known) = ended_by(middle);
        let mean = f64::from(n) * ending;
        let spread = 8.0 * (mean * (1.0 - ending)).sqrt() + 8.0;
        let low = (mean - spread).max(0.0) as u32;
        if low >= k {
            break;
        }
        let high = (mean + spread).min(f64::from(k - 1)) as u32;
        let inner: f64 =
            (low..=high).map(|ended| binomial(ended, n, ending) * growth(middle, &known, ended)).sum();
        sum += inner * stride / middle;
        step += stride;
    }
    sum
}
