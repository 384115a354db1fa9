//! Orders in one pass that keeps several sets of jobs: the best of each size.
//!
//! Only sets that are reached with at most so much live are kept, those with least live first; a pass proves nothing. From the
//! other end, on the net reversed, it often finds what it misses from this one.

use std::collections::BTreeMap;

use super::canonical::mix;
use super::effort::Effort;
use super::net::{Bytes, Net};
use super::state::{ByKey, State};

/// Words of the sets of a layer, at most.
const WORDS: usize = 8 << 20;

/// A set on the way: the path to it.
struct Reached {
    state: State,
    path: usize,
}

/// A job that may come next.
struct Choice {
    rank: (Bytes, u64),
    from: usize,
    job: u32,
    after: Bytes,
}

/// Paths, each as the one that it goes on from and the jobs beyond.
type Paths = Vec<(usize, Vec<usize>)>;

impl Net {
    /// An order with at most so much live, by a beam of a width; which of equals are kept follows from a seed.
    pub(super) fn beam(
        &self,
        most: Bytes,
        width: usize,
        seed: u64,
        effort: &mut Effort<'_>,
    ) -> Option<Vec<usize>> {
        let width = width.min(WORDS / (self.jobs.len() + 1)).max(1);
        let mut paths: Paths = Vec::new();
        // Sets by how many jobs they leave, the most first.
        let mut layers: BTreeMap<usize, ByKey<Reached>> = BTreeMap::new();
        let mut first = State::new(self);
        let mut steps = Vec::new();
        if self.base > most || !first.settle(self, most, &mut steps, effort) {
            return None;
        }
        paths.push((usize::MAX, steps));
        layers.entry(first.left).or_default().insert(first.key, Reached { state: first, path: 0 });
        while let Some((left, layer)) = layers.pop_last() {
            let mut sets: Vec<Reached> = layer.into_values().collect();
            if left == 0 {
                return sets.first().map(|set| walk(&paths, set.path));
            }
            sets.sort_unstable_by_key(|set| {
                (set.state.live, mix(set.state.key as u64 ^ seed), set.state.key)
            });
            sets.truncate(width);
            if !effort.spend(sets.iter().map(|set| set.state.scan(self)).sum()) {
                return None;
            }
            for choice in self.choices(&sets, most, width, seed) {
                let set = &sets[choice.from];
                let mut state = set.state.clone();
                let mut steps = vec![choice.job as usize];
                state.advance(self, choice.job as usize, choice.after);
                if !effort.spend(self.jobs.len() as u64 / 16) || !state.settle(self, most, &mut steps, effort)
                {
                    return None;
                }
                let layer = layers.entry(state.left).or_default();
                if let std::collections::hash_map::Entry::Vacant(place) = layer.entry(state.key) {
                    paths.push((set.path, steps));
                    place.insert(Reached { state, path: paths.len() - 1 });
                }
            }
        }
        None
    }

    /// The best jobs that can come next, for all sets of a layer together.
    fn choices(&self, sets: &[Reached], most: Bytes, width: usize, seed: u64) -> Vec<Choice> {
        let mut best: ByKey<Choice> = ByKey::default();
        for (from, set) in sets.iter().enumerate() {
            for &job in &set.state.ready {
                let (during, after) = set.state.cost(self, job as usize);
                if during <= most {
                    let key = set.state.key_with(job as usize);
                    let rank = (after, mix(key as u64 ^ seed));
                    best.entry(key).or_insert(Choice { rank, from, job, after });
                }
            }
        }
        let mut best: Vec<Choice> = best.into_values().collect();
        best.sort_unstable_by_key(|choice| (choice.rank, choice.from, choice.job));
        best.truncate(2 * width);
        best
    }
}

fn walk(paths: &Paths, mut path: usize) -> Vec<usize> {
    let mut parts = Vec::new();
    while let Some((from, steps)) = paths.get(path) {
        parts.push(steps);
        path = *from;
    }
    parts.into_iter().rev().flatten().copied().collect()
}
