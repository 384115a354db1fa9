//! What the graphs of all architectures are made of: inputs, weights, norms, feed-forward blocks (`llama-graph.cpp`).
//!
//! The architectures (`arch/`) call these in their order; attention is in `attention.rs`, experts are in `experts.rs`. A tensor
//! that is missing is the graph's fault, named, and stands in for itself as a single number until the graph is given up.

use std::collections::HashMap;

use vramkit_models::gguf::TensorType;

use crate::ggml::{Backend, Glu, Graph, Place, TensorId};
use crate::llama_cpp::cache::Caches;
use crate::llama_cpp::context::Context;
use crate::llama_cpp::hyper::{Hyper, Keys};
use crate::llama_cpp::weights::{Buffer, Weights};

/// A build of llama.cpp whose graphs are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// v0.5.0.
    V0_5_0,
    /// b11549 (0.6.0-dev): a step may hold tokens and vectors of pictures together, which its graphs have room for.
    B11549,
}

/// What a graph is built of.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub build: Build,
    pub keys: Keys<'a>,
    pub hyper: &'a Hyper,
    pub context: &'a Context,
    pub weights: &'a Weights<'a>,
    pub caches: &'a Caches,
    pub backends: &'a [Backend],
}

/// A graph of one step in the making.
pub(crate) struct Builder<'a> {
    pub graph: Graph,
    pub parts: Parts<'a>,
    /// Tokens of the step.
    pub tokens: u64,
    /// Rows of logits.
    pub outputs: u64,
    weights: HashMap<String, TensorId>,
    caches: HashMap<(usize, &'static str), TensorId>,
}

impl<'a> Builder<'a> {
    pub fn new(parts: Parts<'a>, tokens: u64, outputs: u64) -> Self {
        Self {
            graph: Graph::default(),
            parts,
            tokens,
            outputs,
            weights: HashMap::new(),
            caches: HashMap::new(),
        }
    }

    pub fn layers(&self) -> usize {
        self.parts.hyper.layers.len()
    }

    /// What is contradictory in the graph, by the tensor of the file that it is at.
    pub fn fault(&self) -> Option<String> {
        let fault = self.graph.fault()?;
        let weight = self.graph.weight_at(fault);
        let name = self.weights.iter().find(|&(_, &id)| Some(id) == weight);
        Some(match name {
            Some((name, _)) => format!("tensor `{name}`: {}", fault.what),
            None => fault.what.clone(),
        })
    }

    /// A weight, where the file has it.
    fn weight_named(&mut self, name: String, buffer: Buffer) -> Option<TensorId> {
        if let Some(&id) = self.weights.get(&name) {
            return Some(id);
        }
        let file_name = name.strip_prefix("output:").unwrap_or(&name);
        let stored = self.parts.weights.get(file_name)?;
        let id = self.graph.placed(stored.kind, stored.dims, self.parts.weights.place(buffer));
        self.weights.insert(name, id);
        Some(id)
    }

    /// A weight of a layer, such as `attn_norm.weight`.
    pub fn weight(&mut self, layer: usize, name: &str) -> Option<TensorId> {
        let full = format!("blk.{layer}.{name}");
        let buffer = self.parts.weights.buffer_of(&full, Some(layer));
        self.weight_named(full, buffer)
    }

    /// A weight of a layer that must be there.
    pub fn needed(&mut self, layer: usize, name: &str) -> TensorId {
        self.weight(layer, name).unwrap_or_else(|| self.missing(&format!("blk.{layer}.{name}")))
    }

    /// A weight of no layer.
    pub fn global(&mut self, name: &str) -> Option<TensorId> {
        let buffer = self.parts.weights.buffer_of(name, None);
        self.weight_named(name.to_owned(), buffer)
    }

    pub fn needed_global(&mut self, name: &str) -> TensorId {
        self.global(name).unwrap_or_else(|| self.missing(name))
    }

    fn missing(&mut self, name: &str) -> TensorId {
        self.graph.check(false, || format!("no tensor `{name}` in it"));
        self.graph.input(TensorType::F32, [1; 4])
    }

    /// What tells rotations their frequencies, on the layer's back end.
    pub fn rope_factors(&mut self, layer: usize) -> Option<TensorId> {
        let context = self.parts.context;
        let long = context.tokens_each > self.parts.hyper.original_context;
        let scaled = if long { "rope_factors_long.weight" } else { "rope_factors_short.weight" };
        let name =
            ["rope_freqs.weight", scaled].into_iter().find(|name| self.parts.weights.get(name).is_some())?;
        let stored = self.parts.weights.get(name)?;
        let backend = self.parts.weights.layer_backend(layer);
        let key = format!("{name}@{backend}");
        if let Some(&id) = self.weights.get(&key) {
            return Some(id);
        }
        let place = Place { backend, weight: true, rearranged: false };
        let id = self.graph.placed(stored.kind, stored.dims, place);
        self.weights.insert(key, id);
        Some(id)
    }

    /// The output matrix: the embeddings where the file has none of its own.
    pub fn output_matrix(&mut self) -> TensorId {
        if let Some(own) = self.global("output.weight") {
            return own;
        }
        match self.parts.weights.second_embeddings() {
            None => self.needed_global("token_embd.weight"),
            Some(buffer) => self
                .weight_named("output:token_embd.weight".to_owned(), buffer)
                .unwrap_or_else(|| self.missing("token_embd.weight")),
        }
    }

    /// Memory that lasts from step to step.
    pub fn cache(&mut self, layer: usize, name: &'static str, kind: TensorType, ne: [u64; 4]) -> TensorId {
        let backend = self.parts.weights.layer_backend(layer);
        *self
            .caches
            .entry((layer, name))
            .or_insert_with(|| self.graph.placed(kind, ne, Place::values(backend)))
    }

    /// Tokens become vectors. Vectors may come from outside instead, so there is room for them.
    pub fn embeddings(&mut self) -> TensorId {
        let (hidden, count) = (self.parts.hyper.hidden, self.tokens);
        let tokens = self.graph.input(TensorType::I32, [count, 1, 1, 1]);
        let vectors = self.graph.input(TensorType::F32, [hidden, count, 1, 1]);
        let matrix = self.needed_global("token_embd.weight");
        let rows = self.graph.get_rows(matrix, tokens);
        let width = self.graph.get(rows).ne[0];
        self.graph.check(width == hidden, || format!("embeddings of {width} numbers in a model of {hidden}"));
        self.graph.expand(rows);
        let both = (self.parts.build == Build::B11549).then(|| {
            let tokens = self.graph.input(TensorType::I32, [count, 1, 1, 1]);
            let rows = self.graph.get_rows(matrix, tokens);
            self.graph.expand(rows);
            rows
        });
        self.graph.expand(vectors);
        if let Some(both) = both {
            let places = self.graph.input(TensorType::I64, [count, 1, 1, 1]);
            let vectors = self.graph.input(TensorType::F32, [hidden, count, 1, 1]);
            let copied = self.graph.cont(vectors);
            let joined = self.graph.set_rows(copied, both, places);
            self.graph.expand(joined);
        }
        rows
    }

    /// The same, scaled: those of tokens alone where a step may hold others, too.
    pub fn scaled_embeddings(&mut self) -> TensorId {
        let rows = self.embeddings();
        match self.parts.build {
            Build::V0_5_0 => self.graph.scale(rows),
            Build::B11549 => {
                let scales = self.graph.input(TensorType::F32, [1, self.tokens, 1, 1]);
                let scaled = self.graph.mul(rows, scales);
                self.graph.expand(scaled);
                scaled
            }
        }
    }

    /// Positions of the tokens; some architectures have several each.
    pub fn positions(&mut self, each: u64) -> TensorId {
        self.graph.input(TensorType::I32, [self.tokens.saturating_mul(each), 1, 1, 1])
    }

    /// Which tokens' logits are wanted.
    pub fn wanted_rows(&mut self) -> TensorId {
        self.graph.input(TensorType::I32, [self.outputs, 1, 1, 1])
    }

    fn scaled(&mut self, result: TensorId, layer: usize, name: &str) -> TensorId {
        match self.weight(layer, &format!("{name}.scale")) {
            Some(scale) => self.graph.mul(result, scale),
            None => result,
        }
    }

    /// A layer's matrix times this, with the scale that some quantisations store beside it.
    pub fn mul(&mut self, layer: usize, name: &str, by: TensorId) -> TensorId {
        let matrix = self.needed(layer, &format!("{name}.weight"));
        let product = self.graph.mul_mat(matrix, by);
        self.scaled(product, layer, name)
    }

    /// The same with a bias, where there is one.
    pub fn mul_bias(&mut self, layer: usize, name: &str, by: TensorId) -> TensorId {
        let product = self.mul(layer, name, by);
        match self.weight(layer, &format!("{name}.bias")) {
            Some(bias) => self.graph.add(product, bias),
            None => product,
        }
    }

    /// The same with the matrices of the experts chosen.
    pub fn mul_experts(&mut self, layer: usize, name: &str, by: TensorId, chosen: TensorId) -> TensorId {
        let matrices = self.needed(layer, &format!("{name}.weight"));
        let product = self.graph.mul_mat_id(matrices, by, chosen);
        let Some(scale) = self.weight(layer, &format!("{name}.scale")) else { return product };
        let experts = self.graph.get(scale).ne[0];
        let tokens = self.graph.get(by).ne[2];
        let column = self.graph.reshape(scale, [1, experts, 1, 1]);
        let repeated = self.graph.repeat(column, [1, experts, tokens, 1]);
        let rows = self.graph.get_rows(repeated, chosen);
        self.graph.mul(product, rows)
    }

    /// Root-mean-square norm with weights, and a bias where there is one. A layer's norm is asked to stay on the layer's device
    /// where everything is.
    pub fn norm_with(
        &mut self,
        a: TensorId,
        weight: Option<TensorId>,
        bias: Option<TensorId>,
        layer: Option<usize>,
    ) -> TensorId {
        let mut norm = self.graph.rms_norm(a);
        if (weight.is_some() || bias.is_some())
            && (self.parts.weights.all_on_device() || self.tokens < 32)
            && let Some(layer) = layer
        {
            let backend = self.parts.weights.layer_backend(layer);
            if self.parts.backends[usize::from(backend)].supports(&self.graph, norm) {
                self.graph.get_mut(norm).wanted = Some(backend);
            }
        }
        if let Some(weight) = weight {
            let (of, by) = (self.graph.get(norm).ne[0], self.graph.get(weight).ne[0]);
            self.graph.check_of(&[weight], of == by, || format!("a norm of {by} numbers over {of}"));
            norm = self.graph.mul(norm, weight);
        }
        if let Some(bias) = bias {
            norm = self.graph.add(norm, bias);
        }
        norm
    }

    /// A layer's norm by name.
    pub fn norm(&mut self, layer: usize, name: &str, a: TensorId) -> TensorId {
        let weight = self.needed(layer, &format!("{name}.weight"));
        let bias = self.weight(layer, &format!("{name}.bias"));
        self.norm_with(a, Some(weight), bias, Some(layer))
    }

    /// A layer's norm that is not asked to stay on the layer's device.
    pub fn norm_anywhere(&mut self, layer: usize, name: &str, a: TensorId) -> TensorId {
        let weight = self.needed(layer, &format!("{name}.weight"));
        self.norm_with(a, Some(weight), None, None)
    }

    /// A feed-forward block with a gate beside it: `down(activation(gate(x), up(x)))`.
    pub fn gated_feed_forward(&mut self, layer: usize, names: [&str; 3], glu: Glu, a: TensorId) -> TensorId {
        let [up, gate, down] = names;
        let up = self.mul_bias(layer, up, a);
        let gate = self.mul_bias(layer, gate, a);
        let gated = self.graph.glu_split(glu, gate, up);
        self.mul_bias(layer, down, gated)
    }

    /// A feed-forward block whose rows have gate and value side by side.
    pub fn fused_feed_forward(&mut self, layer: usize, a: TensorId) -> TensorId {
        let both = self.mul_bias(layer, "ffn_up", a);
        let gated = self.graph.glu(Glu::Swi, both);
        self.mul_bias(layer, "ffn_down", gated)
    }

    /// The usual block: SiLU over a gate beside it.
    pub fn swiglu(&mut self, layer: usize, a: TensorId) -> TensorId {
        self.gated_feed_forward(layer, ["ffn_up", "ffn_gate", "ffn_down"], Glu::Swi, a)
    }

    /// Rows of wanted tokens of both, in the last layer alone.
    pub fn keep_wanted(
        &mut self,
        layer: usize,
        wanted: TensorId,
        a: TensorId,
        b: TensorId,
    ) -> (TensorId, TensorId) {
        if layer + 1 < self.layers() {
            return (a, b);
        }
        let a = self.graph.get_rows(a, wanted);
        (a, self.graph.get_rows(b, wanted))
    }

    /// The same where drafting can read what all tokens become: an older build keeps them to the end whether anybody drafts or
    /// not ([`keep_wanted_late`](Self::keep_wanted_late)).
    pub fn keep_wanted_early(
        &mut self,
        layer: usize,
        wanted: TensorId,
        a: TensorId,
        b: TensorId,
    ) -> (TensorId, TensorId) {
        match self.parts.build {
            Build::V0_5_0 => (a, b),
            Build::B11549 => self.keep_wanted(layer, wanted, a, b),
        }
    }

    /// Rows of wanted tokens, where they were not chosen early.
    pub fn keep_wanted_late(&mut self, wanted: TensorId, a: TensorId) -> TensorId {
        match self.parts.build {
            Build::V0_5_0 => self.graph.get_rows(a, wanted),
            Build::B11549 => a,
        }
    }

    /// The last norm and the logits. What architectures do to the logits is in between.
    pub fn finish(&mut self, a: TensorId, logits: impl FnOnce(&mut Self, TensorId) -> TensorId) {
        let weight = self.needed_global("output_norm.weight");
        let bias = self.global("output_norm.bias");
        let normed = self.norm_with(a, Some(weight), bias, None);
        self.graph.get_mut(normed).output = true;
        let matrix = self.output_matrix();
        let product = self.graph.mul_mat(matrix, normed);
        let result = logits(self, product);
        self.graph.get_mut(result).output = true;
        self.graph.expand(result);
    }

    /// Logits with a bias, where there is one.
    pub fn output_bias(&mut self, logits: TensorId) -> TensorId {
        match self.global("output.bias") {
            Some(bias) => self.graph.add(logits, bias),
            None => logits,
        }
    }
}
