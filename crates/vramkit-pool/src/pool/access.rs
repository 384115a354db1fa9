//! Bytes into and out of what a pool has granted: by handle, by pinned handle, by id.
//!
//! In: an allocation, an offset in it, bytes or a pattern. Never: a byte outside of what was requested, or of memory
//! that is not granted. A handle's memory is changed by whoever holds the handle mutably; an id's by whoever has the
//! id, from several threads at once if they like.

use super::allocation::Allocation;
use super::caching::CachedAllocation;
use super::compact::{Pinned, PinnedMut};
use super::core::Inner;
use super::device_memory_pool::DeviceMemoryPool;
use super::error::OutOfBounds;
use super::error::PoolError;
use super::growing::GrowingAllocation;
use super::ids::AllocationId;
use crate::device::{AddressRange, find_mismatch_by};
use crate::sync::read;
use vramkit_units::ByteSize;

/// The part of an allocation that an access is for.
pub(super) fn part(whole: AddressRange, offset: u64, size: ByteSize) -> Result<AddressRange, PoolError> {
    whole.part(offset, size).ok_or_else(|| {
        let range = AddressRange::new(whole.base.saturating_add(offset), size);
        PoolError::OutOfBounds(Box::new(OutOfBounds { range, allocation: whole }))
    })
}

fn length(bytes: &[u8]) -> ByteSize {
    ByteSize::new(bytes.len() as u64)
}

/// What all kinds of access do once they know that the memory is theirs to reach.
impl Inner {
    fn fill(&self, place: AddressRange, pattern: u32) -> Result<(), PoolError> {
        Ok(self.memory.fill(place, pattern)?)
    }

    fn write(&self, whole: AddressRange, offset: u64, bytes: &[u8]) -> Result<(), PoolError> {
        Ok(self.memory.write(part(whole, offset, length(bytes))?.base, bytes)?)
    }

    fn read(&self, whole: AddressRange, offset: u64, into: &mut [u8]) -> Result<(), PoolError> {
        Ok(self.memory.read(part(whole, offset, length(into))?.base, into)?)
    }

    fn find_mismatch(
        &self,
        place: AddressRange,
        pattern: u32,
        stride: Option<ByteSize>,
    ) -> Result<Option<u64>, PoolError> {
        Ok(find_mismatch_by(place, pattern, stride, |from, into| self.memory.read(from, into))?)
    }

    /// Does something with the memory of an id. Whoever is granted the same memory later, and wants it for itself
    /// alone, waits for what began before (see `accesses`).
    fn with_id<R>(
        &self,
        id: AllocationId,
        act: impl FnOnce(AddressRange) -> Result<R, PoolError>,
    ) -> Result<R, PoolError> {
        // Those of handles are their own, wherever one was seen.
        if !id.0.is_plain() {
            return Err(PoolError::UnknownAllocation(id));
        }
        // Nobody has host memory for itself alone where there is none.
        let _access = self.host.is_some().then(|| read(&self.accesses));
        act(self.resolve(id)?)
    }
}

impl Allocation {
    /// Fills all of it with a pattern of four bytes: the byte at address `a` becomes byte `a mod 4` of `pattern`, least
    /// significant first.
    pub fn fill(&mut self, pattern: u32) -> Result<(), PoolError> {
        self.pool.fill(self.range(), pattern)
    }

    /// Copies bytes to `offset` and on.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), PoolError> {
        self.pool.write(self.range(), offset, bytes)
    }

    /// Copies what is at `offset` and on.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), PoolError> {
        self.pool.read(self.range(), offset, into)
    }

    /// The offset of the first byte that a [`fill`](Self::fill) of `pattern` has not left so; looks as
    /// [`find_mismatch`](crate::device::find_mismatch) does.
    pub fn find_mismatch(&self, pattern: u32, stride: Option<ByteSize>) -> Result<Option<u64>, PoolError> {
        self.pool.find_mismatch(self.range(), pattern, stride)
    }
}

/// What it has grown to.
impl GrowingAllocation {
    /// As [`Allocation::fill`].
    pub fn fill(&mut self, pattern: u32) -> Result<(), PoolError> {
        self.pool().fill(self.range(), pattern)
    }

    /// Copies bytes to `offset` and on.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), PoolError> {
        self.pool().write(self.range(), offset, bytes)
    }

    /// Copies what is at `offset` and on.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), PoolError> {
        self.pool().read(self.range(), offset, into)
    }

    /// As [`Allocation::find_mismatch`].
    pub fn find_mismatch(&self, pattern: u32, stride: Option<ByteSize>) -> Result<Option<u64>, PoolError> {
        self.pool().find_mismatch(self.range(), pattern, stride)
    }
}

impl Pinned {
    /// Copies what is at `offset` and on.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), PoolError> {
        self.pool().read(self.range(), offset, into)
    }

    /// As [`Allocation::find_mismatch`].
    pub fn find_mismatch(&self, pattern: u32, stride: Option<ByteSize>) -> Result<Option<u64>, PoolError> {
        self.pool().find_mismatch(self.range(), pattern, stride)
    }
}

impl PinnedMut<'_> {
    /// As [`Allocation::fill`]. The pattern is tied to addresses: after a move it is where it was in the allocation.
    pub fn fill(&mut self, pattern: u32) -> Result<(), PoolError> {
        self.pool().fill(self.range(), pattern)
    }

    /// Copies bytes to `offset` and on.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), PoolError> {
        self.pool().write(self.range(), offset, bytes)
    }
}

impl CachedAllocation {
    /// As [`Allocation::fill`].
    pub fn fill(&mut self, pattern: u32) -> Result<(), PoolError> {
        let (pool, id) = self.held();
        pool.fill_part(id, 0, self.range().size, pattern)
    }

    /// Copies bytes to `offset` and on.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), PoolError> {
        part(self.range(), offset, length(bytes))?;
        let (pool, id) = self.held();
        pool.write(id, offset, bytes)
    }

    /// Copies what is at `offset` and on.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), PoolError> {
        part(self.range(), offset, length(into))?;
        let (pool, id) = self.held();
        pool.read(id, offset, into)
    }
}

/// For engines that carry ids. An id that is not live is an error. Who releases an id while another thread writes by it
/// may find the bytes in whatever is granted there next; nothing worse can come of it.
impl DeviceMemoryPool {
    /// As [`Allocation::fill`].
    pub fn fill(&self, id: AllocationId, pattern: u32) -> Result<(), PoolError> {
        self.inner.with_id(id, |whole| self.inner.fill(whole, pattern))
    }

    /// Fills `size` bytes from `offset` on.
    pub fn fill_part(
        &self,
        id: AllocationId,
        offset: u64,
        size: ByteSize,
        pattern: u32,
    ) -> Result<(), PoolError> {
        self.inner.with_id(id, |whole| self.inner.fill(part(whole, offset, size)?, pattern))
    }

    /// Copies bytes to `offset` and on.
    pub fn write(&self, id: AllocationId, offset: u64, bytes: &[u8]) -> Result<(), PoolError> {
        self.inner.with_id(id, |whole| self.inner.write(whole, offset, bytes))
    }

    /// Copies what is at `offset` and on.
    pub fn read(&self, id: AllocationId, offset: u64, into: &mut [u8]) -> Result<(), PoolError> {
        self.inner.with_id(id, |whole| self.inner.read(whole, offset, into))
    }

    /// As [`Allocation::find_mismatch`].
    pub fn find_mismatch(
        &self,
        id: AllocationId,
        pattern: u32,
        stride: Option<ByteSize>,
    ) -> Result<Option<u64>, PoolError> {
        self.inner.with_id(id, |whole| self.inner.find_mismatch(whole, pattern, stride))
    }

    /// As [`find_mismatch`](Self::find_mismatch), in the `size` bytes from `offset` on; the answer counts from there.
    pub fn find_mismatch_in(
        &self,
        id: AllocationId,
        offset: u64,
        size: ByteSize,
        pattern: u32,
        stride: Option<ByteSize>,
    ) -> Result<Option<u64>, PoolError> {
        let inner = &self.inner;
        inner.with_id(id, |whole| inner.find_mismatch(part(whole, offset, size)?, pattern, stride))
    }
}
