//! Recordings of ticks.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use vramkit_watch::host::HostSource;
use vramkit_watch::record::{self, ReadRecordError, TickRecorder};
use vramkit_watch::{Tick, WatchConfig, Watcher};

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

#[test]
fn a_recording_cut_off_at_any_byte_is_read_and_gone_on_with() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let ticks = ticks(root.path(), 3);
    let path = root.path().join("ticks.jsonl");
    let mut recorder = TickRecorder::open(&path, 1 << 30).unwrap();
    ticks.iter().for_each(|tick| recorder.write(tick).unwrap());
    let whole = fs::read(&path).unwrap();
    assert_eq!(record::read(&path).unwrap(), ticks);
    let ends: Vec<usize> = (0..whole.len()).filter(|&i| whole[i] == b'\n').map(|i| i + 1).collect();
    for cut in (0..whole.len()).step_by(97).chain(ends.iter().flat_map(|&end| [end - 1, end])) {
        fs::write(&path, &whole[..cut]).unwrap();
        let expected = ends.iter().filter(|&&end| end <= cut).count();
        match record::read(&path) {
            Ok(read) => assert_eq!(read, ticks[..expected]),
            Err(ReadRecordError::Empty { .. }) => assert_eq!(expected, 0),
            Err(error) => panic!("cut at {cut}: {error}"),
        }
        TickRecorder::open(&path, 1 << 30).unwrap().write(&ticks[0]).unwrap();
        assert_eq!(record::read(&path).unwrap().len(), expected + 1);
    }
    fs::write(&path, "{}\n").unwrap();
    assert!(record::read(&path).unwrap_err().to_string().contains("line 1"));
}

#[test]
fn a_recording_is_bounded() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let tick = ticks(root.path(), 1).remove(0);
    let path = root.path().join("ticks.jsonl");
    let mut recorder = TickRecorder::open(&path, 1 << 16).unwrap();
    for _ in 0..500 {
        recorder.write(&tick).unwrap();
        let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
        assert!(size(&path) + size(&root.path().join("ticks.jsonl.old")) <= 1 << 16);
    }
    let read = record::read(&path).unwrap();
    assert!(read.len() > 10, "{}", read.len());
}
