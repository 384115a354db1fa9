//! What a plan fails its check with.

use std::sync::Arc;

use vramkit_units::ByteSize;

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanFault {
    /// The plan has no place for a tensor.
    #[error("tensor `{id}` of `{model}` is not in the plan")]
    Missing {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
    },
    /// The plan was made for another life or size of a tensor.
    #[error("tensor `{id}` of `{model}` is not the one that the plan was made for")]
    Changed {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
    },
    /// A tensor does not end inside the arena.
    #[error("tensor `{id}` of `{model}` ends outside the arena of {arena}")]
    OutOfBounds {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
        /// The arena.
        arena: ByteSize,
    },
    /// An offset is not a multiple of its tensor's alignment, or not where its pin or alias group has it.
    #[error("tensor `{id}` of `{model}` is at {}, against its alignment, its pin or its alias group", offset.bytes())]
    Misplaced {
        /// The model.
        model: Arc<str>,
        /// The tensor.
        id: Arc<str>,
        /// Its offset.
        offset: ByteSize,
    },
    /// Two tensors are live together and overlap in addresses.
    #[error("`{}` of `{}` and `{}` of `{}` are live together and overlap in addresses", .0.1, .0.0, .1.1, .1.0)]
    Overlap((Arc<str>, Arc<str>), (Arc<str>, Arc<str>)),
}
