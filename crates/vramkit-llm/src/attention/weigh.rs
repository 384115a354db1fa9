//! Sums of values by weight: a dimension a lane, key after key.
//!
//! In: weights of a chunk, a block's values. Out: each row's sums, grown by the block's. A key that a row does not see is
//! not multiplied by zero, it is not read: what lies in a slot not yet written may be anything.

use std::array::from_fn;

use super::layout::BLOCK;
use super::level::{Job, LANES, Lane, Lanes};
use super::range::{CHUNK, Tile};
use super::score::{Load, ROWS};
use super::soften::HEAD;

/// Values of one block, to be added to the parts of up to [`ROWS`] rows from `row` on.
pub(super) struct Weigh<'a, T> {
    pub tile: Tile,
    pub chunk: usize,
    /// The block's number within the chunk.
    pub block: usize,
    pub row: usize,
    pub rows: usize,
    /// The tile's weights, rows [`CHUNK`] apart.
    pub weights: &'a [f32],
    /// 16 rows of `lanes` vectors.
    pub values: &'a [T],
    pub lanes: usize,
    /// The tile's parts, rows `HEAD + lanes` vectors apart.
    pub parts: &'a mut [Lane],
}

impl<T: Load> Weigh<'_, T> {
    /// Adds each row the keys it sees: those that all see together, the others row by row before and after.
    pub fn weigh<L: Lanes>(mut self, lanes: L) {
        let base = self.block * BLOCK;
        // Ranges never fall from row to row: what the first and the last see whole, all do.
        let last = self.row + self.rows - 1;
        if self.tile.keys(self.row, self.chunk).end >= base + BLOCK
            && self.tile.keys(last, self.chunk).start <= base
        {
            return self.add(lanes, 0, self.rows, (0, BLOCK));
        }
        let within = |key: usize| key.clamp(base, base + BLOCK) - base;
        let mut keys: [(usize, usize); ROWS] = [(0, 0); ROWS];
        let (mut start, mut end) = (0, BLOCK);
        for (at, keys) in keys.iter_mut().enumerate().take(self.rows) {
            let seen = self.tile.keys(self.row + at, self.chunk);
            *keys = (within(seen.start), within(seen.end));
            (start, end) = (start.max(keys.0), end.min(keys.1));
        }
        let common = (start, end.max(start));
        for (at, &(from, to)) in keys.iter().enumerate().take(self.rows) {
            self.add(lanes, at, 1, (from, to.min(common.0)));
        }
        self.add(lanes, 0, self.rows, common);
        for (at, &(from, to)) in keys.iter().enumerate().take(self.rows) {
            self.add(lanes, at, 1, (from.max(common.1), to));
        }
    }

    /// Adds some rows some keys.
    fn add<L: Lanes>(&mut self, lanes: L, at: usize, rows: usize, keys: (usize, usize)) {
        if keys.0 >= keys.1 {
            return;
        }
        match rows {
            1 => self.add_rows::<L, 1>(lanes, at, keys),
            2 => self.add_rows::<L, 2>(lanes, at, keys),
            3 => self.add_rows::<L, 3>(lanes, at, keys),
            _ => self.add_rows::<L, 4>(lanes, at, keys),
        }
    }

    fn add_rows<L: Lanes, const N: usize>(&mut self, lanes: L, at: usize, keys: (usize, usize)) {
        let row = self.row + at;
        let stride = HEAD + self.lanes;
        let mut column = 0;
        while column < self.lanes {
            let left = self.lanes - column;
            let weights = &self.weights[row * CHUNK + self.block * BLOCK..];
            let values = &self.values[column..];
            let sums = &mut self.parts[row * stride + HEAD + column..];
            let step = self.lanes;
            if L::WIDE && left >= 4 {
                lanes.run(Add::<T, N, 4> { weights, values, step, keys, sums, stride });
                column += 4;
            } else if (L::WIDE || N <= 2) && left >= 2 {
                lanes.run(Add::<T, N, 2> { weights, values, step, keys, sums, stride });
                column += 2;
            } else {
                lanes.run(Add::<T, N, 1> { weights, values, step, keys, sums, stride });
                column += 1;
            }
        }
    }
}

/// `N` rows, `C` vectors of each.
struct Add<'a, T, const N: usize, const C: usize> {
    weights: &'a [f32],
    values: &'a [T],
    /// Vectors from one key's values to the next's.
    step: usize,
    keys: (usize, usize),
    sums: &'a mut [Lane],
    /// Vectors from one row's sums to the next's.
    stride: usize,
}

impl<T: Load, const N: usize, const C: usize> Job for Add<'_, T, N, C> {
    type Out = ();

    // Iterators in the place of indices keep this from staying in registers: it takes a third longer.
    #[expect(clippy::needless_range_loop)]
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let mut sums: [[Lane; C]; N] = from_fn(|n| from_fn(|c| self.sums[n * self.stride + c]));
        let weights: [&[f32]; N] = from_fn(|n| &self.weights[n * CHUNK..][..BLOCK]);
        for key in self.keys.0..self.keys.1.min(BLOCK) {
            let values = &self.values[key * self.step..][..C];
            for c in 0..C {
                let value = values[c].load(lanes);
                for n in 0..N {
                    let weight = weights[n][key];
                    for lane in 0..LANES {
                        sums[n][c][lane] = weight.mul_add(value[lane], sums[n][c][lane]);
                    }
                }
            }
        }
        for (n, sums) in sums.iter().enumerate() {
            self.sums[n * self.stride..][..C].copy_from_slice(sums);
        }
    }
}
