//! Lifetimes as a planner sees them: numbers only.
//!
//! Names, alias groups and steps come in; buffers with dense times come out. Times are ranks among the distinct
//! starts: two buffers overlap in ranks exactly when they overlap in steps, and the load can only rise at a
//! start. Buffers that take no room or no time are left out; they go anywhere.

use std::borrow::Cow;
use std::collections::HashMap;

use super::lifetime::{TensorLifetime, without};
use super::lifetime_error::LifetimeError;
use vramkit_units::{ByteSize, Step};

/// Something to be placed: one tensor, or an alias group's tensors together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// First rank.
    pub start: u32,
    /// One past the last rank; larger than `start`.
    pub end: u32,
    /// Its size, larger than 0.
    pub size: ByteSize,
    /// Its offset is a multiple of this many bytes, a power of two.
    pub alignment: u64,
    /// Where it must be.
    pub pinned: Option<ByteSize>,
}

impl Buffer {
    /// Its size, for those who compute with it.
    pub(super) fn bytes(&self) -> u64 {
        self.size.bytes()
    }

    /// Where it must be, for those who compute with it.
    pub(super) fn pin(&self) -> Option<u64> {
        self.pinned.map(ByteSize::bytes)
    }
}

/// Ranks, half-open, inside a buffer's life during which its place is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The buffer.
    pub buffer: u32,
    /// First rank.
    pub start: u32,
    /// One past the last rank; larger than `start`.
    pub end: u32,
}

/// Buffers to be placed in one arena.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// Every buffer.
    pub buffers: Vec<Buffer>,
    /// Gaps in their lives, in the order of the buffers and of time.
    pub gaps: Vec<Gap>,
    /// Number of ranks of time.
    pub ranks: u32,
}

/// A problem with the way back to the tensors that it was made of.
pub(super) struct Compiled {
    pub(super) problem: Problem,
    /// For each tensor its buffer; `None` for one that takes no room or no time.
    pub(super) buffer_of: Vec<Option<u32>>,
    /// Where each buffer may be tried first; empty where nothing is said of any.
    pub(super) hints: Vec<Option<u64>>,
    /// The step at which each rank begins.
    pub(super) steps: Vec<u64>,
}

/// Makes numbers of lifetimes. Errors name tensors whose pins contradict one another.
pub(super) fn compile<'a>(
    tensors: impl ExactSizeIterator<Item = &'a TensorLifetime>,
) -> Result<Compiled, LifetimeError> {
    let (compiled, units) = collect(tensors)?;
    check_pins(&compiled.problem, &units)?;
    Ok(compiled)
}

/// As [`compile`], without the check of pins against one another.
pub(super) fn collect<'a>(
    tensors: impl ExactSizeIterator<Item = &'a TensorLifetime>,
) -> Result<(Compiled, Vec<Unit<'a>>), LifetimeError> {
    let mut starts: Vec<u64> = Vec::with_capacity(tensors.len());
    let mut units: Vec<Unit> = Vec::with_capacity(tensors.len());
    let mut groups: HashMap<(&str, &str), u32> = HashMap::new();
    let mut buffer_of = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        if !tensor.takes_room() {
            buffer_of.push(None);
            continue;
        }
        let group = tensor.alias_group.as_deref().map(|group| (&*tensor.model, group));
        let unit = match group.and_then(|group| groups.get(&group)) {
            Some(&unit) => {
                units[unit as usize].join(tensor)?;
                unit
            }
            None => {
                let unit = units.len() as u32;
                units.push(Unit::new(tensor));
                group.map(|group| groups.insert(group, unit));
                unit
            }
        };
        buffer_of.push(Some(unit));
    }
    units.iter_mut().for_each(Unit::finish);
    starts.extend(units.iter().map(|unit| unit.start));
    starts.extend(units.iter().flat_map(|unit| unit.gaps.iter().map(|gap| gap.1.0)));
    let ranks = Ranks::new(&mut starts);
    let rank = |step: u64| ranks.of(step, &starts);
    let buffers = units.iter().map(|unit| Buffer {
        start: rank(unit.start),
        end: rank(unit.end),
        size: ByteSize::new(unit.size),
        alignment: unit.alignment,
        pinned: unit.pinned.map(ByteSize::new),
    });
    let gaps = units.iter().zip(0..).flat_map(|(unit, buffer)| {
        ranked(buffer, unit.gaps.iter().map(|gap| (rank(gap.0.0), rank(gap.1.0))))
    });
    let problem = Problem { gaps: gaps.collect(), buffers: buffers.collect(), ranks: starts.len() as u32 };
    let mut hints: Vec<Option<u64>> = units.iter().map(|unit| Some(unit.tensor.hint?.bytes())).collect();
    if hints.iter().all(Option::is_none) {
        hints.clear();
    }
    Ok((Compiled { problem, buffer_of, hints, steps: starts }, units))
}

/// The rank of each step among starts: looked up where they lie close to one another, else searched for.
struct Ranks {
    first: u64,
    /// For each step from the first start to the last how many starts are before it; empty where that would be too many.
    table: Vec<u32>,
}

impl Ranks {
    /// Steps for each start, up to which there is a table.
    const SPREAD: u64 = 4;

    /// Of starts, which are put in order, each once.
    fn new(starts: &mut Vec<u64>) -> Self {
        let first = starts.iter().min().copied().unwrap_or(0);
        let last = starts.iter().max().copied().unwrap_or(0);
        let mut table = Vec::new();
        if (last - first) / Self::SPREAD >= starts.len() as u64 {
            starts.sort_unstable();
            starts.dedup();
            return Self { first, table };
        }
        table.resize((last - first) as usize + 1, 0u32);
        starts.iter().for_each(|start| table[(start - first) as usize] = 1);
        starts.clear();
        let mut before = 0;
        for (after, place) in (0..).zip(&mut table) {
            let own = std::mem::replace(place, before);
            if own > 0 {
                starts.push(first + after);
                before += 1;
            }
        }
        Self { first, table }
    }

    /// How many starts are before a step.
    fn of(&self, step: u64, starts: &[u64]) -> u32 {
        if self.table.is_empty() {
            return starts.partition_point(|&start| start < step) as u32;
        }
        let place = step.saturating_sub(self.first);
        self.table.get(place as usize).copied().unwrap_or(starts.len() as u32)
    }
}

/// A buffer's gaps from their ranks, without empty ones: nothing starts in those, so nothing can use them.
fn ranked(buffer: u32, gaps: impl Iterator<Item = (u32, u32)>) -> impl Iterator<Item = Gap> {
    gaps.filter(|(start, end)| start < end).map(move |(start, end)| Gap { buffer, start, end })
}

/// A buffer under construction, in steps.
pub(super) struct Unit<'a> {
    start: u64,
    end: u64,
    size: u64,
    alignment: u64,
    pinned: Option<u64>,
    gaps: Cow<'a, [(Step, Step)]>,
    /// Of an alias group the runs of all members until it is finished; empty for one tensor.
    members: Vec<(u64, u64)>,
    /// The tensor to name in an error.
    tensor: &'a TensorLifetime,
}

impl<'a> Unit<'a> {
    fn new(tensor: &'a TensorLifetime) -> Self {
        Self {
            start: tensor.start.0,
            end: tensor.end.0,
            size: tensor.size.bytes(),
            alignment: tensor.alignment,
            pinned: tensor.pinned.map(|at| at.bytes()),
            gaps: Cow::Borrowed(&tensor.gaps),
            members: Vec::new(),
            tensor,
        }
    }

    /// The runs of steps, half-open, during which it is live.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        without(self.start, self.end, self.gaps.iter().map(|gap| (gap.0.0, gap.1.0)))
    }

    /// Takes another tensor of the same alias group in: one place for as long as any of them lives.
    fn join(&mut self, tensor: &'a TensorLifetime) -> Result<(), LifetimeError> {
        let pinned = tensor.pinned.map(|at| at.bytes());
        if let (Some(a), Some(b)) = (self.pinned, pinned)
            && a != b
        {
            let reason = format!("its alias group is pinned at {a} by `{}`", self.tensor.id);
            return Err(LifetimeError::pin(tensor, ByteSize::new(b), reason));
        }
        if self.members.is_empty() {
            self.members = self.runs().collect();
        }
        self.members.extend(Unit::new(tensor).runs());
        self.size = self.size.max(tensor.size.bytes());
        self.alignment = self.alignment.max(tensor.alignment);
        self.pinned = self.pinned.or(pinned);
        match self.pinned {
            Some(at) if !at.is_multiple_of(self.alignment) => Err(LifetimeError::pin(
                tensor,
                ByteSize::new(at),
                format!("its alias group needs alignment {}", self.alignment),
            )),
            _ => Ok(()),
        }
    }
}

impl Unit<'_> {
    /// When every member is known: the group's gaps are the steps at which none of them lives.
    fn finish(&mut self) {
        let mut runs = std::mem::take(&mut self.members);
        runs.sort_unstable();
        let (Some(&(start, mut end)), mut gaps) = (runs.first(), Vec::new()) else { return };
        for (next, its_end) in runs {
            if next > end {
                gaps.push((Step(end), Step(next)));
            }
            end = end.max(its_end);
        }
        (self.start, self.end, self.gaps) = (start, end, gaps.into());
    }
}

/// Pinned buffers that are live together must not touch.
fn check_pins(problem: &Problem, units: &[Unit<'_>]) -> Result<(), LifetimeError> {
    let pins: Vec<Option<u64>> = problem.buffers.iter().map(Buffer::pin).collect();
    match problem.first_clash(&pins) {
        Some((a, b)) => {
            let (first, second) = (&units[a], &units[b]);
            let at = |unit: &Unit| unit.pinned.unwrap_or(0);
            let reason = format!("`{}` is pinned over it at {} and live with it", first.tensor.id, at(first));
            Err(LifetimeError::pin(second.tensor, ByteSize::new(at(second)), reason))
        }
        None => Ok(()),
    }
}

impl Problem {
    /// Most bytes live at one time: no arena is smaller.
    pub fn max_load(&self) -> ByteSize {
        self.max_sum(|buffer| buffer.size)
    }

    /// A bound that knows alignment and pins. At least [`max_load`](Self::max_load).
    pub fn lower_bound(&self) -> ByteSize {
        let pinned = self.buffers.iter().filter_map(|buffer| Some(buffer.pinned? + buffer.size)).max();
        self.aligned_load().max(pinned.unwrap_or_default())
    }

    /// What [`max_load`](Self::max_load) becomes by alignment: every offset is a multiple of the smallest alignment g, so
    /// of the buffers live together all but the topmost take a multiple of g.
    pub(super) fn aligned_load(&self) -> ByteSize {
        let Some(g) = self.buffers.iter().map(|buffer| buffer.alignment).min() else {
            return ByteSize::ZERO;
        };
        let round = |buffer: &Buffer| buffer.size.checked_align_up(g).unwrap_or(buffer.size);
        let slack = self.buffers.iter().map(|buffer| round(buffer) - buffer.size).max().unwrap_or_default();
        self.max_load().max(self.max_sum(round).saturating_sub(slack))
    }

    /// What is live at each rank.
    pub fn loads(&self) -> Vec<ByteSize> {
        self.sums(|buffer| buffer.size)
    }

    /// The runs of ranks, half-open, during which a buffer is live.
    pub fn runs(&self, buffer: usize) -> impl Iterator<Item = (u32, u32)> + Clone + '_ {
        let Buffer { start, end, .. } = self.buffers[buffer];
        without(start, end, self.gaps_of(buffer).iter().map(|gap| (gap.start, gap.end)))
    }

    /// Whether two buffers are live together.
    pub(super) fn meet(&self, i: usize, j: usize) -> bool {
        let meet = |a: (u32, u32), b: (u32, u32)| a.0.max(b.0) < a.1.min(b.1);
        let (a, b) = (&self.buffers[i], &self.buffers[j]);
        meet((a.start, a.end), (b.start, b.end))
            && (self.gaps.is_empty() || self.runs(i).any(|run| self.runs(j).any(|other| meet(run, other))))
    }

    fn gaps_of(&self, buffer: usize) -> &[Gap] {
        let before = |gap: &Gap| (gap.buffer as usize) < buffer;
        // Near where it would be if all buffers had as many: a search through all of them is slow where there are millions.
        let guess = (buffer as u64 * self.gaps.len() as u64 / self.buffers.len().max(1) as u64) as usize;
        let (mut low, mut high, mut width) = (guess, guess, 1);
        while low > 0 && !before(&self.gaps[low - 1]) {
            (low, high) = (low.saturating_sub(width), low - 1);
            width *= 2;
        }
        while high < self.gaps.len() && before(&self.gaps[high]) {
            (low, high) = (high + 1, (high + width).min(self.gaps.len()));
            width *= 2;
        }
        let first = low + self.gaps[low..high].partition_point(before);
        let end = first + self.gaps[first..].iter().take_while(|gap| gap.buffer as usize == buffer).count();
        &self.gaps[first..end]
    }

    pub(super) fn max_sum(&self, weight: impl Fn(&Buffer) -> ByteSize) -> ByteSize {
        self.sums(weight).into_iter().max().unwrap_or_default()
    }

    fn sums(&self, weight: impl Fn(&Buffer) -> ByteSize) -> Vec<ByteSize> {
        // Differences wrap; the running sums are true loads and fit.
        let mut delta = vec![0u64; self.ranks as usize + 1];
        for buffer in &self.buffers {
            let bytes = weight(buffer).bytes();
            delta[buffer.start as usize] = delta[buffer.start as usize].wrapping_add(bytes);
            delta[buffer.end as usize] = delta[buffer.end as usize].wrapping_sub(bytes);
        }
        for gap in &self.gaps {
            let bytes = weight(&self.buffers[gap.buffer as usize]).bytes();
            delta[gap.start as usize] = delta[gap.start as usize].wrapping_sub(bytes);
            delta[gap.end as usize] = delta[gap.end as usize].wrapping_add(bytes);
        }
        delta.pop();
        let mut load = 0u64;
        let sum = |change: u64| {
            load = load.wrapping_add(change);
            ByteSize::new(load)
        };
        delta.into_iter().map(sum).collect()
    }

    /// The parts between which nothing is live, as lists of buffers: each can be planned alone.
    pub fn parts(&self) -> Vec<Vec<u32>> {
        let mut order: Vec<u32> = (0..self.buffers.len() as u32).collect();
        order.sort_by_key(|&i| self.buffers[i as usize].start);
        let mut parts: Vec<Vec<u32>> = Vec::new();
        let mut end = 0;
        for i in order {
            let buffer = &self.buffers[i as usize];
            match parts.last_mut() {
                Some(part) if buffer.start < end => part.push(i),
                _ => parts.push(vec![i]),
            }
            end = end.max(buffer.end);
        }
        parts
    }

    /// Some of the buffers as a problem of their own, with ranks of its own.
    pub fn restrict(&self, part: &[u32]) -> Self {
        let mut starts: Vec<u64> =
            part.iter().flat_map(|&i| self.runs(i as usize)).map(|(start, _)| u64::from(start)).collect();
        let ranks = Ranks::new(&mut starts);
        let rank = |time: u32| ranks.of(u64::from(time), &starts);
        let buffers = part.iter().map(|&i| {
            let buffer = self.buffers[i as usize];
            Buffer { start: rank(buffer.start), end: rank(buffer.end), ..buffer }
        });
        let gaps = part.iter().zip(0..).flat_map(|(&i, buffer)| {
            ranked(buffer, self.gaps_of(i as usize).iter().map(|gap| (rank(gap.start), rank(gap.end))))
        });
        Self { gaps: gaps.collect(), buffers: buffers.collect(), ranks: starts.len() as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Looked up or searched for, near one another or far apart.
        #[test]
        fn ranks_are_how_many_starts_are_before(
            starts in prop::collection::vec(0u64..60, 0..30),
            spread in prop::sample::select(vec![1u64, 3, 1000, u64::MAX / 61]),
            moved in prop::sample::select(vec![0u64, 7, u64::MAX - 40]),
            steps in prop::collection::vec(0u64..=u64::MAX, 8),
        ) {
            let mut starts: Vec<u64> = starts.into_iter().map(|start| (start * spread).saturating_add(moved)).collect();
            let mut sorted = starts.clone();
            sorted.sort_unstable();
            sorted.dedup();
            let ranks = Ranks::new(&mut starts);
            prop_assert_eq!(&starts, &sorted);
            let near = starts.iter().flat_map(|&start| [start.saturating_sub(1), start, start.saturating_add(1)]);
            for step in near.chain(steps).collect::<Vec<_>>() {
                let before = sorted.iter().filter(|&&start| start < step).count();
                prop_assert_eq!(ranks.of(step, &starts) as usize, before);
            }
        }
    }
}
