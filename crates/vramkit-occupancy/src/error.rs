//! What cannot be answered, and why.

use crate::limits::MAX_TOKENS;

/// Why there is no number. The first kinds are bad input; a [`Refused`](Self::Refused) number could be computed, but
/// nothing could stand behind it.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OccupancyError {
    /// A number is outside its range.
    #[error("{name} is {}: {expected}", short(*value))]
    OutOfRange {
        /// What it is.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What would do.
        expected: &'static str,
    },
    /// A threshold that a batch cannot reach.
    #[error("a threshold of {threshold} for a batch of {seats}: it must be at least 1 and at most the batch")]
    Threshold {
        /// Sequences that must have ended.
        threshold: u32,
        /// Sequences in the batch.
        seats: u32,
    },
    /// There is no request to learn from.
    #[error("no requests: lengths need at least one")]
    NoRequests,
    /// A request that cannot be served.
    #[error(
        "request {number}: {prompt} prompt tokens and {output} output tokens; each must be 1 to {}",
        MAX_TOKENS
    )]
    RequestLengths {
        /// Which, from 1.
        number: usize,
        /// Its prompt, tokens.
        prompt: u64,
        /// Its output, tokens.
        output: u64,
    },
    /// A request larger than the memory: it can never be served.
    #[error(
        "a capacity of {capacity} tokens cannot hold one request of {needed} tokens; give at least that many or cap the output"
    )]
    RequestTooLarge {
        /// Tokens of memory.
        capacity: f64,
        /// Tokens of the request.
        needed: f64,
    },
    /// A number that could be computed but not stood behind.
    #[error("{what}: refused, because {why}; {instead}")]
    Refused {
        /// What was asked.
        what: String,
        /// Why there is no answer.
        why: String,
        /// The way out.
        instead: String,
    },
}

/// As people write it.
fn short(value: f64) -> String {
    if value != 0.0 && value.is_finite() && !(1e-6..1e15).contains(&value.abs()) {
        return format!("{value:e}");
    }
    value.to_string()
}

pub(crate) fn finite(
    name: &'static str,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
    expected: &'static str,
) -> Result<f64, OccupancyError> {
    if range.contains(&value) { Ok(value) } else { Err(OccupancyError::OutOfRange { name, value, expected }) }
}
