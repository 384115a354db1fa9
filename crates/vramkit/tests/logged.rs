//! What a monitor says to `tracing`: a snapshot with its numbers, and what it finds as loud as it is urgent.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use vramkit::ByteSize;
use vramkit::device::SimulatedDevice;
use vramkit::monitor::{Limits, MonitorConfig, VramMonitor};
use vramkit::pool::{DeviceMemoryPool, Request};

/// Keeps what the monitor says, a line each.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "vramkit::monitor"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push((*event.metadata().level(), fields.0));
    }
}

#[test]
fn snapshots_and_what_is_found_are_logged() {
    let capacity = ByteSize::mib(64);
    let pool = Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap());
    let limits = Some(Limits::new(ByteSize::mib(8), ByteSize::mib(32)).unwrap());
    let config = MonitorConfig { limits, cleanup_threshold: None, ..MonitorConfig::default() };
    let monitor = VramMonitor::with_config(pool.clone(), config).unwrap();
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        let mut held = vec![pool.allocate(Request::new(ByteSize::mib(16))).unwrap()];
        monitor.log_snapshot("loaded", Some(3), &["llama"]);
        (0..100).for_each(|_| drop(monitor.check_limits("decode")));
        held.push(pool.allocate(Request::new(ByteSize::mib(44))).unwrap());
        (0..100).for_each(|_| drop(monitor.check_limits("decode")));
        monitor.log_snapshot("", None, &[]);
    });
    let lines = lines.0.lock().unwrap();
    let of = |level: Level, words: &[&str]| {
        lines.iter().filter(|(l, line)| *l == level && words.iter().all(|word| line.contains(word))).count()
    };
    let snapshot = ["snapshot", "event=\"loaded\"", "slot=3", "used=16 MiB", "reserved=16 MiB", "llama"];
    assert_eq!(of(Level::INFO, &snapshot), 1, "{lines:?}");
    assert_eq!(of(Level::WARN, &["limit passed", "soft limit, decode: 16 MiB held"]), 1, "{lines:?}");
    assert_eq!(of(Level::WARN, &["cleanup does not help"]), 1, "{lines:?}");
    assert_eq!(of(Level::ERROR, &["limit passed", "hard limit, decode: 60 MiB held"]), 1, "{lines:?}");
    assert_eq!(of(Level::INFO, &["pressure changed", "normal to critical"]), 1, "{lines:?}");
}
