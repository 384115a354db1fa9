//! The most that fits: the longest context, the most sequences, the most layers on the device.

use crate::answers::asked::Asked;
use crate::answers::search::largest;
use crate::footprint::Footprint;
use crate::options::{Backend, FitOptions, GpuLayers, Runtime};

/// Where the models end, whatever the memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most tokens that they were trained for; of several models the least of them.
    pub trained_context: Option<u64>,
    /// Layers that can be on the device, the output counted as one; `None` where that cannot be chosen for all models alike.
    pub layers: Option<u64>,
}

/// The most that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Most {
    /// How much.
    pub value: u64,
    /// Why not more.
    pub stopped_by: StoppedBy,
}

/// Why not more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoppedBy {
    /// More does not fit.
    Memory,
    /// The model was trained for no more, or has no more.
    Model,
    /// The engine takes no more.
    Engine,
}

/// llama.cpp pads the context of a sequence to so many tokens.
const LLAMA_CPP_TOKENS: u64 = 256;
/// vLLM's cache is granted in blocks of so many tokens.
const VLLM_TOKENS: u64 = 16;
/// llama.cpp keeps no more sequences (`LLAMA_MAX_SEQ`).
const LLAMA_CPP_SEQUENCES: u64 = 256;
/// So are those of vramkit's engine.
const VRAMKIT_TOKENS: u64 = 16;
/// As many as are looked for.
const VRAMKIT_SEQUENCES: u64 = 256;
/// vLLM's own default for large cards, and as many as are looked for.
const VLLM_SEQUENCES: u64 = 1024;
/// The longest context that is looked for where nothing says what the model was trained for.
const LONGEST: u64 = 1 << 20;

/// What the most is looked for around.
pub(crate) struct Question<'a> {
    pub(crate) asked: &'a Asked<'a>,
    pub(crate) options: &'a FitOptions,
    pub(crate) footprints: &'a [Footprint],
    pub(crate) limits: Limits,
}

impl Question<'_> {
    /// Sequences of the processes, as their engines have them.
    fn has_no_context(&self) -> bool {
        self.footprints.iter().all(|footprint| footprint.context == 0)
    }

    fn sequences_now(&self) -> u64 {
        self.footprints.iter().map(|footprint| footprint.sequences).max().unwrap_or(1).max(1)
    }

    /// The longest context.
    pub(crate) fn context(&self) -> Option<Most> {
        self.context_of(self.options)
    }

    /// The longest context with other options than those asked about.
    pub(crate) fn context_of(&self, options: &FitOptions) -> Option<Most> {
        self.asked.room()?;
        // llama.cpp counts the tokens of all sequences, and divides them unless they share one cache.
        let (parts, tokens) = match options.runtime {
            Runtime::LlamaCpp if options.kv_unified => (1, LLAMA_CPP_TOKENS),
            Runtime::LlamaCpp => (self.sequences_now(), LLAMA_CPP_TOKENS),
            Runtime::Vllm => (1, VLLM_TOKENS),
            // A graph has no context.
            Runtime::Vramkit if self.has_no_context() => return None,
            Runtime::Vramkit => (1, VRAMKIT_TOKENS),
        };
        let trained = self.limits.trained_context;
        let last = trained.unwrap_or(LONGEST).max(1).saturating_mul(parts);
        let step = tokens.saturating_mul(parts);
        let tokens = |n: u64| step.saturating_mul(n.saturating_add(1)).min(last);
        let with = |n: u64| FitOptions { context: Some(tokens(n)), ..options.clone() };
        let steps = last.div_ceil(step) - 1;
        let found = largest(steps, |n| self.asked.headroom(&with(n)))?;
        let end = if trained.is_some() { StoppedBy::Model } else { StoppedBy::Engine };
        let stopped_by = if found == steps { end } else { StoppedBy::Memory };
        Some(Most { value: tokens(found), stopped_by })
    }

    /// The most sequences, each with the context that one has now.
    pub(crate) fn sequences(&self) -> Option<Most> {
        self.asked.room()?;
        let last = match self.options.runtime {
            Runtime::LlamaCpp => LLAMA_CPP_SEQUENCES,
            Runtime::Vllm => VLLM_SEQUENCES,
            Runtime::Vramkit if self.has_no_context() => return None,
            Runtime::Vramkit => VRAMKIT_SEQUENCES,
        };
        let with = |n: u64| {
            let context = self.footprints.iter().map(|footprint| footprint.context).max();
            let each = context.map(|context| context.div_ceil(self.sequences_now()));
            let context = match self.options.runtime {
                Runtime::LlamaCpp => each.map(|each| each.saturating_mul(n + 1)),
                _ => self.options.context,
            };
            FitOptions { context, sequences: Some(n + 1), ..self.options.clone() }
        };
        let found = largest(last - 1, |n| self.asked.headroom(&with(n)))?;
        let stopped_by = if found == last - 1 { StoppedBy::Engine } else { StoppedBy::Memory };
        Some(Most { value: found + 1, stopped_by })
    }

    /// The most layers on the device.
    pub(crate) fn layers(&self) -> Option<Most> {
        self.layers_of(self.options)
    }

    /// The most layers on the device with other options than those asked about.
    pub(crate) fn layers_of(&self, options: &FitOptions) -> Option<Most> {
        self.asked.room()?;
        let last = self.limits.layers?;
        if options.runtime != Runtime::LlamaCpp || options.backend == Backend::Cpu {
            return None;
        }
        let with = |n: u64| FitOptions { gpu_layers: layers(n, last), ..options.clone() };
        let found = largest(last, |n| self.asked.headroom(&with(n)))?;
        let stopped_by = if found == last { StoppedBy::Model } else { StoppedBy::Memory };
        Some(Most { value: found, stopped_by })
    }
}

/// So many layers of `last`.
pub(crate) fn layers(n: u64, last: u64) -> GpuLayers {
    if n == last { GpuLayers::All } else { GpuLayers::Last(n) }
}
