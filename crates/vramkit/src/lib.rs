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
//! * [`pressure`]: how full, as a ladder of rungs with hysteresis; admission, victims, limits, leaks, forecasts.
//! * [`stall`]: time lost waiting for memory.
//! * [`trace`]: every decision with its numbers.
//! * [`monitor`]: who holds it, in a program, and letting others see it.
//! * [`loader`]: weights on their way from a file to a device.
//! * [`orchestrator`]: binds plans to a pool, acts under pressure, runs each model's work under the plan's schedule.
//!
//! In: lifetimes, a device, a ladder, what a step does. Out: memory at planned places, and what is found as values and typed
//! events. Never here: printing, an option of a program, a format of a model's file.
//!
//! ```
//! use std::sync::Arc;
//! use vramkit::{ByteSize, device::SimulatedDevice, pool::DeviceMemoryPool};
//! use vramkit::orchestrator::{MemoryOrchestrator, Verify, execute};
//! use vramkit::plan::{Model, Schedule, Step, TensorLifetime};
//!
//! let capacity = ByteSize::mib(64);
//! let pool = Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity)?);
//! let orchestrator = MemoryOrchestrator::new(pool);
//! let tensors = vec![
//!     TensorLifetime::new("net", "a", 0, 2, ByteSize::mib(8)),
//!     TensorLifetime::new("net", "b", 1, 3, ByteSize::mib(8)),
//!     TensorLifetime::new("net", "c", 2, 4, ByteSize::mib(8)),
//! ];
//! let net = Model { name: "net".into(), weights: ByteSize::ZERO, start: Step(0), tensors };
//! let plan = orchestrator.plan(&[net], Schedule::Sequential)?;
//! assert_eq!(plan.arena_size, ByteSize::mib(16)); // a and c share
//! let report = execute(&orchestrator, &plan, 1, Verify::Full, &|_| {})?;
//! assert_eq!((report.verified_tensors, report.aliasing_violations), (3, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod callbacks;
#[cfg(test)]
#[cfg(not(loom))]
mod heard;
pub mod loader;
pub mod monitor;
pub mod orchestrator;
mod own_thread;
pub mod trace;

pub use vramkit_plan as plan;
pub use vramkit_pool::{device, pool, stall};
pub use vramkit_pressure as pressure;
pub use vramkit_units as units;

pub use units::{ByteSize, Step};

use vramkit_pool::sync;

/// The README's example is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
