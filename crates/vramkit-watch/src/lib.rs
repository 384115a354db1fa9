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
//! Main memory is `host`; what a control group allows of it, where that is less, is `cgroup`, a device of its own. A card that
//! shares the machine's memory has the machine's figures, and says so in its notes.
//!
//! In: sources, a clock. Out: ticks. Never here: a screen, a server, or an action on what is watched.
//!
//! A [`Source`] never fails as a whole: what it cannot read is a missing number with a reason, or an entry in the tick's
//! list of what is unavailable. Each is read on a thread of its own, within a deadline: one that hangs is late, and its
//! devices unread, while the others go on. A card that was there and is not listed any more is lost, and stays in the ticks
//! until it comes back. [`record`] keeps ticks on disk.
//!
//! A machine that is not here can be shown: `VRAMKIT_SYSTEM_ROOT` names a folder whose `proc` and `sys` stand for the kernel's
//! (processes, main memory, groups, AMD's cards), `VRAMKIT_NVML` a library that stands for NVIDIA's.
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
mod asked;
mod assigned;
mod bus;
mod clock;
mod doubts;
mod environment;
mod events;
mod given;
mod group;
mod groups;
mod holders;
pub mod host;
mod identity;
mod ids;
mod jetson;
mod join;
mod judge;
mod kernel;
mod known;
mod meminfo;
mod mounts;
mod nvml;
mod past;
mod pools;
mod processes;
mod ready;
pub mod record;
mod silent;
mod slow;
mod source;
mod standing;
mod tick;
mod unified;
mod unreadable;
mod users;
mod utc;
mod watcher;

pub use environment::Environment;
pub use kernel::system_root;
pub use nvml::NvmlSource;
pub use pools::PublishedPools;
pub use processes::Processes;
pub use ready::{Readiness, old};
pub use source::{
    Activity, Assignment, DeviceClass, DeviceReading, Health, Missing, Readings, Source, Unavailable,
    source_fn,
};
pub use tick::{
    AssignedTo, DeviceTick, EventKind, Growing, History, HistorySample, Holder, HolderUse, Presence,
    RecorderTick, SourceTick, SuspectedLeak, Tick, WatchEvent,
};
pub use utc::unix_seconds;
pub use watcher::{WatchConfig, Watcher};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
