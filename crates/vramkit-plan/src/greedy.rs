//! A portfolio of orders: buffers are taken in an order, each put at its first or best fit. Cheap enough to try
//! many and keep the best; a pass is given up as soon as it cannot beat the best so far.

use super::index::{Coverage, Fit};
use super::linear::Linear;
use super::meetings::Meetings;
use super::placement::Placement;
use super::problem::{Buffer, Problem};
use super::sweep;
use vramkit_units::ByteSize;

/// An order in which buffers are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Largest first.
    Size,
    /// Largest size times duration first.
    Area,
    /// Longest first.
    Duration,
    /// As the program makes them.
    Start,
    /// As they were given: whoever cut a whole into pieces may list them so that they fit again.
    Given,
    /// From the fullest time outwards, largest first: Pisarchyk and Lee, "Efficient memory management for deep
    /// neural net inference", 2020 (greedy by breadth).
    Breadth,
    /// Those that meet the highest load first, longest first among them.
    Load,
}

/// What is tried, the most often successful first.
const PORTFOLIO: [(Order, Fit); 8] = [
    (Order::Breadth, Fit::First),
    (Order::Size, Fit::First),
    (Order::Duration, Fit::First),
    (Order::Area, Fit::First),
    (Order::Load, Fit::First),
    (Order::Start, Fit::Best),
    (Order::Duration, Fit::Best),
    (Order::Load, Fit::Best),
];

/// What is tried after the portfolio, unless one pass has cost too much already.
const LAST: (Order, Fit) = (Order::Given, Fit::First);

/// Pieces of lives placed between two looks at the clock.
const PATIENCE: usize = 256;

/// Places the buffers of one problem in any number of orders.
#[derive(Clone)]
pub(super) struct Placer<'a> {
    problem: &'a Problem,
    index: Index,
    offsets: Vec<u64>,
}

/// What is taken where and when, by whichever means is faster for the problem's size.
#[derive(Clone)]
enum Index {
    Linear(Linear),
    Tree(Coverage),
    Pairs(Meetings),
}

/// Problems of up to this many buffers are looked through.
const LINEAR: usize = 1024;

/// Problems of up to this many buffers, and more than so many gaps for each of them, are looked through pair by pair: 48 MiB.
const PAIRS: usize = 20_000;
const GAPS: usize = 4;

/// Words of bits that finding all pairs may take: well under a second.
const FINDING: usize = 1_000_000_000;

/// Ranges that the portfolio may compare before it stops trying further orders: well under a second. Counted
/// rather than timed, so that the answer is the same everywhere.
const WORK: u64 = 40_000_000;

/// The best of the portfolio, and what found it. Stops early at an arena of `enough`, which nothing can or
/// need beat, and when it is stopped.
pub(super) fn best(problem: &Problem, enough: ByteSize, stop: &dyn Fn() -> bool) -> (Placement, String) {
    let mut orders = Orders::new(problem);
    // Any arena will do at first, that of 2^64 - 1 bytes too. Of many buffers or gaps there is an answer at once.
    let many = problem.buffers.len().max(problem.gaps.len() / GAPS);
    let mut best: Option<(u64, Vec<u64>, String)> = (many > LINEAR).then(|| {
        let (offsets, arena) = sweep::best_fit(problem);
        (arena, offsets, "best fit in time".to_owned())
    });
    let is_answered = best.is_some();
    let mut placer = Placer::new(problem, &|| is_answered && stop());
    for (order, fit) in PORTFOLIO.into_iter().chain([LAST]) {
        let Some(placer) = &mut placer else { break };
        let limit = best.as_ref().map(|(arena, ..)| *arena);
        if limit.is_some_and(|arena| arena <= enough.bytes() || stop()) {
            break;
        }
        let most = if (order, fit) == LAST { 2 * WORK } else { WORK };
        if placer.work() > most {
            continue;
        }
        if let Some(arena) = placer.place(orders.get(order), fit, limit, &|| limit.is_some() && stop()) {
            best = Some((arena, placer.offsets.clone(), format!("{order:?} {fit:?} fit").to_lowercase()));
        }
    }
    let (arena, offsets, method) = best.unwrap_or_else(|| unreachable!("a pass without a limit ends"));
    let offsets = offsets.into_iter().map(ByteSize::new).collect();
    (Placement { offsets, arena: ByteSize::new(arena) }, method)
}

/// The hints themselves, where they are a placement.
pub(super) fn as_hinted(problem: &Problem, hints: &[Option<u64>]) -> Option<Placement> {
    let is_sound = |(buffer, hint): (&Buffer, &Option<u64>)| {
        hint.is_some_and(|at| {
            let is_place = at.is_multiple_of(buffer.alignment) && buffer.pin().is_none_or(|pin| pin == at);
            is_place && at.checked_add(buffer.bytes()).is_some()
        })
    };
    if hints.len() != problem.buffers.len() || !problem.buffers.iter().zip(hints).all(is_sound) {
        return None;
    }
    if problem.first_clash(hints).is_some() {
        return None;
    }
    Some(Placement::new(problem, hints.iter().flatten().map(|&at| ByteSize::new(at)).collect()))
}

/// A placement from where buffers may be tried first: in the order of those offsets, each as low as it goes. Where all offsets
/// are a placement's, nothing ends higher than there. `None` when it is stopped.
pub(super) fn from_hints(
    problem: &Problem,
    hints: &[Option<u64>],
    stop: &dyn Fn() -> bool,
) -> Option<Placement> {
    let mut order: Vec<u32> = (0..problem.buffers.len() as u32).collect();
    order.sort_by_key(|&i| hints[i as usize].unwrap_or(u64::MAX));
    let mut placer = Placer::new(problem, stop)?;
    let arena = placer.place(&order, Fit::First, None, stop)?;
    let offsets = placer.offsets.into_iter().map(ByteSize::new).collect();
    Some(Placement { offsets, arena: ByteSize::new(arena) })
}

/// Every order of the portfolio.
pub(super) fn orders(problem: &Problem) -> Vec<(Vec<u32>, Fit)> {
    let mut orders = Orders::new(problem);
    PORTFOLIO.iter().map(|(order, fit)| (orders.get(*order).to_vec(), *fit)).collect()
}

/// The orders of a problem's buffers, each made once.
struct Orders<'a> {
    problem: &'a Problem,
    /// The highest load that each buffer meets, once it is wanted.
    peaks: Vec<ByteSize>,
    made: Vec<(Order, Vec<u32>)>,
}

impl<'a> Orders<'a> {
    fn new(problem: &'a Problem) -> Self {
        Self { problem, peaks: Vec::new(), made: Vec::new() }
    }

    fn get(&mut self, order: Order) -> &[u32] {
        let known = self.made.iter().position(|(other, _)| *other == order);
        let at = known.unwrap_or_else(|| {
            if order.needs_peaks() && self.peaks.is_empty() {
                self.peaks = peaks(self.problem, &self.problem.loads());
            }
            self.made.push((order, order.of(self.problem, &self.peaks)));
            self.made.len() - 1
        });
        &self.made[at].1
    }
}

impl<'a> Placer<'a> {
    /// `None` when it is stopped.
    pub(super) fn new(problem: &'a Problem, stop: &dyn Fn() -> bool) -> Option<Self> {
        let offsets = vec![0; problem.buffers.len()];
        let longest = problem.buffers.iter().map(|buffer| buffer.end - buffer.start).max().unwrap_or(1);
        let (n, gaps) = (problem.buffers.len(), problem.gaps.len());
        let index = match gaps > GAPS * n {
            true if n <= PAIRS && (gaps + n) * n.div_ceil(64) <= FINDING => {
                Index::Pairs(Meetings::new(problem, stop)?)
            }
            false if n <= LINEAR => Index::Linear(Linear::default()),
            _ => Index::Tree(Coverage::new(problem.ranks, longest)),
        };
        Some(Self { problem, index, offsets })
    }

    /// Where the last complete pass put each buffer.
    pub(super) fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// What placing has cost, in ranges compared; not counted for small problems.
    fn work(&self) -> u64 {
        match &self.index {
            Index::Linear(_) => 0,
            Index::Tree(coverage) => coverage.compared,
            Index::Pairs(meetings) => meetings.compared,
        }
    }

    /// One pass over the buffers in an order, pinned ones first. Returns the arena; `None` as soon as it reaches
    /// `limit`, where there is one. `None` too when it is stopped.
    pub(super) fn place(
        &mut self,
        order: &[u32],
        fit: Fit,
        limit: Option<u64>,
        stop: &dyn Fn() -> bool,
    ) -> Option<u64> {
        match &mut self.index {
            Index::Linear(linear) => linear.clear(),
            Index::Tree(coverage) => coverage.clear(),
            Index::Pairs(meetings) => meetings.clear(),
        }
        let buffers = &self.problem.buffers;
        let mut arena = 0u64;
        let is_pinned = |i: &u32| buffers[*i as usize].pinned.is_some();
        let pinned = (0..buffers.len() as u32).filter(is_pinned);
        let free = order.iter().copied().filter(|i| !is_pinned(i));
        let mut runs: Vec<(u32, u32)> = Vec::new();
        let mut placed = 0;
        for i in pinned.chain(free) {
            let buffer = &buffers[i as usize];
            if placed >= PATIENCE {
                placed = 0;
                if stop() {
                    return None;
                }
            }
            runs.clear();
            if !matches!(self.index, Index::Pairs(_)) {
                runs.extend(self.problem.runs(i as usize));
            }
            placed += runs.len().max(1);
            let offset = match (buffer.pin(), &mut self.index) {
                (Some(offset), _) => offset,
                (None, Index::Linear(linear)) => linear.find(&runs, buffer.bytes(), buffer.alignment, fit),
                (None, Index::Tree(coverage)) => coverage.find(&runs, buffer.bytes(), buffer.alignment, fit),
                (None, Index::Pairs(meetings)) => meetings.find(i, buffer.bytes(), buffer.alignment, fit),
            };
            let end = offset + buffer.bytes();
            if limit.is_some_and(|limit| end >= limit) {
                return None;
            }
            let range = (offset, end);
            match &mut self.index {
                Index::Linear(linear) => runs.iter().for_each(|run| linear.take(run.0, run.1, range)),
                Index::Tree(coverage) => runs.iter().for_each(|run| coverage.take(run.0, run.1, range)),
                Index::Pairs(meetings) => meetings.take(i, range),
            }
            self.offsets[i as usize] = offset;
            arena = arena.max(end);
        }
        Some(arena)
    }
}

impl Order {
    /// Whether it is by the highest load that each buffer meets.
    fn needs_peaks(self) -> bool {
        matches!(self, Self::Breadth | Self::Load)
    }

    /// The buffers in this order; ties in the order given, so that the result is always the same.
    fn of(self, problem: &Problem, peaks: &[ByteSize]) -> Vec<u32> {
        let buffers = &problem.buffers;
        let mut order: Vec<u32> = (0..buffers.len() as u32).collect();
        let duration = |buffer: &Buffer| u64::from(buffer.end - buffer.start);
        let largest_first = |key: &dyn Fn(&Buffer) -> (u64, u64), order: &mut Vec<u32>| {
            order.sort_by_cached_key(|&i| std::cmp::Reverse(key(&buffers[i as usize])));
        };
        match self {
            Self::Size => largest_first(&|b| (b.bytes(), duration(b)), &mut order),
            Self::Area => {
                order.sort_by_cached_key(|&i| {
                    let b = &buffers[i as usize];
                    std::cmp::Reverse(u128::from(b.bytes()) * u128::from(duration(b)))
                });
            }
            Self::Given => {}
            Self::Duration => largest_first(&|b| (duration(b), b.bytes()), &mut order),
            Self::Start => {
                order.sort_by_key(|&i| {
                    let b = &buffers[i as usize];
                    (b.start, std::cmp::Reverse((b.bytes(), duration(b))))
                });
            }
            Self::Breadth | Self::Load => {
                let second = |b: &Buffer| {
                    if self == Self::Breadth { b.bytes() } else { duration(b) }
                };
                order.sort_by_cached_key(|&i| {
                    let b = &buffers[i as usize];
                    std::cmp::Reverse((peaks[i as usize], second(b), b.bytes()))
                });
            }
        }
        order
    }
}

/// The highest load that each buffer meets during its life: from maxima over 1, 2, 4 and so on ranks, of which one row is held at a time.
fn peaks(problem: &Problem, loads: &[ByteSize]) -> Vec<ByteSize> {
    let level = |i: u32| {
        let buffer = &problem.buffers[i as usize];
        (buffer.end - buffer.start).ilog2()
    };
    let mut order: Vec<u32> = (0..problem.buffers.len() as u32).collect();
    order.sort_by_key(|&i| level(i));
    let mut peaks = vec![ByteSize::ZERO; order.len()];
    let (mut row, mut width) = (loads.to_vec(), 1);
    for i in order {
        while width < 1 << level(i) {
            for at in 0..row.len() - width {
                row[at] = row[at].max(row[at + width]);
            }
            row.truncate(row.len() - width);
            width *= 2;
        }
        let buffer = &problem.buffers[i as usize];
        peaks[i as usize] = row[buffer.start as usize].max(row[buffer.end as usize - width]);
    }
    peaks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stopped_has_an_answer_all_the_same() {
        let mut random = vramkit_units::SplitMix64::new(4);
        let buffers: Vec<Buffer> = (0..3000)
            .map(|number| {
                let start = random.below(2000) as u32;
                let size = ByteSize::new(1 + random.below(5000) as u64);
                let pinned = (number == 7).then_some(ByteSize::new(4096));
                Buffer {
                    start,
                    end: start + 1 + random.below(80) as u32,
                    size,
                    alignment: 1 << random.below(5),
                    pinned,
                }
            })
            .collect();
        let problem = Problem { buffers, gaps: Vec::new(), ranks: 2100 };
        let (placement, _) = best(&problem, ByteSize::ZERO, &|| true);
        let offsets: Vec<u64> = placement.offsets.iter().map(|offset| offset.bytes()).collect();
        let pins: Vec<Option<u64>> = offsets.iter().copied().map(Some).collect();
        assert_eq!(problem.first_clash(&pins), None);
        for (buffer, offset) in problem.buffers.iter().zip(&offsets) {
            assert!(
                offset.is_multiple_of(buffer.alignment) && offset + buffer.bytes() <= placement.arena.bytes()
            );
            assert!(buffer.pin().is_none_or(|pin| pin == *offset));
        }
        assert!(placement.arena.bytes() < 3 * problem.max_load().bytes(), "{}", placement.arena);
    }

    #[test]
    fn hints_that_are_a_placement_are_one_as_they_are() {
        let buffer =
            |start, end, size| Buffer { start, end, size: ByteSize::new(size), alignment: 4, pinned: None };
        let buffers = vec![buffer(0, 2, 8), buffer(1, 3, 6), buffer(2, 3, 8)];
        let problem = Problem { buffers, gaps: Vec::new(), ranks: 3 };
        let arena =
            |hints: &[Option<u64>]| as_hinted(&problem, hints).map(|placement| placement.arena.bytes());
        assert_eq!(arena(&[Some(0), Some(8), Some(0)]), Some(14));
        for wrong in [[Some(0), Some(4), Some(0)], [Some(0), Some(10), Some(0)], [Some(0), None, Some(0)]] {
            assert_eq!(arena(&wrong), None, "{wrong:?}");
        }
        assert_eq!(arena(&[Some(u64::MAX - 3), Some(0), Some(8)]), None, "no address is as high");
    }
}
