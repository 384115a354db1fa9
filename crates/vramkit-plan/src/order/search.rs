//! The order with the lowest peak.
//!
//! It is searched for over sets of steps already done, lowest peak first: what is live after a set does not depend
//! on the order in it, so each set is looked at once (Ahn et al., "Ordering chaos: memory-aware scheduling of
//! irregularly wired neural networks for edge devices", 2020). A step that can be done now within the peak that is
//! paid already, and leaves no more live than before, is done at once: postponing it helps nothing, since the later
//! it is done the more it frees at best, and until then more is live. Graphs with too many sets get a beam of the
//! best sets instead, and no proof.
//!
//! A greedy order comes first and always. The search over sets has half of the time, the beam the rest; a beam that is cut
//! off goes on greedily from its best set. Whatever stands between two looks at the clock takes about as long as
//! reading the graph once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::budget::OrderBudget;
use super::dataflow::{Dataflow, FlowValue};
use vramkit_units::ByteSize;

/// Sets of steps that are looked at before a beam takes over.
const SETS: usize = 100_000;

/// Words of all sets, and steps between them, together, so that large graphs do not take large memory.
const WORDS: usize = 8 << 20;

/// Sets that a beam keeps of each size.
const BEAM: usize = 48;

/// Sets of one size among which the beam's are chosen: once there are more, only the best stay.
const CANDIDATES: usize = 1024;

/// A dataflow as the search needs it.
pub(super) struct Graph<'a> {
    pub(super) flow: &'a Dataflow,
    /// Values that each step reads and makes.
    pub(super) reads: Vec<Vec<usize>>,
    pub(super) makes: Vec<Vec<usize>>,
    /// Steps that each step waits for.
    pub(super) waits: Vec<Vec<usize>>,
    /// Steps that wait for each step.
    pub(super) next: Vec<Vec<usize>>,
    /// No order has a lower peak: some step needs as much for itself.
    pub(super) least: u64,
    /// Whether what is live follows from the set of steps done alone: not where something that is never read is there
    /// from the start, for the first step of any order.
    pub(super) is_exact: bool,
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

/// An order of a dataflow's steps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepOrder {
    /// The steps.
    pub order: Vec<usize>,
    /// Most bytes live during a step.
    pub peak: ByteSize,
    /// Whether no order has a lower peak.
    pub proven: bool,
}

impl Dataflow {
    /// The order with the lowest peak that is found within a budget; `given`, an order that is possible, where none is
    /// better. The answer is the same every time unless the budget ends the search.
    pub fn best_order(&self, given: &[usize], budget: &OrderBudget<'_>) -> StepOrder {
        let order = |order: Vec<usize>| StepOrder { peak: self.peak_of(&order), order, proven: false };
        let mut best = order(given.to_vec());
        if !self.is_countable() {
            return best;
        }
        let graph = Graph::new(self);
        let mut offer = |found: StepOrder| {
            if found.peak < best.peak {
                best = found;
            }
            best.peak.bytes() <= graph.least
        };
        let proven = offer(order(graph.greedy(&[])))
            || match graph.search(&budget.share(2)) {
                Some(found) => {
                    offer(order(found));
                    graph.is_exact
                }
                None => offer(order(graph.beam(budget))),
            };
        StepOrder { proven, ..best }
    }
}

impl<'a> Graph<'a> {
    pub(super) fn new(flow: &'a Dataflow) -> Self {
        let n = flow.steps();
        let mut graph = Self {
            flow,
            reads: vec![Vec::new(); n],
            makes: vec![Vec::new(); n],
            waits: vec![Vec::new(); n],
            next: vec![Vec::new(); n],
            least: 0,
            is_exact: !flow.values.iter().any(is_idle),
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
            graph.reads[step].iter().chain(&graph.makes[step]).map(|&v| flow.values[v].size.bytes()).sum()
        };
        graph.least = (0..n).map(own).max().unwrap_or(0);
        graph
    }

    fn words(&self) -> usize {
        self.flow.steps().div_ceil(64)
    }

    fn start(&self) -> State {
        let given = self.flow.values.iter().filter(|value| value.maker.is_none() && !is_idle(value));
        let live = given.map(|value| value.size.bytes()).sum();
        State { peak: self.least, left: self.flow.steps(), live, done: vec![0; self.words()].into() }
    }

    fn is_done(done: &Set, step: usize) -> bool {
        done[step / 64] >> (step % 64) & 1 == 1
    }

    fn ready(&self, done: &Set) -> Vec<usize> {
        let waiting = (0..self.flow.steps()).filter(|&step| !Self::is_done(done, step));
        waiting.filter(|&step| self.is_ready(done, step)).collect()
    }

    /// Whether all that a step waits for is done.
    fn is_ready(&self, done: &Set, step: usize) -> bool {
        self.waits[step].iter().all(|&other| Self::is_done(done, other))
    }

    /// What is live during a step that is done next, and after it.
    fn cost(&self, state: &State, step: usize) -> (u64, u64) {
        let made: u64 = self.makes[step].iter().map(|&v| self.flow.values[v].size.bytes()).sum();
        let during = state.live + made;
        let is_last = |value: &FlowValue| {
            !value.stays
                && value.readers.iter().all(|&reader| reader == step || Self::is_done(&state.done, reader))
        };
        let ending = self.reads[step].iter().chain(&self.makes[step]).map(|&v| &self.flow.values[v]);
        let freed: u64 = ending.filter(|value| is_last(value)).map(|value| value.size.bytes()).sum();
        (during, during - freed)
    }

    fn with(&self, state: &State, step: usize) -> State {
        let (during, live) = self.cost(state, step);
        let mut done = state.done.clone();
        done[step / 64] |= 1 << (step % 64);
        State { peak: state.peak.max(during), left: state.left - 1, live, done }
    }

    /// Does what can be done for nothing, and says what was done; `None` when there is no time for it.
    fn settle(&self, mut state: State, budget: &OrderBudget<'_>) -> Option<(State, Vec<usize>)> {
        let mut done = Vec::new();
        let mut ready = self.ready(&state.done);
        while let Some(at) = ready.iter().position(|&step| {
            let (during, after) = self.cost(&state, step);
            during <= state.peak && after <= state.live
        }) {
            let step = ready.remove(at);
            state = self.with(&state, step);
            done.push(step);
            let freed = self.next[step].iter().copied();
            let mut freed: Vec<usize> =
                freed.filter(|next| !ready.contains(next) && self.is_ready(&state.done, *next)).collect();
            freed.sort_unstable();
            freed.dedup();
            ready.extend(freed);
            if budget.is_over() {
                return None;
            }
        }
        Some((state, done))
    }

    /// Lowest peak first; `None` when there are more sets than allowed, or than there is time for.
    pub(super) fn search(&self, budget: &OrderBudget<'_>) -> Option<Vec<usize>> {
        let mut ways = Ways::default();
        let root = self.start();
        let (first, done) = self.settle(root.clone(), budget)?;
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
            for step in self.ready(&state.done) {
                if ways.ways.len() > SETS || ways.words > WORDS || budget.is_over() {
                    return None;
                }
                let (next, mut done) = self.settle(self.with(&state, step), budget)?;
                if ways.peak(&next.done).is_none_or(|peak| next.peak < peak) {
                    done.insert(0, step);
                    ways.add(&state.done, &next, done);
                    open.push(Reverse(next));
                }
            }
        }
        None
    }

    /// The best sets of each size, one step at a time; greedily from the best of them when time is up.
    pub(super) fn beam(&self, budget: &OrderBudget<'_>) -> Vec<usize> {
        let Some(first) = self.settle(self.start(), budget) else { return self.greedy(&[]) };
        let mut beam = vec![first];
        while beam.iter().any(|(state, _)| state.left > 0) {
            let Some(next) = self.widen(&beam, budget) else { break };
            let longer = |Candidate { state, from, steps }: Candidate| {
                let order = beam.get(from).map_or(&[][..], |(_, order)| order);
                (state, [order, &steps].concat())
            };
            beam = next.into_iter().map(longer).collect();
        }
        beam.first().map_or_else(|| self.greedy(&[]), |(_, order)| self.greedy(order))
    }

    /// The best sets that come a step after those of a beam; `None` when there is no time for them.
    fn widen(&self, beam: &[(State, Vec<usize>)], budget: &OrderBudget<'_>) -> Option<Vec<Candidate>> {
        let mut next: HashMap<Set, Candidate> = HashMap::new();
        for (from, (state, _)) in beam.iter().enumerate() {
            if state.left == 0 {
                let steps = Vec::new();
                next.insert(state.done.clone(), Candidate { state: state.clone(), from, steps });
            }
            for step in self.ready(&state.done) {
                if budget.is_over() {
                    return None;
                }
                let (after, mut steps) = self.settle(self.with(state, step), budget)?;
                if next.get(&after.done).is_none_or(|known| after < known.state) {
                    steps.insert(0, step);
                    next.insert(after.done.clone(), Candidate { state: after, from, steps });
                }
                if next.len() > CANDIDATES {
                    let best = best_of(next);
                    next = best.into_iter().map(|best| (best.state.done.clone(), best)).collect();
                }
            }
        }
        Some(best_of(next))
    }
}

/// A set that may go into a beam: the place in the beam of the set that it comes from, and the steps between.
struct Candidate {
    state: State,
    from: usize,
    steps: Vec<usize>,
}

/// As many sets as a beam keeps, the best first.
fn best_of(sets: HashMap<Set, Candidate>) -> Vec<Candidate> {
    let mut best: Vec<Candidate> = sets.into_values().collect();
    best.sort_by(|Candidate { state: a, .. }, Candidate { state: b, .. }| {
        (a.peak, a.live, a.left, &a.done).cmp(&(b.peak, b.live, b.left, &b.done))
    });
    best.truncate(BEAM);
    best
}

/// Whether a value is there from the start and never used.
fn is_idle(value: &FlowValue) -> bool {
    value.maker.is_none() && value.readers.is_empty() && !value.stays
}

/// The best known way to each set: its peak, the set before, and the steps between.
#[derive(Default)]
struct Ways {
    ways: HashMap<Set, (u64, Set, Vec<usize>)>,
    /// Words and steps of all that were added.
    words: usize,
}

impl Ways {
    fn peak(&self, set: &Set) -> Option<u64> {
        self.ways.get(set).map(|(peak, ..)| *peak)
    }

    fn add(&mut self, from: &Set, to: &State, steps: Vec<usize>) {
        self.words += to.done.len() + steps.len();
        self.ways.insert(to.done.clone(), (to.peak, from.clone(), steps));
    }

    /// All steps up to a set, in order.
    fn back_from(&self, mut set: Set, root: &Set) -> Vec<usize> {
        let mut order = Vec::new();
        while let Some((_, before, steps)) = self.ways.get(&set) {
            order.extend(steps.iter().rev());
            // The root's own entry, where nothing could be done for nothing, leads to itself.
            if *before == set || *before == *root {
                break;
            }
            set = before.clone();
        }
        order.reverse();
        order
    }
}
