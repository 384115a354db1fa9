//! Cards that are not listed and that nobody misses: those that a virtual machine has, those that the user may not ask any more, and those of
//! which only their place on the bus was known.

use std::collections::BTreeSet;

use vramkit::device::Origin;
use vramkit::monitor::DeviceName;

use super::device::{Device, State};
use super::{Known, ON_THE_BUS};
use crate::judge::News;
use crate::source::{DeviceClass, Health, Missing, Readings};
use crate::tick::EventKind;

impl Known {
    /// Cards that a virtual machine had before anybody looked: they are known by their places.
    pub(super) fn note_given(&mut self, source: usize, given: &BTreeSet<String>) {
        for place in given {
            if self.at_place.contains_key(place) {
                continue;
            }
            let id = format!("{ON_THE_BUS}{place}");
            let name = DeviceName { id: id.clone(), name: format!("card at {place}"), uuid: None };
            let (class, origin) = (DeviceClass::Gpu, Origin::System);
            let device = Device { name, class, origin, source, of_pools: false, state: State::Present };
            self.devices.insert(place.clone(), device);
            self.keys.insert(id, place.clone());
            self.at_place.insert(place.clone(), place.clone());
        }
    }

    /// What was known by its place on the bus alone, and is neither missed nor given away any more, is listed under its own name now, or gone.
    pub(super) fn find_on_the_bus(
        &mut self,
        source: usize,
        readings: &Readings,
        missing: &[Missing],
        news: &mut Vec<News>,
    ) {
        let mut found = Vec::new();
        for (key, device) in self.devices.iter().filter(|(_, device)| device.source == source) {
            let is_missed = missing.iter().any(|missing| missing.device.id == device.name.id);
            let was_given = device.name.id.strip_prefix(ON_THE_BUS) == Some(key);
            let is_over = match readings.health {
                Health::Up => was_given || key.starts_with(ON_THE_BUS),
                Health::Absent => was_given,
                _ => false,
            };
            if is_over && !is_missed && !readings.given.contains(key) {
                let what = if matches!(device.state, State::Lost { .. }) { "missed" } else { "given away" };
                news.push(News::new(
                    &device.name.id,
                    EventKind::Back,
                    format!("{} is {what} no more", device.name.name),
                ));
                found.push(key.clone());
            }
        }
        for key in found {
            self.devices.remove(&key);
            self.at_place.retain(|_, of| *of != key);
            self.forgotten.push(key);
        }
    }

    /// Keys of the cards that were listed, and may not be asked any more: those whose numbers say so, and those that were so before
    /// while there are such cards.
    pub(super) fn barred(
        &self,
        source: usize,
        readings: &Readings,
        listed: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        if readings.barred.is_empty() {
            return BTreeSet::new();
        }
        let numbers = self.numbers.get(&source);
        let by_number = readings.barred.iter().filter_map(|id| numbers?.get(id));
        let before = self.devices.iter().filter(|(_, device)| matches!(device.state, State::Barred { .. }));
        let before = before.filter(|(_, device)| device.source == source).map(|(key, _)| key);
        by_number.chain(before).filter(|key| !listed.contains(*key)).cloned().collect()
    }

    /// Whether a source has listed a card that was not given to a virtual machine.
    pub(crate) fn has_own(&self, source: usize, given: &BTreeSet<String>) -> bool {
        let away: BTreeSet<&String> = given.iter().filter_map(|place| self.at_place.get(place)).collect();
        let mut devices =
            self.devices.iter().filter(|(_, device)| device.source == source && !device.of_pools);
        devices.any(|(key, _)| !away.contains(key))
    }
}
