//! Values followed through tensors of any rank, through bodies and functions, and what is planned where data decides.

use std::collections::BTreeMap;

use super::super::graph::{OnnxGraph, Sizes};
use super::super::proto::*;
use super::{infer, model, node, read_bytes, stored, symbolic, value, with};

fn ints(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto { data_type: 7, int64_data: values.to_vec(), ..stored(name, dims) }
}

fn flag(name: &str, value: i32) -> TensorProto {
    TensorProto { data_type: 9, int32_data: vec![value], ..stored(name, &[]) }
}

fn typed(name: &str, kind: i32, dims: &[i64]) -> ValueInfoProto {
    let mut info = value(name, dims);
    info.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = kind;
    info
}

fn named(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: name.to_owned(), r#type: None }
}

/// A graph inside a node.
fn body(name: &str, inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> AttributeProto {
    let graph = GraphProto {
        node: nodes,
        input: inputs.iter().map(|name| named(name)).collect(),
        output: outputs.iter().map(|name| named(name)).collect(),
        ..GraphProto::default()
    };
    AttributeProto { name: name.to_owned(), g: Some(Box::new(graph)), ..AttributeProto::default() }
}

fn holding(mut node: NodeProto, attributes: Vec<AttributeProto>) -> NodeProto {
    node.attribute.extend(attributes);
    node
}

fn sizes(graph: &OnnxGraph) -> BTreeMap<String, u64> {
    let tensors = graph.model(&"g".into(), 1, false).tensors;
    tensors.iter().map(|tensor| (tensor.id.to_string(), tensor.size.bytes())).collect()
}

fn size(model: &ModelProto, tensor: &str) -> u64 {
    sizes(&infer(model, &[]).unwrap())[tensor]
}

#[test]
fn pads_are_followed_as_pytorch_writes_them() {
    // [0, 64] and two zeros, in pairs, the pairs turned round, one row a side: 64 behind the last axis of two.
    let nodes = vec![
        node("ConstantOfShape", &["two"], &["zeros"]),
        with(node("Concat", &["pads", "zeros"], &["all"]), "axis", &[0]),
        node("Reshape", &["all", "pairs"], &["rows"]),
        node("Slice", &["rows", "last", "before", "first", "back"], &["turned"]),
        with(node("Transpose", &["turned"], &["sides"]), "perm", &[1, 0]),
        node("Reshape", &["sides", "last"], &["flat"]),
        with(node("Cast", &["flat"], &["final"]), "to", &[7]),
        node("Pad", &["x", "final"], &["y"]),
    ];
    let mut zeros = nodes[0].clone();
    let zero = ints("", &[1], &[0]);
    zeros.attribute.push(AttributeProto {
        name: "value".to_owned(),
        t: Some(zero.into()),
        ..AttributeProto::default()
    });
    let mut nodes = nodes;
    nodes[0] = zeros;
    let stored = vec![
        ints("two", &[1], &[2]),
        ints("pads", &[2], &[0, 64]),
        ints("pairs", &[2], &[-1, 2]),
        ints("last", &[1], &[-1]),
        ints("before", &[1], &[-i64::MAX]),
        ints("first", &[1], &[0]),
        ints("back", &[1], &[-1]),
    ];
    let graph = model(value("x", &[1, 512]), nodes, stored, "y");
    assert_eq!(size(&graph, "y"), (512 + 64) * 4);
}

#[test]
fn values_of_two_axes_are_gathered_joined_chosen_and_reduced() {
    let grid = || ints("grid", &[2, 3], &[1, 2, 3, 4, 5, 6]);
    let shaped = |nodes: Vec<NodeProto>, mut stored: Vec<TensorProto>| {
        stored.push(grid());
        let mut nodes = nodes;
        nodes.push(node("Expand", &["x", "s"], &["y"]));
        size(&model(value("x", &[1]), nodes, stored, "y"), "y") / 4
    };
    let row = vec![with(node("Gather", &["grid", "one"], &["s"]), "axis", &[0])];
    assert_eq!(shaped(row, vec![ints("one", &[], &[1])]), 4 * 5 * 6);
    let column = vec![with(node("Gather", &["grid", "one"], &["s"]), "axis", &[1])];
    assert_eq!(shaped(column, vec![ints("one", &[], &[1])]), 2 * 5);
    let summed = vec![with(node("ReduceSum", &["grid", "zero"], &["s"]), "keepdims", &[0])];
    assert_eq!(shaped(summed, vec![ints("zero", &[1], &[0])]), 5 * 7 * 9);
    let least = vec![with(node("ReduceMin", &["grid", "one"], &["s"]), "keepdims", &[0])];
    assert_eq!(shaped(least, vec![ints("one", &[1], &[1])]), 4);
    let placed = vec![
        node("ScatterND", &["grid", "at", "new"], &["t"]),
        with(node("Gather", &["t", "one"], &["s"]), "axis", &[0]),
    ];
    let stored =
        vec![ints("at", &[1, 2], &[[1, 0]].concat()), ints("new", &[1], &[10]), ints("one", &[], &[1])];
    assert_eq!(shaped(placed, stored), 10 * 5 * 6);
    let chosen = vec![
        node("Greater", &["grid", "four"], &["large"]),
        node("Where", &["large", "grid", "four"], &["t"]),
        with(node("Gather", &["t", "one"], &["s"]), "axis", &[0]),
    ];
    assert_eq!(shaped(chosen, vec![ints("four", &[1, 1], &[4]), ints("one", &[], &[1])]), 4 * 5 * 6);
    let joined = vec![
        with(node("Concat", &["grid", "more"], &["t"]), "axis", &[1]),
        with(node("Gather", &["t", "zero"], &["s"]), "axis", &[0]),
    ];
    assert_eq!(shaped(joined, vec![ints("more", &[2, 1], &[7, 8]), ints("zero", &[], &[0])]), 2 * 3 * 7);
}

#[test]
fn loops_are_followed_to_their_largest_state() {
    let growing = |count: TensorProto| {
        let inner = vec![
            with(node("Concat", &["s", "x"], &["longer"]), "axis", &[0]),
            node("Identity", &["going"], &["goes"]),
        ];
        let body = body("body", &["i", "going", "s"], inner, &["goes", "longer"]);
        let repeat = holding(node("Loop", &["count", "yes", "x"], &["y"]), vec![body]);
        model(value("x", &[1, 1000]), vec![repeat], vec![count, flag("yes", 1)], "y")
    };
    let graph = growing(ints("count", &[], &[10]));
    assert_eq!(size(&graph, "y"), 11 * 4000);
    assert_eq!(size(&graph, "y (body)"), 10 * 4000, "the state before the last run");
    let none = growing(ints("count", &[], &[0]));
    assert_eq!(size(&none, "y"), 4000, "what goes in comes out");
    let mut unknown = growing(ints("other", &[], &[10]));
    unknown.graph.as_mut().unwrap().input.push(typed("count", 7, &[]));
    let error = infer(&unknown, &[]).unwrap_err();
    assert!(error.contains("how often it runs is not known"), "{error}");
    let endless = growing(ints("count", &[], &[i64::MAX]));
    assert!(infer(&endless, &[]).is_err(), "more runs than are followed");
}

#[test]
fn a_condition_that_is_computed_ends_a_loop() {
    let inner = vec![
        node("Add", &["n", "one"], &["next"]),
        node("Less", &["next", "seven"], &["goes"]),
        node("Identity", &["x"], &["slice"]),
    ];
    let body = body("body", &["i", "going", "n"], inner, &["goes", "next", "slice"]);
    let repeat = holding(node("Loop", &["", "yes", "zero"], &["n7", "y"]), vec![body]);
    let stored =
        vec![flag("yes", 1), ints("zero", &[], &[0]), ints("one", &[], &[1]), ints("seven", &[], &[7])];
    assert_eq!(size(&model(value("x", &[5]), vec![repeat], stored, "y"), "y"), 7 * 5 * 4);
}

#[test]
fn what_branches_store_and_hold_counts() {
    let branch = |name: &str, length: i64| {
        let inner = vec![
            with(node("RandomNormal", &[], &["noise"]), "shape", &[length, length]),
            node("Mul", &["noise", "w"], &["big"]),
            node("ReduceMax", &["big"], &["out"]),
        ];
        let mut attribute = body(name, &[], inner, &["out"]);
        attribute.g.as_mut().unwrap().initializer.push(stored("w", &[length]));
        attribute
    };
    let inner =
        holding(node("If", &["c"], &["deep"]), vec![branch("then_branch", 500), branch("else_branch", 4)]);
    let outer = vec![inner, node("Identity", &["deep"], &["out"])];
    let choice = holding(
        node("If", &["c"], &["y"]),
        vec![body("then_branch", &[], outer, &["out"]), branch("else_branch", 30)],
    );
    let graph = infer(&model(typed("c", 9, &[]), vec![choice], vec![], "y"), &[]).unwrap();
    let held = sizes(&graph)["y (body)"];
    assert!(held >= 2 * 500 * 500 * 4, "{held}: noise and product of the branch within the branch");
    assert_eq!(graph.weights().size().bytes(), (500 + 4 + 30) * 4);
}

#[test]
fn a_branch_that_fits_no_shape_does_not_run_and_that_is_told() {
    let reshaped =
        |name: &str, to: &str| body(name, &[], vec![node("Reshape", &["x", to], &["out"])], &["out"]);
    let choice = holding(
        node("If", &["c"], &["y"]),
        vec![reshaped("then_branch", "eights"), reshaped("else_branch", "sevens")],
    );
    let mut graph = model(
        value("x", &[16]),
        vec![choice],
        vec![ints("eights", &[2], &[2, 8]), ints("sevens", &[2], &[-1, 7])],
        "y",
    );
    graph.graph.as_mut().unwrap().input.push(typed("c", 9, &[]));
    let graph = infer(&graph, &[]).unwrap();
    assert_eq!(sizes(&graph)["y"], 64);
    let (node, reason) = graph.left_out().iter().next().unwrap();
    assert!(node.contains("`y`") && reason.contains("does not become [-1, 7]"), "{node}: {reason}");
}

#[test]
fn a_branch_of_which_nothing_is_known_is_no_branch_that_does_not_run() {
    let other = NodeProto { domain: "my.ops".to_owned(), ..node("Fancy", &["x"], &["out"]) };
    let choice = holding(
        node("If", &["c"], &["y"]),
        vec![
            body("then_branch", &[], vec![node("Relu", &["x"], &["out"])], &["out"]),
            body("else_branch", &[], vec![other], &["out"]),
        ],
    );
    let mut graph = model(value("x", &[16]), vec![choice], vec![], "y");
    graph.graph.as_mut().unwrap().input.push(typed("c", 9, &[]));
    let error = infer(&graph, &[]).unwrap_err();
    assert!(error.contains("no rule is known for this operator"), "{error}");
}

#[test]
fn what_is_computed_from_weights_is_resident_and_no_activation() {
    let nodes = vec![
        node("Identity", &["table"], &["tied"]),
        with(node("Transpose", &["tied"], &["head"]), "perm", &[1, 0]),
        node("MatMul", &["x", "head"], &["logits"]),
        with(node("Cast", &["table"], &["half"]), "to", &[10]),
        node("Reshape", &["half", "flat"], &["list"]),
        with(node("Gather", &["list", "x"], &["unused"]), "axis", &[0]),
        node("Add", &["logits", "tied_bias"], &["y"]),
        node("Identity", &["bias"], &["tied_bias"]),
    ];
    let mut nodes = nodes;
    nodes[5].input[1] = "places".to_owned();
    let stored = vec![stored("table", &[1000, 64]), stored("bias", &[1000]), ints("flat", &[1], &[-1])];
    let mut graph = model(value("x", &[1, 64]), nodes, stored, "y");
    graph.graph.as_mut().unwrap().input.push(typed("places", 7, &[3]));
    let graph = infer(&graph, &[]).unwrap();
    let ids: Vec<String> = sizes(&graph).into_keys().collect();
    assert_eq!(ids, ["logits", "places", "unused", "x", "y"]);
    assert_eq!(graph.weights().size().bytes(), 1000 * 64 * 4 + 1000 * 4 + 8);
    let derived: Vec<(&str, u64, bool)> = graph
        .derived()
        .iter()
        .map(|one| (one.tensor.as_str(), one.size.bytes(), one.avoidable.is_some()))
        .collect();
    assert_eq!(
        derived,
        [("head", 1000 * 64 * 4, true), ("half", 1000 * 64 * 2, false)],
        "views of the weights, and of what is computed from them, are no memory of their own"
    );
}

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

#[test]
fn functions_are_told_apart_by_overload_and_seen_from_bodies() {
    let function = |overload: &str, nodes: Vec<NodeProto>| FunctionProto {
        name: "F".to_owned(),
        domain: "local".to_owned(),
        overload: overload.to_owned(),
        input: vec!["a".to_owned()],
        output: vec!["b".to_owned()],
        node: nodes,
        ..FunctionProto::default()
    };
    let call = |overload: &str| NodeProto {
        domain: "local".to_owned(),
        overload: overload.to_owned(),
        ..node("F", &["x"], &["y"])
    };
    let mut graph = model(value("x", &[100]), vec![call("half")], vec![], "y");
    graph.functions = vec![
        function("", vec![node("Identity", &["a"], &["b"])]),
        function("half", vec![with(node("Cast", &["a"], &["b"]), "to", &[10])]),
    ];
    assert_eq!(size(&graph, "y"), 200);
    graph.graph.as_mut().unwrap().node = vec![call("")];
    assert_eq!(size(&graph, "y"), 400);
    // A body within the function reads the function's input, and has a name of its own.
    let branch = |name: &str| body(name, &[], vec![node("Relu", &["a"], &["own"])], &["own"]);
    let choice = holding(node("If", &["a"], &["b"]), vec![branch("then_branch"), branch("else_branch")]);
    graph.functions = vec![function("", vec![choice])];
    assert_eq!(size(&graph, "y"), 400);
}

#[test]
fn sequences_are_known_by_their_elements() {
    let nodes = vec![
        with(node("SplitToSequence", &["x", "four"], &["parts"]), "axis", &[0]),
        node("SequenceAt", &["parts", "last"], &["part"]),
        node("SequenceInsert", &["parts", "part"], &["more"]),
        with(node("ConcatFromSequence", &["more"], &["y"]), "axis", &[0]),
        node("SequenceLength", &["more"], &["n"]),
        node("Expand", &["one", "n"], &["z"]),
    ];
    let stored = vec![ints("four", &[], &[4]), ints("last", &[], &[-1]), ints("one", &[], &[1])];
    let graph = model(value("x", &[10, 3]), nodes, stored, "y");
    let graph = sizes(&infer(&graph, &[]).unwrap());
    assert_eq!((graph["part"], graph["y"], graph["z"]), (2 * 3 * 4, 12 * 3 * 4, 4 * 8));
    assert_eq!(graph["more"], 12 * 3 * 4, "a sequence takes what its elements do");
}

#[test]
fn an_output_that_nobody_makes_is_an_error() {
    let error =
        infer(&model(value("x", &[8]), vec![node("Relu", &["x"], &["y"])], vec![], "z"), &[]).unwrap_err();
    assert!(error.ends_with("nothing makes its output `z`"), "{error}");
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
fn integers_keep_to_their_types() {
    let as_length = |nodes: Vec<NodeProto>, stored: Vec<TensorProto>| {
        let mut nodes = nodes;
        nodes.push(node("Expand", &["x", "s"], &["y"]));
        infer(&model(value("x", &[1]), nodes, stored, "y"), &[]).map(|graph| sizes(&graph)["y"])
    };
    let cast = |to: i64| {
        vec![with(node("Cast", &["v"], &["w"]), "to", &[to]), with(node("Cast", &["w"], &["s"]), "to", &[7])]
    };
    assert_eq!(as_length(cast(2), vec![ints("v", &[1], &[300])]), Ok(44 * 4));
    assert_eq!(as_length(cast(6), vec![ints("v", &[1], &[(1 << 32) + 5])]), Ok(5 * 4));
    let small = TensorProto { data_type: 2, int32_data: vec![1], ..stored("v", &[1]) };
    let two = TensorProto { data_type: 2, int32_data: vec![2], ..stored("two", &[1]) };
    let below = vec![node("Sub", &["v", "two"], &["w"]), with(node("Cast", &["w"], &["s"]), "to", &[7])];
    assert!(as_length(below, vec![small, two]).unwrap_err().contains("not known"));
    let none = TensorProto { float_data: vec![f32::NAN], ..stored("v", &[1]) };
    assert!(as_length(cast(7), vec![none]).unwrap_err().contains("not known"));
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
fn functions_keep_their_names_apart_from_the_callers() {
    // The body's own `x` is named as what the caller gives.
    let inner = vec![
        with(node("Concat", &["a", "a"], &["x"]), "axis", &[0]),
        with(node("Concat", &["x", "a"], &["r"]), "axis", &[0]),
    ];
    let choice = holding(
        node("If", &["c"], &["b"]),
        vec![body("then_branch", &[], inner.clone(), &["r"]), body("else_branch", &[], inner, &["r"])],
    );
    let call = NodeProto { domain: "local".to_owned(), ..node("F", &["x", "c"], &["y"]) };
    let mut graph = model(value("x", &[3]), vec![call], vec![], "y");
    graph.graph.as_mut().unwrap().input.push(typed("c", 9, &[]));
    graph.functions = vec![FunctionProto {
        name: "F".to_owned(),
        domain: "local".to_owned(),
        input: vec!["a".to_owned(), "c".to_owned()],
        output: vec!["b".to_owned()],
        node: vec![choice],
        ..FunctionProto::default()
    }];
    assert_eq!(size(&graph, "y"), 9 * 4);
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
fn what_is_done_twice_to_the_same_weights_is_held_once() {
    let turned = |output: &str| with(node("Transpose", &["w"], &[output]), "perm", &[1, 0]);
    let nodes = vec![
        turned("a"),
        turned("b"),
        node("MatMul", &["x", "a"], &["p"]),
        node("MatMul", &["x", "b"], &["q"]),
        node("Add", &["p", "q"], &["y"]),
    ];
    let graph = model(value("x", &[1, 8]), nodes, vec![stored("w", &[4, 8])], "y");
    let graph = infer(&graph, &[]).unwrap();
    assert_eq!(graph.derived().len(), 1);
    assert_eq!(graph.derived()[0].size.bytes(), 4 * 8 * 4);
}
