//! Writes a run's trace to its files while the run goes on, so that a long one keeps every decision: a thread reads along in
//! the collector, which keeps only the last ones. What went faster than it was read is counted, and said in the files.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use vramkit::trace::{Dropped, PerfettoWriter, TraceBatch, TraceCollector, TraceCursor};

use crate::failure::Failure;

/// How often what is new is written.
const PERIOD: Duration = Duration::from_millis(20);

/// The files of a run under way.
pub struct TraceFiles {
    stop: Sender<()>,
    thread: JoinHandle<Result<Dropped, Failure>>,
}

/// What is open.
struct Writers {
    lines: Option<(PathBuf, BufWriter<File>)>,
    perfetto: Option<(PathBuf, PerfettoWriter<BufWriter<File>>)>,
}

impl TraceFiles {
    /// Opens the files that are asked for and begins to write; `None` without any.
    pub fn begin(
        trace: &Arc<TraceCollector>,
        lines: Option<&Path>,
        perfetto: Option<&Path>,
    ) -> Result<Option<Self>, Failure> {
        if lines.is_none() && perfetto.is_none() {
            return Ok(None);
        }
        let open = |path: &Path| -> Result<(PathBuf, BufWriter<File>), Failure> {
            Ok((path.to_owned(), BufWriter::new(File::create(path).map_err(failed(path))?)))
        };
        let perfetto = perfetto.map(open).transpose()?;
        let mut writers = Writers {
            lines: lines.map(open).transpose()?,
            perfetto: perfetto.map(|(path, file)| (path, PerfettoWriter::new(file))),
        };
        let (stop, stopped) = channel();
        let trace = trace.clone();
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
        Ok(Some(Self { stop, thread }))
    }

    /// Writes what is left, and ends the files. Returns what is missing in them.
    pub fn finish(self) -> Result<Dropped, Failure> {
        drop(self.stop);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |error| Failure::Write { path, error }
}

impl Writers {
    fn write(&mut self, batch: &TraceBatch) -> Result<(), Failure> {
        if let Some((path, out)) = &mut self.lines {
            batch.write_json_lines(out).map_err(failed(path))?;
        }
        if let Some((path, out)) = &mut self.perfetto {
            out.write(batch).map_err(failed(path))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        if let Some((path, mut out)) = self.lines {
            out.flush().map_err(failed(&path))?;
        }
        if let Some((path, out)) = self.perfetto {
            out.finish().map_err(failed(&path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vramkit::trace::{Event, TraceCapacity};

    /// Many times what the collector keeps goes to the file, and what does not is said.
    #[test]
    fn a_long_run_is_whole_in_its_file_or_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (lines, perfetto) = (folder.path().join("t.jsonl"), folder.path().join("t.json"));
        let trace =
            Arc::new(TraceCollector::with_capacity(TraceCapacity { events: 16, spans: 4, samples: 4 }));
        let files = TraceFiles::begin(&trace, Some(&lines), Some(&perfetto)).unwrap().unwrap();
        for n in 0..100 {
            trace.record(Event::Failed { error: n.to_string() });
            if n % 10 == 0 {
                std::thread::sleep(Duration::from_millis(60));
            }
        }
        (0..40).for_each(|n| trace.record(Event::Failed { error: n.to_string() }));
        let dropped = files.finish().unwrap();
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
        let nowhere = folder.path().join("none/t.jsonl");
        assert!(TraceFiles::begin(&trace, Some(&nowhere), None).is_err());
    }
}
