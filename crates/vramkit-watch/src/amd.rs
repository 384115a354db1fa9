//! AMD's cards through the kernel's files: how much memory a card has and uses (`mem_info_vram_*`), and what each process
//! holds of it (`fdinfo` of its open files, documented in the kernel's `drm-usage-stats.rst`).
//!
//! ```
//! use vramkit_watch::{Source, amd::AmdSource};
//!
//! let nothing = AmdSource::at("/nonexistent".as_ref()).read();
//! assert!(nothing.devices.is_empty());
//! ```

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};
use vramkit::monitor::{DeviceName, ProcessUse, Usage};

use crate::processes::Processes;
use crate::source::{DeviceClass, DeviceReading, Readings, Source, Unavailable};

const VENDOR: &str = "0x1002";
/// All processes are looked through every so many ticks; between, those that had the card open.
const FULL_LOOK: u64 = 10;
/// Open files of a process that are looked at.
const MOST_FILES: usize = 4096;

/// See the module's first lines.
///
/// ```
/// use vramkit_watch::Source;
/// use vramkit_watch::amd::AmdSource;
///
/// let readings = AmdSource::default().read();
/// // What is not on this machine is said to be unavailable, with the reason.
/// assert!(readings.devices.iter().all(|device| !device.device.id.is_empty()));
/// ```
#[derive(Debug)]
pub struct AmdSource {
    root: PathBuf,
    processes: Processes,
    /// Processes that had a card open.
    users: Vec<u32>,
    tick: u64,
}

/// A card: its number among AMD's, its folder, its address on the bus.
struct AmdCard {
    id: String,
    folder: PathBuf,
    bus: String,
}

/// What was found out about processes: bytes by card and process, and how many could not be read.
#[derive(Default)]
struct Holdings {
    held: BTreeMap<(String, u32), u64>,
    denied: usize,
}

impl Default for AmdSource {
    fn default() -> Self {
        Self::at(Path::new("/"))
    }
}

impl AmdSource {
    /// Reads `proc` and `sys` below `root`.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), processes: Processes::at(root), users: Vec::new(), tick: 0 }
    }

    fn cards(&self) -> Vec<AmdCard> {
        let entries = fs::read_dir(self.root.join("sys/class/drm")).into_iter().flatten().flatten();
        let mut numbered: Vec<(u32, PathBuf)> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some((name.strip_prefix("card")?.parse().ok()?, entry.path().join("device")))
            })
            .collect();
        numbered.sort();
        let amd = numbered
            .into_iter()
            .filter(|(_, folder)| text(&folder.join("vendor")).is_ok_and(|id| id == VENDOR));
        amd.enumerate()
            .map(|(index, (_, folder))| {
                let bus = fs::canonicalize(&folder)
                    .ok()
                    .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
                    .unwrap_or_default();
                AmdCard { id: format!("amd:{index}"), folder, bus }
            })
            .collect()
    }

    fn holdings(&mut self) -> Holdings {
        let mut holdings = Holdings::default();
        if self.tick % FULL_LOOK == 1 {
            let entries = fs::read_dir(self.root.join("proc")).into_iter().flatten().flatten();
            self.users = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        }
        let root = self.root.clone();
        self.users.retain(|&pid| look(&root, pid, &mut holdings));
        holdings
    }
}

/// Adds what a process holds; whether it has a card open (or cannot be asked, which is counted).
fn look(root: &Path, pid: u32, holdings: &mut Holdings) -> bool {
    let entries = match fs::read_dir(root.join(format!("proc/{pid}/fdinfo"))) {
        Ok(entries) => entries,
        Err(error) => {
            // It has ended, or it may not be asked.
            let denied = error.kind() != std::io::ErrorKind::NotFound;
            holdings.denied += usize::from(denied);
            return denied;
        }
    };
    let mut clients = HashSet::new();
    let mut uses_a_card = false;
    for entry in entries.flatten().take(MOST_FILES) {
        let Ok(info) = fs::read_to_string(entry.path()) else { continue };
        let field = |name: &str| {
            Some(info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim().to_owned())
        };
        if field("drm-driver").as_deref() != Some("amdgpu") {
            continue;
        }
        uses_a_card = true;
        let (Some(bus), Some(client)) = (field("drm-pdev"), field("drm-client-id")) else { continue };
        // Several files may be one client's.
        if !clients.insert((bus.clone(), client)) {
            continue;
        }
        // The older name of the field, which newer kernels give too.
        let bytes =
            field("drm-resident-vram").or_else(|| field("drm-memory-vram")).and_then(|text| bytes_of(&text));
        if let Some(bytes) = bytes {
            let held = holdings.held.entry((bus, pid)).or_default();
            *held = held.saturating_add(bytes);
        }
    }
    uses_a_card
}

/// `12 KiB`, `3 MiB` or a number of bytes.
fn bytes_of(text: &str) -> Option<u64> {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let scale: u64 = match unit.trim() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

fn text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn size(folder: &Path, file: &str) -> Reading<ByteSize> {
    let number = text(&folder.join(file))
        .and_then(|text| text.parse::<u64>().map_err(|_| format!("{file} says `{text}`")));
    match number {
        // The sentinel of figures that the card does not have.
        Ok(bytes) if bytes < 1 << 60 => Reading::known(ByteSize::new(bytes), Origin::Sysfs),
        Ok(_) => Reading::unavailable(Origin::Sysfs, "the driver gives no number"),
        Err(reason) => Reading::unavailable(Origin::Sysfs, reason),
    }
}

impl Source for AmdSource {
    fn name(&self) -> &'static str {
        "amd"
    }

    fn read(&mut self) -> Readings {
        self.tick += 1;
        let mut readings = Readings::default();
        let cards = self.cards();
        if cards.is_empty() {
            let reason = "no card of AMD's under /sys/class/drm".to_owned();
            readings.unavailable.push(Unavailable { source: "amd".into(), reason });
            return readings;
        }
        self.processes.begin();
        let holdings = self.holdings();
        if holdings.denied > 0 {
            let reason = format!("{} processes' files may not be read by this user", holdings.denied);
            readings.unavailable.push(Unavailable { source: "amd processes".into(), reason });
        }
        for card in cards {
            let (total, used) =
                (size(&card.folder, "mem_info_vram_total"), size(&card.folder, "mem_info_vram_used"));
            let free = match (total.value, used.value) {
                (Some(total), Some(used)) => Reading::known(total.saturating_sub(used), Origin::Sysfs),
                _ => Reading::unavailable(Origin::Sysfs, "total or used is not known"),
            };
            let none = |reason: &str| Reading::unavailable(Origin::Sysfs, reason);
            let of_card = holdings.held.iter().filter(|((bus, _), _)| *bus == card.bus);
            let uses: Vec<ProcessUse> = of_card
                .map(|((_, pid), bytes)| {
                    let (name, identity) = self.processes.describe(*pid);
                    ProcessUse {
                        pid: *pid,
                        name,
                        identity,
                        used_bytes: Reading::known(ByteSize::new(*bytes), Origin::Sysfs),
                        peak_bytes: none("the kernel keeps no peaks of processes"),
                    }
                })
                .collect();
            readings.devices.push(DeviceReading {
                device: DeviceName {
                    name: text(&card.folder.join("product_name"))
                        .ok()
                        .filter(|name| !name.is_empty())
                        .unwrap_or_else(|| format!("AMD card at {}", card.bus)),
                    uuid: text(&card.folder.join("unique_id")).ok(),
                    id: card.id,
                },
                class: DeviceClass::Gpu,
                activity: None,
                usage: Usage {
                    total_bytes: total,
                    free_bytes: free,
                    used_bytes: used,
                    driver_bytes: none("the kernel does not say what the driver keeps"),
                    allocated_bytes: none("the kernel does not say what programs use of what they hold"),
                    reserved_bytes: none("see the pools"),
                },
                processes: Reading::known(uses, Origin::Sysfs),
                stall: None,
            });
        }
        readings
    }
}
