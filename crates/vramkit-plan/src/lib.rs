//! Tensor lifetimes become offsets in one arena.
//!
//! ```text
//! models ──► one clock ──► buffers ──► parts between dead points ──► greedy portfolio ──► searches ─────────► plan
//! (lifetime)  (schedule)   (problem)                                  (greedy, index)    (squeaky, exact)  (allocation)
//!
//! before: order (of a graph's steps), starts (of models);   around: pools;   after: conflict (why nothing fits)
//! ```
//!
//! Planning takes no memory and knows no device. A plan says how far it can be from the optimum: its arena
//! stands beside a lower bound, and where they meet the plan is proven optimal.

#![forbid(unsafe_code)]

mod allocation;
mod analyzer;
mod assignment;
mod conflict;
mod distribution;
mod exact;
mod greedy;
mod index;
mod lifetime;
mod linear;
mod order;
mod planner;
mod pools;
mod problem;
mod recorder;
pub mod report;
mod search;
mod squeaky;
mod starts;
mod threads;
mod union;
mod validity;

pub use allocation::{AllocationPlan, Conflict, ModelSummary, PlanFault, PlanStep};
pub use analyzer::{LifetimeAnalyzer, SharingOpportunity};
pub use exact::ExactSearch;
pub use greedy::PlacementRule;
pub use lifetime::{LifetimeError, Model, Schedule, TensorLifetime, on_one_clock};
pub use order::{Dataflow, FlowValue, StepOrder};
pub use planner::MemoryPlanner;
pub use pools::{PoolLimit, PoolPlanError, PooledPlan};
pub use problem::{Buffer, Gap, Problem};
pub use search::{Found, Goal, Observer, Search};
pub use squeaky::SqueakyWheel;
pub use starts::{Starts, StartsError, choose_starts};

pub use vramkit_units::{ByteSize, Step};

#[cfg(test)]
#[cfg(not(loom))]
mod exhaustive;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
