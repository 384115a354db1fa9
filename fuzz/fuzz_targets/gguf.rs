//! The header of a GGUF file: what a model keeps, and what llama.cpp takes for it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vramkit_fit::{Backend, FitOptions, Runtime, footprint};
use vramkit_fuzz::file;
use vramkit_models::header::ModelHeader;

fuzz_target!(|content: &[u8]| {
    if let Ok(model) = ModelHeader::read(&file("model.gguf", content)) {
        model.shape.elements(1);
        for backend in [Backend::Cpu, Backend::Vulkan, Backend::Cuda] {
            let mut options = FitOptions::new(Runtime::LlamaCpp, backend);
            options.context = Some(4096);
            let _ = footprint(&model, &options);
        }
    }
});
