//! From "is there one?" to "which is the smallest?": targets between the bound and the best.
//!
//! A target that is met lowers the best, one that is refuted raises the bound, until they meet or time is up.
//! Where between them the answer lies is not known, so several targets are tried in turn, each with a budget of
//! nodes that doubles while nothing changes.

use super::dive::Outcome;
use super::restart::Restarts;
use super::sections::Sections;
use crate::plan::greedy::Placement;
use crate::plan::problem::Problem;
use crate::plan::search::{Found, Goal, Search};

/// Problems of more buffers than this are left as they are: every pair has a bit.
const LARGEST: usize = 4096;

/// Where between the bound (0) and just below the best (1) targets lie.
const TARGETS: [f64; 7] = [0.5, 0.25, 0.75, 0.1, 0.9, 0.0, 1.0];

/// Nodes of the first budget, for each buffer.
const FIRST: u64 = 8;

/// Complete search; see the [module](super).
#[derive(Clone, Copy, Debug, Default)]
pub struct Exact;

impl Search for Exact {
    fn name(&self) -> &str {
        "exact search"
    }

    fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
        let mut found = Found { placement: None, bound: goal.bound };
        if problem.buffers.len() > LARGEST {
            return found;
        }
        let Some(sections) = Sections::new(problem) else {
            return found;
        };
        let grid = sections.grid();
        let mut search = Restarts::new(&sections, incumbent.arena);
        let mut arena = incumbent.arena;
        let mut budget = FIRST * problem.buffers.len() as u64;
        found.bound = found.bound.next_multiple_of(grid);
        while arena > goal.enough.max(found.bound) && !goal.is_over() {
            // An arena that would be enough is asked for first; what else is to be had, only when that one is not.
            let asked = Some(goal.enough).filter(|&enough| enough > goal.bound && enough >= found.bound);
            let (low, room) = (found.bound, arena - 1 - found.bound);
            let between = TARGETS.iter().map(|q| low + (q * room as f64) as u64);
            let targets: Vec<u64> = asked.map_or_else(|| between.collect(), |enough| vec![enough]);
            let mut changed = false;
            for target in targets {
                search.set_capacity(target / grid * grid);
                match search.search(budget, &|| goal.is_over()) {
                    (Outcome::Found, Some(offsets)) => {
                        let placement = Placement::new(problem, offsets);
                        debug_assert!(placement.arena <= target);
                        arena = placement.arena;
                        found.placement = Some(placement);
                        changed = true;
                    }
                    (Outcome::Exhausted, _) => {
                        found.bound = (target + 1).next_multiple_of(grid);
                        changed = true;
                    }
                    _ => {}
                }
                if changed || goal.is_over() {
                    break;
                }
            }
            goal.observer.progress(found.bound, arena);
            if !changed {
                budget *= 2;
            }
        }
        found
    }
}
