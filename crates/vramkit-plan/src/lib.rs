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
mod check;
mod conflict;
mod distribution;
mod exact;
mod fault;
mod greedy;
mod index;
mod lifetime;
mod lifetime_error;
mod linear;
mod order;
mod placement;
mod planner;
mod pooled;
mod pools;
mod problem;
mod recorder;
pub mod report;
mod search;
mod solver;
mod squeaky;
mod starts;
mod threads;
mod union;
mod validity;

pub use allocation::{AllocationPlan, Conflict, ModelSummary, PlanStep};
pub use analyzer::{LifetimeAnalyzer, SharingOpportunity};
pub use exact::ExactSearch;
pub use fault::PlanFault;
pub use lifetime::{Model, Schedule, TensorLifetime, on_one_clock};
pub use lifetime_error::LifetimeError;
pub use order::{Dataflow, FlowValue, Recomputed, StepOrder};
pub use placement::Placement;
pub use planner::MemoryPlanner;
pub use pooled::{PoolLimit, PooledPlan};
pub use pools::PoolPlanError;
pub use problem::{Buffer, Gap, Problem};
pub use search::{Found, Goal, Observer, Search};
pub use squeaky::SqueakyWheel;
pub use starts::{Starts, StartsError, choose_starts};

#[cfg(test)]
#[cfg(not(loom))]
mod exhaustive;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
