//! A pool on this machine's memory.

use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::device::HostDevice;
use vramkit::pool::{DeviceMemoryPool, PoolError, Request};

/// A pool on this machine's memory that grants at most so many bytes, in whole units: what a model is loaded into where
/// nobody else shares it.
///
/// ```
/// use vramkit::ByteSize;
///
/// let pool = vramkit_llm::host_pool(ByteSize::new(1_000_000))?;
/// assert_eq!(pool.capacity().bytes(), 999_936); // 3,906 units of 256 bytes
/// # Ok::<(), vramkit::pool::PoolError>(())
/// ```
///
/// # Errors
/// Addresses that the system does not give.
pub fn host_pool(limit: ByteSize) -> Result<Arc<DeviceMemoryPool>, PoolError> {
    // A pool would take the next whole unit.
    let limit = limit - ByteSize::new(limit.bytes() % Request::ALIGNMENT);
    // The pool keeps to the limit; the device counts in granules.
    let granules = limit.checked_align_up(HostDevice::GRANULARITY.bytes()).unwrap_or(limit);
    Ok(Arc::new(DeviceMemoryPool::new(Arc::new(HostDevice::new(granules)), limit)?))
}
