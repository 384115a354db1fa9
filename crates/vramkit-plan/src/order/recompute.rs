//! Doing a step twice: what it made needs not live from its first use to a late one.

use super::budget::OrderBudget;
use super::dataflow::{Dataflow, FlowValue};

/// Most steps that are done again.
const REPEATS: usize = 256;

/// A dataflow in which some steps are done again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recomputed {
    /// The dataflow: the steps and values added come after those that there were.
    pub flow: Dataflow,
    /// An order of all its steps.
    pub order: Vec<usize>,
    /// For each step added, the one that it repeats.
    pub repeats: Vec<usize>,
}

impl Dataflow {
    /// Does cheap steps again just before their results are wanted, where that lowers the peak of an order: what
    /// they made needs not live until then. Where it does, another order of all steps is looked for, and so on, as long as
    /// the peak falls. A budget that is over ends it with what has paid so far.
    pub fn recompute(&self, order: &[usize], budget: &OrderBudget<'_>) -> Recomputed {
        let mut best = Recomputed { flow: self.clone(), order: order.to_vec(), repeats: Vec::new() };
        if !self.is_countable() {
            return best;
        }
        loop {
            let before = best.repeats.len();
            best = best.with_repeats(budget);
            let peak = best.flow.peak_of(&best.order);
            if best.repeats.len() == before || budget.is_over() {
                return best;
            }
            let again = best.flow.best_order(&best.order, &budget.share(4));
            if again.peak >= peak {
                return best;
            }
            best.order = again.order;
        }
    }
}

impl Recomputed {
    /// With more steps done again, in the order that there is; those after which the peak never fell are left out.
    fn with_repeats(self, budget: &OrderBudget<'_>) -> Self {
        let Self { mut flow, mut order, mut repeats } = self.clone();
        let (mut best, mut lowest) = (self, flow.peak_of(&order));
        while repeats.len() < REPEATS {
            let loads = flow.loads(&order);
            let peak = loads.iter().copied().max().unwrap_or(0);
            let Some(at) = loads.iter().position(|&load| load == peak) else {
                break;
            };
            // Fewer bytes at the peak, then fewer steps at it: progress that cannot go on for ever.
            let height = |loads: &[u64]| {
                let peak = loads.iter().copied().max().unwrap_or(0);
                (peak, loads.iter().filter(|&&load| load == peak).count())
            };
            let lives = flow.spans(&order);
            let across = (0..flow.values.len()).filter(|&v| lives[v].0 < at && at + 1 < lives[v].1);
            let options = across.take_while(|_| !budget.is_over()).filter_map(|v| flow.repeat(v, at, &order));
            let better = options
                .map(|(maker, flow, order)| (height(&flow.loads(&order)), maker, flow, order))
                .filter(|(height_of, ..)| *height_of < height(&loads))
                .min_by_key(|(height, ..)| *height);
            let Some((_, maker, next, next_order)) = better else {
                break;
            };
            repeats.push(maker);
            (flow, order) = (next, next_order);
            let peak = flow.peak_of(&order);
            if peak < lowest {
                lowest = peak;
                best = Self { flow: flow.clone(), order: order.clone(), repeats: repeats.clone() };
            }
        }
        best
    }
}

impl Dataflow {
    /// Makes a value again for those that read it after position `at`, where its maker is cheap, makes nothing
    /// else, and is read again. The maker, and the dataflow and order with the repeated step last in number.
    fn repeat(&self, value: usize, at: usize, order: &[usize]) -> Option<(usize, Self, Vec<usize>)> {
        let own = &self.values[value];
        let maker = own.maker.filter(|&maker| self.cheap[maker] && !own.stays)?;
        if self.values.iter().filter(|other| other.maker == Some(maker)).count() != 1 {
            return None;
        }
        let mut position = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &step)| position[step] = at);
        let (early, late): (Vec<usize>, Vec<usize>) =
            own.readers.iter().partition(|&&reader| position[reader] <= at);
        let before = late.iter().map(|&reader| position[reader]).min()?;
        let mut flow = self.clone();
        let again = flow.steps();
        flow.cheap.push(true);
        for input in flow.values.iter_mut().filter(|input| input.readers.contains(&maker)) {
            input.readers.push(again);
        }
        flow.values[value].readers = early;
        flow.values.push(FlowValue {
            size: own.size,
            maker: Some(again),
            readers: late,
            ..FlowValue::default()
        });
        let mut order = order.to_vec();
        order.insert(before, again);
        Some((maker, flow, order))
    }
}
