//! The header of a safetensors file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vramkit_fuzz::file;
use vramkit_models::header::ModelHeader;

fuzz_target!(|content: &[u8]| {
    let _ = ModelHeader::read(&file("model.safetensors", content));
});
