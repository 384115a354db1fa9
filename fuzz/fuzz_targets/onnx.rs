//! ONNX graphs, in the file's order and reordered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vramkit_fuzz::file;
use vramkit_models::{ReadOptions, read};

fuzz_target!(|content: &[u8]| {
    let path = file("graph.onnx", content);
    let dims = [("N".to_owned(), 2), ("batch".to_owned(), 1)].into();
    let options = ReadOptions { dims, ..ReadOptions::default() };
    if read(&path, &options).is_ok() {
        let _ = read(&path, &ReadOptions { in_place: true, reorder: true, recompute: true, ..options });
    }
});
