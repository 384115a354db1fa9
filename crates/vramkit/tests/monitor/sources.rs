//! Where numbers come from: what a pool can really place, what a device says, what counts as whose, and the process's own names.

use std::process::Command;

use vramkit::device::Device;
use vramkit::monitor::leak::GenerationConfig;
use vramkit::monitor::{NoDevice, names};

use super::*;

fn pool_of(mib: u64) -> Arc<DeviceMemoryPool> {
    let capacity = ByteSize::mib(mib);
    Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap())
}

#[test]
fn what_is_free_in_pieces_cannot_be_had_in_one() {
    // With virtual memory, pieces cost addresses alone.
    let capacity = ByteSize::mib(1000);
    let device = SimulatedDevice::builder(capacity).virtual_memory(false).build();
    let pool = Arc::new(DeviceMemoryPool::new(Arc::new(device), capacity).unwrap());
    let mut blocks: Vec<_> =
        (0..10).map(|_| Some(pool.allocate(Request::new(ByteSize::mib(100))).unwrap())).collect();
    blocks.iter_mut().step_by(2).for_each(|block| drop(block.take()));
    let monitor = VramMonitor::new(pool.clone());
    assert_eq!(monitor.usage().free_bytes.value, Some(ByteSize::mib(500)));
    assert_eq!(monitor.can_allocate(ByteSize::mib(100), 0.0), Some(true));
    assert_eq!(monitor.can_allocate(ByteSize::mib(101), 0.0), Some(false));
    assert_eq!(VramMonitor::new(Arc::new(NoDevice("none".into()))).can_allocate(ByteSize::mib(1), 0.0), None);
}

#[test]
fn a_device_says_what_is_used_and_its_pools_what_they_have_of_it() {
    let device = Arc::new(SimulatedDevice::new(ByteSize::mib(1000)));
    device.others_hold(ByteSize::mib(300));
    let monitor = VramMonitor::new(Arc::new(DeviceSource(device.clone())));
    assert_eq!(monitor.usage().used_bytes.value, Some(ByteSize::mib(300)));
    assert_eq!(monitor.usage().allocated_bytes.value, None, "there is no pool on it");
    let pool = DeviceMemoryPool::new(device.clone(), ByteSize::mib(600)).unwrap();
    let held = pool.allocate(Request::new(ByteSize::mib(100))).unwrap();
    drop(pool.allocate(Request::new(ByteSize::mib(50))).unwrap());
    let usage = monitor.usage();
    assert_eq!(usage.used_bytes.value, Some(ByteSize::mib(450)));
    assert_eq!(
        (usage.allocated_bytes.value, usage.reserved_bytes.value),
        (Some(ByteSize::mib(100)), Some(ByteSize::mib(150)))
    );
    assert_eq!(usage.used_ratio(), Some(0.45));
    // A cleanup gives back what idles.
    monitor.cleanup().unwrap();
    assert_eq!(device.memory().free_bytes.value, Some(ByteSize::mib(600)));
    drop(held);
}

#[test]
fn of_a_device_room_in_pools_is_headroom_and_of_a_pool_what_it_granted_is_none() {
    let pool = pool_of(1000);
    let held = pool.allocate(Request::new(ByteSize::mib(100))).unwrap();
    drop(pool.allocate(Request::new(ByteSize::mib(50))).unwrap());
    let of_pool = VramMonitor::new(pool.clone()).look().device_use().unwrap();
    assert_eq!((of_pool.reserved, of_pool.allocated), (Some(ByteSize::mib(100)), Some(ByteSize::mib(100))));
    let device = Arc::new(SimulatedDevice::new(ByteSize::mib(1000)));
    let other = DeviceMemoryPool::new(device.clone(), ByteSize::mib(600)).unwrap();
    let also = other.allocate(Request::new(ByteSize::mib(100))).unwrap();
    drop(other.allocate(Request::new(ByteSize::mib(50))).unwrap());
    let of_device = VramMonitor::new(Arc::new(DeviceSource(device))).look().device_use().unwrap();
    assert_eq!(
        (of_device.reserved, of_device.allocated),
        (Some(ByteSize::mib(150)), Some(ByteSize::mib(100)))
    );
    // Of main memory, who else has room within is not known.
    let host = names::device_monitor("host").look().device_use().unwrap();
    assert_eq!((host.reserved, host.allocated), (None, None));
    drop((held, also));
}

#[test]
fn a_look_at_the_limits_of_its_own_counts_and_cleans_up_beyond_them_alone() {
    let limits = Some(Limits::new(ByteSize::mib(400), ByteSize::mib(800)).unwrap());
    let looked = |used: u64, cleanup_at_soft_limit: bool| {
        let source = Scripted::new(ByteSize::mib(1000));
        source.use_bytes(ByteSize::mib(used));
        let config = MonitorConfig {
            limits,
            cleanup_at_soft_limit,
            cleanup_threshold: None,
            cleanup_cooldown: Duration::ZERO,
            ..MonitorConfig::default()
        };
        let monitor = VramMonitor::with_config(source.clone(), config).unwrap();
        let sampling = monitor.start(Duration::from_millis(10)).unwrap();
        std::thread::sleep(Duration::from_millis(150));
        drop(sampling);
        (
            source.reclaims.load(Ordering::SeqCst) > 0,
            monitor.stats().soft_violations,
            monitor.stats().hard_violations > 0,
        )
    };
    assert_eq!(looked(400, true), (false, 0, false), "at the soft limit nothing is passed");
    assert_eq!(looked(401, true), (true, 1, false));
    assert_eq!(looked(401, false), (false, 1, false));
    assert_eq!(looked(800, false), (false, 1, false), "at the hard limit it is not passed");
    assert_eq!(looked(801, false), (true, 1, true));
}

#[test]
fn a_cleanup_that_was_asked_for_delays_no_other() {
    let source = Scripted::new(ByteSize::mib(1000));
    source.use_bytes(ByteSize::mib(900));
    let monitor = VramMonitor::new(source);
    assert!(monitor.cleanup().is_some());
    monitor.log_snapshot("full", None, &[]);
    let begun = Instant::now();
    while monitor.stats().cleanups < 2 && begun.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(monitor.stats().cleanups, 2);
}

#[test]
fn a_thousandth_is_as_good_as_nothing_freed() {
    let freed = |bytes: u64| {
        let source = Scripted::new(ByteSize::mb(100));
        source.use_bytes(ByteSize::new(50_000_000));
        source.reclaimable.store(bytes, Ordering::SeqCst);
        let monitor = VramMonitor::new(source);
        monitor.cleanup().unwrap();
        monitor.stats().unhelpful_cleanups
    };
    assert_eq!((freed(50_000), freed(50_001), freed(0)), (1, 0, 1));
}

#[test]
fn low_is_below_the_threshold_and_not_at_it() {
    let source = Scripted::new(ByteSize::mib(1000));
    source.use_bytes(ByteSize::mib(900));
    let monitor = VramMonitor::new(source);
    assert_eq!(
        (monitor.is_low(0.1), monitor.is_low(0.100_001), monitor.is_low(0.05)),
        (Some(false), Some(true), Some(false))
    );
}

#[test]
fn growth_counts_from_where_it_is_rebased() {
    let pool = pool_of(1000);
    let generations = GenerationConfig { warm_up: 4, every: 2, threshold: ByteSize::mib(100) };
    let config = MonitorConfig { generations, cleanup_threshold: None, ..MonitorConfig::default() };
    let monitor = VramMonitor::with_config(pool.clone(), config).unwrap();
    let mut held = Vec::new();
    let mut told = |count: usize, grows: u64| {
        let mut told = 0;
        for _ in 0..count {
            if grows > 0 {
                held.push(pool.allocate(Request::new(ByteSize::mib(grows))).unwrap());
            }
            monitor.increment_generation_count();
            told += usize::from(monitor.detect_memory_leak().is_some());
        }
        told
    };
    assert_eq!(told(6, 0), 0);
    assert_eq!(told(1, 150), 0);
    // What was loaded on purpose is as it should be from now on.
    monitor.rebase();
    assert_eq!(told(10, 0), 0);
    assert_eq!(told(6, 50), 1);
}

#[test]
fn what_is_reset_is_forgotten_but_for_models() {
    let pool = pool_of(1000);
    let monitor = VramMonitor::new(pool);
    monitor.register_model("llama", ByteSize::mib(400)).unwrap();
    monitor.increment_generation_count();
    monitor.log_snapshot("loaded", None, &[]);
    monitor.reset();
    assert_eq!((monitor.history(10).len(), monitor.stats().generations), (0, 0));
    assert_eq!(monitor.models()[0].model, "llama");
}

/// A source whose use grows evenly between two readings, whenever they are.
struct Filling(Instant);

impl MemorySource for Filling {
    fn device(&self) -> DeviceName {
        DeviceName { id: "cuda:8".into(), name: "filling".into(), uuid: None }
    }

    fn read(&self) -> Usage {
        let total = ByteSize::gib(64);
        let used = (self.0.elapsed().as_secs_f64() * 1e9) as u64;
        let known = |size| Reading::known(size, Origin::Driver);
        Usage {
            total_bytes: known(total),
            free_bytes: known(total.saturating_sub(ByteSize::new(used))),
            used_bytes: known(ByteSize::new(used)),
            ..Usage::unavailable(Origin::Driver, "not asked")
        }
    }
}

#[test]
fn what_fills_is_forecast() {
    let monitor = VramMonitor::new(Arc::new(Filling(Instant::now())));
    let begun = Instant::now();
    while monitor.forecast().is_none() && begun.elapsed() < Duration::from_secs(20) {
        monitor.log_snapshot("", None, &[]);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(monitor.forecast().is_some(), "a gigabyte a second");
    assert_eq!(monitor.growing(), None, "not yet");
    assert_eq!(monitor.suspected(), vec![]);
}

const INNER: &str = "VRAMKIT_TEST_INNER";

/// In a process of its own: its monitor is of the device that the environment names.
#[test]
fn the_processs_names() {
    if std::env::var_os(INNER).is_some() {
        let used = names::get_current_vram_usage().unwrap();
        assert!(!used.is_zero());
        let line = names::log_vram_snapshot("loaded", Some(3), &["llama"]);
        assert!(line.vram_usage_gb.is_some_and(|gb| gb > 0.0));
        assert_eq!(names::get_vram_stats().snapshots.iter().sum::<u64>(), 1);
        assert_eq!(names::clear_cuda_cache().unwrap().reason, CleanupReason::Asked);
        assert_eq!(names::get_vram_stats().cleanups, 1);
        return;
    }
    let again = |device: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sources::the_processs_names"])
            .env(INNER, "1")
            .env("VRAMKIT_DEVICE", device)
            .output()
            .unwrap()
    };
    let done = again("host");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    assert!(!again("no device").status.success(), "of what is no device, nothing is known");
}
