//! What the policies do. Each works out what it would free, and does it unless this is a dry run. Whose turn it is, and who
//! goes first, is judged in [`pressure`](crate::pressure).

use std::sync::Arc;

use super::action::{Action, PolicyOutcome};
use super::degrade::DegradeRequest;
use super::held::{SharedMemory, arena_alignment};
use super::memory_orchestrator::MemoryOrchestrator;
use super::stale::StaleReason;
use super::table::TakenGroup;
use crate::plan::{AllocationPlan, Model};
use crate::pool::{Purpose, Request};
use crate::pressure::{PressurePolicy, Turn};
use crate::sync::lock;
use crate::trace::Event;
use crate::units::ByteSize;

impl MemoryOrchestrator {
    /// Reads the pressure and lets the policy whose turn it is on that rung act: enough to leave the rung, if it
    /// can. A policy that frees too little several times in a row gives way to the next.
    pub fn handle_pressure(&self) -> PolicyOutcome {
        let level = self.read_pressure();
        let (policy, leave_below) = match lock(&self.handler).next(self.trace.now()) {
            Turn::Act(policy, leave_below) => (policy, leave_below),
            Turn::CoolingDown => return PolicyOutcome::nothing(level, Action::CoolingDown),
            Turn::NoPressure => return PolicyOutcome::nothing(level, Action::NoPressure),
        };
        let wanted = self.wanted(leave_below);
        let outcome = self.apply(policy, wanted);
        let frees = !matches!(policy, PressurePolicy::Log | PressurePolicy::Reject);
        let next = lock(&self.handler).acted(level, !frees || outcome.freed >= wanted);
        if let Some(next) = next {
            self.note(Event::Escalated { level, from: policy, to: next });
        }
        outcome
    }

    /// As [`handle_pressure`](Self::handle_pressure), by this policy whoever's turn it is, and at once: enough to leave the present
    /// rung, if it can.
    pub fn handle_pressure_by(&self, policy: PressurePolicy) -> PolicyOutcome {
        let level = self.read_pressure();
        let handler = lock(&self.handler);
        let Some(leave_below) = handler.ladder().rung(level).map(|rung| rung.exit.unwrap_or(rung.enter))
        else {
            return PolicyOutcome::nothing(level, Action::NoPressure);
        };
        drop(handler);
        self.apply(policy, self.wanted(leave_below))
    }

    /// What is used above just below a fraction of the capacity.
    fn wanted(&self, leave_below: f64) -> ByteSize {
        let target = (leave_below * self.pool.capacity().bytes() as f64).ceil().max(1.0) as u64 - 1;
        self.pool.used().saturating_sub(ByteSize::new(target))
    }

    /// Lets one policy act at the present level, to free `wanted` bytes.
    pub fn apply(&self, policy: PressurePolicy, wanted: ByteSize) -> PolicyOutcome {
        let level = lock(&self.handler).gauge().level();
        let (action, freed) = match policy {
            PressurePolicy::Log => (Action::Logged, ByteSize::ZERO),
            PressurePolicy::Reject => {
                if !self.dry_run {
                    lock(&self.handler).reject();
                }
                (Action::Rejecting, ByteSize::ZERO)
            }
            PressurePolicy::Evict => self.evict(wanted),
            PressurePolicy::Compact => self.compact(),
            PressurePolicy::Degrade => self.degrade(wanted),
        };
        let event = Event::PolicyApplied {
            policy,
            level,
            wanted_bytes: wanted,
            freed_bytes: freed,
            outcome: action.to_string(),
            dry_run: self.dry_run || self.rehearsal,
        };
        self.trace.note(event, !self.dry_run && !self.rehearsal);
        if !self.dry_run {
            self.read_pressure();
        }
        PolicyOutcome { policy: Some(policy), level, wanted, freed, action }
    }

    /// Makes `needed` bytes free with the policies of the highest rung, in order, and lifts a refusal that no
    /// longer stands; none acts once both are so. Returns whether they are. `in_pieces`: so much is free, and the pool could not grant it:
    /// then as much again is made free, and the answer is whether anything was.
    pub(super) fn make_room(&self, needed: ByteSize, in_pieces: bool) -> bool {
        if self.dry_run {
            return false;
        }
        let free_before = self.pool.available();
        let is_rejecting = || lock(&self.handler).rejecting().is_some();
        let rejected_before = is_rejecting();
        let policies =
            lock(&self.handler).ladder().rungs.last().map_or_else(Vec::new, |rung| rung.policies.clone());
        let wanted = if in_pieces { free_before + needed } else { needed };
        for policy in policies.into_iter().filter(|&policy| policy != PressurePolicy::Reject) {
            let missing = wanted.saturating_sub(self.pool.available());
            if missing.is_zero() && !is_rejecting() {
                break;
            }
            // A refusal is lifted by falling below its rung.
            self.apply(policy, missing.max(ByteSize::new(1)));
        }
        let more = !in_pieces || rejected_before || self.pool.available() > free_before;
        needed <= self.pool.available() && !is_rejecting() && more
    }

    fn evict(&self, wanted: ByteSize) -> (Action, ByteSize) {
        let victims = lock(&self.shared.table).victims(wanted);
        let (mut models, mut freed) = (Vec::new(), ByteSize::ZERO);
        for victim in victims {
            freed += if self.dry_run { victim.frees } else { self.evict_one(&victim.who) };
            models.push(victim.who);
        }
        if models.is_empty() { (Action::NothingToEvict, freed) } else { (Action::Evicted(models), freed) }
    }

    fn evict_one(&self, model: &Arc<str>) -> ByteSize {
        let released = self.release_quietly(model, StaleReason::Evicted);
        if released.was_bound {
            self.note(Event::Evicted { model: model.to_string(), freed_bytes: released.freed });
            self.tell(model, StaleReason::Evicted, released.freed);
        }
        released.freed
    }

    /// Plans again for the models of each arena that are still bound, when some of its plan's models are not.
    fn compact(&self) -> (Action, ByteSize) {
        let (mut models, mut freed) = (Vec::new(), ByteSize::ZERO);
        let groups = lock(&self.shared.table).idle_groups();
        for (id, plan, members) in groups {
            if members.len() == plan.models.len() {
                continue;
            }
            let remaining = plan.models_named(|name| members.iter().any(|member| **member == *name));
            let Some((before, after)) = self.replan(id, &plan, &members, &remaining, StaleReason::Compacted)
            else {
                continue;
            };
            freed += before.saturating_sub(after);
            if !self.dry_run {
                self.note(Event::Compacted {
                    models: members.iter().map(|member| member.to_string()).collect(),
                    before_bytes: before,
                    after_bytes: after,
                });
                self.tell_moved(&members, StaleReason::Compacted, before.saturating_sub(after));
            }
            models.extend(members);
        }
        if !self.dry_run
            && let Err(error) = self.trim()
        {
            tracing::warn!(%error, "trimming after a compaction failed");
        }
        if models.is_empty() { (Action::NothingToCompact, freed) } else { (Action::Compacted(models), freed) }
    }

    /// Asks idle models for smaller footprints until enough is free.
    fn degrade(&self, wanted: ByteSize) -> (Action, ByteSize) {
        let (mut models, mut freed) = (Vec::new(), ByteSize::ZERO);
        let groups = lock(&self.shared.table).idle_groups();
        for (id, plan, members) in groups {
            if freed >= wanted {
                break;
            }
            let mut demands = plan.models_named(|name| members.iter().any(|member| **member == *name));
            let mut smaller = Vec::new();
            for demand in &mut demands {
                let Some(degrader) = lock(&self.shared.table).degrader(&demand.name) else {
                    continue;
                };
                let request = DegradeRequest {
                    model: demand.name.clone(),
                    current: demand.clone(),
                    wanted: wanted.saturating_sub(freed),
                    is_dry_run: self.dry_run,
                };
                if let Some(degraded) = degrader(&request).filter(|degraded| degraded.name == demand.name) {
                    smaller.push(demand.name.clone());
                    demand.tensors = degraded.tensors;
                }
            }
            if smaller.is_empty() {
                continue;
            }
            let Some((before, after)) = self.replan(id, &plan, &members, &demands, StaleReason::Degraded)
            else {
                continue;
            };
            freed += before.saturating_sub(after);
            if !self.dry_run {
                for model in &smaller {
                    let model = model.to_string();
                    self.note(Event::Degraded { model, before_bytes: before, after_bytes: after });
                }
                self.tell_moved(&members, StaleReason::Degraded, before.saturating_sub(after));
            }
            models.extend(smaller);
        }
        if models.is_empty() { (Action::NothingToDegrade, freed) } else { (Action::Degraded(models), freed) }
    }

    /// Tells the models of an arena that was remade, as far as they are still bound.
    fn tell_moved(&self, members: &[Arc<str>], why: StaleReason, freed: ByteSize) {
        for member in members {
            if self.binding(member).is_some() {
                self.tell(member, why, freed);
            }
        }
    }

    /// Gives a group a new plan and a smaller arena. Returns the arena before and after (in a dry run: as it
    /// would be); `None` when it would not shrink, the group is in use by now, or its models had to be
    /// evicted.
    fn replan(
        &self,
        id: u64,
        old: &Arc<AllocationPlan>,
        members: &[Arc<str>],
        models: &[Model],
        why: StaleReason,
    ) -> Option<(ByteSize, ByteSize)> {
        let plan = match self.planner.plan(models, old.schedule) {
            Ok(plan) => Arc::new(plan),
            Err(error) => {
                tracing::warn!(%error, "a smaller footprint could not be planned");
                return None;
            }
        };
        // As the pool grants them.
        let granted = |plan: &AllocationPlan| Request::granted(plan.arena_size);
        let sizes = (granted(old), granted(&plan));
        if plan.arena_size >= old.arena_size {
            return None;
        }
        if self.dry_run {
            return Some(sizes);
        }
        let taken = lock(&self.shared.table).take_group(id, members, why)?;
        let (plan, arena) = self.remake(taken, plan);
        let lost = arena.is_none() && !plan.arena_size.is_zero();
        // What the table does not want back (its models were released meanwhile) is dropped here, unlocked.
        let unwanted = lock(&self.shared.table).put_back(id, plan, arena);
        drop(unwanted);
        self.shared.wake();
        (!lost).then_some(sizes)
    }

    /// A smaller arena in place of a larger one. Nobody runs in it, so its content is of no use and it goes first:
    /// the room that it leaves holds the smaller one. Should another take that room meanwhile, or the device fail,
    /// the group is left with no arena, and its models are evicted.
    fn remake(
        &self,
        taken: TakenGroup,
        plan: Arc<AllocationPlan>,
    ) -> (Arc<AllocationPlan>, Option<Arc<SharedMemory>>) {
        let TakenGroup { plan: old, arena, members } = taken;
        drop(arena);
        let allocate = |plan: &AllocationPlan| -> Option<Arc<SharedMemory>> {
            let alignment = arena_alignment(plan);
            let request = Request::new(plan.arena_size).alignment(alignment);
            SharedMemory::take(&self.pool, request, &members.join("+"), Purpose::Activation)
                .map_err(|error| tracing::warn!(%error, "remaking an arena failed"))
                .ok()
        };
        if plan.arena_size.is_zero() {
            return (plan, None);
        }
        match allocate(&plan) {
            Some(arena) => (plan, Some(arena)),
            None => {
                for member in &members {
                    self.evict_one(member);
                }
                (old, None)
            }
        }
    }
}
