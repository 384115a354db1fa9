//! Numbers that stand for what a pool knows: owners, tags, allocations.

use std::fmt;

use super::blocks::BlockId;

/// An owner that a pool has been told of; see [`DeviceMemoryPool::owner`](super::DeviceMemoryPool::owner).
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::SimulatedDevice, pool::{DeviceMemoryPool, Request}};
/// # let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
/// # let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
/// use vramkit_pool::pool::Purpose;
/// let draft = pool.owner("draft model", Purpose::Kv);
/// pool.set_budget(draft, Some(ByteSize::mib(8)))?;
/// assert!(pool.allocate(Request::new(ByteSize::mib(9)).owner(draft)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
/// at any time, and a handle for those who [view](super::Allocation::view) the memory meanwhile.
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::SimulatedDevice, pool::{DeviceMemoryPool, Request}};
/// # let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
/// # let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
/// let (id, range) = pool.allocate_id(Request::new(ByteSize::mib(1)))?;
/// assert_eq!(pool.resolve(id)?, range);
/// pool.release(id)?;
/// assert!(pool.release(id).is_err()); // and nothing changes
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AllocationId(pub(super) BlockId);

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.index, self.0.use_of_place())
    }
}

/// Why an id cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnknownOwner {
    /// There was no number left for it.
    TooMany,
    /// The owner was forgotten, or is another pool's.
    Forgotten,
}
