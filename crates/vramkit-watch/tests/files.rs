//! Sources that read the kernel's files, over folders that tests make; and recordings.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use vramkit::ByteSize;
use vramkit::device::Origin;
use vramkit_watch::amd::AmdSource;
use vramkit_watch::host::HostSource;
use vramkit_watch::record::{self, ReadRecordError, TickRecorder};
use vramkit_watch::{Source, Tick, WatchConfig, Watcher};

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

#[test]
fn the_group_counts_where_it_allows_less_than_the_machine_has() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    let group = "sys/fs/cgroup/system.slice/a.service";
    put(root.path(), &format!("{group}/memory.max"), "8192000\n");
    put(root.path(), &format!("{group}/memory.current"), "2048000\n");
    let readings = HostSource::at(root.path()).read();
    let device = &readings.devices[0];
    assert_eq!(
        (device.usage.total_bytes.value, device.usage.total_bytes.source),
        (Some(ByteSize::new(8_192_000)), Origin::Cgroup)
    );
    assert_eq!(device.usage.used_bytes.value, Some(ByteSize::new(2_048_000)));
    assert_eq!(device.usage.free_bytes.value, Some(ByteSize::new(4_096_000)), "the machine has less left");
    let stall = device.stall.unwrap();
    assert_eq!(
        (stall.some.avg10_ratio, stall.some.total_seconds, stall.full.avg10_ratio),
        (0.015, 2.5, 0.001)
    );
    put(root.path(), &format!("{group}/memory.max"), "max\n");
    let usage = HostSource::at(root.path()).read().devices.remove(0).usage;
    assert_eq!(
        (usage.total_bytes.value, usage.total_bytes.source),
        (Some(ByteSize::new(16_384_000)), Origin::System)
    );
}

#[test]
fn groups_of_version_1_and_files_that_say_nonsense_are_reasons() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path());
    put(root.path(), "proc/self/cgroup", "4:memory:/a\n3:cpu:/\n");
    let readings = HostSource::at(root.path()).read();
    assert!(readings.unavailable[0].reason.contains("version 1"), "{readings:?}");
    assert_eq!(readings.devices[0].usage.total_bytes.value, Some(ByteSize::new(16_384_000)));
    put(root.path(), "proc/meminfo", "MemTotal: many kB\n");
    let usage = HostSource::at(root.path()).read().devices.remove(0).usage;
    assert_eq!((usage.total_bytes.value, usage.used_bytes.value), (None, None));
    fs::remove_file(root.path().join("proc/meminfo")).unwrap();
    let usage = HostSource::at(root.path()).read().devices.remove(0).usage;
    assert!(usage.total_bytes.unavailable.unwrap().contains("proc/meminfo"));
}

#[test]
fn amds_cards_and_their_processes_are_read_from_the_kernel() {
    let root = tempfile::tempdir().unwrap();
    assert!(AmdSource::at(root.path()).read().unavailable[0].reason.contains("no card"));
    let folder = "sys/class/drm/card1/device";
    put(root.path(), &format!("{folder}/vendor"), "0x1002\n");
    put(root.path(), &format!("{folder}/mem_info_vram_total"), "17163091968\n");
    put(root.path(), &format!("{folder}/mem_info_vram_used"), "1073741824\n");
    put(root.path(), "sys/class/drm/card0/device/vendor", "0x8086\n");
    put(root.path(), "sys/class/drm/card1-DP-1/device/vendor", "0x1002\n");
    // The bus address is the folder's real name: `device` here.
    let info = |client: u32, kib: u64| {
        format!(
            "pos: 0\ndrm-driver:\tamdgpu\ndrm-pdev:\tdevice\ndrm-client-id:\t{client}\ndrm-memory-vram:\t{kib} KiB\n"
        )
    };
    put(root.path(), "proc/42/fdinfo/3", &info(7, 2048));
    put(root.path(), "proc/42/fdinfo/4", &info(7, 2048));
    put(root.path(), "proc/42/fdinfo/5", &info(8, 1024));
    put(root.path(), "proc/42/comm", "llama-server\n");
    put(root.path(), "proc/43/fdinfo/1", "pos: 0\n");
    let mut source = AmdSource::at(root.path());
    let readings = source.read();
    assert_eq!(readings.devices.len(), 1);
    let device = &readings.devices[0];
    assert_eq!((device.device.id.as_str(), device.usage.used_bytes.value), ("amd:0", Some(ByteSize::gib(1))));
    let processes = device.processes.value.as_ref().unwrap();
    assert_eq!(processes.len(), 1);
    assert_eq!((processes[0].pid, processes[0].used_bytes.value), (42, Some(ByteSize::mib(3))));
    assert_eq!(processes[0].name.value.as_deref(), Some("llama-server"));
    // A process that may not be asked is counted, not left out in silence.
    put(root.path(), "proc/44/fdinfo", "");
    let mut careful = AmdSource::at(root.path());
    let readings = careful.read();
    assert!(readings.unavailable[0].reason.starts_with("1 processes' files may not be read"), "{readings:?}");
    assert_eq!(readings.devices[0].processes.value.as_ref().unwrap().len(), 1);
    // The card stops giving numbers; the process ends.
    put(root.path(), &format!("{folder}/mem_info_vram_used"), "18446744073709551615\n");
    fs::remove_dir_all(root.path().join("proc/42")).unwrap();
    let device = source.read().devices.remove(0);
    assert_eq!((device.usage.used_bytes.value, device.usage.free_bytes.value), (None, None));
    assert!(device.processes.value.unwrap().is_empty());
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
