//! The one question: what does an engine take for a model?

use vramkit_models::header::{Format, ModelHeader};
use vramkit_plan::TensorLifetime;

use crate::error::FitError;
use crate::footprint::Footprint;
use crate::llama_cpp;
use crate::options::{FitOptions, Runtime};
use crate::vllm;

/// What an engine takes for a model.
///
/// # Errors
/// Options out of their range, headers that contradict themselves or lack what the engine needs, files that it does not load.
pub fn footprint(model: &ModelHeader, options: &FitOptions) -> Result<Footprint, FitError> {
    match options.runtime {
        Runtime::LlamaCpp => llama_cpp::footprint(model, options),
        Runtime::Vllm => vllm::footprint(model, options).map(|answer| answer.footprint),
        // vramkit's engine and its planner know themselves what they take: `vramkit-ask` asks them.
        Runtime::Vramkit => Err(FitError::WrongFormat {
            model: model.name.clone(),
            runtime: options.runtime.to_string(),
            format: named(model.format).to_owned(),
            loads: "models by its own engine, and ONNX graphs".to_owned(),
        }),
    }
}

fn named(format: Format) -> &'static str {
    match format {
        Format::Gguf => "GGUF",
        Format::HuggingFace => "a Hugging Face model",
        Format::Safetensors => "safetensors without a configuration",
        _ => "files of this kind",
    }
}

/// Who lives when in the device's working memory during one step of llama.cpp, as the planner takes it: a step is a node of the
/// graph as its back end runs it, and what takes another's place is one lifetime with it. A plan of these says what an arena
/// would take that is planned rather than filled as ggml fills it.
///
/// # Errors
/// As [`footprint`]; engines whose graphs are not followed.
pub fn workspace_lifetimes(
    model: &ModelHeader,
    options: &FitOptions,
) -> Result<Vec<TensorLifetime>, FitError> {
    match options.runtime {
        Runtime::LlamaCpp => llama_cpp::lifetimes(model, options),
        other => Err(FitError::Option {
            model: model.name.clone(),
            reason: format!("the steps of {other} are not followed one by one; those of llama.cpp are"),
        }),
    }
}
