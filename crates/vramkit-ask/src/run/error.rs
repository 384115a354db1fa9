//! Why a run did not end.

use vramkit::orchestrator::ExecutionError;
use vramkit::plan::LifetimeError;
use vramkit::pool::PoolError;
use vramkit::pressure::LadderError;

use super::shortage::CapacityShortage;

/// Why a run did not end. Everything was released.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The lifetimes cannot be planned.
    #[error(transparent)]
    Lifetimes(#[from] LifetimeError),
    /// The ladder makes no sense.
    #[error("pressure: {0}")]
    Ladder(#[from] LadderError),
    /// The plan does not fit.
    #[error(transparent)]
    Capacity(#[from] CapacityShortage),
    /// The pool could not be made, or not trimmed.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A model could not be bound or executed.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
}
