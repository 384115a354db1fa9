//! How it stands with the monitor, its sources, the cards that it knows and its recording: what alerts of absence go by.

use std::fmt;
use std::time::Duration;

use prometheus_client::registry::Unit;
use vramkit_watch::{DeviceClass, DeviceTick, Health, Presence, SourceTick, Tick, unix_seconds};

use super::{Families, Labels, is, is_present, labels, place};

impl Families<'_> {
    /// Of the monitor itself.
    pub(super) fn monitor(&mut self, tick: &Tick, interval: Option<Duration>) -> Result<(), fmt::Error> {
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        self.gauge("vramkit_build_info", "1, with the version", None, vec![(version, 1.0)])?;
        let read = unix_seconds(&tick.time).map(|time| (Labels::new(), time));
        let help = "When the numbers beside this one were read, in seconds since 1970";
        let seconds = Some(Unit::Seconds);
        self.gauge("vramkit_last_reading_timestamp", help, seconds.clone(), read.into_iter().collect())?;
        let interval = interval.map(|interval| (Labels::new(), interval.as_secs_f64()));
        let help = "Between two readings at most";
        self.gauge("vramkit_interval", help, seconds, interval.into_iter().collect())
    }

    /// What is there, and what is missed.
    pub(super) fn states(&mut self, tick: &Tick) -> Result<(), fmt::Error> {
        let named = |source: &SourceTick| vec![("source", source.source.clone())];
        let expected = tick.sources.iter().filter(|source| source.health != Health::Absent);
        let up = expected.clone().map(|source| (named(source), is(source.health == Health::Up)));
        let help = "1 while a source answers, 0 while it is late or failing";
        self.gauge("vramkit_source_up", help, None, up.collect())?;
        let answered =
            expected.filter_map(|source| Some((named(source), unix_seconds(source.answered.as_ref()?)?)));
        let help = "When a source last answered, in seconds since 1970";
        self.gauge("vramkit_source_answered_timestamp", help, Some(Unit::Seconds), answered.collect())?;
        let cards = || tick.devices.iter().filter(|device| device.class == DeviceClass::Gpu);
        let count = |count: usize| vec![(Labels::new(), count as f64)];
        let help = "Cards that are there or were, and not their parts";
        self.gauge("vramkit_devices_expected", help, None, count(cards().count()))?;
        // Who counts cards misses none of those.
        let is_away =
            |device: &DeviceTick| matches!(device.presence, Presence::Given { .. } | Presence::Barred { .. });
        let help = "Cards that are there and were read, were given to a virtual machine, or may not be asked any more";
        self.gauge(
            "vramkit_devices_present",
            help,
            None,
            count(cards().filter(|card| is_present(card) || is_away(card)).count()),
        )?;
        let known = || tick.devices.iter().filter(|device| !is_away(device));
        let present = known().map(|device| (labels(device), is(is_present(device))));
        let help = "1 while a device is there and was read, 0 while it is lost or its source does not answer";
        self.gauge("vramkit_device_present", help, None, present.collect())?;
        let is_lost = |device: &DeviceTick| matches!(device.presence, Presence::Lost { .. });
        let lost = known().map(|device| (labels(device), is(is_lost(device))));
        let help = "1 while a device is lost, however its source answers";
        self.gauge("vramkit_device_lost", help, None, lost.collect())?;
        let may = tick.devices.iter().flat_map(|device| {
            device.assigned.iter().map(|to| {
                let mut labels = labels(device);
                labels.extend(place(Some(&to.pod), Some(&to.container)));
                (labels, 1.0)
            })
        });
        let help = "1, for each container that may use a device";
        self.gauge("vramkit_device_assigned", help, None, may.collect())?;
        let recorder = tick.recorder.as_ref().map(|recorder| (Labels::new(), is(recorder.up)));
        let help = "1 while the recording is written, 0 while it cannot be";
        self.gauge("vramkit_recorder_up", help, None, recorder.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use vramkit::device::{Origin, Reading};
    use vramkit::monitor::{DeviceName, Usage};
    use vramkit_watch::{DeviceReading, Readings, WatchConfig, Watcher, source_fn};

    use super::*;
    use crate::metrics::openmetrics;

    #[test]
    fn a_card_that_was_given_away_is_neither_lost_nor_missed() {
        let card = |number: usize| DeviceReading {
            device: DeviceName {
                id: format!("cuda:{number}"),
                name: "a model".into(),
                uuid: Some(format!("GPU-{number}")),
            },
            class: DeviceClass::Gpu,
            activity: None,
            usage: Usage::unavailable(Origin::Nvml, "none"),
            processes: Reading::unavailable(Origin::Nvml, "none"),
            stall: None,
            notes: Vec::new(),
            shared_bytes: None,
        };
        let place = "0000:17:00.0".to_owned();
        let before = Readings {
            devices: vec![card(0), card(1)],
            places: [("cuda:1".to_owned(), place.clone())].into(),
            ..Readings::default()
        };
        let after = Readings { devices: vec![card(0)], given: [place].into(), ..Readings::default() };
        let mut script = VecDeque::from([before, after]);
        let script = source_fn("script", move || script.pop_front().unwrap_or_default());
        let mut watcher = Watcher::new(vec![Box::new(script)], WatchConfig::default()).unwrap();
        watcher.tick(Duration::ZERO);
        let text = openmetrics(&Arc::new(watcher.tick(Duration::from_secs(1)))).unwrap();
        let has = |sample: &str| text.lines().any(|line| line == sample);
        assert!(has("vramkit_devices_expected 2.0") && has("vramkit_devices_present 2.0"), "{text}");
        let present: Vec<_> =
            text.lines().filter(|line| line.starts_with("vramkit_device_present{")).collect();
        assert!(present.len() == 1 && present[0].contains("GPU-0"), "{present:?}");
    }
}
