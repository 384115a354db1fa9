//! What is put under pressure, and why there is no answer.

use std::ffi::OsString;
use std::path::PathBuf;

use vramkit::ByteSize;
use vramkit::pool::PoolError;
use vramkit_llm::{AdapterError, LoadError};
use vramkit_models::ReadError;
use vramkit_testing::gguf::TestModelError;

/// What is put under pressure.
///
/// ```
/// use vramkit_stress::StressQuestion;
///
/// let question = StressQuestion { context: Some(1024), prove: true, ..StressQuestion::default() };
/// # assert!(question.model.is_none());
/// ```
#[derive(Clone, Debug, Default)]
pub struct StressQuestion {
    /// A GGUF file; one of Phi-3's shape is made when there is none: 32 layers of 32 heads × 96, 393,216 bytes a token at f16.
    pub model: Option<PathBuf>,
    /// Most bytes that a check may take; what it needs when not given.
    pub capacity: Option<ByteSize>,
    /// Tokens of the context; 4,096, or the model's where that is less.
    pub context: Option<usize>,
    /// Threads that compute; all processors when not given.
    pub threads: Option<usize>,
    /// Runs each check once more with its fault put in.
    pub prove: bool,
    /// Prompts are drawn by this, and the weights of a model that is made.
    pub seed: u64,
    /// A program that takes as many bytes of memory as its last argument says, writes a line when it has them, and ends when its
    /// standard input does. The check of a neighbour is left out when there is none.
    pub neighbour: Option<Vec<OsString>>,
}

/// Why there is no report. A check that finds a fault is an answer, not one of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StressError {
    /// The model cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The model cannot be loaded at all.
    #[error(transparent)]
    Load(Box<LoadError>),
    /// The model cannot be made.
    #[error("the model of Phi-3's shape could not be made: {0}")]
    Model(#[from] TestModelError),
    /// The context is too short for the checks.
    #[error("a context of {context} tokens is too short to be put under pressure: {least} at least")]
    Context {
        /// Tokens asked for.
        context: usize,
        /// The fewest.
        least: usize,
    },
    /// There is too little memory for a check.
    #[error("the check `{check}` needs {}, {} available on {device}: a shorter context or a smaller model takes less", needed.beside(*available), available.beside(*needed))]
    Memory {
        /// Which.
        check: &'static str,
        /// What it takes at most.
        needed: ByteSize,
        /// What there is.
        available: ByteSize,
        /// The device.
        device: String,
    },
    /// A sequence failed where there is room for it.
    #[error("the check `{check}`: a sequence that has room failed: {why}")]
    Refused {
        /// Which.
        check: &'static str,
        /// What the engine said.
        why: String,
    },
    /// The engine refused what it must take.
    #[error(transparent)]
    Engine(#[from] AdapterError),
    /// The pool refused what it must grant.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A file or a program of the checks' own failed.
    #[error("{what}: {error}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
}

impl From<LoadError> for StressError {
    fn from(error: LoadError) -> Self {
        Self::Load(Box::new(error))
    }
}
