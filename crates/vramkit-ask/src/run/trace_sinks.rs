//! Writes a run's trace while the run goes on, so that a long one keeps every decision.
//!
//! In: a collector, and writers that somebody has opened. Out: what goes to the writers, and a count of what went faster than
//! it was read, which is said there too. A thread reads along in the collector, which keeps only the last records.

use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use vramkit::trace::{Dropped, PerfettoWriter, TraceBatch, TraceCollector, TraceCursor};

/// How often what is new is written.
const PERIOD: Duration = Duration::from_millis(20);

type Sink = Box<dyn Write + Send>;

/// The form of a trace that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceFormat {
    /// A JSON object a line.
    JsonLines,
    /// Chrome's trace events, which <https://ui.perfetto.dev> opens.
    Perfetto,
    /// Allocations and releases of the pool, a JSON object a line, which `vramkit replay` reads.
    Recording,
}

impl fmt::Display for TraceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::JsonLines => "JSON Lines",
            Self::Perfetto => "Chrome trace events",
            Self::Recording => "a recording of allocations",
        })
    }
}

/// A writer that failed.
#[derive(Debug)]
pub(crate) struct SinkError {
    pub(crate) format: TraceFormat,
    pub(crate) error: io::Error,
}

/// Where a run's trace is to be written, and what is missing there afterwards.
///
/// Buffered writers are of use. They are written to on a thread of their own, and flushed at the end.
///
/// ```
/// use vramkit_ask::TraceSinks;
///
/// let sinks = TraceSinks::default().json_lines(Vec::new()).perfetto(std::io::sink());
/// assert!(!sinks.missing().is_any(), "nothing has been written yet");
/// ```
#[derive(Default)]
pub struct TraceSinks {
    lines: Option<Sink>,
    perfetto: Option<Sink>,
    recording: Option<Sink>,
    missing: Dropped,
}

impl TraceSinks {
    /// Writes every decision as it is made, a JSON object a line.
    pub fn json_lines(mut self, into: impl Write + Send + 'static) -> Self {
        self.lines = Some(Box::new(into));
        self
    }

    /// Writes Chrome's trace events, which <https://ui.perfetto.dev> opens: steps, decisions and memory.
    pub fn perfetto(mut self, into: impl Write + Send + 'static) -> Self {
        self.perfetto = Some(Box::new(into));
        self
    }

    /// Writes every allocation and release of the pool, a JSON object a line, which `vramkit replay` reads. Of a dry run, those that
    /// there would have been.
    pub fn recording(mut self, into: impl Write + Send + 'static) -> Self {
        self.recording = Some(Box::new(into));
        self
    }

    /// The recording to write, if there is to be one.
    pub(crate) fn take_recording(&mut self) -> Option<Recording> {
        self.recording.take().map(Recording::new)
    }

    /// What came too fast to be written, of the run that these were given to. Told also when the run failed.
    pub fn missing(&self) -> Dropped {
        self.missing
    }

    /// Runs something that records into a collector, and writes what it records meanwhile. The writers are used up.
    pub(crate) fn around<T>(
        &mut self,
        trace: &Arc<TraceCollector>,
        run: impl FnOnce() -> T,
    ) -> Result<T, SinkError> {
        let writers =
            Writers { lines: self.lines.take(), perfetto: self.perfetto.take().map(PerfettoWriter::new) };
        if writers.lines.is_none() && writers.perfetto.is_none() {
            return Ok(run());
        }
        let reading = Reading::begin(trace.clone(), writers);
        let outcome = run();
        self.missing = reading.finish()?;
        Ok(outcome)
    }
}

/// Where a recording goes, by several hands. Its first error is kept.
#[derive(Clone)]
pub(crate) struct Recording(Arc<Mutex<(Sink, Option<io::Error>)>>);

impl Recording {
    fn new(sink: Sink) -> Self {
        Self(Arc::new(Mutex::new((sink, None))))
    }

    fn lock(&self) -> MutexGuard<'_, (Sink, Option<io::Error>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn finish(&self) -> Result<(), SinkError> {
        let (sink, failed) = &mut *self.lock();
        failed.take().map_or_else(|| sink.flush(), Err).map_err(self::failed(TraceFormat::Recording))
    }
}

impl Write for Recording {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (sink, failed) = &mut *self.lock();
        sink.write(bytes).inspect_err(|error| {
            failed.get_or_insert_with(|| io::Error::new(error.kind(), error.to_string()));
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().0.flush()
    }
}

impl fmt::Debug for TraceSinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceSinks").field("missing", &self.missing).finish_non_exhaustive()
    }
}

/// A thread that reads along.
struct Reading {
    stop: Sender<()>,
    thread: JoinHandle<Result<Dropped, SinkError>>,
}

impl Reading {
    fn begin(trace: Arc<TraceCollector>, mut writers: Writers) -> Self {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let (mut cursor, mut dropped) = (TraceCursor::default(), Dropped::default());
            loop {
                // The sender going away is the end.
                let ended = stopped.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout);
                let batch = trace.since(&mut cursor);
                dropped.events += batch.dropped.events;
                dropped.spans += batch.dropped.spans;
                dropped.samples += batch.dropped.samples;
                writers.write(&batch)?;
                if ended {
                    writers.finish()?;
                    return Ok(dropped);
                }
            }
        });
        Self { stop, thread }
    }

    /// Writes what is left, and ends the files. Returns what is missing in them.
    fn finish(self) -> Result<Dropped, SinkError> {
        drop(self.stop);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// What is open.
struct Writers {
    lines: Option<Sink>,
    perfetto: Option<PerfettoWriter<Sink>>,
}

impl Writers {
    fn write(&mut self, batch: &TraceBatch) -> Result<(), SinkError> {
        if let Some(out) = &mut self.lines {
            batch.write_json_lines(out).map_err(failed(TraceFormat::JsonLines))?;
        }
        if let Some(out) = &mut self.perfetto {
            out.write(batch).map_err(failed(TraceFormat::Perfetto))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), SinkError> {
        if let Some(mut out) = self.lines {
            out.flush().map_err(failed(TraceFormat::JsonLines))?;
        }
        if let Some(out) = self.perfetto {
            out.finish().map_err(failed(TraceFormat::Perfetto))?;
        }
        Ok(())
    }
}

fn failed(format: TraceFormat) -> impl FnOnce(io::Error) -> SinkError {
    move |error| SinkError { format, error }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use vramkit::trace::{Event, TraceCapacity};

    /// Many times what the collector keeps goes to the file, and what does not is said.
    #[test]
    fn a_long_run_is_whole_in_its_file_or_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (lines, perfetto) = (folder.path().join("t.jsonl"), folder.path().join("t.json"));
        let trace =
            Arc::new(TraceCollector::with_capacity(TraceCapacity { events: 16, spans: 4, samples: 4 }));
        let open = |path| File::create(path).unwrap();
        let mut sinks = TraceSinks::default().json_lines(open(&lines)).perfetto(open(&perfetto));
        let record = || {
            for n in 0..100 {
                trace.record(Event::Failed { error: n.to_string() });
                if n % 10 == 0 {
                    std::thread::sleep(Duration::from_millis(60));
                }
            }
            (0..40).for_each(|n| trace.record(Event::Failed { error: n.to_string() }));
        };
        sinks.around(&trace, record).unwrap();
        let dropped = sinks.missing();
        let text = std::fs::read_to_string(lines).unwrap();
        let all: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (said, events): (Vec<_>, Vec<_>) = all.iter().partition(|line| line["kind"] == "trace_dropped");
        let said: u64 = said.iter().map(|line| line["events"].as_u64().unwrap()).sum();
        assert_eq!((said, events.len() as u64), (dropped.events, 140 - dropped.events));
        assert!(dropped.events >= 24, "the last 40 came at once, and 16 are kept");
        assert!(events.len() > 16, "far more than are kept");
        let text = std::fs::read_to_string(perfetto).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    /// What cannot be written is an error that says which, after the run.
    #[test]
    fn a_writer_that_fails_does_not_end_the_run() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (trace, mut ended) = (Arc::new(TraceCollector::new()), false);
        trace.record(Event::Failed { error: "x".to_owned() });
        let error = TraceSinks::default().json_lines(Full).around(&trace, || ended = true).unwrap_err();
        assert_eq!((error.format, ended), (TraceFormat::JsonLines, true));
    }
}
