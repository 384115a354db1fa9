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
//! * [`pressure`]: how full, as a ladder of rungs with hysteresis; limits, leaks, forecasts.
//! * [`stall`]: time lost waiting for memory.
//! * [`trace`]: every decision with its numbers.
//! * [`monitor`]: who holds it, in a program, and letting others see it.
//! * [`orchestrator`]: binds plans to a pool, acts under pressure, executes under the plan's schedule.
//!
//! Nothing here prints; what is found comes back as values and as typed events.

#![forbid(unsafe_code)]

pub mod monitor;
pub mod orchestrator;
pub mod trace;

pub use vramkit_plan as plan;
pub use vramkit_pool::{device, pool, stall};
pub use vramkit_pressure as pressure;
pub use vramkit_units as units;

pub use units::{ByteSize, Step};

use vramkit_pool::sync;
