//! Recordings of ticks.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use vramkit_watch::host::HostSource;
use vramkit_watch::record::{self, ReadRecordError, RecordError, TickRecorder};
use vramkit_watch::{EventKind, Tick, WatchConfig, Watcher};

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn machine(root: &Path) {
    put(root, "proc/meminfo", "MemTotal:       16000 kB\nMemFree: 1 kB\nMemAvailable:    4000 kB\n");
    put(root, "proc/self/cgroup", "0::/system.slice/a.service\n");
    put(
        root,
        "proc/pressure/memory",
        "some avg10=1.50 avg60=0.20 avg300=0.00 total=2500000\nfull avg10=0.10 avg60=0.00 avg300=0.00 total=1000000\n",
    );
}

fn ticks(root: &Path, count: u64) -> Vec<Tick> {
    let mut watcher = Watcher::new(vec![Box::new(HostSource::at(root))], WatchConfig::default()).unwrap();
    // As they are read again: times to the millisecond.
    let kept = |tick: Tick| serde_json::from_slice(&serde_json::to_vec(&tick).unwrap()).unwrap();
    (0..count).map(|second| kept(watcher.tick(Duration::from_secs(second)))).collect()
}

fn watcher(root: &Path) -> Watcher {
    Watcher::new(vec![Box::new(HostSource::at(root))], WatchConfig::default()).unwrap()
}

#[test]
fn a_recording_cut_off_at_any_byte_is_read_and_gone_on_with() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let ticks = ticks(root.path(), 3);
    let path = root.path().join("ticks.jsonl");
    let mut recorder = TickRecorder::open(&path, 1 << 30).unwrap();
    ticks.iter().for_each(|tick| recorder.write(tick).unwrap());
    drop(recorder);
    let whole = fs::read(&path).unwrap();
    assert_eq!(record::read(&path).unwrap().ticks, ticks);
    let ends: Vec<usize> = (0..whole.len()).filter(|&i| whole[i] == b'\n').map(|i| i + 1).collect();
    for cut in (0..whole.len()).step_by(97).chain(ends.iter().flat_map(|&end| [end - 1, end])) {
        fs::write(&path, &whole[..cut]).unwrap();
        // A line is whole without its end.
        let expected = ends.iter().filter(|&&end| end - 1 <= cut).count();
        match record::read(&path) {
            Ok(read) => assert_eq!((read.ticks.as_slice(), read.skipped), (&ticks[..expected], 0)),
            Err(ReadRecordError::Empty { .. }) => assert_eq!(expected, 0),
            Err(error) => panic!("cut at {cut}: {error}"),
        }
        TickRecorder::open(&path, 1 << 30).unwrap().write(&ticks[0]).unwrap();
        assert_eq!(record::read(&path).unwrap().ticks.len(), expected + 1);
    }
    fs::write(&path, "{}\n").unwrap();
    assert!(record::read(&path).unwrap_err().to_string().contains("line 1"));
}

#[test]
fn a_bad_line_costs_itself_alone() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let ticks = ticks(root.path(), 4);
    let path = root.path().join("ticks.jsonl");
    let lines: Vec<Vec<u8>> = ticks.iter().map(|tick| serde_json::to_vec(tick).unwrap()).collect();
    let (cut, whole) = (&lines[1][..lines[1].len() / 2], &lines[1]);
    let later = String::from_utf8(whole.clone()).unwrap().replace("vramkit.top/1", "vramkit.top/9");
    let of = |time: &str| {
        let mut tick = ticks[1].clone();
        tick.time = time.into();
        serde_json::to_vec(&tick).unwrap()
    };
    for (bad, kept, says) in [
        (of("0001-01-01T00:00:00Z"), 3, "`0001-01-01T00:00:00Z`, which is no time"),
        (of("2026-13-01T00:00:00Z"), 3, "which is no time"),
        (of("soon\u{1b}"), 3, "`soon `, which is no time"),
        (cut.to_vec(), 3, "line 2"),
        // With the whole one that followed it.
        ([cut, whole].concat(), 4, "line 2"),
        ([&vec![0; 5000], whole.as_slice()].concat(), 4, "line 2"),
        (vec![0; 5000], 3, "line 2"),
        ([&whole[..300], &whole[..200], &whole[300..]].concat(), 3, "line 2"),
        (later.into_bytes(), 3, "it is `vramkit.top/9`, and this version reads `vramkit.top/1`"),
        (vec![b'x'; 17 << 20], 3, "too long"),
    ] {
        let text =
            [&lines[0], &bad, &lines[2], &lines[3]].map(|line| [line.as_slice(), b"\n"].concat()).concat();
        fs::write(&path, text).unwrap();
        let read = record::read(&path).unwrap();
        assert_eq!((read.ticks.len(), read.skipped), (kept, 1), "{says}");
        assert!(read.first_skipped[0].to_string().contains(says), "{}", read.first_skipped[0]);
        assert_eq!((&read.ticks[0], &read.ticks[kept - 1]), (&ticks[0], &ticks[3]));
    }
}

#[test]
fn nothing_is_written_over_what_is_no_recording() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let tick = ticks(root.path(), 1).remove(0);
    let path = root.path().join("notes");
    let whole = serde_json::to_vec(&tick).unwrap();
    for text in [&b"hello\nworld\n"[..], b"hello", b"{}", b"{\"schema\": 1}\n", b"\n\n", &[0xff; 100_000]] {
        fs::write(&path, text).unwrap();
        let error = TickRecorder::open(&path, 1 << 20).unwrap_err();
        assert!(matches!(error, RecordError::Foreign { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), text, "as it was");
    }
    // Nor over what stands where it goes when it is full.
    fs::remove_file(&path).unwrap();
    let old = root.path().join("notes.old");
    fs::write(&old, "hello\n").unwrap();
    let error = TickRecorder::open(&path, 1 << 20).unwrap_err();
    assert!(matches!(&error, RecordError::Foreign { path, .. } if *path == old), "{error}");
    fs::remove_file(&old).unwrap();
    // What a kill or a machine that failed leaves of a recording.
    let half = &whole[..whole.len() / 2];
    for (text, kept) in [
        (&b""[..], 0),
        (&whole[..5], 0),
        (half, 0),
        (&[0; 5000], 0),
        (&[&[0; 50], &b"\n"[..], half].concat(), 0),
        (&[b"bad\n", whole.as_slice(), b"\n"].concat(), 1),
        (&whole, 1),
    ] {
        fs::write(&path, text).unwrap();
        TickRecorder::open(&path, 1 << 20).unwrap().write(&tick).unwrap();
        assert_eq!(record::read(&path).unwrap().ticks.len(), kept + 1, "{:?}", String::from_utf8_lossy(text));
    }
    for (path, says) in [
        ("/dev/null".into(), "not a plain file"),
        (root.path().to_owned(), "not a plain file"),
        (root.path().join("none/ticks"), "there is no folder"),
    ] {
        let error = TickRecorder::open(&path, 1 << 20).unwrap_err().to_string();
        assert!(
            error.contains(says) && error.contains(path.to_str().unwrap()) && !error.contains(".lock"),
            "{error}"
        );
    }
}

#[test]
fn a_recording_that_somebody_cuts_has_no_hole() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let ticks = ticks(root.path(), 3);
    let path = root.path().join("ticks.jsonl");
    let mut recorder = TickRecorder::open(&path, 1 << 20).unwrap();
    recorder.write(&ticks[0]).unwrap();
    // As logrotate's `copytruncate` does.
    fs::write(&path, "").unwrap();
    recorder.write(&ticks[1]).unwrap();
    recorder.write(&ticks[2]).unwrap();
    let read = record::read(&path).unwrap();
    assert_eq!((read.ticks.as_slice(), read.skipped), (&ticks[1..], 0));
}

#[test]
fn another_link_is_the_same_file() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let tick = ticks(root.path(), 1).remove(0);
    let path = root.path().join("ticks.jsonl");
    let mut first = TickRecorder::open(&path, 1 << 16).unwrap();
    first.write(&tick).unwrap();
    let link = root.path().join("link.jsonl");
    fs::hard_link(&path, &link).unwrap();
    assert!(matches!(TickRecorder::open(&link, 1 << 16), Err(RecordError::Locked { .. })));
    (0..100).for_each(|_| first.write(&tick).unwrap());
    drop(first);
    TickRecorder::open(&link, 1 << 16).unwrap();
}

#[test]
fn a_file_has_one_recorder_whatever_it_is_called_and_after_it_was_turned_over() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let tick = ticks(root.path(), 1).remove(0);
    let path = root.path().join("ticks.jsonl");
    let mut first = TickRecorder::open(&path, 1 << 16).unwrap();
    (0..100).for_each(|_| first.write(&tick).unwrap());
    assert!(root.path().join("ticks.jsonl.old").exists());
    let link = root.path().join("link.jsonl");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        let error = TickRecorder::open(name, 1 << 16).unwrap_err();
        assert!(matches!(error, RecordError::Locked { by: Some(by), .. } if by == std::process::id()));
        assert!(error.to_string().contains("ticks.jsonl"), "{error}");
    }
    drop(first);
    TickRecorder::open(&link, 1 << 16).unwrap().write(&tick).unwrap();
}

#[test]
fn a_recording_is_bounded() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let tick = ticks(root.path(), 1).remove(0);
    let path = root.path().join("ticks.jsonl");
    let mut recorder = TickRecorder::open(&path, 1 << 16).unwrap();
    for minute in 0..500u64 {
        let mut tick = tick.clone();
        let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + 60 * minute);
        tick.time = vramkit::monitor::utc(time);
        recorder.write(&tick).unwrap();
        let size = |end: &str| {
            fs::metadata(root.path().join(format!("ticks.jsonl{end}"))).map_or(0, |found| found.len())
        };
        assert!(size("") + size(".old") + size(".history") <= 1 << 16);
    }
    let read = record::read(&path).unwrap();
    assert!(
        read.thinned > 2 && read.ticks.len() > read.thinned + 10,
        "{} {}",
        read.thinned,
        read.ticks.len()
    );
    assert!(read.ticks.windows(2).all(|pair| pair[0].time < pair[1].time), "in order, none twice");
    let first = &read.ticks[0].devices[0].snapshot;
    assert_eq!(first.usage.used_bytes.value, tick.devices[0].snapshot.usage.used_bytes.value);
    assert!(first.processes.unavailable.as_ref().unwrap().contains("only the largest reading of"));
}

#[test]
fn what_cannot_be_written_is_a_state_and_is_tried_again() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let path = root.path().join("ticks.jsonl");
    let mut watcher = watcher(root.path());
    watcher.record(TickRecorder::open(&path, 1 << 20).unwrap());
    let mut at = |second: u64| watcher.tick(Duration::from_secs(second));
    let kinds = |tick: &Tick| tick.events.iter().map(|event| event.kind).collect::<Vec<_>>();
    assert!(at(0).recorder.unwrap().up);
    // Nothing can be written where a folder is.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let tick = at(1);
    let recorder = tick.recorder.clone().unwrap();
    assert!(!recorder.up && recorder.reason.is_some(), "{recorder:?}");
    assert_eq!(kinds(&tick), [EventKind::RecorderFailing]);
    let later = at(5);
    assert_eq!((later.recorder.unwrap().since, later.events.len()), (recorder.since, 0), "told once");
    fs::remove_dir(&path).unwrap();
    assert!(!at(10).recorder.unwrap().up, "it is tried every ten seconds");
    let tick = at(12);
    assert_eq!((tick.recorder.clone().unwrap().up, kinds(&tick)), (true, vec![EventKind::RecorderBack]));
    assert!(tick.events[0].text.contains("is written again"), "{:?}", tick.events);
    assert_eq!(record::read(&path).unwrap().ticks.len(), 1);
}

#[test]
fn a_restart_goes_on_with_the_recorded_history_after_a_gap() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let path = root.path().join("ticks.jsonl");
    let mut before = watcher(root.path());
    before.record(TickRecorder::open(&path, 1 << 20).unwrap());
    (0..5).for_each(|second| drop(before.tick(Duration::from_secs(second))));
    drop(before);
    // A reading of a clock that was ahead.
    let text = fs::read_to_string(&path).unwrap();
    let year = &text[text.find("\"time\":\"").unwrap() + 8..][..4];
    let ahead = text.lines().next().unwrap().replace(&format!("\"time\":\"{year}"), "\"time\":\"2999");
    fs::write(&path, format!("{ahead}\nno tick\n{text}")).unwrap();
    let mut after = watcher(root.path());
    after.restore(&path).unwrap();
    let first = after.tick(Duration::ZERO);
    assert!(first.events.iter().all(|event| event.kind == EventKind::LevelChanged), "{:?}", first.events);
    let history = after.history();
    let id = &first.devices[0].snapshot.device.id;
    let samples = &history.devices[id];
    let known: Vec<bool> = samples.iter().map(|sample| sample.used_bytes.is_some()).collect();
    assert_eq!(known, [true, true, true, true, true, false, true]);
    assert!(samples.windows(2).all(|pair| pair[0].unix_seconds <= pair[1].unix_seconds));
    let mut pieces = vec![after.history_json_piece(None)];
    while let Some(device) = pieces.last().unwrap().1.clone() {
        pieces.push(after.history_json_piece(Some(&device)));
    }
    assert_eq!(pieces.len(), history.devices.len() + 1, "a device at a time");
    let text: String = pieces.into_iter().map(|(text, _)| text).collect();
    assert_eq!(text, serde_json::to_string(&history).unwrap());
    watcher(root.path()).restore(&root.path().join("nothing")).unwrap();
}

#[test]
fn lines_from_before_the_clock_was_set_cost_themselves_alone() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let path = root.path().join("ticks.jsonl");
    let history = root.path().join("ticks.jsonl.history");
    let tick = ticks(root.path(), 1).remove(0);
    let at = |time: &str| {
        let mut tick = tick.clone();
        tick.time = time.into();
        tick
    };
    let lines = |times: &[&str]| -> String {
        times.iter().map(|time| serde_json::to_string(&at(time)).unwrap() + "\n").collect()
    };
    let yesterday = ["2026-01-01T00:00:00.000Z", "2026-01-01T00:01:00.000Z"];
    let early = ["1970-01-01T00:00:10.000Z", "2023-03-01T00:00:11.000Z"];
    let today = ["2026-01-02T00:00:00.000Z", "2026-01-02T00:00:01.000Z"];
    let past = |time: &&str| {
        let device = serde_json::json!({"device": {"id": "host", "name": "x"}, "class": "machine", "source": "system", "used_bytes": 5, "level": "normal"});
        serde_json::json!({"schema": "vramkit.past/1", "time": time, "seconds": 60, "devices": [device]})
            .to_string()
            + "\n"
    };
    fs::write(&history, yesterday.iter().map(past).collect::<String>()).unwrap();
    // Before all, and in the middle.
    for times in [[early, today].concat(), [&today[..1], &early, &today[1..]].concat()] {
        fs::write(&path, lines(&times)).unwrap();
        let read = record::read(&path).unwrap();
        let found: Vec<&str> = read.ticks.iter().map(|tick| tick.time.as_str()).collect();
        assert_eq!(found, [yesterday, today].concat());
        assert_eq!((read.skipped, read.thinned), (2, 2));
        assert!(
            read.first_skipped[0].reason.ends_with("the clock had not been set"),
            "{:?}",
            read.first_skipped
        );
        let mut watcher = watcher(root.path());
        watcher.restore(&path).unwrap();
        let kept = &watcher.history().devices["host"];
        assert!(kept.windows(2).all(|pair| pair[0].unix_seconds <= pair[1].unix_seconds));
        assert_eq!(kept.iter().filter(|sample| sample.used_bytes.is_some()).count(), 4);
        assert!(kept[0].unix_seconds > 1.7e9, "{kept:?}");
    }
    // Where there is nothing else, it is shown.
    fs::remove_file(&history).unwrap();
    fs::write(&path, lines(&early)).unwrap();
    assert_eq!(record::read(&path).unwrap().ticks.len(), 2);
}

#[test]
fn a_recording_that_is_moved_away_is_begun_anew() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let path = root.path().join("ticks.jsonl");
    let tick = ticks(root.path(), 1).remove(0);
    let mut recorder = TickRecorder::open(&path, 1 << 20).unwrap();
    recorder.write(&tick).unwrap();
    fs::rename(&path, root.path().join("ticks.jsonl.1")).unwrap();
    (0..2).for_each(|_| recorder.write(&tick).unwrap());
    assert_eq!(record::read(&path).unwrap().ticks.len(), 2);
    assert_eq!(fs::read_to_string(root.path().join("ticks.jsonl.1")).unwrap().lines().count(), 1);
}
