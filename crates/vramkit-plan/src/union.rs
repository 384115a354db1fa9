//! Models beside one another, in any interleaving: one problem in which every tensor of one model is live together with
//! every tensor of another.
//!
//! The models' problems come in; an offset for every buffer of all of them goes out, with a bound that holds for all of
//! them together. Models are first planned alone and put one above the other, then taken buffer by buffer, since what
//! one model's alignment or pins leave empty another's buffers can fill; where that leaves a gap and the models are
//! small, they are searched as one problem. What is best for each model alone proves nothing about all of them, but
//! where there is nothing to fill: without pins, and with one alignment for all.

use std::time::Instant;

use super::exact;
use super::index::align_up;
use super::placement::Placement;
use super::problem::{Buffer, Gap, Problem};
use super::recorder::StepRecorder;
use super::search::Observer as _;
use super::solver::{Solved, Solver, Task};
use super::sweep;
use vramkit_units::ByteSize;

/// Buffers of all models up to which they are placed one by one, each against all that is placed.
const ONE_BY_ONE: usize = 4096;

/// Sections of time and runs of lives that one problem for all models may have.
const SECTIONS: usize = 2048;
const RUNS: usize = 4096;

/// The buffers of several models, in the order of the models.
pub(super) struct Union<'a> {
    models: &'a [&'a Problem],
}

impl<'a> Union<'a> {
    pub(super) fn new(models: &'a [&'a Problem]) -> Self {
        Self { models }
    }

    /// What belongs to the buffers, model by model.
    pub(super) fn split<'b, T>(&self, all: &'b [T]) -> impl Iterator<Item = &'b [T]> {
        let mut rest = all;
        self.models.iter().map(move |model| {
            let (own, others) = rest.split_at(model.buffers.len());
            rest = others;
            own
        })
    }

    /// Every buffer with its model and its place in it.
    fn all(&self) -> impl Iterator<Item = (usize, u32, &'a Buffer)> + '_ {
        let models = self.models.iter().enumerate();
        models.flat_map(|(m, model)| (0..).zip(&model.buffers).map(move |(i, buffer)| (m, i, buffer)))
    }

    /// Most bytes live at one time: every model may be at its peak at once.
    pub(super) fn max_load(&self) -> ByteSize {
        self.models.iter().map(|model| model.max_load()).sum()
    }

    /// A bound that knows alignments and pins; see [`Problem::lower_bound`].
    fn lower_bound(&self) -> ByteSize {
        let Some(grain) = self.all().map(|(.., buffer)| buffer.alignment).min() else {
            return ByteSize::ZERO;
        };
        let round = |buffer: &Buffer| buffer.size.checked_align_up(grain).unwrap_or(buffer.size);
        let rounded: ByteSize = self.models.iter().map(|model| model.max_sum(round)).sum();
        let pinned = self.all().filter_map(|(.., buffer)| Some(buffer.pinned? + buffer.size)).max();
        let slack = self.all().map(|(.., buffer)| round(buffer) - buffer.size).max().unwrap_or_default();
        self.max_load().max(rounded.saturating_sub(slack)).max(pinned.unwrap_or_default())
    }

    /// The alignment of all buffers, where they have one and none is pinned: then a model leaves nothing empty that
    /// could not be pushed together.
    fn one_alignment(&self) -> Option<u64> {
        let mut buffers = self.all().map(|(.., buffer)| buffer);
        let first = buffers.next()?.alignment;
        let is_plain = |buffer: &Buffer| buffer.alignment == first && buffer.pinned.is_none();
        self.all().all(|(.., buffer)| is_plain(buffer)).then_some(first)
    }

    /// A bound from bounds of each model alone, where there is one.
    fn bound_of_each(&self, alone: &[Solved]) -> ByteSize {
        if self.models.iter().filter(|model| !model.buffers.is_empty()).count() < 2 {
            return alone.iter().map(|solved| solved.bound).max().unwrap_or_default();
        }
        let Some(grain) = self.one_alignment() else { return ByteSize::ZERO };
        // Only what ends topmost may end between two multiples.
        let over = |size: ByteSize| size.checked_align_up(grain).map_or(ByteSize::ZERO, |up| up - size);
        let slack = self.all().map(|(.., buffer)| over(buffer.size)).max().unwrap_or_default();
        let whole = alone
            .iter()
            .try_fold(ByteSize::ZERO, |sum, solved| sum.checked_add(solved.bound.checked_align_up(grain)?));
        whole.map_or(ByteSize::ZERO, |whole| whole.saturating_sub(slack))
    }

    /// Two pinned buffers of different models that have addresses in common: model and place of each.
    pub(super) fn pins_that_clash(&self) -> Option<((usize, u32), (usize, u32))> {
        let pins = self.all().filter_map(|(m, i, buffer)| Some((buffer.pin()?, buffer.bytes(), m, i)));
        let mut pins: Vec<(u64, u64, usize, u32)> = pins.collect();
        pins.sort_unstable();
        // The highest end of each model so far.
        let mut highest: Vec<Option<(u64, u32)>> = vec![None; self.models.len()];
        for (at, size, m, i) in pins {
            let mut others = highest.iter().enumerate().filter(|&(of, _)| of != m);
            let over = others.find_map(|(of, end)| end.filter(|end| end.0 > at).map(|(_, j)| (of, j)));
            if let Some(below) = over {
                return Some((below, (m, i)));
            }
            highest[m] = highest[m].max(Some((at + size, i)));
        }
        None
    }

    /// Each model in a range of its own: one with pins at the bottom, those whose arenas end off the common alignment
    /// last, where they cost no padding. `None` where several models have pins.
    fn stack(&self, alone: &[Solved]) -> Option<Solved> {
        let is_pinned = |m: usize| self.models[m].buffers.iter().any(|buffer| buffer.pinned.is_some());
        let mut order: Vec<usize> = (0..self.models.len()).collect();
        if order.iter().filter(|&&m| is_pinned(m)).count() > 1 {
            return None;
        }
        let alignment =
            |m: usize| self.models[m].buffers.iter().map(|buffer| buffer.alignment).max().unwrap_or(1);
        let common = order.iter().map(|&m| alignment(m)).max().unwrap_or(1);
        order.sort_by_key(|&m| (!is_pinned(m), !alone[m].placement.arena.bytes().is_multiple_of(common), m));
        let mut bases = vec![0u64; self.models.len()];
        let mut top = 0u64;
        for m in order {
            bases[m] = align_up(top, alignment(m));
            if !alone[m].placement.arena.is_zero() {
                top = bases[m] + alone[m].placement.arena.bytes();
            }
        }
        let offsets = bases.iter().zip(alone).flat_map(|(&base, solved)| {
            solved.placement.offsets.iter().map(move |&at| ByteSize::new(base) + at)
        });
        let mut methods: Vec<&str> = alone.iter().map(|solved| solved.method.as_str()).collect();
        methods.sort_unstable();
        methods.dedup();
        Some(Solved {
            placement: Placement { offsets: offsets.collect(), arena: ByteSize::new(top) },
            method: format!("stacked: {}", methods.join(", ")),
            bound: ByteSize::ZERO,
            tightest: Vec::new(),
        })
    }

    /// Pins where they must be, and all that has none of each model in a range of its own above them: an answer at once.
    fn above_pins(&self) -> Solved {
        let pins = self.all().filter_map(|(.., buffer)| Some(buffer.pin()? + buffer.bytes()));
        let mut top = pins.max().unwrap_or(0);
        let mut offsets = Vec::new();
        for model in self.models {
            let pins = model.buffers.iter().filter_map(|buffer| Some(buffer.pin()? + buffer.bytes()));
            let base = pins.max().unwrap_or(0);
            let (own, arena) = sweep::best_fit(model);
            let alignment = model.buffers.iter().map(|buffer| buffer.alignment).max().unwrap_or(1);
            let up = align_up(top - base, alignment);
            let moved = |(buffer, at): (&Buffer, u64)| buffer.pin().unwrap_or(at + up);
            offsets.extend(model.buffers.iter().zip(own).map(moved).map(ByteSize::new));
            if arena > base {
                top = arena + up;
            }
        }
        let placement = Placement { offsets, arena: ByteSize::new(top) };
        let method = "stacked above all pins".to_owned();
        Solved { placement, method, bound: ByteSize::ZERO, tightest: Vec::new() }
    }

    /// Every buffer at its first fit, in an order, the pinned ones first; `None` when it is stopped.
    fn first_fit(&self, order: impl Fn(&Buffer) -> (u64, u64), stop: &dyn Fn() -> bool) -> Option<Placement> {
        let all: Vec<(usize, u32, &Buffer)> = self.all().collect();
        let mut next: Vec<usize> = (0..all.len()).collect();
        next.sort_by_cached_key(|&b| (all[b].2.pinned.is_none(), std::cmp::Reverse(order(all[b].2))));
        let mut offsets = vec![ByteSize::ZERO; all.len()];
        let mut arena = 0;
        // In order of their lowest address.
        let mut placed: Vec<(u64, u64, usize)> = Vec::with_capacity(all.len());
        for b in next {
            if stop() {
                return None;
            }
            let (model, i, buffer) = all[b];
            let offset = buffer.pin().unwrap_or_else(|| {
                let mut offset = 0u64;
                for &(low, high, other) in &placed {
                    if high <= offset {
                        continue;
                    }
                    if low >= offset + buffer.bytes() {
                        break;
                    }
                    let (of, j, _) = all[other];
                    if of != model || self.models[model].meet(i as usize, j as usize) {
                        offset = align_up(high, buffer.alignment);
                    }
                }
                offset
            });
            let end = offset + buffer.bytes();
            let at = placed.partition_point(|&(low, ..)| low < offset);
            placed.insert(at, (offset, end, b));
            offsets[b] = ByteSize::new(offset);
            arena = arena.max(end);
        }
        Some(Placement { offsets, arena: ByteSize::new(arena) })
    }

    /// The best of a few orders; one order where there are too many buffers for more, and none where it is stopped before.
    fn one_by_one(&self, stop: &dyn Fn() -> bool) -> Option<Solved> {
        let lives = |buffer: &Buffer| u64::from(buffer.end - buffer.start);
        type Key<'k> = &'k dyn Fn(&Buffer) -> (u64, u64);
        let orders: [(&str, Key<'_>); 4] = [
            ("size", &|b| (b.bytes(), lives(b))),
            ("alignment", &|b| (b.alignment, b.bytes())),
            ("duration", &|b| (lives(b), b.bytes())),
            ("small alignment", &|b| (u64::MAX - b.alignment, b.bytes())),
        ];
        let tried = if self.all().count() <= ONE_BY_ONE { orders.len() } else { 1 };
        let each =
            orders[..tried].iter().filter_map(|(name, order)| Some((self.first_fit(order, stop)?, name)));
        let (placement, name) = each.min_by_key(|(placement, _)| placement.arena)?;
        let method = format!("models together, {name} first fit");
        Some(Solved { placement, method, bound: ByteSize::ZERO, tightest: Vec::new() })
    }

    /// One problem that says the same, where it is not too large: its times are all combinations of the models' sections of
    /// time, so that buffers of different models always meet, and those of one model when they did. With it, the
    /// buffer of this union that each of its buffers is.
    fn as_one(&self) -> Option<(Problem, Vec<usize>)> {
        let mut models: Vec<(Vec<u32>, usize, usize)> = Vec::with_capacity(self.models.len());
        let mut first = 0;
        for (m, model) in self.models.iter().enumerate() {
            if !model.buffers.is_empty() {
                models.push((exact::sections_of(model), m, first));
            }
            first += model.buffers.len();
        }
        let count = |sections: &[u32]| sections.last().map_or(1, |last| *last as usize + 1);
        // A life is in as many runs as there are combinations of the models before: those with the fewest go first.
        models.sort_by_key(|(sections, m, _)| (count(sections), *m));
        let whole = models.iter().try_fold(1usize, |all, (sections, ..)| {
            all.checked_mul(count(sections)).filter(|&all| all <= SECTIONS)
        })?;
        let mut problem = Problem { ranks: whole as u32, ..Problem::default() };
        let mut origin = Vec::new();
        let (mut before, mut runs_of_all) = (1usize, 0);
        for (sections, m, first) in &models {
            let model = self.models[*m];
            let own = count(sections);
            let after = whole / before / own;
            for (i, buffer) in model.buffers.iter().enumerate() {
                let mut runs: Vec<(u32, u32)> = Vec::new();
                for block in 0..before {
                    for (start, end) in model.runs(i) {
                        let at = |section: usize| ((block * own + section) * after) as u32;
                        let start = at(sections[start as usize] as usize);
                        let end = at(sections[end as usize - 1] as usize + 1);
                        match runs.last_mut() {
                            Some(last) if last.1 == start => last.1 = end,
                            _ => runs.push((start, end)),
                        }
                    }
                }
                runs_of_all += runs.len();
                if runs_of_all > RUNS {
                    return None;
                }
                let number = problem.buffers.len() as u32;
                let (start, end) = (runs[0].0, runs[runs.len() - 1].1);
                let gaps =
                    runs.windows(2).map(|pair| Gap { buffer: number, start: pair[0].1, end: pair[1].0 });
                problem.gaps.extend(gaps);
                problem.buffers.push(Buffer { start, end, ..*buffer });
                origin.push(first + i);
            }
            before *= own;
        }
        Some((problem, origin))
    }
}

impl Solver {
    /// Plans models that run in any interleaving.
    pub(super) fn solve_union(&self, union: &Union<'_>, task: Task<'_>) -> Solved {
        let mut bound = union.lower_bound();
        task.recorder.prove(bound);
        let capacity = task.capacity.unwrap_or_default();
        let alone = |task: Task<'_>| -> Vec<Solved> {
            let without = Task { capacity: None, ..task };
            union.models.iter().map(|model| self.solve(model, &[], without)).collect()
        };
        let now = Instant::now();
        if task.capacity.is_some_and(|capacity| bound <= capacity) {
            // Where the first answers do, nothing is searched for.
            let quiet = StepRecorder::new(now, None, &());
            let first = alone(Task { deadline: now, recorder: &quiet, ..task });
            if let Some(stack) = union.stack(&first).filter(|stack| stack.placement.arena <= capacity) {
                return self.finish(union, stack, bound, task);
            }
        }
        let one = union.as_one();
        // What the models are alone decides nothing where they fit into one another.
        let open = one.is_some() && union.one_alignment().is_none();
        let half = now + task.deadline.saturating_duration_since(now) / 2;
        let each = alone(Task { deadline: if open { half } else { task.deadline }, ..task });
        bound = bound.max(union.bound_of_each(&each));
        task.recorder.prove(bound);
        let enough = bound.max(capacity);
        let stack = union.stack(&each);
        let is_pinned = stack.is_none();
        let mut best = stack.unwrap_or_else(|| union.above_pins());
        let is_open = best.placement.arena > enough;
        if is_pinned || is_open && union.all().count() <= ONE_BY_ONE {
            let together = union.one_by_one(&|| task.has_waited());
            best = together.filter(|other| other.placement.arena < best.placement.arena).unwrap_or(best);
        }
        let best = Solved { bound, ..best };
        let Some((problem, origin)) = one.filter(|_| best.placement.arena > enough) else {
            return self.finish(union, best, bound, task);
        };
        let offsets = origin.iter().map(|&b| best.placement.offsets[b]).collect();
        let first = Solved { placement: Placement { offsets, arena: best.placement.arena }, ..best };
        let mut solved = self.improve(&problem, task.recorder.parts(), first, enough, task);
        let mut offsets = vec![ByteSize::ZERO; origin.len()];
        origin.iter().zip(&solved.placement.offsets).for_each(|(&b, &offset)| offsets[b] = offset);
        solved.placement.offsets = offsets;
        solved
    }

    /// An answer without a search of all models together.
    fn finish(&self, union: &Union<'_>, solved: Solved, bound: ByteSize, task: Task<'_>) -> Solved {
        let part = task.recorder.parts();
        task.recorder.begin(part, union.all().count(), &solved.method);
        task.recorder.progress(bound, solved.placement.arena);
        Solved { bound, ..solved }
    }
}
