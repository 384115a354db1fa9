//! Boxes into a larger box: models of one load, which have a place in time and one in the arena.
//!
//! From the bottom up, always at the lowest part of the skyline, with a beam: of all ways to put the next box into the lowest
//! valley's corner, the best so many go on. What no box fits into is lost and filled up; a way that has lost more
//! than there is to lose ends. What counts is what is lost, how rough the skyline is, and how much of the large is done;
//! the weights of these are drawn anew for each run, since no choice is the best for all.

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
    score: f64,
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
    first.narrow = narrowest(&first, &sorted);
    let mut beam = vec![first];
    for _ in 0..sorted.len() {
        let mut next: Vec<Way> = Vec::new();
        for way in beam {
            if is_over() {
                return None;
            }
            let before = steps.len() as u32;
            steps.push(way.last);
            way.follow(&sorted, room, spare, |mut way, item, at| {
                way.last = Step { item: order[item], at, before };
                way.weight -= weights[item];
                if way.narrow == sorted[item].width {
                    way.narrow = narrowest(&way, &sorted);
                }
                way.score = taste.score(&way, room);
                next.push(way);
            });
            if next.len() > 8 * width {
                next = best(next, width);
            }
        }
        beam = best(next, width);
    }
    let mut corners = vec![(0, 0); items.len()];
    let mut step = Some(&beam.first()?.last);
    while let Some(&Step { item, at, before }) = step.filter(|step| step.item != NONE) {
        corners[item as usize] = at;
        step = steps.get(before as usize);
    }
    Some(corners)
}

/// The least width of any box that is left.
fn narrowest(way: &Way, items: &[Sides]) -> u64 {
    way.left().map(|i| items[i].width).min().unwrap_or(u64::MAX)
}

/// So many of the ways, the best first, of those that come to the same one each.
fn best(mut ways: Vec<Way>, width: usize) -> Vec<Way> {
    ways.sort_by(|a, b| a.score.total_cmp(&b.score));
    let mut seen = HashSet::new();
    ways.retain(|way| seen.len() < width && seen.insert((way.left.clone(), way.skyline.clone())));
    ways
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
            score: 0.0,
        }
    }

    /// The boxes that are left.
    fn left(&self) -> impl Iterator<Item = usize> + '_ {
        self.left.iter().enumerate().flat_map(|(word, &bits)| {
            let rest = std::iter::successors(Some(bits), |bits| Some(bits & bits.wrapping_sub(1)));
            rest.take_while(|&bits| bits != 0).map(move |bits| 64 * word + bits.trailing_zeros() as usize)
        })
    }

    /// Every way with one box more at the lowest valley that any fits into.
    fn follow(
        mut self,
        items: &[Sides],
        room: Sides,
        spare: u128,
        mut take: impl FnMut(Way, usize, (u64, u64)),
    ) {
        loop {
            let valley = (0..self.skyline.len()).min_by_key(|&i| self.skyline[i].1).unwrap_or(0);
            let (from, up) = self.skyline[valley];
            let to = self.skyline.get(valley + 1).map_or(room.width, |part| part.0);
            let walls = (
                valley.checked_sub(1).map_or(room.height, |i| self.skyline[i].1),
                self.skyline.get(valley + 1).map_or(room.height, |part| part.1),
            );
            let mut last = None;
            let mut any = false;
            for i in self.left() {
                let item = items[i];
                if last == Some(item) || item.width > to - from || item.height > room.height - up {
                    continue;
                }
                last = Some(item);
                any = true;
                let mut way = self.clone();
                // At the higher wall: the corner that is hardest to fill later.
                let left = if walls.0 >= walls.1 { from } else { to - item.width };
                way.put(valley, (from, to), (left, left + item.width), up + item.height);
                way.left[i / 64] &= !(1 << (i % 64));
                take(way, i, (left, up));
            }
            // Nothing fits: it is lost up to the lower wall.
            let until = walls.0.min(walls.1);
            if any || up == until {
                return;
            }
            self.lost += Sides { width: to - from, height: until - up }.area();
            if self.lost > spare {
                return;
            }
            self.put(valley, (from, to), (from, to), until);
        }
    }

    /// What is lost in valleys that nothing left is narrow enough for.
    fn doomed(&self, room: Sides) -> u128 {
        let mut sum = 0;
        let mut before = room.height;
        for (i, &(from, up)) in self.skyline.iter().enumerate() {
            let (to, after) = self.skyline.get(i + 1).copied().unwrap_or((room.width, room.height));
            if to - from < self.narrow && up < before && up < after {
                sum += Sides { width: to - from, height: before.min(after) - up }.area();
            }
            before = up;
        }
        sum
    }

    /// Raises a part of a valley.
    fn put(&mut self, valley: usize, (from, to): (u64, u64), (left, right): (u64, u64), top: u64) {
        let up = self.skyline[valley].1;
        let mut parts = Vec::with_capacity(3);
        if left > from {
            parts.push((from, up));
        }
        parts.push((left, top));
        if right < to {
            parts.push((right, up));
        }
        let before = valley.checked_sub(1).map(|i| self.skyline[i].1);
        if before == Some(parts[0].1) {
            parts.remove(0);
        }
        let end = match (self.skyline.get(valley + 1), parts.last()) {
            (Some(next), Some(last)) if next.1 == last.1 => valley + 2,
            _ => valley + 1,
        };
        self.skyline.splice(valley..end, parts);
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

    /// The less, the better.
    fn score(&self, way: &Way, room: Sides) -> f64 {
        let lost = (way.lost + way.doomed(room)) as f64 / self.area;
        self.lost * lost * self.items + self.rough * way.skyline.len() as f64 + way.weight
    }
}
