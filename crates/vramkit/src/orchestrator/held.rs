//! Memory that a binding holds. Models run on threads and share an arena, so it is reached by id, from several threads
//! at once; it goes back to the pool when dropped.

use std::sync::Arc;

use crate::device::AddressRange;
use crate::pool::{Allocation, AllocationId, DeviceMemoryPool};
use crate::units::ByteSize;

/// Where held memory is, and its id in the pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) id: AllocationId,
    pub(super) range: AddressRange,
}

/// Memory of the pool that a binding holds.
pub(super) struct Held {
    pool: Arc<DeviceMemoryPool>,
    place: Place,
    granted: ByteSize,
}

impl Held {
    pub(super) fn new(pool: Arc<DeviceMemoryPool>, allocation: Allocation) -> Self {
        let (range, granted) = (allocation.range(), allocation.granted());
        Self { pool, place: Place { id: allocation.into_id(), range }, granted }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Bytes taken from the pool.
    pub(super) fn granted(&self) -> ByteSize {
        self.granted
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = self.pool.release(self.place.id) {
            tracing::error!(%error, "a binding's memory had been released before");
        }
    }
}
