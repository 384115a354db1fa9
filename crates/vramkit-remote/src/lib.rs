//! What `vramkit serve` says on other machines, as one tick.
//!
//! ```text
//! address ──► http (GET /api/snapshot, deadlines) ──► bound (no endless lists) ──► clean (no control characters, no endless names)
//!  one thread each, again and again                                                                             │
//!     merge (ids say the machine) ◄── host (the last tick, or since when it fails or is old) ◄── sane (no numbers that none can be)
//! ```
//!
//! What a machine said is shown for as long as it answers with a reading of now: an answer that is old by what it says (`Age`,
//! `Date`), or whose time stands still, is told as old since when, without its numbers (`age`).
//!
//! In: addresses, a token. Out: ticks. Never here: a judgement of what they say.
//!
//! ```
//! use std::time::Duration;
//! use vramkit_remote::Remotes;
//!
//! // Nobody listens there.
//! let mut remotes = Remotes::start(&["127.0.0.1:1".parse()?], None, Duration::from_secs(1))?;
//! remotes.settle(Duration::from_secs(20));
//! let tick = remotes.tick();
//! assert!(tick.devices.is_empty());
//! assert!(tick.sources[0].reason.as_ref().is_some_and(|reason| reason.contains("cannot be reached")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod age;
mod bound;
mod clean;
mod host;
mod http;
mod merge;
mod named;
mod remotes;
mod sane;

pub use address::{Address, AddressError};
pub use remotes::Remotes;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
