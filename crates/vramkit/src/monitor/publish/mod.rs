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
//!     println!("process {:?} of user {}: {} pools", process.peer.pid, process.peer.uid, process.pools.len());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is read is another process's: who it is the kernel says, not the document; its names are made harmless; and one user's
//! processes take no more of a reader's time and memory than their share, whatever they do.
//!
//! ```text
//! folders ──► sockets (by user) ──► asked together, own first, then users in turn ──► bounded document ──► Heard
//!                                   deadlines, bytes by user                          largest owners, clean names
//! ```
//!
//! A forked child has its parent's publisher, but neither its thread nor the right to its socket: there it does nothing.

mod bounded;
mod document;
mod host_folder;
mod owner;
mod parse;
mod peer;
mod publisher;
mod reader;
mod sockets;
mod users;

pub use document::{Published, folder, folders};
pub use host_folder::Unreadable;
pub use parse::Cut;
pub use peer::Peer;
pub use publisher::Publisher;
pub use reader::{Heard, LeftOut, PublishedReader, WhyLeftOut};

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
