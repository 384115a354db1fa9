//! Qwen 3.5: three of four layers carry a gated delta rule instead of keys and values (`models/delta-net-base.cpp`).

use crate::error::FitError;
use crate::ggml::{TensorId, Unary};
use crate::llama_cpp::attention::{Extras, Heads, Inputs};
use crate::llama_cpp::builder::Builder;
use crate::llama_cpp::hyper::{Hyper, Keys};
use crate::llama_cpp::recurrent::StateInputs;

/// Which layers are recurrent: as the header lists them, or all but every fourth.
pub(super) fn layers(keys: Keys<'_>, hyper: &mut Hyper) -> Result<(), FitError> {
    for key in
        ["ssm.conv_kernel", "ssm.inner_size", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count"]
    {
        if keys.needed(key)? == 0 {
            return Err(keys.wrong(format!("`{}.{key}` is 0", keys.header.architecture)));
        }
    }
    let interval = keys.number("full_attention_interval", 4)?.max(1);
    let listed = keys.each_flag("attention.recurrent_layers", hyper.layers.len());
    for (at, layer) in hyper.layers.iter_mut().enumerate() {
        layer.recurrent = match &listed {
            Some(flags) => flags[at],
            None => !(at as u64 + 1).is_multiple_of(interval),
        };
    }
    Ok(())
}

pub(super) fn qwen35(b: &mut Builder<'_>) {
    let mut stream = b.embeddings();
    let states = b.state_inputs();
    let inputs = b.attention_inputs();
    let positions = b.positions(4);
    let wanted = b.wanted_rows();
    for layer in 0..b.layers() {
        let normed = b.norm(layer, "attn_norm", stream);
        b.graph.expand(normed);
        let mixed = if b.parts.hyper.layers[layer].recurrent {
            delta_rule(b, layer, &states, normed)
        } else {
            attention(b, layer, &inputs, positions, normed)
        };
        let (mixed, residual) = b.keep_wanted_early(layer, wanted, mixed, stream);
        let joined = b.graph.add(mixed, residual);
        let normed = b.norm(layer, "post_attention_norm", joined);
        let forward = feed_forward(b, layer, normed);
        stream = b.graph.add(forward, joined);
    }
    let weight = b.needed_global("output_norm.weight");
    let normed = b.norm_with(stream, Some(weight), None, None);
    b.graph.get_mut(normed).output = true;
    let rows = b.keep_wanted_late(wanted, normed);
    b.graph.get_mut(rows).output = true;
    let matrix = b.output_matrix();
    let logits = b.graph.mul_mat(matrix, rows);
    b.graph.get_mut(logits).output = true;
    b.graph.expand(logits);
}

/// Attention whose result is gated by half of what the queries' matrix makes.
fn attention(
    b: &mut Builder<'_>,
    layer: usize,
    inputs: &Inputs,
    positions: TensorId,
    a: TensorId,
) -> TensorId {
    let shape = b.parts.hyper.layers[layer];
    let (head, tokens) = (shape.key, b.tokens);
    let both = b.mul_bias(layer, "attn_q", a);
    let k = b.mul_bias(layer, "attn_k", a);
    let v = b.mul_bias(layer, "attn_v", a);
    let by_head = [head, shape.heads, tokens, 1];
    let strides = [4, 8 * head, 8 * head * shape.heads, 8 * head * shape.heads * tokens];
    let q = b.graph.view(both, by_head, strides);
    let q = b.norm(layer, "attn_q_norm", q);
    let k = b.graph.reshape(k, [head, shape.kv_heads, tokens, 1]);
    let k = b.norm(layer, "attn_k_norm", k);
    let gate = b.graph.view(both, by_head, strides);
    let gate = b.graph.cont_as(gate, [head * shape.heads, tokens, 1, 1]);
    let v = b.graph.reshape(v, [shape.value, shape.kv_heads, tokens, 1]);
    let q = b.graph.rope(q, positions, None);
    let k = b.graph.rope(k, positions, None);
    let attended = b.attended(layer, inputs, Heads { q, k, v }, Extras::default());
    let gate = b.graph.unary(Unary::Sigmoid, gate);
    let gated = b.graph.mul(attended, gate);
    b.mul(layer, "attn_output", gated)
}

fn delta_rule(b: &mut Builder<'_>, layer: usize, states: &StateInputs, a: TensorId) -> TensorId {
    let space = b.parts.hyper.state_space;
    let (each, sequences) = (b.tokens_each(), b.sequences());
    let (key, key_heads, value_heads) = (space.state, space.groups, space.rank);
    let value = space.inner / value_heads.max(1);
    let mixed = b.mul(layer, "attn_qkv", a);
    let width = b.graph.get(mixed).ne[0];
    let mixed = b.graph.reshape(mixed, [width, each, sequences, 1]);
    let z = b.mul(layer, "attn_gate", a);
    let beta = b.mul(layer, "ssm_beta", a);
    let beta = b.graph.reshape(beta, [1, value_heads, each, sequences]);
    let beta = b.graph.unary(Unary::Sigmoid, beta);
    let alpha = b.mul(layer, "ssm_alpha", a);
    let alpha = b.graph.reshape(alpha, [value_heads, each, sequences, 1]);
    let bias = b.needed(layer, "ssm_dt.bias");
    let alpha = b.graph.add(alpha, bias);
    let alpha = b.graph.unary(Unary::Softplus, alpha);
    let decay = b.needed(layer, "ssm_a");
    let gate = b.graph.mul(alpha, decay);
    let gate = b.graph.reshape(gate, [1, value_heads, each, sequences]);

    let kept = 1 + b.parts.context.drafts;
    let joined = b.convolution_inputs(layer, states, mixed, kept);
    let memory = b.recurrent_states(layer);
    let state = b.carried(states, memory, None);
    let state = b.graph.reshape(state, [value, value, value_heads, sequences]);
    let convolved = b.convolve(layer, joined);
    let row = 4 * (2 * key * key_heads + value * value_heads);
    let part = |b: &mut Builder<'_>, numbers: u64, heads: u64| {
        b.graph.view(convolved, [numbers, heads, each, sequences], [4, 4 * numbers, row, row * each])
    };
    let q = part(b, key, key_heads);
    let k = part(b, key, key_heads);
    let v = part(b, value, value_heads);
    let q = unit(b, q);
    let k = unit(b, k);
    let made = [value * value_heads, each * sequences + kept * value * sequences, 1, 1];
    let result = b.graph.gated_delta_net([q, k, v, gate, beta, state], made);
    let output = b.graph.view(
        result,
        [value, value_heads, each, sequences],
        [4, 4 * value, 4 * value * value_heads, 4 * value * value_heads * each],
    );
    store(b, result, memory, (value, value_heads), kept.min(each));
    let z = b.graph.reshape(z, [value, value_heads, each, sequences]);
    let norm = b.needed(layer, "ssm_norm.weight");
    let normed = b.norm_with(output, Some(norm), None, Some(layer));
    let z = b.graph.unary(Unary::Silu, z);
    let gated = b.graph.mul(normed, z);
    let flat = b.graph.reshape(gated, [value * value_heads, each, sequences, 1]);
    let result = b.mul(layer, "ssm_out", flat);
    let width = b.graph.get(result).ne[0];
    b.graph.reshape(result, [width, each * sequences, 1, 1])
}

/// States go back to where they are carried.
fn store(b: &mut Builder<'_>, result: TensorId, memory: TensorId, (value, heads): (u64, u64), kept: u64) {
    let sequences = b.sequences();
    let numbers = value * value * heads;
    let row = 4 * numbers;
    let (from, to) = if b.parts.context.drafts == 0 {
        let state = [value, value, heads, sequences];
        let from = b.graph.view(result, state, [4, 4 * value, 4 * value * value, row]);
        (from, b.graph.view_2d(memory, numbers, sequences, row))
    } else {
        let states = [numbers, sequences, kept, 1];
        let nb = [4, row, row * sequences, row * sequences * kept];
        (b.graph.view(result, states, nb), b.graph.view(memory, states, nb))
    };
    let stored = b.graph.copy(from, to);
    b.graph.expand(stored);
}

/// Vectors of length 1.
fn unit(b: &mut Builder<'_>, a: TensorId) -> TensorId {
    let normed = b.graph.rms_norm(a);
    b.graph.scale(normed)
}

fn feed_forward(b: &mut Builder<'_>, layer: usize, a: TensorId) -> TensorId {
    if b.weight(layer, "ffn_gate_inp.weight").is_none() {
        return b.swiglu(layer, a);
    }
    let chosen = b.usual_experts(layer, a);
    if b.weight(layer, "ffn_up_shexp.weight").is_none() {
        return chosen;
    }
    let shared = b.shared_experts(layer, a);
    let gate = b.mul(layer, "ffn_gate_inp_shexp", a);
    let gate = b.graph.unary(Unary::Sigmoid, gate);
    let shared = b.graph.mul(shared, gate);
    b.graph.add(chosen, shared)
}
