//! A monitor of one source: checks limits, keeps snapshots, cleans up, counts generations, knows which models should need
//! how much.
//!
//! ```text
//! check_limits ──► counters of the source ──► within │ soft: warning, cleanup on another thread
//!                  (or one reading of it)            │ hard: cleanup, look again, error
//! log_snapshot ──► one reading ──► level, history ──► cleanup from a threshold on
//! ```
//!
//! Counters are atomics; one lock guards history, levels and baselines, and none is held while the source is read or a
//! callback runs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use super::cleanup::{Cleaner, CleanupReason, CleanupReport};
use super::config::MonitorConfig;
use super::models::{AdmissionError, AnnouncedModels, ModelUse};
use super::snapshot::{Snapshot, Usage};
use super::source::MemorySource;
use super::stats::MonitorStats;
use crate::device::{Origin, Reading};
use crate::pressure::leak::{GenerationBaseline, MemoryLeakWarning};
use crate::pressure::{
    LadderError, LevelChange, Limits, MemoryPressureError, MemoryPressureWarning, Passed, PressureGauge,
};
use crate::sync::lock_std;
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
    shared: Arc<Shared>,
}

struct Shared {
    source: Arc<dyn MemorySource>,
    config: MonitorConfig,
    cleaner: Arc<Cleaner>,
    started: Instant,
    soft_violations: AtomicU64,
    hard_violations: AtomicU64,
    generations: AtomicU64,
    failures: AtomicU64,
    peak_used: AtomicU64,
    state: Mutex<State>,
}

struct State {
    gauge: PressureGauge,
    history: VecDeque<Snapshot>,
    baseline: GenerationBaseline,
    models: AnnouncedModels,
}

impl VramMonitor {
    /// Watches a source as the defaults say.
    pub fn new(source: Arc<dyn MemorySource>) -> Self {
        Self::build(source, MonitorConfig::default())
    }

    /// Watches a source; an error when the ladder makes no sense.
    pub fn with_config(source: Arc<dyn MemorySource>, config: MonitorConfig) -> Result<Self, LadderError> {
        config.ladder.check()?;
        Ok(Self::build(source, config))
    }

    fn build(source: Arc<dyn MemorySource>, config: MonitorConfig) -> Self {
        let state = State {
            gauge: PressureGauge::new(),
            history: VecDeque::new(),
            baseline: GenerationBaseline::default(),
            models: AnnouncedModels::default(),
        };
        let shared = Shared {
            cleaner: Arc::new(Cleaner::new(source.clone(), config.cleanup_cooldown)),
            source,
            config,
            started: Instant::now(),
            soft_violations: AtomicU64::new(0),
            hard_violations: AtomicU64::new(0),
            generations: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            peak_used: AtomicU64::new(0),
            state: Mutex::new(state),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether the source holds more than it may: within the limits, a warning past the soft one, an error past the hard
    /// one that a cleanup does not cure. Without limits, never. `context` says what the program is at.
    #[inline]
    pub fn check_limits(&self, context: &str) -> Result<Option<MemoryPressureWarning>, MemoryPressureError> {
        self.preflight(ByteSize::ZERO, context)
    }

    /// As [`check_limits`](Self::check_limits), for when `bytes` more are about to be asked for.
    #[inline]
    pub fn preflight(
        &self,
        bytes: ByteSize,
        context: &str,
    ) -> Result<Option<MemoryPressureWarning>, MemoryPressureError> {
        let Some(limits) = self.shared.config.limits else { return Ok(None) };
        let held = self.held()?;
        if held.bytes().saturating_add(bytes.bytes()) <= limits.soft().bytes() {
            return Ok(None);
        }
        self.over(limits, held, bytes, context)
    }

    fn held(&self) -> Result<ByteSize, MemoryPressureError> {
        if let Some(held) = self.shared.source.held() {
            return Ok(held);
        }
        let used = self.shared.source.read().used_bytes;
        used.value.ok_or_else(|| {
            self.shared.failures.fetch_add(1, Relaxed);
            MemoryPressureError::Unavailable {
                device: self.shared.source.device().id,
                reason: used.unavailable.unwrap_or_default(),
            }
        })
    }

    #[cold]
    fn over(
        &self,
        limits: Limits,
        held: ByteSize,
        bytes: ByteSize,
        context: &str,
    ) -> Result<Option<MemoryPressureWarning>, MemoryPressureError> {
        let passed = |limit: ByteSize, held: ByteSize| {
            let excess = held.bytes().saturating_add(bytes.bytes()).saturating_sub(limit.bytes());
            (excess > 0).then(|| Passed {
                context: context.to_owned(),
                current_bytes: held,
                requested_bytes: bytes,
                limit_bytes: limit,
                excess_bytes: ByteSize::new(excess),
            })
        };
        let mut held = held;
        if passed(limits.hard(), held).is_some() {
            self.shared.cleaner.run(CleanupReason::HardLimit);
            held = self.held()?;
            if let Some(passed) = passed(limits.hard(), held) {
                self.shared.hard_violations.fetch_add(1, Relaxed);
                tracing::error!(%passed, "hard limit");
                return Err(MemoryPressureError::Passed(passed));
            }
        }
        let Some(passed) = passed(limits.soft(), held) else { return Ok(None) };
        self.shared.soft_violations.fetch_add(1, Relaxed);
        tracing::warn!(%passed, "soft limit");
        if self.shared.config.cleanup_at_soft_limit {
            self.shared.cleaner.run_elsewhere(CleanupReason::SoftLimit);
        }
        Ok(Some(MemoryPressureWarning(passed)))
    }

    /// Reads the source once. Nothing is kept, counted or cleaned up.
    pub fn usage(&self) -> Usage {
        self.shared.source.read()
    }

    /// Reads the source once and keeps what it says. Cleans up, on a thread of its own, when the source is fuller than the
    /// threshold.
    pub fn log_snapshot(&self, event: &str, slot: Option<u64>, models: &[&str]) -> Snapshot {
        let usage = self.shared.source.read();
        let mut snapshot = Snapshot {
            time: SystemTime::now(),
            device: self.shared.source.device(),
            event: event.to_owned(),
            slot,
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            processes: Reading::unavailable(Origin::Pool, "not asked for"),
            pools: Vec::new(),
            level: None,
            usage,
        };
        let ratio = snapshot.usage.used_ratio();
        match snapshot.usage.used_bytes.value {
            Some(used) => drop(self.shared.peak_used.fetch_max(used.bytes(), Relaxed)),
            None => drop(self.shared.failures.fetch_add(1, Relaxed)),
        }
        let change = self.keep(&mut snapshot, ratio);
        if let Some(change) = change {
            tracing::info!(from = %change.from, to = %change.to, device = snapshot.device.id, "level of memory");
        }
        if self.shared.config.cleanup_threshold.zip(ratio).is_some_and(|(from, ratio)| ratio >= from) {
            self.shared.cleaner.run_elsewhere(CleanupReason::Threshold);
        }
        snapshot
    }

    fn keep(&self, snapshot: &mut Snapshot, ratio: Option<f64>) -> Option<LevelChange> {
        let mut state = lock_std(&self.shared.state);
        let now = self.shared.started.elapsed();
        let change = ratio.and_then(|ratio| state.gauge.read(&self.shared.config.ladder, ratio, now));
        snapshot.level = ratio.map(|_| state.gauge.level());
        while state.history.len() >= self.shared.config.history.max(1) {
            state.history.pop_front();
        }
        state.history.push_back(snapshot.clone());
        change
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
        if let Some(warning) = &warning {
            tracing::warn!(%warning, "generations leave memory behind");
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
        MonitorStats {
            soft_violations: shared.soft_violations.load(Relaxed),
            hard_violations: shared.hard_violations.load(Relaxed),
            cleanups: past.cleanups,
            unhelpful_cleanups: past.unhelpful,
            last_cleanup: past.last.map(|(_, report)| report),
            generations: shared.generations.load(Relaxed),
            failures: shared.failures.load(Relaxed),
            snapshots: state.gauge.readings(),
            level_changes: state.gauge.changes(),
            level: state.gauge.level(),
            peak_used_bytes: ByteSize::new(shared.peak_used.load(Relaxed)),
            mean_used_bytes: (!used.is_empty()).then(|| ByteSize::new(mean as u64)),
            seconds_since_cleanup: past.last.map(|(at, _)| at.elapsed().as_secs_f64()),
        }
    }

    /// Forgets counts, history and baselines; limits, callbacks and models stay.
    pub fn reset(&self) {
        let shared = &self.shared;
        let counts = [
            &shared.soft_violations,
            &shared.hard_violations,
            &shared.generations,
            &shared.failures,
            &shared.peak_used,
        ];
        counts.into_iter().for_each(|count| count.store(0, Relaxed));
        let mut state = lock_std(&shared.state);
        state.gauge = PressureGauge::new();
        state.history.clear();
        state.baseline = GenerationBaseline::default();
        drop(state);
        shared.cleaner.reset();
    }
}
