//! Floors: how high each section is filled so far, and the valleys between higher ones, with undo.
//!
//! In every section all below the *floor* is decided: taken, or left empty for good. A *valley* is a run of sections with one
//! floor between higher ones; what is placed next lies on the floor of one. [`place`](Profile::place) puts a tensor there, and
//! then [settles](Profile::settle) what it changed: sections of a valley that nothing can begin in without waste are raised,
//! their empty bytes counted, until every valley has choices. What that costs is known at once, so choices are compared by it.

use super::aim::Aim;
use super::filled::{DONE, Filled};
use super::ground::Ground;
use super::rule::Walls;
use super::valley::{Choice, Valley};
use vramkit_units::SplitMix64;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Profile {
    filled: Filled,
    /// Items of each section that are not placed yet.
    rest: Vec<u32>,
    /// By the first section of each valley: see [`Open`].
    open: Vec<Open>,
    /// The least key under each node of a tree over sections.
    tree: Vec<f32>,
    pub(super) cost: f64,
    pub(super) left: u32,
    /// Where its last decision stands in the search's list of them.
    pub(super) decision: u32,
}

impl Clone for Profile {
    fn clone(&self) -> Self {
        let mut own = Self::default();
        own.clone_from(self);
        own
    }

    /// Into the room that it has: searches copy profiles all the time.
    fn clone_from(&mut self, other: &Self) {
        let Self { filled, rest, open, tree, cost, left, decision } = other;
        self.filled.clone_from(filled);
        self.rest.clone_from(rest);
        self.open.clone_from(open);
        self.tree.clone_from(tree);
        (self.cost, self.left, self.decision) = (*cost, *left, *decision);
    }
}

/// A valley: where it ends, its tightest section, and what it will cost at least beside what is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Open {
    end: u32,
    tightest: u32,
    cost: f64,
}

/// What was before a change.
#[derive(Clone, Copy)]
enum Change {
    Floor(u32, u64, u32),
    Empty(u32, u64),
    Open(u32, f32, Open),
    Item(u32),
}

/// What profiles of one ground share while they are worked on.
#[derive(Default)]
pub(super) struct Scratch {
    trail: Vec<Change>,
    work: Vec<u32>,
    pub(super) valley: Valley,
    /// Tensors looked at: what the search has cost, the same on every machine.
    pub(super) looked: u64,
}

impl Profile {
    /// Nothing placed, and everything settled.
    pub(super) fn new(aim: &Aim<'_>, scratch: &mut Scratch) -> Self {
        scratch.valley.forget();
        let ground = aim.ground;
        let count = ground.sections();
        let mut change = vec![0u32; count + 1];
        for item in &ground.items {
            change[item.first as usize] = change[item.first as usize].wrapping_add(1);
            change[item.end as usize] = change[item.end as usize].wrapping_sub(1);
        }
        let mut live = 0u32;
        let rest = change[..count].iter().map(|change| {
            live = live.wrapping_add(*change);
            live
        });
        let mut profile = Self {
            filled: Filled::new(ground),
            rest: rest.collect(),
            open: vec![Open::default(); count],
            tree: vec![f32::INFINITY; 2 * count.next_power_of_two()],
            cost: 0.0,
            left: ground.items.len() as u32,
            decision: u32::MAX,
        };
        profile.cost = (0..count).map(|section| aim.cost(section, 0)).sum();
        for section in 0..count {
            profile.lift(aim, section, 0, scratch);
        }
        for section in 0..count {
            if section == 0 || profile.filled.floor[section - 1] != profile.filled.floor[section] {
                scratch.work.push(section as u32);
            }
        }
        profile.settle(aim, scratch);
        scratch.trail.clear();
        profile
    }

    /// The valley to decide on next: its first section. `None` when nothing is left.
    pub(super) fn pick(&self) -> Option<usize> {
        if self.tree[1] == f32::INFINITY {
            return None;
        }
        let leaves = self.tree.len() / 2;
        let mut node = 1;
        while node < leaves {
            node = 2 * node + usize::from(self.tree[2 * node] > self.tree[2 * node + 1]);
        }
        Some(node - leaves)
    }

    /// The items that may be put on the floor of the valley that begins in a section and take its tightest section, of equal
    /// ones the first.
    pub(super) fn choices(&self, aim: &Aim<'_>, first: usize, scratch: &mut Scratch, out: &mut Vec<Choice>) {
        let Open { end, tightest, .. } = self.open[first];
        let ceiling = self.ceiling(aim.ground, first, end as usize);
        scratch.valley.look(&self.filled, aim, (first, end as usize), ceiling, &mut scratch.looked);
        scratch.valley.choices(tightest, out);
    }

    /// Up to where a section of a valley must rise at least when nothing can begin on its floor.
    fn ceiling(&self, ground: &Ground, first: usize, end: usize) -> u64 {
        let before = if first > 0 { self.filled.floor[first - 1] } else { DONE };
        let wall = before.min(self.filled.floor.get(end).copied().unwrap_or(DONE));
        if ground.is_open() {
            return wall;
        }
        let above = (first..end).filter_map(|s| ground.obstacle(s, self.filled.next[s]));
        above.map(|(_, high)| high).fold(wall, u64::min)
    }

    /// Puts an item on the floor of the valley that begins in section `valley`. Returns its offset.
    pub(super) fn place(&mut self, aim: &Aim<'_>, valley: usize, choice: u32, scratch: &mut Scratch) -> u64 {
        let end = self.open[valley].end as usize;
        let (offset, _) = self.put(aim, valley, choice, scratch);
        let item = &aim.ground.items[choice as usize];
        // What is left of the valley on both sides.
        if item.first as usize > valley {
            scratch.work.push(valley as u32);
        }
        if (item.end as usize) < end {
            scratch.work.push(item.end);
        }
        self.settle(aim, scratch);
        scratch.trail.clear();
        offset
    }

    /// What the profile would cost with a choice made in the valley that begins in section `valley`, the set of what would be
    /// placed, and less for what is to come first among choices of one cost. What is left of the valley on both sides costs what
    /// the look at all of it has found, so that it is not looked at again.
    pub(super) fn weigh(
        &mut self,
        aim: &Aim<'_>,
        valley: usize,
        choice: &Choice,
        scratch: &mut Scratch,
    ) -> (f64, u64, f64) {
        let before = (self.cost, self.filled.set);
        let end = self.open[valley].end as usize;
        let (_, rank) = self.put(aim, valley, choice.item, scratch);
        let item = &aim.ground.items[choice.item as usize];
        let (first, last) = (item.first as usize, item.end as usize);
        if first > valley {
            self.cost += choice.before;
        }
        if last < end {
            self.cost += choice.after;
        }
        self.settle(aim, scratch);
        let weighed = (self.cost, self.filled.set, rank);
        self.undo(aim, scratch);
        (self.cost, self.filled.set) = before;
        weighed
    }

    /// Puts an item on the floor of a valley, which is none then, and lists what is to be settled but for the valley's own rest.
    fn put(&mut self, aim: &Aim<'_>, valley: usize, number: u32, scratch: &mut Scratch) -> (u64, f64) {
        let ground = aim.ground;
        let item = &ground.items[number as usize];
        let floor = self.filled.floor[valley];
        let end = self.open[valley].end as usize;
        let (first, last) = (item.first as usize, item.end as usize);
        let offset = floor.next_multiple_of(item.alignment);
        let wall = |section: Option<usize>| {
            let height = section.and_then(|s| self.filled.floor.get(s)).copied().unwrap_or(DONE);
            (height - floor).min(aim.wanted)
        };
        let walls = Walls { before: wall(first.checked_sub(1)), after: wall(Some(last)), wanted: aim.wanted };
        let rank = aim.rule.rank(item, offset - floor + item.size, walls, ground.sections());
        self.set_open(valley, f32::INFINITY, Open::default(), scratch);
        self.filled.placed[number as usize / 64] |= 1 << (number % 64);
        self.left -= 1;
        self.filled.set ^= SplitMix64::new(u64::from(number)).bits();
        scratch.trail.push(Change::Item(number));
        for section in first..last {
            self.rest[section] -= 1;
            scratch.trail.push(Change::Floor(
                section as u32,
                self.filled.floor[section],
                self.filled.next[section],
            ));
            if offset > floor {
                self.leave(aim, section, offset - floor, scratch);
            }
            self.lift(aim, section, offset + item.size, scratch);
        }
        for section in first..last {
            if section == first || self.filled.floor[section] != self.filled.floor[section - 1] {
                scratch.work.push(section as u32);
            }
        }
        // A wall may be lower than what stands beside it now.
        if first == valley && first > 0 {
            scratch.work.push(first as u32 - 1);
        }
        if last == end && end < ground.sections() {
            scratch.work.push(end as u32);
        }
        (offset, rank)
    }

    /// Takes back all that was placed since the trail was last empty, but for the cost and the set.
    fn undo(&mut self, aim: &Aim<'_>, scratch: &mut Scratch) {
        while let Some(change) = scratch.trail.pop() {
            match change {
                Change::Floor(section, floor, next) => {
                    self.filled.floor[section as usize] = floor;
                    self.filled.next[section as usize] = next;
                }
                Change::Empty(section, empty) => self.filled.empty[section as usize] = empty,
                Change::Open(section, key, open) => {
                    self.open[section as usize] = open;
                    self.put_key(section as usize, key);
                }
                Change::Item(number) => {
                    self.filled.placed[number as usize / 64] &= !(1 << (number % 64));
                    self.left += 1;
                    let item = &aim.ground.items[number as usize];
                    let sections = item.first as usize..item.end as usize;
                    self.rest[sections].iter_mut().for_each(|rest| *rest += 1);
                }
            }
        }
    }

    /// Sets the floor of a section to at least `floor`, above obstacles in the way; between them bytes stay empty.
    fn lift(&mut self, aim: &Aim<'_>, section: usize, floor: u64, scratch: &mut Scratch) {
        let is_done = self.rest[section] == 0;
        let mut at = floor;
        let mut empty = 0;
        while let Some((low, high)) = aim.ground.obstacle(section, self.filled.next[section])
            && (at >= low || is_done)
        {
            empty += low.saturating_sub(at);
            at = at.max(high);
            self.filled.next[section] += 1;
        }
        if empty > 0 {
            self.leave(aim, section, empty, scratch);
        }
        self.filled.floor[section] = if is_done { DONE } else { at };
    }

    /// Leaves bytes of a section empty.
    fn leave(&mut self, aim: &Aim<'_>, section: usize, bytes: u64, scratch: &mut Scratch) {
        let before = self.filled.empty[section];
        scratch.trail.push(Change::Empty(section as u32, before));
        self.cost += aim.cost(section, before + bytes) - aim.cost(section, before);
        self.filled.empty[section] = before + bytes;
    }

    /// Raises a section of a valley to a height, since nothing begins on its floor.
    fn raise(&mut self, aim: &Aim<'_>, section: usize, to: u64, scratch: &mut Scratch) {
        let (floor, next) = (self.filled.floor[section], self.filled.next[section]);
        scratch.trail.push(Change::Floor(section as u32, floor, next));
        let (mut empty, mut at) = (0, floor);
        while let Some((low, high)) = aim.ground.obstacle(section, self.filled.next[section])
            && to >= low
        {
            empty += low - at;
            at = high;
            self.filled.next[section] += 1;
        }
        if to > at {
            empty += to - at;
            at = to;
        }
        self.filled.floor[section] = at;
        self.leave(aim, section, empty, scratch);
    }

    /// Looks at the runs of sections in the list of work until all valleys have choices.
    fn settle(&mut self, aim: &Aim<'_>, scratch: &mut Scratch) {
        let ground = aim.ground;
        while let Some(section) = scratch.work.pop() {
            let section = section as usize;
            let floor = self.filled.floor[section];
            if floor >= DONE {
                continue;
            }
            let (first, end) = self.run(section);
            if first > 0 && self.filled.floor[first - 1] < floor
                || self.filled.floor.get(end).is_some_and(|&f| f < floor)
            {
                continue;
            }
            let ceiling = self.ceiling(ground, first, end);
            scratch.valley.look(&self.filled, aim, (first, end), ceiling, &mut scratch.looked);
            let Some((tightness, tightest)) = scratch.valley.tightest(aim.weight) else {
                // Something is to be raised, and its neighbours looked at again.
                self.set_open(first, f32::INFINITY, Open::default(), scratch);
                for number in 0..scratch.valley.raised.len() {
                    let (section, to) = scratch.valley.raised[number];
                    self.raise(aim, section as usize, to, scratch);
                }
                for section in first..end {
                    if section == first || self.filled.floor[section] != self.filled.floor[section - 1] {
                        scratch.work.push(section as u32);
                    }
                }
                if first > 0 {
                    scratch.work.push(first as u32 - 1);
                }
                if end < ground.sections() {
                    scratch.work.push(end as u32);
                }
                continue;
            };
            let key = tightness + (floor as f64 / aim.wanted as f64) as f32 * aim.rule.depth;
            let open = Open { end: end as u32, tightest, cost: scratch.valley.least_cost() };
            self.set_open(first, key, open, scratch);
        }
    }

    /// Whether it was taken away.
    pub(super) fn is_empty(&self) -> bool {
        self.filled.floor.is_empty()
    }

    /// The sections around one that have the same floor.
    fn run(&self, section: usize) -> (usize, usize) {
        let floor = self.filled.floor[section];
        let before = self.filled.floor[..section].iter().rev().take_while(|&&other| other == floor).count();
        let after = self.filled.floor[section..].iter().take_while(|&&other| other == floor).count();
        (section - before, section + after)
    }

    /// Notes a valley, or with an infinite key that there is none.
    fn set_open(&mut self, first: usize, key: f32, open: Open, scratch: &mut Scratch) {
        let before = (self.tree[self.tree.len() / 2 + first], self.open[first]);
        if before == (key, open) {
            return;
        }
        scratch.trail.push(Change::Open(first as u32, before.0, before.1));
        self.cost += open.cost - before.1.cost;
        self.open[first] = open;
        self.put_key(first, key);
    }

    fn put_key(&mut self, first: usize, key: f32) {
        let mut node = self.tree.len() / 2 + first;
        self.tree[node] = key;
        while node > 1 {
            node /= 2;
            let least = self.tree[2 * node].min(self.tree[2 * node + 1]);
            if self.tree[node] == least {
                break;
            }
            self.tree[node] = least;
        }
    }
}
