//! What a step tells of its sequences.

use std::sync::Arc;

use super::sampling::TokenProbability;
use super::sequence::{Finish, SequenceId};
use crate::error::AdapterError;

/// What a step did with a sequence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StepEvent {
    /// A token was chosen.
    Token {
        /// Of which sequence.
        sequence: SequenceId,
        /// The token.
        token: u32,
        /// The most probable tokens at its place, as many as were asked for, the most probable first.
        top: Vec<TokenProbability>,
    },
    /// It has all its tokens.
    Finished {
        /// Which sequence.
        sequence: SequenceId,
        /// Why.
        finish: Finish,
    },
    /// It made way for others, and will be computed again.
    Preempted {
        /// Which sequence.
        sequence: SequenceId,
    },
    /// It ended without its next token. The others go on.
    Failed {
        /// Which sequence.
        sequence: SequenceId,
        /// Why.
        error: Arc<AdapterError>,
    },
}
