//! From "is there one?" to "which is the smallest?": targets between the bound and the best.
//!
//! A target that is met lowers the best, one that is refuted raises the bound, until they meet or time is up.
//! Where between them the answer lies is not known, so several targets are tried in turn, each with a budget of
//! nodes that doubles while nothing changes.

use super::restart::{Answer, Restarts};
use super::sections::Sections;
use super::units::Units;
use crate::placement::Placement;
use crate::problem::Problem;
use crate::search::{Found, Goal, Search};
use crate::threads;
use vramkit_units::ByteSize;

/// Problems of more buffers than this are left as they are: every pair has a bit.
pub(crate) const LARGEST: usize = 4096;

/// Words of bits for who is live at which rank, beyond which a problem is left as it is: 32 MiB.
const WORDS: usize = 4 << 20;

/// Where between the bound (0) and just below the best (1) targets lie. Half of the work is for the bound itself: it is nearly always
/// reached where anything is. With as much for each target J was at its load for four of sixteen seeds, so for eight
/// (`scripts/bench-planning`, the part `seeds`); the bound alone leaves a high arena for long, and others teach what helps there.
const TARGETS: [f64; 10] = [0.0, 0.5, 0.0, 0.25, 0.0, 0.75, 0.0, 0.1, 0.0, 0.9];

/// Nodes of the first budget, for each buffer.
const FIRST: u64 = 8;

/// Nodes that one thread searches before others help: what takes less is over before they would pay.
const ALONE: u64 = 100_000;

/// Nodes of a first look: some tenths of a second.
const FIRST_LOOK: u64 = 100_000;

/// Complete search by section branching with learned conflict weights, for parts of up to 4,096 buffers: the
/// smallest arena and the proof that none is smaller, or the best of both by the deadline. `docs/planning.md` has the
/// method and its sources.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExactSearch;

impl Search for ExactSearch {
    fn name(&self) -> &str {
        "exact search"
    }

    fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
        within(problem, incumbent, goal, u64::MAX)
    }
}

/// [`ExactSearch`] for no longer than most problems take that it solves at all.
pub(crate) struct FirstLook;

impl Search for FirstLook {
    fn name(&self) -> &str {
        ExactSearch.name()
    }

    fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
        within(problem, incumbent, goal, FIRST_LOOK)
    }
}

fn within(problem: &Problem, incumbent: &Placement, goal: &Goal<'_>, nodes: u64) -> Found {
    match AnySections::of(problem) {
        Some(AnySections::Narrow(sections)) => improve(&sections, problem, incumbent, goal, nodes),
        Some(AnySections::Wide(sections)) => improve(&sections, problem, incumbent, goal, nodes),
        None => Found { placement: None, bound: goal.bound },
    }
}

/// Whether there is a placement within a capacity, as far as some nodes can tell; an empty problem fits.
pub(crate) fn decide(problem: &Problem, capacity: u64, nodes: u64, goal: &Goal<'_>) -> Answer {
    fn ask<U: Units>(sections: &Sections<U>, capacity: u64, nodes: u64, goal: &Goal<'_>) -> Answer {
        Restarts::new(sections, capacity, goal.seed).search(nodes, &|| goal.is_over())
    }
    match AnySections::of(problem) {
        Some(AnySections::Narrow(sections)) => ask(&sections, capacity, nodes, goal),
        Some(AnySections::Wide(sections)) => ask(&sections, capacity, nodes, goal),
        None => Answer::Open,
    }
}

/// Sections in the narrowest numbers that hold a problem's sizes.
enum AnySections {
    Narrow(Sections<i32>),
    Wide(Sections<i64>),
}

impl AnySections {
    /// `None` for a problem that is left as it is.
    fn of(problem: &Problem) -> Option<Self> {
        let n = problem.buffers.len();
        if n > LARGEST || problem.ranks as usize * n.div_ceil(64) > WORDS {
            return None;
        }
        let narrow = Sections::new(problem).map(Self::Narrow);
        narrow.or_else(|| Sections::new(problem).map(Self::Wide))
    }
}

fn improve<U: Units>(
    sections: &Sections<U>,
    problem: &Problem,
    incumbent: &Placement,
    goal: &Goal<'_>,
    most: u64,
) -> Found {
    let (given_bound, wanted) = (goal.bound.bytes(), goal.enough.bytes());
    let mut placement = None;
    let grid = sections.grid();
    let mut arena = incumbent.arena.bytes();
    let mut budget = FIRST * problem.buffers.len() as u64;
    let mut nodes = 0;
    let mut bound = given_bound.next_multiple_of(grid);
    let mut searchers: Vec<Restarts<'_, U>> = Vec::new();
    'changed: while arena > wanted.max(bound) && nodes < most && !goal.is_over() {
        // An arena that would be enough is asked for first; what else is to be had, only when that one is not.
        let asked = Some(wanted).filter(|&enough| enough > given_bound && enough >= bound);
        let threads = if nodes < ALONE { 1 } else { goal.threads.max(1) };
        let (low, room) = (bound, arena - 1 - bound);
        let between = TARGETS.iter().map(|q| low + ((q * room as f64) as u64).min(room));
        let targets: Vec<u64> = asked.map_or_else(|| between.collect(), |enough| vec![enough; threads]);
        let targets: Vec<u64> = targets.into_iter().map(|target| target / grid * grid).collect();
        while searchers.len() < threads {
            let seed = goal.seed.wrapping_mul(64) + searchers.len() as u64;
            searchers.push(Restarts::new(sections, arena, seed));
        }
        for targets in targets.chunks(threads) {
            let before = (bound, arena);
            for (target, answer) in ask(&mut searchers, targets, budget, goal) {
                match answer {
                    Answer::Found(offsets) => {
                        let offsets = offsets.into_iter().map(ByteSize::new).collect();
                        let better = Placement::new(problem, offsets);
                        debug_assert!(better.arena.bytes() <= target);
                        if better.arena.bytes() < arena {
                            arena = better.arena.bytes();
                            placement = Some(better);
                        }
                    }
                    Answer::Refuted => bound = bound.max((target + 1).next_multiple_of(grid)),
                    Answer::Open => {}
                }
                nodes += budget;
            }
            if before != (bound, arena) {
                goal.observer.progress(ByteSize::new(bound), ByteSize::new(arena));
                continue 'changed;
            }
            if goal.is_over() {
                break 'changed;
            }
        }
        budget *= 2;
    }
    Found { placement, bound: ByteSize::new(bound) }
}

/// Asks each searcher about a target, on a thread of its own where there are several.
fn ask<U: Units>(
    searchers: &mut [Restarts<'_, U>],
    targets: &[u64],
    budget: u64,
    goal: &Goal<'_>,
) -> Vec<(u64, Answer)> {
    let one = |searcher: &mut Restarts<'_, U>, target: u64| {
        searcher.set_capacity(target);
        (target, searcher.search(budget, &|| goal.is_over()))
    };
    if let ([searcher, ..], &[target]) = (&mut *searchers, targets) {
        return vec![one(searcher, target)];
    }
    let mut answers: Vec<(u64, Answer)> = targets.iter().map(|&target| (target, Answer::Open)).collect();
    threads::spread(searchers.iter_mut().zip(&mut answers).collect(), |(searcher, answer)| {
        *answer = one(searcher, answer.0);
    });
    answers
}
