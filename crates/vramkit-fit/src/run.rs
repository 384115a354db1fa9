//! The one question that engines answer: which of them is asked is decided here.

use vramkit_models::header::{Format, ModelHeader};

use crate::error::FitError;
use crate::footprint::Footprint;
use crate::options::{FitOptions, Runtime};

/// What an engine takes for a model.
///
/// # Errors
/// Files that the engine does not load; options out of their range; an architecture or a header that is not understood whole.
pub fn footprint(model: &ModelHeader, options: &FitOptions) -> Result<Footprint, FitError> {
    let wrong = |loads: &str| FitError::WrongFormat {
        model: model.name.clone(),
        runtime: options.runtime.to_string(),
        format: named(model.format).to_owned(),
        loads: loads.to_owned(),
    };
    match options.runtime {
        Runtime::LlamaCpp => Err(wrong("nothing yet")),
        Runtime::Vllm => Err(wrong("nothing yet")),
        // Its engine reads none of these yet; graphs are planned, not looked up here.
        Runtime::Vramkit => Err(wrong("ONNX graphs")),
    }
}

fn named(format: Format) -> &'static str {
    match format {
        Format::Gguf => "GGUF",
        Format::HuggingFace => "a Hugging Face configuration",
        Format::Safetensors => "safetensors without a configuration",
        _ => "files of this kind",
    }
}
