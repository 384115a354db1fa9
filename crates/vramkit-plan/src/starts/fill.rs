//! Boxes into a strip by best fit: soon done for any number of them.
//!
//! Always at the lowest part of what is filled: of the boxes that fit between its walls the first in an order, at the higher wall. What none
//! fits into is filled up to the lower wall (Burke, Kendall and Whitwell, "A new placement heuristic for the orthogonal stock-cutting
//! problem", 2004). Boxes that are alike end in rows. In: boxes, none wider than the strip, and an order of them. Out: how high they
//! come, and a corner (across, up) for each.

use std::collections::{BTreeMap, BTreeSet};

use super::boxes::Sides;

/// Boxes between two looks at the clock.
const UNWATCHED: usize = 1024;

/// Puts all boxes into a strip of a width. `None` where time is up, or heights pass 64 bits.
pub(super) fn fill(
    boxes: &[Sides],
    width: u64,
    order: &[usize],
    is_over: &dyn Fn() -> bool,
) -> Option<(u64, Vec<(u64, u64)>)> {
    // No box is so wide: what was taken is.
    if width == u64::MAX {
        return None;
    }
    let mut left = Left::new(order.iter().map(|&i| boxes[i].width));
    let mut ground = Ground::new(width);
    let (mut top, mut corners) = (0, vec![(0, 0); boxes.len()]);
    for number in 0..boxes.len() {
        if number % UNWATCHED == 0 && is_over() {
            return None;
        }
        let (valley, place) = loop {
            let valley = ground.lowest()?;
            match left.first_within(valley.to - valley.from) {
                Some(place) => break (valley, place),
                None => ground.raise(valley)?,
            }
        };
        left.take(place);
        let sides = boxes[order[place]];
        let end = valley.up.checked_add(sides.height)?;
        let across = if valley.left >= valley.right { valley.from } else { valley.to - sides.width };
        ground.put(valley, across, across + sides.width, end);
        corners[order[place]] = (across, valley.up);
        top = top.max(end);
    }
    Some((top, corners))
}

/// The lowest part, and how high its walls are.
#[derive(Clone, Copy)]
struct Valley {
    from: u64,
    to: u64,
    up: u64,
    left: u64,
    right: u64,
}

/// How high the strip is filled.
struct Ground {
    /// Where each part begins, where it ends, and how high it is.
    parts: BTreeMap<u64, (u64, u64)>,
    /// How high each part is, and where it begins.
    by_height: BTreeSet<(u64, u64)>,
}

impl Ground {
    fn new(width: u64) -> Self {
        Self { parts: BTreeMap::from([(0, (width, 0))]), by_height: BTreeSet::from([(0, 0)]) }
    }

    fn lowest(&self) -> Option<Valley> {
        let &(up, from) = self.by_height.first()?;
        let &(to, _) = self.parts.get(&from)?;
        let left = self.parts.range(..from).next_back().map_or(u64::MAX, |(_, part)| part.1);
        let right = self.parts.get(&to).map_or(u64::MAX, |part| part.1);
        Some(Valley { from, to, up, left, right })
    }

    /// Fills a valley up to its lower wall; `None` where it has none.
    fn raise(&mut self, valley: Valley) -> Option<()> {
        let up = valley.left.min(valley.right);
        (up < u64::MAX).then(|| self.put(valley, valley.from, valley.to, up))
    }

    /// Fills a part of a valley.
    fn put(&mut self, valley: Valley, from: u64, to: u64, up: u64) {
        self.remove(valley.from);
        self.add(valley.from, from, valley.up);
        self.add(to, valley.to, valley.up);
        self.add(from, to, up);
    }

    fn remove(&mut self, from: u64) -> Option<(u64, u64)> {
        let part = self.parts.remove(&from)?;
        self.by_height.remove(&(part.1, from));
        Some(part)
    }

    /// Adds a part, with those beside it that are as high.
    fn add(&mut self, mut from: u64, mut to: u64, up: u64) {
        if from == to {
            return;
        }
        if let Some((&before, _)) =
            self.parts.range(..from).next_back().filter(|(_, part)| **part == (from, up))
        {
            self.remove(before);
            from = before;
        }
        if self.parts.get(&to).is_some_and(|part| part.1 == up) {
            to = self.remove(to).map_or(to, |part| part.0);
        }
        self.parts.insert(from, (to, up));
        self.by_height.insert((up, from));
    }
}

/// The widths of the boxes that are left, in their order: a tree with the least of each half.
struct Left {
    least: Vec<u64>,
    leaves: usize,
}

impl Left {
    fn new(widths: impl ExactSizeIterator<Item = u64>) -> Self {
        let leaves = widths.len().next_power_of_two();
        let mut least = vec![u64::MAX; leaves];
        least.extend(widths);
        least.resize(2 * leaves, u64::MAX);
        for node in (1..leaves).rev() {
            least[node] = least[2 * node].min(least[2 * node + 1]);
        }
        Self { least, leaves }
    }

    /// The first that is no wider.
    fn first_within(&self, width: u64) -> Option<usize> {
        let mut node = 1;
        if self.least[node] > width {
            return None;
        }
        while node < self.leaves {
            node = 2 * node + usize::from(self.least[2 * node] > width);
        }
        Some(node - self.leaves)
    }

    fn take(&mut self, place: usize) {
        let mut node = self.leaves + place;
        self.least[node] = u64::MAX;
        while node > 1 {
            node /= 2;
            self.least[node] = self.least[2 * node].min(self.least[2 * node + 1]);
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// None over another, all within the strip, and no higher than is said.
        #[test]
        fn boxes_lie_apart(
            sides in prop::collection::vec((1u64..9, 1u64..9), 0..60),
            more in 0u64..12,
        ) {
            let boxes: Vec<Sides> = sides.iter().map(|&(width, height)| Sides { width, height }).collect();
            let width = 8 + more;
            let order: Vec<usize> = (0..boxes.len()).collect();
            let (top, corners) = fill(&boxes, width, &order, &|| false).unwrap();
            prop_assert_eq!(top, boxes.iter().zip(&corners).map(|(sides, at)| at.1 + sides.height).max().unwrap_or(0));
            for (i, (&(x, y), own)) in corners.iter().zip(&boxes).enumerate() {
                prop_assert!(x + own.width <= width);
                for (&(a, b), other) in corners[..i].iter().zip(&boxes) {
                    let beside = x + own.width <= a || a + other.width <= x;
                    prop_assert!(beside || y + own.height <= b || b + other.height <= y);
                }
            }
        }
    }
}
