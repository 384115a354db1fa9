//! Every decision with its numbers, in order.
//!
//! The orchestrator records events; they come out as values, as JSON Lines, as Chrome trace events that Perfetto
//! opens, and through `tracing` as they happen. Recording takes one short lock and never calls back. What is kept is
//! bounded: when it is full the oldest go, and are counted. Whoever wants all of a long run takes what is there now and
//! then ([`drain`](TraceCollector::drain)), or reads along ([`since`](TraceCollector::since)).

mod event;
mod perfetto;
mod ring;

use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

pub use event::Event;
pub use perfetto::PerfettoWriter;

use crate::pressure::PressureLevel;
use crate::sync::{Mutex, lock};
use crate::units::ByteSize;
use ring::Ring;

/// Something that was decided or found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TraceEvent {
    /// Counted from 0, those that are no longer kept included.
    pub sequence: u64,
    /// Since the collector was made.
    pub at_seconds: f64,
    /// Whether it was done; a dry run only says what would be.
    pub done: bool,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// A stretch of a model's execution, for pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The model.
    pub model: String,
    /// What it did.
    pub name: String,
    /// Since the collector was made.
    pub start: Duration,
    /// How long it took.
    pub duration: Duration,
}

/// Memory at one time, for pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Since the collector was made.
    pub at: Duration,
    /// Granted.
    pub used: ByteSize,
    /// Held from the device.
    pub committed: ByteSize,
    /// As the system saw it, where it was asked and told.
    pub system: Option<ByteSize>,
    /// The level of pressure.
    pub level: PressureLevel,
}

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

/// How much is no longer there: the oldest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Dropped {
    /// Events.
    pub events: u64,
    /// Stretches of execution.
    pub spans: u64,
    /// Samples of memory.
    pub samples: u64,
}

impl Dropped {
    /// Whether anything is missing.
    pub fn is_any(self) -> bool {
        self != Self::default()
    }
}

/// What was taken or read from a collector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceBatch {
    /// Events, in order.
    pub events: Vec<TraceEvent>,
    /// Stretches of execution.
    pub spans: Vec<Span>,
    /// Samples of memory.
    pub samples: Vec<Sample>,
    /// What is missing before these.
    pub dropped: Dropped,
}

impl TraceBatch {
    /// An event that says what is missing before these; `None` when nothing is.
    fn marker(&self) -> Option<TraceEvent> {
        let Dropped { events, spans, samples } = self.dropped;
        let event = Event::TraceDropped { events, spans, samples };
        let first = self.events.first();
        let sequence = first.map_or(0, |first| first.sequence.saturating_sub(1));
        let at_seconds = first.map_or(0.0, |first| first.at_seconds);
        self.dropped.is_any().then_some(TraceEvent { sequence, at_seconds, done: true, event })
    }

    /// Writes the events, one JSON object a line; before them, if any are missing, a line of kind `trace_dropped` that says
    /// how many.
    pub fn write_json_lines(&self, mut into: impl Write) -> io::Result<()> {
        for event in self.marker().iter().chain(&self.events) {
            serde_json::to_writer(&mut into, event)?;
            into.write_all(b"\n")?;
        }
        Ok(())
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

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
