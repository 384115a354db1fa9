//! What a search never changes: tensors over sections of time, in the smallest numbers that say the same.
//!
//! A *section* is a maximal interval of time with one set of live tensors; sets that a neighbour contains are
//! merged away, so that there are at most as many sections as tensors, and every pair that is live together
//! meets in one. Sizes are rounded to the smallest alignment (all offsets but the topmost end are multiples of
//! it) and divided by what all have in common. Tensors are numbered in the order in which they are tried: widest
//! lifetime first, then largest area, so that the answer does not hang on the order of the input.

use super::bits::Bits;
use super::units::Units;
use crate::problem::{Buffer, Problem};

/// Nodes of a search between two looks at the clock, at most.
const PATIENCE: u64 = 256;

/// Sections and pieces of lives that are looked at between two looks at the clock: every node may look at all.
const PIECES: u64 = 1 << 22;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Sections<U> {
    /// How many.
    pub(super) count: usize,
    /// Bytes of one unit.
    pub(super) unit: u64,
    /// The buffer that each tensor is.
    pub(super) buffer: Vec<u32>,
    /// From the first section of each tensor to the end of its last.
    pub(super) hull: Vec<(u32, u32)>,
    /// The runs of sections, half-open, in which each tensor is live, when one has more than one.
    spans: Option<Vec<Vec<(u32, u32)>>>,
    /// Nodes of a search between two looks at the clock: fewer where lives are of many pieces.
    pub(super) patience: u64,
    /// Whether some alignment is more than one unit.
    pub(super) is_aligned: bool,
    /// Whether some tensor has more than one run of sections.
    pub(super) is_gapped: bool,
    /// The tensors whose first section each is, as ranges of `starting`.
    first_starting: Vec<u32>,
    starting: Vec<u32>,
    /// Units of each tensor.
    pub(super) size: Vec<U>,
    /// Units that each tensor's offset is a multiple of; 1 for most.
    pub(super) alignment: Vec<U>,
    /// Bytes of each tensor, not rounded: where it may start at the latest depends on them.
    pub(super) bytes: Vec<u64>,
    /// Where a tensor must start.
    pub(super) pinned: Vec<Option<U>>,
    /// The tensor before this one that differs from it in nothing.
    pub(super) twin: Vec<Option<u32>>,
    /// For each tensor those that are live together with it.
    pub(super) neighbours: Vec<Bits>,
    /// For each section those that are live in it.
    pub(super) members: Vec<Bits>,
}

impl<U: Units> Sections<U> {
    /// `None` where the sum of sizes is more than `U` holds.
    pub(super) fn new(problem: &Problem) -> Option<Self> {
        let buffers = &problem.buffers;
        let grain = buffers.iter().map(|buffer| buffer.alignment).min().unwrap_or(1);
        let rounded = |buffer: &Buffer| buffer.bytes().checked_next_multiple_of(grain);
        let mut unit = 0u64;
        let mut total = 0u64;
        for buffer in buffers {
            let size = rounded(buffer)?;
            total = total.checked_add(size)?.checked_add(buffer.alignment)?;
            unit = gcd(unit, size);
            unit = gcd(unit, buffer.pin().unwrap_or(0));
            if buffer.alignment > 1 {
                unit = gcd(unit, buffer.alignment);
            }
            // What is not pinned may have to go above what is.
            total = total.checked_add(buffer.pin().unwrap_or(0))?;
        }
        let unit = unit.max(1);
        // Capacities are rounded up to units.
        total.checked_add(unit)?;
        let units = |bytes: u64| U::new(bytes / unit);
        units(total)?;

        let mut order: Vec<u32> = (0..buffers.len() as u32).collect();
        let width = |buffer: &Buffer| u64::from(buffer.end - buffer.start);
        order.sort_by_cached_key(|&i| {
            let buffer = &buffers[i as usize];
            let area = u128::from(width(buffer)) * u128::from(buffer.bytes());
            (std::cmp::Reverse((width(buffer), area)), buffer.start, buffer.alignment, buffer.pinned)
        });
        let tensors: Vec<Buffer> = order.iter().map(|&i| buffers[i as usize]).collect();
        let runs: Vec<Vec<(u32, u32)>> = order.iter().map(|&i| problem.runs(i as usize).collect()).collect();
        let section = merge(runs.iter().flatten(), problem.ranks);
        let count = section.last().map_or(0, |last| *last as usize + 1);
        let span = |(start, end): (u32, u32)| (section[start as usize], section[end as usize - 1] + 1);
        let n = tensors.len();
        let mut sections = Self {
            count,
            unit,
            buffer: order,
            hull: tensors.iter().map(|b| span((b.start, b.end))).collect(),
            spans: (!problem.gaps.is_empty())
                .then(|| runs.iter().map(|runs| runs.iter().copied().map(span).collect()).collect()),
            patience: (PIECES / (1 + count + runs.iter().map(Vec::len).sum::<usize>()) as u64)
                .clamp(1, PATIENCE),
            is_aligned: false,
            is_gapped: !problem.gaps.is_empty(),
            first_starting: Vec::with_capacity(count + 1),
            starting: Vec::with_capacity(n),
            size: tensors.iter().map(|b| units(rounded(b)?)).collect::<Option<_>>()?,
            alignment: tensors
                .iter()
                .map(|b| units(b.alignment).map(|a| a.max(U::ONE)))
                .collect::<Option<_>>()?,
            bytes: tensors.iter().map(Buffer::bytes).collect(),
            pinned: tensors.iter().map(|b| b.pin().and_then(units)).collect(),
            twin: vec![None; n],
            neighbours: vec![Bits::new(n); n],
            members: Vec::new(),
        };
        sections.is_aligned = sections.alignment.iter().any(|&alignment| alignment > U::ONE);
        let mut by_start: Vec<u32> = (0..n as u32).collect();
        by_start.sort_by_key(|&t| sections.hull[t as usize].0);
        for s in 0..=count as u32 {
            let first = by_start.partition_point(|&t| sections.hull[t as usize].0 < s);
            sections.first_starting.push(first as u32);
        }
        sections.starting = by_start;
        let mut members = vec![Bits::new(n); count];
        for t in 0..n {
            for &(lo, hi) in sections.spans(t) {
                members[lo as usize..hi as usize].iter_mut().for_each(|members| members.insert(t));
            }
        }
        sections.members = members;
        for t in 0..n {
            let mut all = Bits::new(n);
            for &(lo, hi) in sections.spans(t) {
                sections.members[lo as usize..hi as usize].iter().for_each(|members| all.unite(members));
            }
            all.remove(t);
            sections.neighbours[t] = all;
            let same = |&other: &usize| {
                sections.spans(other) == sections.spans(t)
                    && (sections.bytes[other], sections.alignment[other])
                        == (sections.bytes[t], sections.alignment[t])
                    && sections.pinned[other].is_none()
                    && sections.pinned[t].is_none()
            };
            sections.twin[t] = (0..t).rev().find(same).map(|other| other as u32);
        }
        Some(sections)
    }

    /// Every arena of a placement is a multiple of this many bytes.
    pub(super) fn grid(&self) -> u64 {
        let exact = self.bytes.iter().all(|bytes| bytes.is_multiple_of(self.unit));
        if exact { self.unit } else { 1 }
    }

    /// How many tensors there are.
    pub(super) fn tensors(&self) -> usize {
        self.size.len()
    }

    /// The runs of sections, half-open, in which a tensor is live.
    pub(super) fn spans(&self, tensor: usize) -> &[(u32, u32)] {
        match &self.spans {
            None => std::slice::from_ref(&self.hull[tensor]),
            Some(spans) => &spans[tensor],
        }
    }

    /// The tensors whose first section it is.
    pub(super) fn starting(&self, section: usize) -> &[u32] {
        &self.starting[self.first_starting[section] as usize..self.first_starting[section + 1] as usize]
    }
}

/// The section of time that each rank of a problem falls into; buffers are live together in a section exactly when
/// they are at some rank of it.
pub(crate) fn sections_of(problem: &Problem) -> Vec<u32> {
    let runs: Vec<(u32, u32)> = (0..problem.buffers.len()).flat_map(|i| problem.runs(i)).collect();
    merge(runs.iter(), problem.ranks)
}

/// The section that each rank of time falls into.
fn merge<'a>(runs: impl Iterator<Item = &'a (u32, u32)>, ranks: u32) -> Vec<u32> {
    // A section ends where a start follows an end: until then the set of one rank contains the one before or the
    // one after.
    let mut starts = vec![false; ranks as usize];
    let mut ends = vec![false; ranks as usize + 1];
    for &(start, end) in runs {
        starts[start as usize] = true;
        ends[end as usize] = true;
    }
    let (mut current, mut ended) = (0, false);
    let section = starts.iter().zip(&ends).map(|(&starts, &ends)| {
        ended |= ends;
        if ended && starts {
            current += 1;
            ended = false;
        }
        current
    });
    section.collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
