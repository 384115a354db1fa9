//! The monitor of one source, driven on a simulated device through every level, limit and recovery.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::device::{Origin, Reading, SimulatedDevice};
use crate::pool::{Allocation, DeviceMemoryPool, Purpose, Request};
use crate::pressure::PressureLevel;
use crate::units::ByteSize;

const CAPACITY: ByteSize = ByteSize::mib(1000);

pub(super) fn pool() -> Arc<DeviceMemoryPool> {
    Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(CAPACITY)), CAPACITY).unwrap())
}

fn take(pool: &DeviceMemoryPool, mib: u64) -> Allocation {
    pool.allocate(Request::new(ByteSize::mib(mib))).unwrap()
}

fn monitor(pool: &Arc<DeviceMemoryPool>, change: impl FnOnce(&mut MonitorConfig)) -> VramMonitor {
    let mut config = MonitorConfig { cleanup_threshold: None, ..MonitorConfig::default() };
    change(&mut config);
    VramMonitor::with_config(pool.clone(), config).unwrap()
}

pub(super) fn wait_until(ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn limits_warn_then_clean_up_then_fail_and_count() {
    let pool = pool();
    let limits = Limits::new(ByteSize::mib(500), ByteSize::mib(800)).unwrap();
    let monitor = monitor(&pool, |config| config.limits = Some(limits));
    let _base = take(&pool, 400);
    assert_eq!(monitor.check_limits("load"), Ok(None));
    let warning = monitor.preflight(ByteSize::mib(101), "kv").unwrap().unwrap();
    assert_eq!((warning.0.current_bytes, warning.0.excess_bytes), (ByteSize::mib(400), ByteSize::mib(1)));
    assert!(warning.to_string().contains("kv: 400 MiB held and 101 MiB about to be asked for"), "{warning}");
    // Nothing to clean up: an error with the numbers.
    let error = monitor.preflight(ByteSize::mib(401), "kv").unwrap_err();
    assert!(
        matches!(&error, MemoryPressureError::Passed(p) if p.limit_bytes == ByteSize::mib(800)),
        "{error}"
    );
    // A callback that frees enough cures it.
    let cache = Arc::new(Mutex::new(Some(take(&pool, 450))));
    let freeing = cache.clone();
    monitor.register_cleanup_callback(move |reason| {
        assert_eq!(reason, CleanupReason::HardLimit);
        freeing.lock().unwrap().take();
    });
    assert_eq!(monitor.check_limits("decode"), Ok(None));
    let stats = monitor.stats();
    assert_eq!((stats.soft_violations, stats.hard_violations, stats.cleanups), (0, 1, 2), "never held more");
    monitor.reset();
    assert_eq!((monitor.stats().soft_violations, monitor.stats().cleanups), (0, 0));
}

#[test]
fn limits_out_of_order_are_refused() {
    for (soft, hard) in [(0, 5), (5, 5), (6, 5)] {
        assert!(Limits::new(ByteSize::new(soft), ByteSize::new(hard)).is_err());
    }
    let pool = pool();
    let mut config = MonitorConfig::default();
    config.ladder.rungs.swap(0, 1);
    assert!(VramMonitor::with_config(pool, config).is_err());
}

#[test]
fn every_level_is_reached_and_left_with_hysteresis_and_counted() {
    let pool = pool();
    let monitor = monitor(&pool, |config| {
        config.ladder.rungs.iter_mut().for_each(|rung| rung.dwell_seconds = 0.0);
    });
    let mut held = Vec::new();
    let mut seen = Vec::new();
    for mib in [590, 10, 199, 1, 100] {
        held.push(take(&pool, mib));
        seen.push(monitor.log_snapshot("fill", Some(7), &["llama"]).level.unwrap());
    }
    use PressureLevel::{Critical, Elevated, High, Normal};
    assert_eq!(seen, [Normal, Elevated, Elevated, High, Critical]);
    held.pop();
    held.push(take(&pool, 60));
    assert_eq!(monitor.log_snapshot("", None, &[]).level, Some(Critical), "0.86 is above its exit");
    held.clear();
    assert_eq!(monitor.log_snapshot("", None, &[]).level, Some(Normal));
    let stats = monitor.stats();
    assert_eq!((stats.snapshots, stats.level_changes), ([2, 2, 1, 2], 4));
    assert_eq!(stats.peak_used_bytes, ByteSize::mib(900));
    let snapshot = &monitor.history(100)[0];
    assert_eq!((snapshot.slot, snapshot.models.as_slice()), (Some(7), &["llama".to_owned()][..]));
}

#[test]
fn history_is_bounded_and_survives_json() {
    let pool = pool();
    let monitor = monitor(&pool, |config| config.history = 3);
    for event in ["a", "b", "c", "d"] {
        monitor.log_snapshot(event, None, &[]);
    }
    let history = monitor.history(2);
    assert_eq!(history.iter().map(|s| s.event.as_str()).collect::<Vec<_>>(), ["c", "d"]);
    assert_eq!(monitor.history(9).len(), 3);
    let text = serde_json::to_string(&history[0]).unwrap();
    let read: Snapshot = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    let line = names::VramSnapshot::from(&history[1]);
    let json = serde_json::to_value(&line).unwrap();
    assert_eq!(json["vram_usage_gb"], 0.0);
    assert!(json["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_full_source_is_cleaned_up_elsewhere_once_in_a_cooldown() {
    let pool = pool();
    let monitor = monitor(&pool, |config| config.cleanup_threshold = Some(0.85));
    let calls = Arc::new(AtomicUsize::new(0));
    let (counted, held) = (calls.clone(), Arc::new(Mutex::new(vec![take(&pool, 500), take(&pool, 400)])));
    let (freed, recursive) = (held.clone(), monitor.clone());
    monitor.register_cleanup_callback(move |_| {
        freed.lock().unwrap().pop();
        counted.fetch_add(1, Ordering::SeqCst);
        // Recording from within a cleanup neither waits nor cleans up again.
        recursive.log_snapshot("in a cleanup", None, &[]);
    });
    monitor.log_snapshot("full", None, &[]);
    wait_until(|| monitor.stats().cleanups == 1);
    assert_eq!(pool.used(), ByteSize::mib(500));
    assert_eq!(pool.committed(), ByteSize::mib(500), "what is free goes back to the device");
    held.lock().unwrap().push(take(&pool, 450));
    monitor.log_snapshot("full again", None, &[]);
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(calls.load(Ordering::SeqCst), 1, "within the cooldown");
    let report = monitor.cleanup().unwrap();
    assert_eq!(report.freed_allocated_bytes, ByteSize::mib(450));
    assert_eq!(report.freed_reserved_bytes, ByteSize::mib(450));
    assert!(monitor.stats().seconds_since_cleanup.unwrap() < 5.0);
}

#[test]
fn generations_that_leave_memory_behind_are_told_once() {
    let pool = pool();
    let monitor = monitor(&pool, |config| {
        config.generations = leak::GenerationConfig { warm_up: 1, every: 2, threshold: ByteSize::mib(50) };
    });
    let mut kept = Vec::new();
    let mut told = Vec::new();
    for _ in 0..20 {
        kept.push(take(&pool, 10));
        monitor.increment_generation_count();
        told.extend(monitor.detect_memory_leak());
    }
    assert_eq!(told.len(), 1);
    assert!(told[0].to_string().contains("memory grew by 50 MiB over 6 generations"), "{}", told[0]);
    monitor.rebase();
    monitor.increment_generation_count();
    assert_eq!(monitor.detect_memory_leak(), None);
}

#[test]
fn models_are_admitted_by_what_is_left_and_compared_with_what_they_hold() {
    let pool = pool();
    let limits = Limits::new(ByteSize::mib(600), ByteSize::mib(900)).unwrap();
    let monitor = monitor(&pool, |config| config.limits = Some(limits));
    monitor.register_model("a", ByteSize::mib(600)).unwrap();
    let error = monitor.register_model("b", ByteSize::mib(400)).unwrap_err();
    assert_eq!((error.required, error.available), (ByteSize::mib(400), ByteSize::mib(300)));
    let held =
        pool.allocate(Request::new(ByteSize::mib(650)).owner(pool.owner("a", Purpose::Weights))).unwrap();
    let uses = monitor.models();
    assert_eq!(
        (uses[0].measured_bytes, uses[0].difference_bytes),
        (Some(ByteSize::mib(650)), Some(50 << 20))
    );
    // What a holds beyond its word counts too.
    assert_eq!(monitor.register_model("b", ByteSize::mib(260)).unwrap_err().available, ByteSize::mib(250));
    monitor.register_model("b", ByteSize::mib(250)).unwrap();
    assert!(monitor.forget_model("b") && !monitor.forget_model("b"));
    assert_eq!(
        (monitor.can_allocate(ByteSize::mib(300), 0.1), monitor.can_allocate(ByteSize::mib(340), 0.1)),
        (Some(true), Some(false))
    );
    assert_eq!((monitor.is_low(0.4), monitor.is_low(0.3)), (Some(true), Some(false)));
    drop(held);
}

/// A source whose driver has gone.
struct Gone;

impl MemorySource for Gone {
    fn device(&self) -> DeviceName {
        DeviceName { id: "cuda:0".into(), name: "gone".into(), uuid: None }
    }

    fn read(&self) -> Usage {
        Usage::unavailable(Origin::Driver, "the driver does not answer")
    }
}

#[test]
fn what_is_not_known_is_neither_zero_nor_a_level() {
    let limits = Limits::new(ByteSize::mib(1), ByteSize::mib(2)).unwrap();
    let config = MonitorConfig { limits: Some(limits), ..MonitorConfig::default() };
    let monitor = VramMonitor::with_config(Arc::new(Gone), config).unwrap();
    let snapshot = monitor.log_snapshot("", None, &[]);
    assert_eq!((snapshot.level, snapshot.usage.used_bytes.value), (None, None));
    let error = monitor.check_limits("x").unwrap_err();
    assert_eq!(error.to_string(), "cuda:0: limits cannot be checked: the driver does not answer");
    assert_eq!(monitor.stats().failures, 2);
    assert_eq!(monitor.stats().snapshots, [0; 4]);
    assert_eq!(monitor.can_allocate(ByteSize::new(1), 0.1), None);
    assert_eq!(serde_json::to_value(&snapshot).unwrap()["used_bytes"]["value"], serde_json::Value::Null);
    let _: Reading<ByteSize> = snapshot.usage.used_bytes;
}

#[test]
fn a_callback_that_checks_limits_is_not_entered_twice() {
    let pool = pool();
    let limits = Limits::new(ByteSize::mib(100), ByteSize::mib(200)).unwrap();
    let monitor = monitor(&pool, |config| config.limits = Some(limits));
    let (again, calls) = (monitor.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = calls.clone();
    monitor.register_cleanup_callback(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        assert!(again.check_limits("inside").is_err(), "it is told how it is");
        assert!(again.cleanup().is_none(), "one is under way");
        again.log_snapshot("inside", None, &[]);
    });
    let _held = take(&pool, 300);
    assert!(monitor.check_limits("outside").is_err());
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(monitor.cleanup().is_some(), "it is over");
}

#[test]
fn a_cleanup_that_frees_nothing_is_not_repeated_at_every_check() {
    let pool = pool();
    let limits = Limits::new(ByteSize::mib(100), ByteSize::mib(200)).unwrap();
    let monitor = monitor(&pool, |config| config.limits = Some(limits));
    let held = take(&pool, 300);
    let kept = Arc::new(Mutex::new(None));
    for _ in 0..1000 {
        assert!(monitor.check_limits("full").is_err());
    }
    let stats = monitor.stats();
    assert_eq!((stats.cleanups, stats.unhelpful_cleanups, stats.hard_violations), (1, 1, 1000));
    let last = stats.last_cleanup.unwrap();
    assert_eq!((last.reason, last.freed_allocated_bytes), (CleanupReason::HardLimit, ByteSize::ZERO));
    // Who asks is not kept waiting, and a callback more may free what the others could not.
    assert!(monitor.cleanup().is_some());
    kept.lock().unwrap().replace(held);
    let freed = kept.clone();
    monitor.register_cleanup_callback(move |_| drop(freed.lock().unwrap().take()));
    assert_eq!(monitor.check_limits("full"), Ok(None));
    assert_eq!(monitor.stats().last_cleanup.unwrap().freed_allocated_bytes, ByteSize::mib(300));
}

/// Two of one id are two devices, and what idles on the one is no room on the other.
#[test]
fn devices_of_one_id_are_told_apart() {
    use crate::monitor::DeviceSource;
    let devices = [0; 2].map(|_| Arc::new(SimulatedDevice::new(ByteSize::gib(1))));
    let pools = devices.clone().map(|device| DeviceMemoryPool::new(device, ByteSize::gib(1)).unwrap());
    drop(pools[1].allocate(Request::new(ByteSize::mib(900))).unwrap());
    let _held = pools[0].allocate(Request::new(ByteSize::mib(1000))).unwrap();
    let usage = VramMonitor::new(Arc::new(DeviceSource(devices[0].clone()))).usage();
    assert_eq!(usage.reserved_bytes.value, Some(ByteSize::mib(1000)));
    let other = VramMonitor::new(Arc::new(DeviceSource(devices[1].clone())));
    let before = other.usage();
    assert_eq!(
        (before.reserved_bytes.value, before.allocated_bytes.value),
        (Some(ByteSize::mib(900)), Some(ByteSize::ZERO))
    );
    assert_eq!(other.cleanup().unwrap().freed_reserved_bytes, ByteSize::mib(900));
}

/// What others hold of the device cannot be had by a pool.
#[test]
fn a_pool_has_no_more_than_its_device() {
    let device = Arc::new(SimulatedDevice::new(ByteSize::gib(10)));
    let pools = [0; 2].map(|_| Arc::new(DeviceMemoryPool::new(device.clone(), ByteSize::gib(10)).unwrap()));
    let _others = pools[0].allocate(Request::new(ByteSize::gib(6))).unwrap();
    let monitor = VramMonitor::new(pools[1].clone());
    let mut held = Vec::new();
    assert_eq!(monitor.usage().free_bytes.value, Some(ByteSize::gib(4)));
    assert_eq!(monitor.can_allocate(ByteSize::gib(5), 0.0), Some(false));
    while let Ok(allocation) = pools[1].allocate(Request::new(ByteSize::mib(64))) {
        held.push(allocation);
    }
    assert_eq!(monitor.log_snapshot("", None, &[]).level, Some(PressureLevel::Critical));
    assert_eq!(monitor.can_allocate(ByteSize::mib(64), 0.1), Some(false));
    assert!(monitor.is_low(0.1) == Some(true) && monitor.register_model("x", ByteSize::gib(1)).is_err());
    // What it has committed stays its own.
    held.truncate(10);
    assert_eq!(monitor.usage().free_bytes.value, Some(ByteSize::gib(4) - ByteSize::mib(640)));
}

/// A history is no multiple of its owners.
#[test]
fn a_snapshot_that_is_kept_has_the_largest_owners() {
    let pool = Arc::new(
        DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(ByteSize::gib(1))), ByteSize::gib(1)).unwrap(),
    );
    let held: Vec<_> = (1..=200u64)
        .map(|i| {
            let owner = pool.owner(&format!("m{i:03}"), Purpose::Kv);
            pool.allocate(Request::new(ByteSize::new(i << 15)).owner(owner)).unwrap()
        })
        .collect();
    let monitor = VramMonitor::new(pool.clone());
    let told = monitor.log_snapshot("", None, &[]);
    assert_eq!((told.pools[0].owners.len(), told.model_bytes.len()), (200, 200));
    let kept = monitor.history(1).remove(0);
    assert_eq!((kept.pools[0].owners.len(), kept.model_bytes.len()), (64, 64));
    assert!(kept.model_bytes.contains_key("m200") && !kept.model_bytes.contains_key("m136"));
    assert!(kept.pools[0].owners.iter().all(|owner| owner.granted_bytes > ByteSize::new(136 << 15)));
    drop(held);
}

#[test]
fn what_is_free_in_pieces_cannot_be_had_in_one() {
    let pool = pool();
    let monitor = monitor(&pool, |_| {});
    let mut held: Vec<_> = (0..10).map(|_| take(&pool, 100)).collect();
    assert_eq!(monitor.can_allocate(ByteSize::mib(1), 0.0), Some(false));
    // Every other one.
    for at in (0..5).rev() {
        held.remove(2 * at);
    }
    assert_eq!(pool.available(), ByteSize::mib(500));
    let largest = pool.stats().largest_free_bytes;
    assert_eq!(monitor.can_allocate(largest, 0.0), Some(true));
    assert_eq!(monitor.can_allocate(largest + ByteSize::mib(1), 0.0), Some(false));
    assert!(pool.allocate(Request::new(largest + ByteSize::mib(1))).is_err());
    assert!(pool.allocate(Request::new(largest)).is_ok());
    assert_eq!(monitor.can_allocate(largest, 10.0), Some(false), "with a margin beside it");
}
