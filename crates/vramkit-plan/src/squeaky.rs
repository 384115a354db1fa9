//! Squeaky wheel: what sticks out goes first next time (Joslin and Clements, "'Squeaky wheel' optimization", 1999).
//!
//! A greedy pass in some order leaves a few buffers above the height that is wanted. They are blamed, those blamed
//! most go to the front, and the pass is made again. Each order of the portfolio is such a line of passes of its
//! own; the better ones go on. A pass costs what a greedy pass costs, so this is for problems that are too large
//! for exact search: on those most of the height is decided by few buffers at few times, and a handful of passes
//! finds which.

use super::exact;
use super::greedy::{self, Placer};
use super::index::Fit;
use super::placement::Placement;
use super::problem::Problem;
use super::search::{Found, Goal, Search};
use super::threads;
use vramkit_units::ByteSize;

/// Problems of up to this many buffers are left to exact search.
const SMALL: usize = 1024;

/// Rounds of a first look: every height but the last once.
const FIRST_LOOK: usize = 12;

/// Problems of up to this many get no more: exact search follows.
const MEDIUM: usize = exact::LARGEST;

/// Between what is enough (0) and the best (100): buffers that end above are blamed. Another height blames others,
/// where the same few have been blamed for a while.
const HEIGHTS: [u64; 5] = [50, 75, 25, 90, 0];

/// Rounds after which half of the lines are given up, until two are left.
const TRIAL: usize = 3;

/// Greedy passes that put what stuck out to the front.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqueakyWheel;

/// An order with what it learned.
struct Line {
    order: Vec<u32>,
    /// The place of each buffer in the order at first: decides between equally blamed ones.
    rank: Vec<u32>,
    blame: Vec<u32>,
    fit: Fit,
    /// Its best; `None` before its first pass.
    best: Option<Placement>,
}

impl Search for SqueakyWheel {
    fn name(&self) -> &str {
        "squeaky wheel"
    }

    fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
        let rounds = if problem.buffers.len() <= MEDIUM { FIRST_LOOK } else { usize::MAX };
        within(problem, incumbent, goal, rounds)
    }
}

/// [`SqueakyWheel`] for a few rounds, in which it finds most of what it finds.
pub(super) struct FirstRounds;

impl Search for FirstRounds {
    fn name(&self) -> &str {
        SqueakyWheel.name()
    }

    fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
        within(problem, incumbent, goal, FIRST_LOOK)
    }
}

fn within(problem: &Problem, incumbent: &Placement, goal: &Goal<'_>, rounds: usize) -> Found {
    let mut found = Found { placement: None, bound: goal.bound };
    if problem.buffers.len() <= SMALL {
        return found;
    }
    let mut lines: Vec<Line> =
        greedy::orders(problem).into_iter().map(|(order, fit)| Line::new(order, fit)).collect();
    let mut arena = incumbent.arena;
    // More threads than lines would have nothing to do, and a placer takes memory.
    let threads = goal.threads.clamp(1, lines.len());
    let Some(placer) = Placer::new(problem, &|| goal.is_over()) else { return found };
    let mut placers = vec![placer; threads];
    for round in 0..rounds {
        if arena <= goal.enough || goal.is_over() {
            break;
        }
        // All lines aim at the same height, so the answer does not hang on the number of threads.
        let enough = goal.enough.bytes();
        let wanted = enough + (arena.bytes() - enough) / 100 * HEIGHTS[round / TRIAL % HEIGHTS.len()];
        let share = lines.len().div_ceil(placers.len());
        threads::spread(lines.chunks_mut(share).zip(&mut placers).collect(), |(lines, placer)| {
            for line in lines {
                if !goal.is_over() {
                    line.pass(problem, placer, wanted, &|| goal.is_over());
                }
            }
        });
        lines.sort_by_key(Line::height);
        if let Some(best) = &lines[0].best
            && best.arena < arena
        {
            arena = best.arena;
            goal.observer.progress(goal.bound, arena);
        }
        if (round + 1) % TRIAL == 0 {
            lines.truncate((lines.len() / 2).max(2));
        }
    }
    if arena < incumbent.arena {
        found.placement = lines.into_iter().find_map(|line| line.best);
    }
    found
}

impl Line {
    fn new(order: Vec<u32>, fit: Fit) -> Self {
        let mut rank = vec![0; order.len()];
        order.iter().zip(0..).for_each(|(&i, place)| rank[i as usize] = place);
        Self { blame: vec![0; order.len()], order, rank, fit, best: None }
    }

    /// Lower for a better line; highest for one that has had no pass yet.
    fn height(&self) -> (bool, ByteSize) {
        (self.best.is_none(), self.best.as_ref().map_or(ByteSize::ZERO, |best| best.arena))
    }

    /// Places everything, and blames what ends above `wanted`.
    fn pass(&mut self, problem: &Problem, placer: &mut Placer<'_>, wanted: u64, stop: &dyn Fn() -> bool) {
        let Some(arena) = placer.place(&self.order, self.fit, Some(u64::MAX), stop) else {
            return;
        };
        let arena = ByteSize::new(arena);
        if self.best.as_ref().is_none_or(|best| arena < best.arena) {
            let offsets = placer.offsets().iter().copied().map(ByteSize::new).collect();
            self.best = Some(Placement { offsets, arena });
        }
        let ends =
            problem.buffers.iter().zip(placer.offsets()).map(|(buffer, offset)| offset + buffer.bytes());
        for (blame, end) in self.blame.iter_mut().zip(ends) {
            *blame += u32::from(end > wanted);
        }
        let Self { order, rank, blame, .. } = self;
        order.sort_by_key(|&i| (std::cmp::Reverse(blame[i as usize]), rank[i as usize]));
    }
}
