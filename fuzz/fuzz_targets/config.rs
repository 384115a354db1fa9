//! What a model keeps, by its `config.json`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vramkit_fuzz::file;
use vramkit_models::header::ModelHeader;

fuzz_target!(|content: &[u8]| {
    if let Ok(model) = ModelHeader::read(&file("config.json", content)) {
        model.shape.elements(1);
    }
});
