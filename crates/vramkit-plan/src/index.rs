//! Which addresses are taken during an interval of time? The index behind first and best fit.
//!
//! A segment tree over time whose nodes hold *merged* address ranges: `inside`, taken at some time in the
//! node's span, and `across`, taken during all of it by a buffer that was hung there. A query is the union of
//! `inside` over the O(log n) nodes that make up its interval and of `across` over their ancestors. Placed
//! buffers pack densely, so the merged lists stay short however many buffers overlap: placing costs
//! O(log² n) in practice, where comparing with every overlapping buffer costs O(n).

/// A range of addresses, half-open.
type Range = (u64, u64);

/// Lists of address ranges that neither overlap nor touch, ascending: one for each node.
///
/// All ranges lie in one vector, since millions of short vectors take several times the memory, and long to give back.
#[derive(Clone, Debug)]
struct Lists {
    lists: Vec<List>,
    /// Blocks of 1, 2, 4 and so on ranges, each of which is one list's or free.
    ranges: Vec<Range>,
    /// Where free blocks begin, by the logarithm of their size.
    free: Vec<Vec<usize>>,
}

/// Where a list's ranges are.
#[derive(Clone, Copy, Debug, Default)]
struct List {
    first: usize,
    length: u32,
    /// Ranges that its block holds; none where it has no block yet.
    room: u32,
}

impl Lists {
    fn new(nodes: usize) -> Self {
        Self {
            lists: vec![List::default(); nodes],
            ranges: Vec::new(),
            free: vec![Vec::new(); u32::BITS as usize],
        }
    }

    /// Empties all lists.
    fn clear(&mut self) {
        self.lists.fill(List::default());
        self.ranges.clear();
        self.free.iter_mut().for_each(Vec::clear);
    }

    fn get(&self, node: usize) -> &[Range] {
        let List { first, length, .. } = self.lists[node];
        &self.ranges[first..][..length as usize]
    }

    fn insert(&mut self, node: usize, (mut low, mut high): Range) {
        let list = self.get(node);
        // Most insertions join the end of a short list.
        let first = list.partition_point(|range| range.1 < low);
        let mut last = first;
        while let Some(range) = list.get(last)
            && range.0 <= high
        {
            low = low.min(range.0);
            high = high.max(range.1);
            last += 1;
        }
        if last == first {
            self.make_room(node);
            let List { first: own, length, .. } = &mut self.lists[node];
            let place = *own + first;
            self.ranges.copy_within(place..*own + *length as usize, place + 1);
            self.ranges[place] = (low, high);
            *length += 1;
        } else {
            let List { first: own, length, .. } = &mut self.lists[node];
            let (own, end) = (*own, *own + *length as usize);
            self.ranges[own + first] = (low, high);
            self.ranges.copy_within(own + last..end, own + first + 1);
            *length -= (last - first - 1) as u32;
        }
    }

    /// Gives a list that is full a block of twice the size.
    fn make_room(&mut self, node: usize) {
        let List { first, length, room } = self.lists[node];
        if length < room {
            return;
        }
        let wanted = (2 * room).max(1);
        let place = self.free[wanted.ilog2() as usize].pop().unwrap_or_else(|| {
            let place = self.ranges.len();
            self.ranges.resize(self.ranges.len() + wanted as usize, (0, 0));
            place
        });
        self.ranges.copy_within(first..first + length as usize, place);
        if room > 0 {
            self.free[room.ilog2() as usize].push(first);
        }
        self.lists[node] = List { first: place, length, room: wanted };
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Coverage {
    /// Leaves: the ranks of time, rounded up to a power of two. Node i has children 2i and 2i + 1.
    leaves: usize,
    /// Nodes before this one span more time than any buffer lives, so no query asks for what is inside them and
    /// nothing is hung on them.
    highest: usize,
    inside: Lists,
    /// Of nodes that have children: nobody asks what holds across a leaf, since it is what is inside it.
    across: Lists,
    scratch: Scratch,
    /// Ranges compared so far: what the index has cost, the same on every machine.
    pub(super) compared: u64,
}

/// How the room for a buffer is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// The lowest address.
    First,
    /// The tightest gap; the lowest of equals; above everything only when no gap holds it.
    Best,
}

/// Reused between queries.
#[derive(Clone, Debug, Default)]
struct Scratch {
    cursors: Vec<(u32, bool, u32)>,
    ranges: Vec<Range>,
}

impl Coverage {
    /// For buffers that live for at most `longest` of the ranks.
    pub(super) fn new(ranks: u32, longest: u32) -> Self {
        let leaves = (ranks as usize).next_power_of_two();
        let widest = 1 << (longest.max(1)).ilog2();
        let highest = (leaves / widest).max(1);
        Self {
            leaves,
            highest,
            inside: Lists::new(2 * leaves),
            across: Lists::new(leaves),
            scratch: Scratch::default(),
            compared: 0,
        }
    }

    /// Everything is free again.
    pub(super) fn clear(&mut self) {
        self.inside.clear();
        self.across.clear();
    }

    /// Takes the addresses `range` during `[start, end)`, which is not empty.
    pub(super) fn take(&mut self, start: u32, end: u32, range: Range) {
        let Self { inside, across, leaves, .. } = self;
        walk(*leaves, self.highest, (start, end), |node, whole| {
            inside.insert(node, range);
            if whole && node < *leaves {
                across.insert(node, range);
            }
        });
    }

    fn list(&self, node: u32, inside: bool) -> &[Range] {
        if inside { self.inside.get(node as usize) } else { self.across.get(node as usize) }
    }

    /// An offset at a multiple of `alignment` where `size` bytes are free during all of the runs of ranks.
    pub(super) fn find(&mut self, runs: &[(u32, u32)], size: u64, alignment: u64, fit: Fit) -> u64 {
        let mut scratch = std::mem::take(&mut self.scratch);
        let (offset, compared) = match fit {
            Fit::First => self.first_fit(&mut scratch, runs, size, alignment),
            Fit::Best => self.best_fit(&mut scratch, runs, size, alignment),
        };
        self.scratch = scratch;
        self.compared += compared;
        offset
    }

    /// Raises a candidate over whatever is in its way until nothing is; each list is passed once.
    fn first_fit(&self, scratch: &mut Scratch, runs: &[(u32, u32)], size: u64, alignment: u64) -> (u64, u64) {
        let cursors = &mut scratch.cursors;
        cursors.clear();
        for &run in runs {
            walk(self.leaves, self.highest, run, |node, inside| {
                if !self.list(node as u32, inside).is_empty() {
                    cursors.push((node as u32, inside, 0));
                }
            });
        }
        let mut offset = 0u64;
        let mut quiet = 0;
        let mut at = 0;
        // Until every list in turn has let the candidate pass.
        while quiet < cursors.len() {
            let (node, inside, position) = &mut cursors[at];
            let list = self.list(*node, *inside);
            let before = offset;
            while let Some(&(low, high)) = list.get(*position as usize) {
                if high > offset {
                    if low >= offset + size {
                        break;
                    }
                    offset = align_up(high, alignment);
                }
                *position += 1;
            }
            quiet = if offset == before { quiet + 1 } else { 1 };
            at = if at + 1 == cursors.len() { 0 } else { at + 1 };
        }
        (offset, cursors.iter().map(|&(_, _, position)| u64::from(position) + 1).sum())
    }

    fn best_fit(&self, scratch: &mut Scratch, runs: &[(u32, u32)], size: u64, alignment: u64) -> (u64, u64) {
        let ranges = &mut scratch.ranges;
        ranges.clear();
        for &run in runs {
            walk(self.leaves, self.highest, run, |node, inside| {
                ranges.extend_from_slice(self.list(node as u32, inside))
            });
        }
        // The stable sort finds the ascending runs that the lists are, and merges them.
        ranges.sort();
        let mut top = 0;
        let mut best = (u64::MAX, 0);
        for &(low, high) in ranges.iter() {
            if low > top {
                let offset = align_up(top, alignment);
                if offset + size <= low && low - top < best.0 {
                    best = (low - top, offset);
                }
            }
            top = top.max(high);
        }
        let offset = if best.0 < u64::MAX { best.1 } else { align_up(top, alignment) };
        // Sorting costs a few looks at each.
        (offset, 4 * ranges.len() as u64)
    }
}

/// Visits the nodes that make up an interval of time, which is not empty (`true`), and their ancestors, with some
/// that lie inside the interval (`false`).
pub(super) fn walk(
    leaves: usize,
    highest: usize,
    (start, end): (u32, u32),
    mut visit: impl FnMut(usize, bool),
) {
    let (mut left, mut right) = (start as usize + leaves, end as usize + leaves);
    let (mut a, mut b) = (left / 2, (right - 1) / 2);
    while left < right {
        if left & 1 == 1 {
            visit(left, true);
            left += 1;
        }
        if right & 1 == 1 {
            right -= 1;
            visit(right, true);
        }
        left /= 2;
        right /= 2;
    }
    while a >= highest {
        visit(a, false);
        if b != a {
            visit(b, false);
        }
        a /= 2;
        b /= 2;
    }
}

/// The next multiple of a power of two; sums of sizes and alignments are known to fit.
pub(super) fn align_up(offset: u64, alignment: u64) -> u64 {
    (offset + (alignment - 1)) & !(alignment - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::Linear;
    use proptest::prelude::*;

    proptest! {
        /// Both fits against a look at every placed buffer.
        #[test]
        fn the_index_finds_what_a_scan_finds(
            buffers in prop::collection::vec((0u32..40, 1u32..20, 1u64..50, 0u32..4, any::<bool>()), 1..80)
        ) {
            let mut coverage = Coverage::new(60, 20);
            let mut linear = Linear::default();
            let mut placed: Vec<(u32, u32, u64, u64)> = Vec::new();
            for (start, length, size, shift, first) in buffers {
                let (end, alignment) = (start + length, 1u64 << shift);
                let mut taken: Vec<(u64, u64)> = placed
                    .iter()
                    .filter(|p| p.0 < end && start < p.1)
                    .map(|p| (p.2, p.3))
                    .collect();
                taken.sort_unstable();
                let free = |offset: u64| taken.iter().all(|&(low, high)| offset >= high || low >= offset + size);
                let lowest = (0..).step_by(alignment as usize).find(|&offset| free(offset)).unwrap();
                let fit = if first { Fit::First } else { Fit::Best };
                let offset = coverage.find(&[(start, end)], size, alignment, fit);
                prop_assert_eq!(offset, linear.find(&[(start, end)], size, alignment, fit));
                linear.take(start, end, (offset, offset + size));
                prop_assert!(free(offset) && offset.is_multiple_of(alignment));
                let top = taken.iter().map(|t| t.1).max().unwrap_or(0);
                if first {
                    prop_assert_eq!(offset, lowest);
                } else if offset >= top {
                    prop_assert!(lowest >= top, "a gap would have held it");
                } else {
                    let gap = |at: u64| {
                        let low = taken.iter().map(|t| t.1).filter(|&high| high <= at).max().unwrap_or(0);
                        let high = taken.iter().map(|t| t.0).filter(|&low| low >= at).min().unwrap_or(u64::MAX);
                        high - low
                    };
                    let tightest = (0..top).step_by(alignment as usize).filter(|&o| free(o) && o + size <= top).map(gap).min();
                    prop_assert_eq!(Some(gap(offset)), tightest);
                }
                coverage.take(start, end, (offset, offset + size));
                placed.push((start, end, offset, offset + size));
            }
        }
    }
}
