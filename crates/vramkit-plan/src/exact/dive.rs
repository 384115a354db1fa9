//! Depth-first search between restarts, on a stack of its own.
//!
//! At each node the scope at work, a range of sections, is split where nothing unplaced crosses: parts are
//! searched one after the other, smallest first, and when one fails the others' solutions do not matter. In a
//! part, a rule chooses a section and the alternatives at its floor are tried in turn.

use super::choice::Chooser;
use super::failures::Failures;
use super::key::Key;
use super::state::{Mark, State};
use super::units::Units;

/// How a dive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything is placed; the state holds the offsets.
    Found,
    /// There is no placement: everything was tried.
    Exhausted,
    /// The nodes ran out.
    Limit,
}

/// No frame.
const NONE: usize = usize::MAX;

/// A range of sections.
type DiveScope = (usize, usize);

enum Frame<U> {
    Branch(Branch<U>),
    Split(Split),
}

/// A section with alternatives, of which some were tried.
#[derive(Clone, Copy)]
struct Branch<U> {
    /// The frame that this one hangs on.
    parent: usize,
    /// The split that its scope is a part of.
    split: usize,
    scope: DiveScope,
    section: usize,
    floor: U,
    mark: Mark,
    /// Its tensors at the floor, in the list of all frames' candidates.
    candidates: (usize, usize),
    next: usize,
    /// Whether it may be that none of them starts there, and was not tried yet.
    may_pass: bool,
    /// Whether there was an alternative at all; where there is none the section gains weight.
    tried: bool,
    /// How many parts there were.
    parts: usize,
}

/// Parts that are solved one after the other.
#[derive(Clone, Copy)]
struct Split {
    parent: usize,
    outer: usize,
    /// The next of the parts, and their end.
    next: usize,
    end: usize,
}

/// Where a dive is.
#[derive(Clone, Copy)]
struct Place {
    parent: usize,
    split: usize,
    scope: DiveScope,
}

/// What dives keep between them: room for the stack, and the parts and candidates on it.
pub(super) struct Stack<U> {
    frames: Vec<Frame<U>>,
    candidates: Vec<u32>,
    /// Whether each candidate may start on the floor.
    open: Vec<bool>,
    parts: Vec<(DiveScope, Key)>,
}

impl<U> Default for Stack<U> {
    fn default() -> Self {
        Self { frames: Vec::new(), candidates: Vec::new(), open: Vec::new(), parts: Vec::new() }
    }
}

impl<U: Units> Stack<U> {
    /// Searches from a state in which nothing is placed, for up to `limit` nodes, which are counted down, or until
    /// it is time to stop. Leaves the state as it was unless a placement is found.
    pub(super) fn dive(
        &mut self,
        state: &mut State<'_, U>,
        chooser: &mut Chooser,
        failures: &mut Failures,
        limit: &mut u64,
        stop: &dyn Fn() -> bool,
    ) -> Outcome {
        self.frames.clear();
        self.candidates.clear();
        self.open.clear();
        self.parts.clear();
        let start = state.mark();
        let mut place = Place { parent: NONE, split: NONE, scope: (0, state.sections.count) };
        loop {
            if !self.enter_part(state, &mut place) {
                return Outcome::Found;
            }
            if !failures.contains(state.key()) {
                self.branch(state, chooser, &mut place);
            }
            // On to the next alternative of the last branch that has one.
            loop {
                if place.parent == NONE {
                    state.undo(start);
                    return Outcome::Exhausted;
                }
                self.frames.truncate(place.parent + 1);
                match &mut self.frames[place.parent] {
                    // A part failed, and with it the whole.
                    Frame::Split(split) => place.parent = split.parent,
                    Frame::Branch(branch) => {
                        state.undo(branch.mark);
                        self.candidates.truncate(branch.candidates.1);
                        self.open.truncate(branch.candidates.1);
                        self.parts.truncate(branch.parts);
                        if *limit == 0 || limit.is_multiple_of(state.sections.patience) && stop() {
                            state.undo(start);
                            return Outcome::Limit;
                        }
                        match branch.advance(state, chooser, &self.candidates, &self.open) {
                            Some(true) => {
                                *limit -= 1;
                                (place.split, place.scope) = (branch.split, branch.scope);
                                break;
                            }
                            Some(false) => *limit -= 1,
                            None => {
                                failures.insert(state.key());
                                place.parent = branch.parent;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Narrows the scope to what is left in it, splits it where nothing crosses, and goes on to the next part
    /// where nothing is left. `false` when nothing is left anywhere.
    fn enter_part(&mut self, state: &mut State<'_, U>, place: &mut Place) -> bool {
        let before = self.parts.len();
        find_parts(state, place.scope, &mut self.parts);
        if self.parts.len() == before {
            loop {
                if place.split == NONE {
                    return false;
                }
                let Frame::Split(split) = &mut self.frames[place.split] else {
                    unreachable!("frames point to splits as such");
                };
                if split.next < split.end {
                    let (scope, key) = self.parts[split.next];
                    split.next += 1;
                    state.set_key(key);
                    (place.parent, place.scope) = (place.split, scope);
                    return true;
                }
                place.split = split.outer;
            }
        }
        if self.parts.len() == before + 1 {
            place.scope = self.parts[before].0;
            self.parts.truncate(before);
            return true;
        }
        for (scope, key) in &mut self.parts[before..] {
            *key = state.key_of(*scope);
        }
        self.parts[before..].sort_by_key(|&((first, end), _)| end - first);
        let split =
            Split { parent: place.parent, outer: place.split, next: before + 1, end: self.parts.len() };
        self.frames.push(Frame::Split(split));
        let (scope, key) = self.parts[before];
        state.set_key(key);
        *place = Place { parent: self.frames.len() - 1, split: self.frames.len() - 1, scope };
        true
    }

    /// Chooses a section and lists its candidates.
    fn branch(&mut self, state: &State<'_, U>, chooser: &mut Chooser, place: &mut Place) {
        let section = chooser.choose(state, place.scope);
        let floor = state.floor[section];
        let first = self.candidates.len();
        state.unplaced.for_each_common(&state.sections.members[section], |t| {
            if state.bound[t] == floor {
                self.candidates.push(t as u32);
            }
        });
        let pinned = |&&t: &&u32| state.sections.pinned[t as usize].is_some();
        let forced = self.candidates[first..].iter().find(pinned).copied();
        if let Some(forced) = forced {
            self.candidates.truncate(first);
            self.candidates.push(forced);
        }
        // Those that may not start here are there to be raised with the others.
        let is_open = |t: &u32| {
            forced.is_some() || chooser.is_open(state.sections.hull[*t as usize], state.sections.is_gapped)
        };
        let here = section as u32;
        let may_skip = chooser.is_open((here, here + 1), state.sections.is_gapped);
        self.open.extend(self.candidates[first..].iter().map(is_open));
        let branch = Branch {
            parent: place.parent,
            split: place.split,
            scope: place.scope,
            section,
            floor,
            mark: state.mark(),
            candidates: (first, self.candidates.len()),
            next: first,
            tried: false,
            may_pass: forced.is_none() && may_skip && state.slack(section) > U::ZERO,
            parts: self.parts.len(),
        };
        self.frames.push(Frame::Branch(branch));
        place.parent = self.frames.len() - 1;
    }
}

impl<U: Units> Branch<U> {
    /// Makes the next alternative so: whether all else is still possible, `None` when there is no alternative left.
    fn advance(
        &mut self,
        state: &mut State<'_, U>,
        chooser: &mut Chooser,
        candidates: &[u32],
        open: &[bool],
    ) -> Option<bool> {
        let (first, end) = self.candidates;
        while self.next < end {
            let (t, is_open) = (candidates[self.next] as usize, open[self.next]);
            self.next += 1;
            // Of two that differ in nothing, the one first in the list starts first.
            let twin = state.sections.twin[t].is_some_and(|twin| candidates[first..end].contains(&twin));
            if is_open && state.can_start(t) && !twin {
                self.tried = true;
                return Some(state.place(t, self.floor, &mut chooser.weight));
            }
        }
        if !self.tried && !self.may_pass {
            chooser.weight[self.section] += 1.0;
        }
        if self.may_pass {
            self.may_pass = false;
            self.tried = true;
            return Some(state.pass(&candidates[first..end], &mut chooser.weight));
        }
        None
    }
}

/// The parts of a scope in which something is unplaced, with nothing unplaced from one to the next.
fn find_parts<U: Units>(state: &State<'_, U>, (first, end): DiveScope, parts: &mut Vec<(DiveScope, Key)>) {
    let mut s = first;
    while s < end {
        if state.floor[s] == U::DONE {
            s += 1;
            continue;
        }
        let start = s;
        while state.crossing[s] > 0 {
            s += 1;
        }
        s += 1;
        parts.push(((start, s), Key::default()));
    }
}
