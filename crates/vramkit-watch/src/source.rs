//! What a source gives: devices with numbers, pools on them, and what it could not find.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vramkit::device::Reading;
use vramkit::monitor::{DeviceName, PoolUse, ProcessUse, StallTimes, Usage};

use crate::environment::Environment;

/// Whose memory it is: what a name in metrics and an alert may say of it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeviceClass {
    /// A card's own, or what a card has of the machine's.
    Gpu,
    /// A part of a card (MIG).
    GpuPart,
    /// This machine's main memory.
    Machine,
    /// What a control group allows of it.
    Group,
    /// Book-keeping of a program alone: there is no such memory.
    Simulated,
    /// What only programs speak of.
    #[default]
    Other,
}

impl DeviceClass {
    /// Whether it is a card or a part of one.
    pub fn is_gpu(self) -> bool {
        matches!(self, Self::Gpu | Self::GpuPart)
    }
}

/// What a device does beside holding memory: what tells "held but idle" from "at work".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Activity {
    /// The part of the last sampling period in which it computed, 0..1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization_ratio: Option<f64>,
    /// In degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_celsius: Option<f64>,
    /// In watts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_watts: Option<f64>,
    /// At most, in watts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_limit_watts: Option<f64>,
}

/// One device as a source sees it now.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceReading {
    /// Which one.
    pub device: DeviceName,
    /// Whose memory it is.
    pub class: DeviceClass,
    /// What it does; none where the source does not say.
    pub activity: Option<Activity>,
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

/// How it stands with a source.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It answers.
    #[default]
    Up,
    /// There is nothing of its kind on this machine: nobody misses it.
    Absent,
    /// It is here, or was, and does not answer as it should.
    Failing,
    /// It has not answered within its time, and is still being asked.
    Late,
}

/// All that a source says at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// How it stands with the source.
    pub health: Health,
    /// Devices.
    pub devices: Vec<DeviceReading>,
    /// Pools, each with the id of its device.
    pub pools: Vec<PoolUse>,
    /// What the environments of the pools' processes said of cards, by process.
    pub environments: BTreeMap<u32, Environment>,
    /// What is not here.
    pub unavailable: Vec<Unavailable>,
}

/// Where readings come from.
///
/// ```
/// use std::time::Duration;
/// use vramkit_watch::{Health, Readings, Source, Unavailable, WatchConfig, Watcher};
///
/// /// A kind of card whose driver is not here.
/// struct Absent;
///
/// impl Source for Absent {
///     fn name(&self) -> &str {
///         "cards of no make"
///     }
///
///     fn read(&mut self) -> Readings {
///         let here = Unavailable { source: "a card".into(), reason: "no driver".into() };
///         Readings { health: Health::Absent, unavailable: vec![here], ..Readings::default() }
///     }
/// }
///
/// let mut watcher = Watcher::new(vec![Box::new(Absent)], WatchConfig::default())?;
/// assert_eq!(watcher.tick(Duration::ZERO).unavailable[0].reason, "no driver");
/// # Ok::<(), vramkit::pressure::LadderError>(())
/// ```
pub trait Source: Send {
    /// What it is called in messages and metrics: `nvml`, `amd`, `host`, `pools`.
    fn name(&self) -> &str;

    /// Reads everything once.
    fn read(&mut self) -> Readings;
}
