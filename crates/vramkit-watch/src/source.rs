//! What a source gives: devices with numbers, pools on them, and what it could not find.

use serde::{Deserialize, Serialize};
use vramkit::device::Reading;
use vramkit::monitor::{DeviceName, PoolUse, ProcessUse, StallTimes, Usage};

/// One device as a source sees it now.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceReading {
    /// Which one.
    pub device: DeviceName,
    /// Its numbers.
    pub usage: Usage,
    /// Who holds it.
    pub processes: Reading<Vec<ProcessUse>>,
    /// Time lost waiting for its memory, where the system measures it.
    pub stall: Option<StallTimes>,
}

/// Something that was looked for and is not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unavailable {
    /// What.
    pub source: String,
    /// Why.
    pub reason: String,
}

/// All that a source says at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// Devices.
    pub devices: Vec<DeviceReading>,
    /// Pools, each with the id of its device.
    pub pools: Vec<PoolUse>,
    /// What is not here.
    pub unavailable: Vec<Unavailable>,
}

/// Where readings come from.
///
/// ```
/// use std::time::Duration;
/// use vramkit_watch::{Readings, Source, Unavailable, WatchConfig, Watcher};
///
/// /// A kind of card whose driver is not here.
/// struct Absent;
///
/// impl Source for Absent {
///     fn read(&mut self) -> Readings {
///         let here = Unavailable { source: "a card".into(), reason: "no driver".into() };
///         Readings { unavailable: vec![here], ..Readings::default() }
///     }
/// }
///
/// let mut watcher = Watcher::new(vec![Box::new(Absent)], WatchConfig::default())?;
/// assert_eq!(watcher.tick(Duration::ZERO).unavailable[0].reason, "no driver");
/// # Ok::<(), vramkit::pressure::LadderError>(())
/// ```
pub trait Source: Send {
    /// Reads everything once.
    fn read(&mut self) -> Readings;
}
