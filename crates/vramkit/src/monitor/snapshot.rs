//! One device at one instant, with the origin of each number.
//!
//! A [`MemorySource`] is read once for each snapshot; a number that it does not give is missing, with the reason, and then
//! so is the level.

use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Decision, StallTimes};
use crate::device::{CudaDevice, Device, DeviceInfo, Origin, Reading};
use crate::pool::{DeviceMemoryPool, LedgerEntry, OwnerUse, PoolStats};
use crate::pressure::PressureLevel;
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
        Self { id: info.id, name: info.name, uuid: None }
    }
}

/// How much memory there is and who has it, from one reading.
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
    /// The container it runs in, when it runs in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Bytes that it holds.
    pub used_bytes: Reading<ByteSize>,
    /// Most that it ever held.
    pub peak_bytes: Reading<ByteSize>,
}

/// A pool and who holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoolUse {
    /// As its program calls it.
    pub name: String,
    /// The program's process.
    pub pid: u32,
    /// The device that its memory is on.
    pub device: String,
    /// Its numbers.
    pub stats: PoolStats,
    /// Who holds what, by model and purpose.
    pub owners: Vec<OwnerUse>,
    /// Who holds what since when, by tag.
    pub ledger: Vec<LedgerEntry>,
    /// Time lost waiting for it.
    #[serde(default)]
    pub stall: StallTimes,
    /// The last decisions of its program's orchestrator, oldest first, where the program shows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
}

impl PoolUse {
    /// Reads a pool.
    pub fn of(name: &str, pool: &DeviceMemoryPool) -> Self {
        Self {
            name: name.to_owned(),
            pid: std::process::id(),
            device: pool.device().info().id,
            stats: pool.stats(),
            owners: pool.owners(),
            ledger: pool.ledger(),
            stall: pool.stall().times(),
            decisions: Vec::new(),
        }
    }
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
    /// The numbers.
    #[serde(flatten)]
    pub usage: Usage,
    /// Who holds it.
    pub processes: Reading<Vec<ProcessUse>>,
    /// Pools that were published on it.
    #[serde(default)]
    pub pools: Vec<PoolUse>,
    /// How full; none when that is not known.
    pub level: Option<PressureLevel>,
}

/// RFC 3339, in UTC, for the years that it has.
pub fn utc(time: SystemTime) -> String {
    let last = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_millis(time.clamp(SystemTime::UNIX_EPOCH, last)).to_string()
}

fn write_time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&utc(*time))
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)
}

/// Where a monitor's numbers come from.
pub trait MemorySource: Send + Sync {
    /// Which device they are of.
    fn device(&self) -> DeviceName;

    /// Reads everything once; may ask a driver.
    fn read(&self) -> Usage;

    /// What limits are judged by, when counters in memory say it; `None` when it takes a [`read`](Self::read).
    fn held(&self) -> Option<ByteSize> {
        None
    }

    /// Gives back to the device what nobody uses.
    fn reclaim(&self) {}

    /// What each model holds, where that is known: the name and the bytes granted.
    fn models(&self) -> Vec<(String, ByteSize)> {
        Vec::new()
    }
}

impl MemorySource for DeviceMemoryPool {
    fn device(&self) -> DeviceName {
        self.device().info().into()
    }

    fn read(&self) -> Usage {
        let known = |size| Reading::known(size, Origin::Pool);
        Usage {
            total_bytes: known(self.capacity()),
            free_bytes: known(self.available()),
            used_bytes: known(self.used()),
            driver_bytes: Reading::unavailable(Origin::Pool, "a pool has no driver of its own"),
            allocated_bytes: known(self.used()),
            reserved_bytes: known(self.committed()),
        }
    }

    fn held(&self) -> Option<ByteSize> {
        Some(self.used())
    }

    fn reclaim(&self) {
        if let Err(error) = self.trim() {
            tracing::warn!(%error, "trimming a pool failed");
        }
    }

    fn models(&self) -> Vec<(String, ByteSize)> {
        let mut models: Vec<(String, ByteSize)> = Vec::new();
        for owner in self.owners() {
            match models.iter_mut().find(|(model, _)| model == owner.model.as_str()) {
                Some((_, bytes)) => *bytes += owner.granted_bytes,
                None => models.push((owner.model.to_string(), owner.granted_bytes)),
            }
        }
        models
    }
}

/// A device as a source: what every process together holds of it.
#[derive(Clone, Debug)]
pub struct DeviceSource(pub std::sync::Arc<dyn Device>);

impl MemorySource for DeviceSource {
    fn device(&self) -> DeviceName {
        self.0.info().into()
    }

    fn read(&self) -> Usage {
        usage_of(&*self.0)
    }
}

/// A device's numbers from one reading.
fn usage_of(device: &dyn Device) -> Usage {
    let memory = device.memory();
    let used = match (memory.total_bytes.value, memory.free_bytes.value) {
        (Some(total), Some(free)) => Reading::known(total.saturating_sub(free), memory.free_bytes.source),
        _ => Reading::unavailable(memory.free_bytes.source, "total or free is not known"),
    };
    let none = |reason: &str| Reading::unavailable(memory.committed_bytes.source, reason);
    Usage {
        driver_bytes: none("not read from a device"),
        allocated_bytes: none("a device keeps no allocations"),
        reserved_bytes: memory.committed_bytes.clone(),
        total_bytes: memory.total_bytes,
        free_bytes: memory.free_bytes,
        used_bytes: used,
    }
}

/// A card as a source: what every process together holds of it, and what this process has in its stream-ordered pool.
#[derive(Debug)]
pub struct CudaSource(pub CudaDevice);

impl MemorySource for CudaSource {
    fn device(&self) -> DeviceName {
        self.0.info().into()
    }

    fn read(&self) -> Usage {
        let pool = self.0.stream_pool();
        Usage { allocated_bytes: pool.used_bytes, reserved_bytes: pool.reserved_bytes, ..usage_of(&self.0) }
    }
}
