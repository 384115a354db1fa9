//! Lets other processes see this one's pools: a socket in the machine's folder for it (`/run/vramkit`, where there is one: then a
//! monitor that is a member of the folder's group sees the pools of all users and containers) or the user's own, which answers every connection with
//! one JSON document and hangs up. Nothing happens while nobody asks; when the process ends, nobody answers.
//!
//! Opt-in: a program makes a [`Publisher`] and keeps it. `vramkit top` and `vramkit serve` read all that they may.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use vramkit::ByteSize;
//! use vramkit::device::HostDevice;
//! use vramkit::monitor::publish::{PublishedReader, Publisher, folder};
//! use vramkit::pool::DeviceMemoryPool;
//!
//! let capacity = ByteSize::mib(64);
//! let pool = Arc::new(DeviceMemoryPool::new(Arc::new(HostDevice::new(capacity)), capacity)?);
//! let _publisher = Publisher::new(&[("main", &pool)])?;
//! // In another process:
//! for process in PublishedReader::default().read(&folder()) {
//!     println!("{}: {} pools", process.pid, process.pools.len());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A forked child has its parent's publisher, but neither its thread nor the right to its socket: there it does nothing.

mod document;
mod host_folder;
mod publisher;
mod reader;

pub use document::{Published, folder, folders};
pub use host_folder::Unreadable;
pub use publisher::Publisher;
pub use reader::PublishedReader;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
