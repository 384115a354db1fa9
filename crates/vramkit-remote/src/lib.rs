//! What `vramkit serve` says on other machines, as one tick.
//!
//! ```text
//! address ──► http (GET /api/snapshot, deadlines) ──► clean (no control characters, no endless names) ──► host (the last tick,
//!  one thread each, again and again                                                        or since when it fails) ──┐
//!                                                                                  merge (ids say the machine) ◄──────┘
//! ```
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
mod clean;
mod host;
mod http;
mod merge;
mod remotes;

pub use address::{Address, AddressError};
pub use remotes::Remotes;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
