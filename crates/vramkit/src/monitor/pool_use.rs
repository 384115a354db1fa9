//! A pool and who holds it, as one program tells others.

use serde::{Deserialize, Serialize};

use super::decisions::Decision;
use super::identity::ProcessIdentity;
use super::stats::MonitorStats;
use crate::device::DeviceKind;
use crate::pool::{DeviceMemoryPool, LedgerEntry, OwnerUse, PoolStats};
use crate::stall::StallTimes;

/// By what a pool's device was found.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeviceBy {
    /// The device's identity, which the program's driver gave.
    Identity,
    /// The driver lists the process on this card alone.
    Driver,
    /// What the process's environment says of the cards that it may see: a guess, since a program may change it.
    Environment,
    /// What the program calls it, and nothing else: a guess.
    Claim,
}

/// A pool and who holds it.
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit::{ByteSize, device::SimulatedDevice, pool::DeviceMemoryPool};
/// use vramkit::monitor::PoolUse;
///
/// let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
/// let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
/// assert_eq!(PoolUse::of("kv", &pool).stats.capacity_bytes, ByteSize::mib(64));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoolUse {
    /// As its program calls it.
    pub name: String,
    /// The program's process, as whoever reads this numbers it; 0 where it is not visible there.
    pub pid: u32,
    /// The device that its memory is on: as its program calls it, and once a reader has found out, as the reader does.
    pub device: String,
    /// By what the reader found it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_by: Option<DeviceBy>,
    /// That device's identity wherever it is plugged in, and whatever part of the cards the program may see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_uuid: Option<String>,
    /// What kind of memory it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_kind: Option<DeviceKind>,
    /// Whose the program is. What a published document says here is not believed: its reader finds out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessIdentity>,
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
    /// The counts of its program's monitor, where the program shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<MonitorStats>,
}

impl PoolUse {
    /// Reads a pool.
    pub fn of(name: &str, pool: &DeviceMemoryPool) -> Self {
        Self { ledger: pool.ledger(), ..Self::without_ledger(name, pool) }
    }

    /// Reads a pool but for its ledger, which may be long.
    pub fn without_ledger(name: &str, pool: &DeviceMemoryPool) -> Self {
        let device = pool.device().info();
        Self {
            name: name.to_owned(),
            pid: std::process::id(),
            device: device.id,
            device_by: None,
            device_uuid: device.uuid,
            device_kind: Some(device.kind),
            process: None,
            stats: pool.stats(),
            owners: pool.owners(),
            ledger: Vec::new(),
            stall: pool.stall().times(),
            decisions: Vec::new(),
            monitor: None,
        }
    }
}
