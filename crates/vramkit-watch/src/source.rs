//! What a source gives: devices with numbers, pools on them, and what it could not find.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use vramkit::ByteSize;
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
    /// What only programs speak of; what this version has no word for, in documents of another one.
    #[default]
    #[serde(other)]
    Other,
}

impl DeviceClass {
    /// Whether it is a card or a part of one.
    pub fn is_gpu(self) -> bool {
        matches!(self, Self::Gpu | Self::GpuPart)
    }

    /// As in JSON and in the metrics' label `class`: alerts choose by it.
    ///
    /// ```
    /// assert_eq!(vramkit_watch::DeviceClass::GpuPart.as_str(), "gpu_part");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::GpuPart => "gpu_part",
            Self::Machine => "machine",
            Self::Group => "group",
            Self::Simulated => "simulated",
            Self::Other => "other",
        }
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
    /// What is in use of the machine's memory through it, beside its own, where its source says (AMD's GTT).
    pub shared_bytes: Option<Reading<ByteSize>>,
    /// What else is to be known of the numbers, in words: what was guessed and from what, limits that stand beside them.
    pub notes: Vec<String>,
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

/// A card that should be here: its driver names it and cannot read it, or the bus has it and nobody lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which one, as far as its source knows.
    pub device: DeviceName,
    /// Its place on the bus, where that is known.
    pub place: Option<String>,
    /// What stands in the way.
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
    /// What this version has no word for: in documents of another one.
    #[serde(other)]
    Unknown,
}

/// A container that may use a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assignment {
    /// The device: its identity, or its place on the bus.
    pub device: String,
    /// `namespace/name`.
    pub pod: String,
    /// The container's name in it.
    pub container: String,
}

/// All that a source says at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// How it stands with the source.
    pub health: Health,
    /// Devices.
    pub devices: Vec<DeviceReading>,
    /// Cards that should be here and are not.
    pub missing: Vec<Missing>,
    /// Pools, each with the id of its device.
    pub pools: Vec<PoolUse>,
    /// What the environments of the pools' processes said of cards, by process.
    pub environments: BTreeMap<u32, Environment>,
    /// Since when processes that published pools have not said them.
    pub silent: BTreeMap<u32, SystemTime>,
    /// Who may use which devices, of this source or another.
    pub assigned: Vec<Assignment>,
    /// Places on the bus of its devices, by id, where they are known: one without an identity is known by its place.
    pub places: BTreeMap<String, String>,
    /// Places on the bus of cards that a virtual machine has.
    pub given: BTreeSet<String>,
    /// Places on the bus of cards that the driver was told to leave out.
    pub excluded: BTreeSet<String>,
    /// Cards that this user may not ask, by the ids that they would have.
    pub barred: BTreeSet<String>,
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
///
/// A source is read on a thread of its own, and may take its time: one that does not answer delays nobody, and is not asked
/// again before it has answered.
pub trait Source: Send {
    /// What it is called in messages and metrics: `nvml`, `amd`, `host`, `pools`, `kubelet`.
    fn name(&self) -> &str;

    /// Reads everything once.
    fn read(&mut self) -> Readings;

    /// For how long what it says stands when it is late with the next: no time, unless that changes seldom.
    fn holds(&self) -> Duration {
        Duration::ZERO
    }
}

/// A source that says what a function does.
///
/// ```
/// use std::time::Duration;
/// use vramkit_watch::{Readings, WatchConfig, Watcher, source_fn};
///
/// let nothing = source_fn("cards of no make", Readings::default);
/// let mut watcher = Watcher::new(vec![Box::new(nothing)], WatchConfig::default())?;
/// assert!(watcher.tick(Duration::ZERO).devices.is_empty());
/// # Ok::<(), vramkit::pressure::LadderError>(())
/// ```
pub fn source_fn(name: impl Into<String>, read: impl FnMut() -> Readings + Send) -> impl Source {
    Function { name: name.into(), read }
}

struct Function<F> {
    name: String,
    read: F,
}

impl<F: FnMut() -> Readings + Send> Source for Function<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self) -> Readings {
        (self.read)()
    }
}

/// A source that is made when it is read for the first time, on the thread that reads it.
pub(crate) struct Lazy<S, F> {
    name: &'static str,
    make: F,
    made: Option<S>,
}

impl<S, F: Fn() -> S> Lazy<S, F> {
    pub(crate) fn new(name: &'static str, make: F) -> Self {
        Self { name, make, made: None }
    }
}

impl<S: Source, F: Fn() -> S + Send> Source for Lazy<S, F> {
    fn name(&self) -> &str {
        self.name
    }

    fn read(&mut self) -> Readings {
        self.made.get_or_insert_with(&self.make).read()
    }
}
