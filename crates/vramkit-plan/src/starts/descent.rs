//! Starts by moving one model after the other to its best one, while that lowers the peak (then the time spent at it).
//!
//! The best starts are among those at which a rise of one model's load meets a fall of another's, or an end of the clock.

use super::profile::{Load, Profile};

/// Starts that are tried for one model, at most: evenly chosen where there are more.
const STARTS: usize = 400;

/// Changes of a model and of others that are paired to find starts, about: of more every so many of the model's.
const PAIRS: usize = 1 << 22;

/// Moves one model after the other to its best start until no move helps, or time is up.
pub(super) fn descend(profiles: &[Profile], latest: &[u64], starts: &mut [u64], is_over: &dyn Fn() -> bool) {
    let mut load = Load::new(profiles.iter().zip(starts.iter().copied()));
    let mut reached = height(&load);
    loop {
        let before = reached;
        for (i, profile) in profiles.iter().enumerate() {
            if is_over() {
                return;
            }
            let mut best = starts[i];
            load.remove(profile, starts[i]);
            for start in meetings(&load, profile, latest[i]) {
                if is_over() {
                    break;
                }
                let mut tried = load.clone();
                tried.add(profile, start);
                let height = height(&tried);
                if height < reached {
                    (reached, best) = (height, start);
                }
            }
            starts[i] = best;
            load.add(profile, best);
        }
        if reached == before {
            return;
        }
    }
}

/// Starts that are compared for each model that is inserted: twice as many as it fits in one after the other, within these bounds, and
/// for all models together.
const INSERTIONS: (u64, u64) = (64, 4096);
const TOGETHER: u64 = 10_000_000;

/// Starts of models put in one after the other, the largest peak first, each where least is live then, of some starts evenly
/// apart; soon done for thousands of models, of which descending takes long.
pub(super) fn insert(profiles: &[Profile], latest: &[u64], is_over: &dyn Fn() -> bool) -> Vec<u64> {
    let mut order: Vec<usize> = (0..profiles.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(profiles[i].peak()));
    let mut starts = vec![0; profiles.len()];
    let mut load = Load::new(std::iter::empty());
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
        // A first one is looked at whatever the time.
        let tried = (0..many).map(at).enumerate().take_while(|&(k, _)| k == 0 || !is_over());
        starts[i] =
            tried.map(|(_, start)| start).min_by_key(|&start| load.highest(profile, start)).unwrap_or(0);
        load.add(profile, starts[i]);
    }
    starts
}

/// The starts at which one of a model's changes meets one of the others', and both ends of the clock.
pub(super) fn meetings(load: &Load, profile: &Profile, latest: u64) -> Vec<u64> {
    let mut all = vec![0, latest];
    let pairs = profile.runs.len().saturating_mul(2 * load.times.len());
    let ends = profile.runs.iter().flat_map(|run| [run.from, run.to]);
    for own in ends.step_by(pairs.div_ceil(PAIRS).max(1)) {
        let starts = load.times.iter().filter_map(|time| time.checked_sub(own));
        all.extend(starts.filter(|&start| start <= latest));
        // Before it grows without end: evenly chosen ones will do.
        if all.len() > 64 * STARTS {
            thin(&mut all);
        }
    }
    thin(&mut all);
    all
}

fn thin(all: &mut Vec<u64>) {
    all.sort_unstable();
    all.dedup();
    let stride = all.len().div_ceil(STARTS).max(1);
    let mut i = 0;
    all.retain(|_| {
        i += 1;
        (i - 1) % stride == 0
    });
}

/// Most bytes live together, and for how many steps.
fn height(load: &Load) -> (u64, u64) {
    let mut most = (0, 0);
    for (from, to, level) in load.stretches() {
        match level.cmp(&most.0) {
            std::cmp::Ordering::Greater => most = (level, to - from),
            std::cmp::Ordering::Equal => most.1 += to - from,
            std::cmp::Ordering::Less => {}
        }
    }
    most
}
