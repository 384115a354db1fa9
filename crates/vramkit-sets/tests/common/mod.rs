//! What the tests of this crate share.

#![allow(dead_code)] // each test takes a part of it

use std::path::{Path, PathBuf};

use vramkit_sets::{Reading, SetsFile, read_sets_with};

/// A file of the tests.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Every model is here.
pub fn anywhere(_: &str) -> Option<PathBuf> {
    Some(data("models.toml"))
}

/// No variable is set.
pub fn nobody(_: &str) -> Option<String> {
    None
}

/// A file of the tests whose models are all here.
pub fn read(name: &str) -> SetsFile {
    let reading = Reading { locate: &anywhere, variable: &nobody, ..Reading::default() };
    read_sets_with(&data(name), &reading).expect("a file of the tests")
}
