//! `vramkit plan` of ONNX graphs: orders within the deadline, operators in place, and what is said of alignment.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use vramkit::units::SplitMix64;

use crate::common::{file, json, refused, vramkit};

/// A field of a protocol buffer: bytes.
fn field(number: u64, content: &[u8]) -> Vec<u8> {
    [number_bytes(number << 3 | 2), number_bytes(content.len() as u64), content.to_vec()].concat()
}

/// A field of a protocol buffer: a number.
fn number(number: u64, value: u64) -> Vec<u8> {
    [number_bytes(number << 3), number_bytes(value)].concat()
}

fn number_bytes(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A node: its operator, inputs and output.
type Row<'a> = (&'a str, Vec<String>, String);

/// An ONNX graph of one input `x` of `[1, 64]`, weights by their shapes, and one output.
fn graph(nodes: &[Row], weights: &[(String, [u64; 2])], output: &str) -> Vec<u8> {
    let node = |(operator, inputs, output): &Row| {
        let inputs: Vec<u8> = inputs.iter().flat_map(|input| field(1, input.as_bytes())).collect();
        field(1, &[inputs, field(2, output.as_bytes()), field(4, operator.as_bytes())].concat())
    };
    let weight = |(name, [rows, columns]): &(String, [u64; 2])| {
        let dims = [number(1, *rows), number(1, *columns)].concat();
        field(5, &[dims, number(2, 1), field(8, name.as_bytes())].concat())
    };
    let dims: Vec<u8> = [1, 64].iter().flat_map(|&size| field(1, &number(1, size))).collect();
    let tensor = [number(1, 1), field(2, &dims)].concat();
    let input = field(11, &[field(1, b"x"), field(2, &field(1, &tensor))].concat());
    let parts: Vec<u8> = nodes.iter().flat_map(node).chain(weights.iter().flat_map(weight)).collect();
    let graph = [parts, input, field(12, &field(1, output.as_bytes()))].concat();
    [number(1, 8), field(7, &graph), field(8, &number(2, 17))].concat()
}

/// A graph at random: matrix products of other widths, and operators that can work in place, each reading one of so many
/// that came last; what is left comes together at the end.
fn random_graph(seed: u64, steps: usize, reach: usize) -> Vec<u8> {
    let mut random = SplitMix64::new(seed);
    let mut below = |n: usize| random.below(n);
    let mut widths = vec![("x".to_owned(), 64u64)];
    let mut weights: Vec<(String, [u64; 2])> = Vec::new();
    let mut nodes: Vec<Row> = Vec::new();
    let mut unread: Vec<usize> = Vec::new();
    for step in 0..steps {
        let source = widths.len() - 1 - below(widths.len().min(reach));
        let (input, width) = widths[source].clone();
        let name = format!("t{step}");
        unread.retain(|&other| other != source);
        if below(2) == 0 {
            nodes.push(("Relu", vec![input], name.clone()));
            unread.push(widths.len());
            widths.push((name, width));
            continue;
        }
        let wide = [64, 128, 256, 512, 1024][below(5)];
        let weight = (format!("w{width}x{wide}"), [width, wide]);
        nodes.push(("MatMul", vec![input, weight.0.clone()], name.clone()));
        if !weights.contains(&weight) {
            weights.push(weight);
        }
        unread.push(widths.len());
        widths.push((name, wide));
    }
    // What nobody reads comes together, a column each.
    let mut sum = String::new();
    for (i, &end) in unread.iter().enumerate() {
        let (name, width) = widths[end].clone();
        let weight = (format!("w{width}x1"), [width, 1]);
        nodes.push(("MatMul", vec![name, weight.0.clone()], format!("c{i}")));
        if !weights.contains(&weight) {
            weights.push(weight);
        }
        let last = std::mem::replace(&mut sum, format!("s{i}"));
        let inputs = if last.is_empty() { vec![format!("c{i}")] } else { vec![last, format!("c{i}")] };
        nodes.push((if inputs.len() == 1 { "Relu" } else { "Add" }, inputs, sum.clone()));
    }
    graph(&nodes, &weights, &sum)
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn orders_keep_to_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.onnx").display().to_string();
    fs::write(&path, random_graph(1, 5_000, 60)).unwrap();
    let before = Instant::now();
    let plain = json(&["plan", &path, "--json", "--deadline", "0"], 0);
    let reading = before.elapsed();
    for arguments in [&["--order", "memory"][..], &["--recompute"], &["--recompute", "--in-place"]] {
        let before = Instant::now();
        let plan = json(&[&["plan", &path, "--json", "--deadline", "1"], arguments].concat(), 0);
        let taken = before.elapsed();
        let order = &plan["models"][0]["order"];
        assert!(bytes(&order["reordered_peak_bytes"]) <= bytes(&order["file_peak_bytes"]), "{order}");
        assert_eq!(order["proven"], false, "the largest product is far below the peak of so many branches");
        assert!(bytes(&plan["arena_bytes"]) <= bytes(&plain["arena_bytes"]) * 11 / 10);
        // Without looking at the clock it is minutes; what else runs on the machine is to make no difference.
        let most = reading * 3 + Duration::from_secs(4);
        assert!(taken < most, "{arguments:?}: {taken:?}, of which reading is {reading:?}");
    }
}

/// With steps that run again the order has as much time as without, and is where they begin.
#[test]
fn running_again_begins_at_the_order_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.onnx").display().to_string();
    fs::write(&path, random_graph(1, 1_000, 60)).unwrap();
    let before = Instant::now();
    let plan = json(&["plan", &path, "--json", "--deadline", "2", "--recompute"], 0);
    let taken = before.elapsed();
    let order = &plan["models"][0]["order"];
    assert_eq!(order["proven"], false, "{order}");
    assert!(bytes(&order["recomputed_peak_bytes"]) <= bytes(&order["reordered_peak_bytes"]), "{order}");
    assert!(taken >= Duration::from_secs(1), "{taken:?}");
}

#[test]
fn what_only_graphs_have_is_refused_without_one() {
    let (_folder, path) = file("plain.csv", "id,lower,upper,size\na,0,1,1\n");
    let shapes = file("shapes.json", "{}");
    for (option, value) in [
        ("--order", Some("memory")),
        ("--recompute", None),
        ("--in-place", None),
        ("--engine", Some("ort")),
        ("--shapes", Some(shapes.1.as_str())),
    ] {
        let words = ["plan", &path, option].into_iter().chain(value).collect::<Vec<_>>();
        let said = refused(&words);
        assert!(said.contains(option) && said.contains("plain.csv") && said.contains("ONNX"), "{said}");
    }
    // The order that there is, is no question.
    json(&["plan", &path, "--json", "--order", "file"], 0);
    // Of several files one with a graph is enough.
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("graph.onnx").display().to_string();
    fs::write(&graph, random_graph(1, 5, 2)).unwrap();
    json(&["plan", &path, &graph, "--json", "--order", "memory", "--in-place"], 0);
}

#[test]
fn working_in_place_never_takes_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.onnx").display().to_string();
    let mut used = [0, 0];
    for seed in 0..40 {
        fs::write(&path, random_graph(seed, [30, 60][seed as usize % 2], 1)).unwrap();
        for deadline in ["0", "1"] {
            let ask = |more: &[&str]| {
                let words = ["plan", &path, "--json", "--alignment", "64", "--deadline", deadline];
                json(&[&words, more].concat(), 0)
            };
            let (without, with) = (ask(&[]), ask(&["--in-place"]));
            assert!(bytes(&with["arena_bytes"]) <= bytes(&without["arena_bytes"]), "{seed}");
            if with.get("in_place").is_none() {
                continue;
            }
            let report = &with["in_place"];
            let is_used = report["is_used"].as_bool().unwrap();
            used[usize::from(is_used)] += 1;
            let chosen = if is_used { "with_bytes" } else { "without_bytes" };
            assert_eq!(report[chosen], with["arena_bytes"]);
            assert!(
                bytes(&report[chosen]) <= bytes(&report["without_bytes"]).min(bytes(&report["with_bytes"]))
            );
            if with["proven_optimal"] == true {
                assert_eq!(with["lower_bound_bytes"], with["arena_bytes"], "{seed}");
            }
            assert!(bytes(&with["lower_bound_bytes"]) <= bytes(&with["arena_bytes"]), "{seed}");
        }
    }
    assert!(used[0] > 0 && used[1] > 20, "both are the better one now and then: {used:?}");
}

#[test]
fn a_bound_that_is_met_is_the_arena() {
    let rows = "id,lower,upper,size\na,0,1,1\nb,0,1,4\n";
    let (_folder, path) = file("aligned.csv", rows);
    let plan = json(&["plan", &path, "--json", "--alignment", "256"], 0);
    let field = |name: &str| plan[name].clone();
    assert_eq!(["arena_bytes", "lower_bound_bytes", "proven_bound_bytes"].map(field), [257, 257, 257]);
    assert_eq!((&plan["live_peak_bytes"], &plan["sum_of_peaks_bytes"]), (&5.into(), &5.into()));
    assert_eq!((&plan["sum_of_aligned_peaks_bytes"], &plan["proven_optimal"]), (&257.into(), &true.into()));
    assert_eq!((&plan["gap_ratio"], &plan["reduction_of_separate_total_ratio"]), (&0.0.into(), &0.0.into()));
    let text = |arguments: &[&str]| {
        let output = vramkit().args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = text(&["plan", &path, "--alignment", "256", "--explain"]);
    assert!(
        said.contains("252 B more than 5 B, the model's live peak; alignment alone adds 252 B\n"),
        "{said}"
    );
    assert!(said.contains("live peak: 5 B") && said.contains("lower bound: 257 B"), "{said}");
    assert!(!said.contains("-0.") && !said.contains("% more"), "{said}");

    let workload = "alignment = 256\nmodels = [{ name = \"m\", tensors = [\
         { id = \"a\", size = 1, start = 0, end = 1 }, { id = \"b\", size = 4, start = 0, end = 1 }] }]\n";
    let pooled = format!(
        "pools = [{{ name = \"fast\", capacity = 300 }}, {{ name = \"slow\", capacity = 9 }}]\n{workload}"
    );
    let (_folder, path) = file("pooled.toml", &pooled);
    let plan = json(&["plan", &path, "--json"], 0);
    assert_eq!((&plan["arena_bytes"], &plan["lower_bound_bytes"]), (&257.into(), &257.into()));
    assert_eq!(
        (&plan["proven_optimal"], &plan["pools"][0]["lower_bound_bytes"]),
        (&true.into(), &257.into())
    );
    assert_eq!(plan["pools"][0]["live_peak_bytes"], 5);

    let (_folder, path) = file("run.toml", workload);
    let run = json(&["run", &path, "--device", "sim", "--json"], 0);
    for of in ["sum_of_sizes", "sum_of_peaks", "apart"] {
        assert_eq!(run[format!("reduction_of_{of}_ratio")], 0.0, "{of}");
    }
    let said = text(&["run", &path, "--device", "sim"]);
    assert!(said.contains("252 B more than 5 B") && !said.contains("-5"), "{said}");
}
