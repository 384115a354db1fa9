//! Which activations share a buffer, and when buffers are taken and given back.
//!
//! Node by node, an output takes its input's buffer where the kernel allows it
//! ([`in_place`](super::in_place)), else that of a dead tensor of the same element size and shape, the one
//! that died last, else its own. A buffer is given back after the last node that reads anything in it; one
//! that nobody reads stays to the end of the run.

use std::collections::{HashMap, HashSet};

use super::in_place::{Sharing, sharing};
use super::placement::Event;
use crate::onnx::fact::Fact;
use crate::onnx::lifetimes::Activation;
use crate::onnx::order::reads;
use crate::onnx::proto::NodeProto;

/// What a tensor looks like, by its name. One of which nothing is known shares no buffer.
pub(super) type Facts<'a> = dyn Fn(&str) -> Option<&'a Fact> + 'a;

/// Who has which buffer, and what happens to them.
pub(super) struct Buffers {
    /// For each activation, the one whose buffer it is in.
    pub(super) holders: Vec<usize>,
    /// In the order in which they happen.
    pub(super) events: Vec<Event>,
}

/// What has to be the same for one tensor to take another's buffer: bits of an element, and the shape.
type Kind<'a> = (u64, &'a [i64]);

/// The walk along the nodes.
struct Walk<'a> {
    activations: &'a [Activation],
    facts: &'a Facts<'a>,
    places: HashMap<&'a str, usize>,
    holders: Vec<usize>,
    /// Uses of each buffer that are still to come.
    uses: Vec<usize>,
    /// Buffers that nobody needs any longer, the last one last.
    dead: HashMap<Kind<'a>, Vec<usize>>,
    /// Whether a buffer is one of the pattern's.
    owned: Vec<bool>,
}

/// Gives every activation a buffer. `order` says in which order the nodes run.
pub(super) fn assign<'a>(
    nodes: &'a [NodeProto],
    order: &[usize],
    activations: &'a [Activation],
    facts: &'a Facts<'a>,
) -> Buffers {
    let places = activations.iter().enumerate().map(|(i, activation)| (activation.id.as_str(), i));
    let mut walk = Walk {
        activations,
        facts,
        places: places.collect(),
        holders: (0..activations.len()).collect(),
        // Being made is a use, of an input the caller's; and so is being handed to the caller.
        uses: activations.iter().map(|activation| 1 + usize::from(activation.stays)).collect(),
        dead: HashMap::new(),
        owned: vec![false; activations.len()],
    };
    for node in nodes {
        walk.inputs(node).into_iter().for_each(|i| walk.uses[i] += 1);
    }
    let mut taken = Vec::with_capacity(order.len());
    let mut last_read: Vec<Option<usize>> = vec![None; activations.len()];
    for (step, node) in order.iter().filter_map(|&i| nodes.get(i)).enumerate() {
        taken.push(walk.outputs(node));
        for i in walk.inputs(node) {
            last_read[walk.holders[i]] = Some(step);
            walk.used(i);
        }
        for name in &node.output {
            if let Some(&i) = walk.places.get(name.as_str()) {
                walk.used(i);
            }
        }
    }
    let mut freed: Vec<Vec<usize>> = vec![Vec::new(); taken.len()];
    for (i, step) in last_read.into_iter().enumerate() {
        if let Some(step) = step.filter(|_| walk.owned[i]) {
            freed[step].push(i);
        }
    }
    let events = taken.into_iter().zip(freed).flat_map(|(taken, freed)| {
        taken.into_iter().map(Event::Take).chain(freed.into_iter().map(Event::Free))
    });
    Buffers { events: events.collect(), holders: walk.holders }
}

impl<'a> Walk<'a> {
    /// Activations that a node reads, as often as it does; what its bodies take from around them once.
    fn inputs(&self, node: &NodeProto) -> Vec<usize> {
        let named: HashSet<&str> = node.input.iter().map(String::as_str).collect();
        let captured = reads(node).into_iter().filter(|name| !named.contains(name));
        let all = node.input.iter().map(String::as_str).chain(captured);
        all.filter_map(|name| self.places.get(name).copied()).collect()
    }

    /// Gives the outputs of a node their buffers. Which of these are taken now.
    fn outputs(&mut self, node: &NodeProto) -> Vec<usize> {
        let mut taken = Vec::new();
        for (at, name) in node.output.iter().enumerate() {
            let Some(&i) = self.places.get(name.as_str()) else { continue };
            if self.activations[i].stays {
                continue;
            }
            match self.shared(node, at, i).or_else(|| self.dead_alike(i)) {
                Some(Some(holder)) => {
                    self.holders[i] = holder;
                    self.uses[holder] += self.uses[i];
                }
                // A weight's is never free.
                Some(None) => self.uses[i] += 1,
                None => {
                    self.owned[i] = true;
                    taken.push(i);
                }
            }
        }
        taken
    }

    /// The buffer of an input that output number `at`, activation `i`, takes; `None` within for a weight's.
    fn shared(&self, node: &NodeProto, at: usize, i: usize) -> Option<Option<usize>> {
        let input = |k: usize| node.input.get(k).filter(|name| !name.is_empty());
        match sharing(node, at)? {
            Sharing::Always(k) => input(k).map(|name| {
                let place = self.places.get(name.as_str());
                place.map(|&place| self.holders[place])
            }),
            Sharing::IfLast(k) => {
                let place = *self.places.get(input(k)?.as_str())?;
                let holder = self.holders[place];
                let alike = self.kind(place).is_some() && self.kind(place) == self.kind(i);
                (self.uses[holder] == 1 && alike).then_some(Some(holder))
            }
        }
    }

    /// The buffer of a dead tensor like activation `i`. For a single number the runtime does not look for
    /// one.
    fn dead_alike(&mut self, i: usize) -> Option<Option<usize>> {
        let kind = self.kind(i).filter(|(_, shape)| !shape.is_empty())?;
        self.dead.get_mut(&kind)?.pop().map(Some)
    }

    fn kind(&self, i: usize) -> Option<Kind<'a>> {
        let fact = (self.facts)(&self.activations[i].id)?;
        Some((fact.dtype.bits()?, fact.shape.as_slice()))
    }

    /// One use less of the buffer that an activation is in.
    fn used(&mut self, i: usize) {
        let holder = self.holders[i];
        self.uses[holder] = self.uses[holder].saturating_sub(1);
        if self.uses[holder] == 0
            && let Some(kind) = self.kind(holder)
        {
            self.dead.entry(kind).or_default().push(holder);
        }
    }
}
