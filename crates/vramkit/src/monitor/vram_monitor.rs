//! A monitor of one source: checks limits, keeps snapshots, cleans up, counts generations, knows which models should need
//! how much.
//!
//! ```text
//! log_snapshot ──► one reading ──┬──► history ──► cleanup from a threshold on
//! (or a sample of its own)       └──► level, growth, forecast, owners' leaks ──► events
//! ```
//!
//! Counters are atomics; one lock guards history, levels and baselines, and none is held while the source is read or a
//! callback runs. Checks of limits are in `check`, looking by itself in `sampling`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime};

use super::cleanup::Cleaner;
use super::config::{MonitorConfig, MonitorConfigError};
use super::crossing::Crossings;
use super::judged::Judged;
use super::models::{AdmissionError, AnnouncedModels, ModelUse};
use super::snapshot::{Snapshot, Usage};
use super::source::{MemorySource, held_by_models};
use super::stats::{CleanupReport, MonitorStats};
use super::teller::Teller;
use crate::pressure::leak::{GenerationBaseline, MemoryLeakWarning, TagLeak};
use crate::pressure::{CleanupReason, Finding, Forecast, PressureGauge, PressureLevel};
use crate::sync::lock_std;
use crate::trace::{Event, TraceCollector};
use crate::units::ByteSize;

/// Watches one source: checks limits, keeps snapshots, cleans up, counts generations, and knows which models should need how
/// much. Cheap to clone; clones are the same monitor. See the [module](super) for an example.
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit::{ByteSize, device::SimulatedDevice};
/// use vramkit::monitor::{DeviceSource, VramMonitor};
///
/// let card = Arc::new(SimulatedDevice::new(ByteSize::gib(24)));
/// let monitor = VramMonitor::new(Arc::new(DeviceSource(card)));
/// assert_eq!(monitor.can_allocate(ByteSize::gib(30), 0.10), Some(false));
/// assert!(monitor.register_model("llama", ByteSize::gib(16)).is_ok());
/// ```
#[derive(Clone)]
pub struct VramMonitor {
    pub(super) shared: Arc<Shared>,
}

/// A monitor that is not kept alive.
#[derive(Clone, Debug, Default)]
pub(super) struct WeakMonitor(Weak<Shared>);

impl WeakMonitor {
    #[cfg(unix)]
    pub(super) fn upgrade(&self) -> Option<VramMonitor> {
        self.0.upgrade().map(|shared| VramMonitor { shared })
    }
}

pub(super) struct Shared {
    pub(super) source: Arc<dyn MemorySource>,
    pub(super) config: MonitorConfig,
    pub(super) cleaner: Arc<Cleaner>,
    pub(super) teller: Arc<Teller>,
    pub(super) started: Instant,
    pub(super) crossings: Mutex<Crossings>,
    /// Whether a limit counts as passed, for those that are within.
    pub(super) any_passed: AtomicBool,
    /// Whether the last look of its own found the hard limit passed, and began a cleanup.
    pub(super) cleans_up: AtomicBool,
    pub(super) soft_violations: AtomicU64,
    pub(super) hard_violations: AtomicU64,
    generations: AtomicU64,
    pub(super) failures: AtomicU64,
    peaks: Peaks,
    state: Mutex<State>,
}

/// Most seen in any snapshot, in bytes.
#[derive(Default)]
struct Peaks {
    used: AtomicU64,
    allocated: AtomicU64,
    reserved: AtomicU64,
}

impl Peaks {
    fn note(&self, usage: &Usage) {
        let seen = [
            (&self.used, &usage.used_bytes),
            (&self.allocated, &usage.allocated_bytes),
            (&self.reserved, &usage.reserved_bytes),
        ];
        for (peak, seen) in seen {
            peak.fetch_max(seen.value.unwrap_or_default().bytes(), Relaxed);
        }
    }
}

#[derive(Default)]
struct State {
    judged: Judged,
    history: VecDeque<Snapshot>,
    baseline: GenerationBaseline,
    models: AnnouncedModels,
}

impl VramMonitor {
    /// Watches a source as the defaults say.
    pub fn new(source: Arc<dyn MemorySource>) -> Self {
        Self::build(source, MonitorConfig::default())
    }

    /// Watches a source.
    ///
    /// # Errors
    /// The ladder or the threshold of the cleanup makes no sense.
    pub fn with_config(
        source: Arc<dyn MemorySource>,
        config: MonitorConfig,
    ) -> Result<Self, MonitorConfigError> {
        config.check()?;
        Ok(Self::build(source, config))
    }

    fn build(source: Arc<dyn MemorySource>, config: MonitorConfig) -> Self {
        let teller = Arc::new(Teller::new(source.device().id));
        let shared = Shared {
            cleaner: Arc::new(Cleaner::new(source.clone(), teller.clone(), config.cleanup_cooldown)),
            source,
            config,
            teller,
            started: Instant::now(),
            crossings: Mutex::default(),
            any_passed: AtomicBool::new(false),
            cleans_up: AtomicBool::new(false),
            soft_violations: AtomicU64::new(0),
            hard_violations: AtomicU64::new(0),
            generations: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            peaks: Peaks::default(),
            state: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    #[cfg(unix)]
    pub(super) fn downgrade(&self) -> WeakMonitor {
        WeakMonitor(Arc::downgrade(&self.shared))
    }

    /// Calls a function with everything that is found (limits passed and recovered from, cleanups, levels, growth, leaks, when it
    /// will be full), on a thread of its own, one after the other.
    pub fn on_event(&self, callback: impl Fn(&Event) + Send + Sync + 'static) {
        self.shared.teller.register(Arc::new(callback));
    }

    /// Records everything that is found into a trace too, such as an orchestrator's.
    pub fn record_into(&self, trace: &Arc<TraceCollector>) {
        self.shared.teller.record_into(trace.clone());
    }

    /// Reads the source once. Nothing is kept, counted or cleaned up.
    pub fn usage(&self) -> Usage {
        self.shared.source.read()
    }

    /// Reads the source once, logs what it says and keeps it. Cleans up, on a thread of its own, when the source is as full as the
    /// threshold or fuller.
    pub fn log_snapshot(&self, event: &str, slot: Option<u64>, models: &[&str]) -> Snapshot {
        let snapshot = self.take(event, slot, models);
        let usage = &snapshot.usage;
        tracing::info!(
            target: "vramkit::monitor",
            event,
            slot,
            device = snapshot.device.id,
            used = %usage.used_bytes,
            allocated = %usage.allocated_bytes,
            reserved = %usage.reserved_bytes,
            ?models,
            "snapshot"
        );
        snapshot
    }

    /// A look of its own: a snapshot without an event, limits, and whether owners leak.
    pub(super) fn sample(&self) {
        let now = self.shared.started.elapsed();
        self.take("", None, &[]);
        self.sample_limits();
        let is_due = lock_std(&self.shared.state).judged.owners_are_due(now);
        if is_due {
            let pools = self.shared.source.pools(true);
            let mut state = lock_std(&self.shared.state);
            let events = state.judged.owners(now, &pools);
            events.into_iter().for_each(|event| self.shared.teller.note(event));
            drop(state);
            self.shared.teller.tell_noted();
        }
    }

    /// How much there is left, and the fastest filling of late in bytes a second.
    pub(super) fn filling(&self) -> (Option<ByteSize>, f64) {
        let state = lock_std(&self.shared.state);
        let headroom = state.history.back().and_then(|snapshot| {
            let usage = &snapshot.usage;
            Some(usage.total_bytes.value?.saturating_sub(usage.used_bytes.value?))
        });
        (headroom, state.judged.device().series().fastest_bytes_per_second())
    }

    /// Reads the source once, with nothing kept, counted or cleaned up. Its level is that of a first reading: what was before
    /// has no part in it.
    pub fn look(&self) -> Snapshot {
        let mut snapshot = self.reading("", None, &[]);
        let ratio = snapshot.usage.used_ratio();
        snapshot.level = ratio.map(|ratio| {
            let mut gauge = PressureGauge::new();
            gauge.read(&self.shared.config.ladder, ratio, Duration::ZERO);
            gauge.level()
        });
        snapshot
    }

    /// A snapshot without a level.
    fn reading(&self, event: &str, slot: Option<u64>, models: &[&str]) -> Snapshot {
        let source = &self.shared.source;
        let pools = source.pools(false);
        // Who says pools has said what models hold of them.
        let model_bytes = if pools.is_empty() { self.measured() } else { held_by_models(&pools) };
        Snapshot {
            time: SystemTime::now(),
            device: source.device(),
            event: event.to_owned(),
            slot,
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            model_bytes,
            processes: source.processes(),
            pools,
            level: None,
            usage: source.read(),
        }
    }

    fn take(&self, event: &str, slot: Option<u64>, models: &[&str]) -> Snapshot {
        let mut snapshot = self.reading(event, slot, models);
        if snapshot.usage.used_bytes.value.is_none() {
            self.shared.failures.fetch_add(1, Relaxed);
        }
        self.shared.peaks.note(&snapshot.usage);
        self.keep(&mut snapshot);
        self.shared.teller.tell_noted();
        let ratio = snapshot.usage.used_ratio();
        if self.shared.config.cleanup_threshold.zip(ratio).is_some_and(|(from, ratio)| ratio >= from) {
            self.shared.cleaner.run_elsewhere(CleanupReason::Threshold);
        }
        snapshot
    }

    /// Judges a snapshot, notes what is found, and keeps it.
    fn keep(&self, snapshot: &mut Snapshot) {
        let config = &self.shared.config;
        let mut state = lock_std(&self.shared.state);
        // Under the lock, so that times do not go back.
        let now: Duration = self.shared.started.elapsed();
        let events = state.judged.reading(now, &config.ladder, snapshot);
        events.into_iter().for_each(|event| self.shared.teller.note(event));
        snapshot.level = snapshot.usage.used_ratio().and(state.judged.level());
        while state.history.len() >= config.history.max(1) {
            state.history.pop_front();
        }
        state.history.push_back(snapshot.bounded());
    }

    /// Calls a function that may free memory at every cleanup, without any lock of the monitor.
    pub fn register_cleanup_callback(&self, callback: impl Fn(CleanupReason) + Send + Sync + 'static) {
        self.shared.cleaner.register(Arc::new(callback));
    }

    /// Frees what can be freed: the callbacks, then the source itself. `None` while another cleanup is under way, as when a callback
    /// asks for one.
    pub fn cleanup(&self) -> Option<CleanupReport> {
        self.shared.cleaner.run(CleanupReason::Asked)
    }

    /// Announces a model before it is started: an error when the limit, the other models that were announced, or what is
    /// free does not leave enough. Announced again, it replaces itself.
    pub fn register_model(&self, model: &str, expected: ByteSize) -> Result<(), AdmissionError> {
        let (usage, measured) = (self.shared.source.read(), self.measured());
        let limits = self.shared.config.limits;
        lock_std(&self.shared.state).models.admit(model, expected, &usage, limits, &measured)
    }

    /// Forgets a model; whether it was known.
    pub fn forget_model(&self, model: &str) -> bool {
        lock_std(&self.shared.state).models.forget(model)
    }

    /// What models were said to need against what they hold.
    pub fn models(&self) -> Vec<ModelUse> {
        let measured = self.measured();
        lock_std(&self.shared.state).models.compare(&measured)
    }

    fn measured(&self) -> BTreeMap<String, ByteSize> {
        self.shared.source.models().into_iter().collect()
    }

    /// A generation of work has ended: its number.
    pub fn increment_generation_count(&self) -> u64 {
        self.shared.generations.fetch_add(1, Relaxed) + 1
    }

    /// Whether memory has grown over generations past the threshold, said once; see
    /// [`GenerationConfig`](crate::pressure::leak::GenerationConfig).
    pub fn detect_memory_leak(&self) -> Option<MemoryLeakWarning> {
        let held = self.held().ok()?;
        let generation = self.shared.generations.load(Relaxed);
        let config = &self.shared.config.generations;
        let warning = lock_std(&self.shared.state).baseline.check(config, generation, held);
        if let Some(warning) = warning {
            self.shared.teller.tell(Event::GenerationsGrew { warning });
        }
        warning
    }

    /// What is held now is as it should be: growth counts from here.
    pub fn rebase(&self) {
        if let Ok(held) = self.held() {
            lock_std(&self.shared.state).baseline.rebase(self.shared.generations.load(Relaxed), held);
        }
    }

    /// Whether `bytes` could be had with `margin` of them (0.10 for a tenth) to spare; `None` when that is not known. Of a pool they must
    /// be there in one piece, as its classes round them.
    pub fn can_allocate(&self, bytes: ByteSize, margin: f64) -> Option<bool> {
        let needed = bytes.bytes() as f64 * (1.0 + margin.max(0.0));
        let free = self.shared.source.read().free_bytes.value?;
        Some(free.bytes() as f64 >= needed && self.shared.source.would_grant(bytes).unwrap_or(true))
    }

    /// Whether less than `threshold` of the memory (0..1) is free; `None` when that is not known.
    pub fn is_low(&self, threshold: f64) -> Option<bool> {
        let usage = self.shared.source.read();
        Some(usage.free_bytes.value?.ratio_of(usage.total_bytes.value?) < threshold)
    }

    /// The last `n` snapshots, oldest first.
    pub fn history(&self, n: usize) -> Vec<Snapshot> {
        let state = lock_std(&self.shared.state);
        state.history.iter().skip(state.history.len().saturating_sub(n)).cloned().collect()
    }

    /// All counts.
    pub fn stats(&self) -> MonitorStats {
        let shared = &self.shared;
        let past = shared.cleaner.past();
        let state = lock_std(&shared.state);
        let used: Vec<u64> = state
            .history
            .iter()
            .filter_map(|snapshot| Some(snapshot.usage.used_bytes.value?.bytes()))
            .collect();
        let mean = used.iter().map(|&bytes| u128::from(bytes)).sum::<u128>() / used.len().max(1) as u128;
        let size = |count: &AtomicU64| ByteSize::new(count.load(Relaxed));
        MonitorStats {
            soft_violations: shared.soft_violations.load(Relaxed),
            hard_violations: shared.hard_violations.load(Relaxed),
            cleanups: past.cleanups,
            unhelpful_cleanups: past.unhelpful,
            last_cleanup: past.last.map(|(_, report)| report),
            generations: shared.generations.load(Relaxed),
            failures: shared.failures.load(Relaxed),
            snapshots: state.judged.device().gauge().readings(),
            level_changes: state.judged.device().gauge().changes(),
            level: state.judged.level(),
            peak_used_bytes: size(&shared.peaks.used),
            peak_allocated_bytes: size(&shared.peaks.allocated),
            peak_reserved_bytes: size(&shared.peaks.reserved),
            mean_used_bytes: (!used.is_empty()).then(|| ByteSize::new(mean as u64)),
            seconds_since_cleanup: past.last.map(|(at, _)| at.elapsed().as_secs_f64()),
        }
    }

    /// The level of the last snapshot that had one; `None` before it.
    pub fn level(&self) -> Option<PressureLevel> {
        lock_std(&self.shared.state).judged.level()
    }

    /// Growth of the used bytes that has been told and not taken back.
    pub fn growing(&self) -> Option<Finding> {
        lock_std(&self.shared.state).judged.device().series().growing().copied()
    }

    /// When it will be full, as of the last snapshot; `None` where that cannot be said.
    pub fn forecast(&self) -> Option<Forecast> {
        lock_std(&self.shared.state).judged.device().series().forecast()
    }

    /// Tags that are suspected to leak, as far as [`start`](Self::start) has looked.
    pub fn suspected(&self) -> Vec<TagLeak> {
        lock_std(&self.shared.state).judged.suspected()
    }

    /// Forgets counts, history and baselines; limits, callbacks and models stay.
    pub fn reset(&self) {
        let shared = &self.shared;
        let counts = [
            &shared.soft_violations,
            &shared.hard_violations,
            &shared.generations,
            &shared.failures,
            &shared.peaks.used,
            &shared.peaks.allocated,
            &shared.peaks.reserved,
        ];
        counts.into_iter().for_each(|count| count.store(0, Relaxed));
        let mut state = lock_std(&shared.state);
        let models = std::mem::take(&mut state.models);
        *state = State { models, ..State::default() };
        drop(state);
        *lock_std(&shared.crossings) = Crossings::default();
        shared.any_passed.store(false, Relaxed);
        shared.cleaner.reset();
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::device::{Device as _, Origin, Reading, SimulatedDevice};
    use crate::pool::{DeviceMemoryPool, Request};

    /// What is judged over minutes is the judges' to test; here that a monitor shows what they have found.
    #[test]
    fn what_was_found_is_shown() {
        let capacity = ByteSize::gib(16);
        let pool =
            Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap());
        let held = pool.allocate(Request::new(ByteSize::gib(6))).unwrap();
        let monitor = VramMonitor::new(pool.clone());
        assert_eq!((monitor.growing(), monitor.filling()), (None, (None, 0.0)));
        monitor.log_snapshot("", None, &[]);
        assert_eq!(monitor.filling().0, Some(ByteSize::gib(10)), "what is left");
        let (mut snapshot, ladder) = (monitor.look(), &monitor.shared.config.ladder);
        for minute in 1..240_u64 {
            snapshot.usage.used_bytes = Reading::known(ByteSize::mib(2000 + 25 * minute), Origin::Pool);
            let mut state = lock_std(&monitor.shared.state);
            state.judged.reading(Duration::from_secs(60 * minute), ladder, &snapshot);
        }
        assert!(monitor.growing().is_some());
        let rate = 25.0 * f64::from(1 << 20) / 60.0;
        assert!((0.5 * rate..2.0 * rate).contains(&monitor.filling().1), "{:?}", monitor.filling());
        let mut seen = super::super::pool_use::PoolUse::of("main", &pool);
        assert!(monitor.suspected().is_empty());
        for second in (10..3000_u64).step_by(10) {
            // A block a second that stays, where ten others lived for three.
            let entry = &mut seen.ledger[0];
            entry.by_age_bytes = Default::default();
            (1..=second).for_each(|age| entry.by_age_bytes[age.ilog2() as usize + 1] += ByteSize::mib(1));
            (entry.granted_bytes, entry.allocations) = (ByteSize::mib(second), second);
            entry.released_by_age_bytes[2] = ByteSize::mib(second * 10);
            let mut state = lock_std(&monitor.shared.state);
            state.judged.owners(Duration::from_secs(second), std::slice::from_ref(&seen));
        }
        assert_eq!(monitor.suspected().len(), 1);
        drop(held);
    }

    struct Bare;

    impl MemorySource for Bare {
        fn device(&self) -> super::super::DeviceName {
            SimulatedDevice::new(ByteSize::mib(1)).info().into()
        }

        fn read(&self) -> Usage {
            Usage::unavailable(Origin::Driver, "not asked")
        }
    }

    #[test]
    fn a_pool_says_what_limits_are_judged_by_and_a_bare_source_knows_little() {
        let capacity = ByteSize::mib(64);
        let pool = DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap();
        let _held = pool.allocate(Request::new(ByteSize::mib(3))).unwrap();
        assert_eq!(MemorySource::held(&pool), Some(ByteSize::mib(3)));
        assert_eq!((Bare.held(), MemorySource::would_grant(&Bare, ByteSize::mib(1))), (None, None));
        assert!(Bare.pools(true).is_empty());
    }
}
