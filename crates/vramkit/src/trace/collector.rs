//! Collects what happens, from any thread, up to a bound; gives it out as batches.

use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime};

use super::batch::{Dropped, TraceBatch};
use super::event::Event;
use super::perfetto::PerfettoWriter;
use super::record::{Sample, Span, TraceEvent};
use super::ring::Ring;
use crate::sync::{Mutex, lock};
use crate::units::ByteSize;

/// How much a collector keeps. What is over goes, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceCapacity {
    /// Events, of about 150 bytes each.
    pub events: usize,
    /// Stretches of execution.
    pub spans: usize,
    /// Samples of memory.
    pub samples: usize,
}

impl Default for TraceCapacity {
    /// 65,536 of each.
    fn default() -> Self {
        Self { events: 1 << 16, spans: 1 << 16, samples: 1 << 16 }
    }
}

/// How far somebody has read in a collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceCursor {
    events: u64,
    spans: u64,
    samples: u64,
}

/// Collects what happens. Share it behind an [`Arc`](std::sync::Arc).
///
/// ```
/// use vramkit::trace::{Event, TraceCapacity, TraceCollector, TraceCursor};
///
/// let trace = TraceCollector::with_capacity(TraceCapacity { events: 2, ..TraceCapacity::default() });
/// let mut cursor = TraceCursor::default();
/// for n in 0..3 {
///     trace.record(Event::Failed { error: n.to_string() });
/// }
/// let batch = trace.since(&mut cursor);
/// assert_eq!((batch.events.len(), batch.dropped.events), (2, 1), "the oldest went");
/// assert!(trace.since(&mut cursor).events.is_empty());
/// ```
#[derive(Debug)]
pub struct TraceCollector {
    start: Instant,
    started: SystemTime,
    records: Mutex<Records>,
}

#[derive(Debug)]
struct Records {
    events: Ring<TraceEvent>,
    spans: Ring<Span>,
    samples: Ring<Sample>,
    /// Most that the system ever saw, also in samples that are gone.
    system_peak: Option<ByteSize>,
}

impl Default for TraceCollector {
    fn default() -> Self {
        Self::new()
    }
}

impl TraceCollector {
    /// An empty collector, whose clock starts now.
    pub fn new() -> Self {
        Self::with_capacity(TraceCapacity::default())
    }

    /// As [`new`](Self::new), keeping so much.
    pub fn with_capacity(capacity: TraceCapacity) -> Self {
        let records = Records {
            events: Ring::new(capacity.events),
            spans: Ring::new(capacity.spans),
            samples: Ring::new(capacity.samples),
            system_peak: None,
        };
        Self { start: Instant::now(), started: SystemTime::now(), records: Mutex::new(records) }
    }

    /// Since the collector was made.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// When it was made.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// Records an event.
    pub fn record(&self, event: Event) {
        self.note(event, true);
    }

    /// Records an event, and whether it was done or only decided.
    pub fn note(&self, event: Event, done: bool) {
        tracing::info!(target: "vramkit::trace", ?event, done);
        let at_seconds = self.now().as_secs_f64();
        let mut records = lock(&self.records);
        let sequence = records.events.next_number();
        records.events.push(TraceEvent { sequence, at_seconds, done, event });
    }

    /// Records a stretch of execution.
    pub fn span(&self, span: Span) {
        lock(&self.records).spans.push(span);
    }

    /// Records memory at one time.
    pub fn sample(&self, sample: Sample) {
        let mut records = lock(&self.records);
        records.system_peak = records.system_peak.max(sample.system);
        records.samples.push(sample);
    }

    /// Every event that is kept.
    pub fn events(&self) -> Vec<TraceEvent> {
        lock(&self.records).events.all()
    }

    /// The last `n` events.
    pub fn last_events(&self, n: usize) -> Vec<TraceEvent> {
        lock(&self.records).events.last(n)
    }

    /// Every sample that is kept.
    pub fn samples(&self) -> Vec<Sample> {
        lock(&self.records).samples.all()
    }

    /// Most that the system saw in any sample, those that are no longer kept included.
    pub fn system_peak(&self) -> Option<ByteSize> {
        lock(&self.records).system_peak
    }

    /// How much went to make room, over the collector's whole life. What was drained did not.
    pub fn dropped(&self) -> Dropped {
        let records = lock(&self.records);
        Dropped {
            events: records.events.dropped(),
            spans: records.spans.dropped(),
            samples: records.samples.dropped(),
        }
    }

    /// Takes out all that is there. `dropped` counts over the collector's whole life.
    pub fn drain(&self) -> TraceBatch {
        let dropped = self.dropped();
        let mut records = lock(&self.records);
        TraceBatch {
            events: records.events.drain(),
            spans: records.spans.drain(),
            samples: records.samples.drain(),
            dropped,
        }
    }

    /// What was recorded since the cursor was here last, and how much of it is no longer there. Takes nothing out.
    pub fn since(&self, cursor: &mut TraceCursor) -> TraceBatch {
        let records = lock(&self.records);
        let (events, lost_events) = records.events.since(&mut cursor.events);
        let (spans, lost_spans) = records.spans.since(&mut cursor.spans);
        let (samples, lost_samples) = records.samples.since(&mut cursor.samples);
        let dropped = Dropped { events: lost_events, spans: lost_spans, samples: lost_samples };
        TraceBatch { events, spans, samples, dropped }
    }

    /// Writes the events that are kept, one JSON object a line; before them, if older ones are not, a line that says how
    /// many.
    pub fn write_json_lines(&self, mut into: impl Write) -> io::Result<()> {
        self.since(&mut TraceCursor::default()).write_json_lines(&mut into)?;
        into.flush()
    }

    /// Writes everything that is kept as Chrome trace events, which <https://ui.perfetto.dev> opens: a track for each
    /// model's steps, decisions as instants, memory as counters.
    pub fn write_perfetto(&self, into: impl Write) -> io::Result<()> {
        let mut writer = PerfettoWriter::new(io::BufWriter::new(into));
        writer.write(&self.since(&mut TraceCursor::default()))?;
        writer.finish()
    }
}
