//! Searches over blocks instead of tensors.

use std::borrow::Cow;

use super::load::Load;
use super::loose::Joiner;
use super::network::Network;
use super::reduce::Reducer;
use crate::exact;
use crate::greedy;
use crate::placement::Placement;
use crate::problem::{Buffer, Problem};
use crate::search::{Found, Goal, Observer, Search};
use vramkit_units::{ByteSize, SplitMix64};

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
            let is_right = || placement.arena <= goal.enough.max(problem.max_sum(rounded));
            placement.arena < incumbent.arena && (is_slow || is_right())
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
        let (aligned, alignment) = plain(problem)?;
        let network = Some(Network::new(&aligned)).filter(Network::is_mostly_full)?;
        let network = Reducer::new(network, alignment, goal).run();
        let whole: Vec<u32> = network.whole().collect();
        if whole.len() > problem.buffers.len() / 3 {
            return None;
        }
        let offsets = packed(&self.searches, &network, &whole, (&aligned, alignment), goal);
        Some(Placement::new(problem, offsets.into_iter().map(ByteSize::new).collect()))
    }
}

/// Joins tensors to blocks in which a little is empty, several ways, and has searches place those that look best.
pub(crate) struct LooseBlocks {
    pub(crate) searches: Vec<Box<dyn Search>>,
}

/// By what part the most bytes live at once may grow when what is empty in blocks is counted.
const OVER: [f64; 6] = [0.0, 0.01, 0.002, 0.02, 0.005, 0.04];

/// How often blocks are made for each of them, but for the first time with noise; and in which part of the time.
const ROUNDS: usize = 8;
const OF_TIME: f64 = 0.25;

/// Of so many buffers there is to be one block at most, and tries after which it ends where there are more.
const FEW: usize = 8;
const LOOKS: usize = 2;

/// How many of them are placed.
const PLACED: usize = 4;

/// By how much of what is live a placement of blocks ends above that for each of them, as it turned out.
const EACH: f64 = 0.0006;

impl Search for LooseBlocks {
    fn name(&self) -> &str {
        "loose blocks"
    }

    fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
        let mut best: Option<Placement> = None;
        let Some((aligned, alignment)) = plain(problem) else {
            return Found { placement: None, bound: goal.bound };
        };
        let made = self.make(&aligned, &goal.sooner(OF_TIME));
        let count = made.len();
        for (number, network) in made.into_iter().enumerate() {
            let most = best.as_ref().map_or(incumbent.arena, |best| best.arena);
            if most <= goal.enough || goal.is_over() {
                break;
            }
            let own = goal.sooner(1.0 / (count - number) as f64);
            let whole: Vec<u32> = network.whole().collect();
            let offsets = packed(&self.searches, &network, &whole, (&aligned, alignment), &own);
            // What is empty in a block is there for what lies above it.
            let hints: Vec<Option<u64>> = offsets.into_iter().map(Some).collect();
            let sunk = greedy::from_hints(problem, &hints, &|| goal.is_over());
            if let Some(sunk) = sunk.filter(|sunk| sunk.arena < most) {
                goal.observer.progress(goal.bound, sunk.arena);
                best = Some(sunk);
            }
        }
        Found { placement: best, bound: goal.bound }
    }
}

impl LooseBlocks {
    /// Networks of few blocks, the most promising first; none where most is left over.
    fn make(&self, problem: &Problem, goal: &Goal<'_>) -> Vec<Network> {
        let network = Network::new(problem);
        let loads: Vec<u64> = problem.loads().into_iter().map(ByteSize::bytes).collect();
        let load = Load::new(&loads);
        let most = load.peak();
        let mut made: Vec<(f64, Network)> = Vec::new();
        let rounds = (0..ROUNDS).flat_map(|round| OVER.map(|over| (round, over)));
        for (number, (round, over)) in rounds.enumerate() {
            if goal.is_over() || number >= LOOKS && made.is_empty() {
                break;
            }
            let noise = (round > 0).then(|| SplitMix64::new(goal.seed.wrapping_add(number as u64)));
            let mut joiner = Joiner::new(network.clone(), load.clone(), noise);
            let (left, live) = joiner.run(most + (most as f64 * over) as u64, goal);
            if FEW * left > problem.buffers.len() || goal.is_over() && number > 0 {
                continue;
            }
            let price = live as f64 / most as f64 + EACH * left as f64;
            let at = made.partition_point(|(other, _)| *other <= price);
            made.insert(at, (price, joiner.network));
            made.truncate(PLACED);
        }
        made.into_iter().map(|(_, network)| network).collect()
    }
}

/// Offsets of a problem's buffers, from the best placement of blocks that searches find.
fn packed(
    searches: &[Box<dyn Search>],
    network: &Network,
    whole: &[u32],
    (problem, alignment): (&Problem, u64),
    goal: &Goal<'_>,
) -> Vec<u64> {
    let blocks = network.problem(whole, alignment);
    let goal = &Goal { enough: goal.enough.max(problem.max_load()), ..*goal };
    let (mut best, _) = greedy::best(&blocks, goal.enough, &|| goal.is_over());
    for search in searches {
        if best.arena <= goal.enough || goal.is_over() {
            break;
        }
        // Nobody is told of arenas of blocks, nor is a bound of theirs one of the tensors.
        let quiet = Quiet(goal.observer);
        let found = search.improve(&blocks, &best, &Goal { observer: &quiet, ..*goal });
        best = found.placement.unwrap_or(best);
    }
    let offsets = best.offsets.iter().map(|offset| offset.bytes());
    network.unfold(whole.iter().copied().zip(offsets), problem.buffers.len())
}

/// A problem of which blocks can be made, and what all of its buffers are aligned to: they have no pins and no gaps, and may stand on
/// one another. All offsets are multiples of the alignment, so that sizes that are none take as much as the next one but on top.
fn plain(problem: &Problem) -> Option<(Cow<'_, Problem>, u64)> {
    let alignment = problem.buffers.first()?.alignment;
    let is_plain = problem.gaps.is_empty()
        && (SMALLEST..=LARGEST).contains(&problem.buffers.len())
        && problem.buffers.iter().all(|buffer| buffer.pinned.is_none() && buffer.alignment == alignment);
    if !is_plain {
        return None;
    }
    let mut aligned = Cow::Borrowed(problem);
    if problem.buffers.iter().any(|buffer| !buffer.bytes().is_multiple_of(alignment)) {
        aligned.to_mut().buffers.iter_mut().for_each(|buffer| buffer.size = rounded(buffer));
    }
    // Sums have signs here.
    let total = aligned.buffers.iter().try_fold(0u64, |sum, buffer| sum.checked_add(buffer.bytes()))?;
    i64::try_from(total).is_ok().then_some((aligned, alignment))
}

/// What a buffer takes of addresses, but on top; its own size where there are not so many.
fn rounded(buffer: &Buffer) -> ByteSize {
    buffer.size.checked_align_up(buffer.alignment).unwrap_or(buffer.size)
}

/// Passes on whether it is time to stop, and nothing else.
struct Quiet<'a>(&'a dyn Observer);

impl Observer for Quiet<'_> {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}
