//! Best fit in the order of time, in n log n steps: an answer for millions of buffers before anything else is tried.
//!
//! As an allocator would do it that serves the program: a buffer takes the smallest hole that holds it when it begins, and gives it
//! back when it ends, joined with what is free beside it. Gaps in lives are not used.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::problem::Problem;

/// Free ranges above an address, up to the highest end so far.
struct Holes {
    /// Their ends, by where they begin.
    ends: BTreeMap<u64, u64>,
    by_size: BTreeSet<(u64, u64)>,
    top: u64,
}

impl Holes {
    fn add(&mut self, low: u64, high: u64) {
        if low < high {
            self.ends.insert(low, high);
            self.by_size.insert((high - low, low));
        }
    }

    fn remove(&mut self, low: u64) -> Option<u64> {
        let high = self.ends.remove(&low)?;
        self.by_size.remove(&(high - low, low));
        Some(high)
    }

    fn take(&mut self, size: u64, alignment: u64) -> u64 {
        // What alignment may leave empty is asked for as well, so that the first hole will do.
        let hole = self.by_size.range((size + alignment - 1, 0)..).next().copied();
        let (low, high) = match hole {
            Some((_, low)) => (low, self.remove(low).unwrap_or(low)),
            None => (self.top, u64::MAX),
        };
        let offset = low.next_multiple_of(alignment);
        self.add(low, offset);
        if high == u64::MAX {
            self.top = offset + size;
        } else {
            self.add(offset + size, high);
        }
        offset
    }

    fn give_back(&mut self, mut low: u64, mut high: u64) {
        if let Some(end) = self.remove(high) {
            high = end;
        }
        if let Some((&before, &end)) = self.ends.range(..low).next_back()
            && end == low
        {
            self.remove(before);
            low = before;
        }
        self.add(low, high);
    }
}

/// Offsets of all buffers, and the highest end: pinned ones where they must be, all others above those.
pub(super) fn best_fit(problem: &Problem) -> (Vec<u64>, u64) {
    let buffers = &problem.buffers;
    let mut offsets: Vec<u64> = buffers.iter().map(|buffer| buffer.pin().unwrap_or(0)).collect();
    let pins = buffers.iter().filter_map(|buffer| Some(buffer.pin()? + buffer.bytes()));
    let base = pins.max().unwrap_or(0);
    let mut order: Vec<u32> = (0..buffers.len() as u32).collect();
    order.retain(|&i| buffers[i as usize].pinned.is_none());
    // Of those that begin together the largest first.
    order.sort_by_key(|&i| (buffers[i as usize].start, Reverse(buffers[i as usize].size), i));
    let mut holes = Holes { ends: BTreeMap::new(), by_size: BTreeSet::new(), top: base };
    let mut live: BinaryHeap<Reverse<(u32, u64, u64)>> = BinaryHeap::new();
    for i in order {
        let buffer = &buffers[i as usize];
        while let Some(&Reverse((end, low, high))) = live.peek()
            && end <= buffer.start
        {
            live.pop();
            holes.give_back(low, high);
        }
        let offset = holes.take(buffer.bytes(), buffer.alignment);
        offsets[i as usize] = offset;
        live.push(Reverse((buffer.end, offset, offset + buffer.bytes())));
    }
    (offsets, holes.top)
}
