//! Is there a placement within a capacity? Dives with restarts, the rules in rotation.
//!
//! Each dive has a limit of nodes that grows with every rotation: short dives learn the weights, long ones use
//! them. A dive that ends before its limit has tried everything, and proves that there is no placement.

use super::choice::{Chooser, RULES};
use super::dive::{Outcome, Stack};
use super::failures::Failures;
use super::sections::Sections;
use super::state::State;

/// Nodes of the first dives, for each tensor.
const FIRST: f64 = 2.5;
/// What the limit grows by with each rotation.
const GROWTH: f64 = 1.3;

/// A search for placements of one problem within capacities that may change; what it learns it keeps.
pub(super) struct Restarts<'a> {
    state: State<'a>,
    choosers: Vec<Chooser>,
    failures: Failures,
    stack: Stack,
    bytes: u64,
    dives: u32,
    /// Nodes so far.
    pub(super) nodes: u64,
}

impl<'a> Restarts<'a> {
    pub(super) fn new(sections: &'a Sections, capacity: u64) -> Self {
        Self {
            state: State::new(sections, capacity),
            choosers: RULES.iter().map(|&rule| Chooser::new(rule, sections.count)).collect(),
            failures: Failures::new(),
            stack: Stack::default(),
            bytes: capacity,
            dives: 0,
            nodes: 0,
        }
    }

    /// Asks about a capacity from here on.
    pub(super) fn set_capacity(&mut self, bytes: u64) {
        let before = self.state.capacity;
        if self.bytes == bytes {
            return;
        }
        self.bytes = bytes;
        self.state.set_capacity(bytes);
        if self.state.capacity > before {
            self.failures.clear();
        }
        self.dives = 0;
    }

    /// Searches for about `nodes` nodes, or until it is time to stop. Where a placement is found: the offset of each
    /// buffer.
    pub(super) fn search(&mut self, nodes: u64, stop: &dyn Fn() -> bool) -> (Outcome, Option<Vec<u64>>) {
        let sections = self.state.sections;
        if self.state.is_overfull() {
            return (Outcome::Exhausted, None);
        }
        let end = self.nodes + nodes;
        while self.nodes < end && !stop() {
            self.failures.grow();
            let rotation = self.dives / RULES.len() as u32;
            let rule = self.dives as usize % RULES.len();
            let limit = (FIRST * sections.tensors() as f64 * GROWTH.powf(f64::from(rotation))) as u64;
            let mut left = limit;
            let chooser = &mut self.choosers[rule];
            let outcome = self.stack.dive(&mut self.state, chooser, &mut self.failures, &mut left, stop);
            self.nodes += limit - left;
            self.dives += 1;
            match outcome {
                Outcome::Found => {
                    let offsets = self.state.offsets();
                    self.state.clear();
                    return (outcome, Some(offsets));
                }
                Outcome::Exhausted => return (outcome, None),
                Outcome::Limit => {}
            }
        }
        (Outcome::Limit, None)
    }
}
