//! What is planned where data decides, or the user or a runtime says it.

use std::collections::BTreeMap;

use super::super::graph::Sizes;
use super::super::proto::*;
use super::parts::*;
use super::{infer, model, node, read_bytes, stored, symbolic, value, with};

#[test]
fn where_data_decides_the_most_is_planned_for_and_told() {
    let nodes = vec![
        node("NonZero", &["x"], &["found"]),
        with(node("Transpose", &["found"], &["places"]), "perm", &[1, 0]),
        node("Shape", &["places"], &["s"]),
        with(node("Gather", &["s", "zero"], &["n"]), "axis", &[0]),
        node("Add", &["n", "one"], &["more"]),
        node("Expand", &["x", "more"], &["y"]),
    ];
    let constants = || vec![ints("zero", &[1], &[0]), ints("one", &[1], &[1])];
    let graph = model(value("x", &[1]), nodes.clone(), constants(), "y");
    let found = infer(&graph, &[]).unwrap();
    assert_eq!(found.bounds().iter().next(), Some((&"found".to_owned(), &"NonZero".to_owned())));
    assert_eq!(sizes(&found)["y"], 2 * 4);
    // Less of what there may be of is more of what is left, so that the most is not known.
    let mut left = graph.clone();
    left.graph.as_mut().unwrap().node[4] = node("Sub", &["one", "n"], &["more"]);
    let error = infer(&left, &[]).unwrap_err();
    assert!(error.contains("depends on the values of `more`"), "{error}");
    // The file has a name for the size, and the user a size for the name.
    let mut given = model(value("x", &[100]), nodes[..2].to_vec(), vec![], "places");
    let mut info = symbolic("found", "count");
    let shape = info.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
    shape.elem_type = 7;
    shape.shape = Some(TensorShapeProto {
        dim: vec![
            Dimension { dim_value: Some(1), dim_param: None },
            Dimension { dim_value: None, dim_param: Some("count".to_owned()) },
        ],
    });
    given.graph.as_mut().unwrap().value_info.push(info);
    assert_eq!(sizes(&infer(&given, &[]).unwrap())["places"], 800);
    let exact = infer(&given, &[("count", 6)]).unwrap();
    assert_eq!((sizes(&exact)["places"], exact.bounds().len()), (48, 0));
    assert!(exact.symbols().contains("count"));
}

#[test]
fn measured_shapes_tell_what_nothing_else_does() {
    use prost::Message as _;
    let nodes = vec![node("Range", &["zero", "limit", "one"], &["r"]), node("Neg", &["r"], &["y"])];
    let mut graph =
        model(typed("limit", 7, &[]), nodes, vec![ints("zero", &[], &[0]), ints("one", &[], &[1])], "y");
    graph.graph.as_mut().unwrap().node[0].name = "counting".to_owned();
    graph.graph.as_mut().unwrap().value_info.push(typed("r", 7, &[-1]));
    let error = infer(&graph, &[]).unwrap_err();
    assert!(error.ends_with("dimension `r[0]` has no size"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shapes.json");
    let measured = |content: &str| {
        std::fs::write(&path, content).unwrap();
        let dims = BTreeMap::new();
        read_bytes(graph.encode_to_vec(), Sizes { dims: &dims, measured: Some(&path) })
    };
    assert_eq!(sizes(&measured(r#"{"r": [9]}"#).unwrap())["y"], 72);
    let profile = r#"[{"cat": "Session", "name": "model_run", "dur": 3},
        {"cat": "Node", "name": "counting_kernel_time", "args": {"op_name": "Range", "output_type_shape": [{"int64": [4]}]}},
        {"cat": "Node", "name": "counting_kernel_time", "args": {"op_name": "Range", "output_type_shape": [{"int64": [12]}]}}]"#;
    assert_eq!(sizes(&measured(profile).unwrap())["y"], 96, "the larger of two runs");
    for (content, reason) in [
        (r#"{"nowhere": [9]}"#, "a shape of no tensor of the graph"),
        (r#"{"r": [-9]}"#, "numbers from 0 on"),
        ("[]", "a shape of no tensor of the graph"),
        ("3", "expected a JSON object"),
        ("{", "expected a JSON object"),
        (r#"{"r": [9], "y": [8]}"#, "measured as [8], and is [9]"),
    ] {
        let error = measured(content).unwrap_err();
        assert!(error.contains(reason), "{content}: {error}");
    }
}

#[test]
fn dimensions_without_a_size_are_listed_at_once_and_given_by_place() {
    let dim = |value: Option<i64>, name: Option<&str>| Dimension {
        dim_value: value,
        dim_param: name.map(str::to_owned),
    };
    let mut input = value("x", &[]);
    input.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape = Some(TensorShapeProto {
        dim: vec![
            dim(Some(-1), None),
            dim(None, Some("?")),
            dim(None, Some("?")),
            dim(None, None),
            dim(None, Some("n")),
        ],
    });
    let graph = model(input, vec![node("Relu", &["x"], &["y"])], vec![], "y");
    let error = infer(&graph, &[]).unwrap_err();
    assert!(
        error.ends_with("5 dimensions have no size: `x[0]`, `x[1]`, `x[2]`, `x[3]`, `n` (axis 4 of `x`)"),
        "{error}"
    );
    let graph = infer(&graph, &[("x[0]", 2), ("x[1]", 3), ("x[2]", 5), ("x[3]", 7), ("x[4]", 11)]).unwrap();
    assert_eq!(sizes(&graph)["y"], 2 * 3 * 5 * 7 * 11 * 4);
}

/// Ranges of at most so many, and what is computed from them.
fn counted(nodes: Vec<NodeProto>, more: Vec<TensorProto>) -> ModelProto {
    let mut all = vec![
        node("NonZero", &["x"], &["found"]),
        node("Shape", &["found"], &["s"]),
        with(node("Gather", &["s", "one"], &["n"]), "axis", &[0]),
    ];
    all.extend(nodes);
    let mut stored = vec![ints("one", &[], &[1]), ints("zero", &[], &[0]), ints("ten", &[], &[10])];
    stored.extend(more);
    model(value("x", &[10]), all, stored, "y")
}

#[test]
fn a_bound_passes_only_where_more_is_never_less() {
    let refused = |nodes: Vec<NodeProto>, more: Vec<TensorProto>| {
        let error = infer(&counted(nodes, more), &[]).unwrap_err();
        assert!(error.contains("not known before it runs"), "{error}");
    };
    refused(vec![node("Sub", &["ten", "n"], &["m"]), node("Range", &["zero", "m", "one"], &["y"])], vec![]);
    refused(vec![node("Range", &["ten", "n", "down"], &["y"])], vec![ints("down", &[], &[-1])]);
    refused(
        vec![
            node("Sub", &["n", "ten"], &["m"]),
            node("Mul", &["m", "m"], &["squared"]),
            node("Range", &["zero", "squared", "one"], &["y"]),
        ],
        vec![],
    );
    // A list of at most so many fives: which place the fifty is at is not known.
    refused(
        vec![
            with(node("Unsqueeze", &["n", "axes"], &["length"]), "x", &[0]),
            node("Expand", &["five", "length"], &["fives"]),
            with(node("Concat", &["fives", "fifty"], &["list"]), "axis", &[0]),
            with(node("Gather", &["list", "one"], &["m"]), "axis", &[0]),
            node("Range", &["zero", "m", "one"], &["y"]),
        ],
        vec![ints("axes", &[1], &[0]), ints("five", &[1], &[5]), ints("fifty", &[1], &[50])],
    );
    // Whole, as no part of it is known to be in the slice.
    let slice = vec![
        with(node("Unsqueeze", &["n", "axes"], &["end"]), "x", &[0]),
        node("Slice", &["x", "start", "end", "axes", "back"], &["y"]),
    ];
    let more = vec![ints("axes", &[1], &[0]), ints("start", &[1], &[9]), ints("back", &[1], &[-1])];
    assert_eq!(size(&counted(slice, more), "y"), 40);
    assert_eq!(size(&counted(vec![node("Range", &["zero", "n", "one"], &["y"])], vec![]), "y"), 80);
}

#[test]
fn a_shape_that_data_chooses_among_ranks_has_a_size_alone() {
    let branch = |name: &str, shape: &[i64]| {
        let inner = vec![with(node("RandomNormal", &[], &["out"]), "shape", shape)];
        body(name, &[], inner, &["out"])
    };
    let choice = || {
        holding(
            node("If", &["c"], &["q"]),
            vec![branch("then_branch", &[2, 50]), branch("else_branch", &[1, 1, 99])],
        )
    };
    let alone = model(typed("c", 9, &[]), vec![choice()], vec![], "q");
    assert_eq!(size(&alone, "q"), 400);
    let read = model(typed("c", 9, &[]), vec![choice(), node("ReduceMax", &["q"], &["y"])], vec![], "y");
    assert!(infer(&read, &[]).unwrap_err().contains("one of several shapes"));
}

#[test]
fn contradictions_are_errors_or_told() {
    let mut wrong =
        model(value("x", &[7]), vec![node("Add", &["x", "w"], &["y"])], vec![stored("w", &[3])], "y");
    wrong.graph.as_mut().unwrap().output[0] = value("y", &[7]);
    let error = infer(&wrong, &[]).unwrap_err();
    assert!(error.contains("7 and 3 elements along one axis do not go together"), "{error}");
    let mut other = model(symbolic("x", "a"), vec![node("Relu", &["x"], &["y"])], vec![], "y");
    other.graph.as_mut().unwrap().output[0] = symbolic("y", "b");
    let graph = infer(&other, &[("a", 3), ("b", 9)]).unwrap();
    assert_eq!(sizes(&graph)["y"], 3 * 3 * 8 * 8 * 4);
    let notes = graph.report().notes;
    assert!(notes[0].contains("`y` is declared as [9, 3, 8, 8], and is [3, 3, 8, 8]"), "{notes:?}");
}

#[test]
fn a_loop_that_may_end_early_has_its_largest_state() {
    // As long as i (6 - i), after each of seven runs; whether it goes on is in the data.
    let inner = vec![
        node("Sub", &["six", "i"], &["rest"]),
        node("Mul", &["i", "rest"], &["long"]),
        node("Range", &["zero", "long", "one"], &["next"]),
        node("Identity", &["more"], &["goes"]),
    ];
    let body = body("body", &["i", "going", "s"], inner, &["goes", "next"]);
    let repeat = holding(node("Loop", &["seven", "yes", "zeros"], &["y"]), vec![body]);
    let stored = vec![
        ints("six", &[], &[6]),
        ints("zero", &[], &[0]),
        ints("one", &[], &[1]),
        ints("seven", &[], &[7]),
        ints("zeros", &[1], &[0]),
        flag("yes", 1),
    ];
    let graph = infer(&model(typed("more", 9, &[]), vec![repeat], stored, "y"), &[]).unwrap();
    assert_eq!(sizes(&graph)["y"], 9 * 8);
    assert!(graph.bounds().contains_key("y"));
}

#[test]
fn a_loop_of_at_most_so_many_runs_may_end_after_any() {
    // Each run takes two of what is left, of twenty; there are ten runs at most.
    let inner =
        vec![node("Slice", &["s", "start", "end"], &["next"]), node("Identity", &["going"], &["goes"])];
    let body = body("body", &["i", "going", "s"], inner, &["goes", "next"]);
    let repeat = holding(node("Loop", &["n", "yes", "twenty"], &["y"]), vec![body]);
    let more = vec![
        ints("start", &[1], &[0]),
        ints("end", &[1], &[-2]),
        ints("twenty", &[20], &[7; 20]),
        flag("yes", 1),
    ];
    let graph = infer(&counted(vec![repeat], more), &[]).unwrap();
    assert_eq!(sizes(&graph)["y"], 20 * 8, "as much as there was, if it does not run");
}

#[test]
fn a_bound_passes_through_what_grows_with_it() {
    let most = |steps: &[(&str, &[&str], i64)]| {
        let mut last = "n".to_owned();
        let mut nodes = Vec::new();
        for (i, &(op, more, to)) in steps.iter().enumerate() {
            let output = format!("m{i}");
            let inputs: Vec<&str> = match op {
                "Where" => vec!["yes", &last, more[0]],
                _ => std::iter::once(last.as_str()).chain(more.iter().copied()).collect(),
            };
            let step = node(op, &inputs, &[&output]);
            nodes.push(if to > 0 { with(step, "to", &[to]) } else { step });
            last = output;
        }
        nodes.push(node("Range", &["zero", &last, "one"], &["y"]));
        let half = TensorProto { float_data: vec![0.25], ..stored("quarter", &[]) };
        let more = vec![ints("three", &[], &[3]), flag("yes", 1), half];
        let graph = infer(&counted(nodes, more), &[]).unwrap();
        assert!(graph.report().bounds.iter().any(|bound| bound.id == "y"), "{steps:?}");
        sizes(&graph)["y"] / 8
    };
    assert_eq!(most(&[("Mul", &["three"], 0)]), 30);
    assert_eq!(most(&[("Div", &["three"], 0)]), 3);
    assert_eq!(most(&[("Where", &["three"], 0)]), 10);
    assert_eq!(most(&[("Sub", &["three"], 0), ("Max", &["three"], 0), ("Min", &["ten"], 0)]), 7);
    let whole = |op| most(&[("Cast", &[], 1), ("Mul", &["quarter"], 0), (op, &[], 0), ("Cast", &[], 7)]);
    assert_eq!((whole("Floor"), whole("Ceil"), whole("Round"), whole("Relu")), (2, 3, 2, 2));
    assert_eq!(most(&[("Cast", &[], 1), ("Sqrt", &[], 0), ("Ceil", &[], 0), ("Cast", &[], 7)]), 4);
}
