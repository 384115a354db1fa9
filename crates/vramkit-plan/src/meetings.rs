//! The index for lives of many pieces: who is live together with whom, a bit for each pair, and every placed buffer in
//! order of offset.
//!
//! What is looked at is a pair of buffers, however many gaps they have. The other indexes look at every piece.

use std::sync::Arc;

use super::index::{Fit, align_up};
use super::problem::Problem;

/// Pieces looked at between two looks at the clock.
const PATIENCE: usize = 1024;

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Meetings {
    /// For each buffer a bit for every other: found once, however many passes there are beside one another.
    together: Arc<Vec<u64>>,
    /// How many words each has.
    words: usize,
    /// Low and high address of each placed buffer, and which it is, in order of the low.
    placed: Vec<(u64, u64, u32)>,
    /// Placed buffers looked at so far.
    pub(super) compared: u64,
}

impl Meetings {
    /// `None` when it is stopped.
    pub(super) fn new(problem: &Problem, stop: &dyn Fn() -> bool) -> Option<Self> {
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
        for (number, (start, i)) in starts.into_iter().enumerate() {
            if number % PATIENCE == 0 && stop() {
                return None;
            }
            while let Some((_, other)) = ends.next_if(|&(end, _)| end <= start) {
                live[other / 64] &= !(1 << (other % 64));
            }
            // Whoever begins later sees this one.
            let own = &mut together[i * words..][..words];
            own.iter_mut().zip(&live).for_each(|(own, live)| *own |= live);
            live[i / 64] |= 1 << (i % 64);
        }
        mirror(&mut together, words);
        Some(Self { together: Arc::new(together), words, placed: Vec::with_capacity(n), compared: 0 })
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

/// Sets the bit of each pair that has it the other way round, in squares of 64 by 64 bits.
fn mirror(together: &mut [u64], words: usize) {
    let rows = together.len() / words.max(1);
    let square = |together: &[u64], row: usize, word: usize| {
        let mut bits = [0u64; 64];
        let own = together[64 * row * words..].chunks_exact(words).take(64.min(rows - 64 * row));
        bits.iter_mut().zip(own).for_each(|(bits, own)| *bits = own[word]);
        transpose(&mut bits);
        bits
    };
    let add = |together: &mut [u64], row: usize, word: usize, bits: [u64; 64]| {
        let own = together[64 * row * words..].chunks_exact_mut(words);
        own.zip(bits).for_each(|(own, bits)| own[word] |= bits);
    };
    for row in 0..words {
        for word in 0..=row {
            let (upper, lower) = (square(together, row, word), square(together, word, row));
            add(together, word, row, upper);
            add(together, row, word, lower);
        }
    }
}

/// Turns a square of bits over its diagonal: halves change places, then halves of those, and so on.
fn transpose(bits: &mut [u64; 64]) {
    let (mut width, mut mask) = (32, u64::MAX >> 32);
    while width > 0 {
        for low in (0..64).filter(|row| row & width == 0) {
            let changed = (bits[low] >> width ^ bits[low + width]) & mask;
            bits[low] ^= changed << width;
            bits[low + width] ^= changed;
        }
        width /= 2;
        mask ^= mask << width;
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
            lives in prop::collection::vec((1u64..50, 0u32..4, any::<bool>(), prop::collection::btree_set(0u32..60, 2..12)), 1..150)
        ) {
            let mut problem = Problem { ranks: 60, ..Problem::default() };
            for ((size, shift, _, moments), buffer) in lives.iter().zip(0..) {
                let moments: Vec<u32> = moments.iter().copied().collect();
                let (start, end) = (moments[0], moments[moments.len() - 1]);
                problem.buffers.push(Buffer { start, end, size: ByteSize::new(*size), alignment: 1 << shift, pinned: None });
                let gaps = moments[1..moments.len() - 1].chunks_exact(2);
                problem.gaps.extend(gaps.map(|gap| Gap { buffer, start: gap[0], end: gap[1] }));
            }
            let mut meetings = Meetings::new(&problem, &|| false).unwrap();
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
