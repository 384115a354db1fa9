//! Is a placement sound? A sweep over time that keeps the live buffers by address: O(n log n), against
//! neighbours only.

use std::collections::BTreeMap;

use super::problem::Problem;

impl Problem {
    /// Two buffers that are live together and overlap in addresses; `None` when there are none. Those without an
    /// offset are left out. Offsets and sizes do not pass 2^64 together.
    pub(super) fn first_clash(&self, offsets: &[Option<u64>]) -> Option<(usize, usize)> {
        let mut events: Vec<(u32, bool, usize)> = Vec::with_capacity(2 * self.buffers.len());
        for (i, _) in offsets.iter().enumerate().filter(|(_, offset)| offset.is_some()) {
            for (start, end) in self.runs(i) {
                // Ends sort before starts at one time: lifetimes are half-open.
                events.push((start, true, i));
                events.push((end, false, i));
            }
        }
        events.sort_unstable();
        let mut live: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
        for (_, starts, i) in events {
            let Some(offset) = offsets[i] else {
                continue;
            };
            let end = offset + self.buffers[i].size;
            if !starts {
                live.remove(&offset);
                continue;
            }
            if let Some((_, &(below_end, below))) = live.range(..=offset).next_back()
                && below_end > offset
            {
                return Some((below, i));
            }
            if let Some((&above_offset, &(_, above))) = live.range(offset..).next()
                && above_offset < end
            {
                return Some((above, i));
            }
            live.insert(offset, (end, i));
        }
        None
    }
}
