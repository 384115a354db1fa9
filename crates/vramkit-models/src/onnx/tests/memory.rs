//! Memory and time in proportion to the graph: weights stay in the file, and small files stay small.

use std::io::Cursor;

use prost::Message as _;

use super::super::graph::Sizes;
use super::super::proto::*;
use super::super::skim::skim;
use super::{model, node, read_bytes, stored, value};

fn read(bytes: Vec<u8>) -> Result<super::OnnxGraph, String> {
    read_bytes(bytes, Sizes { dims: &std::collections::BTreeMap::new(), measured: None })
}

/// A network with a weight of `elements` numbers.
fn heavy(elements: usize) -> Vec<u8> {
    let raw = TensorProto { raw_data: vec![1; elements * 4].into(), ..stored("w", &[elements as i64]) };
    model(value("x", &[elements as i64]), vec![node("Mul", &["x", "w"], &["y"])], vec![raw], "y")
        .encode_to_vec()
}

#[test]
fn large_contents_stay_in_the_file() {
    let bytes = heavy(1_000_000);
    let length = bytes.len() as u64;
    let structure = skim(&mut Cursor::new(&bytes), length).unwrap();
    assert!(structure.len() < 200, "{}", structure.len());
    let small = skim(&mut Cursor::new(heavy(1000)), u64::MAX).err();
    assert!(small.is_some(), "a length beyond the file's end");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.onnx");
    std::fs::write(&path, &bytes).unwrap();
    let weights = crate::Weights::open(&path, &std::collections::BTreeMap::new()).unwrap();
    let mut tail = [0; 8];
    weights.read(0, vramkit_units::ByteSize::new(3_999_992), &mut tail).unwrap();
    assert_eq!((tail, weights.size().bytes()), ([1; 8], 4_000_000));
}

/// A message of these bytes in the field of a model's graph.
fn in_graph(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x3a];
    prost::encode_length_delimiter(content.len(), &mut bytes).unwrap();
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn small_messages_that_become_large_ones_are_refused() {
    // Empty nodes, initialisers, inputs: two bytes each.
    for tag in [0x0a, 0x2a, 0x5a] {
        let error = read(in_graph(&[tag, 0].repeat(4_000_000))).unwrap_err();
        assert!(error.contains("times as much memory") || tag == 0x5a, "{tag:x}: {error}");
    }
    // Attributes within one node.
    let mut node = vec![0x0a];
    let attributes = [0x2a, 0].repeat(4_000_000);
    prost::encode_length_delimiter(attributes.len(), &mut node).unwrap();
    node.extend_from_slice(&attributes);
    assert!(read(in_graph(&node)).unwrap_err().contains("times as much memory"));
    // Messages within messages, without end.
    let mut nested = Vec::new();
    for _ in 0..5_000 {
        let mut outer = vec![0x32];
        prost::encode_length_delimiter(nested.len(), &mut outer).unwrap();
        outer.append(&mut nested);
        let mut node = vec![0x2a];
        prost::encode_length_delimiter(outer.len(), &mut node).unwrap();
        node.append(&mut outer);
        nested = vec![0x0a];
        prost::encode_length_delimiter(node.len(), &mut nested).unwrap();
        nested.append(&mut node);
    }
    assert!(read(in_graph(&nested)).unwrap_err().contains("nested more than"));
}

#[test]
fn values_on_the_way_are_bounded() {
    // Each node makes a value of 4096 elements from a handful of bytes.
    let mut nodes = vec![node("ConstantOfShape", &["n"], &["v0"])];
    for i in 0..3_000 {
        nodes.push(node("Add", &[&format!("v{i}"), &format!("v{i}")], &[&format!("v{}", i + 1)]));
    }
    let n = TensorProto { data_type: 7, int64_data: vec![4096], ..stored("n", &[1]) };
    nodes.push(node("Expand", &["x", "v3000"], &["y"]));
    let graph = model(value("x", &[1]), nodes, vec![n], "y");
    let error = read(graph.encode_to_vec()).unwrap_err();
    assert!(error.contains("values of small tensors were no longer followed"), "{error}");
}

#[test]
#[cfg(unix)]
fn data_beside_the_file_is_inside_through_the_links_of_a_cache() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for path in ["blobs", "snapshots/a/sub", "elsewhere"] {
        std::fs::create_dir_all(at(path)).unwrap();
    }
    let external = |location: &str| {
        let entry = StringStringEntry { key: "location".to_owned(), value: location.to_owned() };
        let weight = TensorProto { data_location: 1, external_data: vec![entry], ..stored("w", &[8]) };
        let graph = model(value("x", &[8]), vec![node("Mul", &["x", "w"], &["y"])], vec![weight], "y");
        std::fs::write(at("blobs/graph"), graph.encode_to_vec()).unwrap();
        let dims = std::collections::BTreeMap::new();
        crate::Weights::open(&at("snapshots/a/model.onnx"), &dims).map_err(|error| error.to_string())
    };
    std::fs::write(at("blobs/data"), [0; 32]).unwrap();
    std::fs::write(at("elsewhere/data"), [0; 32]).unwrap();
    symlink(at("blobs/graph"), at("snapshots/a/model.onnx")).unwrap();
    symlink(at("blobs/data"), at("snapshots/a/model.onnx_data")).unwrap();
    symlink(at("elsewhere/data"), at("snapshots/a/away")).unwrap();
    assert!(external("model.onnx_data").is_ok());
    assert!(external("sub/../model.onnx_data").is_ok());
    for location in ["away", "../../elsewhere/data", "sub/../../../elsewhere/data", "..", "."] {
        assert!(external(location).unwrap_err().contains("outside the model's folder"), "{location}");
    }
}
