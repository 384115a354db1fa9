//! One step of all its sequences: from tokens to logits.
//!
//! In: weights, arena, and of each sequence its tokens and its blocks. Out: keys and values of the tokens in the blocks, and logits
//! of each sequence that wants its next token. A token's numbers are the same in every batch: products, norms and attention compute
//! each row by itself, in one order. Never here: memory that is not granted, or a choice of tokens.
#![allow(unsafe_code)]

use crate::attention::{AttentionError, BLOCK, Level, ops, write_token};
use crate::cache::Group;
use crate::kernels::{Activations, Packed, Product, Threads, multiply, quantise};
use crate::model::arena::{Arena, Parts};
use crate::model::batch::{AttentionMemory, Batch, Part, Segment, TASKS};
use crate::model::failure::Failure;
use crate::model::hyper::{Architecture, Hyper};
use crate::model::rotations::Rotations;
use crate::model::step::Activation;
use crate::model::tensors::{GateUp, LayerTensors, Matrix, Qkv, Tensors, Vector};

/// Numbers that one thread computes with sooner than another wakes up.
const FEW: usize = 16 << 10;
/// What a step computes with.
pub(crate) struct Step<'a> {
    pub hyper: &'a Hyper,
    pub tensors: &'a Tensors,
    pub rotations: &'a Rotations,
    pub groups: &'a [Group],
    pub threads: &'a Threads,
    pub weights: &'a [u8],
    pub arena: Arena<'a>,
    pub memory: AttentionMemory,
    pub level: Level,
}

/// Where the rows of an activation are: the first one's place, and how many numbers apart they are.
#[derive(Clone, Copy)]
pub(super) struct Strided {
    pub of: Activation,
    pub offset: usize,
    pub stride: usize,
}

impl Step<'_> {
    fn matrix(&self, matrix: &Matrix) -> Packed<'_> {
        let bytes = &self.weights[matrix.place.offset..][..matrix.place.bytes];
        Packed::new(matrix.kind, matrix.rows, matrix.columns, bytes).expect("packed as it was loaded")
    }

    fn vector(&self, vector: &Vector) -> &[f32] {
        bytemuck::cast_slice(&self.weights[vector.place.offset..][..vector.place.bytes])
    }

    /// Computes a step; returns how many rows of logits there are, in the order of the parts that want them.
    ///
    /// # Errors
    /// Only what a fault of this crate can be: shapes were checked when the model was loaded.
    pub fn run(&self, parts: &[Part<'_>]) -> Result<usize, AttentionError> {
        let batch = &Batch::of(parts, self.hyper, self.memory);
        self.embed(batch)?;
        let mut places = vec![0; self.groups.len()];
        for (at, layer) in self.tensors.layers.iter().enumerate() {
            let group = self.groups.iter().position(|group| group.window == self.hyper.windows[at]);
            let group = group.expect("each layer is in a group");
            self.layer(layer, at, (group, places[group]), batch)?;
            places[group] += 1;
        }
        self.logits(batch)
    }

    /// So many tasks over so many numbers together, on several threads when these are many.
    fn each(&self, tasks: usize, numbers: usize, task: impl Fn(usize) + Sync) {
        if numbers <= FEW {
            return (0..tasks).for_each(task);
        }
        let each = tasks.div_ceil(TASKS * self.threads.count()).max(1);
        self.threads.run(tasks.div_ceil(each), &|at| (at * each..tasks.min((at + 1) * each)).for_each(&task));
    }

    /// Rows of `width` numbers each.
    fn each_row(&self, rows: usize, width: usize, task: impl Fn(usize) + Sync) {
        self.each(rows, rows * width, task);
    }

    /// Numbers of the angles of a token.
    fn angles(&self) -> usize {
        Rotations::angles_len(self.hyper)
    }

    /// Residuals and angles of the step's tokens.
    fn embed(&self, batch: &Batch<'_>) -> Result<(), AttentionError> {
        let width = self.hyper.hidden;
        // SAFETY: both begin in this stage.
        let (x, angles) = unsafe {
            (
                self.arena.floats(Activation::Residual, batch.tokens * width),
                self.arena.floats(Activation::Angles, batch.tokens * self.angles()),
            )
        };
        let (x, angles) = (Parts::new(x), Parts::new(angles));
        let table = self.matrix(&self.tensors.embedding);
        let failure = Failure::default();
        let segment = |at: usize| {
            let Segment { part, row, position, count } = batch.segments[at];
            let Part { tokens, from, .. } = &batch.parts[part];
            for next in 0..count {
                // SAFETY: each row is one task's.
                let (x, angles) = unsafe {
                    let angles = angles.part((row + next) * self.angles(), self.angles());
                    (x.part((row + next) * width, width), angles)
                };
                table.row(tokens[position + next - from] as usize, x);
                if self.hyper.embedding_scale != 1.0 {
                    ops::scale(self.level, x, self.hyper.embedding_scale);
                }
                failure.check(self.rotations.angles(position + next, angles));
            }
        };
        self.each(batch.segments.len(), batch.tokens * width, segment);
        failure.into_result()
    }

    /// The residual's rows, normed into `to` and quantised into `quantised`.
    fn normed(
        &self,
        rows: usize,
        norm: &Vector,
        to: Activation,
        quantised: Activation,
    ) -> Result<Activations<'_>, AttentionError> {
        let width = norm.len;
        let weight = self.vector(norm);
        // SAFETY: the residual is only read in this stage; the others begin in it, and nobody else has them.
        let (x, to, into) = unsafe {
            let x = self.arena.floats(Activation::Residual, rows * width);
            (x, self.arena.floats(to, rows * width), self.arena.bytes(quantised))
        };
        let failure = Failure::default();
        let out = Parts::new(to);
        self.each_row(rows, width, |row| {
            // SAFETY: each row is one task's.
            let out = unsafe { out.part(row * width, width) };
            let x = &x[row * width..][..width];
            failure.check(ops::rms_norm(self.level, x, weight, self.hyper.epsilon, out));
        });
        failure.into_result()?;
        Ok(quantise(to, rows, width, into, self.threads))
    }

    fn quantised(&self, x: Activation, rows: usize, width: usize, into: Activation) -> Activations<'_> {
        // SAFETY: `x` was written in an earlier stage and is only read from here on; `into` begins here.
        let (x, into) = unsafe { (self.arena.floats(x, rows * width), self.arena.bytes(into)) };
        quantise(x, rows, width, into, self.threads)
    }

    fn product(&self, x: &Activations<'_>, products: &[(&Matrix, Activation)]) {
        let mut products: Vec<Product<'_>> = products
            .iter()
            .map(|(matrix, out)| Product {
                weights: self.matrix(matrix),
                // SAFETY: each begins in this stage, and they are different ones.
                out: unsafe { self.arena.floats(*out, x.tokens() * matrix.rows) },
                stride: matrix.rows,
            })
            .collect();
        multiply(self.threads, x, &mut products);
    }

    /// Queries, keys and values: where they are after their product.
    pub(super) fn places(&self, layer: &LayerTensors) -> [Strided; 3] {
        let hyper = self.hyper;
        let (query, key) = (hyper.heads * hyper.key, hyper.kv_heads * hyper.key);
        match &layer.qkv {
            Qkv::Fused(matrix) => [0, query, query + key].map(|offset| Strided {
                of: Activation::Query,
                offset,
                stride: matrix.rows,
            }),
            Qkv::Apart(matrices) => {
                let of = [Activation::Query, Activation::Key, Activation::Value];
                [0, 1, 2].map(|at| Strided { of: of[at], offset: 0, stride: matrices[at].rows })
            }
        }
    }

    fn layer(
        &self,
        layer: &LayerTensors,
        at: usize,
        (group, place): (usize, usize),
        batch: &Batch<'_>,
    ) -> Result<(), AttentionError> {
        let (hyper, tokens) = (self.hyper, batch.tokens);
        let x =
            self.normed(tokens, &layer.attention_norm, Activation::Normed, Activation::NormedQuantised)?;
        match &layer.qkv {
            Qkv::Fused(matrix) => self.product(&x, &[(matrix, Activation::Query)]),
            Qkv::Apart([query, key, value]) => self.product(
                &x,
                &[(query, Activation::Query), (key, Activation::Key), (value, Activation::Value)],
            ),
        }
        self.keep(layer, at, (group, place), batch)?;
        self.attend(layer, (group, place), batch)?;
        let attended = hyper.heads * hyper.value;
        let x = self.quantised(Activation::Attended, tokens, attended, Activation::AttendedQuantised);
        self.product(&x, &[(&layer.output, Activation::Projected)]);
        self.add(Activation::Projected, tokens, layer.after_attention.as_ref())?;
        let x = self.normed(
            tokens,
            &layer.feed_forward_norm,
            Activation::MiddleNormed,
            Activation::MiddleQuantised,
        )?;
        match &layer.gate_up {
            GateUp::Fused(matrix) => self.product(&x, &[(matrix, Activation::Gate)]),
            GateUp::Apart([gate, up]) => self.product(&x, &[(gate, Activation::Gate), (up, Activation::Up)]),
        }
        let x = self.gated(layer, tokens)?;
        self.product(&x, &[(&layer.down, Activation::Down)]);
        self.add(Activation::Down, tokens, layer.after_feed_forward.as_ref())
    }

    /// Biases, norms of heads, rotation; then keys and values into their blocks.
    fn keep(
        &self,
        layer: &LayerTensors,
        at: usize,
        (group, place): (usize, usize),
        batch: &Batch<'_>,
    ) -> Result<(), AttentionError> {
        let hyper = self.hyper;
        let places = self.places(layer);
        let widths = [hyper.heads * hyper.key, hyper.kv_heads * hyper.key, hyper.kv_heads * hyper.value];
        let slices = [Activation::Query, Activation::Key, Activation::Value].map(|of| {
            let strides = places.iter().filter(|place| place.of == of).map(|place| place.stride);
            let len = strides.max().unwrap_or(0) * batch.tokens;
            // SAFETY: these three alone are taken in this stage, and each once.
            Parts::new(unsafe { self.arena.floats(of, len) })
        });
        let layout = &self.groups[group].layout;
        let range = layout.layer_range(place).unwrap_or_default();
        // SAFETY: angles were written in the first stage, and are only read from then on.
        let angles = &*unsafe { self.arena.floats(Activation::Angles, batch.tokens * self.angles()) };
        let failure = Failure::default();
        let segments = &batch.segments;
        let segment = |at_segment: usize| {
            let Segment { part, row, position, count } = segments[at_segment];
            let block = batch.parts[part].blocks.groups[group].get(position / BLOCK).and_then(Option::as_ref);
            let Some(block) = block else {
                return failure.note(AttentionError::Block { index: position / BLOCK });
            };
            // SAFETY: tokens that are to be computed are in blocks of their own sequence alone; all those of a block are one
            // segment, so one task's; and none of the layer is read before this stage is over.
            let bytes = unsafe { block.bytes_mut(range.start, range.len()) };
            for next in 0..count {
                let row = row + next;
                // SAFETY: each row is one task's, and the three lie side by side.
                let found = [0, 1, 2].map(|which| unsafe {
                    let strided: Strided = places[which];
                    let slice = &slices[strided.of as usize - Activation::Query as usize];
                    slice.part(row * strided.stride + strided.offset, widths[which])
                });
                let angles = &angles[row * self.angles()..][..self.angles()];
                let slot = (position + next) % BLOCK;
                failure.check(
                    self.token(layer, at, angles, found)
                        .and_then(|[key, value]| write_token(self.level, layout, bytes, slot, key, value)),
                );
            }
        };
        self.each(segments.len(), batch.tokens * (widths[0] + widths[1]), segment);
        failure.into_result()
    }

    /// One token's queries, keys and values, made ready; returns keys and values.
    fn token<'b>(
        &self,
        layer: &LayerTensors,
        at: usize,
        angles: &[f32],
        [query, key, value]: [&'b mut [f32]; 3],
    ) -> Result<[&'b mut [f32]; 2], AttentionError> {
        if let Some([of_query, of_key, of_value]) = &layer.qkv_bias {
            ops::add(self.level, query, self.vector(of_query))?;
            ops::add(self.level, key, self.vector(of_key))?;
            ops::add(self.level, value, self.vector(of_value))?;
        }
        for (heads, norm) in [(&mut *query, &layer.query_norm), (&mut *key, &layer.key_norm)] {
            if let Some(norm) = norm {
                ops::rms_norm_heads(self.level, heads, self.vector(norm), self.hyper.epsilon)?;
            }
            self.rotations.turn(self.level, at, angles, heads, self.hyper.key)?;
        }
        Ok([key, value])
    }

    /// Adds what a block has made to the residual, normed first where the family does so.
    fn add(&self, from: Activation, tokens: usize, norm: Option<&Vector>) -> Result<(), AttentionError> {
        let width = self.hyper.hidden;
        // SAFETY: no other slice of either is there in this stage.
        let (x, made) = unsafe {
            (self.arena.floats(Activation::Residual, tokens * width), self.arena.floats(from, tokens * width))
        };
        let (x, made) = (Parts::new(x), Parts::new(made));
        let failure = Failure::default();
        self.each_row(tokens, width, |row| {
            // SAFETY: each row is one task's.
            let (x, made) = unsafe { (x.part(row * width, width), made.part(row * width, width)) };
            if let Some(norm) = norm {
                failure.check(ops::rms_norm_heads(self.level, made, self.vector(norm), self.hyper.epsilon));
            }
            failure.check(ops::add(self.level, x, made));
        });
        failure.into_result()
    }

    /// Gate and up become one, in gate's place; quantised.
    fn gated(&self, layer: &LayerTensors, tokens: usize) -> Result<Activations<'_>, AttentionError> {
        let width = self.hyper.feed_forward;
        let act = match self.hyper.architecture {
            Architecture::Gemma3 => ops::gelu_mul,
            _ => ops::silu_mul,
        };
        let failure = Failure::default();
        match &layer.gate_up {
            GateUp::Apart(_) => {
                // SAFETY: no other slice of either is there in this stage.
                let (gate, up) = unsafe {
                    (
                        self.arena.floats(Activation::Gate, tokens * width),
                        self.arena.floats(Activation::Up, tokens * width),
                    )
                };
                let gate = Parts::new(gate);
                self.each_row(tokens, width, |row| {
                    // SAFETY: each row is one task's.
                    let gate = unsafe { gate.part(row * width, width) };
                    failure.check(act(self.level, gate, &up[row * width..][..width]));
                });
            }
            GateUp::Fused(_) => {
                // SAFETY: no other slice of it is there in this stage.
                let both = unsafe { self.arena.floats(Activation::Gate, 2 * tokens * width) };
                // Rows of results lie closer than rows of both, so they are made one after another.
                for row in 0..tokens {
                    let (gate, up) = both[2 * row * width..][..2 * width].split_at_mut(width);
                    failure.check(act(self.level, gate, up));
                    both.copy_within(2 * row * width..(2 * row + 1) * width, row * width);
                }
            }
        }
        failure.into_result()?;
        Ok(self.quantised(Activation::Gate, tokens, width, Activation::GatedQuantised))
    }

    /// The logits of the parts that want them, each one's last token.
    fn logits(&self, batch: &Batch<'_>) -> Result<usize, AttentionError> {
        let (width, vocabulary) = (self.hyper.hidden, self.hyper.vocabulary);
        let mut row = 0;
        let mut wanted = Vec::new();
        for part in batch.parts {
            row += part.tokens.len();
            if part.is_last {
                wanted.push(row - 1);
            }
        }
        if wanted.is_empty() {
            return Ok(0);
        }
        // SAFETY: the residual is only read from here on; what is normed begins in this stage.
        let (x, last, into) = unsafe {
            (
                self.arena.floats(Activation::Residual, batch.tokens * width),
                self.arena.floats(Activation::LastNormed, wanted.len() * width),
                self.arena.bytes(Activation::LastQuantised),
            )
        };
        let weight = self.vector(&self.tensors.norm);
        for (row, out) in wanted.iter().zip(last.chunks_exact_mut(width)) {
            ops::rms_norm(self.level, &x[row * width..][..width], weight, self.hyper.epsilon, out)?;
        }
        let x = quantise(last, wanted.len(), width, into, self.threads);
        self.product(&x, &[(&self.tensors.head, Activation::Logits)]);
        if let Some(cap) = self.hyper.logit_cap {
            // SAFETY: the product is over.
            let logits = unsafe { self.arena.floats(Activation::Logits, wanted.len() * vocabulary) };
            ops::soft_cap(self.level, logits, cap)?;
        }
        Ok(wanted.len())
    }
}
