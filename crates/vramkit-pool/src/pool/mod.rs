//! One contiguous range of a device's memory, granted in pieces.
//!
//! ```text
//! request ──► size class ──► segregated fit ──► offset ──► granules ──► memory behind it ──► handle
//!                            (which block?)                (commit what is missing)
//!                                 │ none fits, or the device refuses
//!                                 └──► what thread caches keep, streams, compacting, trim, callbacks ──► error with the numbers
//! ```
//!
//! The book is out of band (`segregated`, `blocks`), memory is committed by the granule on demand (`granules`) and
//! given back by [`trim`](DeviceMemoryPool::trim), which moves nothing. Two locks, never both taken by the
//! common case: the book's, held for tens of nanoseconds, and the device's, held while it commits. Neither is
//! held while user code runs. Threads that meet at the book's lock keep blocks in thread caches of their own (`thread_cache`).
//! `docs/pool.md` has the design in full, with measurements.
//!
//! ```
//! use std::sync::Arc;
//! use vramkit_pool::{ByteSize, device::SimulatedDevice, pool::{DeviceMemoryPool, Request}};
//!
//! let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
//! let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
//! let block = pool.allocate(Request::new(ByteSize::mib(3)))?;
//! assert_eq!((pool.used(), pool.available()), (ByteSize::mib(3), ByteSize::mib(61)));
//! drop(block);
//! # Ok::<(), vramkit_pool::pool::PoolError>(())
//! ```

mod access;
mod allocation;
mod bins;
mod blocks;
mod book;
mod caching;
mod classes;
mod clock;
mod compact;
mod config;
mod core;
mod counts;
mod deferred;
mod device_memory_pool;
mod error;
mod grantable;
mod granules;
mod growing;
mod idle;
mod ids;
mod inside;
mod ledger;
mod moves;
mod names;
mod owners;
mod reclaim;
mod record;
mod recording;
mod released;
mod request;
mod room;
mod segregated;
mod seqlock;
mod stats;
mod streams;
mod thread_cache;
mod view;
mod whole;

pub use allocation::Allocation;
pub use caching::{CachedAllocation, CachingConfig, CachingPool, CachingStats};
pub use classes::SizeClasses;
pub use compact::{MovableAllocation, Pinned, PinnedMut};
pub use config::{CompactBudget, PoolConfig};
pub use device_memory_pool::{DeviceMemoryPool, ReclaimerGuard};
pub use error::{OutOfBounds, OutOfMemory, OverBudget, PoolError};
pub use growing::GrowingAllocation;
pub use idle::{DeviceKey, IdleMemory, give_back_idle, held_by_pools, register_idle};
pub use ids::{AllocationId, OwnerId, TagId};
pub use reclaim::ReclaimRequest;
pub use record::Recorded;
pub use request::Request;
pub use stats::{CompactReport, Leak, LeakReport, OwnerUse, PoolStats, TrimReport};
pub use view::{DevicePtr, Pod, ViewError};
pub use vramkit_units::{AGE_CLASSES, Holder, LedgerEntry, Purpose};

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
