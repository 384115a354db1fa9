//! Every decision with its numbers, in order.
//!
//! In: events, stretches of execution and samples of memory, as they happen. Out: values, JSON Lines, Chrome trace events
//! that Perfetto opens, and `tracing` events. Recording takes one short lock and never calls back. What is kept is bounded:
//! when it is full the oldest go, and are counted. Whoever wants all of a long run takes what is there now and then
//! ([`drain`](TraceCollector::drain)), or reads along ([`since`](TraceCollector::since)). Never here: a decision.
//!
//! ```
//! use vramkit::ByteSize;
//! use vramkit::trace::{Event, TraceCollector};
//!
//! let trace = TraceCollector::new();
//! trace.record(Event::Evicted { model: "llama".into(), freed_bytes: ByteSize::mib(7) });
//! let events = trace.events();
//! assert_eq!(events[0].event.describe(), ("evicted".to_owned(), "llama freed 7 MiB".to_owned()));
//! let mut lines = Vec::new();
//! trace.write_json_lines(&mut lines)?;
//! assert!(String::from_utf8_lossy(&lines).contains(r#""kind":"evicted""#));
//! # Ok::<(), std::io::Error>(())
//! ```

mod batch;
mod collector;
mod describe;
mod event;
mod perfetto;
mod record;
mod ring;

pub use batch::{Dropped, TraceBatch};
pub use collector::{TraceCapacity, TraceCollector, TraceCursor};
pub use event::Event;
pub use perfetto::PerfettoWriter;
pub use record::{Sample, Span, TraceEvent};

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
