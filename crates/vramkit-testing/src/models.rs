//! Models of a few tensors, to be planned.

use vramkit::plan::{Model, TensorLifetime};
use vramkit::{ByteSize, Step};

/// A model without weights, from the names, first and end steps and sizes in MB (10^6 bytes) of its tensors, which are aligned to
/// 128 bytes.
///
/// ```
/// use vramkit_testing::model;
///
/// let two = model("m", &[("x", 0, 2, 10), ("y", 1, 3, 20)]);
/// assert_eq!(two.tensors[1].size, vramkit::ByteSize::mb(20));
/// ```
pub fn model(name: &str, tensors: &[(&str, u64, u64, u64)]) -> Model {
    let tensor = |&(id, start, end, mb): &(&str, u64, u64, u64)| TensorLifetime {
        alignment: 128,
        ..TensorLifetime::new(name, id, start, end, ByteSize::mb(mb))
    };
    Model {
        name: name.into(),
        weights: ByteSize::ZERO,
        start: Step(0),
        tensors: tensors.iter().map(tensor).collect(),
    }
}

/// The three models of `examples/three-models.toml`: 800 MB in all, 700 MB of live peaks, 350 MB in one arena on a fixed clock.
pub fn three_models() -> Vec<Model> {
    vec![
        model("A", &[("T1", 0, 10, 100), ("T2", 5, 15, 50), ("T3", 10, 20, 200)]),
        model("B", &[("T4", 12, 22, 100), ("T5", 18, 28, 50)]),
        model("C", &[("T6", 22, 32, 200), ("T7", 25, 35, 100)]),
    ]
}
