//! AMD's cards through the kernel's files.
//!
//! ```text
//! /sys/class/drm ──► cards: memory, activity (card) ──► has it memory of its own? (kind)
//! /proc/PID/fdinfo ──► what processes hold, by place on the bus (fdinfo) ─┐
//! /sys/class/kfd ──► nodes, and what processes hold, by KFD's number ─────┼─► processes of each card (holders)
//!                                                                         └─► parts of one that is divided (parts)
//! ```
//!
//! ```
//! use vramkit_watch::{Source, amd::AmdSource};
//!
//! let nothing = AmdSource::at("/nonexistent".as_ref()).read();
//! assert!(nothing.devices.is_empty());
//! ```

mod card;
mod fdinfo;
mod holders;
mod kfd;
mod kind;
mod parts;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};
use vramkit::monitor::{DeviceName, ProcessUse};

use crate::given::{AMD, Given};
use crate::kernel::{Kernel, system_root};
use crate::meminfo::MachineMemory;
use crate::processes::Processes;
use crate::source::{DeviceClass, DeviceReading, Health, Readings, Source, Unavailable};
use card::{Card, cards};
use fdinfo::Users;
use holders::{Holders, OfCard};
use kfd::Topology;
use kind::{Kind, kind};
use parts::{Division, Part, division};

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
    kernel: Kernel,
    processes: Processes,
    users: Users,
    topology: Topology,
    /// What each card is, by its place on the bus and its model: that does not change, and some of it takes asking the card.
    kinds: HashMap<(String, String), Kind>,
    given: Given,
}

impl Default for AmdSource {
    /// This machine's, or those of the folder that `VRAMKIT_SYSTEM_ROOT` names.
    fn default() -> Self {
        Self::at(&system_root())
    }
}

impl AmdSource {
    /// Reads `proc` and `sys` below `root`.
    pub fn at(root: &Path) -> Self {
        Self {
            kernel: Kernel::at(root),
            processes: Processes::at(root),
            users: Users::default(),
            topology: Topology::default(),
            kinds: HashMap::new(),
            given: Given::of(AMD),
        }
    }

    fn kind(&mut self, card: &Card) -> Kind {
        let which = (card.bus.clone(), card.name(&self.kernel));
        if let Some(kind) = self.kinds.get(&which) {
            return kind.clone();
        }
        let kind = kind(&self.kernel, card, &self.topology);
        // One that sleeps is asked again once it is awake.
        if !card.sleeps(&self.kernel) {
            self.kinds.insert(which, kind.clone());
        }
        kind
    }

    fn part(&mut self, card: &Card, number: usize, part: Part) -> DeviceReading {
        let uses = part.held.into_iter().map(|(pid, bytes)| self.process(pid, known(bytes))).collect();
        DeviceReading {
            device: DeviceName {
                id: format!("{}/part:{number}", card.id),
                name: format!("{}, part {number}", card.name(&self.kernel)),
                uuid: None,
            },
            class: DeviceClass::GpuPart,
            activity: None,
            usage: part.usage,
            processes: Reading::known(uses, Origin::Sysfs),
            stall: None,
            shared_bytes: None,
            notes: vec!["what processes that compute hold: the kernel tells no more of a part".to_owned()],
        }
    }

    fn process(&mut self, pid: u32, used_bytes: Reading<ByteSize>) -> ProcessUse {
        let (name, identity) = self.processes.describe(pid);
        ProcessUse {
            pid,
            name,
            identity,
            used_bytes,
            peak_bytes: Reading::unavailable(Origin::Sysfs, "the kernel keeps no peaks of processes"),
        }
    }
}

fn known(bytes: u64) -> Reading<ByteSize> {
    Reading::known(ByteSize::new(bytes), Origin::Sysfs)
}

impl Source for AmdSource {
    fn name(&self) -> &'static str {
        "amd"
    }

    fn read(&mut self) -> Readings {
        let mut readings = Readings::default();
        let cards = cards(&self.kernel);
        if cards.is_empty() {
            let reason = "no card of AMD's under /sys/class/drm".to_owned();
            readings.health = Health::Absent;
            readings.unavailable.push(Unavailable { source: "amd".into(), reason });
            readings.given = self.given.look(&self.kernel, &readings.places);
            return readings;
        }
        self.processes.begin();
        if self.users.is_full_look() {
            self.topology = Topology::read(&self.kernel);
            self.kinds.retain(|(bus, _), _| cards.iter().any(|card| card.bus == *bus));
        }
        let available = MachineMemory::read(&self.kernel).available.value;
        let kinds: Vec<Kind> = cards.iter().map(|card| self.kind(card)).collect();
        let memories: Vec<_> = (cards.iter().zip(&kinds))
            .map(|(card, kind)| card.memory(&self.kernel, kind.is_integrated, available))
            .collect();
        let of_cards: Vec<OfCard<'_>> = (cards.iter().zip(&kinds).zip(&memories))
            .map(|((card, kind), memory)| OfCard {
                card,
                is_integrated: kind.is_integrated,
                used: memory.used,
                nodes: self.topology.nodes_of(card, &cards),
            })
            .collect();
        let mut drm = self.users.read(&self.kernel);
        let denied = drm.denied;
        let (silent, silent_on) = (std::mem::take(&mut drm.silent), std::mem::take(&mut drm.silent_on));
        let computing = kfd::uses(&self.kernel);
        let holders = Holders::of(&of_cards, drm, &computing, &self.topology);
        let divisions: Vec<(bool, Option<Division>)> = (of_cards.iter().zip(&memories))
            .map(|(of, memory)| {
                let (sleeps, total) = (of.card.sleeps(&self.kernel), memory.usage.total_bytes.value);
                (sleeps, division(&self.kernel, (of.card, sleeps), total, &of.nodes, &computing))
            })
            .collect();
        let mut reasons = holders.unplaced;
        if denied > 0 {
            reasons.push(format!("{denied} processes' files may not be read by this user"));
        }
        match silent.len() {
            0 => {}
            1 => reasons.extend(silent.values().cloned()),
            many => reasons.push(format!("`fdinfo` of {many} processes has not answered")),
        }
        let say = |reason| Unavailable { source: "amd processes".into(), reason };
        readings.unavailable.extend(reasons.into_iter().map(say));
        for (((((card, kind), memory), held), guess), (sleeps, divided)) in
            cards.iter().zip(kinds).zip(memories).zip(holders.held).zip(holders.guesses).zip(divisions)
        {
            let mut notes: Vec<String> = kind.note.into_iter().chain(guess).collect();
            let (note, parts) =
                divided.map_or((None, Vec::new()), |divided| (Some(divided.note), divided.parts));
            notes.extend(note);
            if sleeps {
                notes.push("asleep: it is not asked what it does, which would wake it".to_owned());
            }
            let mut held: BTreeMap<u32, Reading<ByteSize>> =
                held.into_iter().map(|(pid, bytes)| (pid, known(bytes))).collect();
            for (_, pid) in silent_on.iter().filter(|(bus, _)| *bus == card.bus) {
                let why = silent.get(pid).cloned().unwrap_or_default();
                held.entry(*pid).or_insert_with(|| Reading::unavailable(Origin::Sysfs, why));
            }
            let uses = held.into_iter().map(|(pid, bytes)| self.process(pid, bytes)).collect();
            if !card.bus.is_empty() {
                readings.places.insert(card.id.clone(), card.bus.clone());
            }
            readings.devices.push(DeviceReading {
                device: DeviceName {
                    name: card.name(&self.kernel),
                    uuid: card.uuid(&self.kernel),
                    id: card.id.clone(),
                },
                class: DeviceClass::Gpu,
                activity: card.activity(&self.kernel).filter(|_| !sleeps),
                usage: memory.usage,
                processes: Reading::known(uses, Origin::Sysfs),
                stall: None,
                shared_bytes: memory.shared,
                notes,
            });
            for (number, part) in parts.into_iter().enumerate() {
                let reading = self.part(card, number, part);
                readings.devices.push(reading);
            }
        }
        readings.given = self.given.look(&self.kernel, &readings.places);
        readings
    }
}
