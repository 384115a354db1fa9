//! Weights come back byte for byte from wherever a file keeps them, and from no other place.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use prost::Message as _;
use vramkit_units::ByteSize;

use super::super::graph::Sizes;
use super::super::proto::*;
use super::{model, node, value};
use crate::{DataType, ReadError, Weights};

fn tensor(name: &str, data_type: i32, dims: &[i64]) -> TensorProto {
    TensorProto { name: name.to_owned(), dims: dims.to_vec(), data_type, ..TensorProto::default() }
}

fn raw(name: &str, bytes: &[u8]) -> TensorProto {
    TensorProto { raw_data: bytes.to_vec().into(), ..tensor(name, 2, &[bytes.len() as i64]) }
}

/// A graph that does nothing with weights of these kinds.
fn graph(weights: Vec<TensorProto>, constants: Vec<NodeProto>) -> ModelProto {
    let mut nodes = vec![node("Relu", &["x"], &["y"])];
    nodes.extend(constants);
    model(value("x", &[4]), nodes, weights, "y")
}

fn constant(name: &str, attribute: AttributeProto) -> NodeProto {
    NodeProto { attribute: vec![attribute], ..node("Constant", &[], &[name]) }
}

/// Writes the model into a folder and opens its weights.
fn open(folder: &Path, model: &ModelProto) -> Result<Weights, ReadError> {
    let path = folder.join("g.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    Weights::open(&path, &BTreeMap::new())
}

fn all(weights: &Weights, name: &str) -> Result<Vec<u8>, String> {
    let i = weights.tensors().iter().position(|tensor| tensor.name == name).unwrap();
    let mut bytes = vec![0xaa; weights.tensors()[i].size.bytes() as usize];
    weights.read(i, ByteSize::ZERO, &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[test]
fn every_form_of_storage_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let bits = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let floats = [1.5f32, -2.0, 0.25];
    let weights = vec![
        TensorProto { raw_data: bits(&floats).into(), ..tensor("raw", 1, &[3]) },
        TensorProto { float_data: floats.to_vec(), ..tensor("floats", 1, &[3]) },
        TensorProto { double_data: vec![2.5], ..tensor("double", 11, &[]) },
        TensorProto { int64_data: vec![-1, 2], ..tensor("longs", 7, &[2]) },
        TensorProto { uint64_data: vec![7], ..tensor("unsigned", 12, &[1]) },
        TensorProto { int32_data: vec![0x3c00, 0xc000], ..tensor("halves", 10, &[2]) },
        TensorProto { int32_data: vec![-1, 5], ..tensor("bytes", 3, &[2]) },
        // Two elements of 4 bits an entry.
        TensorProto { int32_data: vec![0x21, 0x03], ..tensor("nibbles", 22, &[3]) },
        tensor("none", 1, &[0, 7]),
    ];
    let weights = open(folder.path(), &graph(weights, vec![])).unwrap();
    assert_eq!(all(&weights, "raw").unwrap(), bits(&floats));
    assert_eq!(all(&weights, "floats").unwrap(), bits(&floats));
    assert_eq!(all(&weights, "double").unwrap(), 2.5f64.to_le_bytes());
    assert_eq!(all(&weights, "longs").unwrap(), [(-1i64).to_le_bytes(), 2i64.to_le_bytes()].concat());
    assert_eq!(all(&weights, "unsigned").unwrap(), [7, 0, 0, 0]);
    assert_eq!(all(&weights, "halves").unwrap(), [0x00, 0x3c, 0x00, 0xc0]);
    assert_eq!(all(&weights, "bytes").unwrap(), [0xff, 5]);
    assert_eq!(all(&weights, "nibbles").unwrap(), [0x21, 0x03]);
    assert!(all(&weights, "none").unwrap().is_empty());
    let first = &weights.tensors()[0];
    assert_eq!(
        (first.data_type, &first.dims[..], first.size),
        (DataType::FLOAT, &[3][..], ByteSize::new(12))
    );
    assert_eq!(weights.size(), weights.tensors().iter().map(|tensor| tensor.size).sum());
}

#[test]
fn constants_of_nodes_are_weights() {
    let folder = tempfile::tempdir().unwrap();
    let attribute = |name: &str| AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    let shape = TensorProto { int64_data: vec![2, 3], ..tensor("shape", 7, &[2]) };
    let fill = TensorProto { raw_data: vec![0x34, 0x12].into(), ..tensor("", 4, &[1]) };
    let of_shape = |name: &str, attributes: Vec<AttributeProto>| NodeProto {
        attribute: attributes,
        ..node("ConstantOfShape", &["shape"], &[name])
    };
    let constants = vec![
        constant("t", AttributeProto { t: Some(raw("", &[1, 2, 3]).into()), ..attribute("value") }),
        constant("i", AttributeProto { i: 9, ..attribute("value_int") }),
        constant("f", AttributeProto { floats: vec![0.5, 1.0], ..attribute("value_floats") }),
        of_shape("zeros", vec![]),
        of_shape("filled", vec![AttributeProto { t: Some(fill.into()), ..attribute("value") }]),
    ];
    let weights = open(folder.path(), &graph(vec![shape], constants)).unwrap();
    let named: Vec<(&str, u64)> =
        weights.tensors().iter().map(|tensor| (&*tensor.name, tensor.size.bytes())).collect();
    let expected = [("shape", 16), ("t", 3), ("i", 8), ("f", 8), ("zeros", 24), ("filled", 12)];
    assert_eq!(named, expected);
    assert_eq!(all(&weights, "t").unwrap(), [1, 2, 3]);
    assert_eq!(all(&weights, "i").unwrap(), 9i64.to_le_bytes());
    assert_eq!(all(&weights, "f").unwrap(), [0.5f32.to_le_bytes(), 1f32.to_le_bytes()].concat());
    assert_eq!(all(&weights, "zeros").unwrap(), [0; 24]);
    assert_eq!(all(&weights, "filled").unwrap(), [0x34, 0x12].repeat(6));
    let mut one = [0];
    weights.read(5, ByteSize::new(3), &mut one).unwrap();
    assert_eq!(one, [0x12]);
}

#[test]
fn a_demand_says_where_its_weights_are() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("g.onnx"), graph(vec![raw("w", &[5; 40])], vec![]).encode_to_vec())
        .unwrap();
    std::fs::write(folder.path().join("w.toml"), "[[models]]\nfile = \"g.onnx\"\nweights = 1000").unwrap();
    for (name, size) in [("g.onnx", 40), ("w.toml", 1000)] {
        let demand = crate::read(&folder.path().join(name), &Default::default()).unwrap();
        let weights = demand.settings[0].weights.as_ref().unwrap();
        assert_eq!((demand.models[0].weights.bytes(), weights.size().bytes()), (size, 40), "{name}");
        assert_eq!(all(weights, "w").unwrap(), [5; 40]);
    }
}

#[test]
fn what_the_file_does_not_carry_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let weights = vec![
        tensor("stripped", 1, &[3]),
        TensorProto { float_data: vec![1.0], ..tensor("short", 1, &[3]) },
        raw("whole", &vec![7; 40_000]),
    ];
    let weights = open(folder.path(), &graph(weights, vec![])).unwrap();
    assert_eq!(weights.size(), ByteSize::new(40_024), "sizes are known all the same");
    let error = all(&weights, "stripped").unwrap_err();
    assert!(
        error.contains("weight `stripped`: the file has 0 bytes of its values where its shape needs 12"),
        "{error}"
    );
    assert!(all(&weights, "short").unwrap_err().contains("has 4 bytes"));
    let mut into = [0; 3];
    for (tensor, offset) in [(2, 39_998), (2, u64::MAX), (3, 0), (usize::MAX, 0)] {
        assert!(weights.read(tensor, ByteSize::new(offset), &mut into).is_err(), "{tensor} {offset}");
    }
    assert!(weights.read(2, ByteSize::new(40_000), &mut []).is_ok());
    // A file that has shrunk since.
    std::fs::write(folder.path().join("g.onnx"), b"").unwrap();
    assert!(matches!(weights.read(2, ByteSize::ZERO, &mut into), Err(ReadError::Io { .. })));
}

#[test]
fn weights_beside_the_file_are_read_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    std::fs::write(folder.path().join("w.bin"), &bytes).unwrap();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    let beside = |location: &str, offset: &str, length: Option<&str>, elements: i64| {
        let entry =
            |key: &str, value: &str| StringStringEntry { key: key.to_owned(), value: value.to_owned() };
        let mut tensor = tensor("w", 2, &[elements]);
        tensor.data_location = 1;
        tensor.external_data = vec![entry("location", location), entry("offset", offset)];
        tensor.external_data.extend(length.map(|length| entry("length", length)));
        open(folder.path(), &graph(vec![tensor], vec![])).map_err(|error| error.to_string())
    };
    let weights = beside("w.bin", "16", Some("240"), 240).unwrap();
    assert_eq!(all(&weights, "w").unwrap(), bytes[16..]);
    let mut part = [0; 3];
    weights.read(0, ByteSize::new(237), &mut part).unwrap();
    assert_eq!(part, [253, 254, 255]);
    for (location, offset, length, elements) in [
        ("w.bin", "17", None, 240),
        ("w.bin", "16", Some("18446744073709551615"), 240),
        ("w.bin", "18446744073709551615", None, 1),
        ("w.bin", "0", None, i64::MAX),
        ("d", "0", None, 1),
        ("../w.bin", "0", None, 1),
    ] {
        assert!(beside(location, offset, length, elements).is_err(), "{location} {offset} {length:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Bytes of a real model, some changed, some cut off: whatever is listed is readable or an error, never a panic, and
    /// takes no memory beyond the file's.
    #[test]
    fn no_bytes_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>(), whole: bool) {
        let attribute = AttributeProto { name: "value".to_owned(), t: Some(raw("", &[1, 2, 3]).into()), ..AttributeProto::default() };
        let typed = TensorProto { int32_data: vec![1, 2, 300], ..tensor("typed", 4, &[3]) };
        let mut bytes = graph(vec![raw("w", &[7; 9]), typed], vec![constant("c", attribute)]).encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(graph) = super::read_bytes(bytes, Sizes { dims: &BTreeMap::new(), measured: None }) {
            let weights = graph.weights();
            let mut into = [0; 16];
            for (i, tensor) in weights.tensors().iter().enumerate() {
                let length = tensor.size.bytes().min(16) as usize;
                let _ = weights.read(i, tensor.size.saturating_sub(ByteSize::new(16)), &mut into[..length]);
            }
        }
    }
}
