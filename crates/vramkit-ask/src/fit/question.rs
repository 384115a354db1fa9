//! What can be asked about fitting.

use std::collections::BTreeMap;
use std::path::PathBuf;

use vramkit::ByteSize;
use vramkit_fit::{Backend, FitOptions, FlashAttention, GpuLayers, Runtime};

use crate::device::DeviceChoice;
use crate::error::QuestionError;

/// The largest memory that is believed: far above every machine's, and what is left of it can be told.
const MOST_MEMORY: ByteSize = ByteSize::new(1 << 60);

/// Do these models fit on a device, one process for each, and what is the most that does?
///
/// ```
/// use vramkit_ask::{FitMemory, FitQuestion, QuestionError};
///
/// let mut question = FitQuestion { models: vec!["model.gguf".into()], ..FitQuestion::default() };
/// question.memory = Some(FitMemory::Size("24GiB".parse()?));
/// question.options.context = Some(0);
/// assert_eq!(question.check(), Err(QuestionError::Zero("context")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FitQuestion {
    /// GGUF files (of a split model the first), folders and configurations of Hugging Face, safetensors, ONNX graphs.
    pub models: Vec<PathBuf>,
    /// A configuration of several models: llama-swap's, llama.cpp's presets, a Modelfile, commands, TOML. No models are named
    /// beside it, and none of what it says of each: of `options`, only the overhead and the largest tensor.
    pub sets: Option<PathBuf>,
    /// A folder in which models of the configuration are looked for first.
    pub model_folder: Option<PathBuf>,
    /// The engine. When not given, the one that loads a model's files: llama.cpp GGUF, vLLM those of Hugging Face, vramkit
    /// ONNX graphs.
    pub runtime: Option<Runtime>,
    /// What it computes with. When not given: llama.cpp Vulkan, or CUDA where the memory is a CUDA card's; vLLM CUDA; vramkit
    /// the processor, or CUDA on a card.
    pub backend: Option<Backend>,
    /// The type of cached keys, by the engine's own name for it.
    pub cache_type_k: Option<String>,
    /// The type of cached values.
    pub cache_type_v: Option<String>,
    /// Everything else that changes what an engine takes. Engine, back end, cache types and the device's memory in it are
    /// overwritten by what is said here.
    pub options: FitOptions,
    /// The memory; without it there is no verdict.
    pub memory: Option<FitMemory>,
    /// Sizes of symbolic dimensions of graphs, in elements.
    pub dims: BTreeMap<String, u64>,
}

/// The memory that models are to fit in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FitMemory {
    /// So much, of which nobody holds anything.
    Size(ByteSize),
    /// What a device has free now, given every other process.
    Device(DeviceChoice),
}

impl Default for FitQuestion {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            sets: None,
            model_folder: None,
            runtime: None,
            backend: None,
            cache_type_k: None,
            cache_type_v: None,
            options: FitOptions::new(Runtime::LlamaCpp, Backend::Vulkan),
            memory: None,
            dims: BTreeMap::new(),
        }
    }
}

impl FitQuestion {
    /// Whether it can be asked. What the models make of it is seen when they are read.
    ///
    /// # Errors
    /// No models, or models or their options beside a configuration; nothing of something that must be there (context, sequences,
    /// memory …); a part of the memory that is none.
    pub fn check(&self) -> Result<(), QuestionError> {
        match (self.models.is_empty(), &self.sets) {
            (true, None) => return Err(QuestionError::NoFiles),
            (false, Some(_)) => return Err(QuestionError::SetsBesideModels),
            _ => {}
        }
        let options = &self.options;
        let memory = match self.memory {
            Some(FitMemory::Size(size)) => Some(size.bytes()),
            _ => None,
        };
        let numbers = [
            ("context", options.context),
            ("number of sequences", options.sequences),
            ("batch", options.batch),
            ("micro-batch", options.micro_batch),
            ("step", options.max_num_batched_tokens),
            ("number of sequences in a step", options.max_num_seqs),
            ("number of devices", Some(options.tensor_parallel)),
            ("memory", memory),
        ];
        if let Some((what, _)) = numbers.into_iter().find(|(_, number)| *number == Some(0)) {
            return Err(QuestionError::Zero(what));
        }
        if let Some(size) = memory.filter(|&size| size > MOST_MEMORY.bytes()) {
            return Err(QuestionError::TooMuchMemory(ByteSize::new(size)));
        }
        let part = options.gpu_memory_utilization;
        if !(part > 0.0 && part <= 1.0) {
            return Err(QuestionError::Utilization(part));
        }
        match self.said_of_each() {
            Some(what) if self.sets.is_some() => Err(QuestionError::OptionBesideSets(what)),
            _ => Ok(()),
        }
    }

    /// Something that a configuration says of each model, where it is said here.
    fn said_of_each(&self) -> Option<&'static str> {
        let asked = &self.options;
        let default = FitOptions::new(asked.runtime, asked.backend);
        let (keys, values) = (self.cache_type_k.is_some(), self.cache_type_v.is_some());
        let said = [
            ("an engine", self.runtime.is_some()),
            ("a context", asked.context.is_some()),
            ("a number of sequences", asked.sequences.is_some()),
            ("a cache type", keys && values),
            ("a type of cached keys", keys),
            ("a type of cached values", values),
            ("a batch", asked.batch.is_some()),
            ("a micro-batch", asked.micro_batch.is_some()),
            ("flash attention", asked.flash_attention != FlashAttention::Auto),
            ("one cache for all sequences", asked.kv_unified),
            ("windows that keep everything", asked.swa_full),
            ("a number of layers", asked.gpu_layers != GpuLayers::All),
            ("a part of the memory", asked.gpu_memory_utilization != default.gpu_memory_utilization),
            ("a step", asked.max_num_batched_tokens.is_some()),
            ("a number of sequences in a step", asked.max_num_seqs.is_some()),
            ("a number of devices", asked.tensor_parallel != default.tensor_parallel),
            ("drafted tokens", asked.draft_tokens != default.draft_tokens),
            ("rows of logits", asked.outputs.is_some()),
            ("a release of the engine", asked.engine_release.is_some()),
            ("a graph's dimension", !self.dims.is_empty()),
        ];
        said.into_iter().find(|(_, is_said)| *is_said).map(|(what, _)| what)
    }

    /// What an engine computes with when nobody says.
    pub(crate) fn backend_of(&self, runtime: Runtime) -> Backend {
        let on_card = matches!(self.memory, Some(FitMemory::Device(DeviceChoice::Cuda(_))));
        self.backend.unwrap_or(match runtime {
            Runtime::Vllm => Backend::Cuda,
            _ if on_card => Backend::Cuda,
            Runtime::Vramkit => Backend::Cpu,
            _ => Backend::Vulkan,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_configuration_says_of_each_model_is_not_said_beside_it() {
        let ask = |change: &dyn Fn(&mut FitQuestion)| {
            let mut question = FitQuestion { sets: Some("models.toml".into()), ..FitQuestion::default() };
            change(&mut question);
            question.check()
        };
        let refused = |what| Err(QuestionError::OptionBesideSets(what));
        assert_eq!(ask(&|q| q.options.context = Some(5)), refused("a context"));
        assert_eq!(ask(&|q| q.cache_type_v = Some("q8_0".into())), refused("a type of cached values"));
        assert_eq!(ask(&|q| q.options.gpu_layers = GpuLayers::Last(0)), refused("a number of layers"));
        assert_eq!(ask(&|q| q.options.gpu_memory_utilization = 0.5), refused("a part of the memory"));
        assert_eq!(ask(&|q| q.dims = [("n".to_owned(), 1)].into()), refused("a graph's dimension"));
        // What acts on all of them.
        let acts = |q: &mut FitQuestion| {
            q.backend = Some(Backend::Cuda);
            q.memory = Some(FitMemory::Size(ByteSize::gib(24)));
            q.options.overhead = Some(ByteSize::ZERO);
            q.options.largest_tensor = Some(ByteSize::gib(1));
        };
        assert_eq!(ask(&acts), Ok(()));
    }
}
