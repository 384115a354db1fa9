//! Starts by local search: what is more than a capacity at any step is moved away until nothing is.
//!
//! A model that is live where too much is, and some others, are taken out and put back one after the other, each where
//! least is over the capacity. What comes of it is kept when it is better, and for a while when it is little worse (threshold
//! accepting: Dueck and Scheuer, 1990). A capacity that is met is lowered. No pinned tensors collide that did not.

use vramkit_units::SplitMix64;

use super::placed::{Models, Placed};
use super::profile::Load;

/// Models taken out at once, at most.
const OUT: usize = 5;

/// Models with starts, and what is over a capacity.
pub(super) struct Repair<'a> {
    pub(super) models: &'a Models<'a>,
    pub(super) random: SplitMix64,
}

impl Repair<'_> {
    /// Changes starts until no step has more than a capacity, for so many moves. Whether that was reached.
    pub(super) fn reach(
        &mut self,
        starts: &mut [u64],
        capacity: u64,
        moves: usize,
        is_over: &dyn Fn() -> bool,
    ) -> bool {
        let mut placed = Placed::new(self.models, starts);
        let mut cost = placed.load.over(capacity);
        let mut collisions = placed.collisions();
        let scale = cost;
        for i in 0..moves {
            if cost == 0.0 {
                return true;
            }
            if is_over() {
                return false;
            }
            let out = self.chosen(&placed.load, starts, capacity);
            let before: Vec<u64> = out.iter().map(|&model| starts[model]).collect();
            let mut tried = placed.clone();
            for &model in &out {
                tried.remove(model, starts[model]);
            }
            for &model in &out {
                starts[model] = self.best(&tried, model, capacity, is_over);
                tried.add(model, starts[model]);
            }
            let (new, collide) = (tried.load.over(capacity), tried.collisions());
            let slack = 0.05 * scale.min(cost) * (1.0 - i as f64 / moves as f64);
            if collide <= collisions && new <= cost + slack * self.random.unit() {
                (cost, collisions, placed) = (new, collide, tried);
            } else {
                out.iter().zip(before).for_each(|(&model, start)| starts[model] = start);
            }
        }
        cost == 0.0
    }

    /// One model that is live where too much is, and others; in the order in which they are put back.
    fn chosen(&mut self, load: &Load, starts: &[u64], capacity: u64) -> Vec<usize> {
        let steps: Vec<(u64, u64)> =
            load.stretches().filter(|stretch| stretch.2 > capacity).map(|(from, to, _)| (from, to)).collect();
        let (from, to) = steps[self.random.below(steps.len())];
        let live = |&i: &usize| {
            let mut runs = self.models.profiles[i].runs.iter();
            runs.any(|run| starts[i] + run.from < to && from < starts[i] + run.to)
        };
        let there: Vec<usize> = (0..starts.len()).filter(live).collect();
        let mut out = vec![there[self.random.below(there.len())]];
        let others = self.random.below(OUT.min(starts.len()));
        while out.len() <= others {
            let other = self.random.below(starts.len());
            if !out.contains(&other) {
                out.push(other);
            }
        }
        // The largest first, more or less.
        let mut keyed: Vec<(f64, usize)> = out
            .into_iter()
            .map(|i| {
                let area: f64 = self.models.profiles[i]
                    .runs
                    .iter()
                    .map(|run| (run.to - run.from) as f64 * run.bytes as f64)
                    .sum();
                (-area * (0.3 + self.random.unit()), i)
            })
            .collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        keyed.into_iter().map(|(_, i)| i).collect()
    }

    /// The start at which least is over the capacity, of those that there is time for; of equal ones any.
    fn best(&mut self, placed: &Placed<'_>, model: usize, capacity: u64, is_over: &dyn Fn() -> bool) -> u64 {
        let profile = &self.models.profiles[model];
        let mut best = ((f64::INFINITY, f64::INFINITY), 0);
        let mut equal = 0;
        for start in placed.meetings(model) {
            if equal > 0 && is_over() {
                break;
            }
            let over = (placed.collisions_of(model, start), placed.load.excess(profile, start, capacity));
            if over < best.0 {
                (best, equal) = ((over, start), 1);
            } else if over == best.0 {
                equal += 1;
                if self.random.below(equal) == 0 {
                    best.1 = start;
                }
            }
        }
        best.1
    }
}
