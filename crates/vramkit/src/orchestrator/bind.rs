//! Taking memory for a model and giving it back: exact admission, room made by the ladder, waiting.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::binding::MemoryBinding;
use super::error::BindError;
use super::held::{NewMemory, SharedMemory, arena_alignment};
use super::load::{Loader, load};
use super::memory_orchestrator::MemoryOrchestrator;
use super::stale::StaleReason;
use super::table::Join;
use crate::plan::AllocationPlan;
use crate::pool::{PoolError, Purpose, Request};
use crate::pressure::{Admission, Refusal};
use crate::sync::lock;
use crate::trace::Event;
use crate::units::ByteSize;

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

/// What a model that is being bound has got of the pool.
#[derive(Default)]
struct Taken {
    arena: Option<Arc<SharedMemory>>,
    /// When nobody is to load them.
    weights: Option<Arc<SharedMemory>>,
    /// Weights that are nobody else's until they are loaded.
    to_load: Option<NewMemory>,
    granted: ByteSize,
}

/// What the pool calls those who share a plan's arena.
fn arena_owner(plan: &AllocationPlan) -> Cow<'_, str> {
    if let [alone] = &*plan.models {
        return Cow::Borrowed(&alone.name);
    }
    let names: Vec<&str> = plan.models.iter().map(|summary| &*summary.name).collect();
    Cow::Owned(names.join("+"))
}

/// What the pool's refusal means for a model that is being bound.
#[cold]
fn not_taken(model: &Arc<str>, error: PoolError) -> BindError {
    let model = model.clone();
    match error {
        PoolError::OutOfMemory(error) if error.device_error.is_none() => BindError::InsufficientMemory {
            model,
            needed: error.requested,
            available: error.free,
            capacity: error.capacity,
        },
        error => BindError::Pool { model, error },
    }
}

impl MemoryOrchestrator {
    /// Takes memory for a model of a plan: its parameters, and the plan's arena unless another of its models
    /// holds that already. Makes no room and waits for none (see [`admit`](Self::admit)), but for a policy that is remaking the
    /// arena.
    ///
    /// # Errors
    ///
    /// Each [`BindError`]; it has changed nothing, and is recorded as a rejection.
    pub fn bind(&self, model: &str, plan: &Arc<AllocationPlan>) -> Result<MemoryBinding, BindError> {
        let outcome = self.try_bind(model, plan);
        if let Err(error) = &outcome {
            self.refused(model, plan, error);
        }
        outcome
    }

    fn refused(&self, model: &str, plan: &Arc<AllocationPlan>, error: &BindError) {
        self.note(Event::Rejected {
            model: model.to_owned(),
            needed_bytes: self.needed(model, plan),
            used_bytes: self.pool.used(),
            capacity_bytes: self.pool.capacity(),
            reason: error.to_string(),
        });
    }

    fn try_bind(&self, model: &str, plan: &Arc<AllocationPlan>) -> Result<MemoryBinding, BindError> {
        let Some(summary) = plan.models.iter().find(|summary| &*summary.name == model) else {
            let names: Vec<&str> = plan.models.iter().map(|summary| &*summary.name).collect();
            return Err(BindError::NotInPlan { model: model.into(), planned: names.join(", ") });
        };
        let name = summary.name.clone();
        self.refuse_under_pressure(&name)?;
        let mut table = lock(&self.shared.table);
        let join = loop {
            match table.join(&name, plan)? {
                Join::Wait => table = self.shared.wait(table),
                join => break join,
            }
        };
        let loader = if summary.weights.is_zero() { None } else { table.loader(&name) };
        drop(table);
        // From here on the table says that the model is being bound, and that the arena is being made.
        let first = matches!(join, Join::First);
        let taken = match self.take(&name, plan, summary.weights, (first, loader.is_some())) {
            Ok(taken) => taken,
            Err((error, gave_back)) => {
                self.abandon(&name, gave_back);
                return Err(error);
            }
        };
        let Taken { arena, mut weights, to_load, granted } = taken;
        let mut table = lock(&self.shared.table);
        if first {
            // Others may share it from here on, while this one's weights are being loaded.
            table.arrive(&name, arena);
        }
        if let Some((new, loader)) = to_load.zip(loader) {
            drop(table);
            self.shared.wake();
            weights = Some(self.load(&name, new, &loader)?);
            // If it was replaced meanwhile, this is the last of it, and dropping it is user code.
            drop(loader);
            table = lock(&self.shared.table);
        }
        let bound = table.complete(&name, weights);
        drop(table);
        let binding = self.binding_of(bound);
        self.shared.wake();
        self.note(Event::Bound {
            model: name.to_string(),
            granted_bytes: granted,
            used_bytes: self.pool.used(),
        });
        self.read_pressure();
        Ok(binding)
    }

    /// Brings a model's weights. On an error the model is no longer being bound, and they are given back.
    fn load(
        &self,
        model: &Arc<str>,
        weights: NewMemory,
        loader: &Loader,
    ) -> Result<Arc<SharedMemory>, BindError> {
        let size = weights.size();
        match load(loader, model, weights) {
            Ok((held, elapsed)) => {
                let elapsed_seconds = elapsed.as_secs_f64();
                self.note(Event::Loaded { model: model.to_string(), loaded_bytes: size, elapsed_seconds });
                Ok(held)
            }
            Err(reason) => {
                self.abandon(model, true);
                Err(BindError::NotLoaded { model: model.clone(), weights: size, reason })
            }
        }
    }

    /// Ends a binding that did not come about. `gave_back`: whether it had memory meanwhile, which others may have been refused for.
    fn abandon(&self, model: &Arc<str>, gave_back: bool) {
        let unwanted = lock(&self.shared.table).abandon(model);
        let gave_back = gave_back || unwanted.is_some();
        // Dropped without the lock: this calls the pool.
        drop(unwanted);
        if gave_back {
            self.shared.wake();
        } else {
            // Memory is as it was: who waits for some need not look again, and would have everybody else look in turn.
            self.shared.wake_for_arenas();
        }
    }

    /// What binding a model would take from the pool now.
    pub(super) fn needed(&self, model: &str, plan: &Arc<AllocationPlan>) -> ByteSize {
        let weights =
            plan.models.iter().find(|summary| &*summary.name == model).map_or(ByteSize::ZERO, |s| s.weights);
        let arena = if lock(&self.shared.table).has_arena(plan) { ByteSize::ZERO } else { plan.arena_size };
        Request::granted(weights).checked_add(Request::granted(arena)).unwrap_or(ByteSize::MAX)
    }

    fn refuse_under_pressure(&self, model: &Arc<str>) -> Result<(), BindError> {
        // What is outside of bindings comes and goes without a word: a refusal may not stand any more.
        if !self.dry_run && lock(&self.handler).rejecting().is_some() {
            self.read_pressure();
        }
        let rejecting = lock(&self.handler).rejecting().map(|rung| (rung.level, rung.enter));
        // Its bytes are judged later, when it is known whether its arena is there.
        let admission = Admission { rejecting, ..Admission::default() };
        admission.check(ByteSize::ZERO).map_err(|refusal| self.refusal(model, refusal, ByteSize::ZERO))
    }

    /// What a refusal means for a model that needs so many bytes.
    #[cold]
    fn refusal(&self, model: &Arc<str>, refusal: Refusal, needed: ByteSize) -> BindError {
        let (model, capacity) = (model.clone(), self.pool.capacity());
        match refusal {
            Refusal::Level { level, enter: threshold } => {
                BindError::Rejected { model, used: self.pool.used(), capacity, level, threshold }
            }
            Refusal::Promised { available } | Refusal::Free { available } => {
                BindError::InsufficientMemory { model, needed, available, capacity }
            }
        }
    }

    /// Allocates what a binding needs; on an error, what was allocated is dropped again, and told is whether anything was.
    fn take(
        &self,
        model: &Arc<str>,
        plan: &AllocationPlan,
        weights: ByteSize,
        (first, is_loaded): (bool, bool),
    ) -> Result<Taken, (BindError, bool)> {
        let arena_size = if first { plan.arena_size } else { ByteSize::ZERO };
        let needed = arena_size.checked_add(weights).unwrap_or(ByteSize::MAX);
        let admission = Admission { free: Some(self.pool.available()), ..Admission::default() };
        admission.check(needed).map_err(|refusal| (self.refusal(model, refusal, needed), false))?;
        let mut taken = Taken::default();
        if needed.is_zero() {
            return Ok(taken);
        }
        let tag = self.pool.tag(model);
        let request = |size, alignment| Request::new(size).alignment(alignment).tag(tag);
        if !arena_size.is_zero() {
            let request = request(arena_size, arena_alignment(plan));
            let arena = SharedMemory::take(&self.pool, request, &arena_owner(plan), Purpose::Activation)
                .map_err(|error| (not_taken(model, error), false))?;
            taken.granted += arena.granted();
            taken.arena = Some(arena);
        }
        if weights.is_zero() {
            return Ok(taken);
        }
        let had_arena = taken.arena.is_some();
        let (request, purpose) = (request(weights, Request::ALIGNMENT), Purpose::Weights);
        if is_loaded {
            let new = NewMemory::take(&self.pool, request, model, purpose)
                .map_err(|error| (not_taken(model, error), had_arena))?;
            taken.granted += new.granted();
            taken.to_load = Some(new);
        } else {
            let held = SharedMemory::take(&self.pool, request, model, purpose)
                .map_err(|error| (not_taken(model, error), had_arena))?;
            taken.granted += held.granted();
            taken.weights = Some(held);
        }
        Ok(taken)
    }

    /// Binds, making room by the ladder's policies when there is none, and waiting up to `patience` for others to
    /// release. Returns the binding and the time waited.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind); for lack of memory, when room could not be made in time.
    pub fn admit(
        &self,
        model: &str,
        plan: &Arc<AllocationPlan>,
        patience: Duration,
    ) -> Result<(MemoryBinding, Duration), BindError> {
        self.admitted(model, plan, patience).map(|(binding, waited, _)| (binding, waited))
    }

    /// As [`admit`](Self::admit); also returns how long the model lacked memory, waiting or not: from the first refusal on.
    pub(super) fn admitted(
        &self,
        model: &str,
        plan: &Arc<AllocationPlan>,
        patience: Duration,
    ) -> Result<(MemoryBinding, Duration, Duration), BindError> {
        let start = Instant::now();
        let (mut lacked, mut stalled, mut made_room) = (None, false, false);
        // From before it looks: what is freed after that is noted.
        let _waiting = self.shared.waiting();
        loop {
            let before = lock(&self.shared.table).changes();
            let refused = match self.try_bind(model, plan) {
                Ok(binding) => {
                    let waited = if stalled { start.elapsed() } else { Duration::ZERO };
                    self.stalled(model, waited, true);
                    return Ok((
                        binding,
                        waited,
                        lacked.map_or(Duration::ZERO, |since: Instant| since.elapsed()),
                    ));
                }
                Err(error @ (BindError::InsufficientMemory { .. } | BindError::Rejected { .. })) => error,
                Err(error) => {
                    self.refused(model, plan, &error);
                    return Err(error);
                }
            };
            lacked.get_or_insert_with(Instant::now);
            // Refused by pressure, it may fit all the same; else what is free is in pieces.
            let needed = self.needed(model, plan);
            let in_pieces =
                matches!(refused, BindError::InsufficientMemory { .. }) && needed <= self.pool.available();
            // Room that was made in vain once, for pieces or because others were faster, ends at the same time as a wait.
            if (!made_room || start.elapsed() < patience) && self.make_room(needed, in_pieces) {
                made_room = true;
                continue;
            }
            stalled = true;
            if start.elapsed() >= patience
                || !self.wait_for_change(before, patience.saturating_sub(start.elapsed()))
            {
                self.stalled(model, start.elapsed(), false);
                self.refused(model, plan, &refused);
                return Err(refused);
            }
        }
    }

    fn stalled(&self, model: &str, waited: Duration, recovered: bool) {
        if !waited.is_zero() {
            let waited_seconds = waited.as_secs_f64();
            self.note(Event::Stalled { model: model.to_owned(), waited_seconds, recovered });
        }
    }

    /// Waits until a binding changes after the change that `before` counts; false when time ran out.
    #[cfg(not(loom))]
    fn wait_for_change(&self, before: u64, at_most: Duration) -> bool {
        let table = lock(&self.shared.table);
        let waited =
            self.shared.changed.wait_timeout_while(table, at_most, |table| table.changes() == before);
        !waited.unwrap_or_else(std::sync::PoisonError::into_inner).1.timed_out()
    }

    #[cfg(loom)]
    fn wait_for_change(&self, _before: u64, _at_most: Duration) -> bool {
        false
    }

    /// Gives a model's memory back. Releasing a model that is not bound is not an error and changes nothing. A model that
    /// runs keeps its memory until the run has ended.
    pub fn release(&self, model: &str) -> Release {
        let released = self.release_quietly(model, StaleReason::Released);
        if released.was_bound {
            let (name, used_bytes) = (model.to_owned(), self.pool.used());
            self.note(Event::Released { model: name, freed_bytes: released.freed, used_bytes });
            self.read_pressure();
            self.tell(&model.into(), StaleReason::Released, released.freed);
        }
        released
    }

    /// Queues a notice for those who want to know.
    pub(super) fn tell(&self, model: &Arc<str>, why: StaleReason, freed: ByteSize) {
        self.notifier.tell(model, why, freed, &self.trace);
    }

    pub(super) fn release_quietly(&self, model: &str, why: StaleReason) -> Release {
        let mut release = Release { freed: ByteSize::ZERO, deferred: ByteSize::ZERO, was_bound: false };
        let Some(held) = lock(&self.shared.table).remove(model, why) else {
            return release;
        };
        release.was_bound = true;
        for held in held {
            let bytes = held.granted();
            // Dropped without the lock: this calls the pool. What a run still holds goes with the run.
            match Arc::into_inner(held) {
                Some(_) => release.freed += bytes,
                None => release.deferred += bytes,
            }
        }
        self.shared.wake();
        release
    }
}
