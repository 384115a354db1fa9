//! A recorder that goes on: what it cannot write is a state with a time and a reason, and it tries again.
//!
//! It writes on a thread of its own, and is waited for a moment: a disk that hangs delays no reading. What is read meanwhile is
//! missing in the recording, and said to be.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use vramkit::monitor::utc;

use super::writer::TickRecorder;
use crate::clock::ClockStep;
use crate::judge::News;
use crate::tick::{EventKind, RecorderTick, Tick};

/// After a failure, how long before it tries again.
const RETRY: Duration = Duration::from_secs(10);
/// How long one tick may take to be written.
const PATIENCE: Duration = Duration::from_secs(1);
/// What its events are of.
const NAME: &str = "recorder";

/// See the module's first lines.
#[derive(Debug)]
pub(crate) struct Keeper {
    path: PathBuf,
    /// None once it is to end.
    ticks: Option<Sender<Tick>>,
    written: Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
    /// Whether it has not answered.
    is_late: bool,
    since: SystemTime,
    /// Why it cannot write, and when it tries again.
    failed: Option<(String, Duration)>,
}

impl Keeper {
    pub(crate) fn new(mut recorder: TickRecorder) -> Self {
        let path = recorder.path().to_owned();
        Self::writing(&path, move |tick| recorder.write(tick))
    }

    fn writing(path: &Path, mut write: impl FnMut(&Tick) -> io::Result<()> + Send + 'static) -> Self {
        let (ticks, asked) = mpsc::channel::<Tick>();
        let (answer, written) = mpsc::channel();
        let run = move || {
            while let Ok(tick) = asked.recv() {
                if answer.send(write(&tick)).is_err() {
                    return;
                }
            }
        };
        // Without one, what is to be written finds nobody.
        let thread = std::thread::Builder::new().name("vk-recorder".to_owned()).spawn(run).ok();
        let (path, since) = (path.to_owned(), SystemTime::now());
        Self { path, ticks: Some(ticks), written, thread, is_late: false, since, failed: None }
    }

    /// Writes a tick, unless it has just failed, or not answered; what is new of that.
    pub(crate) fn keep(&mut self, now: Duration, time: SystemTime, tick: &Tick) -> Option<News> {
        self.keep_within(PATIENCE, now, time, tick)
    }

    fn keep_within(
        &mut self,
        patience: Duration,
        now: Duration,
        time: SystemTime,
        tick: &Tick,
    ) -> Option<News> {
        if self.is_late {
            // What it was asked before is written now, or was not.
            let _was_written = self.written.try_recv().ok()?;
            self.is_late = false;
        } else if self.failed.as_ref().is_some_and(|(_, again)| now < *again) {
            return None;
        }
        let was_up = self.failed.is_none();
        let file = self.path.display().to_string();
        // A thread that has ended is found out by its answer.
        self.ticks.iter().for_each(|ticks| drop(ticks.send(tick.clone())));
        let outcome = self.written.recv_timeout(patience).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => {
                self.is_late = true;
                Err(io::Error::other(format!("it has not been written within {patience:?}")))
            }
            RecvTimeoutError::Disconnected => Err(io::Error::other("there is no thread that writes it")),
        });
        match outcome {
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
            file: self.path.display().to_string(),
            up: self.failed.is_none(),
            since: utc(self.since),
            reason: self.failed.as_ref().map(|(reason, _)| reason.clone()),
        }
    }
}

impl Drop for Keeper {
    /// The recording is free for the next one, unless its disk hangs: that goes with the process.
    fn drop(&mut self) {
        self.ticks = None;
        if let Some(thread) = self.thread.take().filter(|_| !self.is_late) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_hangs_is_a_state_and_delays_nobody() {
        let (open, gate) = mpsc::channel();
        let write = move |_: &Tick| {
            let _ = gate.recv();
            Ok(())
        };
        let mut keeper = Keeper::writing(Path::new("r.jsonl"), write);
        let time = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let tick = Tick::new(String::new());
        let mut keep = |second| {
            let news = keeper.keep_within(
                Duration::from_millis(50),
                Duration::from_secs(second),
                time(second),
                &tick,
            );
            (news.map(|news| (news.kind, news.text)), keeper.tick().up)
        };
        open.send(()).unwrap();
        let in_time = (0..10_000).map(&mut keep).find(|(_, up)| *up);
        assert!(in_time.is_some(), "however loaded the machine is");
        let (news, up) = (20_000..30_000).map(&mut keep).find(|(news, _)| news.is_some()).unwrap();
        let words = "`r.jsonl` cannot be written: it has not been written within 50ms".to_owned();
        assert_eq!((news, up), (Some((EventKind::RecorderFailing, words)), false));
        assert_eq!(keep(30_001), (None, false), "it is not waited for again");
        // Its disk is back.
        drop(open);
        let back = (30_002..50_000).find_map(|second| {
            std::thread::sleep(Duration::from_millis(1));
            keep(second).0
        });
        let (kind, words) = back.unwrap();
        assert!(kind == EventKind::RecorderBack && words.ends_with("are missing in it"), "{words}");
    }
}
