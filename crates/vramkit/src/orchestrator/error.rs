//! Why a model could not be bound.

use std::sync::Arc;

use super::load::NotLoadedReason;
use crate::pool::PoolError;
use crate::pressure::PressureLevel;
use crate::units::ByteSize;

/// Why a model was not bound. Nothing has changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// It is bound, perhaps by another plan.
    #[error("model `{0}` is bound already; release it first")]
    AlreadyBound(Arc<str>),
    /// The plan has no such model.
    #[error("the plan was not made for model `{model}`; it is for {planned}")]
    NotInPlan {
        /// The model.
        model: Arc<str>,
        /// The models that the plan is for.
        planned: String,
    },
    /// The pool has too little left.
    #[error(
        "model `{model}` needs {}, {} of {capacity} available; {}",
        needed.beside(*available),
        available.beside(*needed),
        way_out(*needed, *available)
    )]
    InsufficientMemory {
        /// The model.
        model: Arc<str>,
        /// What its binding would take.
        needed: ByteSize,
        /// What the pool has left.
        available: ByteSize,
        /// Most that the pool grants.
        capacity: ByteSize,
    },
    /// New bindings are refused at this level of pressure.
    #[error(
        "model `{model}` is refused: {used} of {capacity} used, pressure is {level} (from {threshold:.2} of the \
         capacity on); try again when it has fallen"
    )]
    Rejected {
        /// The model.
        model: Arc<str>,
        /// Granted in the pool.
        used: ByteSize,
        /// Most that the pool grants.
        capacity: ByteSize,
        /// The level.
        level: PressureLevel,
        /// The fraction from which on the level holds.
        threshold: f64,
    },
    /// Its loader did not bring its weights.
    #[error(
        "the {weights} of weights of model `{model}` were not loaded: {reason}; its memory was given back, bind it again \
         when the loader can"
    )]
    NotLoaded {
        /// The model.
        model: Arc<str>,
        /// Its weights.
        weights: ByteSize,
        /// What the loader said, where copying failed, or that it panicked.
        reason: NotLoadedReason,
    },
    /// The pool failed for another reason.
    #[error("model `{model}`: {error}")]
    Pool {
        /// The model.
        model: Arc<str>,
        /// What the pool said.
        error: PoolError,
    },
}

/// What makes room for so many bytes.
fn way_out(needed: ByteSize, available: ByteSize) -> String {
    match needed.saturating_sub(available) {
        ByteSize::ZERO => {
            "but in pieces, or not at the alignment that is asked for: compact or evict, or ask for a lesser alignment".to_owned()
        }
        more => format!("release or evict {more} more, or plan with fewer models"),
    }
}
