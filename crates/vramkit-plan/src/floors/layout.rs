//! A placement over sections of time, part of which is taken out and placed anew.

use crate::exact::sections_of;
use crate::placement::Placement;
use crate::problem::Problem;
use vramkit_units::ByteSize;

/// A buffer's sections and bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// From its first section to one past its last.
    pub(super) hull: (u32, u32),
    /// Bytes.
    pub(super) size: u64,
    /// Bytes that its offset is a multiple of.
    pub(super) alignment: u64,
    /// Whether it stays where it is whatever the window: it is pinned.
    pub(super) is_fixed: bool,
}

/// The buffers of a problem over sections of time: maximal intervals with one set of live buffers, those merged away that a
/// neighbour contains.
pub(super) struct Places {
    /// Each buffer's.
    pub(super) of: Vec<Place>,
    /// Bytes that are live in each section.
    pub(super) load: Vec<u64>,
    /// Buffers by their first section, and the latest end of those before each in that order.
    by_first: Vec<u32>,
    reach: Vec<u32>,
}

impl Places {
    /// Of a problem without gaps; `None` where the sizes come to more than is computed with here.
    pub(super) fn new(problem: &Problem) -> Option<Self> {
        let section = sections_of(problem);
        let count = section.last().map_or(0, |last| *last as usize + 1);
        let mut total = 0u64;
        for buffer in &problem.buffers {
            let most =
                buffer.bytes().checked_add(buffer.alignment)?.checked_add(buffer.pin().unwrap_or(0))?;
            total = total.checked_add(most)?;
        }
        if total >= u64::MAX / 8 {
            return None;
        }
        let of: Vec<Place> = problem
            .buffers
            .iter()
            .map(|buffer| Place {
                hull: (section[buffer.start as usize], section[buffer.end as usize - 1] + 1),
                size: buffer.bytes(),
                alignment: buffer.alignment,
                is_fixed: buffer.pinned.is_some(),
            })
            .collect();
        let mut change = vec![0u64; count + 1];
        for place in &of {
            let (first, end) = place.hull;
            change[first as usize] = change[first as usize].wrapping_add(place.size);
            change[end as usize] = change[end as usize].wrapping_sub(place.size);
        }
        let mut live = 0u64;
        let load = change[..count].iter().map(|change| {
            live = live.wrapping_add(*change);
            live
        });
        let load = load.collect();
        let mut by_first: Vec<u32> = (0..of.len() as u32).collect();
        by_first.sort_by_key(|&i| of[i as usize].hull.0);
        let mut latest = 0;
        let reach = by_first.iter().map(|&i| {
            latest = latest.max(of[i as usize].hull.1);
            latest
        });
        let reach = reach.collect();
        Some(Self { of, load, by_first, reach })
    }

    /// How many sections there are.
    pub(super) fn sections(&self) -> usize {
        self.load.len()
    }

    /// Buffers that are live somewhere between two sections.
    pub(super) fn meeting(&self, first: u32, end: u32) -> impl Iterator<Item = u32> + '_ {
        let from = self.reach.partition_point(|&reach| reach <= first);
        let to = self.by_first.partition_point(|&i| self.of[i as usize].hull.0 < end);
        let all = self.by_first[from.min(to)..to].iter().copied();
        all.filter(move |&i| self.of[i as usize].hull.1 > first)
    }

    /// How many buffers begin in the sections before each.
    pub(super) fn begun_before(&self, section: u32) -> usize {
        self.by_first.partition_point(|&i| self.of[i as usize].hull.0 < section)
    }
}

/// Where everything lies, and how high that comes in each section.
pub(super) struct Layout<'a> {
    pub(super) places: &'a Places,
    pub(super) offsets: Vec<u64>,
    /// The highest end in each section.
    pub(super) tops: Vec<u64>,
}

impl Clone for Layout<'_> {
    fn clone(&self) -> Self {
        Self { places: self.places, offsets: self.offsets.clone(), tops: self.tops.clone() }
    }

    fn clone_from(&mut self, other: &Self) {
        self.offsets.clone_from(&other.offsets);
        self.tops.clone_from(&other.tops);
    }
}

impl<'a> Layout<'a> {
    /// Everything where some placement has it.
    pub(super) fn new(places: &'a Places, offsets: Vec<u64>) -> Self {
        let mut layout = Self { places, offsets, tops: vec![0; places.sections()] };
        layout.measure(0, places.sections());
        layout
    }

    /// Finds the tops of some sections anew.
    pub(super) fn measure(&mut self, first: usize, end: usize) {
        self.tops[first..end].fill(0);
        for i in self.places.meeting(first as u32, end as u32) {
            let place = &self.places.of[i as usize];
            let top = self.offsets[i as usize] + place.size;
            let (from, to) = ((place.hull.0 as usize).max(first), (place.hull.1 as usize).min(end));
            self.tops[from..to].iter_mut().for_each(|own| *own = (*own).max(top));
        }
    }

    /// The highest end of all.
    pub(super) fn arena(&self) -> u64 {
        self.tops.iter().copied().max().unwrap_or(0)
    }

    /// As a placement.
    pub(super) fn placement(&self) -> Placement {
        Placement {
            offsets: self.offsets.iter().copied().map(ByteSize::new).collect(),
            arena: ByteSize::new(self.arena()),
        }
    }
}
