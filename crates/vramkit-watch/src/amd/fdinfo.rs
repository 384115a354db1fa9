//! What processes hold of cards, from `fdinfo` of their open files (the kernel's `drm-usage-stats.rst`).

use std::collections::{BTreeMap, HashSet};

use crate::kernel::Kernel;

/// Open files of a process that are looked at.
const MOST_FILES: usize = 4096;
/// Processes that are looked at.
const MOST_PROCESSES: usize = 1 << 16;
/// All processes are looked through every so many reads; between, those that had a card open.
const FULL_LOOK: u64 = 10;
/// The kernel writes no more of one file.
const LONGEST: u64 = 1 << 16;

/// What a process holds of a card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DrmUse {
    pub(super) vram: u64,
    pub(super) gtt: u64,
}

/// What was found out about processes.
#[derive(Default)]
pub(super) struct Found {
    /// By the card's place on the bus, and the process.
    pub(super) held: BTreeMap<(String, u32), DrmUse>,
    /// Processes that may not be looked at.
    pub(super) denied: usize,
    /// Clients of the driver that are counted: several files may be one's, of several processes too.
    clients: HashSet<(String, u64)>,
}

/// Remembers which processes had a card open.
#[derive(Debug, Default)]
pub(super) struct Users {
    pids: Vec<u32>,
    reads: u64,
}

impl Users {
    /// Whether the next read looks through all processes.
    pub(super) fn is_full_look(&self) -> bool {
        self.reads.is_multiple_of(FULL_LOOK)
    }

    pub(super) fn read(&mut self, kernel: &Kernel) -> Found {
        if self.is_full_look() {
            let pids = kernel.names("proc").into_iter().filter_map(|name| name.parse().ok());
            self.pids = pids.take(MOST_PROCESSES).collect();
            // What two processes share is the older one's.
            self.pids.sort_unstable();
        }
        self.reads += 1;
        let mut found = Found::default();
        self.pids.retain(|&pid| look(kernel, pid, &mut found));
        found
    }
}

/// Adds what a process holds; whether it has a card open (or cannot be asked, which is counted).
fn look(kernel: &Kernel, pid: u32, found: &mut Found) -> bool {
    let folder = format!("proc/{pid}/fdinfo");
    let entries = match std::fs::read_dir(kernel.path(&folder)) {
        Ok(entries) => entries,
        Err(error) => {
            // It has ended, or it may not be asked.
            let is_denied = error.kind() != std::io::ErrorKind::NotFound;
            found.denied += usize::from(is_denied);
            return is_denied;
        }
    };
    let mut uses_a_card = false;
    for entry in entries.flatten().take(MOST_FILES) {
        let name = entry.file_name();
        let Some(info) =
            name.to_str().and_then(|name| kernel.bytes(&format!("{folder}/{name}"), LONGEST).ok())
        else {
            continue;
        };
        let info = String::from_utf8_lossy(&info);
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        if field("drm-driver") != Some("amdgpu") {
            continue;
        }
        uses_a_card = true;
        let client = field("drm-client-id").and_then(|client| client.parse().ok());
        let (Some(bus), Some(client)) = (field("drm-pdev"), client) else { continue };
        if !found.clients.insert((bus.to_owned(), client)) {
            continue;
        }
        // The second is the older name of the field, which newer kernels give too.
        let of = |region: &str| {
            let names = [format!("drm-resident-{region}"), format!("drm-memory-{region}")];
            names.iter().find_map(|name| bytes_of(field(name)?)).unwrap_or(0)
        };
        let held = found.held.entry((bus.to_owned(), pid)).or_default();
        held.vram = held.vram.saturating_add(of("vram"));
        held.gtt = held.gtt.saturating_add(of("gtt"));
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
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}
