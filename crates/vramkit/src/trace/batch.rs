//! What was taken or read from a collector, with what is missing before it; written as JSON Lines.

use std::io::{self, Write};

use serde::Serialize;

use super::event::Event;
use super::record::{Sample, Span, TraceEvent};

/// How much is no longer there: the oldest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
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
#[non_exhaustive]
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
    pub(super) fn marker(&self) -> Option<TraceEvent> {
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
