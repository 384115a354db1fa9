//! Local search around first fit: what ends at the top is placed earlier.
//!
//! Buffers in order of their offsets, each put at its first fit, give an arena no larger than before (each finds
//! its old place free, at worst). So an order stands for a placement, and a better one is sought among its
//! neighbours: one of the buffers that end at the top of the arena moves to a random earlier place in the order.
//! What is not worse is kept. Stops at the goal, at the deadline, or when many neighbours in a row were worse.
//! Large problems are left alone: a pass over them costs too much for moving one buffer.

use super::greedy::{Placement, Placer};
use super::index::Fit;
use super::search::{Found, Goal, Search};
use super::problem::Problem;
use super::random::Random;

/// Problems of more buffers than this are left as they are.
const LARGEST: usize = 4096;

/// Local search around first fit: buffers that end at the top of the arena move to earlier places in the order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Promotion;

impl Search for Promotion {
    fn name(&self) -> &str {
        "promotion"
    }

    fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
        if problem.buffers.len() > LARGEST {
            return Found { placement: None, bound: goal.bound };
        }
        let mut random = Random::new(goal.seed);
        let mut worse = 0;
        let mut placer = Placer::new(problem);
        let mut best = incumbent.clone();
        let mut order = by_offset(&best);
        while best.arena > goal.enough && worse < 100 + 2 * order.len() && !goal.is_over() {
            let ends_at_top = |&i: &usize| {
                let i = order[i] as usize;
                best.offsets[i] + problem.buffers[i].size == best.arena && problem.buffers[i].pinned.is_none()
            };
            let top: Vec<usize> = (1..order.len()).filter(ends_at_top).collect();
            // Only pinned buffers, or the first of the order, are at the top: no order helps.
            let Some(&from) = top.get(random.below(top.len())) else {
                break;
            };
            let to = random.below(from);
            order[to..=from].rotate_right(1);
            match placer.place(&order, Fit::First, best.arena + 1) {
                Some(arena) => {
                    worse = if arena < best.arena { 0 } else { worse + 1 };
                    best = Placement { offsets: placer.offsets().to_vec(), arena };
                    order = by_offset(&best);
                }
                None => {
                    worse += 1;
                    order[to..=from].rotate_left(1);
                }
            }
        }
        let better = best.arena < incumbent.arena;
        Found { placement: better.then_some(best), bound: goal.bound }
    }
}

fn by_offset(placement: &Placement) -> Vec<u32> {
    let mut order: Vec<u32> = (0..placement.offsets.len() as u32).collect();
    order.sort_by_key(|&i| placement.offsets[i as usize]);
    order
}
