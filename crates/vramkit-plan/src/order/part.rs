//! A part of a graph that no job cuts in two: its best order so far, and the least that any can have.
//!
//! ```text
//! net ──► reduced ──► greedy, relaxed, cuts ──► rounds of beams, windows, decisions      from both ends
//! ```
//!
//! Each round does four times as much as the one before, until what is known to be possible and what is known to be impossible meet.

use super::decide::Verdict;
use super::effort::Effort;
use super::greedy::Rule;
use super::net::{Bytes, Net};

/// Rounds after the first answers.
pub(super) const ROUNDS: u32 = 7;

/// Units of a decision in the first round.
const UNITS: u64 = 100_000;

/// Jobs for which the least that is live during them is found, those with most live in the best order first.
const CUTS: usize = 48;

/// A part of a graph.
pub(super) struct Part {
    /// Its jobs from the start and from the end.
    nets: [Net; 2],
    /// The best order known, of the first net's jobs.
    order: Vec<usize>,
    /// Most that is live in it.
    pub(super) peak: Bytes,
    /// No order has less.
    pub(super) bound: Bytes,
}

impl Part {
    /// From a net that is reduced, with a bound that is known.
    pub(super) fn new(net: Net, bound: Bytes) -> Self {
        let order = net.sorted();
        let peak = net.peak(&order);
        let bound = if order.len() < 2 { peak } else { bound };
        Self { nets: [net.reversed(), net], order, peak, bound }.turned()
    }

    fn turned(mut self) -> Self {
        self.nets.swap(0, 1);
        self
    }

    /// The best order known, as the steps of its jobs.
    pub(super) fn steps(&self) -> Vec<usize> {
        self.nets[0].steps(&self.order)
    }

    fn offer(&mut self, order: Vec<usize>) {
        let peak = self.nets[0].peak(&order);
        if peak < self.peak {
            (self.peak, self.order) = (peak, order);
        }
    }

    /// The jobs in the order of the last of their steps.
    fn along(&self, steps: &[usize]) -> Vec<usize> {
        let mut place = std::collections::HashMap::new();
        steps.iter().zip(0u64..).for_each(|(&step, at)| _ = place.insert(step, at));
        let last = |steps: &[usize]| steps.last().and_then(|step| place.get(step)).copied().unwrap_or(0);
        let ranks: Vec<u64> = self.nets[0].jobs.iter().map(|job| last(&job.steps)).collect();
        self.nets[0].sorted_by(&ranks)
    }

    /// As [`offer`](Self::offer), with jobs as late as they can be, and those that free as early, as long as that helps.
    fn offer_late(&mut self, mut order: Vec<usize>) {
        let mut best = Bytes::MAX;
        loop {
            let late = self.nets[0].late(&order);
            let mut backwards: Vec<usize> = late.iter().rev().copied().collect();
            backwards = self.nets[1].late(&backwards);
            backwards.reverse();
            let peak = self.nets[0].peak(&backwards).min(self.nets[0].peak(&late));
            self.offer(order);
            self.offer(late);
            if peak >= best {
                return;
            }
            best = peak;
            order = backwards;
        }
    }

    /// As [`offer`](Self::offer), for an order of the net from that end.
    fn offer_from(&mut self, end: usize, mut order: Vec<usize>) {
        if end == 1 {
            order.reverse();
        }
        self.offer(order);
    }

    /// First answers and bounds. An order of the steps is known.
    pub(super) fn begin(&mut self, known: &[usize], enough: Bytes, effort: &mut Effort<'_>) {
        self.offer(self.along(known));
        if self.peak <= self.bound.max(enough) {
            return;
        }
        let order = self.nets[0].along();
        self.offer_late(order);
        self.offer_late(self.order.clone());
        for end in [0, 1] {
            for rule in [Rule::Least, Rule::Depth] {
                let order = self.nets[end].greedy(rule);
                self.offer_from(end, order);
            }
        }
        if self.peak <= self.bound.max(enough) || effort.is_out_of_time() {
            return;
        }
        if !self.nets[0].groups.is_empty() {
            let never = self.nets[0].relaxed(None, effort);
            self.offer(never.order);
            for _ in 0..4 {
                let before = self.peak;
                let relaxed = self.nets[0].relaxed(Some(&self.order), effort);
                self.bound = self.bound.max(relaxed.bound);
                self.offer(relaxed.order);
                if self.peak == before {
                    break;
                }
            }
        }
        let mut loads: Vec<(Bytes, usize)> = self.nets[0]
            .loads(&self.order)
            .into_iter()
            .zip(&self.order)
            .map(|((during, _), &job)| (-during, job))
            .collect();
        loads.sort_unstable();
        let mut left = effort.of(UNITS * 200);
        for (_, job) in loads.into_iter().take(CUTS) {
            let Some(least) = self.nets[0].least_during(job, &mut left) else { break };
            self.bound = self.bound.max(least);
            if self.peak <= self.bound.max(enough) {
                break;
            }
        }
    }

    /// A round of searching; nothing below `enough` is looked for.
    pub(super) fn improve(&mut self, round: u32, enough: Bytes, seed: u64, effort: &mut Effort<'_>) {
        let scale = 4u64.pow(round);
        self.windows(UNITS * scale, enough, effort);
        self.beams(2 * scale as usize, enough, seed, effort);
        self.decisions(UNITS * scale, enough, effort);
    }

    /// Beams within less and less, from both ends, until both find nothing.
    fn beams(&mut self, width: usize, enough: Bytes, seed: u64, effort: &mut Effort<'_>) {
        for end in [0, 1] {
            while self.peak > self.bound.max(enough) && !effort.is_out_of_time() {
                let lowest = self.bound.max(enough);
                // First well below what is known, then just below.
                let found = [lowest + (self.peak - lowest) / 2, self.peak - 1].into_iter().find_map(|most| {
                    self.nets[end].beam(most, width, seed, &mut effort.of(UNITS * 40 * width as u64))
                });
                let Some(order) = found else { break };
                self.offer_from(end, order);
            }
        }
    }

    /// Stretches of the best order, for less by leaps that grow as long as they succeed.
    fn windows(&mut self, units: u64, enough: Bytes, effort: &mut Effort<'_>) {
        let mut leap = (self.peak - self.bound.max(enough)) / 16;
        let mut left = effort.of(units * (16 + self.order.len() as u64 / 8));
        while self.peak > self.bound.max(enough) && !left.is_out_of_time() {
            leap = leap.clamp(1, self.peak - self.bound.max(enough));
            match self.nets[0].mended(&self.order, self.peak - leap, units / 4, &mut left) {
                Some(order) => {
                    self.offer(order);
                    leap *= 2;
                }
                None if leap == 1 || left.left() == 0 => break,
                None => leap /= 4,
            }
        }
    }

    /// Searches that end with an order or a proof: just below what is known, and at a half of what lies between.
    fn decisions(&mut self, units: u64, enough: Bytes, effort: &mut Effort<'_>) {
        while self.peak > self.bound.max(enough) && !effort.is_out_of_time() {
            let lowest = self.bound.max(enough);
            let is_settled =
                [self.peak - 1, lowest, lowest + (self.peak - lowest) / 2].into_iter().any(|most| {
                    [0, 1].into_iter().any(|end| match self.nets[end].decide(most, &mut effort.of(units)) {
                        Verdict::Order(order) => {
                            self.offer_from(end, order);
                            true
                        }
                        Verdict::None(least) => {
                            self.bound = self.bound.max(least.min(self.peak));
                            true
                        }
                        Verdict::Open => false,
                    })
                });
            if !is_settled {
                break;
            }
        }
    }
}
