//! Devices that were seen: which is which from tick to tick, and what became of those that are not listed any more.
//!
//! In: what each source lists. Out: the same list under ids that stay, with a reading without numbers for each device that
//! should be in it and is not.
//!
//! A card is known by its UUID: when one falls off and the driver numbers the others anew, each keeps the id under which it
//! was seen first, and the lost one keeps its own. A card that is not listed any more is lost until it comes back, or until
//! another one takes its id; it is not forgotten. One that was given to a virtual machine is not missed. Whatever else is not listed any more (a part of a card that was divided
//! anew, a program's own device) is gone. What a source lists that does not answer is unread.

use std::collections::{BTreeMap, BTreeSet};

use vramkit::device::Reading;
use vramkit::monitor::{DeviceName, Usage, utc};

use crate::clock::ClockStep;
use crate::ids::{free, natural};
use crate::judge::News;
use crate::source::{DeviceClass, DeviceReading, Health, Missing, Readings};
use crate::standing::Standing;
use crate::tick::{EventKind, Presence};

use device::{Device, NOT_LISTED, Numbers, State, given, is_same_model, lost, replaced_by};

mod away;
mod device;
mod keys;
mod missing;

pub(crate) use device::{IN_THE_PLACE, Moment};

/// Devices that are known at most; of more, those that were lost first are forgotten.
const MOST: usize = 256;
/// What the id of a card begins with that only the bus knows.
pub(crate) const ON_THE_BUS: &str = "pci:";

/// See the module's first lines.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// By UUID, or by id where there is none.
    devices: BTreeMap<String, Device>,
    /// The key of each id.
    keys: BTreeMap<String, String>,
    /// Keys of devices that were known by their id, and are by their UUID now.
    moved: Vec<(String, String)>,
    /// Keys of what only pools spoke of, and a source lists now.
    forgotten: Vec<String>,
    /// The key of what was seen at each place on the bus.
    at_place: BTreeMap<String, String>,
    /// By source.
    numbers: BTreeMap<usize, Numbers>,
}

impl Known {
    /// By what a device is known: what stays the same when its id does not.
    pub(crate) fn key<'a>(&'a self, id: &'a str) -> &'a str {
        self.keys.get(id).map_or(id, String::as_str)
    }

    /// The id of what is known by a key.
    pub(crate) fn id(&self, key: &str) -> Option<&str> {
        self.devices.get(key).map(|device| device.name.id.as_str())
    }

    /// Whether only pools speak of it.
    pub(crate) fn is_of_pools(&self, id: &str) -> bool {
        self.devices.get(self.key(id)).is_some_and(|device| device.of_pools)
    }

    pub(crate) fn presence(&self, id: &str) -> Presence {
        match self.devices.get(self.key(id)).map(|device| &device.state) {
            Some(State::Lost { since, reason }) => {
                Presence::Lost { since: utc(*since), reason: reason.clone() }
            }
            Some(State::Unread { since, reason }) => {
                Presence::Unread { since: utc(*since), reason: reason.clone() }
            }
            Some(State::Given { since, reason }) => {
                Presence::Given { since: utc(*since), reason: reason.clone() }
            }
            Some(State::Barred { since, reason }) => {
                Presence::Barred { since: utc(*since), reason: reason.clone() }
            }
            Some(State::Present) | None => Presence::Present,
        }
    }

    /// The place on the bus of each device that has been seen at one, by id.
    pub(crate) fn places(&self) -> BTreeMap<String, String> {
        let places = self.at_place.iter();
        places.filter_map(|(place, key)| Some((self.id(key)?.to_owned(), place.clone()))).collect()
    }

    /// What has another key since this was last asked: the one before, and the one now.
    pub(crate) fn take_moved(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.moved)
    }

    /// Keys of what only pools had spoken of until a source listed it, since this was last asked: what was kept is not its.
    pub(crate) fn take_forgotten(&mut self) -> Vec<String> {
        std::mem::take(&mut self.forgotten)
    }

    /// The clock was set.
    pub(crate) fn shift(&mut self, by: &ClockStep) {
        for since in self.devices.values_mut().filter_map(|device| device.state.since_mut()) {
            *since = by.of(*since);
        }
    }

    /// Settles what a source lists.
    pub(crate) fn settle(
        &mut self,
        moment: &Moment,
        source: usize,
        standing: &Standing,
        readings: &mut Readings,
        news: &mut Vec<News>,
    ) {
        self.forget_words(&readings.devices);
        let listed = self.identify(moment, source, readings, news);
        let missing: Vec<Missing> = readings.missing.drain(..).collect();
        self.find_on_the_bus(source, readings, &missing, news);
        let barred = self.barred(source, readings, &listed);
        let given = readings.given.iter().filter_map(|place| self.at_place.get(place));
        let away = given.chain(&barred).cloned().collect();
        self.lose(moment, source, (&listed, away), missing, news);
        self.note_given(source, &readings.given);
        let mut unlisted: Vec<String> = self
            .devices
            .iter()
            .filter(|(key, device)| device.source == source && !device.of_pools && !listed.contains(*key))
            .map(|(key, _)| key.clone())
            .collect();
        // Cards before their parts: a part goes with its card.
        unlisted.sort_by_key(|key| self.devices[key].class == DeviceClass::GpuPart);
        for key in unlisted {
            match self.devices.get_mut(&key).filter(|_| barred.contains(&key)) {
                Some(device) => {
                    device::barred(device, moment, news);
                    readings.devices.extend(without_numbers(device));
                }
                None => self.settle_unlisted(moment, &key, standing, readings, news),
            }
        }
        let are_cards = readings.devices.iter().all(|reading| reading.class.is_gpu());
        if are_cards || readings.devices.len() != listed.len() {
            // They mostly are in order, which costs a comparison each.
            readings.devices.sort_by(|one, other| natural(&one.device.id, &other.device.id));
        }
        self.bound();
    }

    /// What only pools spoke of, under an id or identity that a source lists now, gives it neither.
    fn forget_words(&mut self, listed: &[DeviceReading]) {
        let is_of_pools = |key: &String| self.devices.get(key).is_some_and(|device| device.of_pools);
        let names =
            listed.iter().flat_map(|reading| [Some(&reading.device.id), reading.device.uuid.as_ref()]);
        let words: Vec<String> = names.flatten().filter(|name| is_of_pools(name)).cloned().collect();
        for key in words {
            self.devices.remove(&key);
            self.keys.retain(|_, of| *of != key);
            self.forgotten.push(key);
        }
    }

    /// A device that programs alone speak of.
    pub(crate) fn note_of_pools(
        &mut self,
        moment: &Moment,
        source: usize,
        reading: &DeviceReading,
        news: &mut Vec<News>,
    ) {
        let key = self.key(&reading.device.id).to_owned();
        self.note_present(moment, source, key.clone(), reading, news);
        self.devices.entry(key).and_modify(|device| device.of_pools = true);
    }

    /// Settles devices that pools of a source spoke of, and that are not among those `own` that they speak of now. Readings without
    /// numbers for those of which it is not known.
    pub(crate) fn settle_of_pools(
        &mut self,
        moment: &Moment,
        source: usize,
        (standing, health): (&Standing, Health),
        own: &BTreeSet<String>,
        news: &mut Vec<News>,
    ) -> Vec<DeviceReading> {
        let is_missed =
            |device: &Device| device.source == source && device.of_pools && !own.contains(&device.name.id);
        let missed: Vec<String> =
            self.devices.iter().filter(|(_, device)| is_missed(device)).map(|(key, _)| key.clone()).collect();
        let mut readings = Readings { health, ..Readings::default() };
        for key in missed {
            self.settle_unlisted(moment, &key, standing, &mut readings, news);
        }
        readings.devices
    }

    /// Gives each reading the id under which it is known; the keys of all.
    fn identify(
        &mut self,
        moment: &Moment,
        source: usize,
        readings: &mut Readings,
        news: &mut Vec<News>,
    ) -> BTreeSet<String> {
        let mut numbers = self.numbers(source, &readings.devices);
        let keys = self.keys_of(source, readings, &numbers);
        let ids = readings.devices.iter().map(|reading| reading.device.id.clone());
        numbers.extend(ids.zip(keys.iter().cloned()));
        self.numbers.insert(source, numbers);
        let mut taken: BTreeSet<String> = keys
            .iter()
            .filter_map(|key| self.id(key))
            .filter(|id| !id.starts_with(ON_THE_BUS))
            .map(str::to_owned)
            .collect();
        let mut renamed: BTreeMap<String, String> = BTreeMap::new();
        let Readings { devices, places, .. } = readings;
        for (reading, key) in devices.iter_mut().zip(&keys) {
            let listed = reading.device.id.clone();
            let id = match (reading.class, self.id(key)) {
                (DeviceClass::Gpu, Some(id)) if !id.starts_with(ON_THE_BUS) => id.to_owned(),
                (DeviceClass::Gpu, _) => free(&listed, &taken),
                (DeviceClass::GpuPart, _) => {
                    let (card, part) = listed.split_once('/').unwrap_or((&listed, ""));
                    renamed.get(card).map_or_else(|| listed.clone(), |card| format!("{card}/{part}"))
                }
                _ => listed.clone(),
            };
            if let Some(place) = places.get(&listed)
                && let Some(before) = self.at_place.insert(place.clone(), key.clone())
                && before == *place
                && before != *key
            {
                // Nobody knew more of it than its place.
                self.keys.retain(|_, of| *of != before);
                if let Some(device) = self.devices.remove(&before) {
                    let name = DeviceName { id: id.clone(), ..reading.device.clone() };
                    self.devices.entry(key.clone()).or_insert(Device { name, ..device });
                }
                self.moved.push((before, key.clone()));
            }
            taken.insert(id.clone());
            renamed.insert(listed, id.clone());
            reading.device.id = id;
            self.note_present(moment, source, key.clone(), reading, news);
        }
        keys.into_iter().collect()
    }

    fn note_present(
        &mut self,
        moment: &Moment,
        source: usize,
        key: String,
        reading: &DeviceReading,
        news: &mut Vec<News>,
    ) {
        let name = &reading.device;
        let replaced = self.keys.insert(name.id.clone(), key.clone()).filter(|before| *before != key);
        let replaced = replaced.and_then(|before| {
            // Unless it has moved to another id meanwhile.
            let is_its = self.devices.get(&before).is_some_and(|device| device.name.id == name.id);
            let replaced = if is_its { self.devices.remove(&before) } else { None };
            if replaced.as_ref().is_some_and(|device| device.name.uuid.is_none()) {
                self.moved.push((before, key.clone()));
            }
            replaced
        });
        let device = Device {
            name: name.clone(),
            class: reading.class,
            origin: reading.usage.total_bytes.source,
            source,
            of_pools: false,
            state: State::Present,
        };
        let before = self.devices.insert(key.clone(), device);
        if let Some(other) = before.as_ref().filter(|before| !is_same_model(&before.name, name)) {
            // Nothing of what was kept of the other is its.
            self.forgotten.push(key);
            let words = format!("{}{IN_THE_PLACE}{}", name.name, other.name.name);
            news.push(News::new(&name.id, EventKind::Appeared, words));
            return;
        }
        let (kind, words) = match (before.map(|device| device.state), replaced) {
            (Some(State::Lost { since, .. }), _) => {
                (EventKind::Back, format!("{} is here again: it was lost since {}", name.name, utc(since)))
            }
            (Some(State::Given { since, .. }), _) => (
                EventKind::Back,
                format!("{} is here again: it was given away since {}", name.name, utc(since)),
            ),
            (Some(State::Barred { since, .. }), _) => (
                EventKind::Back,
                format!("{} may be asked again: it was barred since {}", name.name, utc(since)),
            ),
            (Some(_), _) => return,
            (None, Some(before)) => match replaced_by(name, before) {
                Some(told) => told,
                None => return,
            },
            (None, None) if moment.is_first => return,
            (None, None) => (EventKind::Appeared, format!("{} is here", name.name)),
        };
        news.push(News::new(&name.id, kind, words));
    }

    fn settle_unlisted(
        &mut self,
        moment: &Moment,
        key: &str,
        standing: &Standing,
        readings: &mut Readings,
        news: &mut Vec<News>,
    ) {
        let card = self.devices[key].name.id.split_once('/').map(|(card, _)| self.key(card).to_owned());
        let card = card.and_then(|card| self.devices.get(&card)).map(|card| &card.state);
        let is_without_it = card == Some(&State::Present) && readings.health == Health::Up;
        let of_card = match card {
            Some(State::Lost { reason, .. }) => Some(reason.clone()),
            _ => None,
        };
        let at = |places: &BTreeSet<String>| {
            let mut own = self.at_place.iter().filter(|(_, of)| *of == key).map(|(place, _)| place);
            own.find(|place| places.contains(*place)).cloned()
        };
        let (place, is_excluded) = (at(&readings.given), at(&readings.excluded).is_some());
        let Some(device) = self.devices.get_mut(key) else { return };
        let is_ill = matches!(standing.health(), Health::Late | Health::Failing);
        // A part of a card that is here again, without it, went with the card's division.
        let is_lost = matches!(device.state, State::Lost { .. })
            && !(device.class == DeviceClass::GpuPart && is_without_it);
        if is_excluded {
            news.push(News::new(
                &device.name.id,
                EventKind::Lost,
                "is excluded: the driver was told to leave it out",
            ));
            let id = device.name.id.clone();
            self.devices.remove(key);
            self.keys.remove(&id);
            return;
        } else if let Some(place) = place {
            given(device, moment, &place, news);
        } else if is_ill && matches!(device.state, State::Given { .. } | State::Barred { .. }) {
            // Nobody says that it is back.
        } else if !is_lost && is_ill && readings.health != Health::Absent {
            device.state = State::Unread { since: standing.since(), reason: standing.reason().to_owned() };
        } else if device.class == DeviceClass::Gpu {
            let reason = match readings.health {
                Health::Absent => standing.reason().to_owned(),
                _ => NOT_LISTED.to_owned(),
            };
            lost(device, moment, reason, news);
        } else if let Some(reason) = of_card.filter(|_| device.class == DeviceClass::GpuPart) {
            lost(device, moment, reason, news);
        } else if !is_lost {
            let id = device.name.id.clone();
            news.push(News::new(&id, EventKind::Lost, "is not here any more"));
            self.devices.remove(key);
            self.keys.remove(&id);
            return;
        }
        readings.devices.extend(without_numbers(device));
    }

    fn bound(&mut self) {
        // What only pools speak of is bounded where it comes from, and is no reason to forget what a source has listed.
        while self.devices.values().filter(|device| !device.of_pools).count() > MOST {
            let since = |device: &Device| device.state.absence().map(|(since, _)| *since);
            let listed = self.devices.iter().filter(|(_, device)| !device.of_pools);
            let absent = listed.filter_map(|(key, device)| Some((since(device)?, key.clone())));
            let Some((_, key)) = absent.min() else { break };
            self.devices.remove(&key);
        }
        let devices = &self.devices;
        self.keys.retain(|_, key| devices.contains_key(key));
    }
}

/// The reading of a device that is not there.
fn without_numbers(device: &Device) -> Option<DeviceReading> {
    let (_, reason) = device.state.absence()?;
    Some(DeviceReading {
        device: device.name.clone(),
        class: device.class,
        activity: None,
        usage: Usage::unavailable(device.origin, reason),
        processes: Reading::unavailable(device.origin, reason.clone()),
        stall: None,
        shared_bytes: None,
        notes: Vec::new(),
    })
}
