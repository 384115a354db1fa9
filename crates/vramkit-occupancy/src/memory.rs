//! How long a batch remembers what it held: after which time one step says next to nothing of another.
//!
//! Seats are independent, so the total is correlated over time as one seat is. Where outputs are much alike a seat's next requests end
//! when those before let expect it, for many requests: then this is long, however short a request.

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use crate::lengths::{Law, Lengths};
use crate::random::RandomStream;

/// Correlated less than this, two steps hardly say anything of each other.
const LITTLE: f64 = 0.15;
/// Values of the seat that is looked at, and how many of them a request has.
const VALUES: usize = 1 << 18;
const OF_A_REQUEST: f64 = 64.0;

impl Lengths {
    /// Steps after which what was held before hardly matters, where seats are always taken; `None` where that is longer than could be
    /// found out.
    pub(crate) fn memory(&self) -> Option<u64> {
        if self.requests().is_none() && self.cutting_cap().is_none() {
            return Some(self.time_left());
        }
        *self.memory.get_or_init(|| {
            let stride = (self.mean_output() / OF_A_REQUEST).max(1.0);
            let lag = last_correlated(&self.seat_over_time(stride))?;
            Some(self.time_left().max((1.2 * lag as f64 * stride).ceil() as u64))
        })
    }

    /// Three times what a sequence under way has left, or the mean output if that is longer.
    pub(crate) fn time_left(&self) -> u64 {
        let mean = self.mean_output();
        let left = match &self.law {
            Law::Geometric { .. } => mean,
            Law::Log(requests) => {
                let squares: f64 = requests.iter().map(|r| f64::from(r.output).powi(2)).sum();
                squares / requests.len() as f64 / (2.0 * mean)
            }
        };
        (3.0 * mean.max(left)).ceil() as u64
    }

    /// What one seat holds, each `stride` steps.
    fn seat_over_time(&self, stride: f64) -> Vec<f64> {
        let draws = self.draws();
        let mut stream = RandomStream::new(0x5ea7, 0);
        let (mut prompt, mut output) = draws.request(&mut stream);
        let (mut begun, mut at) = (0.0, 0.0);
        (0..VALUES)
            .map(|_| {
                at += stride;
                while at > begun + f64::from(output) {
                    begun += f64::from(output);
                    (prompt, output) = draws.request(&mut stream);
                }
                prompt + (at - begun)
            })
            .collect()
    }
}

/// The last lag at which values are correlated; `None` where they still are at a thirty-second of them. 0 of a constant.
fn last_correlated(values: &[f64]) -> Option<usize> {
    let count = values.len();
    let mean = values.iter().sum::<f64>() / count as f64;
    // As many zeros behind them, so that the end does not meet the beginning (Wiener and Khinchin).
    let mut padded: Vec<f64> = values.iter().map(|value| value - mean).collect();
    padded.resize(2 * count, 0.0);
    let mut planner = RealFftPlanner::new();
    let forward = planner.plan_fft_forward(2 * count);
    let mut spectrum = forward.make_output_vec();
    forward.process(&mut padded, &mut spectrum).expect("both have the plan's lengths");
    for value in &mut spectrum {
        *value = Complex::new(value.norm_sqr(), 0.0);
    }
    let backward = planner.plan_fft_inverse(2 * count);
    backward.process(&mut spectrum, &mut padded).expect("both have the plan's lengths");
    let variance = padded[0];
    if variance <= 1e-9 * mean * mean * (2 * count * count) as f64 {
        return Some(0);
    }
    let looked_at = count / 32;
    let last = (0..looked_at).rev().find(|&lag| padded[lag].abs() > LITTLE * variance).unwrap_or(0);
    (last < looked_at - looked_at / 16).then_some(last)
}
