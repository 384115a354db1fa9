//! Is a plan sound? Every tensor where it may be, and no two that may be live together at one address.
//!
//! A plan and lifetimes come in; the first fault that is found goes out, if there is one. Nothing is trusted that the plan
//! says of itself but its offsets and its arena.

use std::collections::HashMap;
use std::sync::Arc;

use super::allocation::AllocationPlan;
use super::fault::PlanFault;
use super::lifetime::{Schedule, TensorLifetime};
use super::problem::{Compiled, collect};
use vramkit_units::ByteSize;

impl AllocationPlan {
    /// Whether the plan is sound for these lifetimes; see [`check`](Self::check).
    pub fn is_valid(&self, lifetimes: &[TensorLifetime]) -> bool {
        self.check(lifetimes).is_ok()
    }

    /// Checks that every lifetime is in the plan as it was planned, inside the arena and where its alignment
    /// and pin want it, and that no two that may be live together under the plan's schedule overlap (tensors of
    /// one alias group excepted). O(n log n). Every plan that a planner gives out has passed it.
    ///
    /// # Errors
    /// The first fault that is found.
    pub fn check(&self, lifetimes: &[TensorLifetime]) -> Result<(), PlanFault> {
        if std::ptr::eq(lifetimes, &*self.tensors) && lifetimes.len() == self.offsets.len() {
            self.check_places()?;
            return self.check_overlaps(lifetimes, &self.offsets);
        }
        let places: HashMap<(&str, &str), usize> =
            (0..self.tensors.len()).map(|i| ((&*self.tensors[i].model, &*self.tensors[i].id), i)).collect();
        let mut offsets = Vec::with_capacity(lifetimes.len());
        for tensor in lifetimes {
            let (model, id) = (tensor.model.clone(), tensor.id.clone());
            let Some(&place) = places.get(&(&*model, &*id)) else {
                return Err(PlanFault::Missing { model, id });
            };
            let planned = &self.tensors[place];
            let life = |tensor: &TensorLifetime| (tensor.start, tensor.end, tensor.size);
            if life(planned) != life(tensor) || planned.gaps != tensor.gaps {
                return Err(PlanFault::Changed { model, id });
            }
            let offset = self.offsets[place];
            self.check_place(tensor, offset)?;
            offsets.push(offset);
        }
        self.check_overlaps(lifetimes, &offsets)
    }

    /// As [`check`](Self::check) with the plan's own tensors, whose groups were compiled already: all of them, or each
    /// model's.
    pub(super) fn check_compiled(&self, groups: &[&Compiled]) -> Result<(), PlanFault> {
        self.check_places()?;
        let mut first = 0;
        let ranges: Vec<std::ops::Range<usize>> = groups
            .iter()
            .map(|group| {
                let range = first..first + group.buffer_of.len();
                first = range.end;
                range
            })
            .collect();
        for (range, compiled) in ranges.iter().zip(groups) {
            check_group(range.clone(), compiled, &self.tensors, &self.offsets)?;
        }
        check_apart(ranges, &self.tensors, &self.offsets)
    }

    /// Whether every tensor of the plan is inside the arena, where its alignment and pin want it.
    fn check_places(&self) -> Result<(), PlanFault> {
        self.tensors.iter().zip(&self.offsets).try_for_each(|(tensor, &at)| self.check_place(tensor, at))
    }

    fn check_place(&self, tensor: &TensorLifetime, offset: ByteSize) -> Result<(), PlanFault> {
        let name = || (tensor.model.clone(), tensor.id.clone());
        if tensor.pinned.is_some_and(|pin| pin != offset) || !offset.bytes().is_multiple_of(tensor.alignment)
        {
            let (model, id) = name();
            return Err(PlanFault::Misplaced { model, id, offset });
        }
        let ends_inside = || offset.checked_add(tensor.size).is_some_and(|end| end <= self.arena_size);
        if tensor.takes_room() && !ends_inside() {
            let (model, id) = name();
            return Err(PlanFault::OutOfBounds { model, id, arena: self.arena_size });
        }
        Ok(())
    }

    fn check_overlaps(&self, lifetimes: &[TensorLifetime], offsets: &[ByteSize]) -> Result<(), PlanFault> {
        let all: Vec<usize> = (0..lifetimes.len()).collect();
        let mut groups: Vec<Vec<usize>> = vec![all];
        if self.schedule == Schedule::Concurrent {
            let mut models: HashMap<&str, Vec<usize>> = HashMap::new();
            for (i, tensor) in lifetimes.iter().enumerate() {
                models.entry(&tensor.model).or_default().push(i);
            }
            groups = models.into_values().collect();
        }
        for group in &groups {
            // Aliases whose constraints contradict one another cannot have been planned.
            if let Ok((compiled, _)) = collect(group.iter().map(|&i| &lifetimes[i])) {
                check_group(group.iter().copied(), &compiled, lifetimes, offsets)?;
            }
        }
        check_apart(groups, lifetimes, offsets)
    }
}

fn name(tensor: &TensorLifetime) -> (Arc<str>, Arc<str>) {
    (tensor.model.clone(), tensor.id.clone())
}

/// Whether no two tensors of a group on one clock are live together and overlap, and alias groups are in one place.
fn check_group(
    group: impl Iterator<Item = usize>,
    compiled: &Compiled,
    lifetimes: &[TensorLifetime],
    offsets: &[ByteSize],
) -> Result<(), PlanFault> {
    let mut placed: Vec<Option<u64>> = Vec::with_capacity(compiled.problem.buffers.len());
    let mut tensor_of: Vec<usize> = Vec::with_capacity(compiled.problem.buffers.len());
    for (i, buffer) in group.zip(&compiled.buffer_of) {
        let Some(buffer) = buffer.map(|buffer| buffer as usize) else {
            continue;
        };
        let offset = offsets[i].bytes();
        if buffer == placed.len() {
            placed.push(Some(offset));
            tensor_of.push(i);
        } else if placed[buffer] != Some(offset) {
            let (model, id) = name(&lifetimes[i]);
            return Err(PlanFault::Misplaced { model, id, offset: ByteSize::new(offset) });
        }
    }
    match compiled.problem.first_clash(&placed) {
        Some((a, b)) => {
            Err(PlanFault::Overlap(name(&lifetimes[tensor_of[a]]), name(&lifetimes[tensor_of[b]])))
        }
        None => Ok(()),
    }
}

/// Whether groups that may be live together at any time have no addresses in common: as if all of each group's
/// tensors lived always.
fn check_apart(
    groups: Vec<impl IntoIterator<Item = usize>>,
    lifetimes: &[TensorLifetime],
    offsets: &[ByteSize],
) -> Result<(), PlanFault> {
    if groups.len() < 2 {
        return Ok(());
    }
    let spans = groups.into_iter().flat_map(|group| merged(group, lifetimes, offsets));
    let mut spans: Vec<(u64, u64, usize)> = spans.collect();
    spans.sort_unstable();
    for pair in spans.windows(2) {
        if pair[1].0 < pair[0].1 {
            return Err(PlanFault::Overlap(name(&lifetimes[pair[0].2]), name(&lifetimes[pair[1].2])));
        }
    }
    Ok(())
}

/// The addresses that a model's tensors take at any time: ranges that do not overlap, each with one of its
/// tensors.
pub(super) fn merged(
    group: impl IntoIterator<Item = usize>,
    lifetimes: &[TensorLifetime],
    offsets: &[ByteSize],
) -> Vec<(u64, u64, usize)> {
    let mut spans: Vec<(u64, u64, usize)> = group
        .into_iter()
        .filter(|&i| lifetimes[i].takes_room())
        .map(|i| (offsets[i].bytes(), (offsets[i] + lifetimes[i].size).bytes(), i))
        .collect();
    spans.sort_unstable();
    spans.dedup_by(|next, last| {
        let joins = next.0 <= last.1;
        if joins {
            last.1 = last.1.max(next.1);
        }
        joins
    });
    spans
}
