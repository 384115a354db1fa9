//! A portfolio of orders: buffers are taken in an order, each put at its first or best fit. Cheap enough to try
//! many and keep the best; a pass is given up as soon as it cannot beat the best so far.

use super::index::{Coverage, Fit, Scratch};
use super::problem::{Buffer, Problem};

/// Offsets of a problem's buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// One for each buffer.
    pub offsets: Vec<u64>,
    /// The highest end.
    pub arena: u64,
}

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
    /// From the fullest time outwards, largest first: Pisarchyk and Lee, "Efficient memory management for deep
    /// neural net inference", 2020 (greedy by breadth).
    Breadth,
    /// Those that meet the highest load first, longest first among them.
    Load,
}

/// What is tried, the most often successful first.
const PORTFOLIO: [(Order, Fit); 10] = [
    (Order::Breadth, Fit::First),
    (Order::Size, Fit::First),
    (Order::Duration, Fit::First),
    (Order::Area, Fit::First),
    (Order::Load, Fit::First),
    (Order::Start, Fit::Best),
    (Order::Size, Fit::Best),
    (Order::Area, Fit::Best),
    (Order::Duration, Fit::Best),
    (Order::Load, Fit::Best),
];

/// The best of the portfolio, and what found it. Stops early at an arena of `enough`, which nothing can or
/// need beat.
pub(super) fn best(problem: &Problem, enough: u64) -> (Placement, String) {
    let loads = problem.loads();
    let mut best: Option<(Placement, String)> = None;
    for (order, fit) in PORTFOLIO {
        let limit = best.as_ref().map_or(u64::MAX, |(placement, _)| placement.arena);
        if limit <= enough {
            break;
        }
        if let Some(placement) = place(problem, &order.of(problem, &loads), fit, limit) {
            best = Some((placement, format!("{order:?} {fit:?} fit").to_lowercase()));
        }
    }
    best.expect("the first pass has no limit")
}

/// One pass over the buffers in an order, pinned ones first; `None` as soon as its arena reaches `limit`.
pub(super) fn place(problem: &Problem, order: &[u32], fit: Fit, limit: u64) -> Option<Placement> {
    let mut coverage = Coverage::new(problem.ranks);
    let mut scratch = Scratch::default();
    let mut placement = Placement { offsets: vec![0; problem.buffers.len()], arena: 0 };
    let pinned = (0..problem.buffers.len() as u32).filter(|&i| problem.buffers[i as usize].pinned.is_some());
    let free = order.iter().copied().filter(|&i| problem.buffers[i as usize].pinned.is_none());
    for i in pinned.chain(free) {
        let buffer = &problem.buffers[i as usize];
        let span = (buffer.start, buffer.end);
        let offset = match buffer.pinned {
            Some(offset) => offset,
            None => coverage.find(&mut scratch, span, buffer.size, buffer.alignment, fit),
        };
        let end = offset + buffer.size;
        if end >= limit {
            return None;
        }
        coverage.take(buffer.start, buffer.end, (offset, end));
        placement.offsets[i as usize] = offset;
        placement.arena = placement.arena.max(end);
    }
    Some(placement)
}

impl Order {
    /// The buffers in this order; ties in the order given, so that the result is always the same.
    fn of(self, problem: &Problem, loads: &[u64]) -> Vec<u32> {
        let buffers = &problem.buffers;
        let mut order: Vec<u32> = (0..buffers.len() as u32).collect();
        let duration = |buffer: &Buffer| u64::from(buffer.end - buffer.start);
        let largest_first = |key: &dyn Fn(&Buffer) -> (u64, u64), order: &mut Vec<u32>| {
            order.sort_by_cached_key(|&i| std::cmp::Reverse(key(&buffers[i as usize])));
        };
        match self {
            Self::Size => largest_first(&|b| (b.size, duration(b)), &mut order),
            Self::Area => {
                order.sort_by_cached_key(|&i| {
                    let b = &buffers[i as usize];
                    std::cmp::Reverse(u128::from(b.size) * u128::from(duration(b)))
                });
            }
            Self::Duration => largest_first(&|b| (duration(b), b.size), &mut order),
            Self::Start => {
                order.sort_by_key(|&i| {
                    let b = &buffers[i as usize];
                    (b.start, std::cmp::Reverse((b.size, duration(b))))
                });
            }
            Self::Breadth | Self::Load => {
                let peaks = peaks(problem, loads);
                let second = |b: &Buffer| if self == Self::Breadth { b.size } else { duration(b) };
                order.sort_by_cached_key(|&i| {
                    let b = &buffers[i as usize];
                    std::cmp::Reverse((peaks[i as usize], second(b), b.size))
                });
            }
        }
        order
    }
}

/// The highest load that each buffer meets during its life, from a sparse table of maxima.
fn peaks(problem: &Problem, loads: &[u64]) -> Vec<u64> {
    let mut table = vec![loads.to_vec()];
    while table[table.len() - 1].len() > 1 << (table.len() - 1) {
        let (last, half) = (&table[table.len() - 1], 1 << (table.len() - 1));
        let next = last.iter().zip(&last[half..]).map(|(a, b)| *a.max(b)).collect();
        table.push(next);
    }
    let peak = |b: &Buffer| {
        let level = (b.end - b.start).ilog2();
        let row = &table[level as usize];
        row[b.start as usize].max(row[(b.end - (1 << level)) as usize])
    };
    problem.buffers.iter().map(peak).collect()
}
