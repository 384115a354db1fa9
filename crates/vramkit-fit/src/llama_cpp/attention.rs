//! Attention over a cache, fused or not (`llama-graph.cpp`, `llama-kv-cache.cpp`).

use vramkit_models::gguf::TensorType;

use crate::ggml::TensorId;
use crate::llama_cpp::builder::Builder;

/// What attention reads beside the sequence: where to store, what to mask, how to rotate.
#[derive(Clone, Copy)]
pub(crate) struct Inputs {
    pub keys_at: TensorId,
    pub values_at: TensorId,
    pub mask: TensorId,
    pub rotate_keys: Option<TensorId>,
    pub rotate_values: Option<TensorId>,
}

/// Inputs of full layers, and of those with a window.
#[derive(Clone, Copy)]
pub(crate) struct WindowInputs {
    pub full: Inputs,
    pub windowed: Inputs,
}

/// Queries, keys and values of a step.
#[derive(Clone, Copy)]
pub(crate) struct Heads {
    pub q: TensorId,
    pub k: TensorId,
    pub v: TensorId,
}

/// What goes into one attention beside the heads.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extras {
    /// Logits are squashed (gemma 2).
    pub soft_cap: bool,
    /// A logit of nothing for each head (gpt-oss).
    pub sinks: Option<TensorId>,
    /// What unfolds values from a latent vector.
    pub unfold: Option<TensorId>,
}

impl Builder<'_> {
    fn inputs(&mut self, cells: u64, values: u64, rotate_keys: u64, rotate_values: u64) -> Inputs {
        let context = self.parts.context;
        let streams = context.streams();
        let mask_type = if context.flash { TensorType::F16 } else { TensorType::F32 };
        let tokens = self.tokens;
        let each_value = if self.parts.caches.transposed { values.max(1) } else { 1 };
        let square = |builder: &mut Self, side: u64| {
            (side > 0).then(|| builder.graph.input(TensorType::F32, [side, side, 1, 1]))
        };
        Inputs {
            keys_at: self.graph.input(TensorType::I64, [tokens, 1, 1, 1]),
            values_at: self.graph.input(TensorType::I64, [tokens.saturating_mul(each_value), 1, 1, 1]),
            mask: self.graph.input(mask_type, [cells, tokens / streams, 1, streams]),
            rotate_keys: square(self, rotate_keys),
            rotate_values: square(self, rotate_values),
        }
    }

    fn widest_values(&self) -> u64 {
        self.parts.hyper.layers.iter().map(|layer| layer.values()).max().unwrap_or(0)
    }

    /// Inputs where all layers keep everything.
    pub fn attention_inputs(&mut self) -> Inputs {
        let (caches, cells) = (self.parts.caches, self.parts.context.tokens_each);
        self.inputs(cells, self.widest_values(), caches.rotate_keys, caches.rotate_values)
    }

    /// Inputs where some layers keep a window.
    pub fn window_inputs(&mut self) -> WindowInputs {
        let caches = self.parts.caches;
        let window = self.parts.context.window_cells(self.parts.hyper.window);
        let values = self.widest_values();
        WindowInputs {
            full: self.attention_inputs(),
            windowed: self.inputs(window, values, caches.rotate_windowed_keys, caches.rotate_windowed_values),
        }
    }

    /// Queries, keys and values of a layer, from one matrix or three, as heads.
    pub fn heads(&mut self, layer: usize, a: TensorId) -> Heads {
        let shape = self.parts.hyper.layers[layer];
        let tokens = self.tokens;
        let (q_width, k_width) = (shape.heads * shape.key, shape.kv_heads * shape.key);
        if self.weight(layer, "attn_qkv.weight").is_some() {
            let fused = self.mul_bias(layer, "attn_qkv", a);
            let (first, row) = (self.graph.get(fused).nb[0], self.graph.get(fused).nb[1]);
            let expected = q_width + k_width + shape.kv_heads * shape.value;
            let width = self.graph.get(fused).ne[0];
            self.graph.check(width == expected, || {
                format!("layer {layer}: queries, keys and values of {width} numbers, and heads of {expected}")
            });
            let plane = row.saturating_mul(tokens);
            let view = |builder: &mut Self, head: u64, heads: u64| {
                builder.graph.view(fused, [head, heads, tokens, 1], [first, first * head, row, plane])
            };
            return Heads {
                q: view(self, shape.key, shape.heads),
                k: view(self, shape.key, shape.kv_heads),
                v: view(self, shape.value, shape.kv_heads),
            };
        }
        let q = self.mul_bias(layer, "attn_q", a);
        let k = self.mul_bias(layer, "attn_k", a);
        let v = self.mul_bias(layer, "attn_v", a);
        Heads {
            q: self.graph.reshape(q, [shape.key, shape.heads, tokens, 1]),
            k: self.graph.reshape(k, [shape.key, shape.kv_heads, tokens, 1]),
            v: self.graph.reshape(v, [shape.value, shape.kv_heads, tokens, 1]),
        }
    }

    /// A rotation that spreads outliers before numbers are quantised (a Hadamard matrix).
    fn spread(&mut self, a: TensorId, square: TensorId) -> TensorId {
        let (ne, side) = (self.graph.get(a).ne, self.graph.get(square).ne[0]);
        let rows = self.graph.get(a).elements() / side.max(1);
        let flat = if self.graph.get(a).contiguous() {
            self.graph.reshape(a, [side, rows, 1, 1])
        } else {
            self.graph.cont_as(a, [side, rows, 1, 1])
        };
        let product = self.graph.mul_mat(square, flat);
        self.graph.reshape(product, ne)
    }

    /// Attention of a layer where all layers keep everything, with the output matrix.
    pub fn attention(&mut self, layer: usize, inputs: &Inputs, heads: Heads, extras: Extras) -> TensorId {
        let attended = self.attended(layer, inputs, heads, extras);
        self.mul_bias(layer, "attn_output", attended)
    }

    /// Heads whose outliers are spread where the cache is quantised.
    fn rotated(&mut self, inputs: &Inputs, mut heads: Heads) -> Heads {
        if let Some(square) = inputs.rotate_keys {
            heads.q = self.spread(heads.q, square);
            heads.k = self.spread(heads.k, square);
        }
        if let Some(square) = inputs.rotate_values {
            heads.v = self.spread(heads.v, square);
        }
        heads
    }

    /// The same without the output matrix.
    pub fn attended(&mut self, layer: usize, inputs: &Inputs, heads: Heads, extras: Extras) -> TensorId {
        let heads = self.rotated(inputs, heads);
        for each in [heads.q, heads.v, heads.k] {
            self.graph.expand(each);
        }
        self.stored_and_attended(layer, inputs, heads, extras)
    }

    /// The same where some layers keep a window.
    pub fn window_attention(
        &mut self,
        layer: usize,
        inputs: &WindowInputs,
        heads: Heads,
        extras: Extras,
    ) -> TensorId {
        let windowed = self.parts.hyper.layers[layer].windowed;
        let inputs = if windowed { &inputs.windowed } else { &inputs.full };
        let heads = self.rotated(inputs, heads);
        for each in [heads.q, heads.k, heads.v] {
            self.graph.expand(each);
        }
        let attended = self.stored_and_attended(layer, inputs, heads, extras);
        self.mul_bias(layer, "attn_output", attended)
    }

    /// Attention over one vector a token, of which the values are a part.
    pub fn latent_attention(
        &mut self,
        layer: usize,
        inputs: &Inputs,
        heads: Heads,
        extras: Extras,
    ) -> TensorId {
        for each in [heads.q, heads.v, heads.k] {
            self.graph.expand(each);
        }
        let stored = self.store_keys(layer, heads.k, inputs.keys_at);
        self.graph.expand(stored);
        let k = self.cached_keys(layer);
        let (ne, nb, width) = (self.graph.get(k).ne, self.graph.get(k).nb, self.graph.get(heads.v).ne[0]);
        let v = self.graph.view(k, [width, ne[1], ne[2], ne[3]], nb);
        let attended = self.attend(heads.q, k, v, inputs.mask, extras);
        self.mul_bias(layer, "attn_output", attended)
    }

    fn stored_and_attended(
        &mut self,
        layer: usize,
        inputs: &Inputs,
        heads: Heads,
        extras: Extras,
    ) -> TensorId {
        let keys = self.store_keys(layer, heads.k, inputs.keys_at);
        self.graph.expand(keys);
        let values = self.store_values(layer, heads.v, inputs.values_at);
        self.graph.expand(values);
        let (k, v) = (self.cached_keys(layer), self.cached_values(layer));
        let mut attended = self.attend(heads.q, k, v, inputs.mask, extras);
        if let Some(square) = inputs.rotate_values {
            attended = self.spread(attended, square);
        }
        attended
    }

    pub fn key_cache(&mut self, layer: usize) -> TensorId {
        let (cache, context) = (self.parts.caches.layers[layer], self.parts.context);
        self.cache(layer, "k", context.type_k, [cache.keys, cache.cells, context.streams(), 1])
    }

    fn value_cache(&mut self, layer: usize) -> TensorId {
        let (cache, context) = (self.parts.caches.layers[layer], self.parts.context);
        self.cache(layer, "v", context.type_v, [cache.values, cache.cells, context.streams(), 1])
    }

    /// Tokens as rows of all heads side by side.
    fn rows(&mut self, a: TensorId) -> TensorId {
        let (ne, nb) = (self.graph.get(a).ne, self.graph.get(a).nb);
        self.graph.view_2d(a, ne[0] * ne[1], ne[2], nb[2])
    }

    /// All streams' cells one behind the other.
    fn merged(&mut self, cache: TensorId) -> TensorId {
        let ne = self.graph.get(cache).ne;
        if ne[2] > 1 { self.graph.reshape(cache, [ne[0], ne[1] * ne[2], 1, 1]) } else { cache }
    }

    pub fn store_keys(&mut self, layer: usize, k: TensorId, at: TensorId) -> TensorId {
        let cache = self.key_cache(layer);
        let rows = self.rows(k);
        let merged = self.merged(cache);
        self.graph.set_rows(merged, rows, at)
    }

    fn store_values(&mut self, layer: usize, v: TensorId, at: TensorId) -> TensorId {
        let cache = self.value_cache(layer);
        if !self.parts.caches.transposed {
            let rows = self.rows(v);
            let merged = self.merged(cache);
            return self.graph.set_rows(merged, rows, at);
        }
        // Transposed, each number is a row of its own.
        let (ne, nb) = (self.graph.get(v).ne, self.graph.get(v).nb);
        let width = ne[0] * ne[1];
        let mut rows = if self.graph.get(v).kind.row_bytes(width) == Some(nb[2]) {
            self.graph.reshape(v, [width, ne[2], 1, 1])
        } else {
            self.graph.cont_as(v, [width, ne[2], 1, 1])
        };
        let widest = self.graph.get(cache).ne[0];
        if width < widest {
            rows = self.graph.pad_rows(rows, widest - width);
        }
        let (cells, numbers) = (self.graph.get(cache).elements(), self.graph.get(rows).elements());
        let column = self.graph.reshape(cache, [1, cells, 1, 1]);
        let numbers = self.graph.reshape(rows, [1, numbers, 1, 1]);
        self.graph.set_rows(column, numbers, at)
    }

    pub fn cached_keys(&mut self, layer: usize) -> TensorId {
        let cache = self.key_cache(layer);
        let shape = self.parts.hyper.layers[layer];
        let ne = self.graph.get(cache).ne;
        let (head, heads) = if shape.keys() == ne[0] { (shape.key, shape.kv_heads) } else { (ne[0], 1) };
        let kind = self.graph.get(cache).kind;
        let row = |numbers: u64| kind.row_bytes(numbers).unwrap_or(0);
        let nb = [kind.block_bytes(), row(head), row(ne[0]), row(ne[0]).saturating_mul(ne[1])];
        self.graph.view(cache, [head, heads, ne[1], ne[2]], nb)
    }

    fn cached_values(&mut self, layer: usize) -> TensorId {
        let cache = self.value_cache(layer);
        let shape = self.parts.hyper.layers[layer];
        let (kind, ne) = (self.graph.get(cache).kind, self.graph.get(cache).ne);
        let row = |numbers: u64| kind.row_bytes(numbers).unwrap_or(0);
        if self.parts.caches.transposed {
            let cells = row(ne[1]);
            let nb =
                [kind.block_bytes(), cells.saturating_mul(shape.value), cells, cells.saturating_mul(ne[0])];
            return self.graph.view(cache, [ne[1], shape.kv_heads, shape.value, ne[2]], nb);
        }
        let nb = [kind.block_bytes(), row(shape.value), row(ne[0]), row(ne[0]).saturating_mul(ne[1])];
        self.graph.view(cache, [shape.value, shape.kv_heads, ne[1], ne[2]], nb)
    }

    /// Attention itself: rows of all heads side by side.
    pub fn attend(
        &mut self,
        q: TensorId,
        k: TensorId,
        v: TensorId,
        mask: TensorId,
        extras: Extras,
    ) -> TensorId {
        let transposed = self.graph.get(v).nb[1] > self.graph.get(v).nb[2];
        let streams = self.graph.get(k).ne[3].max(1);
        let (ne, nb) = (self.graph.get(q).ne, self.graph.get(q).nb);
        let q = self.graph.view(
            q,
            [ne[0], ne[1], ne[2] / streams, streams],
            [nb[0], nb[1], nb[2], nb[3] / streams],
        );
        const HEADS_OUTSIDE: [usize; 4] = [0, 2, 1, 3];
        let q = self.graph.permute(q, HEADS_OUTSIDE);
        let mut k = self.graph.permute(k, HEADS_OUTSIDE);
        let mut v = self.graph.permute(v, HEADS_OUTSIDE);
        let attended = if self.parts.context.flash {
            if transposed {
                v = self.graph.transpose(v);
            }
            if self.graph.get(k).kind == TensorType::F32 {
                k = self.graph.cast(k, TensorType::F16);
            }
            if self.graph.get(v).kind == TensorType::F32 {
                v = self.graph.cast(v, TensorType::F16);
            }
            let others: Vec<_> = std::iter::once(mask).chain(extras.sinks).collect();
            let mut attended = self.graph.flash_attention(q, k, v, &others);
            if let Some(unfold) = extras.unfold {
                attended = self.graph.permute(attended, HEADS_OUTSIDE);
                attended = self.graph.mul_mat(unfold, attended);
                attended = self.graph.permute(attended, HEADS_OUTSIDE);
                attended = self.graph.cont(attended);
            }
            let ne = self.graph.get(attended).ne;
            self.graph.reshape(attended, [ne[0] * ne[1], ne[2] * ne[3], 1, 1])
        } else {
            let mut scores = self.graph.mul_mat(k, q);
            if extras.soft_cap {
                scores = self.graph.scale(scores);
                scores = self.graph.unary(crate::ggml::Unary::Tanh, scores);
                scores = self.graph.scale(scores);
            }
            let others: Vec<_> = std::iter::once(mask).chain(extras.sinks).collect();
            scores = self.graph.soft_max(scores, &others);
            if !transposed {
                let turned = self.graph.transpose(v);
                v = self.graph.cont(turned);
            }
            let mut attended = self.graph.mul_mat(v, scores);
            if let Some(unfold) = extras.unfold {
                attended = self.graph.mul_mat(unfold, attended);
            }
            let attended = self.graph.permute(attended, HEADS_OUTSIDE);
            let ne = self.graph.get(attended).ne;
            self.graph.cont_as(attended, [ne[0] * ne[1], ne[2] * ne[3], 1, 1])
        };
        self.graph.expand(attended);
        attended
    }
}
