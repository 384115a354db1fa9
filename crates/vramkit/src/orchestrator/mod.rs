//! Binds plans to a pool, and acts when it fills.
//!
//! ```text
//! models ──► plan ──► bind ──► run (gate, work) ──► release
//!                      │ ▲
//!             pressure │ │ evict, compact, degrade, reject, log
//!                      ▼ │
//!                     ladder            every decision ──► trace
//! ```
//!
//! In: models with their lifetimes, a pool, a ladder. Out: bindings, reports of what was done, and every decision in a trace.
//! Never here: a judgement of pressure, of who goes first or of what goes in (that is [`pressure`](crate::pressure)'s), and
//! what a step computes (that is a [`Work`]'s).
//!
//! Admission is exact and comes first: a binding's bytes are known before anything is taken. Plans that several
//! models share are bound as one arena, which stays until its last model is released. One lock guards the table
//! of bindings; the pool, the device and callbacks are never called under it.
//!
//! A binding is a description that knows when it has ended: reads and writes through a stale one are errors, and whoever
//! asked to be told ([`on_evict`](MemoryOrchestrator::on_evict)) is. What a model needs to come back is its
//! [loader](MemoryOrchestrator::on_load), or a [source](MemoryOrchestrator::load_from) of its weights.
//!
//! Running a plan: each model on a thread, kept to the plan's schedule, doing its [`Work`] at each step.
//!
//! ```
//! use std::sync::Arc;
//!
//! use vramkit::device::SimulatedDevice;
//! use vramkit::orchestrator::{MemoryOrchestrator, ModelRun, StepTensors, Work, WorkError, execute_with};
//! use vramkit::plan::{Model, Schedule, TensorLifetime};
//! use vramkit::pool::DeviceMemoryPool;
//! use vramkit::{ByteSize, Step};
//!
//! /// Copies the first byte of a step's input to its output.
//! struct Copies(u8);
//!
//! impl Work for Copies {
//!     fn step(&mut self, run: &ModelRun<'_>, step: &StepTensors) -> Result<(), WorkError> {
//!         let mut byte = [self.0];
//!         for &input in &step.reads {
//!             run.read(input, 0, &mut byte)?;
//!         }
//!         for &output in &step.begins {
//!             run.write(output, 0, &byte)?;
//!         }
//!         self.0 = byte[0];
//!         Ok(())
//!     }
//! }
//!
//! let capacity = ByteSize::mib(8);
//! let pool = Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity)?);
//! let orchestrator = MemoryOrchestrator::new(pool);
//! let tensors = vec![
//!     TensorLifetime::new("m", "in", 0, 2, ByteSize::mib(1)),
//!     TensorLifetime::new("m", "out", 1, 3, ByteSize::mib(1)),
//! ];
//! let model = Model { name: "m".into(), weights: ByteSize::ZERO, start: Step(0), tensors };
//! let plan = orchestrator.plan(&[model], Schedule::Fixed)?;
//! orchestrator.bind("m", &plan)?;
//! let executed = execute_with(&orchestrator, &plan, 1, |_| Copies(42), &|_| {})?;
//! assert_eq!(executed.works[0].0, 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
mod shared;
mod stale;
mod table;
mod verify;
mod work;

pub use crate::pressure::{PolicyLadder, PressurePolicy, Standing};
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
pub use stale::{StaleBinding, StaleReason};
pub use verify::{ExecutionReport, Verify, Violation, execute, execute_or_rehearse};
pub use work::{Idle, ModelRun, RunTensor, StepTensors, Work, WorkError};
