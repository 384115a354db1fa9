//! This machine's main memory, and what a control group allows of it: two devices, because a full group is no full machine.
//! With each the time that the kernel says was lost waiting for memory. Files of the kernel in; a file that is not there or
//! says nonsense gives a missing number.
//!
//! ```
//! use vramkit_watch::{Source, host::HostSource};
//!
//! let machine = HostSource::default().read();
//! assert_eq!(machine.devices[0].device.id, "host");
//! // Where a group has a limit below the machine's memory, the second is `cgroup`.
//! assert!(machine.devices.len() <= 2);
//! ```

use std::path::Path;

use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};
use vramkit::monitor::{DeviceName, Stall, StallTimes, Usage};

use crate::group::{GroupMemory, groups};
use crate::kernel::{Kernel, shown, system_root};
use crate::meminfo::MachineMemory;
use crate::mounts::Mounts;
use crate::source::{DeviceClass, DeviceReading, Readings, Source, Unavailable};

/// See the module's first lines.
///
/// ```
/// use vramkit_watch::Source;
/// use vramkit_watch::host::HostSource;
///
/// let readings = HostSource::default().read();
/// // What is not on this machine is said to be unavailable, with the reason.
/// assert!(readings.devices.iter().all(|device| !device.device.id.is_empty()));
/// ```
#[derive(Clone, Debug)]
pub struct HostSource {
    kernel: Kernel,
    mounts: Mounts,
}

impl Default for HostSource {
    /// This machine's, or those of the folder that `VRAMKIT_SYSTEM_ROOT` names.
    fn default() -> Self {
        Self::at(&system_root())
    }
}

impl HostSource {
    /// Reads `proc` and `sys` below `root`.
    pub fn at(root: &Path) -> Self {
        let kernel = Kernel::at(root);
        Self { mounts: Mounts::read(&kernel), kernel }
    }

    fn machine(&self, memory: MachineMemory, notes: Vec<String>) -> DeviceReading {
        let processor = self.kernel.text("proc/cpuinfo").ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
            Some(shown(line.trim_start_matches(['\t', ' ', ':']), 200))
        });
        DeviceReading {
            device: DeviceName {
                id: "host".into(),
                name: processor.unwrap_or_else(|| "main memory".into()),
                uuid: None,
            },
            class: DeviceClass::Machine,
            activity: None,
            usage: usage(memory.total, memory.available, memory.used),
            processes: Reading::unavailable(Origin::System, "not listed for main memory"),
            stall: self.kernel.text("proc/pressure/memory").ok().and_then(|text| stall_times(&text)),
            shared_bytes: None,
            notes,
        }
    }
}

/// What a group allows, no more of it free than the machine has.
fn group_device(group: GroupMemory, available: Option<ByteSize>) -> DeviceReading {
    let reading = |found: Result<ByteSize, String>| match found {
        Ok(bytes) => Reading::known(bytes, Origin::Cgroup),
        Err(reason) => Reading::unavailable(Origin::Cgroup, reason),
    };
    let free = group.free.map(|free| available.map_or(free, |available| available.min(free)));
    DeviceReading {
        device: DeviceName { id: "cgroup".into(), name: format!("control group {}", group.path), uuid: None },
        class: DeviceClass::Group,
        activity: None,
        usage: usage(Reading::known(group.limit, Origin::Cgroup), reading(free), reading(group.used)),
        processes: Reading::unavailable(Origin::Cgroup, "not listed for control groups"),
        stall: stall_times(&group.pressure),
        shared_bytes: None,
        notes: group.notes,
    }
}

fn usage(total: Reading<ByteSize>, free: Reading<ByteSize>, used: Reading<ByteSize>) -> Usage {
    let none = |reason: &str| Reading::unavailable(Origin::System, reason);
    Usage {
        total_bytes: total,
        free_bytes: free,
        used_bytes: used,
        driver_bytes: none("main memory has no driver"),
        allocated_bytes: none("the system does not say what programs use of what they hold"),
        reserved_bytes: none("see the pools"),
    }
}

impl Source for HostSource {
    fn name(&self) -> &'static str {
        "host"
    }

    fn read(&mut self) -> Readings {
        let mut readings = Readings::default();
        let memory = MachineMemory::read(&self.kernel);
        let (total, available) = (memory.total.value, memory.available.value);
        let mut notes = Vec::new();
        if self.mounts.has_lxcfs {
            notes.push("lxcfs shows this container's limit as the machine's memory".to_owned());
        }
        let mut group = None;
        let wrong = match groups(&self.kernel, &self.mounts, total) {
            Ok(mut found) => {
                notes.append(&mut found.notes);
                group = found.tightest;
                found.wrong
            }
            Err(reason) => vec![reason],
        };
        let say = |reason| Unavailable { source: "cgroup".into(), reason };
        readings.unavailable.extend(wrong.into_iter().map(say));
        readings.devices.push(self.machine(memory, notes));
        readings.devices.extend(group.map(|group| group_device(group, available)));
        readings
    }
}

/// The kernel's pressure stall information: percents, and microseconds.
fn stall_times(text: &str) -> Option<StallTimes> {
    let stall = |kind: &str| -> Option<Stall> {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let number = |name: &str| -> Option<f64> {
            let word = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            word?.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
        };
        Some(Stall {
            avg10_ratio: number("avg10")? / 100.0,
            avg60_ratio: number("avg60")? / 100.0,
            avg300_ratio: number("avg300")? / 100.0,
            total_seconds: number("total")? / 1e6,
        })
    };
    Some(StallTimes { some: stall("some")?, full: stall("full").unwrap_or_default() })
}
