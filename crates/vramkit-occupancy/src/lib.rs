//! How full a KV cache gets, how likely it is to run out, and which batch or memory has a given risk: any risk, down to
//! one in a billion and beyond.
//!
//! ```text
//! a log of lengths ─┐              ┌─ threshold: published, exact, cycles (simulated), multilevel splitting ─┐
//!                   ├─► Lengths ──►┼─ continuous: seat ─► demand (exact law) ─► horizon (importance sampling) ┼─► risk ─► sizing ─► answer
//! mean prompt, p ───┘              └─ cold, as logged, with a queue: simulation ─► peaks of horizons ─────────┘
//! requests ──────────────────────────► Scheduler: who runs, waits and is preempted, step by step
//! ```
//!
//! Two ways of batching: **threshold** (all ended sequences are replaced at once, when k of N have ended) and
//! **continuous** (each at once), beside load that is driven by arrivals ([`Population::Arrivals`]). Units are tokens and
//! decode steps. A peak counts what a step writes before anything that ends in it is freed ([`Convention::BeforeFree`]).
//!
//! Pure functions: no device, no clock but a [`Deadline`]'s, no `unsafe`, nothing printed. The same seed gives the same result on any
//! number of threads, unless the deadline cuts it short. What can be computed but not stood behind is [`OccupancyError::Refused`], with the way out. The derivations and
//! the errors over a grid are in `docs/occupancy.md`.
//!
//! ```
//! use vramkit_occupancy::{Batching, Horizon, Lengths, Service};
//!
//! # fn main() -> Result<(), vramkit_occupancy::OccupancyError> {
//! let lengths = Lengths::geometric(1000.0, 0.005)?;
//! let hour = Horizon::Steps(144_000.0);
//! let service = Service { block: 16, ..Service::new(&lengths, hour) };
//! let seats = Batching::Continuous { seats: 200 };
//! let risk = service.risk(seats, 260_000.0)?;
//! let largest = service.largest_batch(seats, 250_000.0, 1e-6)?;
//! assert!(risk.probability < 1e-2 && largest.value < 200.0);
//! # Ok(())
//! # }
//! ```

mod answer;
mod batch;
mod capped;
mod cycles;
mod deadline;
mod demand;
mod error;
mod exact;
mod horizon;
mod inversion;
mod least;
mod lengths;
mod limits;
mod log;
mod memory;
mod peaks;
mod process;
mod published;
mod random;
mod report;
mod risk;
mod root;
mod run;
mod scheduler;
mod seat;
mod seats;
mod service;
mod simulation;
mod sizing;
mod source;
mod splitting;
mod stretches;
mod tilted;
mod waits;

pub use answer::answer;
pub use batch::Batch;
pub use capped::{CappedOutputs, corrected};
pub use cycles::{Convention, Cycles, Effort, Estimate, Runs, simulate, simulate_runs, simulate_with};
pub use deadline::Deadline;
pub use demand::{Population, Tail, TokenDemand};
pub use error::OccupancyError;
pub use exact::Exact;
pub use horizon::{HorizonMethod, HorizonRisk};
pub use inversion::Inverse;
pub use lengths::{Lengths, RequestLengths};
pub use limits::{MAX_SEATS, MAX_TOKENS};
pub use published::PublishedFormulas;
pub use report::{
    BatchForRisk, OccupancyReport, Predictions, Question, SCHEMA, TailPredictions, TrafficReport,
};
pub use risk::{Risk, RiskMethod};
pub use scheduler::{Moment, Replayed, Scheduler};
pub use service::{Batching, Horizon, Service};
pub use simulation::Start;
pub use source::Order;
pub use splitting::{Exceedance, MultilevelSplitting};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
