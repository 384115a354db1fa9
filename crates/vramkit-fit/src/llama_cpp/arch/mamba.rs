//! Mamba, and Falcon H1, which has its second generation beside attention in every layer (`models/mamba-base.cpp`).

use crate::error::FitError;
use crate::ggml::{DeviceKind, Glu, TensorId};
use crate::llama_cpp::attention::Extras;
use crate::llama_cpp::builder::Builder;
use crate::llama_cpp::cache::Keeping;
use crate::llama_cpp::hyper::{Hyper, Keys};
use crate::llama_cpp::recurrent::StateInputs;

/// Every layer keeps a state, and nothing else.
pub(super) fn states(keys: Keys<'_>, hyper: &mut Hyper) -> Result<(), FitError> {
    check(keys, hyper)?;
    hyper.layers.iter_mut().for_each(|layer| layer.recurrent = true);
    Ok(())
}

/// Every layer keeps a state, and keys and values beside it.
pub(super) fn both(_: Keys<'_>, _: &Hyper) -> Result<Keeping, FitError> {
    Ok(Keeping { both: true, ..Keeping::default() })
}

fn check(keys: Keys<'_>, hyper: &Hyper) -> Result<(), FitError> {
    for key in ["ssm.conv_kernel", "ssm.inner_size", "ssm.state_size", "ssm.time_step_rank"] {
        if keys.needed(key)? == 0 {
            return Err(keys.wrong(format!("`{}.{key}` is 0", keys.header.architecture)));
        }
    }
    let space = hyper.state_space;
    if !space.inner.is_multiple_of(space.rank) && keys.header.architecture != "mamba" {
        return Err(keys.wrong(format!("{} numbers in {} heads of a state", space.inner, space.rank)));
    }
    Ok(())
}

/// The first generation's scan has a kernel on CUDA alone, for states of 16.
pub(super) fn lacks_scan(hyper: &Hyper, device: DeviceKind) -> &'static [&'static str] {
    let space = hyper.state_space;
    let is_usual = space.state == 16 && space.inner.is_multiple_of(128);
    if device == DeviceKind::Cuda && is_usual { &[] } else { &["ssm_a"] }
}

/// The second generation's has one for states of 128 or 256 and heads of a multiple of 16.
pub(super) fn lacks_odd_scan(hyper: &Hyper, _: DeviceKind) -> &'static [&'static str] {
    let space = hyper.state_space;
    let head = space.inner / space.rank.max(1);
    if [128, 256].contains(&space.state) && head.is_multiple_of(16) { &[] } else { &["ssm_a"] }
}

pub(super) fn mamba(b: &mut Builder<'_>) {
    let mut stream = b.embeddings();
    let states = b.state_inputs();
    let wanted = b.wanted_rows();
    for layer in 0..b.layers() {
        let normed = b.norm(layer, "attn_norm", stream);
        let mixed = first_generation(b, layer, &states, normed);
        let (mixed, residual) = b.keep_wanted(layer, wanted, mixed, stream);
        stream = b.graph.add(mixed, residual);
    }
    b.finish(stream, |_, logits| logits);
}

pub(super) fn falcon_h1(b: &mut Builder<'_>) {
    let mut stream = b.embeddings();
    let positions = b.positions(1);
    let states = b.state_inputs();
    let inputs = b.attention_inputs();
    let wanted = b.wanted_rows();
    for layer in 0..b.layers() {
        let normed = b.norm(layer, "attn_norm", stream);
        let mut heads = b.heads(layer, normed);
        heads.q = b.graph.rope(heads.q, positions, None);
        heads.k = b.graph.rope(heads.k, positions, None);
        let attended = b.attention(layer, &inputs, heads, Extras::default());
        let normed = b.norm(layer, "attn_norm", stream);
        let mixed = second_generation(b, layer, &states, normed);
        let both = b.graph.add(attended, mixed);
        let joined = b.graph.add(both, stream);
        let (_, joined) = b.keep_wanted(layer, wanted, both, joined);
        let weight = b.weight(layer, "ffn_norm").or_else(|| b.weight(layer, "ffn_norm.weight"));
        let normed = b.norm_with(joined, weight, None, Some(layer));
        let forward = b.swiglu(layer, normed);
        stream = b.graph.add(forward, joined);
    }
    b.finish(stream, |_, logits| logits);
}

/// A layer of the first generation: every number of a token has a state of its own.
fn first_generation(b: &mut Builder<'_>, layer: usize, states: &StateInputs, a: TensorId) -> TensorId {
    let space = b.parts.hyper.state_space;
    let (each, sequences) = (b.tokens_each(), b.sequences());
    let hidden = b.graph.get(a).ne[0];
    // The states of the convolution come first in the graph, what they are joined with after them.
    let a = b.graph.reshape(a, [hidden, each, sequences, 1]);
    let both = b.mul(layer, "ssm_in", a);
    let nb = b.graph.get(both).nb;
    let half = [space.inner, each, sequences, 1];
    let x = b.graph.view(both, half, nb);
    let z = b.graph.view(both, half, nb);
    let joined = b.convolution_inputs(layer, states, x, 1);
    let x = b.convolve(layer, joined);
    let parts = b.mul(layer, "ssm_x", x);
    let nb = b.graph.get(parts).nb;
    let step = b.graph.view(parts, [space.rank, each, sequences, 1], nb);
    let column = [space.state, 1, each, sequences];
    let strides = [nb[0], nb[0] * space.state, nb[1], nb[2]];
    let into = b.graph.view(parts, column, strides);
    let out = b.graph.view(parts, column, strides);
    let has_norms =
        b.weight(layer, "ssm_dt_norm.weight").is_some() || b.parts.keys.flag("ssm.dt_b_c_rms", false);
    let (step, into, out) = if has_norms {
        let normed = |b: &mut Builder<'_>, name: &str, a| {
            let weight = b.weight(layer, name);
            b.norm_with(a, weight, None, Some(layer))
        };
        (
            normed(b, "ssm_dt_norm.weight", step),
            normed(b, "ssm_b_norm.weight", into),
            normed(b, "ssm_c_norm.weight", out),
        )
    } else {
        (b.graph.cont(step), into, out)
    };
    let step = b.mul_bias(layer, "ssm_dt", step);
    let heads = b.graph.reshape(x, [1, space.inner, each, sequences]);
    let decay = b.needed(layer, "ssm_a");
    let all = b.recurrent_states(layer);
    let kept = b.graph.get(all).ne[1];
    let mut scan = |b: &mut Builder<'_>, states: TensorId, which: TensorId| {
        let states = b.graph.reshape(states, [space.state, 1, space.inner, kept]);
        b.graph.ssm_scan([states, heads, step, decay, into, out, which], 1)
    };
    let scanned = b.carried(states, all, Some(&mut scan));
    let numbers = space.state * space.inner * sequences;
    let row = numbers * 4;
    let new = b.graph.view(scanned, [numbers, 1, 1, 1], [4, row, row, row]);
    let target = b.graph.view(all, [numbers, 1, 1, 1], [4, row, row, row]);
    let stored = b.graph.copy(new, target);
    b.graph.expand(stored);
    let nb = b.graph.get(heads).nb;
    let y = b.graph.view(scanned, half, [4, nb[2], nb[3], nb[3] * sequences]);
    let skip = b.needed(layer, "ssm_d");
    let skipped = b.graph.mul(x, skip);
    let y = b.graph.add(y, skipped);
    let z = b.graph.cont(z);
    let y = b.graph.glu_split(Glu::Swi, z, y);
    let result = b.mul(layer, "ssm_out", y);
    let width = b.graph.get(result).ne[0];
    b.graph.reshape(result, [width, each * sequences, 1, 1])
}

/// A layer of the second generation: numbers of a head share a decay.
fn second_generation(b: &mut Builder<'_>, layer: usize, states: &StateInputs, a: TensorId) -> TensorId {
    let space = b.parts.hyper.state_space;
    let (each, sequences) = (b.tokens_each(), b.sequences());
    let (heads, head) = (space.rank, space.inner / space.rank.max(1));
    let channels = space.inner + 2 * space.groups * space.state;
    let kept = (1 + b.parts.context.drafts).min(each);
    let all = b.mul(layer, "ssm_in", a);
    let width = b.graph.get(all).ne[0];
    let all = b.graph.reshape(all, [width, each, sequences, 1]);
    let nb = b.graph.get(all).nb;
    let by_head = [4, 4 * head, nb[1], nb[2]];
    let z = b.graph.view(all, [head, heads, each, sequences], by_head);
    let x = b.graph.view(all, [channels, each, sequences, 1], nb);
    let step = b.graph.view(all, [heads, each, sequences, 1], nb);
    let joined = b.convolution_inputs(layer, states, x, kept);
    let convolved = b.convolve(layer, joined);
    let nb = b.graph.get(convolved).nb;
    let x = b.graph.view(convolved, [head, heads, each, sequences], [4, 4 * head, nb[1], nb[2]]);
    let grouped = [space.state, space.groups, each, sequences];
    let strides = [4, 4 * space.state, nb[1], nb[2]];
    let into = b.graph.view(convolved, grouped, strides);
    let out = b.graph.view(convolved, grouped, strides);
    let step = b.graph.cont(step);
    let bias = b.needed(layer, "ssm_dt.bias");
    let step = b.graph.add(step, bias);
    let decay = b.needed(layer, "ssm_a");
    let memory = b.recurrent_states(layer);
    let slots = b.graph.get(memory).ne[1];
    let snapshots = 1 + b.parts.context.drafts;
    let mut scan = |b: &mut Builder<'_>, states: TensorId, which: TensorId| {
        let states = b.graph.reshape(states, [space.state, head, heads, slots]);
        b.graph.ssm_scan([states, x, step, decay, into, out, which], snapshots)
    };
    let scanned = b.carried(states, memory, Some(&mut scan));
    let numbers = space.state * space.inner;
    let row = numbers * 4;
    let stored_as = [numbers, sequences, kept, 1];
    let new = b.graph.view(scanned, stored_as, [4, row, row * sequences, row * sequences * kept]);
    let target = b.graph.view(memory, stored_as, [4, row, row * sequences, row * sequences * kept]);
    let stored = b.graph.copy(new, target);
    b.graph.expand(stored);
    let strides = b.graph.get(x).nb[1];
    let y = b.graph.view(
        scanned,
        [head, heads, each, sequences],
        [4, strides, heads * strides, each * heads * strides],
    );
    let skip = b.needed(layer, "ssm_d");
    let skipped = b.graph.mul(x, skip);
    let y = b.graph.add(y, skipped);
    let z = b.graph.cont(z);
    let mut y = b.graph.glu_split(Glu::Swi, z, y);
    if let Some(norm) = b.weight(layer, "ssm_norm.weight") {
        let groups = space.groups.max(1);
        y = b.graph.reshape(y, [space.inner / groups, groups, each, sequences]);
        y = b.norm_with(y, Some(norm), None, Some(layer));
    }
    let y = b.graph.reshape(y, [space.inner, each * sequences, 1, 1]);
    b.mul(layer, "ssm_out", y)
}
