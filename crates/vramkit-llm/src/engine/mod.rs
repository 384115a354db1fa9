//! The engine: sequences come in, tokens go out, a step at a time.
//!
//! ```text
//! submit ──► waiting ──► admitted ──► batch of a step ──► forward ──► chosen tokens ──► events
//!               ▲                        │ no room
//!               └──── preempted ◄────────┘
//! ```
//!
//! Where there is no room, the sequence that came last makes way; for the only one, models of others that are at rest do.
//!
//! A step takes one token of every sequence that decodes and as much of the prompts as fits beside them, or, where batching is
//! exclusive, prompts alone while there are any. What a sequence becomes
//! does not depend on what runs beside it: the arithmetic of a token is the same in every batch. The engine's lock is held during a
//! step; user code is called by those who read the events, under no lock.

mod claim;
mod config;
#[allow(clippy::module_inception)] // the engine itself; this file is the way to it
mod engine;
mod event;
mod memory;
mod needs;
mod resident;
mod sampling;
mod schedule;
mod sequence;
mod shapes;

pub use config::{Admission, EngineConfig, Prefill};
pub use engine::Engine;
pub use event::StepEvent;
pub use memory::MemoryUse;
pub use needs::Needs;
pub use sampling::{Sampling, TokenProbability};
pub use sequence::{Finish, Request, SequenceId};
