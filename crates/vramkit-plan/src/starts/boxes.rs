//! Boxes into a larger box: models of one load, which have a place in time and one in the arena.
//!
//! From the bottom up, always at the lowest part of the skyline, with a beam: of all ways to put the next box into the lowest
//! valley's corner, the best so many go on. What no box fits into is lost and filled up; a way that has lost more
//! than there is to lose ends. What counts is what is lost, how rough the skyline is, and how much of the large is done;
//! the weights of these are drawn anew for each run, since no choice is the best for all.

use std::cmp::Ordering;
use std::collections::HashSet;

use vramkit_units::SplitMix64;

/// Something of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sides {
    /// Across.
    pub(super) width: u64,
    /// Up.
    pub(super) height: u64,
}

impl Sides {
    /// Both exchanged.
    pub(super) fn turned(self) -> Self {
        Self { width: self.height, height: self.width }
    }

    fn area(self) -> u128 {
        u128::from(self.width) * u128::from(self.height)
    }
}

/// One way to have placed some of the boxes.
#[derive(Clone)]
struct Way {
    /// From left to right: where each part begins, and how high it is.
    skyline: Vec<(u64, u64)>,
    /// A bit for each box that is left.
    left: Vec<u64>,
    /// What they count for, and the least width of any.
    weight: f64,
    narrow: u64,
    lost: u128,
    /// The last box and its corner; the step before it by its place in the list of all.
    last: Step,
}

/// A box's corner, and the step before it.
#[derive(Clone, Copy)]
struct Step {
    item: u32,
    at: (u64, u64),
    before: u32,
}

/// No box yet.
const NONE: u32 = u32::MAX;

/// Corners (across, up) for all boxes within a larger one, or `None` where a beam of this width finds none or is ended.
pub(super) fn pack(
    items: &[Sides],
    room: Sides,
    width: usize,
    random: &mut SplitMix64,
    is_over: &dyn Fn() -> bool,
) -> Option<Vec<(u64, u64)>> {
    let area = items.iter().map(|item| item.area()).try_fold(0u128, u128::checked_add)?;
    let spare = room.area().checked_sub(area)?;
    // Equal ones stand beside one another, so that only the first left of them is tried.
    let mut order: Vec<u32> = (0..items.len() as u32).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(items[i as usize].area()), items[i as usize].width, i));
    let sorted: Vec<Sides> = order.iter().map(|&i| items[i as usize]).collect();
    let taste = Taste::drawn(random, area, &sorted);
    let mut steps: Vec<Step> = Vec::new();
    let weights: Vec<f64> = sorted.iter().map(|&item| taste.weight(item, room)).collect();
    let mut first = Way::empty(sorted.len());
    first.weight = weights.iter().sum();
    first.narrow = narrowest(&first, &sorted, None);
    let mut beam = vec![first];
    let mut skyline = Vec::new();
    for _ in 0..sorted.len() {
        let mut children: Vec<Child> = Vec::new();
        let mut valleys: Vec<Option<Valley>> = Vec::with_capacity(beam.len());
        for (parent, way) in (0..).zip(&mut beam) {
            if is_over() {
                return None;
            }
            let valley = way.settle(&sorted, room, spare);
            valleys.push(valley);
            let Some(valley) = valley else { continue };
            let mut last = None;
            for item in way.left() {
                let sides = sorted[item];
                if last == Some(sides) || !valley.holds(sides, room) {
                    continue;
                }
                last = Some(sides);
                skyline.clone_from(&way.skyline);
                valley.put(&mut skyline, sides.width, valley.up + sides.height);
                let is_narrowest = way.narrow == sides.width;
                let narrow = if is_narrowest { narrowest(way, &sorted, Some(item)) } else { way.narrow };
                let lost = way.lost + doomed(&skyline, narrow, room);
                let score = taste.score(lost, skyline.len(), way.weight - weights[item]);
                children.push(Child { score, parent, item: item as u32, narrow });
            }
            if children.len() > 16 * width {
                children.select_nth_unstable_by(8 * width, Child::order);
                children.truncate(8 * width);
            }
        }
        children.sort_unstable_by(Child::order);
        // Only those that go on are made, and of those that come to the same one each.
        let mut seen = HashSet::new();
        let mut next: Vec<Way> = Vec::new();
        let first_step = steps.len() as u32;
        steps.extend(beam.iter().map(|way| way.last));
        for child in children {
            let (way, item) = (&beam[child.parent as usize], child.item as usize);
            let Some(valley) = valleys[child.parent as usize] else { continue };
            let mut way = way.clone();
            valley.put(&mut way.skyline, sorted[item].width, valley.up + sorted[item].height);
            way.left[item / 64] &= !(1 << (item % 64));
            (way.weight, way.narrow) = (way.weight - weights[item], child.narrow);
            let at = (valley.corner(sorted[item].width), valley.up);
            way.last = Step { item: order[item], at, before: first_step + child.parent };
            if seen.insert((way.left.clone(), way.skyline.clone())) {
                next.push(way);
            }
            if next.len() == width {
                break;
            }
        }
        beam = next;
    }
    let mut corners = vec![(0, 0); items.len()];
    let mut step = Some(&beam.first()?.last);
    while let Some(&Step { item, at, before }) = step.filter(|step| step.item != NONE) {
        corners[item as usize] = at;
        step = steps.get(before as usize);
    }
    Some(corners)
}

/// The least width of any box that is left, one of them apart.
fn narrowest(way: &Way, items: &[Sides], but: Option<usize>) -> u64 {
    way.left().filter(|&i| Some(i) != but).map(|i| items[i].width).min().unwrap_or(u64::MAX)
}

/// A way and a box that may be put next, which is not done before it is known to be among the best.
struct Child {
    score: f64,
    parent: u32,
    item: u32,
    /// The least width of any box that is left then.
    narrow: u64,
}

impl Child {
    fn order(&self, other: &Self) -> Ordering {
        let scores = self.score.total_cmp(&other.score);
        scores.then((self.parent, self.item).cmp(&(other.parent, other.item)))
    }
}

/// The lowest part of a skyline that any box fits into.
#[derive(Clone, Copy)]
struct Valley {
    /// Its place in the skyline.
    part: usize,
    from: u64,
    to: u64,
    up: u64,
    /// Whether the wall at its left is the higher one: the corner that is hardest to fill later.
    is_left: bool,
}

impl Valley {
    fn holds(&self, sides: Sides, room: Sides) -> bool {
        sides.width <= self.to - self.from && sides.height <= room.height - self.up
    }

    /// Where something of a width begins that is put at the higher wall.
    fn corner(&self, width: u64) -> u64 {
        if self.is_left { self.from } else { self.to - width }
    }

    /// Raises so much of it at the higher wall.
    fn put(&self, skyline: &mut Vec<(u64, u64)>, width: u64, top: u64) {
        let left = self.corner(width);
        let right = left + width;
        let all = [(self.from, self.up), (left, top), (right, self.up)];
        let mut first = usize::from(left == self.from);
        let end = if right < self.to { 3 } else { 2 };
        if self.part.checked_sub(1).is_some_and(|before| skyline[before].1 == all[first].1) {
            first += 1;
        }
        let is_joined = skyline.get(self.part + 1).is_some_and(|next| next.1 == all[end - 1].1);
        let until = self.part + 1 + usize::from(is_joined);
        skyline.splice(self.part..until, all[first..end].iter().copied());
    }
}

/// What is lost in valleys that nothing left is narrow enough for.
fn doomed(skyline: &[(u64, u64)], narrow: u64, room: Sides) -> u128 {
    let mut sum = 0;
    let mut before = room.height;
    for (i, &(from, up)) in skyline.iter().enumerate() {
        let (to, after) = skyline.get(i + 1).copied().unwrap_or((room.width, room.height));
        if to - from < narrow && up < before && up < after {
            sum += Sides { width: to - from, height: before.min(after) - up }.area();
        }
        before = up;
    }
    sum
}

impl Way {
    fn empty(items: usize) -> Self {
        let mut left = vec![u64::MAX; items.div_ceil(64)];
        if let Some(last) = left.last_mut()
            && !items.is_multiple_of(64)
        {
            *last = (1 << (items % 64)) - 1;
        }
        Self {
            skyline: vec![(0, 0)],
            left,
            weight: 0.0,
            narrow: 0,
            lost: 0,
            last: Step { item: NONE, at: (0, 0), before: NONE },
        }
    }

    /// The boxes that are left.
    fn left(&self) -> impl Iterator<Item = usize> + '_ {
        self.left.iter().enumerate().flat_map(|(word, &bits)| {
            let rest = std::iter::successors(Some(bits), |bits| Some(bits & bits.wrapping_sub(1)));
            rest.take_while(|&bits| bits != 0).map(move |bits| 64 * word + bits.trailing_zeros() as usize)
        })
    }

    /// The lowest valley that any box fits into; those below it are lost. `None` where more is lost than there is.
    fn settle(&mut self, items: &[Sides], room: Sides, spare: u128) -> Option<Valley> {
        loop {
            let part = (0..self.skyline.len()).min_by_key(|&i| self.skyline[i].1)?;
            let (from, up) = self.skyline[part];
            let to = self.skyline.get(part + 1).map_or(room.width, |part| part.0);
            let left = part.checked_sub(1).map_or(room.height, |i| self.skyline[i].1);
            let right = self.skyline.get(part + 1).map_or(room.height, |part| part.1);
            let valley = Valley { part, from, to, up, is_left: left >= right };
            if self.left().any(|i| valley.holds(items[i], room)) {
                return Some(valley);
            }
            // Nothing fits: it is lost up to the lower wall.
            let until = left.min(right);
            self.lost += Sides { width: to - from, height: until - up }.area();
            if up == until || self.lost > spare {
                return None;
            }
            valley.put(&mut self.skyline, to - from, until);
        }
    }
}

/// What a run goes by.
struct Taste {
    lost: f64,
    rough: f64,
    large: f64,
    long: f64,
    items: f64,
    area: f64,
}

impl Taste {
    fn drawn(random: &mut SplitMix64, area: u128, items: &[Sides]) -> Self {
        let mut between = |low: f64, high: f64| low * (high / low).powf(random.unit());
        Self {
            lost: between(1.0, 8.0),
            rough: between(0.25, 3.0),
            large: between(0.1, 3.0),
            long: between(0.02, 1.0),
            items: items.len().max(1) as f64,
            area: area.max(1) as f64,
        }
    }

    /// What a box that is left counts for.
    fn weight(&self, item: Sides, room: Sides) -> f64 {
        let area = item.area() as f64 / self.area;
        let side = item.height as f64 / room.height.max(1) as f64;
        self.large * area * area * self.items + self.long * side * side
    }

    /// The less, the better: of what is lost, a skyline's parts, and what is left.
    fn score(&self, lost: u128, parts: usize, weight: f64) -> f64 {
        let lost = lost as f64 / self.area;
        self.lost * lost * self.items + self.rough * parts as f64 + weight
    }
}
