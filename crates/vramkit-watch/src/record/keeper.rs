//! A recorder that goes on: what it cannot write is a state with a time and a reason, and it tries again.

use std::time::{Duration, SystemTime};

use vramkit::monitor::utc;

use super::writer::TickRecorder;
use crate::clock::ClockStep;
use crate::judge::News;
use crate::tick::{EventKind, RecorderTick, Tick};

/// After a failure, how long before it tries again.
const RETRY: Duration = Duration::from_secs(10);
/// What its events are of.
const NAME: &str = "recorder";

/// See the module's first lines.
#[derive(Debug)]
pub(crate) struct Keeper {
    recorder: TickRecorder,
    since: SystemTime,
    /// Why it cannot write, and when it tries again.
    failed: Option<(String, Duration)>,
}

impl Keeper {
    pub(crate) fn new(recorder: TickRecorder) -> Self {
        Self { recorder, since: SystemTime::now(), failed: None }
    }

    /// Writes a tick, unless it has just failed; what is new of that.
    pub(crate) fn keep(&mut self, now: Duration, time: SystemTime, tick: &Tick) -> Option<News> {
        if self.failed.as_ref().is_some_and(|(_, again)| now < *again) {
            return None;
        }
        let was_up = self.failed.is_none();
        let file = self.recorder.path().display().to_string();
        match self.recorder.write(tick) {
            Ok(()) if was_up => None,
            Ok(()) => {
                let gap = time.duration_since(self.since).unwrap_or_default().as_secs();
                (self.since, self.failed) = (time, None);
                let words = format!("`{file}` is written again: {gap} s are missing in it");
                Some(News::new(NAME, EventKind::RecorderBack, words))
            }
            Err(error) => {
                self.failed = Some((error.to_string(), now + RETRY));
                if !was_up {
                    return None;
                }
                self.since = time;
                let words = format!("`{file}` cannot be written: {error}");
                Some(News::new(NAME, EventKind::RecorderFailing, words))
            }
        }
    }

    /// The clock was set.
    pub(crate) fn shift(&mut self, by: &ClockStep) {
        self.since = by.of(self.since);
    }

    pub(crate) fn tick(&self) -> RecorderTick {
        RecorderTick {
            file: self.recorder.path().display().to_string(),
            up: self.failed.is_none(),
            since: utc(self.since),
            reason: self.failed.as_ref().map(|(reason, _)| reason.clone()),
        }
    }
}
