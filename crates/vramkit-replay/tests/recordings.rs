//! Recordings as programs leave them, and what they must come to.

use std::path::Path;

use serde_json::{Value, json};
use vramkit_replay::{OwnedBy, PolicyName, Setup, Trace, least_capacity, replay, traces_of};
use vramkit_units::ByteSize;

const MIB: u64 = 1 << 20;

fn entry(action: &str, address: u64, size: u64) -> Value {
    json!({"action": action, "addr": address, "size": size, "stream": 0, "frames": []})
}

fn with(mut entry: Value, key: &str, value: Value) -> Value {
    entry[key] = value;
    entry
}

fn trace_of(snapshot: &Value) -> Trace {
    traces_of(snapshot.to_string().as_bytes(), Path::new("t")).expect("it is one").remove(0)
}

fn trace(entries: &[Value]) -> Trace {
    trace_of(&json!({"segments": [], "device_traces": [entries]}))
}

fn text(lines: &str) -> Trace {
    traces_of(lines.as_bytes(), Path::new("t")).expect("it is one").remove(0)
}

fn pytorch(trace: &Trace, capacity: Option<u64>) -> Setup {
    Setup::new(trace, PolicyName::Pytorch, "", capacity.map(ByteSize::new)).expect("no settings")
}

/// What PyTorch holds at most, in MiB.
fn held(trace: &Trace) -> u64 {
    replay(trace, &pytorch(trace, None), false).peak_committed_bytes.bytes() / MIB
}

/// However small requests are and however much is added to them.
#[test]
fn nothing_is_refused_without_a_capacity() {
    let many: String = (0..20_000).map(|id| format!("a {id} 1\n")).collect();
    let (many, large) = (text(&many), text(&format!("a 1 {}\n", 32_u64 << 40)));
    for &policy in PolicyName::ALL {
        assert_eq!(replay(&many, &Setup::plain(policy), false).failures, 0, "{policy}");
        assert_eq!(replay(&large, &Setup::plain(policy), false).failures, 0, "{policy}");
    }
}

#[test]
fn any_capacity_is_one_and_none_is_exceeded() {
    let trace = text("a 1 5000000\na 2 200\nf 1\n");
    for capacity in [0, 1, 4096, 3 * MIB, 9_437_189, 1 << 47, 1 << 50, u64::MAX] {
        for &policy in PolicyName::ALL {
            let mut setup = Setup::plain(policy);
            setup.capacity = Some(ByteSize::new(capacity));
            let report = replay(&trace, &setup, false);
            assert!(report.peak_committed_bytes.bytes() <= capacity, "{policy} of {capacity}: {report:?}");
            // A segment of PyTorch's is the largest thing that any policy takes for this.
            assert!(report.failures == 0 || capacity < 20 * MIB, "{policy} of {capacity}");
            if capacity >= 1 << 40 {
                assert_eq!(report.failures, 0, "{policy} of {capacity}");
            }
        }
    }
}

/// What waits for another stream is freed early when memory runs out, so less than is live may do.
#[test]
fn the_least_capacity_counts_on_what_waits() {
    let trace = trace(&[
        entry("alloc", 1, 100 * MIB),
        entry("free_requested", 1, 100 * MIB),
        entry("alloc", 2 << 30, 100 * MIB),
        entry("free_completed", 1, 100 * MIB),
    ]);
    assert_eq!(trace.peak_live(), ByteSize::mib(200));
    assert_eq!(least_capacity(&trace, &pytorch(&trace, None)), Some(ByteSize::mib(100)));
    assert_eq!(replay(&trace, &pytorch(&trace, Some(100 * MIB)), false).failures, 0);
    assert_eq!(replay(&trace, &pytorch(&trace, Some(98 * MIB)), false).failures, 2);
}

/// A graph's pool keeps what it has until the graph is gone, and gives it back then.
#[test]
fn a_private_pool_ends() {
    let of =
        |action, address, pool: u64| with(entry(action, address, 100 * MIB), "pool_id", json!([pool, 1]));
    let graph = |number: u64, pool| {
        let at = (number + 1) << 32;
        [
            of("segment_alloc", at, pool),
            of("alloc", at, pool),
            of("free_completed", at, pool),
            of("segment_free", at, pool),
        ]
    };
    let ended: Vec<Value> = (0..4).flat_map(|number| graph(number, number + 1)).collect();
    assert_eq!(held(&trace(&ended)), 100);
    let kept: Vec<Value> = ended.iter().filter(|entry| entry["action"] != "segment_free").cloned().collect();
    assert_eq!(held(&trace(&kept)), 400);
    // Old recordings know a pool by its segment alone: what was at the address before is not in it.
    let segment =
        json!({"address": 1_u64 << 32, "total_size": 100 * MIB, "segment_pool_id": [1, 0], "blocks": []});
    let entries = [
        entry("segment_alloc", 1 << 32, 100 * MIB),
        entry("alloc", 1 << 32, 100 * MIB),
        entry("free_completed", 1 << 32, 100 * MIB),
        entry("alloc", 1 << 32, 90 * MIB),
        entry("free_completed", 1 << 32, 90 * MIB),
        entry("segment_free", 1 << 32, 100 * MIB),
        entry("alloc", 1 << 20, 1),
        entry("segment_alloc", 1 << 32, 100 * MIB),
        entry("alloc", 1 << 32, 95 * MIB),
    ];
    let trace = trace_of(&json!({"segments": [segment], "device_traces": [entries]}));
    assert!(trace.notes.iter().any(|note| note.contains("private pools")), "{:?}", trace.notes);
    // The first two share a segment, which is gone when the small one and the third come; all three in one pool would take 102.
    assert_eq!(held(&trace), 100);
}

/// Memory that goes back because the program wanted that is not there any more for anybody.
#[test]
fn an_emptied_cache_is_told_from_one_that_made_room() {
    let begin = [
        entry("segment_alloc", 1, 100 * MIB),
        entry("alloc", 1, 100 * MIB),
        entry("free_completed", 1, 100 * MIB),
    ];
    let then = |more: &[Value]| trace(&[&begin[..], &[entry("segment_free", 1, 100 * MIB)], more].concat());
    // What would have fitted where memory was given back did not want for it.
    let emptied = then(&[entry("segment_alloc", 9, 80 * MIB), entry("alloc", 9, 80 * MIB)]);
    assert_eq!((held(&emptied), emptied.notes.len()), (100, 0));
    let small = then(&[entry("alloc", 9, 512), entry("segment_alloc", 7, 2 * MIB)]);
    assert_eq!(held(&small), 100);
    // More is taken than went back: the allocator made room, as the model does when it must.
    let pressed = then(&[entry("segment_alloc", 9, 120 * MIB), entry("alloc", 9, 120 * MIB)]);
    assert_eq!(held(&pressed), 220);
    assert!(pressed.notes.iter().any(|note| note.contains("for want of it")), "{:?}", pressed.notes);
}

#[test]
fn what_waits_at_the_end_is_held() {
    let block = json!({"address": 1, "size": 512, "requested_size": 5, "state": "active_pending_free"});
    let segment = json!({"address": 1, "total_size": 2 * MIB, "blocks": [block]});
    let entries = [entry("alloc", 1, 5), entry("free_requested", 1, 5)];
    let trace = trace_of(&json!({"segments": [segment], "device_traces": [entries]}));
    assert_eq!(
        (trace.operations.len(), trace.held_after(usize::MAX, OwnedBy::Line)[0].bytes.bytes()),
        (1, 5)
    );
    assert!(!trace.notes.iter().any(|note| note.contains("frees")), "{:?}", trace.notes);
}

#[test]
fn what_the_program_held_is_said_where_the_recording_knows() {
    let live = [entry("alloc", 1, 50 * MIB), entry("free_completed", 1, 50 * MIB)];
    assert_eq!(trace(&live).recorded_reserved, None, "no segments at all");
    let segment = |size: u64| json!({"address": 1, "total_size": size, "blocks": []});
    let of = |size| trace_of(&json!({"segments": [segment(size)], "device_traces": [live]}));
    assert_eq!(of(20 * MIB).recorded_reserved, None, "less than was live");
    let segment_came = [&[entry("segment_alloc", 1, 20 * MIB)][..], &live].concat();
    assert_eq!(trace(&segment_came).recorded_reserved, None, "its segments are not there at the end");
    let later = of(60 * MIB);
    assert_eq!(later.recorded_reserved, Some(ByteSize::mib(60)));
    assert!(later.notes.iter().any(|note| note.contains("at the end")), "{:?}", later.notes);
}

#[test]
fn odd_entries_are_lost_alone_and_counted() {
    let entries = [
        entry("alloc", 1, 5),
        entry("free", 1, 5),
        json!({"action": "alloc", "addr": -7, "size": 5}),
        json!({"action": "alloc", "size": 5}),
        json!({"addr": 9, "size": 5}),
        entry("alloc", 1 << 40, 0),
        entry("snapshot", 0, 0),
    ];
    let trace = trace(&entries);
    assert_eq!(trace.operations.len(), 1);
    assert!(
        trace.notes[0].starts_with("5 entries left out, the first: entry 1: its action is not known"),
        "{:?}",
        trace.notes
    );
}

#[test]
fn names_stand_in_one_line() {
    let frames = json!([{"filename": "/u/a\nb.py", "line": 1, "name": "f\u{7}"}]);
    let entry = with(with(entry("alloc", 1, 5), "frames", frames), "user_metadata", json!("x\r\ny"));
    let trace = trace(&[entry]);
    for by in OwnedBy::ALL {
        let owner = trace.held_at_peak(*by).remove(0).owner;
        assert!(!owner.is_empty() && !owner.contains(char::is_control), "{owner:?}");
    }
}

/// A small file that would be a large trace.
#[test]
fn what_is_packed_beyond_all_recordings_is_refused() {
    use std::io::Write as _;

    let packed = |line: &str, times: usize| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        (0..times).for_each(|_| encoder.write_all(line.as_bytes()).expect("there is room"));
        traces_of(&encoder.finish().expect("there is room"), Path::new("t"))
    };
    let lines = "a 1 5\nf 1\n".repeat(1000);
    let error = packed(&lines, 5000).expect_err("ten million operations in some kilobytes").to_string();
    assert!(error.contains("no recording is packed so"), "{error}");
    assert_eq!(packed(&lines, 100).expect("a short one")[0].operations.len(), 200_000);
}
