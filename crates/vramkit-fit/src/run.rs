//! The one question: what does an engine take for a model?

use vramkit_models::header::{Format, ModelHeader};

use crate::error::FitError;
use crate::footprint::{Checked, Footprint};
use crate::llama_cpp;
use crate::options::{Backend, FitOptions, Runtime};
use crate::overhead;
use crate::vllm;

/// What an engine takes for a model.
///
/// # Errors
/// Options out of their range, headers that contradict themselves or lack what the engine needs, files that it does not load.
pub fn footprint(model: &ModelHeader, options: &FitOptions) -> Result<Footprint, FitError> {
    let wrong = |loads: &str| {
        Err(FitError::WrongFormat {
            model: model.name.clone(),
            runtime: options.runtime.to_string(),
            format: named(model.format).to_owned(),
            loads: loads.to_owned(),
        })
    };
    let footprint = match options.runtime {
        Runtime::LlamaCpp => match model.format {
            Format::Gguf => llama_cpp::footprint(model, options),
            _ => wrong("GGUF"),
        },
        Runtime::Vllm => vllm::footprint(model, options).map(|takes| takes.footprint),
        // What its own engine will take is not known before it is there.
        Runtime::Vramkit => wrong("ONNX graphs"),
    };
    footprint.map(|footprint| with_overhead(footprint, options))
}

/// What is beside a model, where its engine's own replay says nothing of it.
fn with_overhead(mut footprint: Footprint, options: &FitOptions) -> Footprint {
    match (options.overhead, footprint.overhead) {
        (Some(given), _) => {
            footprint.overhead = Some(given);
            footprint.accuracy.overhead = Checked::No;
        }
        (None, None) => {
            footprint.overhead = Some(overhead::measured(footprint.backend));
            let exact = footprint.backend == Backend::Cpu;
            footprint.accuracy.overhead = if exact { Checked::Exact } else { Checked::No };
        }
        (None, Some(_)) => {}
    }
    footprint
}

fn named(format: Format) -> &'static str {
    match format {
        Format::Gguf => "GGUF",
        Format::HuggingFace => "a Hugging Face model",
        Format::Safetensors => "safetensors without a configuration",
        _ => "files of this kind",
    }
}
