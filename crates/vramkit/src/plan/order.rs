//! Another order of a graph's steps, and doing some of them twice, to lower the most that is live.
//!
//! ```text
//! dataflow ──► best_order ──► recompute ──► lifetimes
//! ```
//!
//! Any order in which a step comes after those it reads from will do. The one with the lowest peak is searched for
//! over sets of steps already done, lowest peak first: what is live after a set does not depend on the order in it,
//! so each set is looked at once (Ahn et al., "Ordering chaos: memory-aware scheduling of irregularly wired neural
//! networks for edge devices", 2020). A step that can be done now within the peak that is paid already, and
//! leaves no more live than before, is done at once: postponing it helps nothing, since the later it is done the
//! more it frees at best, and until then more is live. Graphs with too many sets get a beam of the best sets
//! instead, and no proof.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Sets of steps that are looked at before a beam takes over.
const SETS: usize = 100_000;

/// Words of all sets together, so that large graphs do not take large memory.
const WORDS: usize = 8 << 20;

/// Sets that a beam keeps of each size.
const BEAM: usize = 48;

/// What steps make and read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataflow {
    /// For each step whether it costs little to do again.
    pub cheap: Vec<bool>,
    /// Everything that takes memory.
    pub values: Vec<Value>,
}

/// A tensor of a dataflow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
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
        let life = |value: &Value| {
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

    /// The order with the lowest peak; `given`, an order that is possible, where none is better.
    pub fn best_order(&self, given: &[usize]) -> StepOrder {
        let graph = Graph::new(self);
        let given = StepOrder { order: given.to_vec(), peak: self.peak_of(given), proven: false };
        if given.peak <= graph.least {
            return StepOrder { proven: true, ..given };
        }
        let sets = SETS.min(WORDS / graph.words().max(1));
        let (found, proven) = match graph.search(sets) {
            Some(order) => (Some(order), true),
            None => (graph.beam(), false),
        };
        let found = found.map(|order| StepOrder { peak: self.peak_of(&order), order, proven });
        match found {
            Some(found) if found.peak < given.peak => found,
            _ => StepOrder { proven, ..given },
        }
    }

    /// Does cheap steps again just before their results are wanted, where that lowers the peak of an order: what
    /// they made needs not live until then. Returns the dataflow with the steps added, an order of it, and for
    /// each added step the one that it repeats.
    pub fn recompute(&self, order: &[usize]) -> (Self, Vec<usize>, Vec<usize>) {
        let (mut flow, mut order, mut repeats) = (self.clone(), order.to_vec(), Vec::new());
        loop {
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
            let lives = flow.lives(&order);
            let across = (0..flow.values.len()).filter(|&v| lives[v].0 < at && at + 1 < lives[v].1);
            let options = across.filter_map(|v| flow.repeat(v, at, &order));
            let better = options
                .map(|(maker, flow, order)| (height(&flow.loads(&order)), maker, flow, order))
                .filter(|(height_of, ..)| *height_of < height(&loads))
                .min_by_key(|(height, ..)| *height);
            let Some((_, maker, next, next_order)) = better else {
                break;
            };
            repeats.push(maker);
            (flow, order) = (next, next_order);
        }
        (flow, order, repeats)
    }

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
        flow.values.push(Value { bytes: own.bytes, maker: Some(again), readers: late, stays: false });
        let mut order = order.to_vec();
        order.insert(before, again);
        Some((maker, flow, order))
    }
}

/// A dataflow as the search needs it.
struct Graph<'a> {
    flow: &'a Dataflow,
    /// Values that each step reads and makes.
    reads: Vec<Vec<usize>>,
    makes: Vec<Vec<usize>>,
    /// Steps that each step waits for.
    waits: Vec<Vec<usize>>,
    /// Steps that wait for each step.
    next: Vec<Vec<usize>>,
    /// No order has a lower peak: some step needs as much for itself.
    least: u64,
}

/// Steps that are done.
type Set = Box<[u64]>;

/// A set with what its best order costs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    peak: u64,
    /// Sets that are nearly complete first among those of one peak.
    left: usize,
    live: u64,
    done: Set,
}

impl<'a> Graph<'a> {
    fn new(flow: &'a Dataflow) -> Self {
        let n = flow.steps();
        let mut graph = Self {
            flow,
            reads: vec![Vec::new(); n],
            makes: vec![Vec::new(); n],
            waits: vec![Vec::new(); n],
            next: vec![Vec::new(); n],
            least: 0,
        };
        for (v, value) in flow.values.iter().enumerate() {
            for &reader in &value.readers {
                graph.reads[reader].push(v);
                if let Some(maker) = value.maker {
                    graph.waits[reader].push(maker);
                    graph.next[maker].push(reader);
                }
            }
            value.maker.into_iter().for_each(|maker| graph.makes[maker].push(v));
        }
        let own = |step: usize| -> u64 {
            graph.reads[step].iter().chain(&graph.makes[step]).map(|&v| flow.values[v].bytes).sum()
        };
        graph.least = (0..n).map(own).max().unwrap_or(0);
        graph
    }

    fn words(&self) -> usize {
        self.flow.steps().div_ceil(64)
    }

    fn start(&self) -> State {
        let given = self.flow.values.iter().filter(|value| value.maker.is_none());
        let live = given.map(|value| value.bytes).sum();
        State { peak: self.least, left: self.flow.steps(), live, done: vec![0; self.words()].into() }
    }

    fn is_done(done: &Set, step: usize) -> bool {
        done[step / 64] >> (step % 64) & 1 == 1
    }

    fn ready(&self, done: &Set) -> Vec<usize> {
        let waiting = (0..self.flow.steps()).filter(|&step| !Self::is_done(done, step));
        waiting.filter(|&step| self.waits[step].iter().all(|&other| Self::is_done(done, other))).collect()
    }

    /// What is live during a step that is done next, and after it.
    fn cost(&self, state: &State, step: usize) -> (u64, u64) {
        let made: u64 = self.makes[step].iter().map(|&v| self.flow.values[v].bytes).sum();
        let during = state.live + made;
        let is_last = |value: &Value| {
            !value.stays
                && value.readers.iter().all(|&reader| reader == step || Self::is_done(&state.done, reader))
        };
        let ending = self.reads[step].iter().chain(&self.makes[step]).map(|&v| &self.flow.values[v]);
        let freed: u64 = ending.filter(|value| is_last(value)).map(|value| value.bytes).sum();
        (during, during - freed)
    }

    fn with(&self, state: &State, step: usize) -> State {
        let (during, live) = self.cost(state, step);
        let mut done = state.done.clone();
        done[step / 64] |= 1 << (step % 64);
        State { peak: state.peak.max(during), left: state.left - 1, live, done }
    }

    /// Does what can be done for nothing, and says what was done.
    fn settle(&self, mut state: State) -> (State, Vec<usize>) {
        let mut done = Vec::new();
        let mut ready = self.ready(&state.done);
        while let Some(at) = ready.iter().position(|&step| {
            let (during, after) = self.cost(&state, step);
            during <= state.peak && after <= state.live
        }) {
            let step = ready.remove(at);
            state = self.with(&state, step);
            done.push(step);
            let freed = self.next[step].iter().copied().filter(|&next| {
                !ready.contains(&next)
                    && self.waits[next].iter().all(|&other| Self::is_done(&state.done, other))
            });
            let mut freed: Vec<usize> = freed.collect();
            freed.sort_unstable();
            freed.dedup();
            ready.extend(freed);
        }
        (state, done)
    }

    /// Lowest peak first; `None` when there are more sets than allowed.
    fn search(&self, sets: usize) -> Option<Vec<usize>> {
        let mut ways = Ways::default();
        let root = self.start();
        let (first, done) = self.settle(root.clone());
        ways.add(&root.done, &first, done);
        let mut open = BinaryHeap::from([Reverse(first)]);
        while let Some(Reverse(state)) = open.pop() {
            if state.left == 0 {
                return Some(ways.back_from(state.done, &root.done));
            }
            if ways.peak(&state.done).is_some_and(|peak| peak < state.peak) {
                // A better way to it has been taken meanwhile.
                continue;
            }
            if ways.0.len() > sets {
                return None;
            }
            for step in self.ready(&state.done) {
                let (next, mut done) = self.settle(self.with(&state, step));
                if ways.peak(&next.done).is_none_or(|peak| next.peak < peak) {
                    done.insert(0, step);
                    ways.add(&state.done, &next, done);
                    open.push(Reverse(next));
                }
            }
        }
        None
    }

    /// The best sets of each size, one step at a time.
    fn beam(&self) -> Option<Vec<usize>> {
        let mut beam: Vec<(State, Vec<usize>)> = vec![self.settle(self.start())];
        while beam.iter().any(|(state, _)| state.left > 0) {
            let mut next: HashMap<Set, (State, Vec<usize>)> = HashMap::new();
            for (state, order) in &beam {
                if state.left == 0 {
                    next.insert(state.done.clone(), (state.clone(), order.clone()));
                }
                for step in self.ready(&state.done) {
                    let (after, settled) = self.settle(self.with(state, step));
                    if next.get(&after.done).is_none_or(|(known, _)| after < *known) {
                        let order = order.iter().copied().chain([step]).chain(settled).collect();
                        next.insert(after.done.clone(), (after, order));
                    }
                }
            }
            beam = next.into_values().collect();
            beam.sort_by(|a, b| {
                (a.0.peak, a.0.live, a.0.left, &a.0.done).cmp(&(b.0.peak, b.0.live, b.0.left, &b.0.done))
            });
            beam.truncate(BEAM);
        }
        beam.into_iter().next().map(|(_, order)| order)
    }
}

/// The best known way to each set: its peak, the set before, and the steps between.
#[derive(Default)]
struct Ways(HashMap<Set, (u64, Set, Vec<usize>)>);

impl Ways {
    fn peak(&self, set: &Set) -> Option<u64> {
        self.0.get(set).map(|(peak, ..)| *peak)
    }

    fn add(&mut self, from: &Set, to: &State, steps: Vec<usize>) {
        self.0.insert(to.done.clone(), (to.peak, from.clone(), steps));
    }

    /// All steps up to a set, in order.
    fn back_from(&self, mut set: Set, root: &Set) -> Vec<usize> {
        let mut order = Vec::new();
        while set != *root || order.is_empty() {
            let Some((_, before, steps)) = self.0.get(&set) else {
                break;
            };
            order.extend(steps.iter().rev());
            if *before == set {
                break;
            }
            set = before.clone();
        }
        order.reverse();
        order
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flow(rows: &[(u64, Option<usize>, &[usize], bool)], steps: usize) -> Dataflow {
        let value = |&(bytes, maker, readers, stays): &(u64, Option<usize>, &[usize], bool)| Value {
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
        let after = |value: &Value| {
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
                let waits = |value: &Value| {
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
                Value { bytes, maker, readers, stays }
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
