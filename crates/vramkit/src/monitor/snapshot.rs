//! One device at one instant, with the origin of each number. A number that its source does not give is missing, with the
//! reason, and then so is the level.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::identity::ProcessIdentity;
use super::pool_use::PoolUse;
use super::utc::utc;
use crate::device::{DeviceInfo, Origin, Reading};
use crate::pressure::{DeviceUse, PressureLevel, known_level};
use crate::units::ByteSize;

/// Which device a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceName {
    /// As the command line names it: `host`, `cuda:0`.
    pub id: String,
    /// As its maker does.
    pub name: String,
    /// Its identity wherever it is plugged in, where the driver gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
}

impl From<DeviceInfo> for DeviceName {
    fn from(info: DeviceInfo) -> Self {
        Self { id: info.id, name: info.name, uuid: info.uuid }
    }
}

/// How much memory there is and who has it, from one reading.
///
/// ```
/// use vramkit::device::Origin;
/// use vramkit::monitor::Usage;
///
/// let usage = Usage::unavailable(Origin::Nvml, "no driver");
/// assert_eq!(usage.used_ratio(), None); // never 0 for what is not known
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Usage {
    /// All of it.
    pub total_bytes: Reading<ByteSize>,
    /// What could be had now.
    pub free_bytes: Reading<ByteSize>,
    /// What every process together holds.
    pub used_bytes: Reading<ByteSize>,
    /// What the driver keeps for itself.
    pub driver_bytes: Reading<ByteSize>,
    /// What the tracker (a pool, a framework) has given to allocations.
    pub allocated_bytes: Reading<ByteSize>,
    /// What it holds from the device.
    pub reserved_bytes: Reading<ByteSize>,
}

impl Usage {
    /// Nothing known, for one reason.
    pub fn unavailable(source: Origin, reason: &str) -> Self {
        let none = || Reading::unavailable(source, reason);
        Self {
            total_bytes: none(),
            free_bytes: none(),
            used_bytes: none(),
            driver_bytes: none(),
            allocated_bytes: none(),
            reserved_bytes: none(),
        }
    }

    /// What is in use of all there is, 0..1; `None` when either is not known.
    pub fn used_ratio(&self) -> Option<f64> {
        let total = self.total_bytes.value.filter(|total| !total.is_zero())?;
        Some(self.used_bytes.value?.ratio_of(total))
    }
}

/// What one process holds of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessUse {
    /// As this machine (outside containers) numbers it.
    pub pid: u32,
    /// Its program, as far as it can be read.
    pub name: Reading<String>,
    /// Whose it is.
    #[serde(flatten)]
    pub identity: ProcessIdentity,
    /// Bytes that it holds.
    pub used_bytes: Reading<ByteSize>,
    /// Most that it ever held.
    pub peak_bytes: Reading<ByteSize>,
}

/// One device at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Snapshot {
    /// When, in UTC.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: SystemTime,
    /// Which device.
    pub device: DeviceName,
    /// What the monitored program was at; empty for a plain look.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub event: String,
    /// Its job's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u64>,
    /// The models that were loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// What each model holds, where the source knows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub model_bytes: BTreeMap<String, ByteSize>,
    /// The numbers.
    #[serde(flatten)]
    pub usage: Usage,
    /// Who holds it.
    pub processes: Reading<Vec<ProcessUse>>,
    /// Pools that were published on it.
    #[serde(default)]
    pub pools: Vec<PoolUse>,
    /// How full; none when that is not known.
    #[serde(default, deserialize_with = "known_level")]
    pub level: Option<PressureLevel>,
}

/// Owners and models of a snapshot that is kept.
const KEPT: usize = 64;

impl Snapshot {
    /// As it is kept: with the largest owners of each pool, and the largest models, so that a history is no multiple of them.
    pub(super) fn bounded(&self) -> Self {
        let mut kept = self.clone();
        kept.pools.iter_mut().for_each(|pool| keep_largest(&mut pool.owners, |owner| owner.granted_bytes));
        let mut models: Vec<_> = std::mem::take(&mut kept.model_bytes).into_iter().collect();
        keep_largest(&mut models, |(_, bytes)| *bytes);
        kept.model_bytes = models.into_iter().collect();
        kept
    }

    /// How much of the device is taken, from outside and, where its pools say so, from inside. What a pool has granted is no room for
    /// anybody; of main memory, what is inside is not known. Of a control group, what
    /// it cannot have because groups above it or the machine are full is taken.
    pub fn device_use(&self) -> Option<DeviceUse> {
        let usage = &self.usage;
        let (total, mut used) = (usage.total_bytes.value?, usage.used_bytes.value?);
        let kept = usage.driver_bytes.value.unwrap_or_default();
        if let (Origin::Cgroup, Some(free)) = (usage.used_bytes.source, usage.free_bytes.value) {
            // It may hold little, and those above it leave it nothing.
            used = used.max(total.saturating_sub(free));
        }
        // Of a process that the device's driver lists, pools have no more than it; of those that it does not list, no more together
        // than what it gives to processes that cannot be seen from here, or than is in nobody's name.
        let (mut listed, mut unseen) = (BTreeMap::new(), None::<ByteSize>);
        for process in self.processes.value.iter().flatten() {
            let Some(used) = process.used_bytes.value else { continue };
            listed.insert(process.pid, used);
            if process.name.value.is_none() {
                let sum = unseen.get_or_insert_default();
                *sum = sum.saturating_add(used);
            }
        }
        let named = listed.values().copied().fold(ByteSize::ZERO, ByteSize::saturating_add);
        let others = unseen.unwrap_or_else(|| used.saturating_sub(named));
        let sum = |of: fn(&PoolUse) -> ByteSize| {
            let (mut of_each, mut of_others) = (BTreeMap::<u32, ByteSize>::new(), None::<ByteSize>);
            for pool in &self.pools {
                let sum = match listed.contains_key(&pool.pid) {
                    true => of_each.entry(pool.pid).or_default(),
                    false => of_others.get_or_insert_default(),
                };
                *sum = sum.saturating_add(of(pool));
            }
            let named = of_each.into_iter().map(|(pid, sum)| sum.min(listed[&pid]));
            named.chain(of_others.map(|sum| sum.min(others))).reduce(ByteSize::saturating_add)
        };
        let (reserved, allocated) = match usage.used_bytes.source {
            Origin::Pool => (Some(used), Some(used)),
            Origin::System | Origin::Cgroup => (None, None),
            _ => (
                sum(|pool| pool.stats.committed_bytes).or(usage.reserved_bytes.value),
                sum(|pool| pool.stats.used_bytes).or(usage.allocated_bytes.value),
            ),
        };
        Some(DeviceUse { total, used, kept, reserved, allocated })
    }
}

/// The largest first, where there are too many.
fn keep_largest<T>(all: &mut Vec<T>, size: impl Fn(&T) -> ByteSize) {
    if all.len() > KEPT {
        all.sort_by_key(|one| Reverse(size(one)));
        all.truncate(KEPT);
        all.shrink_to_fit();
    }
}

fn write_time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&utc(*time))
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)
}
