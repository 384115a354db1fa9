//! Tensor lifetimes become offsets in one arena.
//!
//! In: models as lists of [`TensorLifetime`]s, and a [`Schedule`]. Out: an [`AllocationPlan`], checked, with the bound that
//! says how far it can be from the optimum. Never here: memory, a device, a clock of seconds but for deadlines.
//!
//! ```text
//! models ──► one clock ──► buffers ──► parts between dead points ──► greedy portfolio ──► searches ─────────► plan
//! (lifetime)  (schedule)   (problem)   (solver)                       (greedy, index)    (squeaky, floors, exact)  (allocation, check)
//!
//! before: order (of a graph's steps), starts (of models);   around: pools;   after: conflict (why nothing fits)
//! ```
//!
//! A plan's arena stands beside a lower bound; where they meet the plan is proven optimal.
//!
//! ```
//! use vramkit_plan::{MemoryPlanner, Model, Schedule, TensorLifetime};
//! use vramkit_units::{ByteSize, Step};
//!
//! let tensors = vec![
//!     TensorLifetime::new("net", "a", Step(0), Step(2), ByteSize::mib(8)),
//!     TensorLifetime::new("net", "b", Step(2), Step(4), ByteSize::mib(6)),
//! ];
//! let net = Model { name: "net".into(), weights: ByteSize::ZERO, start: Step(0), tensors };
//! let plan = MemoryPlanner::new().plan(&[net], Schedule::Fixed)?;
//! assert_eq!((plan.arena_size, plan.proven_optimal), (ByteSize::mib(8), true));
//! # Ok::<(), vramkit_plan::LifetimeError>(())
//! ```

#![forbid(unsafe_code)]

mod allocation;
mod analyzer;
mod assignment;
mod blocks;
mod check;
mod clocks;
mod conflict;
mod distribution;
mod exact;
mod fault;
mod floors;
mod greedy;
mod index;
mod lifetime;
mod lifetime_error;
mod linear;
mod meetings;
mod order;
mod placement;
mod planner;
mod pooled;
mod pools;
mod problem;
mod recorder;
pub mod report;
mod search;
mod sharing;
mod shortage;
mod solver;
mod squeaky;
mod starts;
mod sweep;
mod threads;
mod union;
mod validity;

pub use allocation::{AllocationPlan, Conflict, LivePlace, ModelSummary, PlanStep};
pub use analyzer::{LifetimeAnalyzer, SharingOpportunity};
pub use clocks::{ClockError, ClockLife, StepLife, steps_of_clocks};
pub use exact::ExactSearch;
pub use fault::PlanFault;
pub use floors::{FloorSearch, WindowSearch};
pub use lifetime::{Model, Schedule, TensorLifetime, on_one_clock};
pub use lifetime_error::LifetimeError;
pub use order::{Dataflow, FlowValue, OrderBudget, Recomputed, StepOrder};
pub use placement::Placement;
pub use planner::MemoryPlanner;
pub use pooled::{PoolLimit, PooledPlan};
pub use pools::PoolPlanError;
pub use problem::{Buffer, Gap, Problem};
pub use search::{Found, Goal, Observer, Search};
pub use sharing::SharedPair;
pub use shortage::PoolShortage;
pub use squeaky::SqueakyWheel;
pub use starts::{Starts, StartsError, StartsSearch, choose_starts};

pub use vramkit_units::{ByteSize, Step};

#[cfg(test)]
#[cfg(not(loom))]
mod exhaustive;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
