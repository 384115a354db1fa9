//! Small graphs whose pattern was measured: ONNX Runtime 1.32, CPU provider, optimisations and arena off, one
//! thread, input `x` of 64 × 256 floats; the pattern is the first aligned allocation of the second run.

use std::collections::HashMap;

use super::placement::{Event, place};
use super::{RuntimeLevel, load, pattern};
use crate::data_type::DataType;
use crate::onnx::fact::Fact;
use crate::onnx::lifetimes::Activation;
use crate::onnx::proto::NodeProto;

/// A node: operator, inputs, outputs with their shapes.
type Step<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a [i64])]);

const X: &[i64] = &[64, 256];

fn nodes(steps: &[Step<'_>]) -> Vec<NodeProto> {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let node = |&(op, inputs, outputs): &Step<'_>| NodeProto {
        op_type: op.to_owned(),
        input: names(inputs),
        output: outputs.iter().map(|output| output.0.to_owned()).collect(),
        ..NodeProto::default()
    };
    steps.iter().map(node).collect()
}

fn peak(steps: &[Step<'_>], outputs: &[&str]) -> u64 {
    let nodes = nodes(steps);
    let made = steps.iter().flat_map(|step| step.2.iter().copied());
    let all: Vec<(&str, &[i64])> = [("x", X)].into_iter().chain(made).collect();
    let facts: HashMap<&str, Fact> =
        all.iter().map(|&(name, shape)| (name, Fact::new(DataType::FLOAT, shape.to_vec()))).collect();
    let activations: Vec<Activation> = all
        .iter()
        .map(|&(name, _)| Activation {
            id: name.to_owned(),
            bytes: facts[name].bytes().unwrap(),
            given: name == "x",
            stays: outputs.contains(&name),
            ..Activation::default()
        })
        .collect();
    pattern(&nodes, &activations, &|name| facts.get(name)).unwrap().peak
}

fn copy<'a>(step: &'a (&'a [&'a str], &'a [(&'a str, &'a [i64])])) -> Step<'a> {
    ("Transpose", step.0, step.1)
}

#[test]
fn two_buffers_take_turns_in_a_chain() {
    let steps = [
        (&["x"] as &[_], &[("a", X)] as &[_]),
        (&["a"], &[("b", X)]),
        (&["b"], &[("c", X)]),
        (&["c"], &[("y", X)]),
    ];
    assert_eq!(peak(&steps.each_ref().map(copy), &["y"]), 131_072);
}

#[test]
fn a_kernel_writes_over_its_input_only_when_nobody_else_reads_it() {
    let start: Step<'_> = ("Transpose", &["x"], &[("a", X)]);
    let relu: Step<'_> = ("Relu", &["a"], &[("b", X)]);
    assert_eq!(peak(&[start, relu, ("Transpose", &["b"], &[("y", X)])], &["y"]), 65_536);
    assert_eq!(peak(&[start, relu, ("Add", &["a", "b"], &[("y", X)])], &["y"]), 131_072);
    // Arithmetic does not write over its input.
    let exp: Step<'_> = ("Exp", &["a"], &[("b", X)]);
    assert_eq!(peak(&[start, exp, ("Transpose", &["b"], &[("y", X)])], &["y"]), 131_072);
}

#[test]
fn inputs_and_outputs_and_what_shares_their_buffers_are_not_in_it() {
    let steps: [Step<'_>; 3] = [
        ("Flatten", &["x"], &[("a", X)]),
        ("Transpose", &["a"], &[("b", X)]),
        ("Transpose", &["b"], &[("y", X)]),
    ];
    assert_eq!(peak(&steps, &["y"]), 65_536);
    let steps: [Step<'_>; 4] = [
        ("Transpose", &["x"], &[("a", X)]),
        ("Relu", &["a"], &[("y", X)]),
        ("Transpose", &["a"], &[("b", X)]),
        ("Transpose", &["b"], &[("z", X)]),
    ];
    assert_eq!(peak(&steps, &["y", "z"]), 131_072);
}

#[test]
fn sizes_are_rounded_up() {
    let one: &[i64] = &[1, 1];
    let steps: [Step<'_>; 3] = [
        ("ReduceMean", &["x"], &[("a", one)]),
        ("Neg", &["a"], &[("b", one)]),
        ("Neg", &["b"], &[("y", one)]),
    ];
    assert_eq!(peak(&steps, &["y"]), 512);
}

#[test]
fn the_branch_that_comes_last_in_the_file_runs_first() {
    let one: &[i64] = &[1, 1];
    let steps: [Step<'_>; 5] = [
        ("Concat", &["x", "x", "x", "x"], &[("a", &[256, 256])]),
        ("ReduceSum", &["a"], &[("s", one)]),
        ("Concat", &["x", "x"], &[("b", &[128, 256])]),
        ("ReduceSum", &["b"], &[("t", one)]),
        ("Add", &["s", "t"], &[("y", one)]),
    ];
    assert_eq!(peak(&steps, &["y"]), 393_472);
}

#[test]
fn what_nobody_reads_is_reused_by_its_like_and_otherwise_kept() {
    let split: Step<'_> = ("Split", &["x"], &[("a", &[16, 256]), ("b", &[48, 256])]);
    let steps: [Step<'_>; 6] = [
        split,
        ("Concat", &["a"; 8], &[("c", &[128, 256])]),
        ("Concat", &["a"; 3], &[("e", &[48, 256])]),
        ("Add", &["e", "e"], &[("f", &[48, 256])]),
        ("ReduceSum", &["f"], &[("g", &[1, 1])]),
        ("Add", &["c", "g"], &[("y", &[128, 256])]),
    ];
    assert_eq!(peak(&steps, &["y"]), 147_712);
    let half: &[i64] = &[32, 256];
    let steps: [Step<'_>; 4] = [
        split,
        ("Concat", &["a", "a"], &[("c", half)]),
        ("Transpose", &["c"], &[("d", half)]),
        ("Transpose", &["d"], &[("y", half)]),
    ];
    assert_eq!(peak(&steps, &["y"]), 131_072);
}

#[test]
fn the_end_of_the_block_is_a_gap_too() {
    // What a classifier of files (magika 3.3, all optimisations) takes and gives back in the part of a run in
    // which it has most; the runtime's block for it has 3,121,152 bytes. Without that gap it would have
    // 3,645,440.
    let run = "+526336 +2105344 -0 +524288 -1 +524288 +524288 -2 -3 +1024 +1024 +524288 +524288 -4 +1024 -9 -6 +1024 -5 \
               +1024 -11 -10 +524288 -7 -12 +524288 -8 +524288 -13 +524288 -14 +1040384 -15 +1040384 -17 +1040384 -16 \
               +1040384 +1040384 -18 -19";
    let (mut activations, mut events) = (Vec::new(), Vec::new());
    for word in run.split_whitespace() {
        let (sign, number) = word.split_at(1);
        match sign {
            "+" => {
                events.push(Event::Take(activations.len()));
                activations.push(Activation { bytes: number.parse().unwrap(), ..Activation::default() });
            }
            _ => events.push(Event::Free(number.parse().unwrap())),
        }
    }
    assert_eq!(place(&events, &activations).unwrap().size, 3_121_152);
}

/// The pattern after loading at each level. Dimensions of weights do not matter, nor those of outputs.
fn loaded(input: &[i64], steps: &[Step<'_>], output: &str) -> [u64; 3] {
    let nodes = nodes(steps);
    let made = steps.iter().flat_map(|step| step.2.iter().copied());
    let all: Vec<(&str, &[i64])> = [("x", input)].into_iter().chain(made).collect();
    let fact =
        |&(name, shape): &(&str, &[i64])| (name.to_owned(), Fact::new(DataType::FLOAT, shape.to_vec()));
    let facts: HashMap<String, Fact> = all.iter().map(fact).collect();
    let activation = |&(name, _): &(&str, &[i64])| Activation {
        id: name.to_owned(),
        given: name == "x",
        stays: name == output,
        ..Activation::default()
    };
    let activations: Vec<Activation> = all.iter().map(activation).collect();
    [RuntimeLevel::Basic, RuntimeLevel::Extended, RuntimeLevel::All { block: 16 }].map(|level| {
        let graph = load(&nodes, &activations, &facts, level).unwrap();
        pattern(&graph.nodes, &graph.activations, &|name| graph.facts.get(name)).unwrap().peak
    })
}

#[test]
fn convolutions_take_over_what_follows_and_their_channels_are_filled_up() {
    // 24 channels of 32 × 32 floats are 98,304 bytes; 32 of them are 131,072.
    let image: &[i64] = &[1, 24, 32, 32];
    let steps: [Step<'_>; 7] = [
        ("Conv", &["x", "w", "b"], &[("a", image)]),
        ("BatchNormalization", &["a", "s", "t", "m", "v"], &[("n", image)]),
        ("Relu", &["n"], &[("r", image)]),
        ("Conv", &["r", "w2"], &[("c", image)]),
        ("Add", &["c", "r"], &[("d", image)]),
        ("Relu", &["d"], &[("e", image)]),
        ("GlobalAveragePool", &["e"], &[("y", &[1, 24, 1, 1])]),
    ];
    assert_eq!(loaded(&[1, 3, 32, 32], &steps, "y"), [294_912, 294_912, 262_144]);
}

#[test]
fn functions_that_are_written_out_become_one_node() {
    let wide: &[i64] = &[2, 32, 256];
    let steps: [Step<'_>; 8] = [
        ("MatMul", &["x", "w"], &[("a", wide)]),
        ("Add", &["a", "b"], &[("c", wide)]),
        ("Div", &["c", "k"], &[("d", wide)]),
        ("Erf", &["d"], &[("e", wide)]),
        ("Add", &["e", "o"], &[("f", wide)]),
        ("Mul", &["c", "f"], &[("g", wide)]),
        ("Mul", &["g", "h"], &[("i", wide)]),
        ("MatMul", &["i", "w2"], &[("y", &[2, 32, 64])]),
    ];
    assert_eq!(loaded(&[2, 32, 64], &steps, "y"), [196_608, 131_072, 131_072]);
    let one: &[i64] = &[64, 1];
    let steps: [Step<'_>; 11] = [
        ("Transpose", &["x"], &[("p", X)]),
        ("ReduceMean", &["p"], &[("mean", one)]),
        ("Sub", &["p", "mean"], &[("d", X)]),
        ("Pow", &["d", "two"], &[("q", X)]),
        ("ReduceMean", &["q"], &[("v", one)]),
        ("Add", &["v", "epsilon"], &[("w", one)]),
        ("Sqrt", &["w"], &[("r", one)]),
        ("Div", &["d", "r"], &[("n", X)]),
        ("Mul", &["n", "s"], &[("m", X)]),
        ("Add", &["m", "t"], &[("l", X)]),
        ("Relu", &["l"], &[("y", X)]),
    ];
    assert_eq!(loaded(X, &steps, "y"), [131_072; 3]);
}

#[test]
fn sizes_too_large_are_an_error() {
    let activation = |bytes| Activation { bytes, ..Activation::default() };
    assert!(place(&[Event::Take(0)], &[activation(u64::MAX)]).is_err());
    let half = u64::MAX / 2;
    let two = [activation(half), activation(half)];
    assert!(place(&[Event::Take(0), Event::Take(1)], &two).is_err());
}
