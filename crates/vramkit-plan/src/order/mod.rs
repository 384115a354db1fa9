//! Another order of a graph's steps, and doing some of them twice, to lower the most that is live.
//!
//! ```text
//! dataflow ──► best_order (greedy, search) ──► recompute ──► lives        budget: when to stop
//! ```
//!
//! Any order in which a step comes after those it reads from will do; what is live during each of its steps follows
//! from it.

mod budget;
mod dataflow;
mod greedy;
mod recompute;
mod search;

pub use budget::OrderBudget;
pub use dataflow::{Dataflow, FlowValue};
pub use recompute::Recomputed;
pub use search::StepOrder;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
