//! Why a model was not loaded, and why a sequence does not go on.

use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::orchestrator::BindError;
use vramkit::pool::PoolError;
use vramkit_models::ReadError;

use crate::attention::AttentionError;
use crate::text::{TemplateError, TokenizerError};

/// Why a model was not loaded. Nothing of it is left in the pool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read as a model.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No model of this name is where models are looked for.
    #[error("no model `{reference}`: {reason}")]
    NotFound {
        /// What was asked for.
        reference: String,
        /// Where it was looked for, and what would help.
        reason: String,
    },
    /// The architecture is not one that the engine computes.
    #[error("architecture `{architecture}` is not computed by this engine; it computes {known}")]
    Architecture {
        /// The file's.
        architecture: String,
        /// Those that are.
        known: String,
    },
    /// Something in the file contradicts itself, or asks for arithmetic that the engine does not have.
    #[error("{model}: {reason}")]
    Model {
        /// The file.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// The file's tokenizer cannot be used.
    #[error("{model}: {error}")]
    Tokenizer {
        /// The file.
        model: String,
        /// What is wrong.
        error: TokenizerError,
    },
    /// The engine cannot be set up so.
    #[error("{0}")]
    Config(String),
    /// The name is another model's.
    #[error("a model `{model}` is there already: take another name for this one, or unload that one first")]
    NameTaken {
        /// The name.
        model: String,
    },
    /// The pool has too little left. Nothing was committed.
    #[error(
        "model `{model}` needs {}, {} available on {device}: raise the limit, release or evict another model, or take a smaller \
         context, fewer sequences or a smaller step",
        required.beside(*available),
        available.beside(*required)
    )]
    InsufficientVram {
        /// Weights, working memory, and the KV cache of one sequence of one block at least.
        required: ByteSize,
        /// What could be granted.
        available: ByteSize,
        /// The device.
        device: String,
        /// The model.
        model: String,
    },
    /// The memory was there, and the weights are not: the file could not be read, or holds what is no number.
    #[error("model `{model}`: {reason}")]
    Weights {
        /// The model.
        model: String,
        /// Which tensor, where, and why.
        reason: String,
    },
    /// The orchestrator refused for another reason.
    #[error(transparent)]
    Bind(Box<BindError>),
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The memory is on a device that this processor does not compute on.
    #[error("{0}; the engine computes on the host")]
    Device(String),
}

/// Why a request was not taken, or an engine does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The sequence would be longer than the model's context.
    #[error(
        "a sequence of {length} tokens, and the context is {max}: shorten the prompt, or load the model with a longer context"
    )]
    ContextLengthExceeded {
        /// Tokens that it would have.
        length: usize,
        /// The most that it may have.
        max: usize,
    },
    /// There is nothing to continue.
    #[error("the prompt has no tokens; give it at least one")]
    EmptyPrompt,
    /// A token that the vocabulary does not have.
    #[error("token {token} is not in the vocabulary of {vocabulary}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// How many tokens there are.
        vocabulary: usize,
    },
    /// How tokens are to be chosen contradicts itself.
    #[error("{0}")]
    Sampling(String),
    /// A sequence alone needs more memory for keys and values than there is.
    #[error(
        "the keys and values of {tokens} tokens need {}, and {} may be had: a shorter context, a smaller cache type, or a larger pool",
        needed.beside(*available),
        available.beside(*needed)
    )]
    OutOfCache {
        /// Tokens that the sequence was to have.
        tokens: usize,
        /// What their blocks take.
        needed: ByteSize,
        /// What the sequence could hold.
        available: ByteSize,
    },
    /// What was computed for a sequence's next token is no number: weights or keys too large for the arithmetic.
    #[error(
        "the sequence has no token number {place}: what was computed for it is infinite or no number, so the weights are damaged"
    )]
    NotFinite {
        /// Which of the sequence's tokens it was to be, from 0.
        place: usize,
    },
    /// There is no chat template to put messages into.
    #[error(transparent)]
    Template(Arc<TemplateError>),
    /// A verb that needs a loaded model, or a prompt that has been read.
    #[error("{0}")]
    NotReady(&'static str),
    /// The model was evicted and could not be loaded again.
    #[error(
        "the model was evicted, and cannot be loaded again now (a later step tries again, when other models are at rest): {0}"
    )]
    NotLoaded(Arc<LoadError>),
    /// The arithmetic refused what it was given: a fault of this crate.
    #[error("a fault of the engine: {0}")]
    Arithmetic(AttentionError),
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<TemplateError> for AdapterError {
    fn from(error: TemplateError) -> Self {
        Self::Template(Arc::new(error))
    }
}
