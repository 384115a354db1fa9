//! Another order of a graph's steps, and doing some of them twice, to lower the most that is live.
//!
//! ```text
//! dataflow ──► best_order (search) ──► recompute ──► lives
//! ```
//!
//! Any order in which a step comes after those it reads from will do; what is live during each of its steps follows
//! from it.

mod dataflow;
mod recompute;
mod search;

pub use dataflow::{Dataflow, FlowValue};
pub use recompute::Recomputed;
pub use search::StepOrder;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
