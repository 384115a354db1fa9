//! Where a monitor's numbers come from: a pool, a device, a card, or what a program makes of its own. A source is read once
//! for each snapshot, and judges nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pool_use::PoolUse;
use super::snapshot::{DeviceName, ProcessUse, Usage};
use crate::device::{CudaDevice, Device, Origin, Reading};
use crate::pool::{DeviceKey, DeviceMemoryPool, Request, give_back_idle, held_by_pools};
use crate::units::ByteSize;

/// Where a monitor's numbers come from.
///
/// ```
/// use vramkit::ByteSize;
/// use vramkit::device::Origin;
/// use vramkit::monitor::{DeviceName, MemorySource, Usage};
///
/// /// A framework that only tells what it holds.
/// struct Framework;
///
/// impl MemorySource for Framework {
///     fn device(&self) -> DeviceName {
///         DeviceName { id: "cuda:0".into(), name: "a card".into(), uuid: None }
///     }
///
///     fn read(&self) -> Usage {
///         Usage::unavailable(Origin::Driver, "the framework does not ask the driver")
///     }
///
///     fn held(&self) -> Option<ByteSize> {
///         Some(ByteSize::gib(3))
///     }
/// }
///
/// let monitor = vramkit::monitor::VramMonitor::new(std::sync::Arc::new(Framework));
/// assert_eq!(monitor.log_snapshot("start", None, &[]).level, None, "that is not known");
/// ```
pub trait MemorySource: Send + Sync {
    /// Which device they are of.
    fn device(&self) -> DeviceName;

    /// Reads everything once; may ask a driver.
    fn read(&self) -> Usage;

    /// What limits are judged by, when counters in memory say it; `None` when it takes a [`read`](Self::read).
    fn held(&self) -> Option<ByteSize> {
        None
    }

    /// Whether so many bytes would be granted in one piece, where that is known: free bytes may be in pieces.
    fn would_grant(&self, bytes: ByteSize) -> Option<bool> {
        let _ = bytes;
        None
    }

    /// Gives back to the device what nobody uses.
    fn reclaim(&self) {}

    /// What each model holds, where that is known: its name and the bytes granted. What its pools say unless it says otherwise.
    fn models(&self) -> Vec<(String, ByteSize)> {
        held_by_models(&self.pools(false)).into_iter().collect()
    }

    /// Which processes hold the device, where that is known.
    fn processes(&self) -> Reading<Vec<ProcessUse>> {
        Reading::unavailable(Origin::Pool, "this source does not list processes")
    }

    /// The pools that the numbers are of, where it is pools; with their ledgers, by which leaks are judged, or without.
    fn pools(&self, with_ledgers: bool) -> Vec<PoolUse> {
        let _ = with_ledgers;
        Vec::new()
    }
}

impl MemorySource for DeviceMemoryPool {
    fn device(&self) -> DeviceName {
        self.device().info().into()
    }

    fn read(&self) -> Usage {
        let known = |size| Reading::known(size, Origin::Pool);
        let (used, committed) = (self.used(), self.committed());
        // What others hold of the device, this pool cannot have.
        let device = self.device().memory().free_bytes.value;
        let within = device.map(|free| free.saturating_add(committed).saturating_sub(used));
        let free = within.map_or(self.available(), |within| within.min(self.available()));
        Usage {
            total_bytes: known(used.saturating_add(free)),
            free_bytes: known(free),
            used_bytes: known(used),
            driver_bytes: Reading::unavailable(Origin::Pool, "a pool has no driver of its own"),
            allocated_bytes: known(used),
            reserved_bytes: known(committed),
        }
    }

    fn held(&self) -> Option<ByteSize> {
        Some(self.used())
    }

    fn would_grant(&self, bytes: ByteSize) -> Option<bool> {
        Some(Self::would_grant(self, &Request::new(bytes), &[]))
    }

    fn reclaim(&self) {
        if let Err(error) = self.trim() {
            tracing::warn!(%error, "trimming a pool failed");
        }
    }

    fn pools(&self, with_ledgers: bool) -> Vec<PoolUse> {
        vec![if with_ledgers { PoolUse::of("pool", self) } else { PoolUse::without_ledger("pool", self) }]
    }
}

/// What models hold of pools.
pub(super) fn held_by_models(pools: &[PoolUse]) -> BTreeMap<String, ByteSize> {
    let mut held: BTreeMap<String, ByteSize> = BTreeMap::new();
    for owner in pools.iter().flat_map(|pool| &pool.owners) {
        *held.entry(owner.model.to_string()).or_default() += owner.granted_bytes;
    }
    held
}

/// A device as a source: what every process together holds of it.
#[derive(Clone, Debug)]
pub struct DeviceSource(pub Arc<dyn Device>);

impl MemorySource for DeviceSource {
    fn device(&self) -> DeviceName {
        self.0.info().into()
    }

    fn read(&self) -> Usage {
        usage_of(&*self.0)
    }

    fn reclaim(&self) {
        give_back_idle(&*self.0);
    }
}

/// What this process's pools have given to allocations on a device, and what they hold from it.
pub(super) fn own_pools(device: impl Into<DeviceKey>) -> (Reading<ByteSize>, Reading<ByteSize>) {
    match held_by_pools(device) {
        Some((allocated, reserved)) => {
            (Reading::known(allocated, Origin::Pool), Reading::known(reserved, Origin::Pool))
        }
        None => {
            let none = || Reading::unavailable(Origin::Pool, "no pool of this process is on it");
            (none(), none())
        }
    }
}

/// A device's numbers from one reading.
fn usage_of(device: &dyn Device) -> Usage {
    let memory = device.memory();
    let used = match (memory.total_bytes.value, memory.free_bytes.value) {
        (Some(total), Some(free)) => Reading::known(total.saturating_sub(free), memory.free_bytes.source),
        _ => Reading::unavailable(memory.free_bytes.source, "total or free is not known"),
    };
    let (allocated, reserved) = own_pools(device);
    Usage {
        driver_bytes: Reading::unavailable(memory.committed_bytes.source, "not read from a device"),
        allocated_bytes: allocated,
        // Where no pool counts it: what was committed by this very device.
        reserved_bytes: if reserved.value.is_some() { reserved } else { memory.committed_bytes },
        total_bytes: memory.total_bytes,
        free_bytes: memory.free_bytes,
        used_bytes: used,
    }
}

/// No device as a source: nothing is known of it, and why.
///
/// ```
/// use vramkit::monitor::{NoDevice, VramMonitor};
///
/// let monitor = VramMonitor::new(std::sync::Arc::new(NoDevice("no driver here".into())));
/// assert_eq!(monitor.usage().used_bytes.unavailable.as_deref(), Some("no driver here"));
/// assert_eq!(monitor.log_snapshot("start", None, &[]).level, None);
/// ```
#[derive(Clone, Debug)]
pub struct NoDevice(pub String);

impl MemorySource for NoDevice {
    fn device(&self) -> DeviceName {
        DeviceName { id: "none".into(), name: "no device".into(), uuid: None }
    }

    fn read(&self) -> Usage {
        Usage::unavailable(Origin::Driver, &self.0)
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

    fn reclaim(&self) {
        give_back_idle(&self.0 as &dyn Device);
    }
}
