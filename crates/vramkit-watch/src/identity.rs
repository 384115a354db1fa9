//! Cards that do not say who they are: which is which after the driver has numbered them anew is not known, and it is said.

use std::collections::BTreeMap;

use crate::source::{DeviceClass, DeviceReading};

/// Adds a note to each card of a driver that numbers its cards (`cuda:0`) and gives one no identity, or two the same. One that is
/// missed counts: what is listed may be that one.
pub(crate) fn note_unknown(devices: &mut [DeviceReading]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for uuid in devices.iter().filter_map(|reading| reading.device.uuid.clone()) {
        *counts.entry(uuid).or_default() += 1;
    }
    let is_one_of_some = devices.iter().filter(|reading| is_numbered(reading)).count() > 1;
    for reading in devices.iter_mut().filter(|reading| is_numbered(reading)) {
        let why = match reading.device.uuid.as_deref() {
            None | Some("") => "the driver gives it no UUID",
            Some(uuid) if counts[uuid] > 1 => "another card has the same UUID",
            Some(_) => continue,
        };
        // One alone is the one.
        if is_one_of_some {
            reading.notes.push(format!(
                "{why}: it is known by its number, and which card that is when the driver numbers them anew is not known"
            ));
        }
    }
}

fn is_numbered(reading: &DeviceReading) -> bool {
    reading.class == DeviceClass::Gpu && reading.device.id.starts_with("cuda:")
}
