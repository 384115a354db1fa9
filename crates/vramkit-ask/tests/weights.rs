//! Weights of a model's file are read into the memory that a run binds for them, and where they cannot be, the report says
//! why.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use vramkit::ByteSize;
use vramkit_ask::{DeviceChoice, RunQuestion, TraceSinks, quiet};

/// A field of a protocol-buffers message: its number, and bytes of known length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

/// `y = x + w` over four floats, with the values of `w`, or without.
fn model(values: Option<&[f32; 4]>) -> Vec<u8> {
    let shape = field(2, &field(1, &number(1, 4)));
    let value = |name: &str| {
        let tensor = [number(1, 1), shape.clone()].concat();
        [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
    };
    let node = [field(1, b"x"), field(1, b"w"), field(2, b"y"), field(4, b"Add")].concat();
    let data = values.map_or_else(Vec::new, |values| field(9, &values.map(f32::to_le_bytes).concat()));
    let weight = [number(1, 4), number(2, 1), field(8, b"w"), data].concat();
    let graph = [field(1, &node), field(5, &weight), field(11, &value("x")), field(12, &value("y"))].concat();
    let opset = field(8, &number(2, 17));
    [number(1, 8), field(7, &graph), opset].concat()
}

fn run(folder: &Path, more: &str, device: DeviceChoice) -> vramkit_ask::RunReport {
    let workload = folder.join("workload.toml");
    let text = format!("repetitions = 2\n[[models]]\nname = \"m\"\nfile = \"m.onnx\"\n{more}");
    std::fs::write(&workload, text).unwrap();
    let question =
        RunQuestion { workload, device, capacity: Some(ByteSize::mib(8)), ..RunQuestion::default() };
    vramkit_ask::run(&question, &mut TraceSinks::default(), quiet()).unwrap().report
}

#[test]
fn weights_are_read_from_the_file_or_said_not_to_be() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.onnx"), model(Some(&[1.0, 2.0, 3.0, 4.0]))).unwrap();
    let report = run(folder.path(), "", DeviceChoice::Host);
    assert_eq!((report.weights_bytes, report.weights_read_bytes), (ByteSize::new(16), ByteSize::new(16)));
    assert_eq!((report.weights_unread, report.used_after_release_bytes), (vec![], ByteSize::ZERO));

    let simulated = run(folder.path(), "", DeviceChoice::Simulated);
    assert_eq!(simulated.weights_read_bytes, ByteSize::ZERO);
    assert_eq!(simulated.weights_unread[0].reason, "a simulated device has no memory behind it");

    let stated = run(folder.path(), "weights = 1000\n", DeviceChoice::Host);
    assert_eq!((stated.weights_bytes, stated.weights_read_bytes), (ByteSize::new(1000), ByteSize::ZERO));
    assert_eq!(stated.weights_unread[0].reason, "the file has 16 bytes, the workload says 1000");

    std::fs::write(folder.path().join("m.onnx"), model(None)).unwrap();
    let absent = run(folder.path(), "", DeviceChoice::Host);
    assert_eq!((absent.weights_bytes, absent.weights_read_bytes), (ByteSize::new(16), ByteSize::ZERO));
    assert!(absent.weights_unread[0].reason.contains("weight `w`: "), "{:?}", absent.weights_unread);
}
