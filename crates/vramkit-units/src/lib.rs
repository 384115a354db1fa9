//! The quantities of vramkit: what every other crate of it counts in.
//!
//! In: numbers and text. Out: [`ByteSize`] (bytes, with units in text), [`Step`] (a plan's clock), and the words for who
//! holds what ([`Holder`], [`Purpose`], [`LedgerEntry`]), which a pool and those who judge it have in common. Never here:
//! memory, devices, decisions; nothing rounds silently.
//!
//! ```
//! use vramkit_units::ByteSize;
//!
//! let size: ByteSize = "1.5 MiB".parse()?;
//! assert_eq!(size.bytes(), 1_572_864);
//! assert_eq!(ByteSize::mb(700).to_string(), "700 MB");
//! # Ok::<(), vramkit_units::ParseSizeError>(())
//! ```

#![forbid(unsafe_code)]

mod bytes;
mod ledger;
mod random;
mod step;

pub use bytes::{ByteSize, ParseSizeError, grouped};
pub use ledger::{AGE_CLASSES, Holder, LedgerEntry, Purpose, age_class};
pub use random::SplitMix64;
pub use step::Step;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
