//! Does it leak? Three ways to look, from the least that is known to the most: bytes over time ([`GrowthDetector`]), bytes
//! between generations of a program's work ([`GenerationBaseline`]), and a pool's ledger of owners and ages
//! ([`OwnerLeaks`]). Only the last one can name what leaks, and only it says so.

mod floors;
mod generation;
mod growth;
mod owners;
mod shape;

pub use generation::{GenerationBaseline, GenerationConfig, MemoryLeakWarning};
pub use growth::{Growth, GrowthDetector, GrowthEvent};
pub use owners::{OwnerLeaks, TagEvent, TagLeak};
pub(crate) use shape::slopes;
