//! Models whose loads fit one another: what some free, others take at the same step.
//!
//! Where all bytes are taken at all steps, what changes at one step comes to nothing. Sizes of many values seldom do so by chance, so
//! changes of two, three or four models that come to nothing say how these models stand to one another. They become one profile, and
//! that is fitted to others as they were. It is what is done with moments that are known, too (`blocks`).

use std::collections::HashMap;

use vramkit_units::SplitMix64;

use super::profile::{Profile, runs};

/// Pairs of changes up to which three are looked for, and up to which four are: of more, some fit by chance.
const FOR_THREE: usize = 1_000_000;
const FOR_FOUR: usize = 20_000;

/// Groups that are looked at of each kind: where there are more, sizes are of few values, and say little.
const MOST: usize = 100_000;

/// Groups that are looked through for those of different models.
const LOOKED: usize = 16 * MOST;

/// Some of the models as one.
pub(super) struct Fitted {
    pub(super) profile: Profile,
    /// Which, and how many steps after it each starts.
    pub(super) members: Vec<(usize, u64)>,
}

/// A change of a load: of which of the profiles, at which of its steps, by how much.
#[derive(Clone, Copy)]
struct Change {
    of: usize,
    step: u64,
    by: i128,
}

/// The models, joined as far as they fit into a makespan and a capacity: the fewest of so many times.
pub(super) fn fit(
    profiles: &[Profile],
    makespan: u64,
    capacity: u64,
    times: usize,
    random: &mut SplitMix64,
    is_over: &dyn Fn() -> bool,
) -> Vec<Fitted> {
    let mut fewest = once(profiles, makespan, capacity, random, is_over);
    for _ in 1..times {
        // Where nothing fits, nothing fits another time.
        if fewest.len() == 1 || fewest.len() == profiles.len() || is_over() {
            break;
        }
        let fitted = once(profiles, makespan, capacity, random, is_over);
        if fitted.len() <= fewest.len() {
            fewest = fitted;
        }
    }
    fewest
}

fn once(
    profiles: &[Profile],
    makespan: u64,
    capacity: u64,
    random: &mut SplitMix64,
    is_over: &dyn Fn() -> bool,
) -> Vec<Fitted> {
    let single = |(i, profile): (usize, &Profile)| Fitted { profile: profile.clone(), members: vec![(i, 0)] };
    let mut all: Vec<Fitted> = profiles.iter().enumerate().map(single).collect();
    while !is_over() {
        let changes: Vec<Change> = all.iter().enumerate().flat_map(|(of, one)| changes(of, one)).collect();
        let found = [two, three, four].iter().find_map(|look| {
            let mut groups = look(&changes);
            while !groups.is_empty() && !is_over() {
                let group = groups.swap_remove(random.below(groups.len()));
                if let Some(joined) = join(&all, &group, makespan, capacity) {
                    return Some((group, joined));
                }
            }
            None
        });
        let Some((group, joined)) = found else { break };
        let mut gone: Vec<usize> = group.iter().map(|change| change.of).collect();
        gone.sort_unstable();
        gone.iter().rev().for_each(|&i| drop(all.swap_remove(i)));
        all.push(joined);
    }
    all
}

/// The changes of a load.
fn changes(of: usize, one: &Fitted) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for run in &one.profile.runs {
        let bytes = i128::from(run.bytes);
        match changes.last_mut() {
            Some(last) if last.step == run.from => last.by += bytes,
            _ => changes.push(Change { of, step: run.from, by: bytes }),
        }
        changes.push(Change { of, step: run.to, by: -bytes });
    }
    changes
}

/// Where each change by so much is.
fn by_change(changes: &[Change]) -> HashMap<i128, Vec<Change>> {
    let mut all: HashMap<i128, Vec<Change>> = HashMap::new();
    changes.iter().for_each(|change| all.entry(change.by).or_default().push(*change));
    all
}

/// Two changes of different models that come to nothing.
fn two(changes: &[Change]) -> Vec<Vec<Change>> {
    let all = by_change(changes);
    let begun = changes.iter().filter(|change| change.by > 0);
    let others = |&a: &Change| all.get(&-a.by).into_iter().flatten().map(move |&b| vec![a, b]);
    begun.flat_map(others).take(LOOKED).filter(|group| are_apart(group)).take(MOST).collect()
}

/// Three.
fn three(changes: &[Change]) -> Vec<Vec<Change>> {
    if changes.len() * changes.len() > FOR_THREE {
        return Vec::new();
    }
    let all = by_change(changes);
    let pairs =
        changes.iter().enumerate().flat_map(|(place, &a)| changes[place + 1..].iter().map(move |&b| (a, b)));
    // The third has the other sign, so each group is found once.
    let pairs = pairs.filter(|(a, b)| (a.by > 0) == (b.by > 0));
    let groups = pairs.flat_map(|(a, b)| {
        let thirds = all.get(&-(a.by + b.by)).into_iter().flatten();
        thirds.map(move |&c| vec![a, b, c])
    });
    groups.take(LOOKED).filter(|group| are_apart(group)).take(MOST).collect()
}

/// Four, two of which take what two free.
fn four(changes: &[Change]) -> Vec<Vec<Change>> {
    if changes.len() * changes.len() > FOR_FOUR {
        return Vec::new();
    }
    let mut taken: HashMap<i128, Vec<(Change, Change)>> = HashMap::new();
    let mut freed = Vec::new();
    for (place, &a) in changes.iter().enumerate() {
        for &b in changes[place + 1..].iter().filter(|b| b.of != a.of && (b.by > 0) == (a.by > 0)) {
            if a.by > 0 {
                taken.entry(a.by + b.by).or_default().push((a, b));
            } else {
                freed.push((a, b));
            }
        }
    }
    let group = |(a, b): (Change, Change)| {
        let others = taken.get(&-(a.by + b.by)).into_iter().flatten();
        others.map(move |&(c, d)| vec![a, b, c, d])
    };
    freed.into_iter().flat_map(group).take(LOOKED).filter(|group| are_apart(group)).take(MOST).collect()
}

/// Whether all are of different models.
fn are_apart(group: &[Change]) -> bool {
    group.iter().enumerate().all(|(place, a)| group[..place].iter().all(|b| a.of != b.of))
}

/// Those of a group as one, where their changes are at one step.
fn join(all: &[Fitted], group: &[Change], makespan: u64, capacity: u64) -> Option<Fitted> {
    let at = group.iter().map(|change| change.step).max()?;
    let (mut changes, mut members) = (Vec::new(), Vec::new());
    let (mut steps, mut alignment) = (0u64, 1);
    for change in group {
        let (one, later) = (&all[change.of], at - change.step);
        steps = steps.max(one.profile.steps.checked_add(later)?);
        alignment = alignment.max(one.profile.alignment);
        for run in &one.profile.runs {
            changes.push((run.from + later, i128::from(run.bytes)));
            changes.push((run.to + later, -i128::from(run.bytes)));
        }
        members.extend(one.members.iter().map(|&(model, start)| (model, start + later)));
    }
    let profile = Profile { runs: runs(changes), steps, alignment };
    (steps <= makespan && profile.peak() <= capacity).then_some(Fitted { profile, members })
}
