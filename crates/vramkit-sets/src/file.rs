//! What a configuration says, whatever its manager: models with their engines' options, and sets that it promises.

use std::path::PathBuf;

use vramkit_fit::{FitOptions, Runtime};
use vramkit_units::ByteSize;

use crate::together::Together;

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// llama-swap's YAML.
    LlamaSwap,
    /// llama.cpp's presets, an INI file for its router.
    Presets,
    /// A Modelfile of Ollama's.
    Modelfile,
    /// Lines of `llama-server …` and `vllm serve …`.
    Commands,
    /// vramkit's own TOML.
    Vramkit,
}

/// One model of a configuration.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// What the configuration calls it.
    pub name: String,
    /// Where it begins, counted from 1.
    pub line: usize,
    /// The file or folder of the model; `None` when it is not here, and `missing` says why.
    pub model: Option<PathBuf>,
    /// The model as the configuration has it, before it was looked for.
    pub written: Option<String>,
    /// The engine and the options that change what it takes. Its back end is the one that was asked for, and the device's
    /// memory is the asker's to fill in.
    pub options: FitOptions,
    /// Why nothing can be said of it: another engine, a file that is not here, an option that the engine would refuse.
    pub missing: Option<String>,
    /// Options that change memory and are not covered, and what rests on a guess, in sentences.
    pub notes: Vec<String>,
    /// Seconds after which the manager unloads it when nobody asks; `None` where the configuration does not say.
    pub ttl_seconds: Option<u64>,
    /// Further names.
    pub aliases: Vec<String>,
}

impl Entry {
    /// The model and the options, where something can be said of it.
    pub fn ready(&self) -> Option<(&PathBuf, &FitOptions)> {
        self.missing.is_none().then_some(())?;
        Some((self.model.as_ref()?, &self.options))
    }

    /// What the engine takes for itself whatever the model needs: vLLM reserves a part of the whole card when it starts. `None`
    /// for engines that take what they need.
    pub fn reserves(&self, device_memory: ByteSize) -> Option<ByteSize> {
        (self.options.runtime == Runtime::Vllm).then(|| {
            let share = self.options.gpu_memory_utilization.clamp(0.0, 1.0);
            ByteSize::new((device_memory.bytes() as f64 * share).ceil() as u64)
        })
    }
}

/// Models that the configuration promises to run together.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PromisedSet {
    /// What the configuration calls it.
    pub name: String,
    /// Where it is written, counted from 1; `None` where it follows from the manager's own rules.
    pub line: Option<usize>,
    /// Who runs together.
    pub together: Together,
}

/// A configuration of several models.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SetsFile {
    /// The file, as it was named.
    pub file: String,
    /// Whose it is.
    pub kind: Kind,
    /// Its models, in its order.
    pub entries: Vec<Entry>,
    /// The sets that it promises, in its order.
    pub promised: Vec<PromisedSet>,
    /// The memory that the file itself names, in our own TOML.
    pub memory: Option<ByteSize>,
    /// What of the file as a whole is not covered, in sentences.
    pub notes: Vec<String>,
    /// The file as it is, for giving it back.
    pub(crate) text: String,
}

impl SetsFile {
    /// The entry of this name or alias.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        let by_name = self.entries.iter().find(|entry| entry.name == name);
        by_name.or_else(|| self.entries.iter().find(|entry| entry.aliases.iter().any(|alias| alias == name)))
    }
}
