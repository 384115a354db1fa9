//! The monitor in a program, by its public names: defaults, what is kept apart, what is told and how often, looking by itself.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use vramkit::ByteSize;
use vramkit::device::{Origin, Reading, SimulatedDevice};
use vramkit::monitor::names::{VramSnapshot, format_bytes};
use vramkit::monitor::{
    CleanupReason, DeviceName, DeviceSource, Finding, LimitKind, Limits, MemorySource, MonitorConfig,
    PoolUse, Usage, VramMonitor,
};
use vramkit::pool::{CachingConfig, CachingPool, DeviceMemoryPool, Purpose, Request};
use vramkit::pressure::PressureLevel;
use vramkit::trace::Event;

/// A source that says what it is told to, and counts who asks.
struct Scripted {
    total: ByteSize,
    used: AtomicU64,
    reads: AtomicUsize,
    /// What a cleanup gives back.
    reclaimable: AtomicU64,
    reclaims: AtomicUsize,
    ledgers: AtomicUsize,
}

impl Scripted {
    fn new(total: ByteSize) -> Arc<Self> {
        Arc::new(Self {
            total,
            used: AtomicU64::new(0),
            reads: AtomicUsize::new(0),
            reclaimable: AtomicU64::new(0),
            reclaims: AtomicUsize::new(0),
            ledgers: AtomicUsize::new(0),
        })
    }

    fn use_bytes(&self, used: ByteSize) {
        self.used.store(used.bytes(), Ordering::SeqCst);
    }
}

impl MemorySource for Scripted {
    fn device(&self) -> DeviceName {
        DeviceName { id: "cuda:7".into(), name: "scripted".into(), uuid: None }
    }

    fn read(&self) -> Usage {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let used = ByteSize::new(self.used.load(Ordering::SeqCst));
        let known = |size| Reading::known(size, Origin::Driver);
        Usage {
            total_bytes: known(self.total),
            free_bytes: known(self.total.saturating_sub(used)),
            used_bytes: known(used),
            driver_bytes: Reading::unavailable(Origin::Driver, "none"),
            allocated_bytes: known(ByteSize::new(used.bytes() / 4)),
            reserved_bytes: known(ByteSize::new(used.bytes() / 2)),
        }
    }

    fn pools(&self, with_ledgers: bool) -> Vec<PoolUse> {
        self.ledgers.fetch_add(usize::from(with_ledgers), Ordering::SeqCst);
        Vec::new()
    }

    fn reclaim(&self) {
        self.reclaims.fetch_add(1, Ordering::SeqCst);
        let bytes = self.reclaimable.swap(0, Ordering::SeqCst);
        self.used.fetch_sub(bytes, Ordering::SeqCst);
    }
}

mod limits;
mod sampling;
mod sources;

const GB: ByteSize = ByteSize::new(1_000_000_000);

fn wait_until(what: &str, ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Events in the order in which they were told.
fn events(monitor: &VramMonitor) -> Arc<Mutex<Vec<Event>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let into = told.clone();
    monitor.on_event(move |event| into.lock().unwrap().push(event.clone()));
    told
}

fn count(told: &Mutex<Vec<Event>>, is: impl Fn(&Event) -> bool) -> usize {
    told.lock().unwrap().iter().filter(|event| is(event)).count()
}

#[test]
fn a_snapshot_is_one_reading_with_its_time_and_its_numbers_kept_apart() {
    let source = Scripted::new(ByteSize::new(10_000_000_000));
    let monitor = VramMonitor::new(source.clone());
    source.use_bytes(ByteSize::new(4_000_000_000));
    let before = SystemTime::now();
    let snapshot = monitor.log_snapshot("loaded", Some(3), &["llama"]);
    assert_eq!(source.reads.load(Ordering::SeqCst), 1);
    assert!(
        snapshot.model_bytes.is_empty() && snapshot.processes.value.is_none(),
        "this source says nothing of them"
    );
    let asked = [ByteSize::new(5_000_000_000), ByteSize::new(6_000_000_000)];
    assert_eq!(
        asked.map(|bytes| monitor.can_allocate(bytes, 0.1)),
        [Some(true), Some(false)],
        "with a tenth to spare"
    );
    assert!(before <= snapshot.time && snapshot.time <= SystemTime::now());
    let line = VramSnapshot::from(&snapshot);
    let gb = (line.vram_usage_gb, line.vram_allocated_gb, line.vram_reserved_gb);
    assert_eq!(gb, (Some(4.0), Some(1.0), Some(2.0)), "GB of 10^9 bytes");
    assert_eq!(
        (line.event.as_str(), line.slot, line.models.as_slice()),
        ("loaded", Some(3), &["llama".to_owned()][..])
    );
    let stamp = humantime::parse_rfc3339(&line.timestamp).unwrap();
    let apart = snapshot.time.duration_since(stamp).unwrap();
    assert!(line.timestamp.ends_with('Z') && apart < Duration::from_millis(1), "{}", line.timestamp);

    source.use_bytes(ByteSize::new(2_000_000_000));
    monitor.log_snapshot("", None, &[]);
    let stats = monitor.stats();
    assert_eq!(stats.mean_used_bytes, Some(ByteSize::new(3_000_000_000)));
    let peaks = (stats.peak_used_bytes, stats.peak_allocated_bytes, stats.peak_reserved_bytes);
    assert_eq!(peaks, (ByteSize::mb(4000), GB, ByteSize::mb(2000)));
}

#[test]
fn the_defaults_are_those_that_are_documented() {
    let config = MonitorConfig::default();
    assert_eq!((config.history, config.cleanup_threshold), (1000, Some(0.85)));
    assert!(!config.cleanup_at_soft_limit && config.limits.is_none());
    assert_eq!(config.generations.threshold, ByteSize::mb(100));
    let rungs: Vec<_> = config.ladder.rungs.iter().map(|rung| (rung.level, rung.enter)).collect();
    let expected =
        [(PressureLevel::Elevated, 0.60), (PressureLevel::High, 0.80), (PressureLevel::Critical, 0.90)];
    assert_eq!(rungs, expected);

    let monitor = VramMonitor::new(Scripted::new(GB));
    for number in 0..1005 {
        monitor.log_snapshot("", Some(number), &[]);
    }
    let history = monitor.history(5000);
    assert_eq!((history.len(), history[0].slot, history[999].slot), (1000, Some(5), Some(1004)));
    assert_eq!(format_bytes(9_633_792), "9.19 MiB");
    assert_eq!((format_bytes(1023), format_bytes(3 << 30)), ("1023 B".to_owned(), "3 GiB".to_owned()));
}

#[test]
fn a_level_is_none_before_a_reading_and_kept_for_its_dwell() {
    let source = Scripted::new(GB);
    let monitor = VramMonitor::new(source.clone());
    assert_eq!((monitor.level(), monitor.stats().level), (None, None));
    source.use_bytes(ByteSize::mb(820));
    assert_eq!(monitor.log_snapshot("", None, &[]).level, Some(PressureLevel::Elevated));
    source.use_bytes(ByteSize::ZERO);
    // Of what is reserved a half is allocated: the rest is headroom, so that 61 % count. The default ladder keeps a level for seconds.
    assert_eq!(monitor.log_snapshot("", None, &[]).level, Some(PressureLevel::Elevated));
    assert_eq!(
        (monitor.stats().level, monitor.level()),
        (Some(PressureLevel::Elevated), Some(PressureLevel::Elevated))
    );
}

#[test]
fn a_cleanup_comes_from_the_threshold_on_and_its_report_is_kept() {
    let source = Scripted::new(GB);
    let monitor = VramMonitor::new(source.clone());
    let told = events(&monitor);
    source.use_bytes(ByteSize::new(849_999_999));
    monitor.log_snapshot("", None, &[]);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(source.reclaims.load(Ordering::SeqCst), 0, "below .85");
    source.use_bytes(ByteSize::mb(850));
    source.reclaimable.store(400_000_000, Ordering::SeqCst);
    monitor.log_snapshot("", None, &[]);
    wait_until("a cleanup at .85", || monitor.stats().cleanups == 1);
    let report = monitor.stats().last_cleanup.unwrap();
    assert_eq!(report.reason, CleanupReason::Threshold);
    assert_eq!(report.allocated_bytes, [Some(ByteSize::new(212_500_000)), Some(ByteSize::new(112_500_000))]);
    assert_eq!(report.reserved_bytes, [Some(ByteSize::mb(425)), Some(ByteSize::mb(225))]);
    assert_eq!(
        (report.freed_allocated_bytes, report.freed_reserved_bytes),
        (ByteSize::mb(100), ByteSize::mb(200))
    );
    assert!(monitor.stats().seconds_since_cleanup.unwrap() < 20.0);
    wait_until("the event", || count(&told, |event| matches!(event, Event::CleanedUp { .. })) == 1);
}

fn limited(source: &Arc<Scripted>, change: impl FnOnce(&mut MonitorConfig)) -> VramMonitor {
    let limits = Some(Limits::new(ByteSize::mb(500), ByteSize::mb(900)).unwrap());
    let hold = Duration::from_millis(30);
    let mut config =
        MonitorConfig { limits, limit_hold: hold, cleanup_threshold: None, ..MonitorConfig::default() };
    change(&mut config);
    VramMonitor::with_config(source.clone(), config).unwrap()
}

#[test]
fn generations_are_counted_and_reset_forgets() {
    let source = Scripted::new(ByteSize::mb(10_000));
    let monitor = limited(&source, |_| {});
    assert_eq!((monitor.increment_generation_count(), monitor.increment_generation_count()), (1, 2));
    assert_eq!(monitor.stats().generations, 2);
    source.use_bytes(ByteSize::mb(600));
    monitor.check_limits("").unwrap();
    monitor.log_snapshot("", None, &[]);
    monitor.cleanup().unwrap();
    monitor.reset();
    let stats = monitor.stats();
    assert_eq!((stats.generations, stats.soft_violations, stats.cleanups, stats.failures), (0, 0, 0, 0));
    assert_eq!((stats.snapshots, stats.level, stats.mean_used_bytes), ([0; 4], None, None));
    let peaks = [stats.peak_used_bytes, stats.peak_allocated_bytes, stats.peak_reserved_bytes];
    assert_eq!((peaks, stats.last_cleanup), ([ByteSize::ZERO; 3], None));
    assert!(monitor.history(10).is_empty() && monitor.passed_limit().is_none());
    assert!(monitor.check_limits("").unwrap().is_some(), "limits stay");
}

#[test]
fn a_pools_snapshot_carries_models_and_pools() {
    let pool = Arc::new(
        DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(ByteSize::mib(64))), ByteSize::mib(64)).unwrap(),
    );
    let (weights, kv) = (pool.owner("llama", Purpose::Weights), pool.owner("llama", Purpose::Kv));
    let _a = pool.allocate(Request::new(ByteSize::mib(8)).owner(weights)).unwrap();
    let _b = pool.allocate(Request::new(ByteSize::mib(4)).owner(kv)).unwrap();
    let monitor = VramMonitor::new(pool.clone());
    let snapshot = monitor.log_snapshot("loaded", None, &["llama"]);
    assert_eq!(snapshot.model_bytes["llama"], ByteSize::mib(12));
    assert_eq!(snapshot.pools[0].stats.used_bytes, ByteSize::mib(12));
    assert_eq!(
        (snapshot.pools[0].owners.len(), snapshot.pools[0].ledger.len()),
        (2, 0),
        "without the ledger"
    );
    let stats = pool.stats();
    assert_eq!((stats.used_ratio(), stats.failures), (12.0 / 64.0, 0));
}

#[test]
fn clearing_a_device_gives_back_what_every_pool_and_cache_on_it_keeps() {
    let device = |id: &str| Arc::new(SimulatedDevice::builder(ByteSize::mib(256)).id(id).build());
    let (here, other) = (device("sim:a"), device("sim:b"));
    let pool = DeviceMemoryPool::new(here.clone(), ByteSize::mib(64)).unwrap();
    let cache = CachingPool::new(here.clone(), ByteSize::mib(64), CachingConfig::default()).unwrap();
    let elsewhere = DeviceMemoryPool::new(other, ByteSize::mib(64)).unwrap();
    let kept = cache.allocate(ByteSize::mib(6)).unwrap();
    drop(cache.allocate(ByteSize::mib(20)).unwrap());
    drop(pool.allocate(Request::new(ByteSize::mib(16))).unwrap());
    drop(elsewhere.allocate(Request::new(ByteSize::mib(8))).unwrap());
    let stats = cache.stats();
    assert_eq!((stats.used_bytes, stats.capacity_bytes), (ByteSize::mib(6), ByteSize::mib(64)));
    assert_eq!((stats.cached_bytes, stats.used_ratio()), (ByteSize::mib(20), 6.0 / 64.0));

    let monitor = VramMonitor::new(Arc::new(DeviceSource(here)));
    let usage = monitor.usage();
    assert_eq!(usage.allocated_bytes.value, Some(ByteSize::mib(6)), "what a cache keeps is nobody's");
    let report = monitor.cleanup().unwrap();
    assert_eq!(report.freed_reserved_bytes, ByteSize::mib(36));
    assert_eq!((pool.committed(), elsewhere.committed()), (ByteSize::ZERO, ByteSize::mib(8)));
    assert_eq!((cache.stats().cached_bytes, cache.pool().committed()), (ByteSize::ZERO, ByteSize::mib(6)));
    drop(kept);
}

#[test]
fn growth_is_told_by_snapshots_alone_and_shown() {
    // The clock is the monitor's own: what is told of a series is tested where times come in (`SeriesJudge`); here, that
    // nothing is known from a few looks.
    let source = Scripted::new(GB);
    let monitor = VramMonitor::new(source.clone());
    for step in 0..50 {
        source.use_bytes(ByteSize::mb(10 * step));
        monitor.log_snapshot("", None, &[]);
    }
    assert_eq!(
        (monitor.growing(), monitor.forecast().is_none(), monitor.suspected().len()),
        (None::<Finding>, true, 0)
    );
}
