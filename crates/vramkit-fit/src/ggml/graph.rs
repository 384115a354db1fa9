//! A graph: tensors, and the order in which they are computed.
//!
//! Tensors are made one after another (`operators.rs`); [`Graph::expand`] puts one, and what it needs, behind what is computed
//! already. A contradiction between shapes is kept as the graph's fault rather than a panic: shapes come from files.

use vramkit_models::gguf::TensorType;

use crate::ggml::tensor::{Op, Place, Tensor, TensorId};

/// A contradiction.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub what: String,
    /// Between these.
    operands: Vec<TensorId>,
}

/// A graph in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub tensors: Vec<Tensor>,
    /// What is computed, in order; views stand where they are taken.
    pub nodes: Vec<TensorId>,
    /// Inputs and weights, in the order in which they are met.
    pub leaves: Vec<TensorId>,
    /// Whether a tensor is in one of the two lists.
    visited: Vec<bool>,
    /// How often a tensor is a source.
    pub uses: Vec<u32>,
    fault: Option<Fault>,
}

impl Graph {
    pub fn get(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.index()]
    }

    pub fn get_mut(&mut self, id: TensorId) -> &mut Tensor {
        &mut self.tensors[id.index()]
    }

    pub fn push(&mut self, tensor: Tensor) -> TensorId {
        let id = TensorId(u32::try_from(self.tensors.len()).unwrap_or(u32::MAX));
        self.tensors.push(tensor);
        self.visited.push(false);
        self.uses.push(0);
        id
    }

    /// A value that comes from outside.
    pub fn input(&mut self, kind: TensorType, ne: [u64; 4]) -> TensorId {
        let mut tensor = Tensor::new(kind, ne, Op::None);
        tensor.input = true;
        self.push(tensor)
    }

    /// A weight, or a cache's memory: something that has its place already.
    pub fn placed(&mut self, kind: TensorType, ne: [u64; 4], place: Place) -> TensorId {
        let mut tensor = Tensor::new(kind, ne, Op::None);
        tensor.place = Some(place);
        self.push(tensor)
    }

    /// Keeps the first contradiction.
    pub fn check(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        self.check_of(&[], holds, fault);
    }

    /// Keeps the first contradiction, which is between these.
    pub fn check_of(&mut self, operands: &[TensorId], holds: bool, fault: impl FnOnce() -> String) {
        if !holds && self.fault.is_none() {
            self.fault = Some(Fault { what: fault(), operands: operands.to_vec() });
        }
    }

    /// What is contradictory in it.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// The nearest weight that a fault's operands are, or are made of.
    pub fn weight_at(&self, fault: &Fault) -> Option<TensorId> {
        let mut next = fault.operands.clone();
        // A few steps back are in the same layer; further ones say nothing.
        for _ in 0..4 {
            let is_weight = |&&id: &&TensorId| self.get(id).place.is_some_and(|place| place.weight);
            if let Some(&found) = next.iter().find(is_weight) {
                return Some(found);
            }
            next = next.iter().flat_map(|&id| self.get(id).sources().iter().copied()).collect();
        }
        None
    }

    /// Puts a tensor, and all that it needs, behind what is computed already. Sources come in their order, depth first.
    pub fn expand(&mut self, tensor: TensorId) {
        // A stack of its own: graphs are thousands of tensors deep.
        let mut stack = Vec::new();
        if self.enter(tensor) {
            stack.push((tensor, 0));
        }
        while let Some((id, next)) = stack.last_mut() {
            let id = *id;
            match self.tensors[id.index()].sources().get(*next).copied() {
                Some(source) => {
                    *next += 1;
                    self.uses[source.index()] += 1;
                    if self.enter(source) {
                        stack.push((source, 0));
                    }
                }
                None => {
                    let list = if self.get(id).op == Op::None { &mut self.leaves } else { &mut self.nodes };
                    list.push(id);
                    stack.pop();
                }
            }
        }
    }

    fn enter(&mut self, tensor: TensorId) -> bool {
        !std::mem::replace(&mut self.visited[tensor.index()], true)
    }
}
