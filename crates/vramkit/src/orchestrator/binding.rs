//! What a model holds while it is bound: a description that knows when it has ended.

use std::sync::{Arc, Weak};

use super::shared::Shared;
use super::stale::{Lease, StaleReason};
use crate::plan::{AllocationPlan, TensorLifetime};
use crate::units::ByteSize;

/// A bound model's memory, to be read and written by tensor. Not an owner: when the model is released, evicted, compacted
/// or degraded the binding is stale, and every use of it is a [`StaleBinding`](super::StaleBinding). It never reaches what is another's by then.
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
}
