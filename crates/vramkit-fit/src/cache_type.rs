//! Types of caches, by the names that engines have for them.

use vramkit_models::gguf::TensorType;

use crate::options::{FitOptions, Runtime};

/// The names of llama.cpp's `--cache-type-k` and `--cache-type-v`.
const LLAMA_CPP: &[&str] = &["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"];

/// The names of vLLM's `--kv-cache-dtype`, which holds for keys and values.
const VLLM: &[&str] = &["auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"];

/// The types of vramkit's engine.
const VRAMKIT: &[&str] = &["f32", "f16", "q8_0"];

/// A name that is no cache type of an engine's.
///
/// ```
/// use vramkit_fit::{CacheTypeError, Runtime};
///
/// let error = CacheTypeError::of_graph(Runtime::Vramkit, "q8_0");
/// assert_eq!(error.to_string(), "vramkit has no cache type `q8_0`; it has none for a graph");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{runtime} has no cache type `{name}`; it has {known}")]
#[non_exhaustive]
pub struct CacheTypeError {
    /// The engine.
    pub runtime: Runtime,
    /// The name.
    pub name: String,
    /// The names that it has, for a sentence.
    pub known: String,
}

impl CacheTypeError {
    /// A name given for a graph, which has no cache.
    pub fn of_graph(runtime: Runtime, name: &str) -> Self {
        Self { runtime, name: name.to_owned(), known: "none for a graph".to_owned() }
    }
}

impl FitOptions {
    /// Sets the types of cached keys and values by the engine's own names for them.
    ///
    /// ```
    /// use vramkit_fit::{Backend, FitOptions, Runtime};
    ///
    /// let mut options = FitOptions::new(Runtime::LlamaCpp, Backend::Cuda);
    /// options.set_cache_types(Some("q8_0"), Some("q8_0"))?;
    /// assert_eq!(options.cache_type_k.map(|kind| kind.name()), Some("q8_0"));
    /// let error = options.set_cache_types(Some("fp8"), None).unwrap_err();
    /// assert!(error.to_string().starts_with("llama.cpp has no cache type `fp8`; it has f32, f16"));
    /// # Ok::<(), vramkit_fit::CacheTypeError>(())
    /// ```
    ///
    /// # Errors
    /// A name that the engine does not have, with those that it has.
    pub fn set_cache_types(
        &mut self,
        keys: Option<&str>,
        values: Option<&str>,
    ) -> Result<(), CacheTypeError> {
        let runtime = self.runtime;
        let known = match runtime {
            Runtime::LlamaCpp => LLAMA_CPP,
            Runtime::Vllm => VLLM,
            Runtime::Vramkit => VRAMKIT,
        };
        let given = || [keys, values].into_iter().flatten();
        if let Some(name) = given().find(|name| !known.contains(name)) {
            return Err(CacheTypeError { runtime, name: name.to_owned(), known: known.join(", ") });
        }
        self.fp8_cache = given().any(|name| name.starts_with("fp8"));
        let kind = |name: Option<&str>| match name? {
            "float16" => TensorType::named("f16"),
            "bfloat16" => TensorType::named("bf16"),
            name => TensorType::named(name),
        };
        (self.cache_type_k, self.cache_type_v) = (kind(keys), kind(values));
        Ok(())
    }
}
