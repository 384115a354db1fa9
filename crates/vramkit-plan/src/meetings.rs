//! The index for lives of many pieces: who is live together with whom, a bit for each pair, and every placed buffer in
//! order of offset.
//!
//! What is looked at is a pair of buffers, however many gaps they have. The other indexes look at every piece.

use super::index::{Fit, align_up};
use super::problem::Problem;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Meetings {
    /// For each buffer a bit for every other.
    together: Vec<u64>,
    /// How many words each has.
    words: usize,
    /// Low and high address of each placed buffer, and which it is, in order of the low.
    placed: Vec<(u64, u64, u32)>,
    /// Placed buffers looked at so far.
    pub(super) compared: u64,
}

impl Meetings {
    pub(super) fn new(problem: &Problem) -> Self {
        let n = problem.buffers.len();
        let words = n.div_ceil(64);
        let pieces = || (0..n).flat_map(|i| problem.runs(i).map(move |run| (run, i)));
        let mut starts: Vec<(u32, usize)> = pieces().map(|((start, _), i)| (start, i)).collect();
        let mut ends: Vec<(u32, usize)> = pieces().map(|((_, end), i)| (end, i)).collect();
        starts.sort_unstable();
        ends.sort_unstable();
        let mut ends = ends.into_iter().peekable();
        let mut live = vec![0u64; words];
        let mut together = vec![0u64; n * words];
        for (start, i) in starts {
            while let Some((_, other)) = ends.next_if(|&(end, _)| end <= start) {
                live[other / 64] &= !(1 << (other % 64));
            }
            // Whoever begins later sees this one.
            let own = &mut together[i * words..][..words];
            own.iter_mut().zip(&live).for_each(|(own, live)| *own |= live);
            live[i / 64] |= 1 << (i % 64);
        }
        for i in 0..n {
            for word in 0..words {
                let mut bits = together[i * words + word];
                while bits != 0 {
                    let other = 64 * word + bits.trailing_zeros() as usize;
                    together[other * words + i / 64] |= 1 << (i % 64);
                    bits &= bits - 1;
                }
            }
        }
        Self { together, words, placed: Vec::with_capacity(n), compared: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.placed.clear();
    }

    /// Takes the addresses `[low, high)` for a buffer.
    pub(super) fn take(&mut self, buffer: u32, (low, high): (u64, u64)) {
        let at = self.placed.partition_point(|&(other, ..)| other < low);
        self.placed.insert(at, (low, high, buffer));
    }

    /// An offset at a multiple of `alignment` where `size` bytes are free whenever a buffer is live.
    pub(super) fn find(&mut self, buffer: u32, size: u64, alignment: u64, fit: Fit) -> u64 {
        let own = &self.together[buffer as usize * self.words..][..self.words];
        let mut top = 0u64;
        let mut best = (u64::MAX, 0);
        for &(low, high, other) in &self.placed {
            self.compared += 1;
            if own[other as usize / 64] >> (other % 64) & 1 == 0 {
                continue;
            }
            if low > top {
                let offset = align_up(top, alignment);
                if offset + size <= low && low - top < best.0 {
                    best = (low - top, offset);
                    if fit == Fit::First {
                        break;
                    }
                }
            }
            top = top.max(high);
        }
        if best.0 < u64::MAX { best.1 } else { align_up(top, alignment) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::Linear;
    use crate::problem::{Buffer, Gap};
    use proptest::prelude::*;
    use vramkit_units::ByteSize;

    proptest! {
        /// Both fits against a look at every piece of every placed buffer.
        #[test]
        fn pairs_find_what_pieces_find(
            lives in prop::collection::vec((1u64..50, 0u32..4, any::<bool>(), prop::collection::btree_set(0u32..60, 2..12)), 1..80)
        ) {
            let mut problem = Problem { ranks: 60, ..Problem::default() };
            for ((size, shift, _, moments), buffer) in lives.iter().zip(0..) {
                let moments: Vec<u32> = moments.iter().copied().collect();
                let (start, end) = (moments[0], moments[moments.len() - 1]);
                problem.buffers.push(Buffer { start, end, size: ByteSize::new(*size), alignment: 1 << shift, pinned: None });
                let gaps = moments[1..moments.len() - 1].chunks_exact(2);
                problem.gaps.extend(gaps.map(|gap| Gap { buffer, start: gap[0], end: gap[1] }));
            }
            let mut meetings = Meetings::new(&problem);
            let mut linear = Linear::default();
            for ((size, shift, first, _), i) in lives.into_iter().zip(0..) {
                let fit = if first { Fit::First } else { Fit::Best };
                let runs: Vec<(u32, u32)> = problem.runs(i as usize).collect();
                let offset = meetings.find(i, size, 1 << shift, fit);
                prop_assert_eq!(offset, linear.find(&runs, size, 1 << shift, fit));
                meetings.take(i, (offset, offset + size));
                runs.iter().for_each(|&(start, end)| linear.take(start, end, (offset, offset + size)));
            }
        }
    }
}
