//! Is there a placement within a capacity? Dives with restarts, the rules in rotation.
//!
//! Each dive has a limit of nodes that grows with every rotation: short dives learn the weights, long ones use
//! them. A dive that ends before its limit has tried everything, and proves that there is no placement.

use super::choice::{Chooser, RULES};
use super::dive::{Outcome, Stack};
use super::failures::Failures;
use super::sections::Sections;
use super::state::State;
use super::units::Units;
use vramkit_units::SplitMix64;

/// Nodes of the first dives, for each tensor.
const FIRST: f64 = 2.5;
/// What the limit grows by with each rotation.
const GROWTH: f64 = 1.2;

/// Whether there is a placement within a capacity.
pub(crate) enum Answer {
    /// There is: the offset of each buffer.
    Found(Vec<u64>),
    /// There is none.
    Refuted,
    /// Nobody knows yet.
    Open,
}

/// A search for placements of one problem within capacities that may change; what it learns it keeps.
pub(super) struct Restarts<'a, U> {
    state: State<'a, U>,
    choosers: Vec<Chooser>,
    failures: Failures,
    stack: Stack<U>,
    bytes: u64,
    dives: u32,
    /// Nodes so far.
    nodes: u64,
}

impl<'a, U: Units> Restarts<'a, U> {
    /// Searches with different seeds learn differently; with seed 0 ties fall to the earliest section, which keeps
    /// what is decided together, and is fastest on most problems.
    pub(super) fn new(sections: &'a Sections<U>, capacity: u64, seed: u64) -> Self {
        let mut choosers: Vec<Chooser> =
            RULES.iter().map(|&rule| Chooser::new(rule, sections.count)).collect();
        if seed > 0 {
            let mut random = SplitMix64::new(seed);
            choosers.iter_mut().for_each(|chooser| chooser.shake(&mut random));
        }
        Self {
            state: State::new(sections, capacity),
            choosers,
            failures: Failures::new(sections.tensors()),
            stack: Stack::default(),
            bytes: capacity,
            dives: 0,
            nodes: 0,
        }
    }

    /// Asks about a capacity from here on.
    pub(super) fn set_capacity(&mut self, bytes: u64) {
        if self.bytes == bytes {
            return;
        }
        if self.bytes < bytes {
            self.failures.clear();
        }
        self.bytes = bytes;
        self.state.set_capacity(bytes);
        self.dives = 0;
    }

    /// Searches for about `nodes` nodes, or until it is time to stop.
    pub(super) fn search(&mut self, nodes: u64, stop: &dyn Fn() -> bool) -> Answer {
        let first = FIRST * self.state.sections.tensors() as f64;
        if self.state.is_overfull() {
            return Answer::Refuted;
        }
        let end = self.nodes + nodes;
        while self.nodes < end && !stop() {
            self.failures.grow();
            let rotation = self.dives / RULES.len() as u32;
            let limit = (first * GROWTH.powi(rotation as i32)) as u64;
            let mut left = limit;
            let chooser = &mut self.choosers[self.dives as usize % RULES.len()];
            let outcome = self.stack.dive(&mut self.state, chooser, &mut self.failures, &mut left, stop);
            self.nodes += limit - left;
            self.dives += 1;
            match outcome {
                Outcome::Found => {
                    let offsets = self.state.offsets();
                    self.state.clear();
                    return Answer::Found(offsets);
                }
                Outcome::Exhausted => return Answer::Refuted,
                Outcome::Limit => {}
            }
        }
        Answer::Open
    }
}
