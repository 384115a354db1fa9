//! Another order of a graph's steps, and doing some of them twice, to lower the most that is live.
//!
//! ```text
//! dataflow ──► best_order (search) ──► recompute ──► lives
//! ```
//!
//! Any order in which a step comes after those it reads from will do; what is live during each of its steps follows
//! from it.

mod recompute;
mod search;

use search::Graph;

/// What steps make and read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataflow {
    /// For each step whether it costs little to do again.
    pub cheap: Vec<bool>,
    /// Everything that takes memory.
    pub values: Vec<FlowValue>,
}

/// A tensor of a dataflow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowValue {
    /// Its size.
    pub bytes: u64,
    /// The step that makes it; `None` for what is there from the start.
    pub maker: Option<usize>,
    /// The steps that read it, each once.
    pub readers: Vec<usize>,
    /// Whether it is still wanted at the end.
    pub stays: bool,
}

/// An order of a dataflow's steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOrder {
    /// The steps.
    pub order: Vec<usize>,
    /// Most bytes live during a step.
    pub peak: u64,
    /// Whether no order has a lower peak.
    pub proven: bool,
}

impl Dataflow {
    /// How many steps there are.
    pub fn steps(&self) -> usize {
        self.cheap.len()
    }

    /// Most bytes live during a step, in an order of the steps.
    pub fn peak_of(&self, order: &[usize]) -> u64 {
        self.loads(order).into_iter().max().unwrap_or(0)
    }

    /// For each value its life in an order: the first position, and one past the last.
    pub fn lives(&self, order: &[usize]) -> Vec<(usize, usize)> {
        let mut position = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &step)| position[step] = at);
        let life = |value: &FlowValue| {
            let start = value.maker.map_or(0, |maker| position[maker]);
            let last = value.readers.iter().map(|&reader| position[reader]).max().unwrap_or(start);
            let end = if value.stays { order.len() } else { 0 };
            (start, end.max(last.max(start) + 1))
        };
        self.values.iter().map(life).collect()
    }

    fn loads(&self, order: &[usize]) -> Vec<u64> {
        let mut change = vec![0u64; order.len() + 1];
        for (value, (start, end)) in self.values.iter().zip(self.lives(order)) {
            change[start] = change[start].wrapping_add(value.bytes);
            change[end.min(order.len())] = change[end.min(order.len())].wrapping_sub(value.bytes);
        }
        change.pop();
        let mut load = 0u64;
        change
            .iter()
            .map(|change| {
                load = load.wrapping_add(*change);
                load
            })
            .collect()
    }

    /// Whether no sum of values, some made again as often as is tried, passes 64 bits; what does is left as it is, and
    /// refused when it is to be planned.
    fn is_countable(&self) -> bool {
        let sum: u128 = self.values.iter().map(|value| u128::from(value.bytes)).sum();
        sum <= u128::from(u64::MAX) / 512
    }

    /// The order with the lowest peak; `given`, an order that is possible, where none is better.
    pub fn best_order(&self, given: &[usize]) -> StepOrder {
        if !self.is_countable() {
            return StepOrder { order: given.to_vec(), peak: self.peak_of(given), proven: false };
        }
        let graph = Graph::new(self);
        let given = StepOrder { order: given.to_vec(), peak: self.peak_of(given), proven: false };
        if given.peak <= graph.least {
            return StepOrder { proven: true, ..given };
        }
        let (found, proven) = match graph.search() {
            Some(order) => (Some(order), graph.is_exact),
            None => (graph.beam(), false),
        };
        let found = found.map(|order| StepOrder { peak: self.peak_of(&order), order, proven });
        match found {
            Some(found) if found.peak < given.peak => found,
            _ => StepOrder { proven, ..given },
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flow(rows: &[(u64, Option<usize>, &[usize], bool)], steps: usize) -> Dataflow {
        let value = |&(bytes, maker, readers, stays): &(u64, Option<usize>, &[usize], bool)| FlowValue {
            bytes,
            maker,
            readers: readers.to_vec(),
            stays,
        };
        Dataflow { cheap: vec![true; steps], values: rows.iter().map(value).collect() }
    }

    fn is_possible(flow: &Dataflow, order: &[usize]) -> bool {
        let mut position = vec![usize::MAX; flow.steps()];
        order.iter().enumerate().for_each(|(at, &step)| position[step] = at);
        let after = |value: &FlowValue| {
            value
                .maker
                .is_none_or(|maker| value.readers.iter().all(|&reader| position[maker] < position[reader]))
        };
        order.len() == flow.steps() && !position.contains(&usize::MAX) && flow.values.iter().all(after)
    }

    /// The lowest peak of any order, by trying all.
    fn lowest(flow: &Dataflow) -> u64 {
        fn go(flow: &Dataflow, order: &mut Vec<usize>, best: &mut u64) {
            if order.len() == flow.steps() {
                *best = (*best).min(flow.peak_of(order));
            }
            for step in 0..flow.steps() {
                let waits = |value: &FlowValue| {
                    value.readers.contains(&step) && value.maker.is_some_and(|m| !order.contains(&m))
                };
                if !order.contains(&step) && !flow.values.iter().any(waits) {
                    order.push(step);
                    go(flow, order, best);
                    order.pop();
                }
            }
        }
        let mut best = u64::MAX;
        go(flow, &mut Vec::new(), &mut best);
        best
    }

    #[test]
    fn two_branches_run_one_after_the_other() {
        // Each branch makes 100 and reduces it to 1; the file makes both before it reduces either.
        let flow = flow(
            &[
                (10, None, &[0, 1], false),
                (100, Some(0), &[2], false),
                (100, Some(1), &[3], false),
                (1, Some(2), &[4], false),
                (1, Some(3), &[4], false),
                (1, Some(4), &[], true),
            ],
            5,
        );
        let found = flow.best_order(&[0, 1, 2, 3, 4]);
        assert_eq!(flow.peak_of(&[0, 1, 2, 3, 4]), 210);
        assert_eq!((found.peak, found.proven), (111, true));
        assert!(is_possible(&flow, &found.order));
    }

    #[test]
    fn what_is_cheap_is_made_again_rather_than_kept() {
        // A skip of 50 over a wide middle, made from an input that is wanted again anyway.
        let flow = flow(
            &[
                (50, None, &[0, 4], false),
                (50, Some(0), &[1, 4], false),
                (10, Some(1), &[2], false),
                (100, Some(2), &[3], false),
                (10, Some(3), &[4], false),
                (1, Some(4), &[], true),
            ],
            5,
        );
        let order = [0, 1, 2, 3, 4];
        let (again, order_again, repeats) = flow.recompute(&order);
        assert_eq!(repeats, [0]);
        assert!(is_possible(&again, &order_again));
        assert_eq!((flow.peak_of(&order), again.peak_of(&order_again)), (210, 160));
    }

    #[test]
    fn what_no_sum_can_hold_is_left_as_it_is() {
        let flow = flow(&[(u64::MAX, None, &[0, 1], false), (u64::MAX, Some(0), &[1], false)], 2);
        assert_eq!(flow.best_order(&[0, 1]).order, [0, 1]);
        assert!(flow.recompute(&[0, 1]).2.is_empty());
    }

    /// Dataflows of up to seven steps in which later steps read what earlier ones make.
    fn flows() -> impl Strategy<Value = Dataflow> {
        let value = (1u64..100, 0usize..8, prop::collection::vec(0usize..7, 0..3), prop::bool::weighted(0.2));
        (1usize..8, prop::collection::vec(value, 1..12)).prop_map(|(steps, rows)| {
            let values = rows.into_iter().map(|(bytes, maker, readers, stays)| {
                let maker = (maker < steps).then_some(maker);
                let mut readers: Vec<usize> = readers
                    .into_iter()
                    .filter(|&reader| reader < steps && maker.is_none_or(|maker| maker < reader))
                    .collect();
                readers.sort_unstable();
                readers.dedup();
                // Unread values from outside would live for a step that depends on the order.
                let stays = stays || maker.is_none() && readers.is_empty();
                FlowValue { bytes, maker, readers, stays }
            });
            Dataflow { cheap: vec![true; steps], values: values.collect() }
        })
    }

    proptest! {
        #[test]
        fn the_lowest_peak_is_found_and_proven(flow in flows()) {
            let given: Vec<usize> = (0..flow.steps()).collect();
            let found = flow.best_order(&given);
            prop_assert!(is_possible(&flow, &found.order));
            prop_assert_eq!(found.peak, flow.peak_of(&found.order));
            prop_assert_eq!((found.peak, found.proven), (lowest(&flow), true));
            let beam = Graph::new(&flow).beam().unwrap();
            prop_assert!(is_possible(&flow, &beam));
        }

        #[test]
        fn recomputing_never_raises_the_peak(flow in flows()) {
            let order: Vec<usize> = (0..flow.steps()).collect();
            let (again, order_again, repeats) = flow.recompute(&order);
            prop_assert!(is_possible(&again, &order_again));
            prop_assert_eq!(again.steps(), flow.steps() + repeats.len());
            prop_assert!(again.peak_of(&order_again) <= flow.peak_of(&order));
            prop_assert!(repeats.is_empty() || again.peak_of(&order_again) <= flow.peak_of(&order));
        }
    }
}
