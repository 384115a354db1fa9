//! Who holds it, how full is it, does it leak?
//!
//! ```text
//! sources ──► snapshot ──┬──► level (a ladder with hysteresis), limits, cleanup      [VramMonitor]
//!  (pool,     (bytes      ├──► growth of bytes, generations, owners                   [leak]
//!   device)    with their ├──► when will it be full, when to look again               [Forecaster]
//!              origin)    └──► time lost waiting                                      [stall]
//! ```
//!
//! In: the numbers of a source, and what the program is at. Out: snapshots, warnings, errors and counts as values. Never
//! here: a decision about a model's memory (that is the orchestrator's job), or waiting for a reader: a process that wants to
//! be seen from outside makes a [`Publisher`](publish::Publisher).
//!
//! ```
//! use std::sync::Arc;
//!
//! use vramkit::ByteSize;
//! use vramkit::device::SimulatedDevice;
//! use vramkit::monitor::{Limits, MonitorConfig, VramMonitor};
//! use vramkit::pool::DeviceMemoryPool;
//!
//! let capacity = ByteSize::gib(1);
//! let pool = Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity)?);
//! let limits = Some(Limits::new(ByteSize::mib(700), ByteSize::mib(900))?);
//! let monitor = VramMonitor::with_config(pool, MonitorConfig { limits, ..MonitorConfig::default() })?;
//! assert!(monitor.check_limits("decode")?.is_none());
//! let warning = monitor.preflight(ByteSize::mib(750), "prefill")?.expect("that is past the soft limit");
//! assert_eq!(warning.0.excess_bytes, ByteSize::mib(50));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod card;
mod check;
mod cleanup;
mod config;
mod crossing;
mod decisions;
mod identity;
mod judged;
mod models;
pub mod names;
mod pool_use;
#[cfg(unix)]
pub mod publish;
mod sampling;
mod snapshot;
mod source;
mod stats;
mod teller;
pub mod text;
mod utc;
mod vram_monitor;

pub use crate::pressure::{
    CleanupReason, Finding, Forecast, Forecaster, LimitKind, Limits, LimitsError, MemoryPressureError,
    MemoryPressureWarning, Passed, leak, sampling_period,
};
pub use crate::stall::{Stall, StallMeter, StallTimes};
pub use card::CardSource;
pub use config::{MonitorConfig, MonitorConfigError};
pub use decisions::Decision;
pub use identity::ProcessIdentity;
pub use models::{AdmissionError, ModelUse};
pub use pool_use::{DeviceBy, PoolUse};
pub use sampling::Sampling;
pub use snapshot::{DeviceName, ProcessUse, Snapshot, Usage};
pub use source::{CudaSource, DeviceSource, MemorySource, NoDevice};
pub use stats::{CleanupReport, MonitorStats};
pub use utc::utc;
pub use vram_monitor::VramMonitor;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
