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
mod binding;
mod book;
mod execute;
mod gate;
mod policy;
mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use act::{Action, DegradeRequest, PolicyOutcome};
pub use binding::{BindError, MemoryBinding};
pub use book::Standing;
pub use execute::{ExecutionError, ExecutionReport, Verify, execute};
pub use gate::{Aborted, ExecutionGate};
pub use policy::{PolicyLadder, PressurePolicy};
pub use session::{RunError, Session, SessionModel};

use crate::plan::{AllocationPlan, LifetimeError, MemoryPlanner, Model, Schedule};
use crate::pool::{DeviceMemoryPool, PoolError, Purpose, Request};
use crate::pressure::{LadderError, PressureGauge, PressureLevel};
use crate::sync::{Condvar, Mutex, lock};
use crate::trace::{Event, Sample, TraceCollector};
use crate::units::ByteSize;
use book::{Book, Held, Join};

type Degrader = Arc<dyn Fn(&DegradeRequest) -> Option<Model> + Send + Sync>;

/// See the [module](self).
pub struct MemoryOrchestrator {
    pool: Arc<DeviceMemoryPool>,
    planner: MemoryPlanner,
    trace: Arc<TraceCollector>,
    ladder: PolicyLadder,
    dry_run: bool,
    book: Mutex<Book>,
    /// Notified whenever memory or a binding's state changes.
    changed: Condvar,
    gauge: Mutex<Gauge>,
}

/// Where pressure stands, and what has been tried.
#[derive(Default)]
struct Gauge {
    gauge: PressureGauge,
    /// The level whose rung has refused new bindings.
    rejecting: Option<PressureLevel>,
    /// On the current rung: which policy's turn it is, and how often in a row it freed too little.
    turn: usize,
    short: u32,
    last_action: Option<Duration>,
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
        Self {
            pool,
            planner: MemoryPlanner::new(),
            trace: Arc::new(TraceCollector::new()),
            ladder: PolicyLadder::orchestrator(),
            dry_run: false,
            book: Mutex::new(Book::default()),
            changed: Condvar::new(),
            gauge: Mutex::new(Gauge::default()),
        }
    }

    /// Acts by this ladder.
    pub fn with_ladder(mut self, ladder: PolicyLadder) -> Result<Self, LadderError> {
        ladder.check()?;
        self.ladder = ladder;
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

    /// Takes memory for a model of a plan: its parameters, and the plan's arena unless another of its models
    /// holds that already. An error has changed nothing.
    pub fn bind(&self, model: &str, plan: &Arc<AllocationPlan>) -> Result<MemoryBinding, BindError> {
        let outcome = self.try_bind(model, plan);
        if let Err(error) = &outcome {
            let stats = (self.pool.used(), self.pool.capacity());
            self.trace.record(Event::Rejected {
                model: model.to_owned(),
                needed_bytes: self.needed(model, plan),
                used_bytes: stats.0,
                capacity_bytes: stats.1,
                reason: error.to_string(),
            });
        }
        outcome
    }

    fn try_bind(&self, model: &str, plan: &Arc<AllocationPlan>) -> Result<MemoryBinding, BindError> {
        let Some(summary) = plan.models.iter().find(|summary| &*summary.name == model) else {
            let names: Vec<&str> = plan.models.iter().map(|summary| &*summary.name).collect();
            return Err(BindError::NotInPlan {
                model: model.into(),
                planned: names.join(", "),
            });
        };
        let name = summary.name.clone();
        self.refuse_under_pressure(&name)?;
        let mut book = lock(&self.book);
        let join = loop {
            match book.join(&name, plan)? {
                Join::Wait => book = crate::sync::wait(&self.changed, book),
                join => break join,
            }
        };
        drop(book);
        // From here on the book says that the model is being bound, and that the arena is being made.
        let taken = self.take(&name, plan, summary.weights, matches!(join, Join::First));
        let mut book = lock(&self.book);
        let binding = match taken {
            Ok((arena, weights, granted)) => Ok((book.complete(&name, arena, weights), granted)),
            Err(error) => {
                book.abandon(&name);
                Err(error)
            }
        };
        drop(book);
        self.changed.notify_all();
        let (binding, granted) = binding?;
        self.trace.record(Event::Bound {
            model: name.to_string(),
            granted_bytes: granted,
            used_bytes: self.pool.used(),
        });
        self.read_pressure();
        Ok(binding)
    }

    /// What binding a model would take from the pool now.
    fn needed(&self, model: &str, plan: &Arc<AllocationPlan>) -> ByteSize {
        let weights = plan
            .models
            .iter()
            .find(|summary| &*summary.name == model)
            .map_or(ByteSize::ZERO, |s| s.weights);
        let arena = if lock(&self.book).has_arena(plan) {
            ByteSize::ZERO
        } else {
            plan.arena_size
        };
        let round = |size: ByteSize| size.checked_align_up(Request::ALIGNMENT).unwrap_or(ByteSize::MAX);
        round(weights).checked_add(round(arena)).unwrap_or(ByteSize::MAX)
    }

    fn refuse_under_pressure(&self, model: &Arc<str>) -> Result<(), BindError> {
        let level = lock(&self.gauge).rejecting;
        let Some((level, rung)) = level.and_then(|level| Some((level, self.ladder.rung(level)?))) else {
            return Ok(());
        };
        Err(BindError::Rejected {
            model: model.clone(),
            used: self.pool.used(),
            capacity: self.pool.capacity(),
            level,
            threshold: rung.enter,
        })
    }

    /// Allocates what a binding needs; on an error, what was allocated is dropped again.
    fn take(
        &self,
        model: &Arc<str>,
        plan: &AllocationPlan,
        weights: ByteSize,
        first: bool,
    ) -> Result<(Option<Held>, Option<Held>, ByteSize), BindError> {
        let alignment = plan
            .tensors
            .iter()
            .map(|tensor| tensor.alignment)
            .max()
            .unwrap_or(1);
        let allocate = |size: ByteSize,
                        purpose: Purpose,
                        owner: &str,
                        alignment: u64|
         -> Result<Option<Held>, BindError> {
            if size.is_zero() {
                return Ok(None);
            }
            let request = Request::new(size)
                .alignment(alignment)
                .owner(self.pool.owner(owner, purpose));
            self.pool
                .allocate(request.tag(self.pool.tag(model)))
                .map(Some)
                .map_err(|error| match error {
                    PoolError::OutOfMemory(error) if error.device_error.is_none() => {
                        BindError::InsufficientMemory {
                            model: model.clone(),
                            needed: error.requested,
                            available: error.free,
                            capacity: error.capacity,
                        }
                    }
                    error => BindError::Pool {
                        model: model.clone(),
                        error,
                    },
                })
        };
        let available = self.pool.available();
        let arena_size = if first { plan.arena_size } else { ByteSize::ZERO };
        let needed = arena_size.checked_add(weights).unwrap_or(ByteSize::MAX);
        if needed > available {
            let capacity = self.pool.capacity();
            return Err(BindError::InsufficientMemory {
                model: model.clone(),
                needed,
                available,
                capacity,
            });
        }
        let names: Vec<&str> = plan.models.iter().map(|summary| &*summary.name).collect();
        let arena = allocate(arena_size, Purpose::Activation, &names.join("+"), alignment)?;
        let weights = allocate(weights, Purpose::Weights, model, Request::ALIGNMENT)?;
        let granted = [&arena, &weights]
            .into_iter()
            .flatten()
            .map(|held| held.granted())
            .sum();
        Ok((arena, weights, granted))
    }

    /// Binds, making room by the ladder's policies when there is none, and waiting up to `patience` for others to
    /// release. Returns the binding and the time waited.
    pub fn admit(
        &self,
        model: &str,
        plan: &Arc<AllocationPlan>,
        patience: Duration,
    ) -> Result<(MemoryBinding, Duration), BindError> {
        let start = Instant::now();
        let mut stalled = false;
        loop {
            let before = lock(&self.book).changes();
            let refused = match self.try_bind(model, plan) {
                Ok(binding) => {
                    let waited = if stalled { start.elapsed() } else { Duration::ZERO };
                    self.stalled(model, waited, true);
                    return Ok((binding, waited));
                }
                Err(error @ (BindError::InsufficientMemory { .. } | BindError::Rejected { .. })) => error,
                Err(error) => return Err(error),
            };
            if self.make_room(self.needed(model, plan)) {
                continue;
            }
            stalled = true;
            if start.elapsed() >= patience
                || !self.wait_for_change(before, patience.saturating_sub(start.elapsed()))
            {
                self.stalled(model, start.elapsed(), false);
                let used_bytes = self.pool.used();
                self.trace.record(Event::Rejected {
                    model: model.to_owned(),
                    needed_bytes: self.needed(model, plan),
                    used_bytes,
                    capacity_bytes: self.pool.capacity(),
                    reason: refused.to_string(),
                });
                return Err(refused);
            }
        }
    }

    fn stalled(&self, model: &str, waited: Duration, recovered: bool) {
        if !waited.is_zero() {
            let waited_seconds = waited.as_secs_f64();
            self.trace.record(Event::Stalled {
                model: model.to_owned(),
                waited_seconds,
                recovered,
            });
        }
    }

    /// Waits until a binding changes after the change that `before` counts; false when time ran out.
    #[cfg(not(loom))]
    fn wait_for_change(&self, before: u64, at_most: Duration) -> bool {
        let book = lock(&self.book);
        let waited = self
            .changed
            .wait_timeout_while(book, at_most, |book| book.changes() == before);
        !waited
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .1
            .timed_out()
    }

    #[cfg(loom)]
    fn wait_for_change(&self, _before: u64, _at_most: Duration) -> bool {
        false
    }

    /// Gives a model's memory back. Releasing a model that is not bound is not an error and changes nothing.
    pub fn release(&self, model: &str) -> Release {
        let released = self.release_quietly(model);
        if released.was_bound {
            let (model, used_bytes) = (model.to_owned(), self.pool.used());
            self.trace.record(Event::Released {
                model,
                freed_bytes: released.freed,
                used_bytes,
            });
            self.read_pressure();
        }
        released
    }

    fn release_quietly(&self, model: &str) -> Release {
        let Some(held) = lock(&self.book).remove(model) else {
            return Release {
                freed: ByteSize::ZERO,
                was_bound: false,
            };
        };
        let freed = held.iter().map(|held| held.granted()).sum();
        // Dropped without the lock: this calls the pool.
        drop(held);
        self.changed.notify_all();
        Release {
            freed,
            was_bound: true,
        }
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
                return Some(RunGuard {
                    orchestrator: self,
                    binding,
                });
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
        let gauge = lock(&self.gauge);
        (gauge.gauge.readings(), gauge.gauge.changes())
    }

    fn read_pressure(&self) -> PressureLevel {
        let (now, used) = (self.trace.now(), self.pool.used());
        let used_ratio = used.ratio_of(self.pool.capacity());
        let mut gauge = lock(&self.gauge);
        let change = gauge.gauge.read(&self.ladder, used_ratio, now);
        let level = gauge.gauge.level();
        if change.is_some() {
            (gauge.turn, gauge.short) = (0, 0);
            if gauge.rejecting.is_some_and(|rejecting| level < rejecting) {
                gauge.rejecting = None;
            }
        }
        drop(gauge);
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
            level: lock(&self.gauge).gauge.level(),
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

/// A model that is running; see [`MemoryOrchestrator::begin`].
pub struct RunGuard<'a> {
    orchestrator: &'a MemoryOrchestrator,
    binding: MemoryBinding,
}

impl RunGuard<'_> {
    /// Where the model's memory is, for as long as the guard lives.
    pub fn binding(&self) -> &MemoryBinding {
        &self.binding
    }
}

impl Drop for RunGuard<'_> {
    fn drop(&mut self) {
        lock(&self.orchestrator.book).end(&self.binding.model);
        self.orchestrator.changed.notify_all();
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
