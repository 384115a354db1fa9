//! Monitors of cards that are looked at and not used, on the stand-in for the management library. The driver's own library is nowhere: no
//! context can be made.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

use std::path::PathBuf;
use std::process::Command;

use vramkit::ByteSize;
use vramkit::monitor::names::{
    clear_cuda_cache, device_monitor, get_current_vram_usage, get_vram_stats, log_vram_snapshot,
    process_monitor,
};
use vramkit::pool::{DeviceMemoryPool, Request};
use vramkit::pressure::PressureLevel;

const INNER: &str = "VRAMKIT_TEST_CARDS";

/// The stand-in's library: built because this package depends on it, and named so that it is.
fn stand_in() -> PathBuf {
    let _ = vramkit_standin::standin_bytes_created as extern "C" fn() -> u64;
    std::env::current_exe().unwrap().parent().unwrap().join("libvramkit_standin.so")
}

#[test]
fn cards_are_looked_at_without_being_used() {
    if std::env::var_os(INNER).is_some() {
        return look();
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("cards.json");
    let cards = r#"{"cards": [
        {"name": "First", "uuid": "GPU-1", "total": 80000000000, "free": 8000000000, "used": 72000000000, "reserved": 500000000,
         "processes": [{"pid": 41, "used": 70000000000}, {"pid": 42}]},
        {"name": "Second", "uuid": "GPU-2", "total": 24000000000, "free": 24000000000, "used": 0, "memory_v2": 3}]}"#;
    std::fs::write(&script, cards).unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.env(INNER, "1").env("VRAMKIT_NVML", stand_in()).env("VRAMKIT_STANDIN_NVML", &script);
    again.env("VRAMKIT_CUDA_DRIVER", "/nowhere/libcuda.so").env_remove("CUDA_VISIBLE_DEVICES");
    assert!(again.status().unwrap().success());
}

fn look() {
    assert_eq!(get_current_vram_usage(), Some(ByteSize::new(72_000_000_000)));
    let line = log_vram_snapshot("loaded", Some(1), &["llama"]);
    assert_eq!((line.vram_usage_gb, line.vram_allocated_gb, line.vram_reserved_gb), (Some(72.0), None, None));
    assert_eq!((get_vram_stats().level, get_vram_stats().failures), (Some(PressureLevel::Critical), 0));
    let snapshot = &process_monitor().history(1)[0];
    let processes = snapshot.processes.value.as_ref().unwrap();
    let held: Vec<_> = processes.iter().map(|process| (process.pid, process.used_bytes.value)).collect();
    assert_eq!(held, [(41, Some(ByteSize::new(70_000_000_000))), (42, None)]);
    assert_eq!((snapshot.device.id.as_str(), snapshot.device.uuid.as_deref()), ("cuda:0", Some("GPU-1")));
    assert_eq!(snapshot.usage.driver_bytes.value, Some(ByteSize::new(500_000_000)));

    assert_eq!(clear_cuda_cache().unwrap().freed_reserved_bytes, ByteSize::ZERO, "no pool is on it");

    // One monitor a device, each its own, all at once.
    let second = device_monitor("cuda:1");
    assert_eq!(second.usage().used_bytes.value, Some(ByteSize::ZERO), "known to be nothing");
    assert!(second.usage().driver_bytes.value.is_none(), "an older driver does not say");
    second.log_snapshot("", None, &[]);
    assert_eq!((device_monitor("cuda:1").history(9).len(), process_monitor().history(9).len()), (1, 1));
    let absent = device_monitor("cuda:2").usage().used_bytes;
    assert!(absent.unavailable.unwrap().contains("2 cards are listed"));
    assert!(device_monitor("tpu:0").usage().used_bytes.unavailable.unwrap().contains("no device"));

    // Main memory, and what this process's pools have of it.
    let host = device_monitor("host");
    assert!(
        host.usage().total_bytes.value.unwrap() > ByteSize::mib(100)
            && host.usage().allocated_bytes.value.is_none()
    );
    let device = std::sync::Arc::new(vramkit::device::HostDevice::new(ByteSize::mib(64)));
    let pool = DeviceMemoryPool::new(device, ByteSize::mib(64)).unwrap();
    drop(pool.allocate(Request::new(ByteSize::mib(8))).unwrap());
    let block = pool.allocate(Request::new(ByteSize::mib(2))).unwrap();
    assert_eq!(host.usage().allocated_bytes.value, Some(ByteSize::mib(2)));
    assert_eq!(host.cleanup().unwrap().freed_reserved_bytes, ByteSize::mib(6));
    drop(block);
}
