//! The order with the lowest peak.
//!
//! ```text
//! dataflow ──► ranks ──► net ──► ranges ──► parts, reduced ──► rounds, the worst part first ──► order
//! ```
//!
//! What is done first takes about as long as reading the graph, and is done always; rounds are for as long as the budget lasts.
//! The answer does not depend on how steps and values are numbered, and is the same every time unless time is up before.

use std::ops::Range;

use vramkit_units::ByteSize;

use super::budget::OrderBudget;
use super::canonical;
use super::dataflow::{Dataflow, FlowValue};
use super::effort::Effort;
use super::greedy::Rule;
use super::net::{Bytes, Net};
use super::part::{Part, ROUNDS};

/// Units for making a net smaller.
const REDUCING: u64 = 400_000_000;

/// Steps that are tried as the first one, at most.
const FIRSTS: usize = 16;

/// An order of a dataflow's steps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepOrder {
    /// The steps.
    pub order: Vec<usize>,
    /// Most bytes live during a step.
    pub peak: ByteSize,
    /// No order has less: the peak, where that is proven, and else the most that was shown in the time.
    pub bound: ByteSize,
    /// Whether no order has a lower peak. Where that took a search, two sets of steps are taken for one with a chance of less than
    /// one in 10^24.
    pub proven: bool,
}

impl Dataflow {
    /// The order with the lowest peak that is found within a budget; `given`, an order that is possible, where none is
    /// better. The answer is the same every time, however steps are numbered, unless the budget ends the search.
    pub fn best_order(&self, given: &[usize], budget: &OrderBudget<'_>) -> StepOrder {
        let peak = self.peak_of(given);
        let unknown =
            StepOrder { order: given.to_vec(), peak, bound: ByteSize::ZERO, proven: peak.is_zero() };
        if !self.is_countable() {
            return unknown;
        }
        let flow = self.united();
        let Some(ranks) = canonical::ranks(&flow) else { return unknown };
        let mut best = unknown;
        let free = flow.search(&ranks, given, None, budget);
        best.take(&flow, free.order);
        best.bound = free.bound;
        if flow.values.iter().any(FlowValue::is_unread) && best.bound < best.peak {
            best.choose_first(&flow, &ranks, budget);
        }
        best.bound = best.bound.min(best.peak);
        StepOrder { proven: best.bound >= best.peak, ..best }
    }

    /// The best order that is found, in which a step comes before all others where that is asked for, and what no such order is
    /// below. What nobody reads is not seen here.
    fn search(
        &self,
        ranks: &[usize],
        given: &[usize],
        first: Option<usize>,
        budget: &OrderBudget<'_>,
    ) -> Searched {
        let mut ranks = ranks.to_vec();
        let mut given = given.to_vec();
        if let Some(first) = first {
            let own = ranks[first];
            ranks.iter_mut().filter(|rank| **rank < own).for_each(|rank| *rank += 1);
            ranks[first] = 0;
            given.sort_by_key(|&step| step != first);
        }
        let mut net = Net::new(self, &ranks);
        if first.is_some() {
            let others: Vec<usize> =
                (1..net.jobs.len()).filter(|&job| net.jobs[job].before.is_empty()).collect();
            others.into_iter().for_each(|job| net.edge(0, job));
            net.tidy();
        }
        let mut search =
            Search::new(net, given.iter().map(|&step| ranks[step]).collect(), &self.needs(&ranks));
        search.run(budget);
        let bound = search.bound().max(self.first_need() as Bytes) as u64;
        Searched { order: search.net.steps(&search.order()), bound: ByteSize::new(bound) }
    }

    /// What each step, by its rank, needs for itself: what it reads and makes.
    fn needs(&self, ranks: &[usize]) -> Vec<Bytes> {
        let mut needs = vec![0; ranks.len()];
        for value in &self.values {
            let steps = value.maker.iter().chain(&value.readers);
            steps.for_each(|&step| needs[ranks[step]] += value.size.bytes() as Bytes);
        }
        needs
    }

    /// What is live in the first step of any order: all that is there from the start.
    fn first_need(&self) -> u64 {
        let given = self.values.iter().filter(|value| value.maker.is_none());
        given.map(|value| value.size.bytes()).sum()
    }
}

/// An order, and what none is below.
struct Searched {
    order: Vec<usize>,
    bound: ByteSize,
}

impl StepOrder {
    /// Takes an order where it is better.
    fn take(&mut self, flow: &Dataflow, order: Vec<usize>) {
        let peak = flow.peak_of(&order);
        if peak < self.peak {
            (self.order, self.peak) = (order, peak);
        }
    }

    /// What is there from the start and read by nobody is live in the first step, whichever that is: of the steps that can be
    /// first each is tried, from the one with the least live in it on, as long as that is below the best peak.
    fn choose_first(&mut self, flow: &Dataflow, ranks: &[usize], budget: &OrderBudget<'_>) {
        let mut loads = vec![Some(flow.first_need()); ranks.len()];
        for value in &flow.values {
            let Some(maker) = value.maker else { continue };
            loads[maker] = loads[maker].map(|load| load + value.size.bytes());
            value.readers.iter().for_each(|&reader| loads[reader] = None);
        }
        let mut firsts: Vec<(u64, usize)> =
            loads.iter().enumerate().filter_map(|(step, load)| Some(((*load)?, step))).collect();
        firsts.sort_by_key(|&(load, step)| (load, ranks[step]));
        // No order is below the least of what none is below that begins with each.
        let mut least = ByteSize::new(u64::MAX);
        for (tried, &(load, first)) in firsts.iter().enumerate() {
            let load = ByteSize::new(load);
            if load >= self.peak {
                least = least.min(load);
                break;
            }
            if tried == FIRSTS || tried > 0 && budget.is_over() {
                least = least.min(load.max(self.bound));
                break;
            }
            let found = flow.search(ranks, &self.order, Some(first), budget);
            self.take(flow, found.order);
            least = least.min(found.bound.max(load));
        }
        self.bound = self.bound.max(least);
    }
}

/// A range of jobs that runs by itself: its best order, and a bound.
struct Stretch {
    order: Vec<usize>,
    peak: Bytes,
    bound: Bytes,
    part: Option<Part>,
}

/// A net and the stretches that it falls into.
struct Search {
    net: Net,
    stretches: Vec<(Range<usize>, Stretch)>,
}

impl Search {
    /// The best of what is known without searching, stretch by stretch.
    fn new(net: Net, given: Vec<usize>, needs: &[Bytes]) -> Self {
        let reversed = net.reversed();
        let mut orders = vec![net.sorted(), given];
        for rule in [Rule::Least, Rule::Depth] {
            orders.push(net.greedy(rule));
            orders.push(reversed.greedy(rule).into_iter().rev().collect());
        }
        let loads: Vec<Vec<Bytes>> = orders
            .iter()
            .map(|order| net.loads(order).into_iter().map(|(during, _)| during).collect())
            .collect();
        let stretch = |range: Range<usize>| {
            let peak = |at: usize| loads[at][range.clone()].iter().copied().max().unwrap_or(0);
            let best = (0..orders.len()).min_by_key(|&at| peak(at)).unwrap_or(0);
            let bound = needs[range.clone()].iter().copied().max().unwrap_or(0);
            let (order, peak) = (orders[best][range.clone()].to_vec(), peak(best));
            (
                range.clone(),
                Stretch { order, peak, bound: if range.len() == 1 { peak } else { bound }, part: None },
            )
        };
        let stretches = net.ranges().into_iter().map(stretch).collect();
        Self { net, stretches }
    }

    /// No order has less.
    fn bound(&self) -> Bytes {
        self.stretches.iter().map(|(_, stretch)| stretch.bound).max().unwrap_or(0).max(self.net.base)
    }

    fn order(&self) -> Vec<usize> {
        self.stretches.iter().flat_map(|(_, stretch)| stretch.order.iter().copied()).collect()
    }

    fn run(&mut self, budget: &OrderBudget<'_>) {
        let mut effort = Effort::new(REDUCING, budget);
        // All parts that are above what no order is below get their first answers; then the worst a round at a time.
        let numbered = self.net.numbered();
        let loads = self.net.loads(&self.order());
        for at in self.worst_first() {
            let bound = self.bound();
            let (range, stretch) = &self.stretches[at];
            if stretch.peak <= bound || budget.is_hopeless(bound as u64) || effort.is_out_of_time() {
                break;
            }
            let jobs: Vec<usize> = range.clone().collect();
            let part = numbered.part(&jobs, loads[range.start].1, |job| job < range.start);
            let net = part.reduced(&mut effort);
            let mut part = Part::new(net, stretch.bound);
            part.begin(&stretch.order, bound, &mut effort);
            self.stretches[at].1.take(part);
        }
        for round in 0..ROUNDS {
            for at in self.worst_first() {
                let bound = self.bound();
                let stretch = &mut self.stretches[at].1;
                if stretch.peak <= bound || budget.is_hopeless(bound as u64) || effort.is_out_of_time() {
                    break;
                }
                if let Some(mut part) = stretch.part.take() {
                    part.improve(round, bound, budget.first_seed(), &mut effort);
                    stretch.take(part);
                }
            }
        }
    }

    /// Stretches by their peaks.
    fn worst_first(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.stretches.len()).collect();
        order.sort_by_key(|&at| -self.stretches[at].1.peak);
        order
    }
}

impl Stretch {
    /// What a part has come to know.
    fn take(&mut self, part: Part) {
        if part.peak < self.peak {
            (self.peak, self.order) = (part.peak, part.steps());
        }
        self.bound = self.bound.max(part.bound);
        self.part = Some(part);
    }
}
