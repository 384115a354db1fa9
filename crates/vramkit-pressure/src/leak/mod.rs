//! Does it leak? Three ways to look, from the least that is known to the most: bytes over time ([`GrowthDetector`]), bytes
//! between generations of a program's work ([`GenerationBaseline`]), and a pool's ledger of owners and ages
//! ([`OwnerLeaks`]). Only the last one can name what leaks, and only it says so.
//!
//! ```
//! use std::time::Duration;
//! use vramkit_pressure::leak::GrowthDetector;
//! use vramkit_units::ByteSize;
//!
//! let mut detector = GrowthDetector::new();
//! let found = (0..900).find_map(|second| {
//!     let used = ByteSize::mib(1000 + second); // one more MiB every second
//!     detector.push(Duration::from_secs(second), used)
//! });
//! assert!(found.is_some());
//! ```

mod ages;
mod floors;
mod gates;
mod generation;
mod growth;
mod lane;
mod look;
mod owner;
mod owners;
mod shape;
mod survival;
mod tag_leak;
mod track;

pub use generation::{GenerationBaseline, GenerationConfig, MemoryLeakWarning};
pub use growth::{Growth, GrowthDetector, GrowthEvent};
pub use owners::OwnerLeaks;
pub use tag_leak::{TagEvent, TagLeak};
