//! Callbacks that may release memory when a request fails.

use std::sync::Arc;

use vramkit_units::ByteSize;

/// What a reclaim callback is told.
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::SimulatedDevice, pool::{DeviceMemoryPool, Request}};
/// # let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
/// # let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
/// use std::sync::Mutex;
/// let cache = Arc::new(Mutex::new(vec![pool.allocate(Request::new(ByteSize::mib(40)))?]));
/// let reclaimed = cache.clone();
/// let _registered = pool.add_reclaimer(move |request| {
///     assert_eq!(request.requested, ByteSize::mib(30));
///     reclaimed.lock().unwrap().clear();
/// });
/// pool.allocate(Request::new(ByteSize::mib(30)))?; // the cache went
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReclaimRequest {
    /// Bytes that could not be granted.
    pub requested: ByteSize,
    /// Bytes free, in pieces too small.
    pub free: ByteSize,
}

pub(super) type Reclaimer = Arc<dyn Fn(&ReclaimRequest) + Send + Sync>;
