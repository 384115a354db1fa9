//! Where a policy that sees one request at a time puts every allocation of a trace.

use vramkit_units::ByteSize;

use crate::run::Watch;
use crate::setup::{Setup, Watched, with_policy};
use crate::trace::Trace;

/// What a policy that holds everything below its highest end is taken to hold: whole granules.
pub(crate) const GRANULE: u64 = 2 << 20;

/// Where an allocation of a trace was, and when.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedAllocation {
    /// Which allocation.
    pub number: u32,
    /// From the start of the arena.
    pub offset: ByteSize,
    /// Bytes taken.
    pub granted: ByteSize,
    /// Bytes asked for.
    pub requested: ByteSize,
    /// The operations between which it is live.
    pub start: usize,
    /// One past the last.
    pub end: usize,
}

/// Where a policy puts each allocation; what is refused is left out. `None` for the plan, which places nothing one at a time.
pub(crate) fn online(trace: &Trace, setup: &Setup) -> Option<Vec<PlacedAllocation>> {
    let mut placed = Placements {
        placed: Vec::new(),
        at: vec![NOWHERE; trace.allocations()],
        steps: trace.operations.len(),
    };
    with_policy(trace, setup, Watched { trace, watch: &mut placed })?;
    Some(placed.joined())
}

/// A placement that is not there.
const NOWHERE: u32 = u32::MAX;

/// Keeps where everything was.
struct Placements {
    /// With the range that each is in.
    placed: Vec<(u32, PlacedAllocation)>,
    /// By number, where in `placed`.
    at: Vec<u32>,
    steps: usize,
}

impl Watch for Placements {
    fn granted(&mut self, step: usize, number: u32, requested: u64, range: u32, offset: u64, size: u64) {
        self.at[number as usize] = self.placed.len() as u32;
        let [offset, granted, requested] = [offset, size, requested].map(ByteSize::new);
        let placed = PlacedAllocation { number, offset, granted, requested, start: step, end: self.steps };
        self.placed.push((range, placed));
    }

    fn freed(&mut self, step: usize, number: u32) {
        self.placed[self.at[number as usize] as usize].1.end = step;
    }
}

impl Placements {
    /// All in one range of addresses: one behind the other.
    fn joined(self) -> Vec<PlacedAllocation> {
        let mut ends = Ends::default();
        for (range, placed) in &self.placed {
            ends.add(*range, (placed.offset + placed.granted).bytes());
        }
        let bases = ends.bases();
        let joined = |(range, placed): (u32, PlacedAllocation)| PlacedAllocation {
            offset: placed.offset + ByteSize::new(bases[range as usize]),
            ..placed
        };
        self.placed.into_iter().map(joined).collect()
    }
}

/// The highest end of anything in each range.
#[derive(Default)]
pub(crate) struct Ends(Vec<u64>);

impl Ends {
    #[inline]
    pub(crate) fn add(&mut self, range: u32, end: u64) {
        if self.0.len() <= range as usize {
            self.0.resize(range as usize + 1, 0);
        }
        let highest = &mut self.0[range as usize];
        *highest = (*highest).max(end);
    }

    /// Where each range begins when they lie one behind the other, in whole granules.
    pub(crate) fn bases(&self) -> Vec<u64> {
        let mut base = 0;
        let begin = |&end: &u64| {
            base += end.next_multiple_of(GRANULE);
            base - end.next_multiple_of(GRANULE)
        };
        self.0.iter().map(begin).collect()
    }

    /// The highest end of anything when they do.
    pub(crate) fn arena(&self) -> u64 {
        self.bases().iter().zip(&self.0).map(|(base, end)| base + end).max().unwrap_or_default()
    }
}
