//! Which card is meant where its source says that one is missing: by its identity, its place on the bus, the number that it had in
//! the last list, else by elimination.
//!
//! A driver that has numbered its cards anew says nothing of those that it cannot ask but their new numbers. A number is
//! trusted where all cards that say who they are have the numbers that they had before.

use std::collections::BTreeSet;

use vramkit::device::Origin;

use super::device::{Device, Moment, NOT_LISTED, Numbers, State, lost};
use super::{Known, ON_THE_BUS};
use crate::ids::free;
use crate::judge::News;
use crate::source::{DeviceClass, DeviceReading, Missing};

impl Known {
    /// The numbers of a source's cards that still mean what they did, given who says who it is now.
    pub(super) fn numbers(&self, source: usize, devices: &[DeviceReading]) -> Numbers {
        let Some(before) = self.numbers.get(&source) else { return Numbers::new() };
        let is_as_before = |reading: &DeviceReading| {
            let (uuid, key) = (reading.device.uuid.as_ref(), before.get(&reading.device.id));
            key.is_none() || uuid.is_none_or(|uuid| key == Some(uuid) || !self.devices.contains_key(uuid))
        };
        let mut cards = devices.iter().filter(|reading| reading.class == DeviceClass::Gpu);
        if cards.all(is_as_before) { before.clone() } else { Numbers::new() }
    }

    /// Cards that their source says are missing, none of which is among those `listed` or `away` without being missed.
    pub(super) fn lose(
        &mut self,
        moment: &Moment,
        source: usize,
        (listed, away): (&BTreeSet<String>, BTreeSet<String>),
        missing: Vec<Missing>,
        news: &mut Vec<News>,
    ) {
        let mut gone = away;
        gone.extend(listed.iter().cloned());
        let mut unsure = Vec::new();
        for missing in missing {
            match self.which(source, &missing) {
                Some(key) if listed.contains(&key) && missing.device.uuid.as_ref() == Some(&key) => {}
                Some(key) if gone.insert(key.clone()) => self.miss(moment, source, key, missing, news),
                _ => unsure.push(missing),
            }
        }
        // Those that went earlier, which the driver has forgotten, are not the ones that it speaks of now.
        let is_out = |(key, device): &(&String, &Device)| {
            device.source == source && device.class == DeviceClass::Gpu && !gone.contains(*key)
        };
        let is_forgotten =
            |device: &Device| matches!(&device.state, State::Lost { reason, .. } if reason == NOT_LISTED);
        let out = self.devices.iter().filter(is_out);
        let (forgotten, fresh): (Vec<_>, Vec<_>) = out.partition(|(_, device)| is_forgotten(device));
        let keys = |of: Vec<(&String, &Device)>| of.into_iter().map(|(key, _)| key.clone()).collect();
        let groups: [Vec<String>; 2] = [keys(fresh), keys(forgotten)];
        for group in groups {
            if group.len() > unsure.len() {
                // It is not known which of them: all are lost, since none is listed.
                return;
            }
            let later = unsure.split_off(group.len());
            for (key, missing) in group.into_iter().zip(std::mem::replace(&mut unsure, later)) {
                self.miss(moment, source, key, missing, news);
            }
        }
        // Nobody has seen these before.
        for mut missing in unsure {
            if !missing.device.id.starts_with(ON_THE_BUS) {
                let taken = self.keys.keys().cloned().collect();
                missing.device.id = free(&missing.device.id, &taken);
            }
            let key = missing.device.uuid.clone().unwrap_or_else(|| missing.device.id.clone());
            self.miss(moment, source, key, missing, news);
        }
    }

    fn which(&self, source: usize, missing: &Missing) -> Option<String> {
        if let Some(uuid) = &missing.device.uuid {
            return Some(uuid.clone());
        }
        let at_place = missing.place.as_ref().and_then(|place| self.at_place.get(place));
        at_place.or_else(|| self.numbers.get(&source)?.get(&missing.device.id)).cloned()
    }

    fn miss(&mut self, moment: &Moment, source: usize, key: String, missing: Missing, news: &mut Vec<News>) {
        if let Some(place) = missing.place {
            self.at_place.insert(place, key.clone());
        }
        self.numbers.entry(source).or_default().insert(missing.device.id.clone(), key.clone());
        let device = self.devices.entry(key.clone()).or_insert_with(|| Device {
            name: missing.device,
            class: DeviceClass::Gpu,
            origin: Origin::Nvml,
            source,
            of_pools: false,
            state: State::Present,
        });
        self.keys.entry(device.name.id.clone()).or_insert(key);
        lost(device, moment, missing.reason, news);
    }
}
