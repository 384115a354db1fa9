//! The table of bindings: who is bound, by which plan, used when. Pure book-keeping under the orchestrator's
//! lock; allocations are put in and taken out, and dropped by the caller without the lock.

use std::collections::HashMap;
use std::sync::Arc;

use super::degrade::Degrader;
use super::error::BindError;
use super::held::SharedMemory;
use super::load::Loader;
use super::stale::{Lease, StaleReason};
use crate::plan::AllocationPlan;
use crate::pressure::{Candidate, SharedBytes, Standing, Victim, choose_victims};
use crate::units::ByteSize;

/// A model's place in the table.
struct Entry {
    group: u64,
    lease: Lease,
    weights: Option<Arc<SharedMemory>>,
    last_used: u64,
    /// How many runs are under way.
    running: u32,
    /// Whether its memory is there.
    complete: bool,
}

/// The models that share one plan's arena.
struct Group {
    plan: Arc<AllocationPlan>,
    arena: Option<Arc<SharedMemory>>,
    members: Vec<Arc<str>>,
    /// Whether the arena is there, or being made or remade.
    ready: bool,
}

impl Group {
    /// Whether somebody besides the table holds the arena.
    fn is_held(&self) -> bool {
        self.arena.as_ref().is_some_and(|arena| Arc::strong_count(arena) > 1)
    }
}

/// What joining a plan's group means.
pub(super) enum Join {
    /// The arena is being made by another thread: wait and ask again.
    Wait,
    /// The arena is to be made.
    First,
    /// The arena is there.
    Shared,
}

/// A group that a policy has taken to change it; given back by [`BindingTable::put_back`].
pub(super) struct TakenGroup {
    pub(super) plan: Arc<AllocationPlan>,
    pub(super) arena: Option<Arc<SharedMemory>>,
    pub(super) members: Vec<Arc<str>>,
}

/// What a binding is made of.
pub(super) struct BoundModel {
    pub(super) model: Arc<str>,
    pub(super) plan: Arc<AllocationPlan>,
    pub(super) lease: Lease,
    /// Whether the arena is there; if not, it is being remade, and the plan is about to be another.
    pub(super) ready: bool,
}

/// The arena and the weights of a model that runs.
pub(super) type Running = (Option<Arc<SharedMemory>>, Option<Arc<SharedMemory>>);

/// What a share of memory would free if it were dropped: nothing while a run holds it, too.
fn frees(held: Option<&Arc<SharedMemory>>) -> ByteSize {
    let alone = held.filter(|held| Arc::strong_count(held) == 1);
    alone.map_or(ByteSize::ZERO, |held| held.granted())
}

/// Who is bound, by which plan, used when.
#[derive(Default)]
pub(super) struct BindingTable {
    entries: HashMap<Arc<str>, Entry>,
    groups: HashMap<u64, Group>,
    standings: HashMap<Arc<str>, Standing>,
    degraders: HashMap<Arc<str>, Degrader>,
    loaders: HashMap<Arc<str>, Loader>,
    next_group: u64,
    /// Counts uses, for "least recently".
    clock: u64,
    /// Counts what can end a wait for memory.
    changes: u64,
}

impl BindingTable {
    pub(super) fn set_standing(&mut self, model: &str, standing: Standing) {
        self.standings.insert(model.into(), standing);
    }

    /// Returns the one before, to be dropped without the lock.
    pub(super) fn set_degrader(&mut self, model: &str, degrader: Degrader) -> Option<Degrader> {
        self.degraders.insert(model.into(), degrader)
    }

    /// Returns the one before, to be dropped without the lock.
    pub(super) fn set_loader(&mut self, model: &str, loader: Loader) -> Option<Loader> {
        self.loaders.insert(model.into(), loader)
    }

    pub(super) fn has_loader(&self, model: &str) -> bool {
        self.loaders.contains_key(model)
    }

    pub(super) fn loader(&self, model: &str) -> Option<Loader> {
        self.loaders.get(model).cloned()
    }

    pub(super) fn degrader(&self, model: &str) -> Option<Degrader> {
        self.degraders.get(model).cloned()
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn note_change(&mut self) {
        self.changes += 1;
    }

    fn group_of(&self, plan: &Arc<AllocationPlan>) -> Option<u64> {
        self.groups.iter().find(|(_, group)| Arc::ptr_eq(&group.plan, plan)).map(|(&id, _)| id)
    }

    pub(super) fn has_arena(&self, plan: &Arc<AllocationPlan>) -> bool {
        self.group_of(plan).is_some()
    }

    /// Notes that a model is being bound.
    pub(super) fn join(&mut self, model: &Arc<str>, plan: &Arc<AllocationPlan>) -> Result<Join, BindError> {
        if self.entries.contains_key(model) {
            return Err(BindError::AlreadyBound(model.clone()));
        }
        let (id, join) = match self.group_of(plan) {
            Some(id) if !self.groups[&id].ready => return Ok(Join::Wait),
            Some(id) => (id, Join::Shared),
            None => {
                self.next_group += 1;
                let group = Group { plan: plan.clone(), arena: None, members: Vec::new(), ready: false };
                self.groups.insert(self.next_group, group);
                (self.next_group, Join::First)
            }
        };
        if let Some(group) = self.groups.get_mut(&id) {
            group.members.push(model.clone());
        }
        let entry = Entry {
            group: id,
            lease: Lease::default(),
            weights: None,
            last_used: self.tick(),
            running: 0,
            complete: false,
        };
        self.entries.insert(model.clone(), entry);
        Ok(join)
    }

    /// Puts the arena of a model's group in, which it was the first of: others may share it from now on.
    pub(super) fn arrive(&mut self, model: &Arc<str>, arena: Option<Arc<SharedMemory>>) {
        let entry = self.entries.get(model).expect("it joined");
        let group = self.groups.get_mut(&entry.group).expect("an entry's group is there");
        (group.arena, group.ready) = (arena, true);
    }

    /// Puts a model's own memory in: it is bound.
    pub(super) fn complete(&mut self, model: &Arc<str>, weights: Option<Arc<SharedMemory>>) -> BoundModel {
        let entry = self.entries.get_mut(model).expect("it joined");
        (entry.weights, entry.complete) = (weights, true);
        self.bound(model).expect("it is complete")
    }

    /// Takes back what [`join`](Self::join) noted. Returns what nobody else holds, to be dropped without the lock.
    pub(super) fn abandon(&mut self, model: &Arc<str>) -> Option<Arc<SharedMemory>> {
        let entry = self.entries.remove(model)?;
        self.leave(entry.group, model)
    }

    /// Takes a model out of its group. Returns the arena when it was the last.
    fn leave(&mut self, id: u64, model: &str) -> Option<Arc<SharedMemory>> {
        let group = self.groups.get_mut(&id)?;
        group.members.retain(|member| &**member != model);
        let last = group.members.is_empty();
        if last { self.groups.remove(&id).and_then(|group| group.arena) } else { None }
    }

    /// How a model is bound; `None` when it is not.
    pub(super) fn bound(&self, model: &str) -> Option<BoundModel> {
        let (model, entry) = self.entries.get_key_value(model).filter(|(_, entry)| entry.complete)?;
        let group = self.groups.get(&entry.group)?;
        let (plan, lease) = (group.plan.clone(), entry.lease.clone());
        Some(BoundModel { model: model.clone(), plan, lease, ready: group.ready })
    }

    /// Takes a binding out and ends its lease. Returns what nobody else in the table holds; `None` when the model is not
    /// bound, or is to be evicted and runs.
    pub(super) fn remove(&mut self, model: &str, why: StaleReason) -> Option<Vec<Arc<SharedMemory>>> {
        // Who is to be evicted may have begun to run since it was chosen.
        let may_go = |entry: &&Entry| entry.complete && (why != StaleReason::Evicted || entry.running == 0);
        self.entries.get(model).filter(may_go)?;
        let entry = self.entries.remove(model)?;
        entry.lease.end(why);
        let arena = self.leave(entry.group, model);
        Some(entry.weights.into_iter().chain(arena).collect())
    }

    /// Notes the beginning of a run under a lease. `None` when the lease has ended, or the arena is being remade.
    pub(super) fn begin(&mut self, model: &str, lease: &Lease) -> Option<Running> {
        let now = self.tick();
        let entry = self.entries.get_mut(model).filter(|entry| entry.complete && entry.lease.is(lease))?;
        let group = self.groups.get(&entry.group).filter(|group| group.ready)?;
        (entry.last_used, entry.running) = (now, entry.running + 1);
        Some((group.arena.clone(), entry.weights.clone()))
    }

    /// Notes the end of a run under a lease.
    pub(super) fn end(&mut self, model: &str, lease: &Lease) {
        let now = self.tick();
        // One that was released meanwhile, and perhaps bound again, has another lease.
        if let Some(entry) = self.entries.get_mut(model).filter(|entry| entry.lease.is(lease)) {
            (entry.last_used, entry.running) = (now, entry.running.saturating_sub(1));
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(super) fn by_last_use(&self) -> Vec<Arc<str>> {
        let mut models: Vec<(&u64, &Arc<str>)> =
            self.entries.iter().filter(|(_, e)| e.complete).map(|(model, e)| (&e.last_used, model)).collect();
        models.sort();
        models.into_iter().map(|(_, model)| model.clone()).collect()
    }

    fn is_idle(&self, model: &str) -> bool {
        self.entries.get(model).is_some_and(|entry| entry.complete && entry.running == 0)
    }

    /// The bindings to release, in order, until `wanted` bytes are free. An idle model whose release would free nothing,
    /// because a running one shares its arena, stays.
    pub(super) fn victims(&self, wanted: ByteSize) -> Vec<Victim<Arc<str>>> {
        let mut shared = Vec::with_capacity(self.groups.len());
        let mut index = HashMap::with_capacity(self.groups.len());
        for (&id, group) in self.groups.iter().filter(|(_, group)| group.ready) {
            index.insert(id, shared.len());
            shared.push(SharedBytes { frees: frees(group.arena.as_ref()), holders: group.members.len() });
        }
        let granted = |held: Option<&Arc<SharedMemory>>| held.map_or(0, |held| held.granted().bytes());
        let candidate = |(model, entry): (&Arc<str>, &Entry)| {
            let share = self
                .groups
                .get(&entry.group)
                .map_or(0, |group| granted(group.arena.as_ref()) / group.members.len().max(1) as u64);
            Candidate {
                who: model.clone(),
                standing: self.standings.get(model).copied().unwrap_or_default(),
                last_use: entry.last_used,
                frees: frees(entry.weights.as_ref()),
                holds: ByteSize::new(share + granted(entry.weights.as_ref())),
                shared: index.get(&entry.group).copied(),
            }
        };
        let idle = self.entries.iter().filter(|(_, entry)| entry.complete && entry.running == 0);
        choose_victims(wanted, idle.map(candidate).collect(), &shared)
    }

    /// Ids of the groups none of whose models runs, with their models and plans. A model that was released while it ran may
    /// still hold the arena.
    pub(super) fn idle_groups(&self) -> Vec<(u64, Arc<AllocationPlan>, Vec<Arc<str>>)> {
        let idle = self
            .groups
            .iter()
            .filter(|(_, g)| g.ready && !g.is_held() && g.members.iter().all(|member| self.is_idle(member)));
        let mut groups: Vec<_> =
            idle.map(|(&id, group)| (id, group.plan.clone(), group.members.clone())).collect();
        groups.sort_by_key(|(id, ..)| *id);
        groups
    }

    /// Takes a group to change it, if it is still as it was and nobody holds its arena: nobody runs in it or joins it until
    /// it is put back. The leases of its models end.
    pub(super) fn take_group(
        &mut self,
        id: u64,
        members: &[Arc<str>],
        why: StaleReason,
    ) -> Option<TakenGroup> {
        let idle = self.groups.get(&id)?.members.iter().all(|member| self.is_idle(member));
        let group = self.groups.get_mut(&id)?;
        if !idle || group.is_held() || !group.ready || group.members != members {
            return None;
        }
        group.ready = false;
        let taken = TakenGroup {
            plan: group.plan.clone(),
            arena: group.arena.take(),
            members: group.members.clone(),
        };
        for member in members {
            if let Some(entry) = self.entries.get_mut(member) {
                entry.lease.end(why);
                entry.lease = Lease::default();
            }
        }
        Some(taken)
    }

    /// Puts a group back, with the plan and arena that it has now.
    pub(super) fn put_back(
        &mut self,
        id: u64,
        plan: Arc<AllocationPlan>,
        arena: Option<Arc<SharedMemory>>,
    ) -> Option<Arc<SharedMemory>> {
        let Some(group) = self.groups.get_mut(&id) else {
            return arena;
        };
        group.ready = true;
        group.plan = plan;
        std::mem::replace(&mut group.arena, arena)
    }
}
