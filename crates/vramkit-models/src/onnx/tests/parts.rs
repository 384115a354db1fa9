//! Parts of graphs for tests, and what is asked of a graph.

use std::collections::BTreeMap;

use super::super::graph::OnnxGraph;
use super::super::proto::*;
use super::{infer, stored, value};

pub(super) fn ints(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto { data_type: 7, int64_data: values.to_vec(), ..stored(name, dims) }
}

pub(super) fn flag(name: &str, value: i32) -> TensorProto {
    TensorProto { data_type: 9, int32_data: vec![value], ..stored(name, &[]) }
}

pub(super) fn typed(name: &str, kind: i32, dims: &[i64]) -> ValueInfoProto {
    let mut info = value(name, dims);
    info.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = kind;
    info
}

pub(super) fn named(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: name.to_owned(), r#type: None }
}

/// A graph inside a node.
pub(super) fn body(name: &str, inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> AttributeProto {
    let graph = GraphProto {
        node: nodes,
        input: inputs.iter().map(|name| named(name)).collect(),
        output: outputs.iter().map(|name| named(name)).collect(),
        ..GraphProto::default()
    };
    AttributeProto { name: name.to_owned(), g: Some(Box::new(graph)), ..AttributeProto::default() }
}

pub(super) fn holding(mut node: NodeProto, attributes: Vec<AttributeProto>) -> NodeProto {
    node.attribute.extend(attributes);
    node
}

pub(super) fn sizes(graph: &OnnxGraph) -> BTreeMap<String, u64> {
    let tensors = graph.model(&"g".into(), 1, false).tensors;
    tensors.iter().map(|tensor| (tensor.id.to_string(), tensor.size.bytes())).collect()
}

pub(super) fn size(model: &ModelProto, tensor: &str) -> u64 {
    sizes(&infer(model, &[]).unwrap())[tensor]
}
