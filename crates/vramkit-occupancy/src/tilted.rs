//! Requests under way, drawn with a weight of e^(t·held): the samples that importance sampling needs.

use crate::lengths::{Draws, Law, Lengths};
use crate::random::RandomStream;

/// The law of a request under way and its age, tilted by the tokens that it holds.
pub(crate) struct Tilted<'a> {
    lengths: &'a Lengths,
    draws: Draws<'a>,
    tilt: f64,
    /// Tokens at which weights are 1, so that none overflows.
    origin: f64,
    /// For a log: sums of its requests' weights.
    sums: Vec<f64>,
    /// For each of as many equal parts of all the weight, the first request whose sum reaches it: where to begin looking
    /// (Chen and Asau, "On generating random variates from an empirical distribution", 1974).
    guide: Vec<u32>,
}

impl<'a> Tilted<'a> {
    pub(crate) fn new(lengths: &'a Lengths, tilt: f64) -> Self {
        let origin = lengths.largest().unwrap_or(0.0);
        let mut tilted =
            Self { lengths, draws: lengths.draws(), tilt, origin, sums: Vec::new(), guide: Vec::new() };
        let mut sum = 0.0;
        tilted.sums = tilted
            .weights()
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        let count = tilted.sums.len();
        let mut first = 0;
        tilted.guide = (0..count)
            .map(|part| {
                while tilted.sums[first] < sum * part as f64 / count as f64 {
                    first += 1;
                }
                first as u32
            })
            .collect();
        tilted
    }

    pub(crate) fn tilt(&self) -> f64 {
        self.tilt
    }

    /// What a log's weights are to be multiplied with.
    pub(crate) fn scale(&self) -> f64 {
        (self.tilt * self.origin).exp()
    }

    /// For each request of a log Σ_a e^(t(L + a)), 1 ≤ a ≤ O, over [`scale`](Self::scale). None for a formula.
    pub(crate) fn weights(&self) -> impl Iterator<Item = f64> {
        let requests = self.lengths.requests().unwrap_or_default();
        requests.iter().map(|request| {
            let (prompt, output) = (f64::from(request.prompt), f64::from(request.output));
            weight(self.tilt, prompt, output, self.origin)
        })
    }

    /// E[e^(t·held)], by how much more sequences there are when their number varies.
    pub(crate) fn factor(&self) -> f64 {
        match &self.lengths.law {
            Law::Log(requests) => {
                let sum = self.sums.last().copied().unwrap_or(0.0);
                sum * self.scale() / requests.len() as f64 / self.lengths.mean_output()
            }
            Law::Geometric { prompt, termination } => {
                let slope = self.tilt + (-termination).ln_1p();
                let ages = match self.lengths.max_output {
                    // Σ_a r^(a−1), from the end that weighs most.
                    Some(cap) if slope > 0.0 => {
                        geometric_sum(slope, cap.into()) * (slope * f64::from(cap - 1)).exp()
                    }
                    Some(cap) => geometric_sum(-slope, cap.into()),
                    None => 1.0 / -slope.exp_m1(),
                };
                let part = prompt.fract();
                let prompts = (self.tilt * prompt.floor()).exp() * (1.0 + part * self.tilt.exp_m1());
                prompts * self.tilt.exp() * ages / self.lengths.mean_output()
            }
        }
    }

    /// A prompt, an output, and how many of its tokens are there.
    pub(crate) fn draw(&self, stream: &mut RandomStream) -> (u64, u32, u32) {
        match &self.lengths.law {
            Law::Log(requests) => {
                let last = requests.len() - 1;
                let part = stream.unit();
                let at = part * self.sums[last];
                let mut i = self.guide[((part * requests.len() as f64) as usize).min(last)] as usize;
                // Rounding may have put the beginning one too far.
                i = i.saturating_sub(usize::from(i > 0 && self.sums[i - 1] >= at));
                while i < last && self.sums[i] < at {
                    i += 1;
                }
                let request = requests[i];
                (request.prompt.into(), request.output, age(stream, self.tilt, request.output))
            }
            Law::Geometric { prompt, termination } => {
                let part = prompt.fract() * self.tilt.exp();
                let more = u64::from(stream.unit() * (1.0 - prompt.fract() + part) <= part && part > 0.0);
                let cap = self.lengths.max_output.unwrap_or(u32::MAX);
                let slope = self.tilt + (-termination).ln_1p();
                let age = age(stream, slope, cap);
                // A geometric output that has come so far goes on as a new one would.
                let output = (age - 1).saturating_add(self.draws.geometric(stream)).min(cap);
                (*prompt as u64 + more, output, age)
            }
        }
    }
}

/// Σ_a e^(t(L + a − origin)), 1 ≤ a ≤ O.
pub(crate) fn weight(tilt: f64, prompt: f64, output: f64, origin: f64) -> f64 {
    (tilt * (prompt + output - origin)).exp() * geometric_sum(tilt, output)
}

/// 1 + e^(−t) + … + e^(−t(n−1)).
fn geometric_sum(t: f64, n: f64) -> f64 {
    if t.abs() < 1e-12 { n } else { (-t * n).exp_m1() / (-t).exp_m1() }
}

/// One of 1, …, n, drawn with weights e^(ta).
fn age(stream: &mut RandomStream, t: f64, n: u32) -> u32 {
    let (u, last) = (stream.unit(), f64::from(n));
    let age = if (t * last).abs() < 1e-9 {
        u * last
    } else if t > 0.0 {
        // From the upper end, where nothing overflows.
        last + (u + (1.0 - u) * (-t * last).exp()).ln() / t
    } else {
        (u * (t * last).exp_m1()).ln_1p() / t
    };
    (age.ceil().clamp(1.0, last)) as u32
}
