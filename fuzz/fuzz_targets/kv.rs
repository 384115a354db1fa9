//! The shape of a KV cache: a GGUF header, or a model's `config.json`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vramkit_fuzz::file;
use vramkit_models::kv::{KvShape, read_kv_shape};

fuzz_target!(|content: &[u8]| {
    if let Ok(KvShape { .. }) = read_kv_shape(&file("config.json", content)) {}
});
