//! Shape rules of operators from outside the standard, and that no node makes any rule panic. All of them beside
//! ONNX Runtime: `scripts/check-operators`.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::context::Context;
use super::super::fact::Fact;
use super::super::infer::Scope;
use super::super::measured::Measured;
use super::super::node::{Node, Outputs};
use super::super::proto::{AttributeProto, NodeProto};
use super::super::rules;
use super::super::value::Value;
use super::{infer, model, node, stored, value, with};
use crate::DataType;

const DOMAINS: [&str; 5] = ["", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"];

const F32: DataType = DataType::FLOAT;
const F16: DataType = DataType::FLOAT16;
const U8: DataType = DataType::UINT8;

fn of(dtype: DataType, shape: &[i64]) -> Option<Fact> {
    Some(Fact::new(dtype, shape.to_vec()))
}

fn f32s(shape: &[i64]) -> Option<Fact> {
    of(F32, shape)
}

/// A list of integers that is in the file.
fn known(values: &[i64]) -> Option<Fact> {
    Some(Fact::ints(values.to_vec()))
}

fn rule(proto: &NodeProto, inputs: &[Option<Fact>]) -> Option<Outputs> {
    let node = Node::new(proto, inputs.iter().map(Option::as_ref).collect());
    let (dims, measured) = (BTreeMap::new(), Measured::default());
    let context = Context::new(23, &dims, &measured, 0);
    rules::apply(&node, 23, &Scope::new(&context))
}

fn attributes(domain: &str, op: &str, given: &[(&str, &[i64])]) -> NodeProto {
    let bare = NodeProto { domain: domain.to_owned(), ..node(op, &[], &[]) };
    given.iter().fold(bare, |node, &(name, ints)| with(node, name, ints))
}

/// What the outputs of an operator of ONNX Runtime's look like.
fn outputs(op: &str, given: &[(&str, &[i64])], inputs: &[Option<Fact>]) -> Outputs {
    rule(&attributes("com.microsoft", op, given), inputs).expect("there is a rule")
}

fn refused(op: &str, given: &[(&str, &[i64])], inputs: &[Option<Fact>]) -> String {
    outputs(op, given, inputs).unwrap_err()
}

#[test]
fn present_keys_are_past_and_new_ones_or_one_buffer_with_the_past() {
    let heads: &[(&str, &[i64])] = &[("num_heads", &[2])];
    let merged = [f32s(&[2, 5, 8]), f32s(&[8, 24]), None, None, f32s(&[2, 2, 2, 3, 4])];
    assert_eq!(outputs("Attention", heads, &merged).unwrap()[1], f32s(&[2, 2, 2, 8, 4]));
    let shared: &[(&str, &[i64])] = &[("num_heads", &[2]), ("past_present_share_buffer", &[1])];
    assert_eq!(outputs("Attention", shared, &merged).unwrap()[1], f32s(&[2, 2, 2, 3, 4]));
    let sizes: &[(&str, &[i64])] = &[("num_heads", &[2]), ("qkv_hidden_sizes", &[8, 8, 12])];
    let apart = outputs("Attention", sizes, &[f32s(&[2, 5, 8]), f32s(&[8, 28])]).unwrap();
    assert_eq!(apart, [f32s(&[2, 5, 12]), None], "keys and values of different sizes are not one tensor");

    let token = f32s(&[2, 5, 8]);
    let past = f32s(&[2, 2, 3, 4]);
    let inputs = [
        token.clone(),
        token.clone(),
        token.clone(),
        None,
        None,
        None,
        past.clone(),
        past.clone(),
        known(&[3]),
    ];
    let grown = outputs("MultiHeadAttention", heads, &inputs[..8]).unwrap();
    assert_eq!(grown, [token.clone(), f32s(&[2, 2, 8, 4]), f32s(&[2, 2, 8, 4]), f32s(&[2, 2, 5, 8])]);
    let kept = outputs("MultiHeadAttention", heads, &inputs).unwrap();
    assert_eq!(kept, [token, past.clone(), past]);
}

#[test]
fn grouped_queries_have_as_many_keys_as_the_total_length_or_the_buffer() {
    let heads: &[(&str, &[i64])] = &[("num_heads", &[8]), ("kv_num_heads", &[2])];
    let new = of(F16, &[1, 1, 16]);
    let grouped = |past: i64, total: Option<Fact>| {
        let past = of(F16, &[1, 2, past, 8]);
        let inputs = [of(F16, &[1, 1, 64]), new.clone(), new.clone(), past.clone(), past, known(&[6]), total];
        outputs("GroupQueryAttention", heads, &inputs).unwrap()
    };
    assert_eq!(grouped(6, known(&[7]))[1], of(F16, &[1, 2, 7, 8]));
    assert_eq!(grouped(4096, known(&[7]))[1], of(F16, &[1, 2, 4096, 8]), "a buffer stays as long as it is");
    let unknown = grouped(6, of(DataType::INT32, &[]));
    let most = of(F16, &[1, 2, 7, 8]).map(Fact::at_most);
    assert_eq!(unknown[..3], [of(F16, &[1, 1, 64]), most.clone(), most], "the past and the new ones at most");
    let packed = [of(F16, &[1, 4, 96]), None, None, None, None, known(&[3]), known(&[4])];
    let first = outputs("GroupQueryAttention", heads, &packed).unwrap();
    assert_eq!((&first[0], &first[1]), (&of(F16, &[1, 4, 64]), &of(F16, &[1, 2, 4, 8])));
    let error = refused("GroupQueryAttention", heads, &[f32s(&[1, 4, 65])]);
    assert_eq!(error, "65 is not 12 equal parts");
}

#[test]
fn the_standard_attention_gives_each_output_its_own_type() {
    let proto = attributes("", "Attention", &[("q_num_heads", &[4]), ("kv_num_heads", &[2])]);
    let inputs = [f32s(&[2, 5, 32]), f32s(&[2, 7, 16]), of(F16, &[2, 7, 24]), None, f32s(&[2, 2, 3, 8])];
    let found = rule(&proto, &inputs).unwrap().unwrap();
    let values = of(F16, &[2, 2, 10, 12]);
    assert_eq!(found, [f32s(&[2, 5, 48]), f32s(&[2, 2, 10, 8]), values, f32s(&[2, 4, 5, 10])]);
}

#[test]
fn factors_are_turned_before_they_are_multiplied() {
    let product = |given: &[(&str, &[i64])], a: &[i64], b: &[i64]| {
        outputs("FusedMatMul", given, &[f32s(a), f32s(b)]).map(|outputs| outputs[0].clone())
    };
    let turned: &[(&str, &[i64])] = &[("transA", &[1]), ("transB", &[1])];
    assert_eq!(product(turned, &[2, 4, 3], &[5, 4]), Ok(f32s(&[2, 3, 5])));
    let batch: &[(&str, &[i64])] = &[("transBatchA", &[1]), ("transA", &[1])];
    assert_eq!(product(batch, &[4, 2, 3], &[2, 4, 5]), Ok(f32s(&[2, 3, 5])));
    assert_eq!(product(turned, &[4], &[5, 4]), Ok(f32s(&[5])), "a list stays as it is");
    assert_eq!(product(&[], &[2, 3], &[4, 5]), Err("3 columns meet 4 rows".to_owned()));
}

#[test]
fn packed_weights_give_as_many_columns_as_they_say() {
    let sizes: &[(&str, &[i64])] = &[("K", &[64]), ("N", &[6])];
    assert_eq!(outputs("MatMulNBits", sizes, &[of(F16, &[2, 5, 64])]), Ok(vec![of(F16, &[2, 5, 6])]));
    assert_eq!(refused("MatMulNBits", sizes, &[f32s(&[2, 5, 63])]), "63 columns meet 64 rows");
    assert_eq!(refused("MatMulNBits", &[("K", &[64])], &[f32s(&[64])]), "attribute `N` is missing");
    assert_eq!(refused("MatMulNBits", &[("K", &[64]), ("N", &[-6])], &[f32s(&[64])]), "attribute `N` is -6");
    let table = [of(U8, &[9, 16]), of(DataType::INT64, &[2, 3]), of(F16, &[9, 2])];
    let gathered = |bits: i64| outputs("GatherBlockQuantized", &[("bits", &[bits])], &table);
    assert_eq!(gathered(4), Ok(vec![of(F16, &[2, 3, 32])]));
    assert_eq!(gathered(8), Ok(vec![of(F16, &[2, 3, 16])]));
    assert_eq!(gathered(0), Err("attribute `bits` is 0".to_owned()));
}

#[test]
fn channels_may_come_last() {
    let scales = [f32s(&[]), of(U8, &[]), f32s(&[]), of(U8, &[])];
    let inputs = |image: &[i64]| [&[of(U8, image)], scales.as_slice()].concat();
    let given: &[(&str, &[i64])] = &[("kernel_shape", &[3, 3]), ("channels_last", &[1])];
    let pooled = outputs("QLinearAveragePool", given, &inputs(&[1, 9, 8, 4])).unwrap();
    assert_eq!(pooled[0], of(U8, &[1, 7, 6, 4]));
    let convolved = outputs("NhwcConv", &[], &[f32s(&[1, 9, 8, 4]), f32s(&[16, 4, 3, 3])]);
    assert_eq!(convolved, Ok(vec![f32s(&[1, 7, 6, 16])]));
    assert_eq!(refused("NhwcConv", &[], &[f32s(&[9, 4])]), "an image of rank 2");
}

#[test]
fn how_much_of_a_processor_s_block_is_filled_is_told_only_where_all_agree() {
    let layout = |op: &str, given: &[(&str, &[i64])], inputs: &[Option<Fact>]| {
        rule(&attributes("com.microsoft.nchwc", op, given), inputs).expect("there is a rule")
    };
    assert_eq!(layout("ReorderInput", &[], &[f32s(&[1, 12, 5, 5])]), Ok(vec![f32s(&[1, 16, 5, 5])]));
    let last: &[(&str, &[i64])] = &[("channels_last", &[1])];
    assert_eq!(layout("ReorderInput", last, &[f32s(&[1, 5, 6, 32])]), Ok(vec![f32s(&[1, 32, 5, 6])]));
    assert_eq!(
        layout("ReorderInput", &[], &[f32s(&[1, 24, 5, 5])]).unwrap_err(),
        "its 24 channels are filled up to 24 or to 32, after the processor for which the file was made"
    );
    let left = layout("ReorderOutput", &[("channels", &[20])], &[f32s(&[1, 32, 5, 5])]);
    assert_eq!(left, Ok(vec![f32s(&[1, 20, 5, 5])]));
    // An image of three channels meets weights that are in blocks.
    let convolved = layout("Conv", &[], &[f32s(&[1, 3, 9, 9]), f32s(&[32, 3, 3, 3])]);
    assert_eq!(convolved, Ok(vec![f32s(&[1, 32, 7, 7])]));
}

#[test]
fn classifiers_give_a_score_for_each_class() {
    let classified = |op: &str, labels: &[i64], floats: &[(&str, usize)], ints: &[(&str, &[i64])]| {
        let mut proto = attributes("ai.onnx.ml", op, ints);
        for &(name, count) in floats {
            let floats = vec![0.0; count];
            proto.attribute.push(AttributeProto { name: name.to_owned(), floats, ..Default::default() });
        }
        let proto = with(with(proto, "classlabels_ints", labels), "classlabels_int64s", labels);
        let found = rule(&proto, &[f32s(&[5, 4])]).expect("there is a rule").unwrap();
        assert_eq!(found[0], of(DataType::INT64, &[5]));
        found[1].as_ref().map(|fact| fact.shape.clone())
    };
    let linear = |labels: &[i64], intercepts| {
        classified("LinearClassifier", labels, &[("intercepts", intercepts)], &[])
    };
    assert_eq!(linear(&[0, 1, 2], 3), Some(vec![5, 3]));
    assert_eq!(linear(&[0, 1], 1), Some(vec![5, 2]), "one score tells two classes apart");
    assert_eq!(linear(&[], 0), None);
    assert_eq!(classified("TreeEnsembleClassifier", &[0, 1], &[], &[]), Some(vec![5, 2]));
    let counts: &[(&str, &[i64])] = &[("vectors_per_class", &[1, 1, 1, 1])];
    assert_eq!(classified("SVMClassifier", &[0, 1, 2, 3], &[], counts), Some(vec![5, 6]));
    assert_eq!(classified("SVMClassifier", &[0, 1, 2, 3], &[("prob_a", 6)], counts), Some(vec![5, 4]));
}

#[test]
fn what_is_not_known_is_not_guessed() {
    let unique = outputs("Unique", &[], &[f32s(&[6])]).unwrap();
    assert_eq!(unique, [None, of(DataType::INT64, &[6]), None]);
    let unpadded = outputs("RemovePadding", &[], &[of(F16, &[2, 5, 8]), of(DataType::INT32, &[2])]).unwrap();
    assert_eq!(unpadded[0], None);
    assert!(rule(&attributes("com.microsoft", "EPContext", &[]), &[f32s(&[6])]).is_none());
    assert!(rule(&attributes("ai.onnx.ml", "ZipMap", &[]), &[f32s(&[6, 2])]).is_none());
    let prompt = [of(DataType::INT32, &[2, 5]), of(DataType::INT32, &[1])];
    let error = refused("GreedySearch", &[], &prompt);
    assert!(error.starts_with("its shape depends on the values of"), "{error}");
}

#[test]
fn weights_in_the_file_show_how_long_a_block_is() {
    let planned = |filters: i64, channels: i64| {
        let layout = |op: &str, inputs: &[&str], outputs: &[&str]| NodeProto {
            domain: "com.microsoft.nchwc".to_owned(),
            ..node(op, inputs, outputs)
        };
        let nodes = vec![layout("ReorderInput", &["x"], &["r"]), layout("Conv", &["r", "w"], &["y"])];
        let weights = vec![stored("w", &[filters, channels, 1, 1])];
        let graph = infer(&model(value("x", &[1, 24, 5, 5]), nodes, weights, "y"), &[]).unwrap();
        graph.model(&"g".into(), 1, false).tensors.iter().map(|t| t.size.bytes() / 100).collect::<Vec<_>>()
    };
    assert_eq!(planned(32, 24), [24, 24, 32]);
    assert_eq!(planned(40, 24), [24, 24, 40]);
    assert_eq!(planned(32, 32), [24, 32, 32]);
}

/// What is too rare for the random test below.
#[test]
fn sizes_that_do_not_fit_are_refused() {
    let standard = |op: &str, given: &[(&str, &[i64])], inputs: &[Option<Fact>]| {
        rule(&attributes("", op, given), inputs).expect("there is a rule")
    };
    let [start, end, axes, step] = [known(&[0]), known(&[9]), known(&[0]), known(&[-1])];
    let sliced = standard("Slice", &[], &[f32s(&[0]), start, end, axes, step]);
    assert_eq!(sliced, Ok(vec![f32s(&[0])]), "an axis without elements has no last one");

    let split = |lengths: &[i64]| standard("Split", &[("split", lengths)], &[known(&[1, 2, 3, 4])]);
    assert_eq!(split(&[10, -6]).unwrap_err(), "parts of [10, -6] do not make up 4");
    let (most, least) = (i64::MAX, -i64::MAX);
    assert!(split(&[most, least, most, least, 4]).is_err());
    let mut parted = attributes("", "Split", &[("num_outputs", &[5])]);
    parted.output = vec!["y".to_owned(); 5];
    let parts: Vec<_> = rule(&parted, &[f32s(&[i64::MAX])]).unwrap().unwrap();
    let total: i64 = parts.iter().flatten().map(|part| part.shape[0]).sum();
    assert_eq!((parts.len(), total), (5, i64::MAX));

    let one = |value: i64| Some(Fact::with(DataType::INT64, Vec::new(), Some(Value::Ints([value].into()))));
    let far = standard("Range", &[], &[one(i64::MIN), one(i64::MAX), one(1 << 53)]).unwrap();
    assert_eq!(far[0].as_ref().map(|fact| fact.shape.clone()), Some(vec![2048]));

    let huge = i64::MAX;
    let image = || [f32s(&[1, 1, 8, 8]), f32s(&[1, 1, 3, 3])];
    let too_many = Err("too many elements".to_owned());
    for strides in [[huge, huge], [1 << 62, 1]] {
        assert_eq!(standard("ConvTranspose", &[("strides", &strides)], &image()), too_many);
    }
    let mut same = attributes("", "ConvTranspose", &[("strides", &[huge, 1])]);
    let auto_pad =
        AttributeProto { name: "auto_pad".to_owned(), s: "SAME_UPPER".into(), ..Default::default() };
    same.attribute.push(auto_pad);
    assert_eq!(rule(&same, &image()).unwrap(), too_many);
    let pooled = standard(
        "MaxPool",
        &[("kernel_shape", &[2, 2]), ("strides", &[huge, huge]), ("ceil_mode", &[1])],
        &[f32s(&[1, 1, 8, 8])],
    );
    assert_eq!(pooled.unwrap()[0], f32s(&[1, 1, 1, 1]));
    let columns = [f32s(&[1, 8, 4]), known(&[2, 2]), known(&[huge, huge])];
    assert_eq!(standard("Col2Im", &[], &columns), too_many);
}

#[test]
fn axes_are_not_added_without_end() {
    let rank = |n: usize| Fact::new(F32, vec![1; n]).bytes();
    assert_eq!(rank(64), Ok(4));
    assert_eq!(rank(65), Err("its shape has 65 axes, more than 64".to_owned()));
}

#[test]
fn an_equation_without_a_right_side_keeps_letters_that_stand_once() {
    let mut proto = node("Einsum", &[], &[]);
    let equation = AttributeProto { name: "equation".to_owned(), s: "bij,jk".into(), ..Default::default() };
    proto.attribute.push(equation);
    let found = rule(&proto, &[f32s(&[2, 3, 4]), f32s(&[4, 5])]).unwrap();
    assert_eq!(found, Ok(vec![f32s(&[2, 3, 5])]));
}

/// Every text in the rules' own source that could be a name: of an operator if it starts with a capital, else of an
/// attribute.
fn names(first: fn(char) -> bool) -> Vec<&'static str> {
    let sources = [
        include_str!("../rules/mod.rs"),
        include_str!("../rules/attention.rs"),
        include_str!("../rules/classic.rs"),
        include_str!("../rules/contributed.rs"),
        include_str!("../rules/elementwise.rs"),
        include_str!("../rules/generate.rs"),
        include_str!("../rules/linear.rs"),
        include_str!("../rules/movement.rs"),
        include_str!("../rules/nchwc.rs"),
        include_str!("../rules/nhwc.rs"),
        include_str!("../rules/pick.rs"),
        include_str!("../rules/quantised.rs"),
        include_str!("../rules/recurrent.rs"),
        include_str!("../rules/reduce.rs"),
        include_str!("../rules/window.rs"),
    ];
    let texts = sources.into_iter().flat_map(|source| source.split('"').skip(1).step_by(2));
    let is_name =
        |text: &&str| text.starts_with(first) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    texts.filter(is_name).collect::<BTreeSet<_>>().into_iter().collect()
}

fn length() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => prop::sample::select(vec![1i64, 2, 3, 4, 8]),
        1 => Just(0),
        1 => prop::sample::select(vec![1i64 << 31, 1 << 40, 1 << 62, i64::MAX - 1, i64::MAX]),
    ]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        20 => prop::sample::select(vec![1i64, 2, 4]),
        3 => -3i64..10,
        1 => prop::sample::select(vec![i64::MIN, i64::MIN + 1, -1 << 40, 1 << 32, 1 << 62, i64::MAX]),
    ]
}

fn fact(rank: usize) -> impl Strategy<Value = Option<Fact>> {
    let own = prop_oneof![5 => Just(rank), 2 => 0usize..2, 1 => 0usize..7];
    let shape = own.prop_flat_map(|rank| prop::collection::vec(length(), rank));
    let dtype = prop::sample::select(vec![1, 2, 3, 6, 7, 8, 9, 10, 22]).prop_map(DataType::new);
    (shape, dtype, prop::collection::vec(number(), 8), 0..4).prop_map(|(shape, dtype, values, kind)| {
        let fact = Fact::new(dtype, shape);
        let count = fact.bytes().ok()? as usize;
        let count =
            if count == 0 || fact.rank() > 1 { 0 } else { fact.shape.iter().product::<i64>() as usize };
        let value = match kind {
            _ if count == 0 || count > values.len() => None,
            0 | 1 => Some(Value::Ints(values[..count].into())),
            2 => Some(Value::Floats(values[..count].iter().map(|&value| value as f64).collect())),
            _ => None,
        };
        Some(Fact::with(dtype, fact.shape, value))
    })
}

/// An attribute with a list that is mostly as long as an image of this rank has axes, or twice that for pads.
fn attribute(rank: usize) -> impl Strategy<Value = AttributeProto> {
    let name = prop::sample::select(names(|c| c.is_ascii_lowercase() || c == 'K' || c == 'N'));
    let text = prop::sample::select(vec!["", "", "VALID", "SAME_UPPER", "none", "ij,jk->ik", "...a->a..."]);
    let axes = rank.saturating_sub(2);
    let length = prop_oneof![8 => Just(axes), 1 => Just(rank), 1 => 0usize..7];
    (name, number(), length, prop::collection::vec(number(), 14), text).prop_map(
        |(name, i, length, mut ints, text)| {
            ints.truncate(if name == "pads" { 2 * length } else { length });
            let floats = ints.iter().map(|&i| i as f32).collect();
            AttributeProto { name: name.to_owned(), i, ints, floats, s: text.into(), ..Default::default() }
        },
    )
}

/// Inputs and attributes that could go together.
fn given() -> impl Strategy<Value = (Vec<Option<Fact>>, Vec<AttributeProto>)> {
    let some =
        |rank| (prop::collection::vec(fact(rank), 0..12), prop::collection::vec(attribute(rank), 0..100));
    prop_oneof![2 => 0usize..7, 1 => Just(2usize), 1 => Just(3usize), 2 => Just(4usize)].prop_flat_map(some)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Every operator's rule, given one set of inputs and attributes, answers or refuses.
    #[test]
    fn no_node_makes_a_rule_panic(
        (inputs, attribute) in given(),
        opset in 1i64..26,
        wanted in 1usize..5,
    ) {
        let (dims, measured) = (BTreeMap::new(), Measured::default());
        let context = Context::new(opset, &dims, &measured, 0);
        for op in names(|c| c.is_ascii_uppercase()) {
            for domain in DOMAINS {
                let proto = NodeProto {
                    domain: domain.to_owned(),
                    op_type: op.to_owned(),
                    attribute: attribute.clone(),
                    input: vec!["x".to_owned(); inputs.len()],
                    output: vec!["y".to_owned(); wanted],
                    ..NodeProto::default()
                };
                let node = Node::new(&proto, inputs.iter().map(Option::as_ref).collect());
                if let Some(Ok(outputs)) = rules::apply(&node, opset, &Scope::new(&context)) {
                    for fact in outputs.iter().flatten() {
                        let _ = fact.bytes();
                        prop_assert!(fact.rank() <= 64, "{op} makes a tensor of rank {}", fact.rank());
                    }
                }
            }
        }
    }
}
