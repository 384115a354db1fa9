//! vramkit's own TOML: models and the sets that they are to run in.
//!
//! ```toml
//! memory = "24GiB"
//!
//! [[models]]
//! name = "chat"
//! path = "models/chat.gguf"   # seen from this file
//! ctx = 16384
//! seqs = 2
//!
//! [[sets]]
//! models = ["chat", "embed"]
//! ```
//!
//! Names of options are those of `vramkit fit`. A key that is not known is an error: nothing is passed over.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use vramkit_fit::{Backend, FitOptions, GpuLayers, Runtime};
use vramkit_units::ByteSize;

use super::place::Place;
use crate::command::Found;
use crate::error::SetsError;
use crate::file::{Entry, Kind, PromisedSet, SetsFile};
use crate::together::Together;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    memory: Option<String>,
    #[serde(default)]
    models: Vec<toml::Spanned<Model>>,
    #[serde(default)]
    sets: Vec<toml::Spanned<Set>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Model {
    name: String,
    path: String,
    runtime: Option<String>,
    backend: Option<String>,
    ctx: Option<u64>,
    seqs: Option<u64>,
    cache_type: Option<String>,
    cache_type_k: Option<String>,
    cache_type_v: Option<String>,
    batch: Option<u64>,
    ubatch: Option<u64>,
    flash_attn: Option<String>,
    #[serde(default)]
    kv_unified: bool,
    #[serde(default)]
    swa_full: bool,
    gpu_layers: Option<Layers>,
    gpu_memory_utilization: Option<f64>,
    max_num_batched_tokens: Option<u64>,
    max_num_seqs: Option<u64>,
    tensor_parallel: Option<u64>,
    draft_tokens: Option<u64>,
}

/// Layers on the device, as they are written.
struct Layers(GpuLayers);

impl<'de> Deserialize<'de> for Layers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Layers;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("gpu-layers as a whole number or \"all\"")
            }
            fn visit_i64<E: Error>(self, layers: i64) -> Result<Layers, E> {
                let number = u64::try_from(layers);
                let number = number.map_err(|_| E::invalid_value(Unexpected::Signed(layers), &self))?;
                Ok(Layers(GpuLayers::Last(number)))
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<Layers, E> {
                let all = (word == "all").then_some(Layers(GpuLayers::All));
                all.ok_or_else(|| E::invalid_value(Unexpected::Str(word), &self))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    name: Option<String>,
    models: Vec<String>,
}

pub(super) fn read(place: &Place<'_>, text: String) -> Result<SetsFile, SetsError> {
    let line = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let document: Document = toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        place.invalid(line(at), error.message())
    })?;
    place.count(document.models.len(), 1)?;
    let memory = document.memory.as_deref().map(ByteSize::from_str).transpose();
    let memory = memory.map_err(|error| place.invalid(1, format!("memory: {error}")))?;
    if memory.is_some_and(ByteSize::is_zero) {
        return Err(place.invalid(1, "memory: 0 bytes; give some, or leave it out"));
    }
    let mut entries: Vec<Entry> = Vec::new();
    for model in &document.models {
        let at = line(model.span().start);
        let model = model.get_ref();
        if entries.iter().any(|entry| entry.name == model.name) {
            return Err(place.invalid(at, format!("`{}` is there twice", model.name)));
        }
        let mut found = Found::new(
            model
                .options(place.reading.backend)
                .map_err(|reason| place.invalid(at, format!("`{}`: {reason}", model.name)))?,
        );
        found.model = Some(model.path.clone());
        entries.push(place.entry(&model.name, at, found));
    }
    let mut promised = Vec::new();
    for (set, number) in document.sets.iter().zip(1..) {
        let at = line(set.span().start);
        let set = set.get_ref();
        if let Some(name) = set.models.iter().find(|name| entries.iter().all(|entry| entry.name != **name)) {
            return Err(place.invalid(at, format!("there is no model `{name}`")));
        }
        if set.models.is_empty() {
            return Err(place.invalid(at, "a set has at least one model"));
        }
        let together = Together::All(set.models.iter().cloned().map(Together::Model).collect());
        let name = set.name.clone().unwrap_or_else(|| format!("set {number}"));
        promised.push(PromisedSet { name, line: Some(at), together });
    }
    let file = place.file.clone();
    Ok(SetsFile { file, kind: Kind::Vramkit, entries, promised, memory, notes: Vec::new(), text })
}

impl Model {
    fn options(&self, backend: Backend) -> Result<FitOptions, String> {
        let gguf = self.path.to_ascii_lowercase().ends_with(".gguf");
        let onnx = self.path.to_ascii_lowercase().ends_with(".onnx");
        // As for a model that is named without an engine.
        let otherwise = if gguf {
            Runtime::LlamaCpp
        } else if onnx {
            Runtime::Vramkit
        } else {
            Runtime::Vllm
        };
        let numbers = [
            ("ctx", self.ctx),
            ("seqs", self.seqs),
            ("batch", self.batch),
            ("ubatch", self.ubatch),
            ("max-num-batched-tokens", self.max_num_batched_tokens),
            ("max-num-seqs", self.max_num_seqs),
            ("tensor-parallel", self.tensor_parallel),
        ];
        if let Some((key, _)) = numbers.into_iter().find(|(_, number)| *number == Some(0)) {
            return Err(format!("{key} is at least 1, not 0; without it the engine's default counts"));
        }
        let runtime = self.runtime.as_deref().map_or(Ok(otherwise), str::parse)?;
        let backend = self.backend.as_deref().map_or(Ok(backend), str::parse)?;
        let mut options = FitOptions::new(runtime, backend);
        options.context = self.ctx;
        options.sequences = self.seqs;
        let (both, keys) = (self.cache_type.as_deref(), self.cache_type_k.as_deref());
        let set = options.set_cache_types(keys.or(both), self.cache_type_v.as_deref().or(both));
        set.map_err(|error| error.to_string())?;
        options.batch = self.batch;
        options.micro_batch = self.ubatch;
        options.flash_attention = self.flash_attn.as_deref().map_or(Ok(Default::default()), str::parse)?;
        options.kv_unified = self.kv_unified;
        options.swa_full = self.swa_full;
        options.gpu_layers = self.gpu_layers.as_ref().map_or(GpuLayers::All, |layers| layers.0);
        if let Some(share) = self.gpu_memory_utilization {
            if !(share > 0.0 && share <= 1.0) {
                return Err(format!("gpu-memory-utilization is over 0 and at most 1, not {share}"));
            }
            options.gpu_memory_utilization = share;
        }
        options.max_num_batched_tokens = self.max_num_batched_tokens;
        options.max_num_seqs = self.max_num_seqs;
        options.tensor_parallel = self.tensor_parallel.unwrap_or(1);
        options.draft_tokens = self.draft_tokens.unwrap_or(0);
        Ok(options)
    }
}
