//! Starts by moving one model after the other to its best one, while that lowers the peak (then the time spent at it); and where that begins.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::placed::{Models, Placed};
use super::profile::Load;

/// Moves one model after the other to its best start until no move helps, or time is up.
///
/// No move makes pinned tensors collide that did not. What did not help one model helps none that is like it and starts with it, until another was
/// moved: so thousands that are alike take about as long as their starts are many.
pub(super) fn descend(models: &Models<'_>, starts: &mut [u64], is_over: &dyn Fn() -> bool) {
    let mut placed = Placed::new(models, starts);
    let mut reached = height(&placed.load);
    let mut in_vain: HashSet<(usize, u64)> = HashSet::new();
    loop {
        let mut is_moved = false;
        for (i, at) in starts.iter_mut().enumerate() {
            if is_over() {
                return;
            }
            let start = *at;
            let now = (models.kinds[i], start);
            if in_vain.contains(&now) {
                continue;
            }
            placed.remove(i, start);
            let mut best = (placed.collisions_of(i, start), reached, start);
            for start in placed.meetings(i) {
                if is_over() {
                    break;
                }
                let collisions = placed.collisions_of(i, start);
                if collisions > best.0 {
                    continue;
                }
                let mut tried = placed.load.clone();
                tried.add(&models.profiles[i], start);
                let height = height(&tried);
                if (collisions, height) < (best.0, best.1) {
                    best = (collisions, height, start);
                }
            }
            if best.2 == start {
                in_vain.insert(now);
            } else {
                (reached, *at, is_moved) = (best.1, best.2, true);
                in_vain.clear();
            }
            placed.add(i, *at);
        }
        if !is_moved {
            return;
        }
    }
}

/// Starts that are compared for each model that is inserted: twice as many as it fits in one after the other, within these bounds, and
/// for all models together.
const INSERTIONS: (u64, u64) = (64, 4096);
const TOGETHER: u64 = 10_000_000;

/// Starts of models put in one after the other, the largest peak first, each where least is live then, of some starts evenly
/// apart; soon done for thousands of models, of which descending takes long. Pinned models are put at one another, and to the ends of the clock.
pub(super) fn insert(models: &Models<'_>, is_over: &dyn Fn() -> bool) -> Vec<u64> {
    let Models { profiles, latest, .. } = models;
    let mut order: Vec<usize> = (0..profiles.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(profiles[i].peak()));
    let mut starts = vec![0; profiles.len()];
    let mut placed = Placed::none(models);
    for (number, &i) in order.iter().enumerate() {
        let profile = &profiles[i];
        let many = latest[i].saturating_mul(2) / profile.steps.max(1);
        let many = many.min(INSERTIONS.1).min(TOGETHER / profiles.len() as u64).max(INSERTIONS.0);
        let at = |k: u64| (u128::from(latest[i]) * u128::from(k) / u128::from(many - 1)) as u64;
        // Without time they are spread evenly.
        if is_over() {
            starts[i] = (u128::from(latest[i]) * number as u128 / profiles.len() as u128) as u64;
            continue;
        }
        let mut tried = placed.pinned_meetings(i);
        if tried.is_empty() {
            tried = (0..many).map(at).collect();
        }
        // A first one is looked at whatever the time.
        let tried = tried.into_iter().enumerate().take_while(|&(k, _)| k == 0 || !is_over());
        let costs = tried
            .map(|(_, start)| (placed.collisions_of(i, start), placed.load.highest(profile, start), start));
        let best = costs.reduce(|best, next| if (next.0, next.1) < (best.0, best.1) { next } else { best });
        starts[i] = best.map_or(0, |(.., start)| start);
        placed.add(i, starts[i]);
    }
    starts
}

/// Starts at which models that are alike are spread evenly over all that they may have: of many, little more is live at any step than there
/// must be. One that is like no other is in the middle.
pub(super) fn spread(models: &Models<'_>) -> Vec<u64> {
    let mut of_kind = vec![0u64; models.different()];
    models.kinds.iter().for_each(|&kind| of_kind[kind] += 1);
    let mut next = vec![0u64; of_kind.len()];
    let start = |(&kind, &latest): (&usize, &u64)| {
        let half = 2 * next[kind] + 1;
        next[kind] += 1;
        let places = u128::from(latest) + 1;
        (places * u128::from(half) / u128::from(2 * of_kind[kind])) as u64
    };
    models.kinds.iter().zip(&models.latest).map(start).collect()
}

/// Most bytes live together, and for how many steps.
fn height(load: &Load) -> (u64, u64) {
    let mut most = (0, 0);
    for (from, to, level) in load.stretches() {
        match level.cmp(&most.0) {
            Ordering::Greater => most = (level, to - from),
            Ordering::Equal => most.1 += to - from,
            Ordering::Less => {}
        }
    }
    most
}
