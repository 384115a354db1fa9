//! Exact search: is there a placement within a capacity, and how small can the arena be?
//!
//! ```text
//! problem ──► sections ──► restarts of dives ──► placement, or proof that there is none
//!                          (choice · state · failures)
//! ```
//!
//! The search decides, section of time by section, which tensor starts on the floor of a valley of what is
//! already placed. It is complete: for every placement there is one as low in which each tensor lies on the
//! bottom, on another, or where it is pinned, and such a placement is found by deciding the floors from the
//! bottom up. See `dive` for the search, `choice` for where it branches, `restart` for how it learns and
//! `optimise` for how it closes in on the smallest arena; `docs/planning.md` has the argument and the sources.

mod bits;
mod choice;
mod dive;
mod failures;
mod key;
mod optimise;
mod restart;
mod sections;
mod state;
mod units;

pub use optimise::ExactSearch;
pub(super) use optimise::{FirstLook, LARGEST, decide};
pub(super) use restart::Answer;
pub(super) use sections::sections_of;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
