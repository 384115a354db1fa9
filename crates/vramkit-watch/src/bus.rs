//! Cards that the bus has and the driver's library does not list: one may have fallen off before anybody looked.
//!
//! A driver knows each of its cards by its place on the bus, whether it answers or not (`/proc/driver/nvidia/gpus`, which
//! says UUIDs, or `/sys/bus/pci/drivers/nvidia`). Inside a container both may show all cards of the machine: only as many
//! are missed as there are device files, which a container has of its own cards alone.

use std::collections::BTreeSet;
use std::path::Path;

use vramkit::monitor::DeviceName;

use crate::given::{Given, NVIDIA};
use crate::kernel::{Kernel, shown};
use crate::known::ON_THE_BUS;
use crate::source::{DeviceClass, Health, Missing, Readings, Source};

/// A folder for each card that the driver has.
const OF_THE_DRIVER: &str = "proc/driver/nvidia/gpus";
/// A link for each device that is bound to it.
const BOUND: &str = "sys/bus/pci/drivers/nvidia";
/// Cards that are believed to exist.
const MOST: usize = 64;

/// Another source of NVIDIA's cards, with what the bus has beside.
pub(crate) struct WithBus<S> {
    source: S,
    kernel: Kernel,
    /// A machine that is not here has no device files.
    is_made_up: bool,
    given: Given,
}

impl<S> WithBus<S> {
    /// Reads `proc`, `sys` and `dev` below `root`.
    pub(crate) fn at(root: &Path, source: S) -> Self {
        let is_made_up = root != Path::new("/");
        Self { source, kernel: Kernel::at(root), is_made_up, given: Given::of(NVIDIA) }
    }
}

impl<S> WithBus<S> {
    /// A library that is not here is none where there is a card, but where a driver has some.
    fn doubt(&self, readings: &mut Readings) {
        let cards = self.kernel.names(OF_THE_DRIVER).len();
        if cards > 0 {
            readings.health = Health::Failing;
            let why = format!(
                "the driver has {cards} cards (/{OF_THE_DRIVER}): in a container this is so without NVIDIA's runtime, else where library and driver do not fit"
            );
            readings
                .unavailable
                .iter_mut()
                .for_each(|absent| absent.reason = format!("{}; {why}", absent.reason));
        }
    }
}

impl<S: Source> Source for WithBus<S> {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn read(&mut self) -> Readings {
        let mut readings = self.source.read();
        match readings.health {
            // Who cannot list any does not miss one.
            Health::Up => {
                let (cards, excluded) = on_the_bus(&self.kernel, self.is_made_up);
                readings.excluded = excluded;
                place(&mut readings, &cards);
                miss(&mut readings, cards);
            }
            Health::Absent => self.doubt(&mut readings),
            _ => {}
        }
        readings.given = self.given.look(&self.kernel, &readings.places);
        readings
    }
}

/// Says where listed cards are. Of two that say the same of themselves it is not known.
fn place(readings: &mut Readings, cards: &[Card]) {
    for card in cards.iter().filter(|card| card.uuid.is_some()) {
        let is_same = |other: &&Card| other.uuid == card.uuid;
        let mut listed = readings.devices.iter().filter(|reading| reading.device.uuid == card.uuid);
        if let (Some(one), None, 1) = (listed.next(), listed.next(), cards.iter().filter(is_same).count()) {
            readings.places.insert(one.device.id.clone(), card.bus.clone());
        }
    }
}

#[derive(Clone, Debug)]
struct Card {
    bus: String,
    name: Option<String>,
    uuid: Option<String>,
}

/// Cards that the driver has, and the places of those that it was told to leave out.
fn on_the_bus(kernel: &Kernel, is_made_up: bool) -> (Vec<Card>, BTreeSet<String>) {
    let files: BTreeSet<u32> =
        kernel.names("dev").iter().filter_map(|name| name.strip_prefix("nvidia")?.parse().ok()).collect();
    let (mut cards, mut excluded) = (Vec::new(), BTreeSet::new());
    for bus in kernel.names(OF_THE_DRIVER).into_iter().take(MOST) {
        let text = kernel.text(&format!("{OF_THE_DRIVER}/{bus}/information")).unwrap_or_default();
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':'))?;
            // A card that fell off says question marks.
            (!value.trim().is_empty() && !value.contains('?')).then(|| shown(value.trim(), 80))
        };
        // By the driver's own setting: nobody misses it.
        if field("GPU Excluded").is_some_and(|is_so| is_so == "Yes") {
            excluded.insert(bus);
            continue;
        }
        let minor = field("Device Minor").and_then(|minor| minor.parse().ok());
        if is_made_up || minor.is_some_and(|minor: u32| files.contains(&minor)) {
            cards.push(Card { name: field("Model"), uuid: field("GPU UUID"), bus });
        }
    }
    if kernel.is_folder(OF_THE_DRIVER) {
        return (cards, excluded);
    }
    let is_card = |bus: &String| {
        // Bridges and sound are bound to drivers too.
        kernel.text(&format!("{BOUND}/{bus}/class")).is_ok_and(|class| class.starts_with("0x03"))
    };
    let bound = kernel.names(BOUND).into_iter().filter(is_card);
    let most = if is_made_up { MOST } else { files.len().min(MOST) };
    (bound.take(most).map(|bus| Card { bus, name: None, uuid: None }).collect(), excluded)
}

/// Adds the cards of the bus that are neither listed nor known to be missing.
fn miss(readings: &mut Readings, cards: Vec<Card>) {
    let all = cards.len();
    let listed = readings.devices.iter().filter(|reading| reading.class == DeviceClass::Gpu).count();
    let over = all.saturating_sub(listed + readings.barred.len() + readings.missing.len());
    let devices = readings.devices.iter().map(|reading| &reading.device);
    let named: BTreeSet<String> = devices
        .chain(readings.missing.iter().map(|missing| &missing.device))
        .filter_map(|device| device.uuid.clone())
        .collect();
    let (unlisted, unknown): (Vec<Card>, Vec<Card>) = cards
        .into_iter()
        .filter(|card| card.uuid.as_ref().is_none_or(|uuid| !named.contains(uuid)))
        .partition(|card| card.uuid.is_some());
    let mut unnamed = readings.missing.iter_mut().filter(|missing| missing.device.uuid.is_none());
    if let (Some(one), None, [card], 0) =
        (unnamed.next(), unnamed.next(), &[&unlisted[..], &unknown[..]].concat()[..], readings.barred.len())
    {
        // The one that is left is the one that cannot be asked.
        (one.place, one.device.uuid) = (Some(card.bus.clone()), card.uuid.clone());
    }
    // Without UUIDs it is known which where all of them are missed.
    let (certain, doubtful) =
        if listed == 0 || unknown.len() <= over { (unknown, Vec::new()) } else { (Vec::new(), unknown) };
    for card in unlisted.into_iter().chain(certain).take(over) {
        let reason = format!("it is on the bus at {}, and the driver does not list it", card.bus);
        let name = card.name.unwrap_or_else(|| format!("NVIDIA card at {}", card.bus));
        let device = DeviceName { id: format!("{ON_THE_BUS}{}", card.bus), name, uuid: card.uuid };
        readings.missing.push(Missing { device, place: Some(card.bus), reason });
    }
    let over =
        all.saturating_sub(listed + readings.barred.len() + readings.missing.len()).min(doubtful.len());
    for number in 1..=over {
        let reason =
            format!("the bus has {all} cards, and {listed} are listed: which one is missed is not known");
        let name = "a card on the bus that is not listed".to_owned();
        let device = DeviceName { id: format!("{ON_THE_BUS}{number}"), name, uuid: None };
        readings.missing.push(Missing { device, place: None, reason });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::source::source_fn;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_card_of_the_bus_that_nobody_lists_is_missing_under_its_own_name() {
        let root = tempfile::tempdir().unwrap();
        assert!(WithBus::at(root.path(), source_fn("nvml", Readings::default)).read().missing.is_empty());
        put(
            root.path(),
            "proc/driver/nvidia/gpus/0000:17:00.0/information",
            "Model: \t\t NVIDIA H100\nGPU UUID: \t GPU-4\nDevice Minor: \t 3\n",
        );
        let missing = WithBus::at(root.path(), source_fn("nvml", Readings::default)).read().missing.remove(0);
        assert_eq!(
            (missing.device.name.as_str(), missing.device.uuid.as_deref()),
            ("NVIDIA H100", Some("GPU-4"))
        );
        assert_eq!(missing.device.id, "pci:0000:17:00.0");
    }

    #[test]
    fn a_card_that_was_listed_and_is_held_for_a_virtual_machine_is_given_away() {
        let root = tempfile::tempdir().unwrap();
        let mut card = crate::watcher::tests::device("cuda:0", 1);
        card.device.uuid = Some("GPU-4".to_owned());
        let is_here = Arc::new(AtomicBool::new(true));
        let listed = is_here.clone();
        let read = move || match listed.load(Ordering::Relaxed) {
            true => Readings { devices: vec![card.clone()], ..Readings::default() },
            false => no_library(),
        };
        let mut source = WithBus::at(root.path(), source_fn("nvml", read));
        put(root.path(), "proc/driver/nvidia/gpus/0000:17:00.0/information", "GPU UUID: \t GPU-4\n");
        let readings = source.read();
        assert_eq!((readings.places["cuda:0"].as_str(), readings.given.len()), ("0000:17:00.0", 0));
        put(root.path(), "proc/driver/nvidia/gpus/0000:18:00.0/information", "GPU UUID: \t GPU-4\n");
        assert!(source.read().places.is_empty(), "two of one identity");
        fs::remove_dir_all(root.path().join("proc/driver/nvidia/gpus/0000:18:00.0")).unwrap();
        is_here.store(false, Ordering::Relaxed);
        fs::remove_dir_all(root.path().join("proc")).unwrap();
        put(root.path(), "sys/bus/pci/drivers/vfio-pci/0000:17:00.0/class", "0x030200\n");
        assert_eq!(source.read().given.into_iter().collect::<Vec<_>>(), ["0000:17:00.0"]);
        // One that it had before anybody looked: where virtual machines are run.
        let held = "sys/bus/pci/drivers/vfio-pci";
        for (place, vendor, class) in [
            ("65:00.0", "0x10de", "0x030200"),
            ("65:00.1", "0x10de", "0x040300"),
            ("66:00.0", "0x8086", "0x030000"),
        ] {
            put(root.path(), &format!("{held}/0000:{place}/vendor"), vendor);
            put(root.path(), &format!("{held}/0000:{place}/class"), class);
        }
        assert_eq!(source.read().given.len(), 1);
        put(root.path(), "dev/vfio/12", "");
        assert_eq!(source.read().given.into_iter().collect::<Vec<_>>(), ["0000:17:00.0", "0000:65:00.0"]);
    }

    fn no_library() -> Readings {
        let absent = crate::source::Unavailable { source: "nvml".into(), reason: "not here".into() };
        Readings { health: Health::Absent, unavailable: vec![absent], ..Readings::default() }
    }

    #[test]
    fn a_driver_with_cards_and_no_library_is_no_machine_without_cards() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(WithBus::at(root.path(), source_fn("nvml", no_library)).read().health, Health::Absent);
        put(root.path(), "proc/driver/nvidia/gpus/0000:17:00.0/information", "Model: \t\t NVIDIA H100\n");
        let readings = WithBus::at(root.path(), source_fn("nvml", no_library)).read();
        assert_eq!((readings.health, readings.missing.len()), (Health::Failing, 0));
        assert!(
            readings.unavailable[0].reason.starts_with("not here; the driver has 1 cards"),
            "{readings:?}"
        );
    }

    #[test]
    fn a_card_that_is_excluded_is_not_missed() {
        let root = tempfile::tempdir().unwrap();
        for (bus, excluded, uuid) in [("17", "Yes", "GPU-4"), ("65", "No", "GPU-5")] {
            let text = format!("GPU UUID: \t {uuid}\nDevice Minor: \t 3\nGPU Excluded:\t {excluded}\n");
            put(root.path(), &format!("proc/driver/nvidia/gpus/0000:{bus}:00.0/information"), &text);
        }
        let missing = WithBus::at(root.path(), source_fn("nvml", Readings::default)).read().missing;
        let uuids: Vec<_> = missing.iter().filter_map(|missing| missing.device.uuid.as_deref()).collect();
        assert_eq!(uuids, ["GPU-5"]);
    }

    #[test]
    fn without_uuids_cards_are_counted() {
        let root = tempfile::tempdir().unwrap();
        for (bus, class) in
            [("0000:17:00.0", "0x030200\n"), ("0000:65:00.0", "0x030000\n"), ("0000:0b:00.0", "0x0680\n")]
        {
            put(root.path(), &format!("sys/bus/pci/drivers/nvidia/{bus}/class"), class);
        }
        let readings = WithBus::at(root.path(), source_fn("nvml", Readings::default)).read();
        assert_eq!(readings.missing.len(), 2, "a bridge is no card");
        assert!(on_the_bus(&Kernel::at("/nonexistent".as_ref()), true).0.is_empty());
    }
}
