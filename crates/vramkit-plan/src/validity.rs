//! Is a placement sound? A sweep over addresses that keeps, for every time, what is taken up to there.
//!
//! Buffers with offsets come in, two that are live together and overlap in addresses go out, if there are such. Taken
//! from the lowest offset up, a buffer clashes with one before it exactly when something ends above its offset at some
//! time of its life: O(n log n), with a tree over time where lives are long and a list of times where they are short.

use super::index::walk;
use super::problem::Problem;

/// Ranks of a piece of a life on average up to which a list is faster than a tree.
const SHORT: u64 = 64;

impl Problem {
    /// Two buffers that are live together and overlap in addresses; `None` when there are none. Those without an
    /// offset are left out. Offsets and sizes do not pass 2^64 together.
    pub(super) fn first_clash(&self, offsets: &[Option<u64>]) -> Option<(usize, usize)> {
        let order = from_the_lowest(offsets);
        if order.len() < 2 {
            return None;
        }
        let lengths = self.buffers.iter().map(|buffer| u64::from(buffer.end - buffer.start)).sum::<u64>();
        let gaps = self.gaps.iter().map(|gap| u64::from(gap.end - gap.start)).sum::<u64>();
        let pieces = self.buffers.len() + self.gaps.len();
        let mut taken = match lengths - gaps <= SHORT * pieces as u64 {
            true => Taken::List(vec![0; self.ranks as usize]),
            false => Taken::tree(self.ranks),
        };
        for i in order {
            let offset = offsets[i as usize].unwrap_or_default();
            let end = offset + self.buffers[i as usize].bytes();
            for run in self.runs(i as usize) {
                if taken.highest(run) > offset {
                    return Some((self.under(i as usize, offsets)?, i as usize));
                }
            }
            for run in self.runs(i as usize) {
                taken.take(run, end);
            }
        }
        None
    }

    /// A buffer that is live together with one and lies at or under its offset, but does not end there.
    fn under(&self, i: usize, offsets: &[Option<u64>]) -> Option<usize> {
        let at = offsets[i]?;
        (0..self.buffers.len()).find(|&j| {
            let overlaps = |other: u64| other <= at && other + self.buffers[j].bytes() > at;
            j != i && offsets[j].is_some_and(overlaps) && self.meet(i, j)
        })
    }
}

/// The buffers that have an offset, the lowest first.
fn from_the_lowest(offsets: &[Option<u64>]) -> Vec<u32> {
    let placed = offsets.iter().zip(0u32..).filter_map(|(offset, i)| Some(((*offset)?, i)));
    let bits = offsets.len().checked_ilog2().unwrap_or(0) + 1;
    // Offset and number in one word are sorted in half the time; there is room for both in all but the largest arenas.
    if placed.clone().all(|(offset, _)| offset.leading_zeros() >= bits) {
        let mut order: Vec<u64> = placed.map(|(offset, i)| offset << bits | u64::from(i)).collect();
        order.sort_unstable();
        let mask = (1 << bits) - 1;
        return order.into_iter().map(|both| (both & mask) as u32).collect();
    }
    let mut order: Vec<(u64, u32)> = placed.collect();
    order.sort_unstable();
    order.into_iter().map(|(_, i)| i).collect()
}

/// The highest end of anything so far, at each rank of time.
enum Taken {
    /// One number a rank.
    List(Vec<u64>),
    /// Of each node of a tree over the ranks.
    Tree { leaves: usize, nodes: Vec<Ends> },
}

/// Of a node: side by side, since both are looked at.
#[derive(Clone, Copy, Default)]
struct Ends {
    /// The highest end at any of its ranks.
    any: u64,
    /// What holds at all of them.
    all: u64,
}

impl Taken {
    fn tree(ranks: u32) -> Self {
        let leaves = (ranks as usize).next_power_of_two();
        Self::Tree { leaves, nodes: vec![Ends::default(); 2 * leaves] }
    }

    /// The highest end at any time of a run.
    fn highest(&self, (start, end): (u32, u32)) -> u64 {
        let mut highest = 0;
        match self {
            Self::List(ends) => {
                for &other in &ends[start as usize..end as usize] {
                    highest = highest.max(other);
                }
            }
            Self::Tree { leaves, nodes } => walk(*leaves, 1, (start, end), |node, whole| {
                highest = highest.max(if whole { nodes[node].any } else { nodes[node].all });
            }),
        }
        highest
    }

    /// Takes everything up to `top` during a run.
    fn take(&mut self, (start, end): (u32, u32), top: u64) {
        match self {
            Self::List(ends) => ends[start as usize..end as usize].fill(top),
            Self::Tree { leaves, nodes } => walk(*leaves, 1, (start, end), |node, whole| {
                let ends = &mut nodes[node];
                ends.any = ends.any.max(top);
                if whole {
                    ends.all = ends.all.max(top);
                }
            }),
        }
    }
}
