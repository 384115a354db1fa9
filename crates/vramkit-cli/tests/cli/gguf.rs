//! Models of Phi-3-mini's shape: the header is written, and where tensors would be is a hole.

use std::path::Path;

use vramkit_testing::gguf::SparseModel;

/// Phi-3-mini-4k: 32 layers of 32 heads of 96 numbers, in 16 bits.
pub fn phi3(path: &Path) {
    phi3_of(path, 32);
}

/// The same with so many layers.
pub fn phi3_of(path: &Path, layers: u64) {
    let mut model = SparseModel::phi_3_mini("f16");
    model.layers = layers;
    model.write(path).unwrap();
}
