//! Who holds it, how full is it, does it leak?
//!
//! ```text
//! sources ──► snapshot ──┬──► level (a ladder with hysteresis), limits, cleanup      [VramMonitor]
//!  (pool,     (bytes      ├──► growth of bytes, generations, owners                   [leak]
//!   device)    with their ├──► when will it be full, when to look again               [Forecaster]
//!              origin)    └──► time lost waiting                                      [stall]
//! ```
//!
//! Nothing here decides what to do about it (that is the [`orchestrator`](crate::orchestrator)'s job) and nothing waits
//! for a reader: a process that wants to be seen from outside makes a [`Publisher`](publish::Publisher).

mod cleanup;
mod decisions;
mod models;
pub mod names;
#[cfg(unix)]
pub mod publish;
mod snapshot;
mod vram;

pub use crate::pressure::{
    Forecast, Forecaster, Limits, LimitsError, MemoryPressureError, MemoryPressureWarning, Passed, leak,
    sampling_period,
};
pub use crate::stall::{Stall, StallMeter, StallTimes};
pub use cleanup::{CleanupReason, CleanupReport};
pub use decisions::Decision;
pub use models::{AdmissionError, ModelUse};
pub use snapshot::{
    CudaSource, DeviceName, DeviceSource, MemorySource, PoolUse, ProcessUse, Snapshot, Usage, utc,
};
pub use vram::{MonitorConfig, MonitorStats, VramMonitor};

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
