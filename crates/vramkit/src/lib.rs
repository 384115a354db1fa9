//! GPU memory for engine authors.
//!
//! Data flows left to right, and each stage is a module with one job:
//!
//! ```text
//! lifetimes ──► plan ──► bind ──► run ──► watch ──► act
//!  (plan)      offsets   pool     gate,   pressure  evict, reject, compact,
//!              in one    memory   verify            degrade, log
//!              arena     of a device                    │
//!                          ▲                            │
//!                          └────────────────────────────┘ orchestrator
//! ```
//!
//! * [`device`]: where memory comes from (reserve, commit, decommit).
//! * [`pool`]: allocations in one reserved range, with owners and a leak report.
//! * [`plan`]: tensor lifetimes become offsets in one arena, with a lower bound.
//! * [`pressure`]: how full, as a ladder of rungs with hysteresis.
//! * [`stall`]: time lost waiting for memory.
//! * [`monitor`]: who holds it, limits, leaks, and letting others see it.
//! * [`orchestrator`]: binds plans to a pool, acts under pressure, executes under the plan's schedule.
//! * [`trace`]: every decision with its numbers.
//!
//! Nothing here prints; results are values with a JSON form (see [`report`]).

pub mod device;
mod latch;
pub mod monitor;
pub mod orchestrator;
pub mod plan;
pub mod pool;
pub mod pressure;
mod random;
pub mod report;
pub mod stall;
mod sync;
pub mod testing;
pub mod trace;
pub mod units;

pub use units::{ByteSize, Step};

// The README's example compiles and runs with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/monitoring.md")]
mod monitoring {}
