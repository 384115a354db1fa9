//! What `/metrics` says of realistic series, minute by minute, for `scripts/check-rules`: a JSON object a line, with the series' label and
//! every sample of every metric of the card. `cargo run --release -p vramkit-serve --example alerts -- SEEDS`
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};
use vramkit::monitor::{DeviceName, Usage};
use vramkit_serve::openmetrics;
use vramkit_testing::realistic::{LeakKind, Readings, Workload, healthy, leaking};
use vramkit_watch::{DeviceClass, DeviceReading, Source, WatchConfig, Watcher};

/// Between two scrapes.
const SCRAPE: Duration = Duration::from_secs(60);

/// The first seed: nothing was tuned on it and those after it.
const FIRST: u64 = 6_000_000;

/// When the scrapes begin, in seconds since 1970.
const EPOCH: f64 = 1.8e9;

/// A card of which this is read.
struct Card(Arc<std::sync::Mutex<(ByteSize, ByteSize)>>);

impl Source for Card {
    fn name(&self) -> &'static str {
        "card"
    }

    fn read(&mut self) -> vramkit_watch::Readings {
        let (total, used) = *self.0.lock().expect("nobody panics with it");
        let known = |size| Reading::known(size, Origin::Nvml);
        let none = || Reading::unavailable(Origin::Nvml, "none");
        let usage = Usage {
            total_bytes: known(total),
            free_bytes: known(total.saturating_sub(used)),
            used_bytes: known(used),
            driver_bytes: none(),
            allocated_bytes: none(),
            reserved_bytes: none(),
        };
        let device = DeviceName { id: "cuda:0".into(), name: "a card".into(), uuid: None };
        let processes = Reading::unavailable(Origin::Nvml, "none");
        vramkit_watch::Readings {
            devices: vec![DeviceReading {
                device,
                class: DeviceClass::Gpu,
                activity: None,
                usage,
                processes,
                stall: None,
                shared_bytes: None,
                notes: Vec::new(),
            }],
            ..vramkit_watch::Readings::default()
        }
    }
}

/// The samples of each metric, one a minute; none where it has none.
fn scraped(readings: &Readings) -> BTreeMap<String, Vec<Option<f64>>> {
    let now = Arc::new(std::sync::Mutex::new((readings.capacity, ByteSize::ZERO)));
    let card: Box<dyn Source> = Box::new(Card(now.clone()));
    let mut watcher =
        Watcher::new(vec![card], WatchConfig { history: 1, ..WatchConfig::default() }).expect("a preset");
    let (mut metrics, mut scrapes) = (BTreeMap::<String, Vec<Option<f64>>>::new(), 0usize);
    let first = readings.samples.first().map_or(Duration::ZERO, |sample| sample.0);
    // Prometheus has a clock of its own: what the readings' clock steps back is not lived twice.
    for &(at, used) in &readings.samples {
        *now.lock().expect("nobody panics with it") = (readings.capacity, used);
        let tick = Arc::new(watcher.tick(at));
        while at.saturating_sub(first) >= SCRAPE * scrapes as u32 {
            let text = openmetrics(&tick).unwrap_or_default();
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                let Some((name, value)) = line.rsplit_once(' ') else { continue };
                let samples = metrics.entry(name.to_owned()).or_default();
                samples.resize(scrapes, None);
                // As of somebody who goes on reading: what is judged here is memory.
                let is_time = name.contains("_timestamp_seconds");
                let read = EPOCH + (SCRAPE * scrapes as u32).as_secs_f64();
                samples.push(if is_time { Some(read) } else { value.parse().ok() });
            }
            scrapes += 1;
        }
    }
    metrics.values_mut().for_each(|samples| samples.resize(scrapes, None));
    metrics
}

fn main() {
    let seeds: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut written = 0;
    let mut write = |class: String, readings: &Readings| {
        // Slower than it is scraped, a card is watched by nobody.
        if readings.period <= SCRAPE {
            let leak = readings.leak.map(|leak| {
                let full = leak.full.map(|full| full.as_secs_f64());
                json!({"start_seconds": leak.start.as_secs_f64(), "full_seconds": full, "is_worthwhile": leak.is_worthwhile})
            });
            println!("{}", json!({"class": class, "leak": leak, "metrics": scraped(readings)}));
            written += 1;
        }
    };
    for seed in FIRST..FIRST + seeds {
        Workload::ALL.iter().for_each(|&class| write(format!("{class:?}"), &healthy(class, seed)));
        LeakKind::ALL.iter().for_each(|&kind| write(format!("{kind:?} leak"), &leaking(kind, seed)));
    }
    assert!(written > 0, "no series");
}
