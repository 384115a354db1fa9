//! Memory that a binding holds. Models run on threads and share an arena, so it is reached by id, from several threads
//! at once; it goes back to the pool when dropped.

use std::fmt;
use std::sync::Arc;

use crate::device::AddressRange;
use crate::pool::{Allocation, AllocationId, DeviceMemoryPool, OwnerId, PoolError, Purpose, Request};
use crate::units::ByteSize;

/// Memory of the pool that a binding holds.
pub(super) struct SharedMemory {
    pool: Arc<DeviceMemoryPool>,
    id: AllocationId,
    owner: OwnerId,
    range: AddressRange,
    granted: ByteSize,
}

impl SharedMemory {
    /// Takes memory on behalf of a model, whose name the pool knows for as long as the memory is held.
    pub(super) fn take(
        pool: &Arc<DeviceMemoryPool>,
        request: Request,
        model: &str,
        purpose: Purpose,
    ) -> Result<Self, PoolError> {
        let owner = pool.borrow_owner(model, purpose)?;
        match pool.allocate(request.owner(owner)) {
            Ok(allocation) => Ok(Self::new(pool.clone(), owner, allocation)),
            Err(error) => {
                pool.return_owner(owner);
                Err(error)
            }
        }
    }

    fn new(pool: Arc<DeviceMemoryPool>, owner: OwnerId, allocation: Allocation) -> Self {
        let (range, granted) = (allocation.range(), allocation.granted());
        Self { pool, id: allocation.into_id(), owner, range, granted }
    }

    /// Where it is; as long as was requested.
    pub(super) fn range(&self) -> AddressRange {
        self.range
    }

    /// Bytes taken from the pool.
    pub(super) fn granted(&self) -> ByteSize {
        self.granted
    }

    /// Fills a part of it.
    pub(super) fn fill(&self, part: AddressRange, pattern: u32) -> Result<(), PoolError> {
        self.pool.fill_part(self.id, self.offset(part), part.size, pattern)
    }

    /// Writes to a part of it, which is as long as the bytes.
    pub(super) fn write(&self, part: AddressRange, bytes: &[u8]) -> Result<(), PoolError> {
        self.pool.write(self.id, self.offset(part), bytes)
    }

    /// Reads a part of it, which is as long as `into`.
    pub(super) fn read(&self, part: AddressRange, into: &mut [u8]) -> Result<(), PoolError> {
        self.pool.read(self.id, self.offset(part), into)
    }

    /// Where a part of it no longer holds the pattern that it was filled with.
    pub(super) fn find_mismatch(
        &self,
        part: AddressRange,
        pattern: u32,
        stride: Option<ByteSize>,
    ) -> Result<Option<u64>, PoolError> {
        self.pool.find_mismatch_in(self.id, self.offset(part), part.size, pattern, stride)
    }

    /// Of a part that is not in it, something that the pool refuses.
    fn offset(&self, part: AddressRange) -> u64 {
        part.base.checked_sub(self.range.base).unwrap_or(u64::MAX)
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        if let Err(error) = self.pool.release(self.id) {
            tracing::error!(%error, "a binding's memory had been released before");
        }
        self.pool.return_owner(self.owner);
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").field("id", &self.id).field("range", &self.range).finish()
    }
}
