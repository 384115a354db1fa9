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
    /// Whether it stays where it is whatever the window: it is pinned, or has gaps.
    pub(super) is_fixed: bool,
}

/// Runs of sections of buffers, of which some have several.
struct Runs {
    all: Vec<(u32, u32)>,
    /// Where those of each buffer begin.
    first: Vec<u32>,
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
    /// Where some have gaps: the runs of sections of each, and where those begin among all.
    runs: Option<Runs>,
}

impl Places {
    /// `None` where the sizes come to more than is computed with here.
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
        let mut of: Vec<Place> = problem
            .buffers
            .iter()
            .map(|buffer| Place {
                hull: (section[buffer.start as usize], section[buffer.end as usize - 1] + 1),
                size: buffer.bytes(),
                alignment: buffer.alignment,
                is_fixed: buffer.pinned.is_some(),
            })
            .collect();
        for gap in &problem.gaps {
            of[gap.buffer as usize].is_fixed = true;
        }
        let runs = (!problem.gaps.is_empty()).then(|| {
            let mut runs = Vec::new();
            let mut first = vec![0];
            for i in 0..of.len() {
                let own = problem.runs(i);
                runs.extend(own.map(|(start, end)| (section[start as usize], section[end as usize - 1] + 1)));
                first.push(runs.len() as u32);
            }
            Runs { all: runs, first }
        });
        let mut change = vec![0u64; count + 1];
        let mut places = Self { of, load: Vec::new(), by_first: Vec::new(), reach: Vec::new(), runs };
        for i in 0..places.of.len() as u32 {
            let size = places.of[i as usize].size;
            for &(first, end) in places.runs(i) {
                change[first as usize] = change[first as usize].wrapping_add(size);
                change[end as usize] = change[end as usize].wrapping_sub(size);
            }
        }
        let mut live = 0u64;
        let load = change[..count].iter().map(|change| {
            live = live.wrapping_add(*change);
            live
        });
        places.load = load.collect();
        let mut by_first: Vec<u32> = (0..places.of.len() as u32).collect();
        by_first.sort_by_key(|&i| places.of[i as usize].hull.0);
        let mut latest = 0;
        let reach = by_first.iter().map(|&i| {
            latest = latest.max(places.of[i as usize].hull.1);
            latest
        });
        places.reach = reach.collect();
        places.by_first = by_first;
        Some(places)
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

    /// The runs of sections in which a buffer takes its place.
    pub(super) fn runs(&self, buffer: u32) -> &[(u32, u32)] {
        match &self.runs {
            Some(Runs { all, first }) => {
                &all[first[buffer as usize] as usize..first[buffer as usize + 1] as usize]
            }
            None => std::slice::from_ref(&self.of[buffer as usize].hull),
        }
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
            let top = self.offsets[i as usize] + self.places.of[i as usize].size;
            for &(from, to) in self.places.runs(i) {
                let (from, to) = ((from as usize).max(first), (to as usize).min(end));
                self.tops[from..to.max(from)].iter_mut().for_each(|own| *own = (*own).max(top));
            }
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
