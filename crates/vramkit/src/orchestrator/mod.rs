//! Binds plans to a pool, and acts when it fills.
//!
//! ```text
//! models ──► plan ──► bind ──► run (gate, verify) ──► release
//!                      │ ▲
//!             pressure │ │ evict, compact, degrade, reject, log
//!                      ▼ │
//!                     ladder            every decision ──► trace
//! ```
//!
//! Admission is exact and comes first: a binding's bytes are known before anything is taken. Plans that several
//! models share are bound as one arena, which stays until its last model is released. One lock guards the table
//! of bindings; the pool, the device and callbacks are never called under it.
//!
//! A binding is a description that knows when it has ended: reads and writes through a stale one are errors, and whoever
//! asked to be told ([`on_evict`](MemoryOrchestrator::on_evict)) is. What a model needs to come back is its
//! [loader](MemoryOrchestrator::on_load).

mod access;
mod act;
mod action;
mod bind;
mod binding;
mod degrade;
mod error;
mod execute;
mod gate;
mod guard;
mod held;
mod load;
mod memory_orchestrator;
mod notice;
mod session;
mod shared;
mod stale;
mod table;
mod verify;
mod work;

pub use crate::pressure::{PolicyLadder, PressureHandler, PressurePolicy, Standing, Turn};
pub use access::AccessError;
pub use action::{Action, PolicyOutcome};
pub use bind::Release;
pub use binding::MemoryBinding;
pub use degrade::DegradeRequest;
pub use error::BindError;
pub use execute::{Executed, ExecutionError, execute_with};
pub use gate::{Aborted, ExecutionGate};
pub use guard::RunGuard;
pub use load::{LoadFailure, NotLoadedReason, WeightsLoad};
pub use memory_orchestrator::MemoryOrchestrator;
pub use notice::StaleNotice;
pub use session::{RunError, Session, SessionModel};
pub use stale::{StaleBinding, StaleReason};
pub use verify::{ExecutionReport, Verify, Violation, execute, execute_or_rehearse};
pub use work::{Idle, ModelRun, RunTensor, StepTensors, Work, WorkError};
