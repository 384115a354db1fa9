//! The two searches: who works on what, and for how long.

use super::ground::Ground;
use super::layout::{Layout, Places};
use super::passes::Line;
use super::windows::Worker;
use crate::exact;
use crate::placement::Placement;
use crate::problem::Problem;
use crate::search::{Found, Goal, Search};
use crate::threads;
use vramkit_units::ByteSize;

/// Problems of fewer buffers are left to exact search.
const SMALLEST: usize = 64;

/// Problems of more buffers, or of longer lives in sections all together, are left as they are: a pass looks at every section of
/// every life, and is to end in seconds.
const LARGEST: usize = 200_000;
const LONGEST: u64 = 400_000_000;

/// Rounds of passes without a better one after which windows begin.
const STALE: usize = 6;

/// Rounds of windows without a better layout after which exact search goes on, where it does.
const STALE_WINDOWS: usize = 12;

/// Rounds after which half of the lines are given up, until two are left.
const TRIAL: usize = 2;

/// Tensors that a worker looks at before all go on from the best, for each buffer and at most: up to some tenths of a second.
const ROUND: u64 = 10_000;
const LONGEST_ROUND: u64 = 20_000_000;

/// Passes of a beam over the floors of valleys, with rules and learned weights, for problems of 64 to 200,000 buffers: whole
/// placements from nothing. `docs/planning.md` has the method and its sources.
#[derive(Clone, Copy, Debug, Default)]
pub struct FloorSearch;

impl Search for FloorSearch {
    fn name(&self) -> &str {
        "floor search"
    }

    fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
        from(problem, incumbent, goal, |best| pass_all(best, goal))
    }
}

/// Large-neighbourhood search over windows of time and address, which a beam over floors places anew, for problems of 64 to 200,000
/// buffers. Ends by itself where exact search can go on. `docs/planning.md` has the method and its sources.
#[derive(Clone, Copy, Debug, Default)]
pub struct WindowSearch;

impl Search for WindowSearch {
    fn name(&self) -> &str {
        "window search"
    }

    fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
        let most_stale = if problem.buffers.len() <= exact::LARGEST { STALE_WINDOWS } else { usize::MAX };
        from(problem, incumbent, goal, |best| work_all(best, most_stale, goal))
    }
}

/// What becomes of the best layout so far.
fn from(
    problem: &Problem,
    incumbent: &Placement,
    goal: &Goal<'_>,
    improve: impl FnOnce(&mut Layout<'_>),
) -> Found {
    let mut found = Found { placement: None, bound: goal.bound };
    // What has gaps would only be in the way: squeaky wheel uses them.
    if !problem.gaps.is_empty() {
        return found;
    }
    let lives: u64 = problem.buffers.iter().map(|buffer| u64::from(buffer.end - buffer.start)).sum();
    if !(SMALLEST..=LARGEST).contains(&problem.buffers.len()) || lives > LONGEST {
        return found;
    }
    if let Some(places) = Places::new(problem) {
        let given = incumbent.offsets.iter().map(|offset| offset.bytes()).collect();
        let mut best = Layout::new(&places, given);
        improve(&mut best);
        found.placement = Some(best.placement()).filter(|best| best.arena < incumbent.arena);
    }
    found
}

/// Takes another layout where it is lower.
fn take<'a>(best: &mut Layout<'a>, other: &Layout<'a>, goal: &Goal<'_>) -> bool {
    let is_lower = other.arena() < best.arena();
    if is_lower {
        best.clone_from(other);
        goal.observer.progress(goal.bound, ByteSize::new(best.arena()));
    }
    is_lower
}

/// Lines of passes over everything, until none has been better for a while.
fn pass_all<'a>(best: &mut Layout<'a>, goal: &Goal<'_>) {
    let (places, wanted) = (best.places, goal.enough.bytes());
    let ground = Ground::window(best, (0, places.sections()), 0);
    let fixed = best.offsets.clone();
    let mut lines = Line::all(places.sections());
    let mut stale = 0;
    for round in 1.. {
        if best.arena() <= wanted || stale >= STALE || goal.is_over() {
            return;
        }
        let mut passes: Vec<(&mut Line, Option<Layout<'a>>)> =
            lines.iter_mut().map(|line| (line, None)).collect();
        let share = passes.len().div_ceil(goal.threads.max(1));
        threads::spread(passes.chunks_mut(share).collect(), |own| {
            for (line, layout) in own {
                *layout = line.pass(places, &ground, &fixed, wanted, &|| goal.is_over());
            }
        });
        let mut is_better = false;
        for (_, layout) in &passes {
            is_better |= layout.as_ref().is_some_and(|layout| take(best, layout, goal));
        }
        stale = if is_better { 0 } else { stale + 1 };
        if round % TRIAL == 0 {
            lines.sort_by_key(Line::height);
            lines.truncate((lines.len() / 2).max(2));
        }
    }
}

/// Windows of the best layout, on every thread, which meet after each round; until some rounds have brought nothing.
fn work_all<'a>(best: &mut Layout<'a>, most_stale: usize, goal: &Goal<'_>) {
    let wanted = goal.enough.bytes();
    let workers = 0..goal.threads.max(1) as u64;
    let seed = goal.seed.wrapping_mul(64);
    let mut workers: Vec<Worker<'a>> =
        workers.map(|number| Worker::new(best.clone(), seed.wrapping_add(number))).collect();
    let budget = LONGEST_ROUND.min(ROUND * best.offsets.len() as u64);
    let mut stale = 0;
    while best.arena() > wanted && stale < most_stale && !goal.is_over() {
        threads::spread(workers.iter_mut().collect(), |worker| {
            worker.work(wanted, budget, &|| goal.is_over())
        });
        let cost = |worker: &Worker<'a>| {
            let height = |top: u64| (top as f64 / wanted as f64).powi(32);
            worker.layout.tops.iter().map(|&top| height(top)).sum::<f64>()
        };
        let Some(lowest) =
            (0..workers.len()).min_by(|&a, &b| cost(&workers[a]).total_cmp(&cost(&workers[b])))
        else {
            return;
        };
        stale += 1;
        for worker in &workers {
            if take(best, &worker.layout, goal) {
                stale = 0;
            }
        }
        let lowest = workers[lowest].layout.clone();
        workers.iter_mut().for_each(|worker| worker.layout.clone_from(&lowest));
    }
}
