//! Threshold batching with geometric outputs that are cut off, in its fluid limit.
//!
//! With many seats a cycle is always τ steps, and at its start the sequences that began j cycles ago are θ·P(O > jτ) of all. They are all
//! there, θ·Σ_j P(O > jτ) = 1, which gives τ. Without a cap it is τ = ln(1/(1−θ))/−ln(1−p), and E\[X0\] that of [`Exact::fluid_x0`](crate::Exact), where
//! p stands for −ln(1−p).
//!
//! It holds while few are cut off: within 4 % for up to three in ten and 32 seats or more (`tests/threshold.rs`). Where most are,
//! sequences that begin together end together, cycles are long and short in turn, and only a simulation says what is held. κ alone is
//! less sure than E\[X0\] + κ.
//!
//! The peak is the same Spitzer-type sum as without a cap, but a sequence that is cut off is an old one: by n steps a share h(n) has
//! ended, of which those whose age was beyond the cap less n were cut off.

use crate::batch::Batch;
use crate::exact::{Exact, room_left, spitzer_sum};

/// E\[X0\] and κ before free by the corrected closed forms, tokens: those of geometric outputs, or of ones that are cut off at a cap.
pub fn corrected(exact: &Exact, cap: Option<u32>) -> [f64; 2] {
    let Some(cap) = cap else { return [exact.fluid_x0(), exact.kappa()] };
    let (batch, prompt, variance, termination) = exact.of();
    let capped = CappedOutputs::new(batch, prompt, variance, termination, cap);
    [capped.x0(), capped.kappa()]
}

/// Sequences of this share of a batch are not looked for.
const NEGLIGIBLE: f64 = 1e-12;

/// X0 and κ for geometric outputs that are cut off at a number of tokens.
///
/// ```
/// use vramkit_occupancy::{Batch, CappedOutputs, Exact};
///
/// let batch = Batch::new(32, 6)?;
/// let far = CappedOutputs::new(batch, 100.0, 0.0, 0.01, 100_000);
/// assert!((far.x0() / Exact::new(batch, 100.0, 0.0, 0.01).fluid_x0() - 1.0).abs() < 0.005);
/// assert!(CappedOutputs::new(batch, 100.0, 0.0, 0.01, 50).x0() < far.x0());
/// # Ok::<(), vramkit_occupancy::OccupancyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CappedOutputs {
    batch: Batch,
    prompt: f64,
    prompt_variance: f64,
    termination: f64,
    cap: f64,
    tau: f64,
    /// Of those that are at most so many cycles old: their share, and the first two moments of their ages times it.
    younger: Vec<[f64; 3]>,
}

impl CappedOutputs {
    /// For prompts with this mean and variance, independent of outputs that end with probability `termination` a token, and are cut
    /// off at `cap` tokens.
    pub fn new(batch: Batch, prompt: f64, prompt_variance: f64, termination: f64, cap: u32) -> Self {
        let cap = f64::from(cap);
        let lasting = |age: f64| if age < cap { (age * (-termination).ln_1p()).exp() } else { 0.0 };
        let theta = batch.theta();
        let shares = |tau: f64| {
            let share = move |cycles: u32| theta * lasting(f64::from(cycles) * tau);
            (0..).map(share).take_while(|share| *share > NEGLIGIBLE)
        };
        // Of the whole batch's replacing nobody is older than a cycle.
        let (mut low, mut high) = (cap * theta / 2.0, cap);
        while theta < 1.0 && low > f64::MIN_POSITIVE && shares(low).sum::<f64>() < 1.0 {
            (low, high) = (low / 2.0, low);
        }
        for _ in 0..if theta < 1.0 { 100 } else { 0 } {
            let middle = 0.5 * (low + high);
            if shares(middle).sum::<f64>() >= 1.0 { low = middle } else { high = middle }
        }
        let tau = if theta < 1.0 { low } else { cap };
        // Where the cap falls on a whole number of cycles, there is a little more or less than all.
        let all: f64 = shares(tau).sum();
        let mut sums = [0.0; 3];
        let younger = shares(tau).zip(0u32..).map(|(share, cycles)| {
            let age = f64::from(cycles) * tau;
            sums = [sums[0] + share / all, sums[1] + share / all * age, sums[2] + share / all * age * age];
            sums
        });
        let younger = younger.collect();
        Self { batch, prompt, prompt_variance, termination, cap, tau, younger }
    }

    /// E\[X0\], tokens.
    pub fn x0(&self) -> f64 {
        let mean_age = self.younger.last().map_or(0.0, |all| all[1]);
        f64::from(self.batch.seats()) * (self.prompt + mean_age)
    }

    /// κ before free, tokens.
    pub fn kappa(&self) -> f64 {
        let n = f64::from(self.batch.seats());
        let ended_by = |step: f64| {
            let (ending, age, age_square) = self.ended(step);
            (ending, [age, age_square - age * age + self.prompt_variance])
        };
        let growth = |step: f64, &[age, variance]: &[f64; 2], ended: u32| {
            let j = f64::from(ended);
            let room = (n - j) * step - j * self.prompt;
            if room <= 0.0 { 0.0 } else { room_left(room, j * age, j * variance) }
        };
        spitzer_sum(self.batch, self.cap, ended_by, growth) + n
    }

    /// The share that has ended by so many steps, and the first two moments of the ages that it had.
    fn ended(&self, steps: f64) -> (f64, f64, f64) {
        let ending = -(steps * (-self.termination).ln_1p()).exp_m1();
        // Younger than this no sequence has reached the cap.
        let count = ((self.cap - steps) / self.tau).ceil().max(0.0) as usize;
        let young = match count.min(self.younger.len()) {
            0 => [0.0; 3],
            count => self.younger[count - 1],
        };
        let all = self.younger.last().copied().unwrap_or([1.0, 0.0, 0.0]);
        let [share, age, square] = [0, 1, 2].map(|at| ending * young[at] + all[at] - young[at]);
        if share <= 0.0 { (0.0, 0.0, 0.0) } else { (share.min(1.0), age / share, square / share) }
    }
}
