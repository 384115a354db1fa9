//! Shape rules one at a time, and what they refuse. All of them beside the ONNX package's: `scripts/check-shapes`.

use std::collections::BTreeMap;

use super::super::context::Context;
use super::super::fact::Fact;
use super::super::infer::Scope;
use super::super::measured::Measured;
use super::super::node::Node;
use super::super::proto::NodeProto;
use super::super::rules;
use super::{node, with};
use crate::DataType;

/// What an operator's rule says of its first output when its inputs have these types and shapes.
fn first_output(proto: &NodeProto, inputs: &[(DataType, &[i64])]) -> Result<(DataType, Vec<i64>), String> {
    let facts: Vec<Fact> = inputs.iter().map(|&(dtype, shape)| Fact::new(dtype, shape.to_vec())).collect();
    let node = Node::new(proto, facts.iter().map(Some).collect());
    let (dims, measured) = (BTreeMap::new(), Measured::default());
    let context = Context::new(23, &dims, &measured, 0);
    let outputs = rules::apply(&node, 23, &Scope::new(&context)).expect("there is a rule")?;
    let fact = outputs.into_iter().next().flatten().expect("the rule knows its first output");
    Ok((fact.dtype, fact.shape))
}

#[test]
fn n_grams_are_counted_up_to_the_highest_place() {
    let counting = |places: &[i64], shape: &[i64]| {
        let proto = with(node("TfIdfVectorizer", &["x"], &["y"]), "ngram_indexes", places);
        first_output(&proto, &[(DataType::INT64, shape)])
    };
    assert_eq!(counting(&[0, 6, 2, 2], &[12]), Ok((DataType::FLOAT, vec![7])));
    assert_eq!(counting(&[0, 6, 2, 2], &[3, 12]), Ok((DataType::FLOAT, vec![3, 7])));
    assert_eq!(counting(&[0], &[0, 12]), Ok((DataType::FLOAT, vec![0, 1])), "a batch may be empty");
    let refused = |places: &[i64], shape: &[i64]| counting(places, shape).unwrap_err();
    assert_eq!(refused(&[], &[12]), "attribute `ngram_indexes` is empty");
    assert_eq!(refused(&[3, -1], &[12]), "attribute `ngram_indexes` has -1, which is negative");
    assert_eq!(refused(&[i64::MAX], &[12]), "too many elements");
    assert_eq!(refused(&[0], &[]), "a list or a batch of lists is needed, not []");
    assert_eq!(refused(&[0], &[2, 3, 4]), "a list or a batch of lists is needed, not [2, 3, 4]");
    let bare = node("TfIdfVectorizer", &["x"], &["y"]);
    let error = first_output(&bare, &[(DataType::INT64, &[12])]).unwrap_err();
    assert_eq!(error, "attribute `ngram_indexes` is missing");
}
