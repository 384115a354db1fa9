//! What idles in this process: every pool and cache that keeps memory of a device which nobody uses, so that all of it can go
//! back at once, whoever made it. They make themselves known and are held weakly; nothing is kept of what is gone.
//!
//! ```
//! use std::sync::Arc;
//! use vramkit_pool::device::SimulatedDevice;
//! use vramkit_pool::pool::{DeviceMemoryPool, Request, give_back_idle};
//! use vramkit_pool::{ByteSize, device::Device};
//!
//! let device = Arc::new(SimulatedDevice::builder(ByteSize::mib(64)).id("sim:idle").build());
//! let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
//! drop(pool.allocate(Request::new(ByteSize::mib(8)))?);
//! assert_eq!(give_back_idle("sim:idle"), ByteSize::mib(8));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::{Arc, Mutex, Weak};

use super::core::Inner;
use crate::device::Device;
use crate::sync::lock_std;
use vramkit_units::ByteSize;

/// Who keeps memory of a device that nobody uses.
pub trait IdleMemory: Send + Sync {
    /// Gives back what nobody uses: how much less is held afterwards.
    fn give_back(&self) -> ByteSize;

    /// What it has given to allocations, and what it holds from the device; `None` where others count it.
    fn held(&self) -> Option<(ByteSize, ByteSize)> {
        None
    }

    /// What it keeps of what others count as given to allocations, and nobody uses.
    fn kept(&self) -> ByteSize {
        ByteSize::ZERO
    }
}

/// A device, by its id (`cuda:0`) and, where several of one id have separate memory, by which of them it is.
///
/// ```
/// use vramkit_pool::ByteSize;
/// use vramkit_pool::device::{Device, SimulatedDevice};
/// use vramkit_pool::pool::{DeviceKey, held_by_pools};
///
/// let device = SimulatedDevice::new(ByteSize::mib(64));
/// assert_eq!(held_by_pools(&device as &dyn Device), None); // of this one
/// let _all = held_by_pools(DeviceKey::from("sim")); // of all that are called so
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceKey {
    id: String,
    /// 0: whichever.
    instance: u64,
}

impl DeviceKey {
    fn has(&self, other: &Self) -> bool {
        self.id == other.id
            && (self.instance == other.instance || [self.instance, other.instance].contains(&0))
    }
}

impl From<&str> for DeviceKey {
    fn from(id: &str) -> Self {
        Self { id: id.to_owned(), instance: 0 }
    }
}

impl From<&dyn Device> for DeviceKey {
    fn from(device: &dyn Device) -> Self {
        Self { id: device.info().id, instance: device.instance() }
    }
}

/// The oldest first. Those that are gone are left out when there are twice as many.
static KNOWN: Mutex<Known> = Mutex::new(Known { all: Vec::new(), look_at: 16 });

struct Known {
    all: Vec<(DeviceKey, Weak<dyn IdleMemory>)>,
    look_at: usize,
}

/// Makes something known that keeps memory of a device, for [`give_back_idle`]. Pools and caches of this crate
/// need no such call.
pub fn register_idle(device: impl Into<DeviceKey>, memory: Weak<dyn IdleMemory>) {
    let mut known = lock_std(&KNOWN);
    if known.all.len() >= known.look_at {
        known.all.retain(|(_, one)| one.strong_count() > 0);
        known.look_at = (2 * known.all.len()).max(16);
    }
    known.all.push((device.into(), memory));
}

/// Lets every pool and cache of this process give back to a device what nobody uses; how much went. Caches come before the pools that
/// they are of, since what they give up is idle there. No lock is held meanwhile.
pub fn give_back_idle(device: impl Into<DeviceKey>) -> ByteSize {
    on(&device.into()).iter().map(|one| one.give_back()).sum()
}

/// What pools of this process have given to allocations on a device, and what they hold from it; `None` when there is no pool
/// on it.
pub fn held_by_pools(device: impl Into<DeviceKey>) -> Option<(ByteSize, ByteSize)> {
    let on_it = on(&device.into());
    let kept: ByteSize = on_it.iter().map(|one| one.kept()).sum();
    let held = on_it.iter().filter_map(|one| one.held());
    let sum = |(allocated, reserved): (ByteSize, ByteSize), (a, r)| {
        (allocated.saturating_add(a), reserved.saturating_add(r))
    };
    held.reduce(sum).map(|(allocated, reserved)| (allocated.saturating_sub(kept), reserved))
}

/// Those on a device, the newest first.
fn on(device: &DeviceKey) -> Vec<Arc<dyn IdleMemory>> {
    let known = lock_std(&KNOWN);
    known.all.iter().rev().filter(|(of, _)| device.has(of)).filter_map(|(_, one)| one.upgrade()).collect()
}

impl IdleMemory for Inner {
    fn give_back(&self) -> ByteSize {
        match self.trim() {
            Ok(report) => report.freed_bytes,
            Err(error) => {
                tracing::warn!(%error, "idle memory could not be given back");
                ByteSize::ZERO
            }
        }
    }

    fn held(&self) -> Option<(ByteSize, ByteSize)> {
        Some((ByteSize::new(self.used()), self.granules.committed()))
    }
}
