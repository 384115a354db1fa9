//! Plain functions on one monitor of the process, under the names that people know, and the snapshot's JSON of that
//! preset.
//!
//! ```
//! use vramkit::monitor::names::{format_bytes, log_vram_snapshot};
//!
//! let line = log_vram_snapshot("loaded", Some(1), &["llama"]);
//! assert_eq!((line.event.as_str(), line.slot), ("loaded", Some(1)));
//! assert_eq!(format_bytes(9_633_792), "9.19 MiB");
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use serde::Serialize;

use super::card::CardSource;
use super::snapshot::Snapshot;
use super::source::{DeviceSource, MemorySource, NoDevice};
use super::stats::{CleanupReport, MonitorStats};
use super::utc::utc;
use super::vram_monitor::VramMonitor;
use crate::device::{HostDevice, NvmlCard};
use crate::sync::lock_std;
use crate::units::ByteSize;

/// A snapshot as a line of a log; sizes in GB of 10^9 bytes, null where they are not known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VramSnapshot {
    /// RFC 3339, in UTC.
    pub timestamp: String,
    /// What the program was at.
    pub event: String,
    /// Its job's number.
    pub slot: Option<u64>,
    /// Held by every process.
    pub vram_usage_gb: Option<f64>,
    /// In allocations.
    pub vram_allocated_gb: Option<f64>,
    /// Held from the device by the pool or framework.
    pub vram_reserved_gb: Option<f64>,
    /// Loaded models.
    pub models: Vec<String>,
}

impl From<&Snapshot> for VramSnapshot {
    fn from(snapshot: &Snapshot) -> Self {
        let gb = |size: Option<ByteSize>| size.map(|size| size.bytes() as f64 / 1e9);
        Self {
            timestamp: utc(snapshot.time),
            event: snapshot.event.clone(),
            slot: snapshot.slot,
            vram_usage_gb: gb(snapshot.usage.used_bytes.value),
            vram_allocated_gb: gb(snapshot.usage.allocated_bytes.value),
            vram_reserved_gb: gb(snapshot.usage.reserved_bytes.value),
            models: snapshot.models.clone(),
        }
    }
}

/// The process's monitor of a device, made when it is first asked for: `cuda:0` and its sisters by NVIDIA's management library, which takes
/// nothing of the card; `host` for main memory. Of what is not here everything is unavailable, with the reason.
pub fn device_monitor(id: &str) -> VramMonitor {
    static MONITORS: Mutex<BTreeMap<String, VramMonitor>> = Mutex::new(BTreeMap::new());
    if let Some(monitor) = lock_std(&MONITORS).get(id) {
        return monitor.clone();
    }
    // A driver is asked without the lock.
    let made = VramMonitor::new(source(id));
    lock_std(&MONITORS).entry(id.to_owned()).or_insert(made).clone()
}

fn source(id: &str) -> Arc<dyn MemorySource> {
    if id == "host" {
        return Arc::new(DeviceSource(Arc::new(HostDevice::new(ByteSize::MAX))));
    }
    let Some(index) = id.strip_prefix("cuda:").and_then(|index| index.parse().ok()) else {
        return Arc::new(NoDevice(format!("`{id}` is no device: host, cuda:0, cuda:1, …")));
    };
    match NvmlCard::open(index) {
        Ok(card) => Arc::new(CardSource(card)),
        Err(error) => Arc::new(NoDevice(error.to_string())),
    }
}

/// The process's own monitor: of the device that `VRAMKIT_DEVICE` names, or of the first card (see [`device_monitor`]).
pub fn process_monitor() -> &'static VramMonitor {
    static MONITOR: OnceLock<VramMonitor> = OnceLock::new();
    MONITOR.get_or_init(|| device_monitor(std::env::var("VRAMKIT_DEVICE").as_deref().unwrap_or("cuda:0")))
}

/// Bytes that every process together holds of the monitored device; `None` when that is not known.
pub fn get_current_vram_usage() -> Option<ByteSize> {
    process_monitor().usage().used_bytes.value
}

/// The counts of the [`process_monitor`].
pub fn get_vram_stats() -> MonitorStats {
    process_monitor().stats()
}

/// A snapshot of the [`process_monitor`].
pub fn log_vram_snapshot(event: &str, slot: Option<u64>, models: &[&str]) -> VramSnapshot {
    VramSnapshot::from(&process_monitor().log_snapshot(event, slot, models))
}

/// Gives back to the [`process_monitor`]'s device what its callbacks can free, and what every pool and registered cache
/// ([`register_idle`](crate::pool::register_idle)) of this process keeps there without using it; `None` while another cleanup is under way.
pub fn clear_cuda_cache() -> Option<CleanupReport> {
    process_monitor().cleanup()
}

/// A size for people: `9.19 MiB`.
pub fn format_bytes(bytes: u64) -> String {
    ByteSize::new(bytes).to_string()
}
