//! Why there is no report.

use std::path::PathBuf;
use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::pool::PoolError;
use vramkit_llm::{AdapterError, LoadError};
use vramkit_models::ReadError;
use vramkit_occupancy::OccupancyError;

/// Why there is no report. A prediction that does not hold is an answer, not one of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The model cannot be loaded, for lack of memory too.
    #[error(transparent)]
    Load(Box<LoadError>),
    /// The engine refused what it must take, or a sequence failed that has room.
    #[error(transparent)]
    Engine(Arc<AdapterError>),
    /// The pool refused what it must grant.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A number that cannot be.
    #[error("{0}")]
    Question(String),
    /// A batch or a threshold that cannot be.
    #[error(transparent)]
    Occupancy(#[from] OccupancyError),
    /// The data set is of another kind.
    #[error("{file} has {found}, and {asked} was asked for")]
    OtherKind {
        /// The file.
        file: String,
        /// What it has.
        found: &'static str,
        /// What was asked for.
        asked: &'static str,
    },
    /// No prompt can be used.
    #[error("{file}: none of its {rows} requests can be used: {why}")]
    NoPrompts {
        /// The file.
        file: String,
        /// How many there are.
        rows: usize,
        /// Why.
        why: String,
        /// Whether a longer context would help.
        too_long: bool,
    },
    /// The model has nothing to say to any prompt.
    #[error(
        "{model} ended its answer to each of {requests} prompts in a row with its first token, so nothing decodes"
    )]
    NothingDecodes {
        /// The model.
        model: String,
        /// How many prompts.
        requests: u64,
    },
    /// The longest request would not fit into the cache alone.
    #[error("the longest sequence, of {tokens} tokens, needs {} of keys and values, and they are limited to {}", needed.beside(*limit), limit.beside(*needed))]
    KvLimit {
        /// What there may be.
        limit: ByteSize,
        /// What it takes.
        needed: ByteSize,
        /// Its tokens.
        tokens: usize,
    },
    /// Who was told of the progress ended it.
    #[error("stopped after {done} of {cycles} cycles{}", journal.as_ref().map_or_else(String::new, |path| format!("; the same command goes on from `{}`", path.display())))]
    Stopped {
        /// Cycles that are done.
        done: usize,
        /// In all.
        cycles: usize,
        /// Where they are noted.
        journal: Option<PathBuf>,
    },
    /// The journal cannot be read or written.
    #[error("`{}`: {error}", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The journal is of another experiment.
    #[error(
        "`{}` has {cycles} cycles of an experiment with another {what}: go on with that one, take another folder, or remove the file",
        path.display()
    )]
    OtherExperiment {
        /// The file.
        path: PathBuf,
        /// Cycles noted in it.
        cycles: usize,
        /// What differs.
        what: String,
    },
    /// Somebody else writes the journal.
    #[error("`{}` is being written by another run", .0.display())]
    Busy(PathBuf),
}

impl From<LoadError> for ValidateError {
    fn from(error: LoadError) -> Self {
        Self::Load(Box::new(error))
    }
}

impl From<AdapterError> for ValidateError {
    fn from(error: AdapterError) -> Self {
        Self::Engine(Arc::new(error))
    }
}
