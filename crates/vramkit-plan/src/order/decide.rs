//! Whether an order has at most so much live: a search that ends with an order, with a proof that there is none, or without an
//! answer.
//!
//! Depth first over sets of jobs done, from the set after which least is live; a set that led nowhere is not entered again,
//! however it is reached, since what can follow depends on the set alone.

use super::effort::Effort;
use super::net::{Bytes, Net};
use super::state::{Keys, State};

/// Sets that are remembered, at most: some 32 bytes each.
const SETS: usize = 2 << 20;

/// Words of all sets on the way from the first to the last, at most: 128 MiB.
const WORDS: usize = 16 << 20;

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An order.
    Order(Vec<usize>),
    /// No order has less than this live.
    None(Bytes),
    /// Effort ended it.
    Open,
}

/// A set on the way, and what has not been tried after it.
struct Frame {
    state: State,
    /// Bytes live after it, and the job; the best last.
    options: Vec<(Bytes, u32)>,
    /// Jobs done on the way up to here.
    length: usize,
}

impl Net {
    /// Looks for an order with at most so much live.
    pub(super) fn decide(&self, most: Bytes, effort: &mut Effort<'_>) -> Verdict {
        // The least that is beyond the limit: no order is between.
        let mut beyond = Bytes::MAX;
        if self.base > most {
            return Verdict::None(self.base);
        }
        let mut seen = Keys::default();
        let mut order = Vec::new();
        let mut state = State::new(self);
        if !state.settle(self, most, &mut order, effort) {
            return Verdict::Open;
        }
        if state.left == 0 {
            return Verdict::Order(order);
        }
        let size = |state: &State| state.ready.len() + self.jobs.len() / 64;
        let mut words = size(&state);
        let mut frames = vec![self.frame(state, most, order.len(), &mut beyond)];
        while let Some(frame) = frames.last_mut() {
            let Some((live, job)) = frame.options.pop() else {
                words -= size(&frame.state);
                frames.pop();
                continue;
            };
            order.truncate(frame.length);
            if seen.contains(&frame.state.key_with(job as usize)) {
                continue;
            }
            let mut state = frame.state.clone();
            let unsettled = state.key_with(job as usize);
            state.advance(self, job as usize, live);
            order.push(job as usize);
            if !state.settle(self, most, &mut order, effort) || seen.len() >= SETS || words >= WORDS {
                return Verdict::Open;
            }
            if state.left == 0 {
                return Verdict::Order(order);
            }
            let is_new = seen.insert(state.key);
            seen.insert(unsettled);
            if is_new {
                words += size(&state);
                frames.push(self.frame(state, most, order.len(), &mut beyond));
            }
        }
        Verdict::None(beyond)
    }

    fn frame(&self, state: State, most: Bytes, length: usize, beyond: &mut Bytes) -> Frame {
        let mut options = Vec::with_capacity(state.ready.len());
        for &job in &state.ready {
            let (during, after) = state.cost(self, job as usize);
            match during <= most {
                true => options.push((after, job)),
                false => *beyond = (*beyond).min(during),
            }
        }
        options.sort_unstable_by(|a, b| b.cmp(a));
        Frame { state, options, length }
    }
}
