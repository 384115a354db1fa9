//! What a watcher says: plain data, the same on the screen, in JSON and on disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vramkit::ByteSize;
use vramkit::monitor::leak::{Growth, TagLeak};
use vramkit::monitor::{Forecast, Snapshot, StallTimes};
use vramkit::pressure::PressureLevel;

use crate::source::Unavailable;

/// What kind of event it is.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Another level.
    LevelChanged,
    /// More than a fifth in five minutes, evenly, or a quarter of what is free in any time.
    GrowingFast,
    /// The floor rises and does not slow.
    SustainedGrowth,
    /// It will be full within a quarter of an hour at the latest.
    FullSoon,
    /// A tag's or an owner's old bytes grow, and outlive what is known of their kind.
    LeakSuspected,
    /// They grow, and nothing is known of how long such bytes live.
    Retains,
    /// What was said before is over.
    Cleared,
    /// A device was not there before.
    Appeared,
    /// A device is not there any more.
    Lost,
    /// A program's orchestrator decided something.
    Decided,
}

/// Something that changed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WatchEvent {
    /// When, in UTC.
    pub time: String,
    /// On which device.
    pub device: String,
    /// What kind.
    pub kind: EventKind,
    /// In words.
    pub text: String,
}

/// Who holds a part of a device.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HolderUse {
    /// A model and purpose of a pool, or a process.
    pub name: String,
    /// What it holds.
    pub bytes: ByteSize,
}

/// A device at one instant, for drawing.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HistorySample {
    /// Seconds since 1970, in UTC.
    pub unix_seconds: f64,
    /// Held by every process; none when not known.
    pub used_bytes: Option<ByteSize>,
    /// The level; none when not known.
    pub level: Option<PressureLevel>,
    /// The largest holders.
    pub holders: Vec<HolderUse>,
}

/// What is known of growth.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Growing {
    /// Fast (over five minutes, or much of what is free) or sustained.
    pub fast: bool,
    /// How much, over which window.
    #[serde(flatten)]
    pub growth: Growth,
}

/// A device in a tick.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceTick {
    /// What was read, and the level.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// Readings at each level so far: normal, elevated, high, critical.
    pub level_readings: [u64; 4],
    /// Changes of level so far.
    pub level_changes: u64,
    /// Time lost waiting for its memory, where it is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall: Option<StallTimes>,
    /// When it will be full, once there is enough to say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// Whether it will be full within a quarter of an hour at the latest, as was told and not taken back.
    #[serde(default)]
    pub full_soon: bool,
    /// Growth that has been told and not taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growing: Option<Growing>,
    /// Tags and owners of its pools that are suspected to leak.
    #[serde(default)]
    pub suspected: Vec<TagLeak>,
    /// Who holds it, most first: owners of pools, then processes with what is not in their pools.
    pub holders: Vec<HolderUse>,
}

/// Everything at one instant.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tick {
    /// `vramkit.top/1`.
    pub schema: String,
    /// When, in UTC.
    pub time: String,
    /// Every device.
    pub devices: Vec<DeviceTick>,
    /// What was looked for and is not here.
    pub unavailable: Vec<Unavailable>,
    /// What changed since the tick before.
    pub events: Vec<WatchEvent>,
}

/// What a watcher keeps: samples of every device and events, oldest first.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct History {
    /// `vramkit.history/1`.
    pub schema: String,
    /// By device.
    pub devices: BTreeMap<String, Vec<HistorySample>>,
    /// Of all devices.
    pub events: Vec<WatchEvent>,
}
