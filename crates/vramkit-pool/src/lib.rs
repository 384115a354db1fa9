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

pub mod device;
mod latch;
pub mod pool;
pub mod stall;
#[doc(hidden)]
pub mod sync;
