//! One sequence: its tokens, how far they are computed, what it may still become.

use vramkit::pool::TagId;

use super::sampling::Sampling;
use crate::cache::SequenceBlocks;

/// Names a sequence of one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub(super) u64);

impl std::fmt::Display for SequenceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What is wanted of a sequence.
///
/// ```
/// use vramkit_llm::{Request, Sampling};
///
/// let request = Request { most_tokens: Some(64), top: 2, sampling: Sampling::default(), ..Request::default() };
/// # assert!(request.stop_at_end);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Most tokens to generate; up to the context when not given.
    pub most_tokens: Option<usize>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// How many of the most probable tokens to tell of at each place.
    pub top: usize,
    /// Whether a token that ends a text ends the sequence.
    pub stop_at_end: bool,
}

impl Default for Request {
    /// Greedy, to the end of the text or of the context.
    fn default() -> Self {
        Self { most_tokens: None, sampling: Sampling::default(), top: 0, stop_at_end: true }
    }
}

/// Why a sequence has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finish {
    /// It chose a token that ends a text.
    Stop,
    /// It has as many tokens as were asked for.
    Length,
    /// It has as many tokens as the context.
    Context,
}

impl std::fmt::Display for Finish {
    /// `stop`, `length`, `context`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Context => "context",
        })
    }
}

/// A sequence's state.
#[derive(Debug)]
pub(super) struct Sequence {
    pub id: SequenceId,
    /// Prompt, then what was generated.
    pub tokens: Vec<u32>,
    pub prompt: usize,
    /// How many of the tokens have their keys and values.
    pub computed: usize,
    /// Most tokens that it may have.
    pub most: usize,
    pub request: Request,
    pub blocks: SequenceBlocks,
    pub tag: TagId,
    /// Which place of the batch it has.
    pub seat: usize,
    /// Whether it has all its tokens.
    pub finished: bool,
}

impl Sequence {
    /// Why it may have no further token; `None` when it may.
    pub fn is_full(&self) -> Option<Finish> {
        let is_asked = self.request.most_tokens.is_some_and(|most| self.generated() >= most);
        match self.tokens.len() >= self.most {
            true if is_asked => Some(Finish::Length),
            true => Some(Finish::Context),
            false => None,
        }
    }

    /// Tokens that are to be computed before the next one can be chosen.
    pub fn remaining(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Whether what it began with, or had before it made way, is still to be computed.
    pub fn is_reading(&self) -> bool {
        self.computed < self.prompt || self.remaining() > 1
    }

    /// Most tokens of which keys and values are kept: nothing is computed behind the last one that is generated.
    pub fn most_computed(&self) -> usize {
        self.prompt.max(self.most.saturating_sub(1))
    }

    /// How many tokens it has generated.
    pub fn generated(&self) -> usize {
        self.tokens.len() - self.prompt
    }
}
