mod decided;
mod followed;
mod memory;
mod operators;
mod parts;
mod rules;
mod weights;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use proptest::prelude::*;
use prost::Message as _;

use super::graph::{OnnxGraph, Sizes, parse, read};
use super::proto::*;

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |&size: &i64| Dimension { dim_value: Some(size), dim_param: None };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor_type = TensorTypeProto { elem_type: 1, shape: Some(shape) };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { tensor_type: Some(tensor_type), ..TypeProto::default() }),
    }
}

fn symbolic(name: &str, symbol: &str) -> ValueInfoProto {
    let mut info = value(name, &[1, 3, 8, 8]);
    let shape = info.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape.as_mut().unwrap();
    shape.dim[0] = Dimension { dim_value: None, dim_param: Some(symbol.to_owned()) };
    info
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    NodeProto { input: names(inputs), output: names(outputs), op_type: op.to_owned(), ..NodeProto::default() }
}

fn with(mut node: NodeProto, name: &str, ints: &[i64]) -> NodeProto {
    let i = if let [one] = ints { *one } else { 0 };
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        i,
        ints: ints.to_vec(),
        ..AttributeProto::default()
    });
    node
}

fn stored(name: &str, dims: &[i64]) -> TensorProto {
    TensorProto { name: name.to_owned(), dims: dims.to_vec(), data_type: 1, ..TensorProto::default() }
}

fn model(
    input: ValueInfoProto,
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
    output: &str,
) -> ModelProto {
    let output = ValueInfoProto { name: output.to_owned(), r#type: None };
    let graph = GraphProto {
        node: nodes,
        initializer: weights,
        input: vec![input],
        output: vec![output],
        ..GraphProto::default()
    };
    ModelProto { graph: Some(graph), ..ModelProto::default() }
}

fn infer(model: &ModelProto, dims: &[(&str, u64)]) -> Result<OnnxGraph, String> {
    let dims: BTreeMap<String, u64> = dims.iter().map(|&(name, size)| (name.to_owned(), size)).collect();
    read_bytes(model.encode_to_vec(), Sizes { dims: &dims, measured: None })
}

fn read_bytes(bytes: Vec<u8>, sizes: Sizes<'_>) -> Result<OnnxGraph, String> {
    let length = bytes.len() as u64;
    parse(Path::new("g.onnx"), &mut Cursor::new(bytes), length, sizes).map_err(|error| error.to_string())
}

/// conv, relu, a skip round a second conv, addition, flattening through a computed shape.
fn network() -> ModelProto {
    model(
        symbolic("x", "batch"),
        vec![
            with(node("Conv", &["x", "w"], &["c"]), "pads", &[1, 1, 1, 1]),
            node("Relu", &["c"], &["r"]),
            with(node("Conv", &["r", "v"], &["d"]), "pads", &[1, 1, 1, 1]),
            node("Add", &["d", "r"], &["a"]),
            node("Shape", &["a"], &["s"]),
            with(node("Gather", &["s", "zero"], &["n"]), "axis", &[0]),
            with(node("Concat", &["n", "rest"], &["t"]), "axis", &[0]),
            node("Reshape", &["a", "t"], &["y"]),
        ],
        vec![
            stored("w", &[4, 3, 3, 3]),
            stored("v", &[4, 4, 3, 3]),
            TensorProto { data_type: 7, int64_data: vec![0], ..stored("zero", &[1]) },
            TensorProto { data_type: 7, int64_data: vec![-1], ..stored("rest", &[1]) },
        ],
        "y",
    )
}

#[test]
fn lifetimes_follow_the_graph() {
    let graph = infer(&network(), &[("batch", 2)]).unwrap();
    let model = graph.model(&"g".into(), 256, false);
    let found: Vec<(&str, u64, u64, u64)> =
        model.tensors.iter().map(|t| (&*t.id, t.start.0, t.end.0, t.size.bytes())).collect();
    let image = 2 * 4 * 8 * 8 * 4;
    assert_eq!(
        found,
        [
            ("x", 0, 1, 2 * 3 * 8 * 8 * 4),
            ("c", 0, 2, image),
            ("r", 1, 4, image),
            ("d", 2, 4, image),
            ("a", 3, 8, image),
            ("s", 4, 6, 32),
            ("n", 5, 7, 8),
            ("t", 6, 8, 16),
            ("y", 7, 8, image),
        ]
    );
    assert_eq!(graph.weights().size().bytes(), (4 * 3 * 9 + 4 * 4 * 9) * 4 + 16);
    assert_eq!(model.tensors[2].reads.iter().map(|r| r.0).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn operators_in_place_are_aliased_only_when_asked_for() {
    let graph = infer(&network(), &[("batch", 1)]).unwrap();
    assert!(graph.model(&"g".into(), 256, false).tensors.iter().all(|tensor| tensor.alias_group.is_none()));
    let model = graph.model(&"g".into(), 256, true);
    let group =
        |id: &str| model.tensors.iter().find(|tensor| &*tensor.id == id).unwrap().alias_group.as_deref();
    assert_eq!((group("c"), group("r")), (Some("c"), Some("c")));
    assert_eq!((group("d"), group("a")), (Some("d"), Some("d")), "r is read twice, d once");
    assert_eq!((group("x"), group("y")), (None, None), "a is read by Shape too");
}

#[test]
fn an_input_that_is_stretched_is_not_written_over() {
    let nodes = vec![
        node("Neg", &["short"], &["s"]),
        node("Pow", &["x", "s"], &["y"]),
        node("Identity", &["y"], &["z"]),
    ];
    let mut graph = model(value("x", &[2, 2]), nodes, vec![], "z");
    let mut short = value("short", &[2]);
    short.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = 7;
    graph.graph.as_mut().unwrap().input.push(short);
    let tensors = infer(&graph, &[]).unwrap().model(&"g".into(), 1, true).tensors;
    let group = |id: &str| tensors.iter().find(|tensor| &*tensor.id == id).unwrap().alias_group.clone();
    assert_eq!(group("s"), None, "16 bytes, as its reader's output, and read twice");
}

/// Two wide branches, both begun before either is reduced; a constant that one of them needs first.
fn branches() -> ModelProto {
    model(
        value("x", &[1, 4, 16, 16]),
        vec![
            with(node("Conv", &["x", "w"], &["a"]), "pads", &[0, 0, 0, 0]),
            with(node("Conv", &["x", "w"], &["b"]), "pads", &[0, 0, 0, 0]),
            node("GlobalAveragePool", &["a"], &["p"]),
            node("GlobalAveragePool", &["b"], &["q"]),
            node("Add", &["p", "q"], &["y"]),
        ],
        vec![stored("w", &[64, 4, 1, 1])],
        "y",
    )
}

fn endless() -> vramkit_plan::OrderBudget<'static> {
    vramkit_plan::OrderBudget::new(std::time::Duration::MAX, &())
}

#[test]
fn another_order_holds_one_branch_at_a_time() {
    let mut graph = infer(&branches(), &[]).unwrap();
    let before = graph.model(&"g".into(), 1, false);
    let saving = graph.reorder(false, &endless());
    let wide = 64 * 16 * 16 * 4;
    assert_eq!(saving.before.bytes(), 4 * 16 * 16 * 4 + 2 * wide);
    assert_eq!((saving.reordered.bytes(), saving.proven), (4 * 16 * 16 * 4 + wide + 64 * 4, true));
    assert_eq!((saving.recomputed, saving.repeated), (saving.reordered, 0));
    let after = graph.model(&"g".into(), 1, false);
    let peak = |model: &vramkit_plan::Model| {
        vramkit_plan::LifetimeAnalyzer::new(&model.tensors, Default::default()).peak().unwrap()
    };
    assert_eq!((peak(&before), peak(&after)), (saving.before, saving.reordered));
    let named = |model: &vramkit_plan::Model| {
        let mut ids: Vec<_> = model.tensors.iter().map(|t| (t.id.clone(), t.size)).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(named(&before), named(&after), "the same tensors, at other times");
    // An order that is best already stays.
    let again = graph.reorder(false, &endless());
    assert_eq!(graph.recompute(again, false, &endless()), again);
    assert_eq!((again.before, again.reordered), (saving.reordered, saving.reordered));
}

/// A skip over a wide middle, made by a Relu from what is wanted again anyway.
fn skip() -> ModelProto {
    model(
        value("x", &[1, 4, 16, 16]),
        vec![
            node("Relu", &["x"], &["r"]),
            with(node("Conv", &["r", "w"], &["wide"]), "pads", &[0, 0, 0, 0]),
            node("Sigmoid", &["wide"], &["s"]),
            with(node("Conv", &["s", "v"], &["n"]), "pads", &[0, 0, 0, 0]),
            node("Add", &["n", "r"], &["m"]),
            node("Add", &["m", "x"], &["y"]),
        ],
        vec![stored("w", &[64, 4, 1, 1]), stored("v", &[4, 64, 1, 1])],
        "y",
    )
}

#[test]
fn orders_are_judged_with_operators_in_place() {
    let reordered = |in_place: bool| {
        let mut graph = infer(&skip(), &[]).unwrap();
        let saving = graph.reorder(in_place, &endless());
        let model = graph.model(&"g".into(), 1, in_place);
        let peak = vramkit_plan::LifetimeAnalyzer::new(&model.tensors, Default::default()).peak().unwrap();
        assert_eq!((saving.reordered, saving.bound, saving.proven), (peak, peak, true));
        peak.bytes()
    };
    let (narrow, wide) = (4 * 16 * 16 * 4, 64 * 16 * 16 * 4);
    assert_eq!((reordered(false), reordered(true)), (2 * narrow + 2 * wide, 3 * narrow + wide));
}

#[test]
fn cheap_operators_run_again_where_that_holds_less() {
    let mut graph = infer(&skip(), &[]).unwrap();
    let ordered = graph.reorder(false, &endless());
    let saving = graph.recompute(ordered, false, &endless());
    assert_eq!((saving.reordered, ordered.repeated), (ordered.reordered, 0));
    assert_eq!(saving.repeated, 1);
    assert_eq!(saving.reordered.bytes() - saving.recomputed.bytes(), 4 * 16 * 16 * 4);
    let tensors = graph.model(&"g".into(), 1, false).tensors;
    let life =
        |id: &str| tensors.iter().find(|t| t.id.starts_with(id)).map(|t| (t.start.0, t.end.0)).unwrap();
    let (first, again) = (life("r"), life("r (again"));
    assert!(first.1 < again.0, "{first:?} {again:?}");
}

#[test]
fn what_is_missing_is_named() {
    let error = infer(&network(), &[]).unwrap_err();
    assert!(error.ends_with("dimension `batch` (axis 0 of `x`) has no size"), "{error}");
    let mut unknown = network();
    let nodes = &mut unknown.graph.as_mut().unwrap().node;
    nodes[1] =
        NodeProto { name: "act".to_owned(), domain: "my.ops".to_owned(), ..node("Fancy", &["c"], &["r"]) };
    let error = infer(&unknown, &[("batch", 1)]).unwrap_err();
    assert!(error.contains("node `act` (my.ops.Fancy): no rule is known"), "{error}");
    unknown.graph.as_mut().unwrap().value_info.push(value("r", &[1, 4, 8, 8]));
    assert!(infer(&unknown, &[("batch", 1)]).is_ok(), "the file carries the shape itself");
    let mut dangling = network();
    dangling.graph.as_mut().unwrap().node[3].input[0] = "ghost".to_owned();
    let error = infer(&dangling, &[("batch", 1)]).unwrap_err();
    assert!(error.contains("the node that makes `a` (Add): nothing makes its input `ghost`"), "{error}");
}

#[test]
fn cycles_are_found_and_careless_orders_sorted() {
    let mut cyclic = network();
    cyclic.graph.as_mut().unwrap().node[1].input[0] = "a".to_owned();
    let error = infer(&cyclic, &[("batch", 1)]).unwrap_err();
    assert!(error.contains("the graph has a cycle"), "{error}");
    let mut shuffled = network();
    shuffled.graph.as_mut().unwrap().node.swap(0, 2);
    let sorted = infer(&shuffled, &[("batch", 1)]).unwrap();
    let straight = infer(&network(), &[("batch", 1)]).unwrap();
    assert_eq!(sorted.model(&"g".into(), 1, false), straight.model(&"g".into(), 1, false));
}

#[test]
fn weights_beside_the_file_must_be_there_and_inside_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("model")).unwrap();
    std::fs::write(folder.path().join("model/w.bin"), vec![0; 4 * 3 * 9 * 4 + 8]).unwrap();
    std::fs::write(folder.path().join("outside.bin"), vec![0; 1000]).unwrap();
    let external = |location: &str, offset: &str| {
        let mut model = network();
        let entry =
            |key: &str, value: &str| StringStringEntry { key: key.to_owned(), value: value.to_owned() };
        let weights = &mut model.graph.as_mut().unwrap().initializer[0];
        weights.data_location = 1;
        weights.external_data = vec![entry("location", location), entry("offset", offset)];
        let dims = BTreeMap::from([("batch".to_owned(), 1)]);
        let path = folder.path().join("model/g.onnx");
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        read(&path, Sizes { dims: &dims, measured: None }).map_err(|e| e.to_string())
    };
    assert!(external("w.bin", "8").is_ok());
    for (location, offset, reason) in [
        ("w.bin", "9", "440 bytes; 432 from 9 on are wanted"),
        ("w.bin", "-1", "offset `-1`"),
        ("w.bin", "18446744073709551615", "are wanted"),
        ("missing.bin", "0", "cannot be read"),
        ("../outside.bin", "0", "outside the model's folder"),
        ("/etc/passwd", "0", "outside the model's folder"),
        ("", "0", "outside the model's folder"),
    ] {
        let error = external(location, offset).unwrap_err();
        assert!(error.contains(reason) && error.contains("initialiser `w`"), "{location}: {error}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.path().join("outside.bin"), folder.path().join("model/link.bin"))
            .unwrap();
        assert!(external("link.bin", "0").unwrap_err().contains("outside the model's folder"));
    }
}

#[test]
fn functions_of_the_file_are_put_in_place_of_their_calls() {
    let mut model = network();
    let function = FunctionProto {
        name: "Act".to_owned(),
        domain: "local".to_owned(),
        input: vec!["in".to_owned()],
        output: vec!["out".to_owned()],
        node: vec![node("Sigmoid", &["in"], &["gate"]), node("Mul", &["in", "gate"], &["out"])],
        ..FunctionProto::default()
    };
    model.graph.as_mut().unwrap().node[1] =
        NodeProto { domain: "local".to_owned(), ..node("Act", &["c"], &["r"]) };
    model.functions.push(function.clone());
    let graph = infer(&model, &[("batch", 1)]).unwrap();
    let tensors = graph.model(&"g".into(), 1, false).tensors;
    let gate = tensors
        .iter()
        .find(|tensor| tensor.id.contains("gate"))
        .expect("the function's own tensor is counted");
    assert_eq!((gate.start.0, gate.end.0), (1, 3));
    let mut endless = function;
    endless.node[0] = NodeProto { domain: "local".to_owned(), ..node("Act", &["in"], &["gate"]) };
    model.functions = vec![endless];
    assert!(infer(&model, &[("batch", 1)]).unwrap_err().contains("the function calls itself"));
}

#[test]
fn a_branch_holds_memory_while_it_runs() {
    let branch = |name: &str, size: i64| AttributeProto {
        name: name.to_owned(),
        g: Some(Box::new(GraphProto {
            node: vec![
                with(node("RandomNormal", &[], &["big"]), "shape", &[size, 2]),
                node("Neg", &["big"], &["bigger"]),
                with(node("ReduceSum", &["bigger"], &["out"]), "keepdims", &[0]),
            ],
            output: vec![ValueInfoProto { name: "out".to_owned(), r#type: None }],
            ..GraphProto::default()
        })),
        ..AttributeProto::default()
    };
    let mut choice = node("If", &["x"], &["y"]);
    choice.attribute = vec![branch("then_branch", 10), branch("else_branch", 100)];
    let mut model = model(value("x", &[]), vec![choice], vec![], "y");
    model.graph.as_mut().unwrap().input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type =
        9;
    let tensors = infer(&model, &[]).unwrap().model(&"g".into(), 1, false).tensors;
    let sizes: Vec<u64> = tensors.iter().map(|tensor| tensor.size.bytes()).collect();
    assert_eq!(sizes, [1, 4, 2 * 100 * 2 * 4], "input, result, and both tensors of the larger branch");
}

#[test]
fn hostile_sizes_are_errors() {
    let vast =
        |dims: &[i64]| infer(&model(value("x", dims), vec![node("Relu", &["x"], &["y"])], vec![], "y"), &[]);
    assert!(vast(&[i64::MAX, i64::MAX]).unwrap_err().contains("more than 2^64 elements"));
    assert!(vast(&[i64::MAX, 2]).unwrap_err().contains("2^64 bits or more"));
    assert!(vast(&[-3]).is_err());
    assert!(vast(&[0, i64::MAX]).is_ok());
    for (name, ints) in [
        ("strides", &[i64::MAX, i64::MAX][..]),
        ("dilations", &[i64::MAX, 2]),
        ("pads", &[i64::MIN, 0, 0, i64::MAX]),
        ("strides", &[0, 0]),
        ("kernel_shape", &[-1, 3]),
    ] {
        let mut model = network();
        let conv = &mut model.graph.as_mut().unwrap().node[0];
        conv.attribute.clear();
        *conv = with(conv.clone(), name, ints);
        let _ = infer(&model, &[("batch", 1)]);
    }
}

#[test]
fn bombs_are_refused_at_once() {
    let split = with(node("Split", &["x"], &["y"]), "num_outputs", &[i64::MAX]);
    let error = infer(&model(value("x", &[8]), vec![split], vec![], "y"), &[]).unwrap_err();
    assert!(error.contains("parts for 1 outputs"), "{error}");
    // Each function calls the next twice, and the last has nothing in it.
    let mut bomb = model(value("x", &[8]), vec![node("F0", &["x"], &["y"])], vec![], "y");
    for depth in 0..30 {
        let calls = if depth < 29 { 2 } else { 0 };
        let name = |depth| format!("F{depth}");
        let call = NodeProto { op_type: name(depth + 1), ..node("", &["in"], &["out"]) };
        bomb.functions.push(FunctionProto {
            name: name(depth),
            input: vec!["in".to_owned()],
            output: vec!["out".to_owned()],
            node: vec![call; calls],
            ..FunctionProto::default()
        });
    }
    let error = infer(&bomb, &[]).unwrap_err();
    assert!(error.contains("with its functions in the place of their calls"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Bytes of a real model, some changed, some cut off: an error or a graph, never a panic.
    #[test]
    fn no_bytes_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>(), whole: bool) {
        let mut bytes = network().encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        let dims = BTreeMap::from([("batch".to_owned(), 3)]);
        if let Ok(graph) = read_bytes(bytes, Sizes { dims: &dims, measured: None }) {
            let model = graph.model(&"g".into(), 256, true);
            let _ = vramkit_plan::MemoryPlanner::new().plan(&[model], vramkit_plan::Schedule::Fixed);
        }
    }

    #[test]
    fn no_noise_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_bytes(bytes, Sizes { dims: &BTreeMap::new(), measured: None });
    }
}
