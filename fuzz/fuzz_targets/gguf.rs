//! What a model keeps, by the header of a GGUF file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vramkit_fuzz::file;
use vramkit_models::header::ModelHeader;

fuzz_target!(|content: &[u8]| {
    if let Ok(model) = ModelHeader::read(&file("model.gguf", content)) {
        model.shape.elements(1);
    }
});
