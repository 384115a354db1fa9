//! How full is memory, and what follows from it? Judged from numbers alone.
//!
//! ```text
//! bytes in use ──► gauge on a ladder ──► policy whose turn it is ──► victims
//!      │            (level, changes)      (handler)
//!      ├─────────► limits (warning, error)
//!      ├─────────► leak (bytes, generations, owners)
//!      └─────────► forecast (when it is full, when to look again)
//! ```
//!
//! In: bytes, with the time at which they were read. Out: levels, decisions and events as values. Never here: a device, a
//! pool, a clock of its own, a lock, an act.

#![forbid(unsafe_code)]

mod forecast;
mod handler;
mod ladder;
pub mod leak;
mod limits;
mod policy;

pub use forecast::{Forecast, Forecaster, sampling_period};
pub use handler::{PressureHandler, Turn};
pub use ladder::{Ladder, LadderError, LevelChange, PressureGauge, PressureLevel, Rung};
pub use limits::{Limits, LimitsError, MemoryPressureError, MemoryPressureWarning, Passed};
pub use policy::{PolicyLadder, PressurePolicy};
