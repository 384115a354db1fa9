//! What processes hold of cards, from `fdinfo` of their open files (the kernel's `drm-usage-stats.rst`).
//!
//! Reading one locks what its process maps on the card, which a reset that hangs holds: a process that has not answered is told apart,
//! and the others are asked beside it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::kernel::Kernel;
use crate::slow::{Patience, Slow};

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
    /// Why processes have not said what they hold.
    pub(super) silent: BTreeMap<u32, String>,
    /// The cards that those had open before, by their places on the bus.
    pub(super) silent_on: BTreeSet<(String, u32)>,
    /// Clients of the driver that are counted: several files may be one's, of several processes too.
    clients: HashSet<(String, u64)>,
}

/// What a process says of the cards that it has open.
#[derive(Debug)]
enum Looked {
    Denied,
    /// Whether it has one open, and as which clients of the driver.
    Seen(bool, Vec<Client>),
}

#[derive(Debug)]
struct Client {
    bus: String,
    id: u64,
    held: DrmUse,
}

/// Remembers which processes had a card open.
#[derive(Debug, Default)]
pub(super) struct Users {
    pids: Vec<u32>,
    reads: u64,
    slow: Patience<u32, Looked>,
    /// The cards that processes were found to have open, by their places on the bus.
    on: BTreeSet<(u32, String)>,
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
        self.slow.begin();
        let mut found = Found::default();
        let mut pids = std::mem::take(&mut self.pids);
        pids.retain(|&pid| self.ask(kernel, pid, &mut found));
        self.on.retain(|(pid, _)| pids.binary_search(pid).is_ok());
        self.pids = pids;
        found
    }

    /// Adds what a process holds; whether it has a card open, or is to be asked again.
    fn ask(&mut self, kernel: &Kernel, pid: u32, found: &mut Found) -> bool {
        let late = self.slow.late(&pid);
        let kernel = kernel.clone();
        let asked = self.slow.ask(pid, move || look(&kernel, pid));
        let why_not = asked.reason(&format!("/proc/{pid}/fdinfo"));
        let now = match asked {
            Slow::Answered(looked) => Some(looked),
            Slow::Late | Slow::NotAsked => None,
        };
        match now.or(late) {
            None => {
                let before = self.on.iter().filter(|(of, _)| *of == pid);
                found.silent_on.extend(before.map(|(pid, bus)| (bus.clone(), *pid)));
                found.silent.extend(why_not.map(|why| (pid, why)));
                true
            }
            Some(Looked::Denied) => {
                found.denied += 1;
                true
            }
            Some(Looked::Seen(uses_a_card, clients)) => {
                self.on.extend(clients.iter().map(|client| (pid, client.bus.clone())));
                clients.into_iter().for_each(|client| found.add(pid, client));
                uses_a_card
            }
        }
    }
}

impl Found {
    fn add(&mut self, pid: u32, Client { bus, id, held }: Client) {
        if self.clients.insert((bus.clone(), id)) {
            let sum = self.held.entry((bus, pid)).or_default();
            sum.vram = sum.vram.saturating_add(held.vram);
            sum.gtt = sum.gtt.saturating_add(held.gtt);
        }
    }
}

fn look(kernel: &Kernel, pid: u32) -> Looked {
    let folder = format!("proc/{pid}/fdinfo");
    let entries = match std::fs::read_dir(kernel.path(&folder)) {
        Ok(entries) => entries,
        // It has ended, or it may not be asked.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Looked::Seen(false, Vec::new()),
        Err(_) => return Looked::Denied,
    };
    let (mut uses_a_card, mut clients) = (false, Vec::new());
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
        let (Some(bus), Some(id)) = (field("drm-pdev"), client) else { continue };
        // The second is the older name of the field, which newer kernels give too.
        let of = |region: &str| {
            let names = [format!("drm-resident-{region}"), format!("drm-memory-{region}")];
            names.iter().find_map(|name| bytes_of(field(name)?)).unwrap_or(0)
        };
        let held = DrmUse { vram: of("vram"), gtt: of("gtt") };
        clients.push(Client { bus: bus.to_owned(), id, held });
    }
    Looked::Seen(uses_a_card, clients)
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
