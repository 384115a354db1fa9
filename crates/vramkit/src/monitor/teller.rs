//! Says what a monitor finds: to `tracing`, to a trace, and to the program's functions, which run on a thread of their own. No
//! lock is held while any of them is told.
//!
//! What is found under a lock is [noted](Teller::note) there and [told](Teller::tell_noted) after it, by one thread at a time: so it
//! is told in the order in which it was found, whoever found it.

use std::collections::VecDeque;
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
    noted: Mutex<Noted>,
}

/// What is to be told.
#[derive(Default)]
struct Noted {
    events: VecDeque<Event>,
    /// The process, a thread of which is telling: a forked child has none of its parent's threads.
    telling: Option<u32>,
}

/// Lets others tell, also when somebody who is told panics.
struct Telling<'a>(&'a Mutex<Noted>);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        lock_std(self.0).telling = None;
    }
}

impl Teller {
    pub(super) fn new(device: String) -> Self {
        let queue = CallbackQueue::new("what a monitor finds");
        Self { device, trace: Mutex::default(), callbacks: Mutex::default(), queue, noted: Mutex::default() }
    }

    pub(super) fn record_into(&self, trace: Arc<TraceCollector>) {
        *lock_std(&self.trace) = Some(trace);
    }

    pub(super) fn register(&self, callback: Callback<Event>) {
        lock_std(&self.callbacks).push(callback);
    }

    /// Tells something now, after what has been noted.
    pub(super) fn tell(&self, event: Event) {
        self.note(event);
        self.tell_noted();
    }

    /// Keeps something for [`tell_noted`](Self::tell_noted); under whatever lock it was found.
    pub(super) fn note(&self, event: Event) {
        lock_std(&self.noted).events.push_back(event);
    }

    /// Tells what was noted, unless a thread is at it: that one tells it.
    pub(super) fn tell_noted(&self) {
        let me = Some(std::process::id());
        {
            let mut noted = lock_std(&self.noted);
            if noted.telling == me {
                return;
            }
            noted.telling = me;
        }
        let telling = Telling(&self.noted);
        loop {
            let mut noted = lock_std(&self.noted);
            let Some(event) = noted.events.pop_front() else {
                // Under the same lock: what is noted from here on is told by who notes it, which the guard is not to undo.
                noted.telling = None;
                drop(noted);
                return std::mem::forget(telling);
            };
            drop(noted);
            self.say(event);
        }
    }

    fn say(&self, event: Event) {
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

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::pressure::CleanupReason;
    use crate::units::ByteSize;

    fn nothing_helps() -> Event {
        Event::CleanupDoesNotHelp { reason: CleanupReason::Threshold }
    }

    #[test]
    fn what_needs_somebody_warns_and_good_news_is_news() {
        let recovered =
            Event::Recovered { limit: LimitKind::Hard, passed_seconds: 1.0, used_bytes: ByteSize::ZERO };
        assert_eq!(severity(&nothing_helps()), tracing::Level::WARN);
        for over in [Finding::GrowthStopped, Finding::NotFullSoon] {
            assert_eq!(severity(&Event::Series(over)), tracing::Level::INFO);
        }
        assert_eq!(severity(&recovered), tracing::Level::INFO);
    }

    /// Somebody's logger that panics.
    struct Panics;

    impl tracing::Subscriber for Panics {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            panic!("a logger");
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn a_logger_that_panics_silences_nobody() {
        let teller = Teller::new("sim".into());
        let trace = Arc::new(TraceCollector::new());
        teller.record_into(trace.clone());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            tracing::subscriber::with_default(Panics, || teller.tell(nothing_helps()));
        }));
        assert!(panicked.is_err());
        teller.tell(nothing_helps());
        assert_eq!(trace.events().len(), 1, "the second is told");
    }
}
