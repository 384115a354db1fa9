//! What a model holds while it is bound, and why it could not be.

use std::sync::Arc;

use super::held::Place;
use crate::device::AddressRange;
use crate::plan::AllocationPlan;
use crate::pool::PoolError;
use crate::pressure::PressureLevel;
use crate::units::ByteSize;

/// Where a bound model's memory is. A description, not an owner: it is of use until the model is released,
/// evicted, compacted or degraded, none of which happens while the model [runs](super::RunGuard).
#[derive(Clone, Debug)]
pub struct MemoryBinding {
    /// The model.
    pub model: Arc<str>,
    /// The plan that its offsets are in.
    pub plan: Arc<AllocationPlan>,
    /// The arena, shared with the plan's other models; `None` when the plan needs none.
    pub arena: Option<AddressRange>,
    /// The model's parameters; `None` when it has none.
    pub weights: Option<AddressRange>,
    /// Both, as the pool knows them.
    pub(super) places: [Option<Place>; 2],
}

impl MemoryBinding {
    /// The model's tensors, each with its place on the device. Tensors without bytes have none.
    pub fn tensors(&self) -> impl Iterator<Item = (&crate::plan::TensorLifetime, AddressRange)> + '_ {
        self.plan.tensors_of(&self.model).filter_map(|(tensor, offset)| {
            let place = self.arena?.part(offset.bytes(), tensor.size)?;
            (!tensor.size.is_zero()).then_some((tensor, place))
        })
    }
}

/// Why a model was not bound. Nothing has changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
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
        "model `{model}` needs {needed}, {available} of {capacity} available; release or evict {} more, or plan with \
         fewer models",
        needed.saturating_sub(*available)
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
    /// The pool failed for another reason.
    #[error("model `{model}`: {error}")]
    Pool {
        /// The model.
        model: Arc<str>,
        /// What the pool said.
        error: PoolError,
    },
}
