//! Memory of a device, granted in pieces.
//!
//! ```text
//! device ─────► granules ─────► pool ─────► allocation
//! (reserve      (committed      (requests,   (a handle: fill, read, view;
//!  addresses)    on demand)      owners)      gives back when dropped)
//! ```
//!
//! In: a [`device`] and [requests](pool::Request). Out: handles of memory that is there, and numbers of who holds what.
//! Never here: plans, policies, a choice of who goes; a pool that is full says so, with the numbers.
//!
//! ```
//! use std::sync::Arc;
//! use vramkit_pool::{ByteSize, device::HostDevice, pool::{DeviceMemoryPool, Purpose, Request}};
//!
//! let device = Arc::new(HostDevice::new(ByteSize::mib(64)));
//! let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
//! let llama = pool.owner("llama", Purpose::Kv);
//! let mut block = pool.allocate(Request::new(ByteSize::mib(3)).owner(llama))?;
//! block.write(0, b"keys and values")?;
//! assert_eq!(pool.used(), ByteSize::mib(3));
//! assert_eq!(pool.owners()[0].model, "llama");
//! drop(block);
//! assert_eq!(pool.used(), ByteSize::ZERO);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod device;
pub mod pool;
mod spin_park;
pub mod stall;
#[doc(hidden)]
pub mod sync;

pub use vramkit_units::ByteSize;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
