//! Where a monitor's numbers come from: a pool, a device, a card, or what a program makes of its own. A source is read once
//! for each snapshot, and judges nothing.

use std::sync::Arc;

use super::snapshot::{DeviceName, Usage};
use crate::device::{CudaDevice, Device, Origin, Reading};
use crate::pool::{DeviceMemoryPool, Request};
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

    fn would_grant(&self, bytes: ByteSize) -> Option<bool> {
        Some(Self::would_grant(self, &Request::new(bytes), &[]))
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
pub struct DeviceSource(pub Arc<dyn Device>);

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
}
