//! Devices of all sources, each with the pools on it, joined by the device's id.

use std::collections::BTreeMap;

use vramkit::ByteSize;
use vramkit::device::{DeviceKind, Origin, Reading};
use vramkit::monitor::{DeviceName, PoolUse, Usage};
use vramkit::pool::PoolStats;

use crate::source::{DeviceClass, DeviceReading};

/// Every device with its pools, in the order of the sources; then devices that no source knows, which are what their
/// pools say they are.
pub(crate) fn by_device(
    devices: Vec<DeviceReading>,
    all: Vec<PoolUse>,
) -> Vec<(DeviceReading, Vec<PoolUse>)> {
    let mut pools: BTreeMap<String, Vec<PoolUse>> = BTreeMap::new();
    for pool in all {
        pools.entry(pool.device.clone()).or_default().push(pool);
    }
    let mut joined: Vec<(DeviceReading, Vec<PoolUse>)> = Vec::new();
    for reading in devices {
        // What an earlier source has listed is that one's: it knows more of it.
        if joined.iter().any(|(known, _)| known.device.id == reading.device.id) {
            continue;
        }
        let on_it = pools.remove(&reading.device.id).unwrap_or_default();
        joined.push((reading, on_it));
    }
    joined.extend(pools.into_iter().map(|(id, on_it)| (device_of_pools(id, &on_it), on_it)));
    joined
}

/// A device as the sum of its pools.
fn device_of_pools(id: String, pools: &[PoolUse]) -> DeviceReading {
    let sum = |of: fn(&PoolStats) -> ByteSize| {
        let sum = pools.iter().fold(0u64, |sum, pool| sum.saturating_add(of(&pool.stats).bytes()));
        Reading::known(ByteSize::new(sum), Origin::Pool)
    };
    let why = "only pools are seen of this device";
    let used = sum(|stats| stats.used_bytes);
    DeviceReading {
        device: DeviceName { id, name: "pools of programs".into(), uuid: None },
        class: class_of(pools),
        activity: None,
        usage: Usage {
            total_bytes: sum(|stats| stats.capacity_bytes),
            free_bytes: sum(|stats| stats.capacity_bytes.saturating_sub(stats.used_bytes)),
            used_bytes: used.clone(),
            driver_bytes: Reading::unavailable(Origin::Pool, why),
            allocated_bytes: used,
            reserved_bytes: sum(|stats| stats.committed_bytes),
        },
        processes: Reading::unavailable(Origin::Pool, why),
        stall: None,
        shared_bytes: None,
        notes: Vec::new(),
    }
}

/// What kind of memory pools say theirs is.
fn class_of(pools: &[PoolUse]) -> DeviceClass {
    match pools.first().and_then(|pool| pool.device_kind.as_ref()) {
        Some(DeviceKind::Simulated) => DeviceClass::Simulated,
        _ => DeviceClass::Other,
    }
}
