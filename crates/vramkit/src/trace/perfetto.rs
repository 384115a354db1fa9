//! Chrome's trace event format (JSON object form), as documented in "Trace Event Format" by the Chromium
//! project: complete events for spans, instants for decisions, counters for memory. Times are microseconds.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Sample, Span, TraceEvent};

/// The one process; thread 0 carries the decisions, models follow.
const PROCESS: u64 = 1;

pub(super) fn write(
    events: &[TraceEvent],
    spans: &[Span],
    samples: &[Sample],
    into: impl Write,
) -> io::Result<()> {
    let micros = |seconds: f64| seconds * 1e6;
    let mut all: Vec<Value> = Vec::with_capacity(events.len() + spans.len() + samples.len() + 8);
    let name_thread = |thread: usize, name: &str| json!({"ph": "M", "name": "thread_name", "pid": PROCESS, "tid": thread, "args": {"name": name}});
    all.push(json!({"ph": "M", "name": "process_name", "pid": PROCESS, "args": {"name": "vramkit"}}));
    all.push(name_thread(0, "decisions"));
    let mut threads: BTreeMap<&str, usize> = BTreeMap::new();
    for span in spans {
        let next = threads.len() + 1;
        let thread = *threads.entry(&span.model).or_insert(next);
        if thread == next {
            all.push(name_thread(thread, &span.model));
        }
        all.push(json!({
            "ph": "X", "name": span.name, "cat": "step", "pid": PROCESS, "tid": thread,
            "ts": micros(span.start.as_secs_f64()), "dur": micros(span.duration.as_secs_f64()),
        }));
    }
    for event in events {
        let mut arguments = serde_json::to_value(event)?;
        let name = arguments.get("kind").and_then(Value::as_str).unwrap_or("event").to_owned();
        if let Some(fields) = arguments.as_object_mut() {
            fields.remove("kind");
            fields.remove("at_seconds");
        }
        all.push(json!({
            "ph": "i", "s": "t", "name": name, "cat": "decision", "pid": PROCESS, "tid": 0,
            "ts": micros(event.at_seconds), "args": arguments,
        }));
    }
    for sample in samples {
        let mut values = json!({"used": sample.used, "committed": sample.committed});
        if let Some(system) = sample.system {
            values["system"] = json!(system);
        }
        all.push(json!({
            "ph": "C", "name": "memory (bytes)", "pid": PROCESS, "ts": micros(sample.at.as_secs_f64()), "args": values,
        }));
    }
    let mut into = io::BufWriter::new(into);
    serde_json::to_writer(&mut into, &json!({"traceEvents": all, "displayTimeUnit": "ms"}))?;
    into.flush()
}
