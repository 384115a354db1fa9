//! Chrome's trace event format (JSON object form), as documented in "Trace Event Format" by the Chromium
//! project: complete events for spans, instants for decisions, counters for memory. Times are microseconds.
//!
//! Batches come in, and each is written as it comes, so that a long run's file needs no memory of its own.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::batch::TraceBatch;

/// The one process; thread 0 carries the decisions, models follow.
const PROCESS: u64 = 1;

/// Writes a trace that <https://ui.perfetto.dev> opens, a batch at a time. Without [`finish`](Self::finish) the file is not
/// whole (Perfetto reads it nevertheless).
///
/// ```
/// use vramkit::trace::{PerfettoWriter, TraceCollector, TraceCursor};
///
/// let (trace, mut cursor) = (TraceCollector::new(), TraceCursor::default());
/// let mut writer = PerfettoWriter::new(Vec::new());
/// writer.write(&trace.since(&mut cursor))?;
/// writer.finish()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct PerfettoWriter<W: Write> {
    into: W,
    threads: BTreeMap<String, usize>,
    begun: bool,
}

impl<W: Write> PerfettoWriter<W> {
    /// Writes there; a buffered writer is of use.
    pub fn new(into: W) -> Self {
        Self { into, threads: BTreeMap::new(), begun: false }
    }

    fn put(&mut self, value: &Value) -> io::Result<()> {
        self.into.write_all(if self.begun {
            b",\n"
        } else {
            b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":["
        })?;
        self.begun = true;
        Ok(serde_json::to_writer(&mut self.into, value)?)
    }

    fn name_thread(&mut self, thread: usize, name: &str) -> io::Result<()> {
        let named = json!({"name": name});
        self.put(&json!({"ph": "M", "name": "thread_name", "pid": PROCESS, "tid": thread, "args": named}))
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.begun {
            return Ok(());
        }
        self.put(&json!({"ph": "M", "name": "process_name", "pid": PROCESS, "args": {"name": "vramkit"}}))?;
        self.name_thread(0, "decisions")
    }

    /// Writes a batch, and what is missing before it.
    pub fn write(&mut self, batch: &TraceBatch) -> io::Result<()> {
        let micros = |seconds: f64| seconds * 1e6;
        self.begin()?;
        for span in &batch.spans {
            let next = self.threads.len() + 1;
            let thread = *self.threads.entry(span.model.clone()).or_insert(next);
            if thread == next {
                self.name_thread(thread, &span.model)?;
            }
            self.put(&json!({
                "ph": "X", "name": span.name, "cat": "step", "pid": PROCESS, "tid": thread,
                "ts": micros(span.start.as_secs_f64()), "dur": micros(span.duration.as_secs_f64()),
            }))?;
        }
        for event in batch.marker().iter().chain(&batch.events) {
            let mut arguments = serde_json::to_value(event)?;
            let name = arguments.get("kind").and_then(Value::as_str).unwrap_or("event").to_owned();
            if let Some(fields) = arguments.as_object_mut() {
                fields.remove("kind");
                fields.remove("at_seconds");
            }
            self.put(&json!({
                "ph": "i", "s": "t", "name": name, "cat": "decision", "pid": PROCESS, "tid": 0,
                "ts": micros(event.at_seconds), "args": arguments,
            }))?;
        }
        for sample in &batch.samples {
            let mut values = json!({"used": sample.used, "committed": sample.committed});
            if let Some(system) = sample.system {
                values["system"] = json!(system);
            }
            self.put(&json!({
                "ph": "C", "name": "memory (bytes)", "pid": PROCESS, "ts": micros(sample.at.as_secs_f64()), "args": values,
            }))?;
        }
        Ok(())
    }

    /// Ends the file.
    pub fn finish(mut self) -> io::Result<()> {
        self.begin()?;
        self.into.write_all(b"]}\n")?;
        self.into.flush()
    }
}
