//! An order in one pass: always the step after which least is live.
//!
//! It takes O(edges · log steps) and is the answer that there is time for always; it also ends an order that a longer search
//! has begun and had no time to finish.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::search::Graph;

/// What decides between the steps that can be done: bytes that are live afterwards beyond those before, bytes made, and then
/// what became possible last, so that a branch that was begun is ended before the next.
type Rank = (i128, u64, Reverse<usize>, usize);

/// Where a greedy pass stands.
struct Pass<'g, 'a> {
    graph: &'g Graph<'a>,
    order: Vec<usize>,
    is_done: Vec<bool>,
    /// For each step how many values it reads that are still to be made.
    waits: Vec<usize>,
    /// For each value how many of its readers are still to come.
    readers: Vec<usize>,
    ready: BTreeSet<Rank>,
    /// What each ready step stands under in `ready`.
    rank: Vec<Option<Rank>>,
    /// How many steps have become ready so far.
    count: usize,
}

impl Graph<'_> {
    /// An order that begins with steps that are possible in the order given, and goes on greedily.
    pub(super) fn greedy(&self, begun: &[usize]) -> Vec<usize> {
        let mut pass = Pass::new(self);
        begun.iter().for_each(|&step| pass.go(step));
        while let Some(&(.., step)) = pass.ready.first() {
            pass.go(step);
        }
        pass.order
    }
}

impl<'g, 'a> Pass<'g, 'a> {
    fn new(graph: &'g Graph<'a>) -> Self {
        let steps = graph.flow.steps();
        let mut pass = Self {
            graph,
            order: Vec::with_capacity(steps),
            is_done: vec![false; steps],
            waits: graph.waits.iter().map(Vec::len).collect(),
            readers: graph.flow.values.iter().map(|value| value.readers.len()).collect(),
            ready: BTreeSet::new(),
            rank: vec![None; steps],
            count: 0,
        };
        (0..steps).filter(|&step| graph.waits[step].is_empty()).for_each(|step| pass.admit(step));
        pass
    }

    /// A step can be done from now on.
    fn admit(&mut self, step: usize) {
        self.count += 1;
        self.put(step, Reverse(self.count));
    }

    fn put(&mut self, step: usize, since: Reverse<usize>) {
        let values = &self.graph.flow.values;
        let bytes = |v: usize| values[v].size.bytes();
        let made: u64 = self.graph.makes[step].iter().map(|&v| bytes(v)).sum();
        let is_last = |v: usize, readers: usize| !values[v].stays && self.readers[v] == readers;
        let unread = self.graph.makes[step].iter().filter(|&&v| is_last(v, 0));
        let read = self.graph.reads[step].iter().filter(|&&v| is_last(v, 1));
        let freed: u64 = unread.chain(read).map(|&v| bytes(v)).sum();
        let rank = (i128::from(made) - i128::from(freed), made, since, step);
        self.ready.insert(rank);
        self.rank[step] = Some(rank);
    }

    fn go(&mut self, step: usize) {
        let graph = self.graph;
        if let Some(rank) = self.rank[step].take() {
            self.ready.remove(&rank);
        }
        self.order.push(step);
        self.is_done[step] = true;
        for &v in &graph.reads[step] {
            self.readers[v] -= 1;
            if self.readers[v] == 1 {
                // Its last reader now frees it.
                let last = graph.flow.values[v].readers.iter().find(|&&reader| !self.is_done[reader]);
                if let Some((last, rank)) = last.and_then(|&last| Some((last, self.rank[last]?))) {
                    self.ready.remove(&rank);
                    self.put(last, rank.2);
                }
            }
        }
        for &next in &graph.next[step] {
            self.waits[next] -= 1;
            if self.waits[next] == 0 {
                self.admit(next);
            }
        }
    }
}
