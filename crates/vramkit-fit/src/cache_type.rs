//! Types of caches, by the names that engines have for them.

use vramkit_models::gguf::TensorType;

use crate::options::Runtime;

/// The names of llama.cpp's `--cache-type-k` and `--cache-type-v`.
const LLAMA_CPP: &[&str] = &["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"];

/// The names of vLLM's `--kv-cache-dtype`, with the type of ggml's that takes as much; ggml has none for 8-bit floating-point
/// numbers, of which what counts here is that each takes a byte.
const VLLM: &[(&str, Option<&str>)] = &[
    ("auto", None),
    ("float16", Some("f16")),
    ("bfloat16", Some("bf16")),
    ("fp8", Some("i8")),
    ("fp8_e4m3", Some("i8")),
    ("fp8_e5m2", Some("i8")),
];

/// The type of this name under an engine; `Ok(None)` for the engine's own choice.
///
/// ```
/// use vramkit_fit::{Runtime, cache_type};
///
/// let eight = cache_type(Runtime::LlamaCpp, "q8_0")?.expect("a type of its own");
/// assert_eq!(eight.row_bytes(32), Some(34));
/// assert_eq!(cache_type(Runtime::Vllm, "auto"), Ok(None));
/// assert!(cache_type(Runtime::LlamaCpp, "fp8").is_err());
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// The names that the engine has.
pub fn cache_type(runtime: Runtime, name: &str) -> Result<Option<TensorType>, String> {
    let unknown = |names: Vec<&str>| Err(names.join(", "));
    match runtime {
        Runtime::LlamaCpp if LLAMA_CPP.contains(&name) => Ok(TensorType::named(name)),
        Runtime::LlamaCpp => unknown(LLAMA_CPP.to_vec()),
        Runtime::Vllm => match VLLM.iter().find(|known| known.0 == name) {
            Some((_, kind)) => Ok(kind.and_then(TensorType::named)),
            None => unknown(VLLM.iter().map(|known| known.0).collect()),
        },
        Runtime::Vramkit => unknown(Vec::new()),
    }
}
