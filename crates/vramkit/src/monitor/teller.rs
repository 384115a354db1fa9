//! Says what a monitor finds: to `tracing`, to a trace, and to the program's functions, which run on a thread of their own. No
//! lock is held while any of them is told.

use std::sync::{Arc, Mutex};

use crate::callbacks::{Callback, CallbackQueue};
use crate::pressure::{Finding, LimitKind};
use crate::sync::lock_std;
use crate::trace::{Event, TraceCollector};

/// Who is told what a monitor finds.
pub(super) struct Teller {
    /// The monitored device, for the log.
    device: String,
    trace: Mutex<Option<Arc<TraceCollector>>>,
    callbacks: Mutex<Vec<Callback<Event>>>,
    queue: CallbackQueue<Event>,
}

impl Teller {
    pub(super) fn new(device: String) -> Self {
        let queue = CallbackQueue::new("what a monitor finds");
        Self { device, trace: Mutex::default(), callbacks: Mutex::default(), queue }
    }

    pub(super) fn record_into(&self, trace: Arc<TraceCollector>) {
        *lock_std(&self.trace) = Some(trace);
    }

    pub(super) fn register(&self, callback: Callback<Event>) {
        lock_std(&self.callbacks).push(callback);
    }

    pub(super) fn tell(&self, event: Event) {
        let (device, (kind, text)) = (&self.device, event.describe());
        match severity(&event) {
            tracing::Level::ERROR => tracing::error!(target: "vramkit::monitor", device, kind, "{text}"),
            tracing::Level::WARN => tracing::warn!(target: "vramkit::monitor", device, kind, "{text}"),
            _ => tracing::info!(target: "vramkit::monitor", device, kind, "{text}"),
        }
        let callbacks = lock_std(&self.callbacks).clone();
        self.queue.call(callbacks, &event);
        let trace = lock_std(&self.trace).clone();
        if let Some(trace) = trace {
            trace.record(event);
        }
    }
}

/// How loud an event is: what needs somebody warns, what refuses work is an error.
fn severity(event: &Event) -> tracing::Level {
    match event {
        Event::LimitPassed { limit: LimitKind::Hard, .. } => tracing::Level::ERROR,
        Event::Series(Finding::GrowthStopped | Finding::NotFullSoon) => tracing::Level::INFO,
        Event::LimitPassed { .. }
        | Event::CleanupDoesNotHelp { .. }
        | Event::GenerationsGrew { .. }
        | Event::LeakSuspected { .. }
        | Event::Series(_) => tracing::Level::WARN,
        _ => tracing::Level::INFO,
    }
}
