//! A command line of llama-server, or a preset of its router, as the options of a footprint.
//!
//! In: words or keys, in order; a later one wins, as it does for the server. Out: what was found. An option that changes memory
//! and is not covered becomes a note; one that is not known does too, since it may be a newer build's.

use vramkit_fit::{Backend, FitOptions, FlashAttention, GpuLayers, Runtime};
use vramkit_models::gguf::TensorType;

use super::found::Found;
use super::llama_server_options::{Effect, known};

/// Slots of a server to which nobody said how many (`server.cpp` of build v0.5.0).
const AUTOMATIC_SLOTS: u64 = 4;
/// Tokens drafted at a time to which nobody said how many.
const DRAFT_TOKENS: u64 = 3;

/// What a command line says: its words after the program's name, and variables of the environment, which come first.
pub(super) fn from_words(words: &[String], variables: &[(String, String)], backend: Backend) -> Found {
    let mut server = Server::new(backend);
    for (name, value) in variables.iter().filter(|(name, _)| name.starts_with("LLAMA_ARG_")) {
        server.set(name, value);
    }
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        // The server takes underscores for dashes in long options.
        let name = if word.starts_with("--") { word.replace('_', "-") } else { word.to_owned() };
        let Some(option) = known(&name).filter(|_| name.starts_with('-')) else {
            server.unknown(&name);
            while words.next_if(|word| !word.starts_with('-')).is_some() {}
            continue;
        };
        // Older builds have flash attention as a flag.
        let flag =
            option.effect == Effect::FlashAttention && words.peek().is_none_or(|word| flash(word).is_none());
        let values: Vec<&str> = if flag { vec!["on"] } else { words.by_ref().take(option.values).collect() };
        if values.len() < option.values {
            server.refused(format!("`{name}` has no value"));
            break;
        }
        server.apply(&name, option.effect, values.first().copied().unwrap_or_default(), !option.negated);
    }
    server.finish()
}

/// What a preset says: keys without dashes, and values.
pub(crate) fn from_keys<'a>(keys: impl Iterator<Item = (&'a str, &'a str)>, backend: Backend) -> Found {
    let mut server = Server::new(backend);
    for (key, value) in keys {
        server.set(key, value);
    }
    server.finish()
}

struct Server {
    found: Found,
    context: u64,
    slots: Option<u64>,
    per_slot: u64,
    unified: Option<bool>,
    adjusts: bool,
    layers_given: bool,
    embedding: bool,
    draft: Option<bool>,
    draft_tokens: u64,
    repository: Option<String>,
}

impl Server {
    fn new(backend: Backend) -> Self {
        Self {
            found: Found::new(FitOptions::new(Runtime::LlamaCpp, backend)),
            context: 0,
            slots: None,
            per_slot: 0,
            unified: None,
            adjusts: true,
            layers_given: false,
            embedding: false,
            draft: None,
            draft_tokens: DRAFT_TOKENS,
            repository: None,
        }
    }

    /// A key with a value, flags too.
    fn set(&mut self, key: &str, value: &str) {
        let Some(option) = known(key) else { return self.unknown(key) };
        if option.values > 0 {
            return self.apply(key, option.effect, value, true);
        }
        match truth(value) {
            Some(on) => self.apply(key, option.effect, value, on != option.negated),
            None => self.refused(format!("`{key}` is true or false, not `{value}`")),
        }
    }

    fn apply(&mut self, name: &str, effect: Effect, value: &str, on: bool) {
        match effect {
            Effect::Context => self.whole(name, value).into_iter().for_each(|n| self.context = n),
            Effect::ContextPerSlot => self.whole(name, value).into_iter().for_each(|n| self.per_slot = n),
            Effect::Batch => self.found.options.batch = self.whole(name, value),
            Effect::MicroBatch => self.found.options.micro_batch = self.whole(name, value),
            Effect::Parallel if value == "-1" => self.slots = None,
            Effect::Parallel => self.slots = self.whole(name, value).filter(|n| *n > 0),
            Effect::CacheTypeK => self.found.options.cache_type_k = self.cache_type(name, value),
            Effect::CacheTypeV => self.found.options.cache_type_v = self.cache_type(name, value),
            Effect::FlashAttention => match flash(value) {
                Some(flash) => self.found.options.flash_attention = flash,
                None => self.refused(format!("`{name}` is on, off or auto, not `{value}`")),
            },
            Effect::GpuLayers => {
                self.layers_given = !matches!(value, "auto" | "-1");
                self.found.options.gpu_layers = match value {
                    "auto" | "-1" | "all" | "-2" => GpuLayers::All,
                    _ => self.whole(name, value).map_or(GpuLayers::All, GpuLayers::Last),
                };
            }
            Effect::Device if value == "none" => self.found.options.gpu_layers = GpuLayers::Last(0),
            Effect::Device | Effect::TensorSplit if !value.contains([',', '/']) => {}
            Effect::Device | Effect::TensorSplit => {
                self.found.note(format!(
                    "`{name} {value}`: the model is divided among cards; it is counted on one"
                ));
            }
            Effect::SplitMode if matches!(value, "none" | "layer") => {}
            Effect::SplitMode => {
                self.found.note(format!("`{name} {value}`: divided tensors are counted whole, on one card"));
            }
            Effect::KvUnified => self.unified = Some(on),
            Effect::SwaFull => self.found.options.swa_full = on,
            Effect::Embedding => self.embedding = on,
            Effect::Fit => self.adjusts = truth(value).unwrap_or(true),
            Effect::Model => self.found.model = Some(value.to_owned()),
            Effect::Repository => self.repository = Some(value.to_owned()),
            Effect::Remote => self.refused(format!("`{name}`: the model is fetched when the server starts")),
            Effect::Router => {
                self.refused(format!("`{name}`: a router of other servers; ask about its presets"))
            }
            Effect::ProjectorAuto => {}
            Effect::HostCache if value == "0" => {}
            Effect::HostCache => {
                self.found.note(format!("`{name} {value}`: prompts kept on the host are not counted"))
            }
            Effect::SpecType => {
                let types: Vec<&str> = value.split(',').collect();
                self.draft = Some(types.contains(&"draft-mtp"));
                if types.iter().any(|kind| kind.starts_with("draft-") && *kind != "draft-mtp") {
                    self.found.note(format!("`{name} {value}`: the draft model is not counted"));
                }
            }
            Effect::DraftMax => self.whole(name, value).into_iter().for_each(|n| self.draft_tokens = n),
            Effect::On(instead) if on => self.found.note(format!("`{name}`: {instead}")),
            Effect::Off(instead) if !on => self.found.note(format!("`{name}`: {instead}")),
            Effect::On(_) | Effect::Off(_) | Effect::Nothing => {}
        }
    }

    fn finish(mut self) -> Found {
        let options = &mut self.found.options;
        options.sequences = Some(self.slots.unwrap_or(AUTOMATIC_SLOTS));
        options.kv_unified = self.unified.unwrap_or(false) || self.slots.is_none();
        if self.draft == Some(true) {
            options.draft_tokens = self.draft_tokens;
        }
        options.context = match (self.context, self.per_slot) {
            (0, 0) => None,
            (0, per_slot) => Some(per_slot.saturating_mul(options.sequences.unwrap_or(1))),
            (context, _) => Some(context),
        };
        // A whole prompt is one micro-batch then, and the server lowers the batch to it.
        if self.embedding {
            options.batch = options.micro_batch.or(Some(512)).min(options.batch.or(Some(2048)));
            self.found.note("`--embedding`: a graph that pools is counted as one that generates".to_owned());
        }
        let (context, layers) = (self.found.options.context, self.layers_given);
        if self.adjusts && (context.is_none() || !layers) {
            let what = match (context.is_none(), layers) {
                (true, false) => "context and layers on the device are not given",
                (true, true) => "the context is not given",
                _ => "layers on the device are not given",
            };
            self.found.note(format!(
                "{what}: counted is the whole model, and llama-server takes less where that does not fit (`--fit`)"
            ));
        }
        if let (None, Some(repository)) = (&self.found.model, self.repository.take()) {
            self.found.model = Some(repository);
            self.found.remote = true;
        }
        if self.found.model.is_none() {
            self.refused("no model is named".to_owned());
        }
        self.found
    }

    fn whole(&mut self, name: &str, value: &str) -> Option<u64> {
        let number = value.parse().ok();
        if number.is_none() {
            self.refused(format!("`{name}` is a whole number, not `{value}`"));
        }
        number
    }

    fn cache_type(&mut self, name: &str, value: &str) -> Option<TensorType> {
        let kind = TensorType::named(value);
        if kind.is_none() {
            self.refused(format!("`{name}`: `{value}` is no type that is known"));
        }
        kind
    }

    fn unknown(&mut self, name: &str) {
        self.found.note(format!(
            "`{name}` is no option of llama-server's that is known; what it does to memory is not counted"
        ));
    }

    fn refused(&mut self, reason: String) {
        self.found.refused(reason);
    }
}

fn truth(value: &str) -> Option<bool> {
    match value {
        "on" | "enabled" | "true" | "1" => Some(true),
        "off" | "disabled" | "false" | "0" => Some(false),
        _ => None,
    }
}

fn flash(value: &str) -> Option<FlashAttention> {
    match value {
        "auto" | "-1" => Some(FlashAttention::Auto),
        _ => truth(value).map(|on| if on { FlashAttention::On } else { FlashAttention::Off }),
    }
}
