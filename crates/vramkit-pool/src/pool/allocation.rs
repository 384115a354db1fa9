//! The handle of an allocation, which gives the memory back when dropped.

use std::fmt;
use std::sync::Arc;

use super::blocks::BlockId;
use super::core::Inner;
use super::error::PoolError;
use super::ids::AllocationId;
use crate::device::{AddressRange, Device, Stream};
use vramkit_units::ByteSize;

/// Memory of a pool, given back when dropped.
pub struct Allocation {
    pub(super) pool: Arc<Inner>,
    /// `None` once the memory is no longer this handle's to release.
    pub(super) id: Option<AllocationId>,
    pub(super) offset: u64,
    pub(super) requested: ByteSize,
}

impl Allocation {
    /// Where it is on the device; as long as was requested.
    pub fn range(&self) -> AddressRange {
        AddressRange::new(self.pool.range.base + self.offset, self.requested)
    }

    /// Where it is in the pool, in bytes from its start.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes asked for.
    pub fn requested(&self) -> ByteSize {
        self.requested
    }

    /// Bytes taken from the pool: what was requested, rounded up.
    pub fn granted(&self) -> ByteSize {
        self.id.map_or(ByteSize::ZERO, |id| self.pool.granted_to(id))
    }

    /// The device that the memory is on.
    pub fn device(&self) -> &dyn Device {
        &*self.pool.device
    }

    /// Releases the memory while work queued on a stream up to now may still use it: the stream itself may get it
    /// again at once, others when that work is done. On an error the memory is still live, without a handle.
    pub fn release_on(mut self, stream: &dyn Stream) -> Result<(), PoolError> {
        let id = self.id.take().expect("a handle has its id until it is consumed");
        self.pool.release_on(id, stream)
    }

    /// Turns the handle into a plain id, to be released by
    /// [`DeviceMemoryPool::release`](super::DeviceMemoryPool::release).
    pub fn into_id(mut self) -> AllocationId {
        let AllocationId(BlockId { index, stamp }) =
            self.id.take().expect("a handle has its id until it is consumed");
        let stamp = self.pool.table().at(index).set_plain(stamp);
        AllocationId(BlockId { index, stamp })
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if let Some(id) = self.id
            && let Err(error) = self.pool.release(id)
        {
            // Only a release of the same id can have come first; the pool is unchanged by the second.
            tracing::error!(%error, "an allocation had been released before its handle was dropped");
        }
    }
}

impl fmt::Debug for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allocation").field("id", &self.id).field("range", &self.range()).finish()
    }
}
