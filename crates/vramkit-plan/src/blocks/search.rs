//! Searches over blocks instead of tensors.

use super::network::Network;
use super::reduce::Reducer;
use crate::exact;
use crate::greedy;
use crate::placement::Placement;
use crate::problem::Problem;
use crate::search::{Found, Goal, Observer, Search};
use vramkit_units::ByteSize;

/// Problems of fewer buffers are left to exact search, and those of more are left as they are.
const SMALLEST: usize = 64;
const LARGEST: usize = 200_000;

/// Joins tensors to blocks, and has searches place those.
pub(crate) struct Blocks {
    pub(crate) searches: Vec<Box<dyn Search>>,
}

impl Search for Blocks {
    fn name(&self) -> &str {
        "blocks"
    }

    fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
        let placement = self.place(problem, goal).filter(|placement| {
            // What is nearly right has something wrong deep inside, and is no start for searches that go on from it. Where those
            // are slow it is better than what they find.
            let is_slow = problem.buffers.len() > exact::LARGEST;
            placement.arena < incumbent.arena && (is_slow || placement.arena <= goal.enough)
        });
        if let Some(placement) = &placement {
            goal.observer.progress(goal.bound, placement.arena);
        }
        Found { placement, bound: goal.bound }
    }
}

impl Blocks {
    /// A placement of blocks; `None` where there are hardly any.
    pub(super) fn place(&self, problem: &Problem, goal: &Goal<'_>) -> Option<Placement> {
        let alignment = alignment(problem)?;
        let network = Some(Network::new(problem)).filter(Network::is_mostly_full)?;
        let network = Reducer::new(network, alignment, goal).run();
        let whole: Vec<u32> = network.whole().collect();
        if whole.len() > problem.buffers.len() / 3 {
            return None;
        }
        let blocks = network.problem(&whole, alignment);
        let best = self.best(&blocks, goal);
        let offsets = best.offsets.iter().map(|offset| offset.bytes());
        let offsets = network.unfold(whole.iter().copied().zip(offsets), problem.buffers.len());
        Some(Placement::new(problem, offsets.into_iter().map(ByteSize::new).collect()))
    }

    /// The best placement of some blocks that the searches find.
    fn best(&self, blocks: &Problem, goal: &Goal<'_>) -> Placement {
        let (mut best, _) = greedy::best(blocks, goal.enough, &|| goal.is_over());
        for search in &self.searches {
            if best.arena <= goal.enough || goal.is_over() {
                break;
            }
            // Nobody is told of arenas of blocks, nor is a bound of theirs one of the tensors.
            let quiet = Quiet(goal.observer);
            let found = search.improve(blocks, &best, &Goal { observer: &quiet, ..*goal });
            best = found.placement.unwrap_or(best);
        }
        best
    }
}

/// What all buffers are aligned to, where blocks can be made of them: they have no pins and no gaps, and may stand on one another.
fn alignment(problem: &Problem) -> Option<u64> {
    let alignment = problem.buffers.first()?.alignment;
    let is_plain = problem.gaps.is_empty()
        && (SMALLEST..=LARGEST).contains(&problem.buffers.len())
        && problem.buffers.iter().all(|buffer| {
            buffer.pinned.is_none()
                && buffer.alignment == alignment
                && buffer.bytes().is_multiple_of(alignment)
        });
    // Sums have signs here.
    let total = problem.buffers.iter().try_fold(0u64, |sum, buffer| sum.checked_add(buffer.bytes()))?;
    (is_plain && i64::try_from(total).is_ok()).then_some(alignment)
}

/// Passes on whether it is time to stop, and nothing else.
struct Quiet<'a>(&'a dyn Observer);

impl Observer for Quiet<'_> {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}
