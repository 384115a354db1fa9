//! Where the next request comes from: drawn each by itself, or in the log's own order.
//!
//! In its own order a log says more than its lengths: long requests come together, by the hour and by who sends them. The order is kept
//! within blocks of a random length that begin anywhere in the log (Politis and Romano, "The stationary bootstrap", 1994). They are as
//! long as a horizon where the log has eight of those, and never shorter than the likeness of requests that follow each other asks
//! for (Politis and White, "Automatic block-length selection for the dependent bootstrap", 2004, as corrected by Patton, Politis
//! and White, 2009).

use crate::lengths::{Draws, Lengths, RequestLengths};
use crate::random::RandomStream;

/// Blocks that a log must have to tell a horizon from others.
const OF_A_LOG: f64 = 8.0;

/// In which order requests come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Any of them may come at any time, whatever came before.
    #[default]
    Drawn,
    /// As they stand in the log, in blocks drawn from it.
    AsLogged,
}

/// Requests one after the other.
#[derive(Clone)]
pub(crate) struct Source<'a> {
    draws: Draws<'a>,
    /// The log and the mean length of a block of it, where its order is kept.
    log: Option<(&'a [RequestLengths], f64)>,
    at: usize,
    left: u64,
}

impl<'a> Source<'a> {
    /// Of lengths in an order: for so many seats, over a horizon of so many requests.
    pub(crate) fn new(lengths: &'a Lengths, order: Order, seats: u32, requests: f64) -> Self {
        let log = match order {
            Order::Drawn => None,
            Order::AsLogged => lengths.requests().map(|log| {
                // Those that are served at once must be able to be neighbours in the log.
                let least = block_length(log).max(2.0 * f64::from(seats));
                (log, least.max(requests.min(log.len() as f64 / OF_A_LOG)))
            }),
        };
        Self { draws: lengths.draws(), log, at: 0, left: 0 }
    }

    /// The mean length of a block, where the order is kept.
    pub(crate) fn block(&self) -> Option<f64> {
        self.log.map(|(_, block)| block)
    }

    /// The next request: its prompt and output.
    pub(crate) fn next(&mut self, stream: &mut RandomStream) -> (f64, u32) {
        let Some((log, block)) = self.log else { return self.draws.request(stream) };
        if self.left == 0 {
            self.at = stream.below(log.len());
            self.left = (stream.exponential() * block).ceil().max(1.0) as u64;
        }
        let request = log[self.at];
        self.at = (self.at + 1) % log.len();
        self.left -= 1;
        (f64::from(request.prompt), request.output)
    }

    /// The same with a prompt of a whole number of tokens.
    pub(crate) fn next_whole(&mut self, stream: &mut RandomStream) -> (u64, u64) {
        let (prompt, output) = self.next(stream);
        let part = prompt.fract();
        let more = part > 0.0 && stream.unit() <= part;
        (prompt as u64 + u64::from(more), output.into())
    }
}

/// The mean length of blocks that a log's order is kept in: by how much memory its requests take, over all of their tokens.
fn block_length(log: &[RequestLengths]) -> f64 {
    let taken = |request: &RequestLengths| {
        let (prompt, output) = (f64::from(request.prompt), f64::from(request.output));
        output * (prompt + (output + 1.0) / 2.0)
    };
    let count = log.len() as f64;
    let mean = log.iter().map(taken).sum::<f64>() / count;
    let off: Vec<f64> = log.iter().map(|request| taken(request) - mean).collect();
    let covariance =
        |lag: usize| off.iter().zip(&off[lag.min(off.len())..]).map(|(a, b)| a * b).sum::<f64>() / count;
    let variance = covariance(0);
    if variance <= 0.0 || log.len() < 8 {
        return 1.0;
    }
    // Likeness ends where several lags in a row show none.
    let little = 2.0 * (count.log10() / count).sqrt();
    let in_a_row = (count.log10().sqrt().ceil() as usize).max(5);
    let most = (log.len() / 4).min(2000);
    let mut last = 0;
    for lag in 1..most {
        if (covariance(lag) / variance).abs() > little {
            last = lag;
        } else if lag - last >= in_a_row {
            break;
        }
    }
    let reach = 2 * last.max(1);
    let window = |lag: usize| {
        let part = lag as f64 / reach as f64;
        if part <= 0.5 { 1.0 } else { (2.0 * (1.0 - part)).max(0.0) }
    };
    let (mut slope, mut whole) = (0.0, variance);
    for lag in 1..=reach {
        let weighed = window(lag) * covariance(lag);
        slope += 2.0 * lag as f64 * weighed;
        whole += 2.0 * weighed;
    }
    let length = (slope * slope / (whole * whole)).cbrt() * count.cbrt();
    if length.is_finite() { length.clamp(1.0, count / 2.0) } else { 1.0 }
}
