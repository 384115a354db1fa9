//! By what each device that a source lists is known: its identity, else its place on the bus, else its model where that is the
//! only one of its kind, else its number.

use std::collections::BTreeMap;

use super::Known;
use super::device::{Device, Numbers, is_same_model};
use crate::ids::is_nameless;
use crate::source::{DeviceClass, DeviceReading, Readings};

impl Known {
    /// `numbers` are those that mean what they did.
    pub(super) fn keys_of(
        &self,
        source: usize,
        Readings { devices, places, .. }: &Readings,
        numbers: &Numbers,
    ) -> Vec<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for uuid in devices.iter().filter_map(|reading| reading.device.uuid.as_deref()) {
            *counts.entry(uuid).or_default() += 1;
        }
        let key = |reading: &DeviceReading| {
            let name = &reading.device;
            match name.uuid.as_deref() {
                Some(uuid) if !uuid.is_empty() && counts[uuid] == 1 => uuid.to_owned(),
                // Where it sits does not change when the others are numbered anew.
                _ if places.contains_key(&name.id) => {
                    let place = &places[&name.id];
                    let seen = self.at_place.get(place).filter(|key| !counts.contains_key(key.as_str()));
                    seen.unwrap_or(place).clone()
                }
                // One that says no UUID for once is who it was, unless it is another model.
                None => {
                    let is_it =
                        |device: &Device| device.source == source && is_same_model(&device.name, name);
                    let before = numbers.get(&name.id).filter(|key| !counts.contains_key(key.as_str()));
                    let before = before.filter(|key| self.devices.get(*key).is_some_and(is_it));
                    before
                        .or_else(|| self.only_of_its_model(source, reading, devices))
                        .unwrap_or(&name.id)
                        .clone()
                }
                Some(_) => name.id.clone(),
            }
        };
        devices.iter().map(key).collect()
    }

    /// The key of the only card of a model, none of which says who it is, where only one of that model is listed.
    fn only_of_its_model(
        &self,
        source: usize,
        reading: &DeviceReading,
        listed: &[DeviceReading],
    ) -> Option<&String> {
        let model = reading.device.name.as_str();
        // One without a name may be of any model.
        let may_be = |one: &&DeviceReading| one.device.name == model || is_nameless(&one.device.name);
        if is_nameless(model) || reading.class != DeviceClass::Gpu || listed.iter().filter(may_be).count() > 1
        {
            return None;
        }
        let is_one = |device: &Device| {
            device.source == source && device.class == DeviceClass::Gpu && device.name.name == model
        };
        let mut of_model = self.devices.iter().filter(|(_, device)| is_one(device));
        let (key, only) = of_model.next()?;
        (of_model.next().is_none() && only.name.uuid.is_none()).then_some(key)
    }
}
