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

mod act;
mod bind;
mod binding;
mod book;
mod execute;
mod gate;
mod handler;
mod held;
mod policy;
mod running;
mod session;

use std::sync::Arc;

pub use act::{Action, DegradeRequest, PolicyOutcome};
pub use binding::{BindError, MemoryBinding};
pub use book::Standing;
pub use execute::{ExecutionError, ExecutionReport, Verify, execute};
pub use gate::{Aborted, ExecutionGate};
pub use handler::{PressureHandler, Turn};
pub use policy::{PolicyLadder, PressurePolicy};
pub use running::RunGuard;
pub use session::{RunError, Session, SessionModel};

use crate::plan::{AllocationPlan, LifetimeError, MemoryPlanner, Model, Schedule};
use crate::pool::{DeviceMemoryPool, PoolError};
use crate::pressure::{LadderError, PressureLevel};
use crate::sync::{Condvar, Mutex, lock};
use crate::trace::{Event, Sample, TraceCollector};
use crate::units::ByteSize;
use book::Book;

type Degrader = Arc<dyn Fn(&DegradeRequest) -> Option<Model> + Send + Sync>;

/// See the [module](self).
pub struct MemoryOrchestrator {
    pool: Arc<DeviceMemoryPool>,
    planner: MemoryPlanner,
    trace: Arc<TraceCollector>,
    dry_run: bool,
    book: Mutex<Book>,
    /// Notified whenever memory or a binding's state changes.
    changed: Condvar,
    handler: Mutex<PressureHandler>,
}

/// What a release gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// What the binding gave back to the pool; 0 for a model that was not bound, and for one whose arena others
    /// still share.
    pub freed: ByteSize,
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
            book: Mutex::new(Book::default()),
            changed: Condvar::new(),
            handler: Mutex::new(handler),
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
        lock(&self.book).set_standing(model, standing);
    }

    /// Whom to ask when a model is to make do with less. The callback returns the model with smaller tensors, or
    /// `None` when it cannot; it runs without locks.
    pub fn on_degrade(
        &self,
        model: &str,
        callback: impl Fn(&DegradeRequest) -> Option<Model> + Send + Sync + 'static,
    ) {
        lock(&self.book).set_degrader(model, Arc::new(callback));
    }

    /// Where a bound model's memory is; `None` when it is not bound.
    pub fn binding(&self, model: &str) -> Option<MemoryBinding> {
        lock(&self.book).binding(model)
    }

    /// The models that are bound, least recently used first.
    pub fn bound(&self) -> Vec<Arc<str>> {
        lock(&self.book).by_last_use()
    }

    /// Marks a bound model as running until the guard is dropped: it counts as just used, and no policy touches
    /// it. `None` when it is not bound.
    pub fn begin(&self, model: &str) -> Option<RunGuard<'_>> {
        let mut book = lock(&self.book);
        loop {
            if let Some(binding) = book.begin(model) {
                return Some(RunGuard { orchestrator: self, binding });
            }
            // Bound, but its arena is being remade by a policy: that ends.
            book.binding(model)?;
            book = crate::sync::wait(&self.changed, book);
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
            self.trace.record(Event::PressureChanged {
                from: change.from,
                to: change.to,
                used_bytes: used,
                used_ratio,
            });
            self.changed.notify_all();
        }
        level
    }

    /// Records memory as it is now, the system's view included.
    pub fn sample(&self) -> Sample {
        let sample = Sample {
            at: self.trace.now(),
            used: self.pool.used(),
            committed: self.pool.committed(),
            system: self.pool.resident().value,
            level: lock(&self.handler).gauge().level(),
        };
        self.trace.sample(sample);
        sample
    }

    /// Gives free granules back to the device.
    pub fn trim(&self) -> Result<ByteSize, PoolError> {
        let report = self.pool.trim()?;
        self.trace.record(Event::Trimmed {
            freed_bytes: report.freed_bytes,
            committed_bytes: self.pool.committed(),
        });
        Ok(report.freed_bytes)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
