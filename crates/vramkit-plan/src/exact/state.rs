//! What is placed, and what that means for the rest: the state of a search, with undo.
//!
//! Each unplaced tensor has a *support* (the highest end of what is placed under it) and a *bound* (the lowest
//! offset that it can still take); each section a *floor* (the lowest bound among its unplaced tensors) and the
//! bytes that *remain* to be placed in it. Two moves change them: [`place`](State::place) puts a tensor on the
//! floor of a valley; [`pass`](State::pass) says that no candidate starts there. Both say whether some section
//! can no longer hold what remains, and both are taken back from a trail.

use super::bits::Bits;
use super::key::{Key, Keys};
use super::sections::Sections;
use super::units::Units;

/// See the [module](self).
pub(super) struct State<'a, U> {
    pub(super) sections: &'a Sections<U>,
    /// No tensor ends above this.
    pub(super) capacity: U,
    /// The highest offset that each tensor may take, where the capacity does not say it all.
    highest: Vec<Option<U>>,
    is_limited: bool,
    pub(super) unplaced: Bits,
    support: Vec<U>,
    /// Of a placed tensor: its offset.
    pub(super) bound: Vec<U>,
    pub(super) floor: Vec<U>,
    pub(super) remaining: Vec<U>,
    /// Unplaced tensors that live on both sides of the end of each section.
    pub(super) crossing: Vec<u32>,
    keys: Keys,
    key: Key,
    tensor_trail: Vec<(u32, U, U)>,
    floor_trail: Vec<(u32, U)>,
    /// Sections whose floor is to be found again, all between two ends.
    dirty: Bits,
    dirty_ends: (usize, usize),
    raised: Vec<(u32, U)>,
    start: Mark,
}

/// A moment to go back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    tensors: usize,
    floors: usize,
    key: Key,
}

impl<'a, U: Units> State<'a, U> {
    /// Nothing placed, in an arena of `capacity` bytes.
    pub(super) fn new(sections: &'a Sections<U>, capacity: u64) -> Self {
        let n = sections.tensors();
        let keys = Keys::new(n);
        let bound: Vec<U> = (0..n).map(|t| sections.pinned[t].unwrap_or(U::ZERO)).collect();
        let key = (0..n).fold(Key::default(), |key, t| key + keys.of(t, U::ZERO, bound[t]));
        let mut state = Self {
            sections,
            capacity: U::ZERO,
            highest: vec![None; n],
            is_limited: false,
            unplaced: Bits::all(n),
            support: vec![U::ZERO; n],
            bound,
            floor: vec![U::DONE; sections.count],
            remaining: vec![U::ZERO; sections.count],
            crossing: vec![0; sections.count],
            keys,
            key,
            tensor_trail: Vec::new(),
            floor_trail: Vec::new(),
            dirty: Bits::new(sections.count),
            dirty_ends: (usize::MAX, 0),
            raised: Vec::new(),
            start: Mark { tensors: 0, floors: 0, key },
        };
        for t in 0..n {
            for &(lo, hi) in sections.spans(t) {
                for s in lo as usize..hi as usize {
                    state.floor[s] = state.floor[s].min(state.bound[t]);
                    state.remaining[s] += sections.size[t];
                }
            }
            let (lo, hi) = sections.hull[t];
            state.crossing[lo as usize..hi as usize - 1].iter_mut().for_each(|count| *count += 1);
        }
        state.set_capacity(capacity);
        state
    }

    /// Changes the capacity of a state in which nothing is placed.
    pub(super) fn set_capacity(&mut self, bytes: u64) {
        let sections = self.sections;
        // Sizes are rounded up, so the capacity is too; `highest` knows the bytes. What is never full is `DONE`.
        let units = |bytes: u64| U::new(bytes / sections.unit).unwrap_or(U::DONE).min(U::DONE - U::ONE);
        let rounded = bytes.checked_next_multiple_of(sections.unit);
        self.capacity = rounded.map_or(U::DONE - U::ONE, units);
        self.is_limited = false;
        for t in 0..sections.tensors() {
            let latest = bytes.checked_sub(sections.bytes[t]);
            let latest = latest.map(|latest| units(latest).align_down(sections.alignment[t]));
            self.highest[t] = match sections.pinned[t] {
                Some(pin) => latest.filter(|&latest| pin <= latest).map(|_| pin),
                None => latest,
            };
            self.is_limited |=
                self.highest[t].is_none_or(|highest| highest + sections.size[t] < self.capacity);
        }
    }

    /// Whether a section cannot hold what it must, before anything is placed.
    pub(super) fn is_overfull(&self) -> bool {
        let full =
            |s: usize| self.remaining[s] > U::ZERO && self.floor[s] + self.remaining[s] > self.capacity;
        (0..self.sections.count).any(full)
            || (0..self.highest.len()).any(|t| self.highest[t].is_none_or(|highest| highest < self.bound[t]))
    }

    /// Bytes that may stay empty in a section.
    pub(super) fn slack(&self, section: usize) -> U {
        self.capacity - self.floor[section] - self.remaining[section]
    }

    /// Whether an unplaced tensor may start at its bound: it is pinned there, or rests on what is placed.
    #[inline]
    pub(super) fn can_start(&self, t: usize) -> bool {
        self.bound[t] == self.support[t]
            || self.sections.is_aligned
                && self.bound[t] == self.support[t].align_up(self.sections.alignment[t])
            || self.sections.pinned[t].is_some()
    }

    /// Stands for all that decides what can follow in the scope at work.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Works in another scope.
    pub(super) fn set_key(&mut self, key: Key) {
        self.key = key;
    }

    /// The key of the unplaced tensors of some sections, which lie in them whole.
    pub(super) fn key_of(&self, (first, end): (usize, usize)) -> Key {
        let starting = (first..end).flat_map(|s| self.sections.starting(s)).map(|&t| t as usize);
        let unplaced = starting.filter(|&t| self.unplaced.contains(t));
        unplaced.fold(Key::default(), |key, t| key + self.keys.of(t, self.support[t], self.bound[t]))
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { tensors: self.tensor_trail.len(), floors: self.floor_trail.len(), key: self.key }
    }

    /// Puts an unplaced tensor at `offset`, the floor of all its sections. Returns whether everything else can
    /// still be placed as far as is known; sections that cannot hold what remains gain weight.
    pub(super) fn place(&mut self, t: usize, offset: U, weight: &mut [f32]) -> bool {
        let sections = self.sections;
        let size = sections.size[t];
        let top = offset + size;
        self.unplaced.remove(t);
        self.key = self.key - self.keys.of(t, self.support[t], self.bound[t]);
        self.tensor_trail.push((t as u32 | PLACED, self.support[t], self.bound[t]));
        self.bound[t] = offset;
        let (first, end) = sections.hull[t];
        self.crossing[first as usize..end as usize - 1].iter_mut().for_each(|count| *count -= 1);
        for &(lo, hi) in sections.spans(t) {
            let range = lo as usize..hi as usize;
            self.floor_trail
                .extend(range.clone().zip(&self.floor[range.clone()]).map(|(s, &floor)| (s as u32, floor)));
            self.floor[range.clone()].fill(U::DONE);
            self.remaining[range].iter_mut().for_each(|units| *units -= size);
        }
        let mut possible = self.highest[t].is_some_and(|highest| offset <= highest);
        let Self { support, bound, floor, key: state_key, keys, tensor_trail, dirty, dirty_ends, .. } = self;
        let (mut dirty_first, mut dirty_end) = *dirty_ends;
        let (highest, is_limited) = (&self.highest, self.is_limited);
        self.unplaced.for_each_common(&sections.neighbours[t], |u| {
            let (old_support, old) = (support[u], bound[u]);
            let mut new = old;
            if old_support < top {
                support[u] = top;
                let aligned = if sections.is_aligned { top.align_up(sections.alignment[u]) } else { top };
                new = old.max(aligned);
                bound[u] = new;
                possible &= !is_limited || highest[u].is_some_and(|highest| new <= highest);
                *state_key = *state_key + keys.change(u, top - old_support, new - old);
                tensor_trail.push((u as u32, old_support, old));
            }
            let (lo, hi) = sections.hull[u];
            if !sections.is_gapped {
                let (a, b) = (lo.max(first) as usize, hi.min(end) as usize);
                floor[a..b].iter_mut().for_each(|floor| *floor = (*floor).min(new));
            } else {
                let (mut own, mut others) = (sections.spans(t), sections.spans(u));
                while let ([(first, end), own_rest @ ..], [(lo, hi), rest @ ..]) = (own, others) {
                    let (a, b) = (*lo.max(first) as usize, *hi.min(end) as usize);
                    floor[a..b.max(a)].iter_mut().for_each(|floor| *floor = (*floor).min(new));
                    if hi < end { others = rest } else { own = own_rest }
                }
            }
            if new > old && (lo < first || hi > end || sections.is_gapped) {
                let beside = [(lo, hi.min(first)), (lo.max(end), hi)];
                // With gaps it costs less to look at too many.
                let ranges = if sections.is_gapped { sections.spans(u) } else { &beside };
                for s in ranges.iter().flat_map(|&(lo, hi)| lo as usize..hi as usize) {
                    if floor[s] == old {
                        dirty.insert(s);
                        (dirty_first, dirty_end) = (dirty_first.min(s), dirty_end.max(s + 1));
                    }
                }
            }
        });
        self.dirty_ends = (dirty_first, dirty_end);
        let mut all = (first as usize, end as usize);
        if dirty_end > 0 {
            self.find_floors();
            all = (all.0.min(dirty_first), all.1.max(dirty_end));
        }
        self.check(all, weight) && possible
    }

    /// Says that of the tensors that could start on the floor of a section none does: each of them, `candidates`
    /// in ascending order, rests on something that is not placed yet. Returns as [`place`](Self::place).
    pub(super) fn pass(&mut self, candidates: &[u32], weight: &mut [f32]) -> bool {
        let sections = self.sections;
        // The lowest end of an unplaced tensor under each candidate. Candidates are live together, so one may
        // rest on another, but only after that one has itself been raised: the lowest is raised first.
        self.raised.clear();
        for &t in candidates {
            self.unplaced.remove(t as usize);
        }
        for &t in candidates {
            let mut lowest = U::DONE;
            let bound = &self.bound;
            self.unplaced.for_each_common(&sections.neighbours[t as usize], |u| {
                lowest = lowest.min(bound[u] + sections.size[u]);
            });
            self.raised.push((t, lowest));
        }
        let mut possible = true;
        let (mut first, mut end) = (usize::MAX, 0);
        for done in 0..self.raised.len() {
            let next = (done..self.raised.len()).min_by_key(|&i| (self.raised[i].1, self.raised[i].0));
            self.raised.swap(done, next.expect("some are left"));
            let (t, lowest) = self.raised[done];
            let t = t as usize;
            self.unplaced.insert(t);
            let new = if lowest < U::DONE { lowest.align_up(sections.alignment[t]) } else { lowest };
            let top = new + sections.size[t];
            self.raised[done + 1..].iter_mut().for_each(|(_, other)| *other = (*other).min(top));
            possible &= self.highest[t].is_some_and(|highest| new <= highest);
            let (support, old) = (self.support[t], self.bound[t]);
            self.tensor_trail.push((t as u32, support, old));
            self.key = self.key + self.keys.change(t, U::ZERO, new - old);
            self.bound[t] = new;
            for &(lo, hi) in sections.spans(t) {
                let (lo, hi) = (lo as usize, hi as usize);
                for s in lo..hi {
                    if self.floor[s] == old {
                        self.dirty.insert(s);
                    }
                }
                (first, end) = (first.min(lo), end.max(hi));
            }
        }
        self.dirty_ends = (first, end);
        if !possible {
            self.dirty.clear_between(first, end);
            self.dirty_ends = (usize::MAX, 0);
            return false;
        }
        self.find_floors();
        self.check((first, end), weight)
    }

    /// Finds the floors of the dirty sections.
    fn find_floors(&mut self) {
        let (first, end) = self.dirty_ends;
        for s in first..end {
            if !self.dirty.contains(s) {
                continue;
            }
            // Floors only rise: one tensor that is still at the old one says that it stays.
            let (mut lowest, old) = (U::DONE, self.floor[s]);
            for u in self.unplaced.common(&self.sections.members[s]) {
                lowest = lowest.min(self.bound[u]);
                if lowest == old {
                    break;
                }
            }
            if lowest != old {
                self.floor_trail.push((s as u32, old));
                self.floor[s] = lowest;
            }
        }
        self.dirty.clear_between(first, end);
        self.dirty_ends = (usize::MAX, 0);
    }

    /// Whether sections can hold what remains; those that cannot gain weight.
    fn check(&self, (lo, hi): (usize, usize), weight: &mut [f32]) -> bool {
        let sections = self.floor[lo..hi].iter().zip(&self.remaining[lo..hi]);
        let full =
            |(&floor, &remaining): (&U, &U)| (floor + remaining > self.capacity) & (remaining > U::ZERO);
        let possible = !sections.clone().fold(false, |any, section| any | full(section));
        if !possible {
            for (section, weight) in sections.zip(&mut weight[lo..hi]) {
                *weight += if full(section) { 1.0 } else { 0.0 };
            }
        }
        possible
    }

    /// When everything is placed: the offset of each buffer, in bytes.
    pub(super) fn offsets(&self) -> Vec<u64> {
        let mut offsets = vec![0; self.bound.len()];
        for (&buffer, &bound) in self.sections.buffer.iter().zip(&self.bound) {
            offsets[buffer as usize] = bound.get() * self.sections.unit;
        }
        offsets
    }

    /// Takes everything back.
    pub(super) fn clear(&mut self) {
        self.undo(self.start);
    }

    /// Takes back everything since `mark`.
    pub(super) fn undo(&mut self, mark: Mark) {
        for &(s, floor) in self.floor_trail[mark.floors..].iter().rev() {
            self.floor[s as usize] = floor;
        }
        self.floor_trail.truncate(mark.floors);
        for &(entry, support, bound) in self.tensor_trail[mark.tensors..].iter().rev() {
            let t = (entry & !PLACED) as usize;
            (self.support[t], self.bound[t]) = (support, bound);
            if entry & PLACED != 0 {
                self.unplaced.insert(t);
                for &(lo, hi) in self.sections.spans(t) {
                    let size = self.sections.size[t];
                    self.remaining[lo as usize..hi as usize].iter_mut().for_each(|units| *units += size);
                }
                let (first, end) = self.sections.hull[t];
                self.crossing[first as usize..end as usize - 1].iter_mut().for_each(|count| *count += 1);
            }
        }
        self.tensor_trail.truncate(mark.tensors);
        self.key = mark.key;
    }
}

/// Marks the entry of a tensor that was placed, in the trail.
const PLACED: u32 = 1 << 31;
