//! What a watcher says: plain data, the same on the screen, in JSON and on disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vramkit::ByteSize;
use vramkit::device::Reading;
use vramkit::monitor::leak::{Growth, TagLeak};
use vramkit::monitor::{Forecast, ProcessIdentity, Snapshot, StallTimes};
use vramkit::pressure::{PressureLevel, known_level};

use crate::source::{Activity, DeviceClass, Health, Unavailable};

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
    /// A device is not there any more: a card is missed, anything else is gone.
    Lost,
    /// A card that was lost is there again.
    Back,
    /// A source does not answer within its time.
    SourceLate,
    /// A source answers that it cannot, or cannot read the memory of a device that is there.
    SourceFailing,
    /// A source answers again, or reads a device's memory again.
    SourceBack,
    /// The recording cannot be written.
    RecorderFailing,
    /// The recording goes on.
    RecorderBack,
    /// A program's orchestrator decided something.
    Decided,
    /// What this version has no word for: in documents of another one.
    #[serde(other)]
    Unknown,
}

/// Something that changed.
///
/// ```
/// use vramkit_watch::{EventKind, WatchEvent};
///
/// let now = "2026-01-01T00:00:00.000Z".into();
/// let event = WatchEvent::new(now, "cuda:0".into(), EventKind::Lost, "is lost".into());
/// assert_eq!(event.kind, EventKind::Lost);
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WatchEvent {
    /// When, in UTC.
    pub time: String,
    /// On which device; the source's name, or `recorder`, where it is about that.
    pub device: String,
    /// What kind.
    pub kind: EventKind,
    /// In words.
    pub text: String,
}

impl WatchEvent {
    /// An event, for whoever puts ticks together.
    pub fn new(time: String, device: String, kind: EventKind, text: String) -> Self {
        Self { time, device, kind, text }
    }
}

/// Whether a device is there.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Presence {
    /// It is, and was read.
    #[default]
    Present,
    /// It was, and is not any more: it has fallen off the bus, its driver is gone, or nobody lists it.
    Lost {
        /// Since when, in UTC.
        since: String,
        /// Why, as its source says.
        reason: String,
    },
    /// It was given to a virtual machine, and is missed by nobody.
    Given {
        /// Since when, in UTC.
        since: String,
        /// Where it is, and what holds it.
        reason: String,
    },
    /// The user who asks may not ask it any more, and nobody misses it.
    Barred {
        /// Since when, in UTC.
        since: String,
        /// Who says so.
        reason: String,
    },
    /// Its source does not answer: how it stands with the device is not known.
    Unread {
        /// Since when, in UTC.
        since: String,
        /// Why.
        reason: String,
    },
    /// What this version has no word for: in documents of another one.
    #[serde(other)]
    Unknown,
}

/// How it stands with a source, and since when.
///
/// ```
/// use vramkit_watch::{Health, SourceTick};
///
/// let source = SourceTick::new("nvml".into(), Health::Late, "2026-01-01T00:00:00.000Z".into());
/// assert_eq!((source.health, source.answered), (Health::Late, None));
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SourceTick {
    /// Which one: `nvml`, `amd`, `host`, `pools`.
    pub source: String,
    /// How it stands.
    pub health: Health,
    /// Since when, in UTC.
    pub since: String,
    /// Why, where it is not up; what it cannot read, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it last answered, in UTC; none when it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
}

/// How it stands with the recording, and since when.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RecorderTick {
    /// The file.
    pub file: String,
    /// Whether it is written.
    pub up: bool,
    /// Since when that is so, in UTC.
    pub since: String,
    /// Why it is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl SourceTick {
    /// A source without more words, for whoever puts ticks together.
    pub fn new(source: String, health: Health, since: String) -> Self {
        Self { source, health, since, reason: None, answered: None }
    }
}

/// Who holds a part of a device, for drawing.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HolderUse {
    /// A model and purpose of a pool, or a process.
    pub name: String,
    /// What it holds.
    pub bytes: ByteSize,
}

/// Who holds a part of a device, and whose that is.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
// A pool's holders are called so too.
#[cfg_attr(feature = "schema", schemars(rename = "DeviceHolder"))]
pub struct Holder {
    /// A model and purpose of a pool, or a process.
    pub name: String,
    /// What it holds.
    pub bytes: ByteSize,
    /// The process, where it is one's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Whose it is.
    #[serde(flatten)]
    pub identity: ProcessIdentity,
}

/// A container that may use a device, as the node's kubelet says.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AssignedTo {
    /// `namespace/name`.
    pub pod: String,
    /// The container's name in it.
    pub container: String,
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
    #[serde(default, deserialize_with = "known_level")]
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

/// A tag or owner of a pool that is suspected to leak.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SuspectedLeak {
    /// The pool's name.
    #[serde(default)]
    pub pool: String,
    /// The process that has it.
    #[serde(default)]
    pub pid: u32,
    /// What leaks, and how fast.
    #[serde(flatten)]
    pub leak: TagLeak,
}

/// A device in a tick.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceTick {
    /// What was read, and the level.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// Whose memory it is.
    #[serde(default)]
    pub class: DeviceClass,
    /// Whether it is there.
    #[serde(default)]
    pub presence: Presence,
    /// What it does beside holding memory, where its source says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
    /// Readings at each level so far: normal, elevated, high, critical.
    pub level_readings: [u64; 4],
    /// Changes of level so far.
    pub level_changes: u64,
    /// Time lost waiting for its memory, where it is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall: Option<StallTimes>,
    /// What is in use of the machine's memory through it, beside its own, where its source says (AMD's GTT).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_bytes: Option<Reading<ByteSize>>,
    /// The containers that may use it, on a node of Kubernetes whose kubelet says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assigned: Vec<AssignedTo>,
    /// What else is to be known of the numbers, in words: what was guessed and from what, limits that stand beside them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
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
    pub suspected: Vec<SuspectedLeak>,
    /// Who holds it, most first: owners of pools, then processes with what is not in their pools.
    pub holders: Vec<Holder>,
}

impl DeviceTick {
    /// Most containers that are named in words.
    const NAMED: usize = 8;

    /// Who may use it, in words; none where nobody says so.
    pub fn assigned_words(&self) -> Option<String> {
        let more = self.assigned.len().saturating_sub(Self::NAMED);
        let to = self.assigned.iter().take(Self::NAMED).map(|to| format!("{} ({})", to.pod, to.container));
        let to = to.collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!to.is_empty()).then(|| format!("assigned to {to}{more}"))
    }
}

/// Everything at one instant.
///
/// ```
/// use vramkit_watch::{EventKind, Health, SourceTick, Tick, WatchEvent};
///
/// let now = "2026-01-01T00:00:00.000Z".to_owned();
/// let mut tick = Tick::new(now.clone());
/// tick.sources.push(SourceTick::new("gpu7:9835".into(), Health::Up, now.clone()));
/// tick.events.push(WatchEvent::new(now, "cuda:0".into(), EventKind::Lost, "is lost".into()));
/// assert!(tick.devices.is_empty() && tick.schema == "vramkit.top/1");
/// ```
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
    /// How it stands with each source.
    #[serde(default)]
    pub sources: Vec<SourceTick>,
    /// How it stands with the recording, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorder: Option<RecorderTick>,
    /// What was looked for and is not here.
    pub unavailable: Vec<Unavailable>,
    /// What changed since the tick before.
    pub events: Vec<WatchEvent>,
}

impl Tick {
    /// Nothing at an instant, for whoever puts ticks together.
    pub fn new(time: String) -> Self {
        Self {
            schema: "vramkit.top/1".into(),
            time,
            devices: Vec::new(),
            sources: Vec::new(),
            recorder: None,
            unavailable: Vec::new(),
            events: Vec::new(),
        }
    }
}

/// What a watcher keeps: samples of every device and events, oldest first. The last samples are one a reading; of those
/// before, the one of a minute or of ten minutes with the most bytes is kept.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_of_another_version_are_not_known_and_the_rest_is() {
        let reading = |source: &str| json!({"value": 5, "source": source});
        let device = json!({
            "time": "2026-01-01T00:00:00.000Z", "device": {"id": "npu:0", "name": "a card"}, "class": "npu",
            "presence": {"state": "parked", "where": "a place"}, "level": "extreme", "level_readings": [0, 0, 0, 0],
            "level_changes": 0, "holders": [], "processes": {"value": [], "source": "dcgm"},
            "total_bytes": reading("nvml"), "free_bytes": reading("nvml"), "used_bytes": reading("dcgm"),
            "driver_bytes": reading("nvml"), "allocated_bytes": reading("nvml"), "reserved_bytes": reading("nvml"),
        });
        let now = "2026-01-01T00:00:00.000Z";
        let tick: Tick = serde_json::from_value(json!({
            "schema": "vramkit.top/1", "time": now, "devices": [device], "unavailable": [],
            "sources": [{"source": "dcgm", "health": "asleep", "since": now}],
            "events": [{"time": now, "device": "npu:0", "kind": "migrated", "text": "has moved"}],
        }))
        .unwrap();
        let device = &tick.devices[0];
        assert_eq!((device.class, &device.presence), (DeviceClass::Other, &Presence::Unknown));
        let used = &device.snapshot.usage.used_bytes;
        assert_eq!((used.value, used.source), (Some(ByteSize::new(5)), vramkit::device::Origin::Unknown));
        assert_eq!((device.snapshot.level, tick.sources[0].health), (None, Health::Unknown));
        assert_eq!((tick.events[0].kind, tick.events[0].text.as_str()), (EventKind::Unknown, "has moved"));
    }
}
