//! The orchestrator itself: what it is made of, how it is set up, and what it says of itself. Binding, acting under pressure
//! and running are in files of their own.

use std::sync::Arc;

use super::binding::MemoryBinding;
use super::degrade::DegradeRequest;
use super::guard::RunGuard;
use super::load::{LoadFailure, Loader, WeightsLoad};
use super::notice::{Notifier, StaleNotice};
use super::shared::Shared;
use super::table::BoundModel;
use crate::device::Origin;
use crate::loader::{LoadOptions, WeightSource};
use crate::plan::{AllocationPlan, LifetimeError, MemoryPlanner, Model, Schedule};
use crate::pool::{DeviceMemoryPool, PoolError};
use crate::pressure::{LadderError, PolicyLadder, PressureHandler, PressureLevel, Standing};
use crate::sync::{Mutex, lock};
use crate::trace::{Event, Sample, TraceCollector};
use crate::units::ByteSize;

/// Binds plans to a pool, and acts when it fills. See the [module](super).
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use vramkit::device::SimulatedDevice;
/// use vramkit::orchestrator::{MemoryOrchestrator, Standing};
/// use vramkit::plan::{Model, Schedule, TensorLifetime};
/// use vramkit::pool::DeviceMemoryPool;
/// use vramkit::{ByteSize, Step};
///
/// let capacity = ByteSize::mib(64);
/// let pool = Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity)?);
/// let orchestrator = MemoryOrchestrator::new(pool);
/// let model = |name: &str| Model {
///     name: name.into(),
///     weights: ByteSize::mib(40),
///     start: Step(0),
///     tensors: vec![TensorLifetime::new(name, "x", 0, 2, ByteSize::mib(8))],
/// };
/// let plan_a = orchestrator.plan(&[model("a")], Schedule::Fixed)?;
/// let plan_b = orchestrator.plan(&[model("b")], Schedule::Fixed)?;
/// let a = orchestrator.bind("a", &plan_a)?;
/// orchestrator.set_standing("a", Standing { priority: -1, ..Standing::default() });
/// // There is no room for both: the idle one makes way.
/// let (b, _waited) = orchestrator.admit("b", &plan_b, Duration::ZERO)?;
/// assert!(a.stale().is_some() && b.stale().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MemoryOrchestrator {
    pub(super) pool: Arc<DeviceMemoryPool>,
    pub(super) planner: MemoryPlanner,
    pub(super) trace: Arc<TraceCollector>,
    pub(super) dry_run: bool,
    /// Whether the pool is a stand-in: everything happens there, and is recorded as not done.
    pub(super) rehearsal: bool,
    pub(super) shared: Arc<Shared>,
    pub(super) handler: Mutex<PressureHandler>,
    pub(super) notifier: Notifier,
}

impl MemoryOrchestrator {
    /// For a pool, with the [`orchestrator`](PolicyLadder::orchestrator) ladder.
    pub fn new(pool: Arc<DeviceMemoryPool>) -> Self {
        let handler = PressureHandler::new(PolicyLadder::orchestrator()).expect("the preset is sound");
        Self {
            pool,
            planner: MemoryPlanner::new(),
            trace: Arc::new(TraceCollector::new()),
            dry_run: false,
            rehearsal: false,
            shared: Arc::new(Shared::new()),
            handler: Mutex::new(handler),
            notifier: Notifier::default(),
        }
    }

    /// Acts by this ladder.
    pub fn with_ladder(mut self, ladder: PolicyLadder) -> Result<Self, LadderError> {
        self.handler = Mutex::new(PressureHandler::new(ladder)?);
        Ok(self)
    }

    /// Plans with this planner.
    pub fn with_planner(mut self, planner: MemoryPlanner) -> Self {
        self.planner = planner;
        self
    }

    /// Records into this collector.
    pub fn with_trace(mut self, trace: Arc<TraceCollector>) -> Self {
        self.trace = trace;
        self
    }

    /// Decides and records what policies would do, without doing it.
    pub fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Does everything on a pool that stands in for another one, and records it as not done.
    pub fn with_rehearsal(mut self, rehearsal: bool) -> Self {
        self.rehearsal = rehearsal;
        self
    }

    /// Records an event: as done, or in a rehearsal as not done.
    pub fn note(&self, event: Event) {
        self.trace.note(event, !self.rehearsal);
    }

    /// The pool that bindings take from.
    pub fn pool(&self) -> &Arc<DeviceMemoryPool> {
        &self.pool
    }

    /// Where decisions are recorded.
    pub fn trace(&self) -> &Arc<TraceCollector> {
        &self.trace
    }

    /// Plans models for a schedule. Takes no memory.
    pub fn plan(&self, models: &[Model], schedule: Schedule) -> Result<Arc<AllocationPlan>, LifetimeError> {
        let plan = Arc::new(self.planner.plan(models, schedule)?);
        // Also in a rehearsal: a plan takes nothing.
        self.trace.record(Event::PlanGenerated {
            schedule,
            models: plan.models.len(),
            tensors: plan.tensors.len(),
            arena_bytes: plan.arena_size,
            lower_bound_bytes: plan.proven_bound,
            proven_optimal: plan.proven_optimal,
            elapsed_seconds: plan.elapsed.as_secs_f64(),
        });
        Ok(plan)
    }

    /// How a model stands when victims are chosen. Kept until set again, bound or not.
    pub fn set_standing(&self, model: &str, standing: Standing) {
        lock(&self.shared.table).set_standing(model, standing);
    }

    /// Whom to ask when a model is to make do with less. The callback returns the model with smaller tensors, or
    /// `None` when it cannot; it runs without locks.
    pub fn on_degrade(
        &self,
        model: &str,
        callback: impl Fn(&DegradeRequest) -> Option<Model> + Send + Sync + 'static,
    ) {
        let before = lock(&self.shared.table).set_degrader(model, Arc::new(callback));
        drop(before);
    }

    /// Who brings a model's weights. It runs whenever the model has been given memory for them, before `bind` or `admit`
    /// returns, on the thread that binds and without locks; so an evicted model has its weights when it is bound again. When
    /// it fails or panics, the model is not bound ([`NotLoaded`](super::BindError::NotLoaded)). Not called for a model without weights.
    pub fn on_load(
        &self,
        model: &str,
        loader: impl Fn(&WeightsLoad<'_>) -> Result<(), LoadFailure> + Send + Sync + 'static,
    ) {
        let before = lock(&self.shared.table).set_loader(model, Loader::Function(Arc::new(loader)));
        drop(before);
    }

    /// As [`on_load`](Self::on_load), by copying the weights from a source: straight into the memory where this processor
    /// reaches it, or through a staging buffer; see [`loader`](crate::loader). Replaces the model's loader before.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use vramkit::device::SimulatedDevice;
    /// use vramkit::loader::{LoadOptions, ReadFailure, WeightSource, SourceTensor};
    /// use vramkit::orchestrator::MemoryOrchestrator;
    /// use vramkit::plan::{Model, Schedule, TensorLifetime};
    /// use vramkit::pool::DeviceMemoryPool;
    /// use vramkit::{ByteSize, Step};
    ///
    /// struct Sevens;
    ///
    /// impl WeightSource for Sevens {
    ///     fn tensors(&self) -> Vec<SourceTensor> {
    ///         vec![SourceTensor::new("w", ByteSize::new(1000))]
    ///     }
    ///
    ///     fn read(&self, _tensor: usize, _offset: u64, into: &mut [u8]) -> Result<(), ReadFailure> {
    ///         into.fill(7);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let capacity = ByteSize::mib(8);
    /// let pool = Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity)?);
    /// let orchestrator = MemoryOrchestrator::new(pool);
    /// let model = Model {
    ///     name: "m".into(),
    ///     weights: ByteSize::new(1000),
    ///     start: Step(0),
    ///     tensors: vec![TensorLifetime::new("m", "x", 0, 1, ByteSize::mib(1))],
    /// };
    /// let plan = orchestrator.plan(&[model], Schedule::Fixed)?;
    /// orchestrator.load_from("m", Arc::new(Sevens), LoadOptions::default());
    /// let mut last = [0];
    /// orchestrator.bind("m", &plan)?.read_weights(999, &mut last)?;
    /// assert_eq!(last, [7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn load_from(&self, model: &str, source: Arc<dyn WeightSource>, options: LoadOptions) {
        let before = lock(&self.shared.table).set_loader(model, Loader::Source(source, options));
        drop(before);
    }

    /// Whom to tell when a model's binding has ended: evicted, released, or moved by a policy. The callback runs on a
    /// thread of the orchestrator's own, without locks and in the order of what happened, so one that takes long holds up
    /// those after it; it may bind and release. One that panics is logged. Replaces the model's callback before.
    pub fn on_evict(&self, model: &str, callback: impl Fn(&StaleNotice) + Send + Sync + 'static) {
        self.notifier.listen(Some(model), Arc::new(callback));
    }

    /// As [`on_evict`](Self::on_evict), for every model; beside those of single models and others of this kind.
    pub fn on_every_evict(&self, callback: impl Fn(&StaleNotice) + Send + Sync + 'static) {
        self.notifier.listen(None, Arc::new(callback));
    }

    /// A bound model's memory; `None` when it is not bound.
    pub fn binding(&self, model: &str) -> Option<MemoryBinding> {
        let mut table = lock(&self.shared.table);
        loop {
            let bound = table.bound(model)?;
            if bound.ready {
                return Some(self.binding_of(bound));
            }
            // Its arena is being remade by a policy: that ends.
            table = self.shared.wait(table);
        }
    }

    /// Whether somebody brings the model's weights.
    pub(super) fn has_loader(&self, model: &str) -> bool {
        lock(&self.shared.table).has_loader(model)
    }

    pub(super) fn binding_of(&self, bound: BoundModel) -> MemoryBinding {
        let shared = Arc::downgrade(&self.shared);
        MemoryBinding { model: bound.model, plan: bound.plan, lease: bound.lease, shared }
    }

    /// The models that are bound, least recently used first.
    pub fn bound(&self) -> Vec<Arc<str>> {
        lock(&self.shared.table).by_last_use()
    }

    /// Marks a bound model as running until the guard is dropped: it counts as just used, and no policy touches
    /// it. `None` when it is not bound.
    pub fn begin(&self, model: &str) -> Option<RunGuard> {
        loop {
            // One that is evicted or moved in between is asked for again.
            let binding = self.binding(model)?;
            if let Some(running) = RunGuard::begin(self.shared.clone(), &binding) {
                return Some(running);
            }
        }
    }

    /// Reads the pool's pressure now.
    pub fn current_pressure(&self) -> PressureLevel {
        self.read_pressure()
    }

    /// How many readings were at each level, by [`PressureLevel::ALL`], and how often it changed.
    pub fn readings(&self) -> ([u64; 4], u64) {
        let handler = lock(&self.handler);
        (handler.gauge().readings(), handler.gauge().changes())
    }

    pub(super) fn read_pressure(&self) -> PressureLevel {
        let (now, used) = (self.trace.now(), self.pool.used());
        let used_ratio = used.ratio_of(self.pool.capacity());
        let mut handler = lock(&self.handler);
        let change = handler.read(used_ratio, now);
        let level = handler.gauge().level();
        drop(handler);
        if let Some(change) = change {
            self.note(Event::PressureChanged {
                from: change.from,
                to: change.to,
                used_bytes: used,
                used_ratio,
            });
            self.shared.wake();
        }
        level
    }

    /// Records memory as it is now, the system's view included.
    pub fn sample(&self) -> Sample {
        let resident = self.pool.resident();
        let sample = Sample {
            at: self.trace.now(),
            used: self.pool.used(),
            committed: if self.rehearsal { ByteSize::ZERO } else { self.pool.committed() },
            // What a simulation says of itself is not what a system says.
            system: resident.value.filter(|_| resident.source != Origin::Simulation),
            level: lock(&self.handler).gauge().level(),
        };
        self.trace.sample(sample);
        sample
    }

    /// Gives free granules back to the device.
    pub fn trim(&self) -> Result<ByteSize, PoolError> {
        let report = self.pool.trim()?;
        self.note(Event::Trimmed { freed_bytes: report.freed_bytes, committed_bytes: self.pool.committed() });
        Ok(report.freed_bytes)
    }
}
