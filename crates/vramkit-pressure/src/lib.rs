//! How full is memory, and what follows from it? Judged from numbers alone.
//!
//! ```text
//! bytes in use ──► headroom ──► gauge on a ladder ──► policy whose turn it is ──► victims
//!      │      (which of them count) (level, changes)      (handler)
//!      ├─────────► admission (does so much more go in?)
//!      ├─────────► limits (warning, error)
//!      ├─────────► leak (bytes, generations, owners)
//!      ├─────────► forecast (when it is full, when to look again)
//!      └─────────► series (growth and forecast of one series, each told once)
//! ```
//!
//! In: bytes, with the time at which they were read. Out: levels, decisions and events as values. Never here: a device, a
//! pool, a clock of its own, a lock, an act.
//!
//! ```
//! use std::time::Duration;
//!
//! use vramkit_pressure::{PolicyLadder, PressureHandler, PressureLevel, PressurePolicy, Turn};
//!
//! let mut handler = PressureHandler::new(PolicyLadder::orchestrator())?;
//! // 95 % of the capacity is in use, a second after the start.
//! let change = handler.read(0.95, Duration::from_secs(1)).expect("the level has changed");
//! assert_eq!(change.to, PressureLevel::Critical);
//! assert_eq!(handler.next(Duration::from_secs(1)), Turn::Act(PressurePolicy::Compact, 0.90));
//! # Ok::<(), vramkit_pressure::LadderError>(())
//! ```

#![forbid(unsafe_code)]

mod admission;
mod cleanup;
mod clock;
mod device;
mod forecast;
mod gauge;
mod handler;
mod headroom;
mod ladder;
pub mod leak;
mod level;
mod limits;
mod policy;
mod series;
mod trend;
mod victims;

pub use admission::{Admission, Refusal};
pub use cleanup::CleanupReason;
pub use device::{DeviceJudge, Judgement};
pub use forecast::{Forecast, Forecaster, sampling_period};
pub use gauge::PressureGauge;
pub use handler::{PressureHandler, Turn};
pub use headroom::{DeviceUse, FractionBasis, Headroom};
pub use ladder::{Ladder, LadderError, Rung};
pub use level::{LevelChange, PressureLevel, known_level};
pub use limits::{LimitKind, Limits, LimitsError, MemoryPressureError, MemoryPressureWarning, Passed};
pub use policy::{PolicyLadder, PressurePolicy};
pub use series::{Finding, SeriesJudge, duration};
pub use victims::{Candidate, SharedBytes, Standing, Victim, choose_victims};

/// The README's example is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
