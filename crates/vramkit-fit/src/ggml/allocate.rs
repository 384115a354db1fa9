//! Who lives when, who is written over whom, and how large the buffers get (`ggml-alloc.c`).
//!
//! Inputs are there from the beginning, all others from the step that makes them to the last one that reads them, views of them
//! counted. A result may take the place of a source that nobody else reads and nobody looks at.
//!
//! What comes out are lifetimes, of the planner's own kind, and the size that ggml's policy reaches with them; so a plan of the
//! same lifetimes says how much a planned arena would save.

use vramkit_plan::TensorLifetime;
use vramkit_units::{ByteSize, Step};

use crate::ggml::backend::Backend;
use crate::ggml::free_list::{Address, FreeList};
use crate::ggml::graph::Graph;
use crate::ggml::tensor::{Op, Tensor, TensorId};

/// A step of a scheduled graph: the tensor, and the back end that it is on.
pub(crate) type Scheduled = (TensorId, u8);

/// What a graph takes of each back end.
#[derive(Clone, Debug)]
pub(crate) struct Allocation {
    /// Bytes of each back end's buffer.
    pub buffers: Vec<u64>,
    /// Of each back end, who lives when: a step is a node of the scheduled graph.
    lived: Vec<Vec<Lived>>,
}

/// Memory that was held for some steps.
#[derive(Clone, Copy, Debug)]
struct Lived {
    start: usize,
    end: usize,
    size: u64,
}

impl Allocation {
    /// Who lives when in a back end's buffer, as the planner takes it.
    pub fn lifetimes(&self, backend: usize) -> Vec<TensorLifetime> {
        let each = self.lived[backend].iter().enumerate().map(|(at, lived)| {
            let (start, end) = (Step(lived.start as u64), Step(lived.end as u64));
            TensorLifetime::new("graph", &at.to_string(), start, end, ByteSize::new(lived.size))
        });
        each.collect()
    }
}

/// What is granted to one tensor, or to several that take each other's place.
#[derive(Clone, Copy)]
struct Grant {
    backend: u8,
    address: Address,
    size: u64,
    since: usize,
}

struct Allocator<'a> {
    graph: &'a Graph,
    backends: &'a [Backend],
    lists: Vec<FreeList>,
    lived: Vec<Vec<Lived>>,
    children: Vec<u32>,
    views: Vec<u32>,
    grants: Vec<Option<Grant>>,
    step: usize,
}

/// Allocates the nodes in their order, leaves first.
pub(crate) fn allocate(
    graph: &Graph,
    leaves: &[Scheduled],
    nodes: &[Scheduled],
    backends: &[Backend],
) -> Allocation {
    let count = graph.tensors.len();
    let mut allocator = Allocator {
        graph,
        backends,
        lists: backends
            .iter()
            .map(|backend| FreeList::new(backend.alignment, backend.largest_chunk))
            .collect(),
        lived: vec![Vec::new(); backends.len()],
        children: vec![0; count],
        views: vec![0; count],
        grants: vec![None; count],
        step: 0,
    };
    for &(leaf, backend) in leaves {
        allocator.grant(leaf, backend);
    }
    for &(node, backend) in nodes {
        let tensor = graph.get(node);
        if let (Some(seen), false) = (tensor.view_of, tensor.op == Op::None) {
            allocator.views[seen.index()] += 1;
        }
        if tensor.input {
            allocator.grant(node, backend);
        }
        for &source in tensor.sources() {
            allocator.children[source.index()] += 1;
            if graph.get(source).input {
                allocator.grant(source, backend);
            }
        }
    }
    for (step, &(node, backend)) in nodes.iter().enumerate() {
        allocator.step = step;
        for &source in graph.get(node).sources() {
            allocator.grant(source, backend);
        }
        allocator.grant(node, backend);
        for &source in graph.get(node).sources() {
            allocator.read(source);
        }
    }
    allocator.finish(nodes.len())
}

impl Allocator<'_> {
    /// Gives a tensor memory, unless it has some.
    fn grant(&mut self, id: TensorId, backend: u8) {
        let tensor = self.graph.get(id);
        if tensor.place.is_some() || tensor.view_of.is_some() || self.grants[id.index()].is_some() {
            return;
        }
        if tensor.op.in_place()
            && let Some(source) = self.replaceable(tensor)
        {
            self.grants[id.index()] = self.grants[source.index()].take();
            return;
        }
        let size = self.backends[usize::from(backend)].size_of(self.graph, tensor);
        let address = self.lists[usize::from(backend)].take(size);
        self.grants[id.index()] = Some(Grant { backend, address, size, since: self.step });
    }

    /// The first source whose place the tensor may take.
    fn replaceable(&self, tensor: &Tensor) -> Option<TensorId> {
        tensor.sources().iter().copied().find(|&id| {
            let source = self.graph.get(id);
            self.grants[id.index()].is_some()
                && !source.output
                && tensor.same_layout(source)
                && self.children[id.index()] == 1
                && self.views[id.index()] == 0
        })
    }

    /// One reader less; without any, and without views, the memory goes back.
    fn read(&mut self, id: TensorId) {
        self.children[id.index()] -= 1;
        if self.children[id.index()] > 0 || self.views[id.index()] > 0 {
            return;
        }
        let held = match self.graph.get(id).view_of {
            Some(seen) => {
                // A view that was taken outside of the graph is not counted.
                self.views[seen.index()] = self.views[seen.index()].saturating_sub(1);
                if self.views[seen.index()] > 0 || self.children[seen.index()] > 0 {
                    return;
                }
                seen
            }
            None => id,
        };
        if !self.graph.get(held).output
            && let Some(grant) = self.grants[held.index()].take()
        {
            self.lists[usize::from(grant.backend)].give_back(grant.address, grant.size);
            self.ended(grant, self.step + 1);
        }
    }

    fn ended(&mut self, grant: Grant, end: usize) {
        let lived = Lived { start: grant.since, end, size: grant.size };
        self.lived[usize::from(grant.backend)].push(lived);
    }

    fn finish(mut self, steps: usize) -> Allocation {
        for at in 0..self.grants.len() {
            if let Some(grant) = self.grants[at].take() {
                self.ended(grant, steps);
            }
        }
        Allocation { buffers: self.lists.iter().map(FreeList::size).collect(), lived: self.lived }
    }
}
