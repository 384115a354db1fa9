//! Memory that a binding holds. Models run on threads and share an arena, so it is reached by id, from several threads
//! at once; it goes back to the pool when dropped. Until it is shared, it is a handle's, which can be seen as a slice where it
//! is this machine's memory.

use std::fmt;
use std::sync::Arc;

use crate::device::AddressRange;
use crate::plan::AllocationPlan;
use crate::pool::{Allocation, AllocationId, DeviceMemoryPool, OwnerId, PoolError, Purpose, Request};
use crate::units::ByteSize;

/// What the base of a plan's arena must be a multiple of.
pub(super) fn arena_alignment(plan: &AllocationPlan) -> u64 {
    plan.tensors.iter().fold(1, |most, tensor| tensor.alignment.max(most))
}

/// The name that the pool knows whoever holds memory by, for as long as it is held.
struct Owner {
    pool: Arc<DeviceMemoryPool>,
    id: OwnerId,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.pool.return_owner(self.id);
    }
}

/// Memory that nobody shares yet.
pub(super) struct NewMemory {
    // In this order: an owner is returned when it holds nothing.
    allocation: Allocation,
    owner: Owner,
    granted: ByteSize,
}

impl NewMemory {
    /// Takes memory on behalf of a model.
    #[inline(always)] // Into `SharedMemory::take`, where nothing of this is ever put together.
    pub(super) fn take(
        pool: &Arc<DeviceMemoryPool>,
        request: Request,
        model: &str,
        purpose: Purpose,
    ) -> Result<Self, PoolError> {
        let owner = Owner { pool: pool.clone(), id: pool.borrow_owner(model, purpose)? };
        let allocation = pool.allocate(request.owner(owner.id))?;
        let granted = allocation.granted();
        Ok(Self { allocation, owner, granted })
    }

    pub(super) fn allocation(&mut self) -> &mut Allocation {
        &mut self.allocation
    }

    /// As long as was requested.
    pub(super) fn size(&self) -> ByteSize {
        self.allocation.requested()
    }

    /// Bytes taken from the pool.
    pub(super) fn granted(&self) -> ByteSize {
        self.granted
    }

    #[inline(always)]
    pub(super) fn share(self) -> Arc<SharedMemory> {
        let Self { allocation, owner, granted } = self;
        let range = allocation.range();
        Arc::new(SharedMemory { id: allocation.into_id(), range, granted, owner })
    }
}

/// Memory that is reached by id.
pub(super) struct SharedMemory {
    id: AllocationId,
    range: AddressRange,
    granted: ByteSize,
    owner: Owner,
}

impl SharedMemory {
    /// Takes memory on behalf of a model, to be shared at once.
    pub(super) fn take(
        pool: &Arc<DeviceMemoryPool>,
        request: Request,
        model: &str,
        purpose: Purpose,
    ) -> Result<Arc<Self>, PoolError> {
        Ok(NewMemory::take(pool, request, model, purpose)?.share())
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
        self.owner.pool.fill_part(self.id, self.offset(part), part.size, pattern)
    }

    /// Writes to a part of it, which is as long as the bytes.
    pub(super) fn write(&self, part: AddressRange, bytes: &[u8]) -> Result<(), PoolError> {
        self.owner.pool.write(self.id, self.offset(part), bytes)
    }

    /// Writes to it from a byte of it on.
    pub(super) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), PoolError> {
        self.owner.pool.write(self.id, offset, bytes)
    }

    /// Reads a part of it, which is as long as `into`.
    pub(super) fn read(&self, part: AddressRange, into: &mut [u8]) -> Result<(), PoolError> {
        self.owner.pool.read(self.id, self.offset(part), into)
    }

    /// Where a part of it no longer holds the pattern that it was filled with.
    pub(super) fn find_mismatch(
        &self,
        part: AddressRange,
        pattern: u32,
        stride: Option<ByteSize>,
    ) -> Result<Option<u64>, PoolError> {
        self.owner.pool.find_mismatch_in(self.id, self.offset(part), part.size, pattern, stride)
    }

    /// Of a part that is not in it, something that the pool refuses.
    fn offset(&self, part: AddressRange) -> u64 {
        part.base.checked_sub(self.range.base).unwrap_or(u64::MAX)
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        if let Err(error) = self.owner.pool.release(self.id) {
            tracing::error!(%error, "a binding's memory had been released before");
        }
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").field("id", &self.id).field("range", &self.range).finish()
    }
}
