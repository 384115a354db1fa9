//! Everything that this machine says about the memory of its devices, read together and judged.
//!
//! ```text
//! NVML ───────┐
//! AMD (sysfs) ┤                      ┌─► level, growth, forecast for each device
//! host, group ┼──► readings ──► tick ┼─► leaks by owner for each published pool
//! pools of    ┘    (sources)   (watcher)  └─► events, once each
//! processes (sockets)
//! ```
//!
//! In: sources, a clock. Out: ticks. Never here: a screen, a server, or an action on what is watched.
//!
//! A [`Source`] never fails as a whole: what it cannot read is a missing number with a reason, or an entry in the tick's
//! list of what is unavailable. [`record`] keeps ticks on disk.
//!
//! ```
//! use std::time::Duration;
//! use vramkit_watch::{WatchConfig, Watcher};
//!
//! let mut watcher = Watcher::of_this_machine(WatchConfig::default())?;
//! let tick = watcher.tick(Duration::ZERO);
//! assert!(tick.devices.len() + tick.unavailable.len() > 0); // what is not here says why
//! # Ok::<(), vramkit::pressure::LadderError>(())
//! ```

pub mod amd;
mod environment;
mod groups;
mod holders;
pub mod host;
mod join;
mod judge;
mod nvml;
mod pools;
mod processes;
pub mod record;
mod source;
mod tick;
mod users;
mod watcher;

pub use environment::Environment;
pub use nvml::NvmlSource;
pub use pools::PublishedPools;
pub use processes::Processes;
pub use source::{Activity, DeviceClass, DeviceReading, Health, Readings, Source, Unavailable};
pub use tick::{
    DeviceTick, EventKind, Growing, History, HistorySample, Holder, HolderUse, Presence, SourceTick, Tick,
    WatchEvent,
};
pub use watcher::{WatchConfig, Watcher};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
