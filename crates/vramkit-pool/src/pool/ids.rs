//! Numbers that stand for what a pool knows: owners, tags, allocations.

use std::fmt;

use super::blocks::BlockId;

/// An owner that a pool has been told of; see [`DeviceMemoryPool::owner`](super::DeviceMemoryPool::owner).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerId {
    pub(super) number: u16,
    pub(super) generation: u16,
}

impl OwnerId {
    /// Nobody in particular.
    pub const NONE: Self = Self { number: 0, generation: 0 };

    /// There was no number left for the owner: refused wherever it is used.
    pub(super) const TOO_MANY: Self = Self { number: u16::MAX, generation: 0 };
}

/// A tag that a pool has been told of; see [`DeviceMemoryPool::tag`](super::DeviceMemoryPool::tag).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TagId(pub(super) u16);

impl TagId {
    /// No tag.
    pub const NONE: Self = Self(0);

    /// There was no number left for the tag.
    pub(super) const TOO_MANY: Self = Self(u16::MAX);
}

/// Names an allocation without keeping it: for engines that carry plain numbers. Once released, an id stays
/// unknown for the next 2^29 uses of its place. The memory of a handle has none: an id is for those who may release
/// at any time, and a handle for those who [view](Allocation::view) the memory meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AllocationId(pub(super) BlockId);

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.index, self.0.use_of_place())
    }
}
