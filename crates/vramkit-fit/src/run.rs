//! The one question: what does an engine take for a model?

use vramkit_models::header::ModelHeader;

use crate::error::FitError;
use crate::footprint::Footprint;
use crate::llama_cpp;
use crate::options::{FitOptions, Runtime};

/// What an engine takes for a model.
///
/// # Errors
/// Options out of their range, headers that contradict themselves or lack what the engine needs, files that it does not load.
pub fn footprint(model: &ModelHeader, options: &FitOptions) -> Result<Footprint, FitError> {
    match options.runtime {
        Runtime::LlamaCpp => llama_cpp::footprint(model, options),
        Runtime::Vllm | Runtime::Vramkit => Err(FitError::WrongFormat {
            model: model.name.clone(),
            runtime: options.runtime.to_string(),
            format: format!("{:?}", model.format),
            loads: "nothing yet".to_owned(),
        }),
    }
}
