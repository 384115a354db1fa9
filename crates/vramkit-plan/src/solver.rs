//! From a problem to a placement and a bound: parts, the portfolio, then searches.
//!
//! A [`Problem`] and a [`Task`] come in; what goes out is a placement that is never worse than the portfolio's, and a bound
//! that no arena is below. Names, schedules and whole plans are the planner's.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::num::NonZero;
use std::time::Instant;

use super::greedy;
use super::placement::Placement;
use super::problem::Problem;
use super::recorder::StepRecorder;
use super::search::{Goal, Observer as _, Search};
use vramkit_units::ByteSize;

/// The searches, and what they may use.
#[derive(Default)]
pub(super) struct Solver {
    pub(super) searches: Vec<Box<dyn Search>>,
    /// Where random choices start.
    pub(super) seed: u64,
    /// How many threads may work; as many as the machine has where that is not said.
    pub(super) threads: Option<usize>,
}

/// A part's placement, or a whole problem's.
#[derive(Default)]
pub(super) struct Solved {
    pub(super) placement: Placement,
    pub(super) method: String,
    /// No arena is smaller.
    pub(super) bound: ByteSize,
    /// The buffers of the part that the bound is from.
    pub(super) tightest: Vec<u32>,
}

/// What a plan is to reach, by when, and who is told.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) capacity: Option<ByteSize>,
    pub(super) deadline: Instant,
    /// When first answers are to do with what they have, which may be later.
    pub(super) portfolio: Instant,
    pub(super) recorder: &'a StepRecorder<'a>,
}

impl Task<'_> {
    /// Whether first answers are to do with what they have.
    pub(super) fn has_waited(&self) -> bool {
        Instant::now() >= self.portfolio || self.recorder.is_stopped()
    }
}

impl Solver {
    /// Parts first, the fullest first: once one has an arena, no other needs a smaller one. `hints` are empty, or say where each
    /// buffer may be tried first.
    pub(super) fn solve(&self, problem: &Problem, hints: &[Option<u64>], task: Task<'_>) -> Solved {
        let mut parts: Vec<(ByteSize, Vec<u32>, Cow<'_, Problem>)> = problem
            .parts()
            .into_iter()
            .map(|part| {
                // One part in its own order is the problem itself.
                let is_all = part.len() == problem.buffers.len() && part.is_sorted();
                let own = if is_all { Cow::Borrowed(problem) } else { Cow::Owned(problem.restrict(&part)) };
                (own.lower_bound(), part, own)
            })
            .collect();
        parts.sort_by_key(|(bound, ..)| std::cmp::Reverse(*bound));
        let highest = parts.first().map_or(ByteSize::ZERO, |(bound, ..)| *bound);
        let capacity = task.capacity.unwrap_or_default();
        let mut whole = Solved {
            placement: Placement {
                offsets: vec![ByteSize::ZERO; problem.buffers.len()],
                arena: ByteSize::ZERO,
            },
            method: "nothing to place".to_owned(),
            bound: highest,
            tightest: parts.first().map_or_else(Vec::new, |(_, part, _)| part.clone()),
        };
        let stop = || task.has_waited();
        let now = Instant::now();
        let half = now + task.portfolio.saturating_duration_since(now) / 2;
        // Every part has its first answer before any is searched: what is searched may take all the time.
        let mut solved = Vec::with_capacity(parts.len());
        for (bound, part, restricted) in &parts {
            let enough = highest.max(capacity);
            // Hints come first: whoever gives them may know more than any order does, and of many buffers there may be no time for both.
            let own: Vec<Option<u64>> = part.iter().filter_map(|&i| hints.get(i as usize).copied()).collect();
            let is_late = || Instant::now() >= half || stop();
            let sunk =
                own.iter().any(Option::is_some).then(|| greedy::from_hints(restricted, &own, &is_late));
            let hinted = sunk.flatten().or_else(|| greedy::as_hinted(restricted, &own));
            let hinted = hinted.map(|hinted| (hinted, "hints".to_owned()));
            let (placement, method) = match hinted {
                Some(hinted) if hinted.0.arena <= enough => hinted,
                hinted => {
                    let best = greedy::best(restricted, enough, &stop);
                    hinted.filter(|hinted| hinted.0.arena < best.0.arena).unwrap_or(best)
                }
            };
            task.recorder.begin(task.recorder.parts(), part.len(), &method);
            task.recorder.progress(*bound, placement.arena);
            solved.push(Solved { placement, method, bound: *bound, tightest: Vec::new() });
        }
        self.search(&parts, &mut solved, capacity, task);
        for ((_, part, _), solved) in parts.into_iter().zip(solved) {
            for (&i, &offset) in part.iter().zip(&solved.placement.offsets) {
                whole.placement.offsets[i as usize] = offset;
            }
            if solved.bound > whole.bound {
                whole.bound = solved.bound;
                whole.tightest = part;
            }
            if solved.placement.arena > whole.placement.arena {
                whole.placement.arena = solved.placement.arena;
                whole.method = solved.method;
            }
        }
        whole
    }

    /// Improves on the parts that are higher than they need be: a part of the time for each, then what is left for the highest.
    fn search(
        &self,
        parts: &[(ByteSize, Vec<u32>, Cow<'_, Problem>)],
        solved: &mut [Solved],
        capacity: ByteSize,
        task: Task<'_>,
    ) {
        let before = task.recorder.parts() - parts.len();
        let enough = |solved: &[Solved]| solved.iter().map(|one| one.bound).fold(capacity, ByteSize::max);
        let open = |solved: &[Solved]| {
            let enough = enough(solved);
            (0..solved.len()).filter(|&at| solved[at].placement.arena > enough).collect::<Vec<usize>>()
        };
        let improve = |solved: &mut [Solved], at: usize, task: Task<'_>| {
            let first = std::mem::take(&mut solved[at]);
            let enough = enough(solved).max(first.bound);
            solved[at] = self.improve(&parts[at].2, before + at, first, enough, task);
        };
        let several = Some(open(solved)).filter(|open| open.len() > 1).unwrap_or_default();
        for (number, &at) in several.iter().enumerate() {
            let left = task.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let others = left - left / (several.len() - number + 1) as u32;
            improve(solved, at, Task { deadline: task.deadline - others, ..task });
        }
        // Once the highest stays where it is the others make no difference.
        while let Some(at) =
            open(solved).into_iter().max_by_key(|&at| (solved[at].placement.arena, Reverse(at)))
        {
            improve(solved, at, task);
            if open(solved).contains(&at) {
                break;
            }
        }
    }

    /// Lets the searches improve on a part's first answer until it is enough.
    pub(super) fn improve(
        &self,
        problem: &Problem,
        part: usize,
        first: Solved,
        enough: ByteSize,
        task: Task<'_>,
    ) -> Solved {
        let mut solved = first;
        let Task { deadline, recorder, .. } = task;
        recorder.begin(part, problem.buffers.len(), &solved.method);
        recorder.progress(solved.bound, solved.placement.arena);
        let threads =
            self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get));
        for search in &self.searches {
            let goal = Goal {
                bound: solved.bound,
                enough: enough.max(solved.bound),
                deadline,
                seed: self.seed,
                threads,
                observer: recorder,
            };
            if solved.placement.arena <= goal.enough || goal.is_over() {
                break;
            }
            recorder.begin(part, problem.buffers.len(), search.name());
            let found = search.improve(problem, &solved.placement, &goal);
            solved.bound = found.bound;
            if let Some(placement) = found.placement {
                solved.placement = placement;
                solved.method = search.name().to_owned();
            }
        }
        recorder.progress(solved.bound, solved.placement.arena);
        solved
    }
}
