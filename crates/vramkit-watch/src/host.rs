//! This machine's main memory, within what its control group allows, and the time that the kernel says was lost waiting
//! for it. Files of the kernel in; a file that is not there or says nonsense gives a missing number.
//!
//! ```
//! use vramkit_watch::{Source, host::HostSource};
//!
//! let machine = HostSource::default().read();
//! assert!(machine.devices.len() <= 1);
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};
use vramkit::monitor::{DeviceName, Stall, StallTimes, Usage};

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
    root: PathBuf,
}

impl Default for HostSource {
    fn default() -> Self {
        Self::at(Path::new("/"))
    }
}

impl HostSource {
    /// Reads `proc` and `sys` below `root`.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn text(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(self.root.join(path)).map_err(|error| format!("/{path}: {error}"))
    }

    /// The folder of this process's group of version 2.
    fn group(&self) -> Result<String, String> {
        let groups = self.text("proc/self/cgroup")?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"));
        let Some(path) = path else {
            return Err("control groups here are of version 1, which is not read".into());
        };
        let folder = format!("sys/fs/cgroup{}", path.trim_end_matches('/'));
        if self.root.join(&folder).join("cgroup.controllers").exists()
            || self.root.join(&folder).join("memory.max").exists()
        {
            Ok(folder)
        } else {
            Err("control groups here are of version 1 or mixed, which is not read".into())
        }
    }

    /// A number of the group; none when it says `max`.
    fn group_number(&self, folder: &str, file: &str) -> Result<Option<u64>, String> {
        let path = format!("{folder}/{file}");
        let text = self.text(&path)?;
        match text.trim() {
            "max" => Ok(None),
            number => number.parse().map(Some).map_err(|_| format!("/{path} says `{number}`")),
        }
    }
}

impl Source for HostSource {
    fn name(&self) -> &'static str {
        "host"
    }

    fn read(&mut self) -> Readings {
        let mut readings = Readings::default();
        let field = |name: &str| -> Reading<ByteSize> {
            let found = self.text("proc/meminfo").and_then(|text| {
                kib_field(&text, name).ok_or_else(|| format!("/proc/meminfo has no `{name}`"))
            });
            match found {
                Ok(bytes) => Reading::known(ByteSize::new(bytes), Origin::System),
                Err(reason) => Reading::unavailable(Origin::System, reason),
            }
        };
        let (mut total, mut free) = (field("MemTotal"), field("MemAvailable"));
        let mut used = match (total.value, free.value) {
            (Some(total), Some(free)) => Reading::known(total.saturating_sub(free), Origin::System),
            _ => Reading::unavailable(Origin::System, "total or available memory is not known"),
        };
        let group = self.group().and_then(|folder| {
            // The root group has no limit.
            let limit = self.group_number(&folder, "memory.max").unwrap_or(None);
            Ok(limit.zip(self.group_number(&folder, "memory.current")?))
        });
        match group {
            // What the group allows is what this process can have, if it is less than the machine has.
            Ok(Some((limit, current))) if total.value.is_none_or(|machine| limit < machine.bytes()) => {
                let left = limit.saturating_sub(current);
                let machine_free = free.value.map_or(u64::MAX, ByteSize::bytes);
                total = Reading::known(ByteSize::new(limit), Origin::Cgroup);
                free = Reading::known(ByteSize::new(left.min(machine_free)), Origin::Cgroup);
                used = Reading::known(ByteSize::new(current), Origin::Cgroup);
            }
            Ok(_) => {}
            Err(reason) => readings.unavailable.push(Unavailable { source: "cgroup".into(), reason }),
        }
        let name = self.text("proc/cpuinfo").ok().and_then(|text| {
            Some(
                text.lines()
                    .find_map(|line| line.strip_prefix("model name"))?
                    .trim_start_matches(['\t', ' ', ':'])
                    .to_owned(),
            )
        });
        let none = |reason: &str| Reading::unavailable(Origin::System, reason);
        readings.devices.push(DeviceReading {
            device: DeviceName {
                id: "host".into(),
                name: name.unwrap_or_else(|| "main memory".into()),
                uuid: None,
            },
            class: DeviceClass::Machine,
            activity: None,
            usage: Usage {
                total_bytes: total,
                free_bytes: free,
                used_bytes: used,
                driver_bytes: none("main memory has no driver"),
                allocated_bytes: none("the system does not say what programs use of what they hold"),
                reserved_bytes: none("see the pools"),
            },
            processes: Reading::unavailable(Origin::System, "not listed for main memory"),
            stall: self.text("proc/pressure/memory").ok().and_then(|text| stall_times(&text)),
        });
        readings
    }
}

/// A `Name:   123 kB` line, in bytes.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The kernel's pressure stall information: percents, and microseconds.
fn stall_times(text: &str) -> Option<StallTimes> {
    let stall = |kind: &str| -> Option<Stall> {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let number = |name: &str| -> Option<f64> {
            line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?.parse().ok()
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
