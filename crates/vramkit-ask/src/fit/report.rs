//! The document `vramkit.fit/1`.

use serde::Serialize;
use vramkit::ByteSize;
use vramkit_fit::{Accuracy, Checked, Footprint, Need, Room, Suggestion};
use vramkit_sets::{Entry, Promise};

/// Whether models fit: `vramkit.fit/1`. Sizes are in bytes, on the device where they do not say host.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FitReport {
    /// `vramkit.fit/1`.
    pub schema: &'static str,
    /// Whether all models fit together; `null` without a memory, or when a part of the need is not known and the rest fits.
    pub fits: Option<bool>,
    /// The engine; `null` where models have several.
    pub runtime: Option<String>,
    /// What it computes with; `null` where models have several.
    pub backend: Option<String>,
    /// The models, one process each.
    pub models: Vec<FitModelReport>,
    /// What they take together; `null` for a configuration, whose models do not all run together.
    #[serde(flatten)]
    pub figures: FitFigures,
    /// What they may take together, when a memory was given: what is free, or the part of it that the engine confines itself
    /// to.
    pub available_bytes: Option<ByteSize>,
    /// What they take of it at their start whatever they need, where one is vLLM's, which takes its whole part, and others are
    /// beside it or that part is not free.
    pub claimed_bytes: Option<ByteSize>,
    /// What is left of it; negative by what is missing.
    pub headroom_bytes: Option<i64>,
    /// The memory that was given.
    pub memory: Option<FitMemoryReport>,
    /// The longest context that fits with all else as asked, in the engine's own counting: tokens of all sequences together
    /// for llama.cpp, of one for vLLM. No longer than the models were trained for.
    pub max_context: Option<u64>,
    /// The most sequences that fit, each with the context that one has now.
    pub max_sequences: Option<u64>,
    /// The most layers on the device that fit, the output counted as one, as llama.cpp counts.
    pub max_layers_on_device: Option<u64>,
    /// Why there are no more of the three than that: `memory`, `model` or `engine`.
    pub stopped_by: FitStops,
    /// The part that decides, in a sentence.
    pub decides: Option<String>,
    /// The engine's own options that help, the best first.
    pub suggestions: Vec<FitSuggestion>,
    /// Of a configuration of several models: which fit together. Figures above are then `null`, as each model has its own, and
    /// `fits` is whether the sets fit that the file promises, `null` where it promises none.
    #[serde(flatten)]
    pub sets: Option<FitSetsReport>,
    /// What rests on a guess, or is not covered, in sentences.
    pub notes: Vec<String>,
}

/// Which models of a configuration fit together.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FitSetsReport {
    /// The maximal sets of models that fit: no other model can be added. Those of the most models first.
    pub sets: Vec<FitSet>,
    /// Whether there are more sets than these.
    pub sets_truncated: bool,
    /// The sets that the file promises.
    pub promised: Vec<FitPromise>,
    /// Models that do not fit even alone.
    pub too_large: Vec<FitTooLarge>,
    /// Models of which nothing can be said. They are in no set.
    pub not_covered: Vec<FitUncovered>,
}

/// Models that fit together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FitSet {
    /// Their names.
    pub models: Vec<String>,
    /// What they take; vLLM its whole part of the device.
    pub total_bytes: ByteSize,
    /// What they leave.
    pub headroom_bytes: i64,
}

/// A set that a configuration promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FitPromise {
    /// What the file calls it.
    pub name: String,
    /// Where it is written.
    pub line: Option<usize>,
    /// The largest combination that it allows, as far as is known.
    pub models: Vec<String>,
    /// What that takes: at least, where something is not known and the rest does not fit; `null` where `fits` is.
    pub total_bytes: Option<ByteSize>,
    /// What that leaves; negative by what is missing.
    pub headroom_bytes: Option<i64>,
    /// Whether every combination fits; `null` when what is known fits and something is not known.
    pub fits: Option<bool>,
    /// Models of it of which nothing can be said.
    pub unknown: Vec<String>,
}

/// A model that does not fit even alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FitTooLarge {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub total_bytes: ByteSize,
}

/// A model of which nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FitUncovered {
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// Why there is no more than the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FitStops {
    /// Of `max_context`.
    pub max_context: Option<&'static str>,
    /// Of `max_sequences`.
    pub max_sequences: Option<&'static str>,
    /// Of `max_layers_on_device`.
    pub max_layers_on_device: Option<&'static str>,
}

/// One model, in a process of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FitModelReport {
    /// The file's or folder's name, without its ending.
    pub name: String,
    /// As its files have it; `onnx` for a graph.
    pub architecture: String,
    /// Layers, the output not counted; `null` for a graph.
    pub layers: Option<u64>,
    /// Layers on the device, the output counted as one.
    pub layers_on_device: Option<u64>,
    /// Tokens of context as the engine rounds them: of all sequences together for llama.cpp, of one for vLLM.
    pub context: Option<u64>,
    /// Sequences at a time.
    pub sequences: Option<u64>,
    /// Its engine.
    pub runtime: String,
    /// What that computes with.
    pub backend: String,
    /// What it takes.
    #[serde(flatten)]
    pub figures: FitFigures,
    /// The cache that vLLM makes of all that is left to it ("Available KV cache memory"); `null` for others, and without a
    /// memory.
    pub reserved_cache_bytes: Option<ByteSize>,
    /// Tokens in that ("GPU KV cache size").
    pub kv_cache_tokens: Option<u64>,
    /// Sequences at full length that it holds ("Maximum concurrency").
    pub maximum_concurrency: Option<f64>,
}

/// What one model takes, or several together. All is `null` for models that do not run together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FitFigures {
    /// Weights; `null` when there are none to be counted.
    pub weights_bytes: Option<ByteSize>,
    /// The cache of keys and values.
    pub kv_bytes: Option<ByteSize>,
    /// Bytes of it that one more token takes, windows not yet full.
    pub kv_bytes_per_token: Option<ByteSize>,
    /// Recurrent state.
    pub state_bytes: Option<ByteSize>,
    /// Working memory; `null` where it is not known for an architecture.
    pub workspace_bytes: Option<ByteSize>,
    /// What contexts of the driver and libraries take, one for each process; `null` where it was not measured.
    pub overhead_bytes: Option<ByteSize>,
    /// All of it; `null` where a part is not known.
    pub total_bytes: Option<ByteSize>,
    /// The same in main memory.
    pub host: FitHost,
    /// How well the figures have been checked.
    pub accuracy: FitAccuracy,
}

/// What is in main memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FitHost {
    /// Weights; `null` when there are none to be counted.
    pub weights_bytes: Option<ByteSize>,
    /// Weights that are kept rearranged for the processor's kernels, beside those; llama.cpp leaves them out of what it prints
    /// of the host.
    pub repacked_weights_bytes: Option<ByteSize>,
    /// The cache of keys and values.
    pub kv_bytes: Option<ByteSize>,
    /// Recurrent state.
    pub state_bytes: Option<ByteSize>,
    /// Working memory; `null` where it is not known.
    pub workspace_bytes: Option<ByteSize>,
    /// All of it; `null` where a part is not known.
    pub total_bytes: Option<ByteSize>,
}

/// How well figures have been checked: `exact`, a ratio within which they were found right, or `null` where nothing was
/// checked for an architecture and back end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FitAccuracy {
    /// Of weights.
    pub weights: Option<FitChecked>,
    /// Of cache and state.
    pub kv: Option<FitChecked>,
    /// Of working memory.
    pub workspace: Option<FitChecked>,
    /// Of the overhead.
    pub overhead: Option<FitChecked>,
}

/// How well a figure has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum FitChecked {
    /// To the byte, or to the last digit that the engine prints.
    Exact(FitExact),
    /// Within this ratio.
    Within(f64),
}

/// The word of an exact figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FitExact {
    /// `exact`.
    Exact,
}

/// A memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FitMemoryReport {
    /// The device that was looked at; `null` for a size that was given.
    pub device: Option<String>,
    /// All of it.
    pub total_bytes: ByteSize,
    /// What nobody holds.
    pub free_bytes: ByteSize,
    /// What is held already: by other processes, and on a card by the context that its driver is asked from.
    pub held_bytes: ByteSize,
}

/// A change of the engine's own options.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FitSuggestion {
    /// What is changed, in words.
    pub change: String,
    /// The engine's options, each with its value, as they stand on its command line.
    pub options: Vec<String>,
    /// What is then needed on the device.
    pub total_bytes: Option<ByteSize>,
    /// Whether it then fits.
    pub fits: Option<bool>,
}

impl FitFigures {
    /// The sum over processes; of accuracies the least.
    pub(crate) fn of(footprints: &[Footprint]) -> Self {
        let sum = |part: fn(&Footprint) -> ByteSize| {
            Some(footprints.iter().map(part).fold(ByteSize::ZERO, ByteSize::saturating_add))
        };
        let known = |part: fn(&Footprint) -> Option<ByteSize>| {
            let parts: Option<Vec<ByteSize>> = footprints.iter().map(part).collect();
            parts.map(|parts| parts.into_iter().fold(ByteSize::ZERO, ByteSize::saturating_add))
        };
        let least = |of: fn(&Accuracy) -> Checked| {
            footprints.iter().map(|footprint| of(&footprint.accuracy)).fold(Checked::Exact, worse)
        };
        Self {
            weights_bytes: known(|footprint| footprint.device.weights),
            kv_bytes: sum(|footprint| footprint.device.kv),
            kv_bytes_per_token: sum(|footprint| footprint.kv_per_token),
            state_bytes: sum(|footprint| footprint.device.state),
            workspace_bytes: known(|footprint| footprint.device.workspace),
            overhead_bytes: known(|footprint| footprint.overhead),
            total_bytes: Need::of_all(footprints).total(),
            host: FitHost {
                weights_bytes: known(|footprint| footprint.host.weights),
                repacked_weights_bytes: sum(|footprint| footprint.host.rearranged_weights),
                kv_bytes: sum(|footprint| footprint.host.kv),
                state_bytes: sum(|footprint| footprint.host.state),
                workspace_bytes: known(|footprint| footprint.host.workspace),
                total_bytes: known(|footprint| footprint.host.total()),
            },
            accuracy: FitAccuracy {
                weights: FitChecked::of(least(|accuracy| accuracy.weights)),
                kv: FitChecked::of(least(|accuracy| accuracy.kv)),
                workspace: FitChecked::of(least(|accuracy| accuracy.workspace)),
                overhead: FitChecked::of(least(|accuracy| accuracy.overhead)),
            },
        }
    }
}

/// The less certain of two.
fn worse(one: Checked, other: Checked) -> Checked {
    match (one, other) {
        (Checked::Exact, other) => other,
        (one, Checked::Exact) => one,
        (Checked::Within(one), Checked::Within(other)) => Checked::Within(one.max(other)),
        _ => Checked::No,
    }
}

impl FitChecked {
    fn of(checked: Checked) -> Option<Self> {
        match checked {
            Checked::Exact => Some(Self::Exact(FitExact::Exact)),
            Checked::Within(ratio) => Some(Self::Within(ratio)),
            _ => None,
        }
    }
}

impl FitMemoryReport {
    pub(crate) fn new(device: Option<String>, room: &Room) -> Self {
        let held_bytes = room.total.saturating_sub(room.free);
        Self { device, total_bytes: room.total, free_bytes: room.free, held_bytes }
    }
}

impl From<Suggestion> for FitSuggestion {
    fn from(suggestion: Suggestion) -> Self {
        let Suggestion { change, options, total, fits, .. } = suggestion;
        Self { change, options, total_bytes: total, fits }
    }
}

impl From<&Promise> for FitPromise {
    fn from(promise: &Promise) -> Self {
        // Of a part that fits nothing follows for the whole.
        let known = promise.fits.is_some();
        Self {
            name: promise.name.clone(),
            line: promise.line,
            models: promise.models.clone(),
            total_bytes: known.then_some(promise.total),
            headroom_bytes: known.then_some(promise.headroom_bytes),
            fits: promise.fits,
            unknown: promise.unknown.clone(),
        }
    }
}

impl FitUncovered {
    pub(crate) fn new(entry: &Entry, reason: String) -> Self {
        Self { name: entry.name.clone(), line: entry.line, reason }
    }
}
