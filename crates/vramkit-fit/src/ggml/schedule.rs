//! Which back end computes what, and what is copied between them (`ggml-backend.cpp`).
//!
//! Work stays where its weights are; devices spread over work beside theirs that they can do; the processor, always the last
//! back end, gets the rest. Where neighbours are on different back ends the graph is split, and what a split reads from
//! elsewhere is copied in at its beginning. The result is the order of nodes and copies that memory is then given to.

use std::collections::HashMap;

use crate::ggml::allocate::Scheduled;
use crate::ggml::backend::{Backend, DeviceKind};
use crate::ggml::graph::Graph;
use crate::ggml::tensor::{Op, Tensor, TensorId};
use crate::ggml::{cuda_keep, vulkan_order};

/// A scheduled graph.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub leaves: Vec<Scheduled>,
    pub nodes: Vec<Scheduled>,
}

struct Split {
    backend: u8,
    nodes: std::ops::Range<usize>,
    inputs: Vec<TensorId>,
}

struct Scheduler<'a> {
    graph: &'a mut Graph,
    backends: &'a [Backend],
    assigned: Vec<Option<u8>>,
    copies: HashMap<(TensorId, u8), TensorId>,
}

/// Assigns every node to a back end; copies become tensors of the graph.
pub(crate) fn schedule(graph: &mut Graph, backends: &[Backend]) -> Schedule {
    let assigned = graph.tensors.iter().map(|tensor| tensor.wanted).collect();
    let mut scheduler = Scheduler { graph, backends, assigned, copies: HashMap::new() };
    scheduler.assign_by_memory();
    scheduler.spread();
    scheduler.assign_rest();
    let splits = scheduler.split();
    scheduler.lay_out(splits)
}

impl Scheduler<'_> {
    fn processor(&self) -> u8 {
        (self.backends.len() - 1) as u8
    }

    fn computes(&self, backend: u8, node: TensorId) -> bool {
        self.backends[usize::from(backend)].supports(self.graph, node)
    }

    /// Whether a back end reads memory of another: nobody but itself, here.
    fn reads(reader: u8, owner: u8) -> bool {
        reader == owner
    }

    fn of(&self, id: TensorId) -> Option<u8> {
        self.assigned[id.index()]
    }

    fn set(&mut self, id: TensorId, backend: u8) {
        self.assigned[id.index()] = Some(backend);
    }

    /// The back end in whose memory a tensor is already, if that computes the node.
    fn by_place(&self, tensor: TensorId, node: TensorId) -> Option<u8> {
        let seen = self.graph.get(tensor).view_of.unwrap_or(tensor);
        let place = self.graph.get(seen).place?;
        (0..=self.processor())
            .find(|&backend| Self::reads(backend, place.backend) && self.computes(backend, node))
    }

    fn by_memory(&self, id: TensorId) -> Option<u8> {
        if let Some(backend) = self.by_place(id, id) {
            return Some(backend);
        }
        let node = self.graph.get(id);
        if node.input {
            return Some(self.processor());
        }
        // What tells rotations and attention their frequencies and sinks is too small to decide where they run.
        if matches!(node.op, Op::Rope | Op::FlashAttention) {
            return None;
        }
        let weight = node
            .sources()
            .iter()
            .copied()
            .find(|&source| self.graph.get(source).place.is_some_and(|place| place.weight))?;
        let owner = self.by_place(weight, id);
        let is_rearranged = self.graph.get(weight).place.is_some_and(|place| place.rearranged);
        if owner == Some(self.processor()) && !is_rearranged {
            let taker = (0..self.processor()).find(|&backend| {
                self.computes(backend, id) && self.backends[usize::from(backend)].takes_over(node)
            });
            return taker.or(owner);
        }
        owner
    }

    /// What has its memory, comes from outside or works on weights is assigned first.
    fn assign_by_memory(&mut self) {
        let all: Vec<_> = self.graph.leaves.iter().chain(&self.graph.nodes).copied().collect();
        for id in all {
            if self.of(id).is_none() {
                self.assigned[id.index()] = self.by_memory(id);
            }
        }
    }

    /// Devices spread down and up over what is beside them, then everything does.
    fn spread(&mut self) {
        for (devices_only, upwards) in [(true, false), (true, true), (false, false), (false, true)] {
            let mut current = None;
            for at in 0..self.graph.nodes.len() {
                let at = if upwards { self.graph.nodes.len() - 1 - at } else { at };
                let id = self.graph.nodes[at];
                if self.graph.get(id).op.is_view() {
                    continue;
                }
                match (self.of(id), current) {
                    (Some(backend), _) => {
                        current = (!devices_only || backend != self.processor()).then_some(backend);
                    }
                    (None, Some(backend)) if self.computes(backend, id) => self.set(id, backend),
                    (None, _) => {}
                }
            }
        }
    }

    fn readable(&self, tensor: TensorId, reader: u8) -> bool {
        let seen = self.graph.get(tensor).view_of;
        let place = self.graph.get(seen.unwrap_or(tensor)).place.map(|place| place.backend);
        let owner = place.or(self.of(tensor)).or_else(|| seen.and_then(|seen| self.of(seen)));
        owner.is_some_and(|owner| Self::reads(reader, owner))
    }

    /// Nodes that no neighbour's back end computes go where most of what they read is; views and sources follow.
    fn assign_rest(&mut self) {
        let nodes = self.graph.nodes.clone();
        for &id in &nodes {
            if self.graph.get(id).op.is_view() || self.of(id).is_some() {
                continue;
            }
            let mut best: Option<(usize, u8)> = None;
            for backend in (0..=self.processor()).filter(|&backend| self.computes(backend, id)) {
                let sources = self.graph.get(id).sources().iter().copied();
                let readable = sources.filter(|&source| {
                    let seen = self.graph.get(source).view_of;
                    let is_assigned =
                        self.of(source).is_some() || seen.is_some_and(|seen| self.of(seen).is_some());
                    is_assigned && self.readable(source, backend)
                });
                let count = readable.count();
                if best.is_none_or(|(most, _)| count > most) {
                    best = Some((count, backend));
                }
            }
            if let Some((_, backend)) = best {
                self.set(id, backend);
            }
        }
        for &id in &nodes {
            if self.of(id).is_none()
                && let Some(seen) = self.graph.get(id).view_of
            {
                self.assigned[id.index()] = self.of(seen);
            }
            let own = self.of(id);
            for at in 0..self.graph.get(id).sources().len() {
                let source = self.graph.get(id).sources()[at];
                if self.of(source).is_none() {
                    self.assigned[source.index()] = match self.graph.get(source).view_of {
                        Some(seen) => self.of(seen),
                        None => own,
                    };
                }
            }
            if self.of(id).is_none() {
                let first = (0..=self.processor()).find(|&backend| self.computes(backend, id));
                self.assigned[id.index()] = first;
            }
        }
    }

    /// Where the back end changes, or weights of another one are needed, a new part begins.
    fn split(&mut self) -> Vec<Split> {
        let processor = self.processor();
        let nodes = self.graph.nodes.clone();
        let is_work = |graph: &Graph, id: TensorId| !graph.get(id).op.is_view();
        let first = nodes.iter().copied().find(|&id| is_work(self.graph, id));
        let backend = first.and_then(|id| self.of(id)).unwrap_or(processor);
        let mut splits = vec![Split { backend, nodes: 0..nodes.len(), inputs: Vec::new() }];
        for (at, &id) in nodes.iter().enumerate() {
            if !is_work(self.graph, id) {
                continue;
            }
            let own = self.of(id).unwrap_or(processor);
            let last = splits.last_mut().expect("there is always one");
            let foreign_weight = own == last.backend
                && !last.inputs.is_empty()
                && self.graph.get(id).sources().iter().any(|&source| {
                    self.graph
                        .get(source)
                        .place
                        .is_some_and(|place| place.weight && !Self::reads(own, place.backend))
                });
            if own != last.backend || foreign_weight {
                last.nodes.end = at;
                splits.push(Split { backend: own, nodes: at..nodes.len(), inputs: Vec::new() });
            }
            for position in 0..self.graph.get(id).sources().len() {
                let source = self.graph.get(id).sources()[position];
                if self.of(source) == Some(own) || self.readable(source, own) {
                    continue;
                }
                let copy = match self.copies.get(&(source, own)) {
                    Some(&copy) => copy,
                    None => {
                        let copy = self.copy_of(source);
                        self.copies.insert((source, own), copy);
                        splits.last_mut().expect("there is always one").inputs.push(source);
                        copy
                    }
                };
                self.graph.get_mut(id).set_source(position, copy);
            }
        }
        splits
    }

    /// A tensor of the same layout.
    fn copy_of(&mut self, source: TensorId) -> TensorId {
        let from = self.graph.get(source);
        let mut copy = Tensor::new(from.kind, from.ne, Op::None);
        copy.nb = from.nb;
        let id = self.graph.push(copy);
        self.assigned.push(None);
        id
    }

    /// A look at a tensor that keeps it until then.
    fn keep(&mut self, first: TensorId, sources: &[TensorId]) -> TensorId {
        let seen = self.graph.get(first);
        let mut keeper = Tensor::new(seen.kind, seen.ne, Op::None);
        keeper.nb = seen.nb;
        keeper.view_of = Some(seen.view_of.unwrap_or(first));
        let id = self.graph.push(keeper.with_sources(sources));
        self.assigned.push(None);
        id
    }

    /// The nodes of each part in the order that its back end gives them, behind what is copied in.
    fn lay_out(mut self, splits: Vec<Split>) -> Schedule {
        let processor = self.processor();
        let mut laid = Vec::with_capacity(self.graph.nodes.len() + 2 * splits.len());
        for split in &splits {
            for &input in &split.inputs {
                let keeper = self.keep(input, &[input]);
                laid.push((keeper, self.of(input).unwrap_or(processor)));
                laid.push((self.copies[&(input, split.backend)], split.backend));
            }
            let nodes = self.graph.nodes[split.nodes.clone()].to_vec();
            let (order, kept) = match self.backends[usize::from(split.backend)].kind {
                DeviceKind::Vulkan => vulkan_order::reorder(self.graph, &nodes),
                DeviceKind::Cuda => {
                    let kept = cuda_keep::keep(self.graph, &nodes);
                    (nodes, kept)
                }
                _ => (nodes, HashMap::new()),
            };
            for id in order {
                laid.push((id, self.of(id).unwrap_or(split.backend)));
                let kept: &[TensorId] = kept.get(&id).map_or(&[], Vec::as_slice);
                for some in kept.chunks(crate::ggml::tensor::SOURCES) {
                    let keeper = self.keep(some[0], some);
                    laid.push((keeper, split.backend));
                }
            }
        }
        let leaves = self.graph.leaves.iter().map(|&leaf| (leaf, self.of(leaf).unwrap_or(processor)));
        Schedule { leaves: leaves.collect(), nodes: laid }
    }
}
