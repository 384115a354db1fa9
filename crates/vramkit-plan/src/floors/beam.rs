//! Beam search: the best few profiles at each step, by what they cost (Ow and Morton, "Filtered beam search in
//! scheduling", 1988; on floors with the lookahead of `valley`).
//!
//! A step takes every profile's next valley, tries each of its choices, takes it back, and makes the best of all those anew.
//! Profiles with the same tensors placed are one: the cheaper goes on.

use std::collections::HashSet;

use super::aim::Aim;
use super::profile::{Profile, Scratch};

/// Costs that differ by less than this part of a section are equal.
const GRAIN: f64 = 1e-6;

/// Tensors looked at between two looks at the clock.
const PATIENCE: u64 = 100_000;

/// A tensor put at an offset, after another decision.
#[derive(Clone, Copy)]
struct Decision {
    before: u32,
    item: u32,
    offset: u64,
}

/// One way on.
#[derive(Clone, Copy)]
struct Way {
    cost: f64,
    rank: f64,
    set: u64,
    parent: u32,
    valley: u32,
    item: u32,
}

/// The offset of each item of a ground, by the widest search that is asked for; `None` when it is stopped, or when all that it
/// finds would cost `limit` or more.
pub(super) fn beam(
    aim: &Aim<'_>,
    width: usize,
    limit: f64,
    scratch: &mut Scratch,
    stop: &dyn Fn() -> bool,
) -> Option<Vec<u64>> {
    let first = Profile::new(aim, scratch);
    if first.cost >= limit {
        return None;
    }
    let grain = GRAIN * aim.ground.sections() as f64;
    let mut profiles = vec![first];
    let mut spare: Vec<Profile> = Vec::new();
    let mut decisions: Vec<Decision> = Vec::new();
    let (mut ways, mut choices) = (Vec::new(), Vec::new());
    let mut next_look = scratch.looked + PATIENCE;
    while profiles[0].left > 0 {
        if scratch.looked >= next_look {
            if stop() {
                return None;
            }
            next_look = scratch.looked + PATIENCE;
        }
        ways.clear();
        for (parent, profile) in (0..).zip(&mut profiles) {
            let valley = profile.pick()?;
            profile.choices(aim, valley, scratch, &mut choices);
            if width == 1 && choices.len() == 1 {
                let valley = valley as u32;
                ways.push(Way { cost: 0.0, rank: 0.0, set: 0, parent, valley, item: choices[0].item });
                continue;
            }
            for choice in &choices {
                let (cost, set, rank) = profile.weigh(aim, valley, choice, scratch);
                if cost < limit {
                    let (cost, valley) = ((cost / grain).round(), valley as u32);
                    ways.push(Way { cost, rank, set, parent, valley, item: choice.item });
                }
            }
        }
        ways.sort_unstable_by(|a, b| {
            a.cost
                .total_cmp(&b.cost)
                .then(a.rank.total_cmp(&b.rank))
                .then((a.set, a.parent).cmp(&(b.set, b.parent)))
        });
        if width > 1 {
            let mut seen = HashSet::new();
            ways.retain(|way| seen.insert(way.set));
        }
        ways.truncate(width);
        if ways.is_empty() {
            return None;
        }
        // The last child of a profile takes its place, so that one way on costs no copy.
        let mut children: Vec<Profile> = Vec::with_capacity(ways.len());
        for (number, way) in ways.iter().enumerate() {
            let parent = &mut profiles[way.parent as usize];
            let mut child = if ways[number + 1..].iter().any(|other| other.parent == way.parent) {
                let mut child = spare.pop().unwrap_or_default();
                child.clone_from(parent);
                child
            } else {
                std::mem::take(parent)
            };
            let offset = child.place(aim, way.valley as usize, way.item, scratch);
            if width == 1 && child.cost >= limit {
                return None;
            }
            decisions.push(Decision { before: child.decision, item: way.item, offset });
            child.decision = decisions.len() as u32 - 1;
            children.push(child);
        }
        spare.extend(profiles.drain(..).filter(|profile| !profile.is_empty()));
        profiles = children;
    }
    let mut offsets = vec![0; aim.ground.items.len()];
    let mut at = profiles[0].decision;
    while let Some(decision) = decisions.get(at as usize) {
        offsets[decision.item as usize] = decision.offset;
        at = decision.before;
    }
    Some(offsets)
}
