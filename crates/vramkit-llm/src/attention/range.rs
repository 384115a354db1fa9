//! Which keys of a chunk each query of a tile sees.
//!
//! In: positions of consecutive queries, a window. Out: for every row of the tile a range of keys within the chunk.
//! Never: a key behind the query, or outside its window.

use std::ops::Range;

/// Keys of a chunk, the unit of every sum over keys. Chunks lie at multiples of it, whatever is computed.
pub const CHUNK: usize = 256;

/// A tile of queries: `tokens` consecutive positions from `position` on, `group` rows each.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub position: usize,
    pub tokens: usize,
    pub group: usize,
    pub window: Option<usize>,
}

impl Tile {
    /// Rows: a query head of a token each.
    pub fn rows(&self) -> usize {
        self.tokens * self.group
    }

    /// The first key that any query sees.
    pub fn first(&self) -> usize {
        self.start(self.position)
    }

    /// One past the last key that any query sees.
    pub fn end(&self) -> usize {
        self.position + self.tokens
    }

    /// The first key that a query at `position` sees.
    fn start(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }

    /// The keys that a row sees, from the beginning of `chunk` on; empty where it sees none of it. Both ends never
    /// fall from one row to the next.
    pub fn keys(&self, row: usize, chunk: usize) -> Range<usize> {
        let position = self.position + row / self.group;
        let base = chunk * CHUNK;
        let within = |key: usize| key.saturating_sub(base).min(CHUNK);
        within(self.start(position))..within(position + 1)
    }
}

/// The keys that any of the rows sees, given the first row's and the last row's.
pub(super) fn union(first: &Range<usize>, last: &Range<usize>) -> Range<usize> {
    // A row that sees nothing yet has both its ends at 0, one that sees nothing any more at the chunk's end.
    first.start..last.end
}
