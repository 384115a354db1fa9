//! A `config.json`: what a model keeps, and what vLLM takes for it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vramkit_fit::{Backend, FitOptions, Runtime, footprint};
use vramkit_fuzz::file;
use vramkit_models::header::ModelHeader;

fuzz_target!(|content: &[u8]| {
    if let Ok(model) = ModelHeader::read(&file("config.json", content)) {
        model.shape.elements(1);
        let _ = footprint(&model, &FitOptions::new(Runtime::Vllm, Backend::Cuda));
        let _ = footprint(&model, &FitOptions::new(Runtime::LlamaCpp, Backend::Vulkan));
    }
});
