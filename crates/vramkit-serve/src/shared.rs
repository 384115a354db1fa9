//! The watcher behind a lock, and what was last read: many readers, one reading.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;
use vramkit_watch::record::TickRecorder;
use vramkit_watch::{Tick, Watcher};

use crate::metrics;

/// Ticks that a slow reader of events may be behind before it is dropped.
const BEHIND: usize = 16;

/// One reading, in the forms that readers want, made when the first of them asks.
#[derive(Debug)]
pub(crate) struct RenderedTick {
    pub(crate) tick: Arc<Tick>,
    json: OnceLock<String>,
    metrics: OnceLock<String>,
    made: Instant,
}

impl RenderedTick {
    pub(crate) fn json(&self) -> &str {
        self.json.get_or_init(|| serde_json::to_string(&*self.tick).unwrap_or_default())
    }

    pub(crate) fn metrics(&self) -> &str {
        self.metrics.get_or_init(|| metrics::openmetrics(&self.tick).unwrap_or_default())
    }
}

pub(crate) struct SharedWatcher {
    watcher: Mutex<(Watcher, Option<TickRecorder>)>,
    started: Instant,
    last: Mutex<Option<Arc<RenderedTick>>>,
    ticks: broadcast::Sender<Arc<RenderedTick>>,
}

impl SharedWatcher {
    pub(crate) fn new(watcher: Watcher, recorder: Option<TickRecorder>) -> Self {
        Self {
            watcher: Mutex::new((watcher, recorder)),
            started: Instant::now(),
            last: Mutex::new(None),
            ticks: broadcast::channel(BEHIND).0,
        }
    }

    /// A reading no older than `age`; made now when there is none. May ask drivers: not for the thread that serves.
    pub(crate) fn tick(&self, age: Duration) -> Arc<RenderedTick> {
        if let Some(rendered) = self.recent(age) {
            return rendered;
        }
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have read while this one waited.
        if let Some(rendered) = self.recent(age) {
            return rendered;
        }
        let tick = Arc::new(watcher.0.tick(self.started.elapsed()));
        if let Some(recorder) = &mut watcher.1
            && let Err(error) = recorder.write(&tick)
        {
            tracing::error!(%error, "recording ends");
            watcher.1 = None;
        }
        let rendered = Arc::new(RenderedTick {
            tick,
            json: OnceLock::new(),
            metrics: OnceLock::new(),
            made: Instant::now(),
        });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(rendered.clone());
        // Nobody may be listening.
        let _ = self.ticks.send(rendered.clone());
        rendered
    }

    /// The last reading, if it is no older than `age`.
    pub(crate) fn recent(&self, age: Duration) -> Option<Arc<RenderedTick>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|rendered| rendered.made.elapsed() <= age).cloned()
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<RenderedTick>> {
        self.ticks.subscribe()
    }

    /// Until the next reading.
    pub(crate) fn period(&self, tick: &Tick, longest: Duration) -> Duration {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner).0.period(tick, longest)
    }

    /// What the watcher keeps, as JSON.
    pub(crate) fn history(&self) -> String {
        let history = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).0.history();
        serde_json::to_string(&history).unwrap_or_default()
    }
}
