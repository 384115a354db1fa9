//! Binds plans to a pool, and acts when it fills.
//!
//! ```text
//! models ──► plan ──► bind ──► run (gate, verify) ──► release
//!                      │ ▲
//!             pressure │ │ evict, compact, degrade, reject, log
//!                      ▼ │
//!                     ladder            every decision ──► trace
//! ```
//!
//! Admission is exact and comes first: a binding's bytes are known before anything is taken. Plans that several
//! models share are bound as one arena, which stays until its last model is released. One lock guards the book
//! of bindings; the pool, the device and callbacks are never called under it.
//!
//! A binding is a description that knows when it has ended: reads and writes through a stale one are errors, and whoever
//! asked to be told ([`on_evict`](MemoryOrchestrator::on_evict)) is. What a model needs to come back is its
//! [loader](MemoryOrchestrator::on_load).

mod access;
mod act;
mod bind;
mod binding;
mod book;
mod execute;
mod gate;
mod guard;
mod held;
mod load;
mod notice;
mod stale;

use std::sync::Arc;

pub use crate::pressure::{PolicyLadder, PressureHandler, PressurePolicy, Turn};
pub use access::AccessError;
pub use act::{Action, DegradeRequest, PolicyOutcome};
pub use binding::{BindError, MemoryBinding};
pub use book::Standing;
pub use execute::{ExecutionError, ExecutionReport, Verify, Violation, execute, execute_or_rehearse};
pub use gate::{Aborted, ExecutionGate};
pub use guard::RunGuard;
pub use load::{LoadFailure, WeightsLoad};
pub use notice::StaleNotice;
pub use stale::{StaleBinding, StaleReason};

use crate::device::Origin;
use crate::plan::{AllocationPlan, LifetimeError, MemoryPlanner, Model, Schedule};
use crate::pool::{DeviceMemoryPool, PoolError};
use crate::pressure::{LadderError, PressureLevel};
use crate::sync::{AtomicU32, Condvar, Mutex, MutexGuard, Ordering, lock, wait};
use crate::trace::{Event, Sample, TraceCollector};
use crate::units::ByteSize;
use book::{BindingTable, BoundModel};
use notice::Notifier;

type Degrader = Arc<dyn Fn(&DegradeRequest) -> Option<Model> + Send + Sync>;

/// See the [module](self).
pub struct MemoryOrchestrator {
    pool: Arc<DeviceMemoryPool>,
    planner: MemoryPlanner,
    trace: Arc<TraceCollector>,
    dry_run: bool,
    /// Whether the pool is a stand-in: everything happens there, and is recorded as not done.
    rehearsal: bool,
    shared: Arc<Shared>,
    handler: Mutex<PressureHandler>,
    notifier: Notifier,
}

/// What bindings and runs keep of an orchestrator.
struct Shared {
    book: Mutex<BindingTable>,
    /// Notified whenever memory or a binding's state changes, if anybody waits for that.
    changed: Condvar,
    /// How many do.
    waiting: AtomicU32,
}

/// Somebody who waits, or may be about to.
struct Waiting<'a>(&'a Shared);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    /// Until the guard goes, every change is noted. What changed before is there to be seen.
    fn waiting(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }

    fn wait<'a>(&self, book: MutexGuard<'a, BindingTable>) -> MutexGuard<'a, BindingTable> {
        let _waiting = self.waiting();
        wait(&self.changed, book)
    }

    /// Says that something has changed. Called after memory has gone back, so that whoever is woken finds it.
    fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            lock(&self.book).note_change();
            self.changed.notify_all();
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// What a release gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// What the binding gave back to the pool; 0 for a model that was not bound, and for one whose arena others
    /// still share.
    pub freed: ByteSize,
    /// What it will give back when the runs that use it have ended.
    pub deferred: ByteSize,
    /// Whether the model was bound.
    pub was_bound: bool,
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
            shared: Arc::new(Shared {
                book: Mutex::new(BindingTable::default()),
                changed: Condvar::new(),
                waiting: AtomicU32::new(0),
            }),
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

    /// Does everything on a pool that stands in for another one, and records it as not done ([`execute_or_rehearse`]).
    pub fn with_rehearsal(mut self, rehearsal: bool) -> Self {
        self.rehearsal = rehearsal;
        self
    }

    fn note(&self, event: Event) {
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
            lower_bound_bytes: plan.lower_bound,
            proven_optimal: plan.proven_optimal,
            elapsed_seconds: plan.elapsed.as_secs_f64(),
        });
        Ok(plan)
    }

    /// How a model stands when victims are chosen. Kept until set again, bound or not.
    pub fn set_standing(&self, model: &str, standing: Standing) {
        lock(&self.shared.book).set_standing(model, standing);
    }

    /// Whom to ask when a model is to make do with less. The callback returns the model with smaller tensors, or
    /// `None` when it cannot; it runs without locks.
    pub fn on_degrade(
        &self,
        model: &str,
        callback: impl Fn(&DegradeRequest) -> Option<Model> + Send + Sync + 'static,
    ) {
        let before = lock(&self.shared.book).set_degrader(model, Arc::new(callback));
        drop(before);
    }

    /// Who brings a model's weights. It runs whenever the model has been given memory for them, before `bind` or `admit`
    /// returns, on the thread that binds and without locks; so an evicted model has its weights when it is bound again. When
    /// it fails or panics, the model is not bound ([`BindError::NotLoaded`]). Not called for a model without weights.
    pub fn on_load(
        &self,
        model: &str,
        loader: impl Fn(&WeightsLoad<'_>) -> Result<(), LoadFailure> + Send + Sync + 'static,
    ) {
        let before = lock(&self.shared.book).set_loader(model, Arc::new(loader));
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
        let mut book = lock(&self.shared.book);
        loop {
            let seat = book.seat(model)?;
            if seat.ready {
                return Some(self.binding_of(seat));
            }
            // Its arena is being remade by a policy: that ends.
            book = self.shared.wait(book);
        }
    }

    fn binding_of(&self, seat: BoundModel) -> MemoryBinding {
        let shared = Arc::downgrade(&self.shared);
        MemoryBinding { model: seat.model, plan: seat.plan, lease: seat.lease, shared }
    }

    /// The models that are bound, least recently used first.
    pub fn bound(&self) -> Vec<Arc<str>> {
        lock(&self.shared.book).by_last_use()
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

    fn read_pressure(&self) -> PressureLevel {
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
