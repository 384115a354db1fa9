//! The watcher behind a lock, and what was last read: one thread makes readings, and whoever asks gets the last one.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::sync::watch;
use vramkit_watch::{Tick, Watcher};

use crate::exposition::{self, Exposition};
use crate::metrics;

/// Before and after a tick's JSON in an event.
const EVENT_END: &str = "\n\n";

/// One reading, in the forms that readers want, made when the first of them asks.
#[derive(Debug)]
pub(crate) struct RenderedTick {
    pub(crate) tick: Arc<Tick>,
    /// One more than that of the tick before: a reader of events sees by it what it has missed.
    number: u64,
    event: OnceLock<Bytes>,
    openmetrics: OnceLock<Bytes>,
    prometheus: OnceLock<Bytes>,
    /// Until the next one at most.
    interval: Duration,
    made: Instant,
}

impl RenderedTick {
    /// As a server-sent event.
    pub(crate) fn event(&self) -> Bytes {
        let make = || format!("{}{}{EVENT_END}", self.event_start(), to_json(&*self.tick)).into();
        self.event.get_or_init(make).clone()
    }

    fn event_start(&self) -> String {
        format!("event: tick\nid: {}\ndata: ", self.number)
    }

    pub(crate) fn json(&self) -> Bytes {
        let event = self.event();
        event.slice(self.event_start().len()..event.len() - EVENT_END.len())
    }

    pub(crate) fn openmetrics(&self) -> Bytes {
        let make = || metrics::sampled(&self.tick, self.interval).unwrap_or_default().into();
        self.openmetrics.get_or_init(make).clone()
    }

    /// As Prometheus's older text.
    pub(crate) fn prometheus(&self) -> Bytes {
        self.prometheus.get_or_init(|| in_prometheus(&self.openmetrics())).clone()
    }

    /// What may be said of a reading that is old: when it was, and no number of it.
    pub(crate) fn when(&self, exposition: Exposition) -> Bytes {
        let text: Bytes = metrics::when(&self.tick, self.interval).unwrap_or_default().into();
        match exposition {
            Exposition::OpenMetrics => text,
            Exposition::Prometheus => in_prometheus(&text),
        }
    }

    pub(crate) fn age(&self) -> Duration {
        self.made.elapsed()
    }
}

fn in_prometheus(openmetrics: &Bytes) -> Bytes {
    exposition::prometheus(std::str::from_utf8(openmetrics).unwrap_or_default()).into()
}

/// On one line.
fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(crate) struct SharedWatcher {
    watcher: Mutex<Watcher>,
    /// Between two readings at most.
    interval: Duration,
    started: Instant,
    last: watch::Sender<Option<Arc<RenderedTick>>>,
}

impl SharedWatcher {
    pub(crate) fn new(watcher: Watcher, interval: Duration) -> Self {
        Self {
            watcher: Mutex::new(watcher),
            interval,
            started: Instant::now(),
            last: watch::Sender::new(None),
        }
    }

    /// Makes a reading. Waits for drivers, and writes the recording: for one thread of its own.
    pub(crate) fn tick(&self) -> Arc<RenderedTick> {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let tick = Arc::new(watcher.tick(self.started.elapsed()));
        let number = self.last.borrow().as_ref().map_or(0, |last| last.number) + 1;
        let rendered = Arc::new(RenderedTick {
            tick,
            number,
            event: OnceLock::new(),
            openmetrics: OnceLock::new(),
            prometheus: OnceLock::new(),
            interval: self.interval,
            made: Instant::now(),
        });
        self.last.send_replace(Some(rendered.clone()));
        rendered
    }

    /// The last reading, however old; none before the first.
    pub(crate) fn last(&self) -> Option<Arc<RenderedTick>> {
        self.last.borrow().clone()
    }

    /// Is told of each reading, and has the last.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<RenderedTick>>> {
        self.last.subscribe()
    }

    /// Until the next reading.
    pub(crate) fn period(&self, tick: &Tick) -> Duration {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner).period(tick, self.interval)
    }

    /// Between two readings at most.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// The next piece of what the watcher keeps, as JSON, and after which device to go on; none while a reading is being made.
    pub(crate) fn history_piece(&self, after: Option<&str>) -> Option<(Bytes, Option<String>)> {
        let (text, last) = match self.watcher.try_lock() {
            Ok(watcher) => watcher.history_json_piece(after),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().history_json_piece(after),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some((text.into(), last))
    }
}
