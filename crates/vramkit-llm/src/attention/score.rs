//! Products of queries with keys: a key a lane, so that no sum goes across lanes.
//!
//! In: queries row by row, keys `[key][16]`. Out: a row of scores a query. The sum goes over
//! dimensions in order, whatever the size of the tile.

use std::array::from_fn;

use super::level::{HalfLane, Job, LANES, Lane, Lanes};
use super::range::CHUNK;

/// Rows of a tile of registers.
pub(super) const ROWS: usize = 4;

/// A vector in memory.
pub(super) trait Load: Copy {
    fn load<L: Lanes>(&self, lanes: L) -> Lane;
}

impl Load for Lane {
    #[inline(always)]
    fn load<L: Lanes>(&self, _: L) -> Lane {
        *self
    }
}

impl Load for HalfLane {
    #[inline(always)]
    fn load<L: Lanes>(&self, lanes: L) -> Lane {
        lanes.widen(self)
    }
}

/// Scores of up to [`ROWS`] queries with consecutive blocks.
///
/// `queries` is `[rows][key]`; `blocks` the blocks' keys; `scores` begins at the first row's score of the first block's
/// first key, rows [`CHUNK`] apart.
pub(super) fn scores<T: Load, L: Lanes>(
    lanes: L,
    rows: usize,
    queries: &[f32],
    blocks: &[&[T]],
    scores: &mut [f32],
) {
    match rows {
        1 => blocks_of::<T, L, 1>(lanes, queries, blocks, scores),
        2 => blocks_of::<T, L, 2>(lanes, queries, blocks, scores),
        3 => blocks_of::<T, L, 3>(lanes, queries, blocks, scores),
        _ => blocks_of::<T, L, 4>(lanes, queries, blocks, scores),
    }
}

/// Several blocks at a time: as many sums as there are registers for, or the units would wait for each other.
fn blocks_of<T: Load, L: Lanes, const N: usize>(
    lanes: L,
    queries: &[f32],
    mut blocks: &[&[T]],
    mut scores: &mut [f32],
) {
    while !blocks.is_empty() {
        let at_once = if L::WIDE && blocks.len() >= 4 {
            lanes.run(Scores::<T, N, 4> { queries, blocks, scores });
            4
        } else if (L::WIDE || N <= 2) && blocks.len() >= 2 {
            lanes.run(Scores::<T, N, 2> { queries, blocks, scores });
            2
        } else {
            lanes.run(Scores::<T, N, 1> { queries, blocks, scores });
            1
        };
        blocks = &blocks[at_once..];
        if blocks.is_empty() {
            return;
        }
        scores = &mut scores[at_once * LANES..];
    }
}

/// Scores of `N` queries with the first `B` blocks.
struct Scores<'a, T, const N: usize, const B: usize> {
    queries: &'a [f32],
    blocks: &'a [&'a [T]],
    scores: &'a mut [f32],
}

impl<T: Load, const N: usize, const B: usize> Job for Scores<'_, T, N, B> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let dims = self.queries.len() / N;
        let Some(blocks) = self.blocks.first_chunk::<B>() else { return };
        // Slices of one known length, so that no index below is checked.
        let keys: [&[T]; B] = from_fn(|b| &blocks[b][..dims]);
        let queries: [&[f32]; N] = from_fn(|n| &self.queries[n * dims..][..dims]);
        let mut sums = [[[0.0_f32; LANES]; B]; N];
        for d in 0..dims {
            for b in 0..B {
                let key = keys[b][d].load(lanes);
                for n in 0..N {
                    let query = queries[n][d];
                    for lane in 0..LANES {
                        sums[n][b][lane] = query.mul_add(key[lane], sums[n][b][lane]);
                    }
                }
            }
        }
        for (n, sums) in sums.iter().enumerate() {
            self.scores[n * CHUNK..][..B * LANES].copy_from_slice(sums.as_flattened());
        }
    }
}
