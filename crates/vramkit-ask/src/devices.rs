//! What is here and how much memory it has: `vramkit.devices/1`.
//!
//! ```text
//! main memory, CUDA's driver ──► devices that memory can be taken of ─┐
//! what a watcher sees ──► cards, control groups ──────────────────────┴─► each once
//! ```
//!
//! In: nothing, the machine is asked. Out: every device with what its driver says, and the kinds of which there is none with
//! the reason. Takes no memory.

use std::time::Duration;

use serde::Serialize;
use vramkit::ByteSize;
use vramkit::device::{
    CudaDevice, Device, DeviceInfo, DeviceKind, DeviceMemory, HostDevice, Origin, Reading, StreamPoolMemory,
};
use vramkit_watch::{DeviceClass, DeviceTick, Health, Presence, Tick, WatchConfig, Watcher};

/// The devices of this machine: `vramkit.devices/1`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DevicesReport {
    /// `vramkit.devices/1`.
    pub schema: &'static str,
    /// The devices.
    pub devices: Vec<DeviceReport>,
    /// Kinds of device of which there is none, and why.
    pub unavailable: Vec<UnavailableReport>,
}

/// A kind of device that is not here.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UnavailableReport {
    /// The kind.
    pub kind: DeviceKind,
    /// Why there is none.
    pub reason: String,
}

/// One device of this machine.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DeviceReport {
    /// What it is.
    #[serde(flatten)]
    pub info: DeviceInfo,
    /// Whose memory it is.
    pub class: DeviceClass,
    /// How much memory it has.
    #[serde(flatten)]
    pub memory: DeviceMemory,
    /// What else is to be known of the numbers: what was guessed and from what.
    pub notes: Vec<String>,
    /// What the driver's default stream-ordered pool holds; absent for a device without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_pool: Option<StreamPoolMemory>,
}

/// Looks at what is here.
///
/// A kind of device that is not here is part of the answer, so there is always one. Cards of which this program cannot take
/// memory (AMD's, parts of a card, cards without CUDA's driver) are told as their driver sees them, with granules of 0 bytes.
///
/// ```
/// let report = vramkit_ask::devices();
/// assert_eq!(report.devices[0].info.id, "host");
/// ```
pub fn devices() -> DevicesReport {
    let mut devices = vec![report(&HostDevice::with_available_memory(), DeviceClass::Machine)];
    let mut unavailable = Vec::new();
    match CudaDevice::all() {
        Ok(cards) => devices.extend(cards.iter().map(|card| {
            let pool = Some(card.stream_pool());
            DeviceReport { stream_pool: pool, ..report(card, DeviceClass::Gpu) }
        })),
        Err(error) => {
            unavailable.push(UnavailableReport { kind: DeviceKind::Cuda, reason: error.to_string() });
        }
    }
    if let Ok(mut watcher) = Watcher::of_this_machine(WatchConfig::default()) {
        let tick = watcher.tick(Duration::ZERO);
        unavailable.extend(failing(&tick));
        add_seen(&mut devices, tick.devices);
    }
    DevicesReport { schema: "vramkit.devices/1", devices, unavailable }
}

fn report(device: &dyn Device, class: DeviceClass) -> DeviceReport {
    DeviceReport { info: device.info(), class, memory: device.memory(), notes: Vec::new(), stream_pool: None }
}

/// Sources and cards that are here and cannot be read. What is not here at all is nothing to report.
fn failing(tick: &Tick) -> Vec<UnavailableReport> {
    let failing = tick.sources.iter().filter(|source| !matches!(source.health, Health::Up | Health::Absent));
    let sources = failing.map(|source| UnavailableReport {
        kind: kind(&source.source),
        reason: source.reason.clone().unwrap_or_else(|| "it does not answer".to_owned()),
    });
    let cards = tick.unavailable.iter().filter(|absent| absent.source.contains(':'));
    let cards = cards.filter(|absent| matches!(kind(&absent.source), DeviceKind::Cuda)).map(|absent| {
        let reason = format!("{}: {}", absent.source, absent.reason);
        UnavailableReport { kind: DeviceKind::Cuda, reason }
    });
    sources.chain(cards).collect()
}

/// Adds the cards that a watcher sees and that are not listed, and what a control group allows of main memory.
fn add_seen(devices: &mut Vec<DeviceReport>, seen: Vec<DeviceTick>) {
    let (mut cards, others): (Vec<DeviceTick>, _) =
        seen.into_iter().partition(|device| device.class.is_gpu());
    let groups = others.into_iter().filter(|device| device.class == DeviceClass::Group);
    let at = devices.len().min(1);
    devices.splice(at..at, groups.map(seen_report));
    for device in devices.iter_mut().filter(|device| device.info.kind == DeviceKind::Cuda) {
        let Some(at) = same_card(&device.info, &cards) else { continue };
        let card = cards.remove(at);
        device.info.uuid = device.info.uuid.take().or(card.snapshot.device.uuid);
        (device.class, device.notes) = (card.class, notes(card.presence, card.notes));
    }
    for card in cards {
        let mut report = seen_report(card);
        // The driver of CUDA numbers those that it may use, the management library all: one name is one device's.
        if devices.iter().any(|device| device.info.id == report.info.id) {
            report.info.id = report.info.id.replacen("cuda:", "nvml:", 1);
        }
        devices.push(report);
    }
}

/// Which of these cards CUDA's device is: by its identity, else by its name and, among several of that name, its number.
fn same_card(info: &DeviceInfo, cards: &[DeviceTick]) -> Option<usize> {
    if info.uuid.is_some() {
        return cards.iter().position(|card| card.snapshot.device.uuid == info.uuid);
    }
    let of_name = |card: &&DeviceTick| card.snapshot.device.name == info.name;
    let of_number = |card: &DeviceTick| card.snapshot.device.id == info.id;
    let both = cards.iter().position(|card| of_name(&card) && of_number(card));
    both.or_else(|| cards.iter().position(|card| of_name(&card)))
}

/// A card as its driver sees it.
fn seen_report(card: DeviceTick) -> DeviceReport {
    const WHY: &str = "this program takes no memory of it";
    let name = card.snapshot.device;
    let usage = card.snapshot.usage;
    let mut info = DeviceInfo::new(&name.id, &name.name, kind(&name.id), ByteSize::ZERO);
    info.uuid = name.uuid;
    let is_shared = usage.total_bytes.source == Origin::System;
    if is_shared || card.shared_bytes.is_some() {
        info.unified = Reading::known(is_shared, usage.total_bytes.source);
    }
    DeviceReport {
        info,
        class: card.class,
        memory: DeviceMemory {
            total_bytes: usage.total_bytes,
            free_bytes: usage.free_bytes,
            committed_bytes: Reading::unavailable(Origin::Driver, WHY),
        },
        notes: notes(card.presence, card.notes),
        stream_pool: None,
    }
}

/// What is to be known of a card's numbers: first why there may be none.
fn notes(presence: Presence, mut notes: Vec<String>) -> Vec<String> {
    let absent = match presence {
        Presence::Lost { since, reason } => Some(("lost", since, reason)),
        Presence::Unread { since, reason } => Some(("unread", since, reason)),
        Presence::Given { since, reason } => Some(("given away", since, reason)),
        Presence::Barred { since, reason } => Some(("barred", since, reason)),
        _ => None,
    };
    if let Some((word, since, reason)) = absent {
        notes.insert(0, format!("{word} since {since}: {reason}"));
    }
    notes
}

/// The kind of memory that a watcher's name for a device or a source says.
fn kind(id: &str) -> DeviceKind {
    match id.split(':').next().unwrap_or(id) {
        "cuda" | "nvml" => DeviceKind::Cuda,
        "amd" => DeviceKind::Other("rocm".to_owned()),
        other => DeviceKind::Other(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use vramkit::monitor::{DeviceName, Usage};
    use vramkit_watch::{DeviceReading, Readings, source_fn};

    use super::*;

    fn seen(cards: &[(&str, &str, &str, DeviceClass)]) -> Vec<DeviceTick> {
        let reading = |&(id, name, uuid, class): &(&str, &str, &str, DeviceClass)| DeviceReading {
            device: DeviceName { id: id.into(), name: name.into(), uuid: Some(uuid.into()) },
            class,
            activity: None,
            usage: Usage::unavailable(Origin::Nvml, "not scripted"),
            processes: Reading::known(Vec::new(), Origin::Nvml),
            stall: None,
            shared_bytes: None,
            notes: Vec::new(),
        };
        let readings = Readings { devices: cards.iter().map(reading).collect(), ..Readings::default() };
        let source = source_fn("nvml", move || readings.clone());
        let mut watcher = Watcher::new(vec![Box::new(source)], WatchConfig::default()).unwrap();
        watcher.tick(Duration::ZERO).devices
    }

    fn cuda(id: &str, name: &str, uuid: Option<&str>) -> DeviceReport {
        let mut info = DeviceInfo::new(id, name, DeviceKind::Cuda, ByteSize::mib(2));
        info.uuid = uuid.map(str::to_owned);
        let none = || Reading::unavailable(Origin::Driver, "not scripted");
        let memory = DeviceMemory { total_bytes: none(), free_bytes: none(), committed_bytes: none() };
        DeviceReport { info, class: DeviceClass::Gpu, memory, notes: Vec::new(), stream_pool: None }
    }

    fn listed(mut devices: Vec<DeviceReport>, seen: Vec<DeviceTick>) -> Vec<(String, Option<String>)> {
        add_seen(&mut devices, seen);
        devices.into_iter().map(|device| (device.info.id, device.info.uuid)).collect()
    }

    fn pair(id: &str, uuid: &str) -> (String, Option<String>) {
        (id.to_owned(), Some(uuid.to_owned()))
    }

    #[test]
    fn a_card_that_both_list_is_one_by_its_identity_or_its_name() {
        use DeviceClass::{Gpu, GpuPart, Machine};
        let cards = || {
            seen(&[
                ("cuda:0", "A", "GPU-a", Gpu),
                ("cuda:1", "A", "GPU-b", Gpu),
                ("cuda:1/mig:0", "A part", "MIG-c", GpuPart),
                ("amd:0", "C", "d", Gpu),
                ("host", "main", "", Machine),
            ])
        };
        let rest = [pair("cuda:1/mig:0", "MIG-c"), pair("amd:0", "d")];
        // The second alone may be used, and is CUDA's first.
        let list = listed(vec![cuda("cuda:0", "A", Some("GPU-b"))], cards());
        assert_eq!(list[..2], [pair("cuda:0", "GPU-b"), pair("nvml:0", "GPU-a")]);
        assert_eq!(list[2..], rest);
        let list = listed(vec![cuda("cuda:0", "A", None), cuda("cuda:1", "A", None)], cards());
        assert_eq!(list[..2], [pair("cuda:0", "GPU-a"), pair("cuda:1", "GPU-b")]);
        assert_eq!(list[2..], rest);
        let list = listed(Vec::new(), cards());
        assert_eq!(list[..2], [pair("cuda:0", "GPU-a"), pair("cuda:1", "GPU-b")]);
        // A card of another name is another card.
        assert_eq!(listed(vec![cuda("cuda:0", "B", None)], cards()).len(), 5);
        // A part that CUDA's driver uses.
        let list = listed(vec![cuda("cuda:0", "A part", Some("MIG-c"))], cards());
        assert_eq!(list.iter().filter(|(_, uuid)| uuid.as_deref() == Some("MIG-c")).count(), 1);
    }
}
