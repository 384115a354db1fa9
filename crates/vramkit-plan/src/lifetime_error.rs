//! Why lifetimes cannot be planned: always with the model and the tensor.

use std::sync::Arc;

use vramkit_units::{ByteSize, Step};

use super::fault::PlanFault;

/// Why lifetimes cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LifetimeError {
    /// A lifetime ends before it starts.
    #[error("tensor `{id}` of `{model}` ends at {end}, before its start at {start}")]
    EndBeforeStart {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
        /// Its first step.
        start: Step,
        /// One past its last step.
        end: Step,
    },
    /// Two tensors of one model have the same id.
    #[error("tensor `{id}` of `{model}` is there twice; ids name one tensor each")]
    DuplicateId {
        /// The model.
        model: Arc<str>,
        /// The id.
        id: Arc<str>,
    },
    /// Two models have the same name.
    #[error("model `{0}` is there twice; give each its own name")]
    DuplicateModel(Arc<str>),
    /// An alignment is not a power of two.
    #[error("tensor `{id}` of `{model}` has alignment {alignment}, which is not a power of two")]
    Alignment {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
        /// The alignment.
        alignment: u64,
    },
    /// A gap lies outside the lifetime, touches another, or begins or ends it.
    #[error(
        "tensor `{id}` of `{model}` has a gap [{}, {}); gaps lie inside the life, ascending and apart",
        start.0,
        end.0
    )]
    Gap {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
        /// The gap's first step.
        start: Step,
        /// One past its last step.
        end: Step,
    },
    /// A read lies outside the lifetime, or in a gap of it.
    #[error(
        "tensor `{id}` of `{model}` is read at {read}, outside its life [{}, {}) or in a gap of it",
        start.0,
        end.0
    )]
    ReadOutsideLife {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
        /// The step of the read.
        read: Step,
        /// Its first step.
        start: Step,
        /// One past its last step.
        end: Step,
    },
    /// The sizes and weights, with what alignments and pins may add, pass 2^64 bytes.
    #[error(
        "the sizes, with what alignments and pins may add, come to more than 2^64 - 1 bytes (at tensor `{id}` of `{model}`)"
    )]
    TooLarge {
        /// The model.
        model: Arc<str>,
        /// The tensor at which the sum passed the limit.
        id: Arc<str>,
    },
    /// The weights, with all sizes before them, pass 2^64 bytes.
    #[error(
        "the weights of model `{model}`, {} bytes, and all sizes before them add up to more than 2^64 - 1 bytes",
        weights.bytes()
    )]
    WeightsTooLarge {
        /// The model.
        model: Arc<str>,
        /// Its weights.
        weights: ByteSize,
    },
    /// A step passes 2^64 when models are put on one clock.
    #[error("the steps of model `{0}` pass 2^64 on the common clock; lower its start")]
    ClockOverflow(Arc<str>),
    /// A pinned offset contradicts the tensor's alignment, its group's other pins, or another pinned tensor.
    #[error("tensor `{id}` of `{model}` cannot be pinned at offset {}: {reason}", offset.bytes())]
    Pin {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
        /// Where it is pinned.
        offset: ByteSize,
        /// What is in the way.
        reason: String,
    },
    /// A plan was made that fails its own check, and is not given out. Nothing is wrong with the lifetimes.
    #[error("internal error: the plan by {method} fails its check: {fault}; please report it with the input")]
    Unsound {
        /// What made the plan.
        method: String,
        /// What is wrong with it.
        fault: Box<PlanFault>,
    },
}
