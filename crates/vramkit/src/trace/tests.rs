use std::time::Duration;

use super::*;
use crate::pressure::PressureLevel;
use crate::units::ByteSize;

fn failed(n: usize) -> Event {
    Event::Failed { error: n.to_string() }
}

fn small() -> TraceCollector {
    TraceCollector::with_capacity(TraceCapacity { events: 4, spans: 2, samples: 2 })
}

fn sample(mib: u64) -> Sample {
    let bytes = ByteSize::mib(mib);
    let level = PressureLevel::Normal;
    Sample { at: Duration::ZERO, used: bytes, committed: bytes, system: Some(bytes), level }
}

fn span(model: &str) -> Span {
    Span { model: model.into(), name: "step".into(), start: Duration::ZERO, duration: Duration::ZERO }
}

#[test]
fn the_oldest_go_and_are_counted() {
    let trace = small();
    (0..10).for_each(|n| trace.record(failed(n)));
    [9, 1, 2].into_iter().for_each(|mib| trace.sample(sample(mib)));
    (0..3).for_each(|_| trace.span(span("m")));
    let sequences: Vec<u64> = trace.events().iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, [6, 7, 8, 9]);
    assert_eq!(trace.last_events(2)[0].sequence, 8);
    assert_eq!(trace.dropped(), Dropped { events: 6, spans: 1, samples: 1 });
    assert_eq!(trace.system_peak(), Some(ByteSize::mib(9)), "its sample is gone, the peak is not");
    let mut lines = Vec::new();
    trace.write_json_lines(&mut lines).unwrap();
    let text = String::from_utf8(lines).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&first["kind"], &first["events"]), (&"trace_dropped".into(), &6.into()));
    assert_eq!(text.lines().count(), 5);
}

#[test]
fn draining_takes_what_is_there_and_drops_nothing() {
    let trace = small();
    (0..3).for_each(|n| trace.record(failed(n)));
    let taken = trace.drain();
    assert_eq!((taken.events.len(), taken.dropped), (3, Dropped::default()));
    assert!(trace.events().is_empty());
    (3..6).for_each(|n| trace.record(failed(n)));
    assert_eq!(trace.drain().events[0].sequence, 3, "the count goes on");
    assert!(!trace.dropped().is_any());
}

#[test]
fn who_reads_along_is_told_what_he_missed() {
    let (trace, mut cursor) = (small(), TraceCursor::default());
    (0..3).for_each(|n| trace.record(failed(n)));
    assert_eq!(trace.since(&mut cursor).events.len(), 3);
    assert_eq!(trace.since(&mut cursor), TraceBatch::default());
    (3..12).for_each(|n| trace.record(failed(n)));
    let batch = trace.since(&mut cursor);
    assert_eq!((batch.events.len(), batch.dropped.events), (4, 5));
    assert_eq!(batch.events[0].sequence, 8);
}

#[test]
fn a_perfetto_file_written_in_batches_is_whole() {
    let (trace, mut cursor, mut file) = (small(), TraceCursor::default(), Vec::new());
    let mut writer = PerfettoWriter::new(&mut file);
    for model in ["a", "b", "a"] {
        trace.span(span(model));
        trace.record(failed(0));
        trace.sample(sample(1));
        writer.write(&trace.since(&mut cursor)).unwrap();
    }
    (0..9).for_each(|n| trace.record(failed(n)));
    writer.write(&trace.since(&mut cursor)).unwrap();
    writer.finish().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let events = value["traceEvents"].as_array().unwrap();
    let named = |name: &str| events.iter().filter(|event| event["name"] == name).count();
    assert_eq!((named("thread_name"), named("step"), named("trace_dropped")), (3, 3, 1));
    let mut empty = Vec::new();
    PerfettoWriter::new(&mut empty).finish().unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&empty).is_ok());
}
