//! Without a card the process's monitor says so, and is not taken for one of empty memory.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

use vramkit::monitor::names::{get_current_vram_usage, get_vram_stats, log_vram_snapshot, process_monitor};

const NOWHERE: &str = "/nowhere/libnvidia-ml.so";

#[test]
fn no_card_is_unavailable_and_a_plain_read_leaves_no_trace() {
    // Whatever this machine has, there is no driver for the same test in a process of its own.
    const DRIVER: &str = "VRAMKIT_NVML";
    if std::env::var(DRIVER).as_deref() != Ok(NOWHERE) {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        assert!(again.env(DRIVER, NOWHERE).status().unwrap().success());
        return;
    }
    assert_eq!(get_current_vram_usage(), None);
    assert!(process_monitor().history(9).is_empty());
    assert_eq!(get_vram_stats().failures, 0);
    let used = process_monitor().usage().used_bytes;
    assert!(used.unavailable.unwrap().contains(NOWHERE));

    let line = serde_json::to_value(log_vram_snapshot("e", None, &[])).unwrap();
    assert!(line["vram_usage_gb"].is_null() && line["vram_reserved_gb"].is_null(), "{line}");
    assert_eq!(process_monitor().history(9)[0].level, None);
    assert_eq!(process_monitor().can_allocate(vramkit::ByteSize::mib(1), 0.1), None);
}
