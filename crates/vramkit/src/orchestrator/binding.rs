//! What a model holds while it is bound, and why it could not be.

use std::sync::{Arc, Weak};

use super::Shared;
use super::access::AccessError;
use super::guard::RunGuard;
use super::stale::{Lease, StaleBinding, StaleReason};
use crate::plan::{AllocationPlan, TensorLifetime};
use crate::pool::PoolError;
use crate::pressure::PressureLevel;
use crate::units::ByteSize;

/// A bound model's memory, to be read and written by tensor. Not an owner: when the model is released, evicted, compacted
/// or degraded the binding is stale, and every use of it is a [`StaleBinding`]. It never reaches what is another's by then.
///
/// While a read or write is under way, and while the model [runs](Self::begin), no policy touches its memory. Addresses
/// are to be had while it runs alone.
#[derive(Clone, Debug)]
pub struct MemoryBinding {
    /// The model.
    pub model: Arc<str>,
    /// The plan that its offsets are in.
    pub plan: Arc<AllocationPlan>,
    pub(super) lease: Lease,
    pub(super) shared: Weak<Shared>,
}

impl MemoryBinding {
    /// The model's tensors, each with its offset in the plan's arena.
    pub fn tensors(&self) -> impl Iterator<Item = (&TensorLifetime, ByteSize)> + '_ {
        self.plan.tensors_of(&self.model)
    }

    /// What ended this binding; `None` while it holds.
    pub fn stale(&self) -> Option<StaleReason> {
        let orphaned = self.shared.strong_count() == 0;
        self.lease.ended().or_else(|| orphaned.then_some(StaleReason::Released))
    }

    /// Marks the model as running until the guard is dropped: it counts as just used, and no policy touches it.
    pub fn begin(&self) -> Result<RunGuard, StaleBinding> {
        let begun = self.shared.upgrade().and_then(|shared| RunGuard::begin(shared, self));
        begun.ok_or_else(|| StaleBinding {
            model: self.model.clone(),
            why: self.stale().unwrap_or(StaleReason::Released),
        })
    }

    /// Writes bytes to the start of a tensor.
    pub fn write(&self, tensor: &str, bytes: &[u8]) -> Result<(), AccessError> {
        self.begin()?.write(tensor, 0, bytes)
    }

    /// Reads bytes from the start of a tensor.
    pub fn read(&self, tensor: &str, into: &mut [u8]) -> Result<(), AccessError> {
        self.begin()?.read(tensor, 0, into)
    }

    /// Fills a tensor with a pattern of four bytes.
    pub fn fill(&self, tensor: &str, pattern: u32) -> Result<(), AccessError> {
        self.begin()?.fill(tensor, pattern)
    }

    /// Writes bytes into the weights, from a byte of them on.
    pub fn write_weights(&self, offset: u64, bytes: &[u8]) -> Result<(), AccessError> {
        self.begin()?.write_weights(offset, bytes)
    }

    /// Reads bytes of the weights, from a byte of them on.
    pub fn read_weights(&self, offset: u64, into: &mut [u8]) -> Result<(), AccessError> {
        self.begin()?.read_weights(offset, into)
    }

    /// Fills the weights with a pattern of four bytes.
    pub fn fill_weights(&self, pattern: u32) -> Result<(), AccessError> {
        self.begin()?.fill_weights(pattern)
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
        /// What the loader said, or that it panicked.
        reason: String,
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
