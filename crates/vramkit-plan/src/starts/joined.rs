//! Boxes that were cut from a whole, put together again before they are packed.
//!
//! Two boxes of one height become one box side by side, and two of one width one above the other, and so on. Sides that were cut
//! differ from all others but those they were cut with, the surer the more values a side may have. So a whole that was cut edge to
//! edge becomes one box again; of others some boxes are left, fewer than before. What had a side in common only by chance keeps others
//! from fitting, so some are taken apart at random and joined otherwise (ruin and recreate: Schrimpf et al., "Record breaking
//! optimization results using the ruin and recreate principle", 2000).

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use vramkit_units::SplitMix64;

use super::boxes::Sides;

/// Boxes of one side in common of which pairs are looked at.
const OF_ONE_SIDE: usize = 8;

/// Boxes taken apart at once, at most.
const APART: usize = 12;

/// Of so many times once what has a box more goes on.
const WORSE: usize = 16;

/// Some of the boxes as one.
#[derive(Clone)]
pub(super) struct Joined {
    pub(super) sides: Sides,
    parts: Parts,
}

/// What a box is made of.
#[derive(Clone)]
enum Parts {
    /// It was given.
    One(usize),
    /// Of two, the first of which lies in its corner.
    Two(Arc<(Joined, Joined)>, Way),
}

/// The fewest boxes, each no larger than a room, that others became in so many rounds.
pub(super) fn join(
    items: &[Sides],
    room: Sides,
    rounds: usize,
    random: &mut SplitMix64,
    is_over: &dyn Fn() -> bool,
) -> Vec<Joined> {
    let single = |(i, &sides)| Joined { sides, parts: Parts::One(i) };
    let mut fewest: Vec<Joined> = items.iter().enumerate().map(single).collect();
    let mut last = fewest.clone();
    for _ in 0..rounds {
        let mut boxes = last.clone();
        for _ in 0..random.below(APART) {
            let at = random.below(boxes.len());
            if let Parts::Two(parts, _) = &boxes[at].parts {
                let (first, second) = (**parts).clone();
                boxes[at] = first;
                boxes.push(second);
            }
        }
        while let Some((a, b, way)) = pair(&boxes, room, random).filter(|_| !is_over()) {
            // The later one goes first, so that the place of the other stays.
            let second = boxes.swap_remove(a.max(b));
            let first = &mut boxes[a.min(b)];
            let sides = way.both(first.sides, second.sides);
            *first = Joined { sides, parts: Parts::Two(Arc::new((first.clone(), second)), way) };
        }
        // What is no better may lead to what is, and sometimes what is worse.
        if boxes.len() <= fewest.len() {
            fewest = boxes.clone();
        }
        if boxes.len() <= last.len() + usize::from(random.below(WORSE) == 0) {
            last = boxes;
        }
        if fewest.len() == 1 || is_over() {
            break;
        }
    }
    fewest
}

/// How two boxes stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Of one height, side by side.
    Beside,
    /// Of one width, one above the other.
    Above,
}

impl Way {
    /// The side that two boxes must have in common.
    fn common(self, sides: Sides) -> u64 {
        match self {
            Self::Beside => sides.height,
            Self::Above => sides.width,
        }
    }

    /// What two of them come to.
    fn both(self, a: Sides, b: Sides) -> Sides {
        match self {
            Self::Beside => Sides { width: a.width.saturating_add(b.width), ..a },
            Self::Above => Sides { height: a.height.saturating_add(b.height), ..a },
        }
    }
}

/// Two boxes to be joined next: of the surer side where there are such, and whose whole has a side in common with others, if there are
/// such; of equal ones any.
fn pair(boxes: &[Joined], room: Sides, random: &mut SplitMix64) -> Option<(usize, usize, Way)> {
    let ways = if room.height >= room.width { [Way::Beside, Way::Above] } else { [Way::Above, Way::Beside] };
    let by_side = ways.map(|way| {
        let mut by_side: HashMap<u64, Vec<usize>> = HashMap::new();
        for (i, joined) in boxes.iter().enumerate() {
            by_side.entry(way.common(joined.sides)).or_default().push(i);
        }
        by_side
    });
    for (way, own) in ways.into_iter().zip(&by_side) {
        let mut groups: Vec<(&u64, &Vec<usize>)> = own.iter().filter(|(_, group)| group.len() > 1).collect();
        groups.sort_unstable();
        // Each pair with whether its whole has a partner, which of equal pairs is drawn, and how many there were.
        let mut best: Option<(bool, (usize, usize))> = None;
        let mut equal = 0;
        for (_, group) in groups {
            let begin = random.below(group.len());
            let some: Vec<usize> =
                group.iter().cycle().skip(begin).take(group.len().min(OF_ONE_SIDE)).copied().collect();
            for (place, &a) in some.iter().enumerate() {
                for &b in &some[place + 1..] {
                    let whole = way.both(boxes[a].sides, boxes[b].sides);
                    if whole.width > room.width || whole.height > room.height {
                        continue;
                    }
                    let has_partner = ways.iter().zip(&by_side).any(|(&other, sides)| {
                        let side = other.common(whole);
                        // In the side that they have in common they are each other's.
                        let own = if other == way { 2 } else { 0 };
                        side == other.common(room) || sides.get(&side).map_or(0, Vec::len) > own
                    });
                    match best.map(|(known, _)| known.cmp(&has_partner)) {
                        Some(Ordering::Greater) => continue,
                        Some(Ordering::Equal) => equal += 1,
                        Some(Ordering::Less) | None => equal = 1,
                    }
                    if random.below(equal) == 0 {
                        best = Some((has_partner, (a, b)));
                    }
                }
            }
        }
        if let Some((_, (a, b))) = best {
            return Some((a, b, way));
        }
    }
    None
}

impl Joined {
    /// The corners (across, up) of what it is made of, where its own is at `at`.
    pub(super) fn place(&self, at: (u64, u64), corners: &mut [(u64, u64)]) {
        let mut left = vec![(self, at)];
        while let Some((joined, (across, up))) = left.pop() {
            match &joined.parts {
                Parts::One(item) => corners[*item] = (across, up),
                Parts::Two(parts, way) => {
                    let (first, second) = &**parts;
                    let beyond = match way {
                        Way::Beside => (across + first.sides.width, up),
                        Way::Above => (across, up + first.sides.height),
                    };
                    left.extend([(first, (across, up)), (second, beyond)]);
                }
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Cut edge to edge at random, where sides are of many values: one box again, of the same sides, in which none overlap.
        #[test]
        fn what_was_cut_edge_to_edge_is_whole_again(seed in 0u64..1000, pieces in 2usize..60) {
            let mut random = SplitMix64::new(seed);
            let room = Sides { width: 1 << 40, height: 1 << 41 };
            let mut boxes = vec![room];
            while boxes.len() < pieces {
                let at = random.below(boxes.len());
                let Sides { width, height } = boxes.swap_remove(at);
                let cut = |side: u64, random: &mut SplitMix64| 1 + random.below(side as usize - 1) as u64;
                if random.below(2) == 0 {
                    let left = cut(width, &mut random);
                    boxes.extend([Sides { width: left, height }, Sides { width: width - left, height }]);
                } else {
                    let low = cut(height, &mut random);
                    boxes.extend([Sides { width, height: low }, Sides { width, height: height - low }]);
                }
            }
            let joined = join(&boxes, room, 4, &mut random, &|| false);
            prop_assert_eq!(joined.len(), 1);
            prop_assert_eq!(joined[0].sides, room);
            let mut corners = vec![(u64::MAX, u64::MAX); pieces];
            joined[0].place((0, 0), &mut corners);
            for (i, &(x, y)) in corners.iter().enumerate() {
                let Sides { width, height } = boxes[i];
                prop_assert!(x <= room.width - width && y <= room.height - height);
                for (j, &(other, above)) in corners[..i].iter().enumerate() {
                    let beside = x >= other + boxes[j].width || other >= x + width;
                    prop_assert!(beside || y >= above + boxes[j].height || above >= y + height);
                }
            }
        }
    }
}
