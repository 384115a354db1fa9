//! Another order of a graph's steps, and doing some of them twice, to lower the most that is live.
//!
//! ```text
//! dataflow ──► search ──► recompute ──► lives                                           budget: when to stop
//!                │
//!                ├─ canonical: ranks that do not depend on how steps are numbered
//!                ├─ net: jobs, and what each adds; from either end
//!                ├─ reduce (profile, reach, modules, levels): chains and series-parallel parts solved, fewer jobs
//!                └─ part: greedy, line, relax, cut, beam, windows, decide (state, effort)
//! ```
//!
//! Any order in which a step comes after those it reads from will do; what is live during each of its steps follows
//! from it.

mod beam;
mod budget;
mod canonical;
mod cut;
mod dataflow;
mod decide;
mod effort;
mod greedy;
mod levels;
mod line;
mod modules;
mod net;
mod part;
mod profile;
mod reach;
mod recompute;
mod reduce;
mod relax;
mod search;
mod state;
mod windows;

pub use budget::OrderBudget;
pub use dataflow::{Dataflow, FlowValue};
pub use recompute::Recomputed;
pub use search::StepOrder;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
