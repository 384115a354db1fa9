//! Every decision with its numbers, in order.
//!
//! The orchestrator records events; they come out as values, as JSON Lines, as Chrome trace events that Perfetto
//! opens, and through `tracing` as they happen. Recording takes one short lock and never calls back.

mod event;
mod perfetto;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

pub use event::Event;

use crate::pressure::PressureLevel;
use crate::sync::{Mutex, lock};
use crate::units::ByteSize;

/// Something that was decided or found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TraceEvent {
    /// Counted from 0.
    pub sequence: u64,
    /// Since the collector was made.
    pub at_seconds: f64,
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

/// Collects what happens. Share it behind an [`Arc`](std::sync::Arc).
#[derive(Debug)]
pub struct TraceCollector {
    start: Instant,
    records: Mutex<Records>,
}

#[derive(Debug, Default)]
struct Records {
    events: Vec<TraceEvent>,
    spans: Vec<Span>,
    samples: Vec<Sample>,
}

impl Default for TraceCollector {
    fn default() -> Self {
        Self::new()
    }
}

impl TraceCollector {
    /// An empty collector, whose clock starts now.
    pub fn new() -> Self {
        Self { start: Instant::now(), records: Mutex::new(Records::default()) }
    }

    /// Since the collector was made.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Records an event.
    pub fn record(&self, event: Event) {
        tracing::info!(target: "vramkit::trace", ?event);
        let at_seconds = self.now().as_secs_f64();
        let mut records = lock(&self.records);
        let sequence = records.events.len() as u64;
        records.events.push(TraceEvent { sequence, at_seconds, event });
    }

    /// Records a stretch of execution.
    pub fn span(&self, span: Span) {
        lock(&self.records).spans.push(span);
    }

    /// Records memory at one time.
    pub fn sample(&self, sample: Sample) {
        lock(&self.records).samples.push(sample);
    }

    /// Every event so far.
    pub fn events(&self) -> Vec<TraceEvent> {
        lock(&self.records).events.clone()
    }

    /// Every sample so far.
    pub fn samples(&self) -> Vec<Sample> {
        lock(&self.records).samples.clone()
    }

    /// Writes the events, one JSON object a line.
    pub fn write_json_lines(&self, mut into: impl Write) -> io::Result<()> {
        for event in self.events() {
            serde_json::to_writer(&mut into, &event)?;
            into.write_all(b"\n")?;
        }
        into.flush()
    }

    /// Writes everything as Chrome trace events, which <https://ui.perfetto.dev> opens: a track for each model's
    /// steps, decisions as instants, memory as counters.
    pub fn write_perfetto(&self, into: impl Write) -> io::Result<()> {
        let records = lock(&self.records);
        let (events, spans, samples) =
            (records.events.clone(), records.spans.clone(), records.samples.clone());
        drop(records);
        perfetto::write(&events, &spans, &samples, into)
    }
}
