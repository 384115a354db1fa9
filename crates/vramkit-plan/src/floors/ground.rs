//! What a search over floors never changes: free tensors over sections of time, and what lies fixed between them.
//!
//! A ground is all of a problem or a window of a layout. In a window the tensors that are to be placed anew are free; all
//! others that are live in its sections are obstacles: ranges of addresses, in each section from the lowest up.

use super::layout::{Layout, Places};

/// A tensor that is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    /// Its first section.
    pub(super) first: u32,
    /// One past its last section.
    pub(super) end: u32,
    /// Bytes.
    pub(super) size: u64,
    /// Bytes that its offset is a multiple of.
    pub(super) alignment: u64,
    /// Its number in the layout.
    pub(super) number: u32,
}

/// See the [module](self).
pub(super) struct Ground {
    /// By first section, equal ones side by side.
    pub(super) items: Vec<Item>,
    /// Where the items of each section begin among all.
    starting: Vec<u32>,
    /// Bytes that are live in each section, the obstacles' too.
    pub(super) load: Vec<u64>,
    obstacles: Vec<(u64, u64)>,
    /// Where the obstacles of each section begin among all; empty where there are none.
    first_obstacle: Vec<u32>,
}

impl Ground {
    /// Sections `first` to `end` of a layout, in which what lies whole in them at `low` or above is free.
    pub(super) fn window(layout: &Layout<'_>, (first, end): (usize, usize), low: u64) -> Self {
        let places = layout.places;
        let mut items = Vec::new();
        let mut fixed: Vec<(u64, u64, u32)> = Vec::new();
        for i in places.meeting(first as u32, end as u32) {
            let place = &places.of[i as usize];
            let is_free = !place.is_fixed
                && place.hull.0 as usize >= first
                && place.hull.1 as usize <= end
                && layout.offsets[i as usize] >= low;
            if is_free {
                items.push(Item {
                    first: place.hull.0 - first as u32,
                    end: place.hull.1 - first as u32,
                    size: place.size,
                    alignment: place.alignment,
                    number: i,
                });
            } else {
                fixed.push((layout.offsets[i as usize], layout.offsets[i as usize] + place.size, i));
            }
        }
        items.sort_unstable();
        fixed.sort_unstable();
        let mut starting = vec![0; end - first + 1];
        for item in &items {
            starting[item.first as usize + 1] += 1;
        }
        for section in 0..end - first {
            starting[section + 1] += starting[section];
        }
        let mut ground = Self {
            items,
            starting,
            load: places.load[first..end].to_vec(),
            obstacles: Vec::new(),
            first_obstacle: Vec::new(),
        };
        if !fixed.is_empty() {
            ground.lay(first, end, &fixed, places);
        }
        ground
    }

    /// Lays obstacles, given from the lowest up, into sections; those that touch become one.
    fn lay(&mut self, first: usize, end: usize, fixed: &[(u64, u64, u32)], places: &Places) {
        let mut of_section: Vec<Vec<(u64, u64)>> = vec![Vec::new(); end - first];
        for &(low, high, i) in fixed {
            let (from, to) = places.of[i as usize].hull;
            for section in (from as usize).max(first)..(to as usize).min(end) {
                let own = &mut of_section[section - first];
                match own.last_mut() {
                    Some(last) if last.1 == low => last.1 = high,
                    _ => own.push((low, high)),
                }
            }
        }
        self.first_obstacle.push(0);
        for own in of_section {
            self.obstacles.extend(own);
            self.first_obstacle.push(self.obstacles.len() as u32);
        }
    }

    /// How many sections there are.
    pub(super) fn sections(&self) -> usize {
        self.load.len()
    }

    /// The items whose first section it is, as a range of all.
    pub(super) fn starting(&self, section: usize) -> std::ops::Range<usize> {
        self.starting[section] as usize..self.starting[section + 1] as usize
    }

    /// Whether nothing is fixed.
    pub(super) fn is_open(&self) -> bool {
        self.obstacles.is_empty()
    }

    /// The obstacle of a number in a section, counted from the lowest.
    pub(super) fn obstacle(&self, section: usize, number: u32) -> Option<(u64, u64)> {
        if self.is_open() {
            return None;
        }
        let at = self.first_obstacle[section] + number;
        (at < self.first_obstacle[section + 1]).then(|| self.obstacles[at as usize])
    }
}
