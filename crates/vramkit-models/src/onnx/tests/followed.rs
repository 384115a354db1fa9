//! Values followed through tensors of any rank, through bodies and functions.

use super::super::proto::*;
use super::parts::*;
use super::{infer, model, node, stored, value, with};

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
