//! What an engine takes: the answer for one model and one set of options.

use vramkit_units::ByteSize;

use crate::options::{Backend, Runtime};

/// What an engine takes of the device and of the host for one model.
///
/// ```
/// use vramkit_fit::{Backend, Footprint, Runtime};
/// use vramkit_units::ByteSize;
///
/// let mut footprint = Footprint::new(Runtime::Vramkit, Backend::Cpu);
/// footprint.device.weights = Some(ByteSize::mib(12));
/// assert_eq!(footprint.device.total(), None); // nobody said what it works in
/// footprint.device.workspace = Some(ByteSize::mib(4));
/// assert_eq!(footprint.device.total(), Some(ByteSize::mib(16)));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Footprint {
    /// The engine.
    pub runtime: Runtime,
    /// What it computes with.
    pub backend: Backend,
    /// Tokens of context, as the engine rounds what was asked.
    pub context: u64,
    /// Sequences at a time.
    pub sequences: u64,
    /// Layers of the model, the output not counted.
    pub layers: u64,
    /// Layers on the device, the output counted as one more, as llama.cpp counts.
    pub layers_on_device: u64,
    /// On the device.
    pub device: Part,
    /// On the host.
    pub host: Part,
    /// What a context of the driver and libraries take on the device beside it, once for each process; `None` when it has not
    /// been measured for this back end.
    pub overhead: Option<ByteSize>,
    /// Bytes of cache that one more token takes, over all layers, windows not yet full.
    pub kv_per_token: ByteSize,
    /// The cache that the engine makes of all that is left to it, where it does (vLLM); `None` also when the device's memory is
    /// not known.
    pub reserved_cache: Option<ReservedCache>,
    /// How well each figure has been checked.
    pub accuracy: Accuracy,
    /// What rests on a guess, or is not covered, in sentences.
    pub notes: Vec<String>,
}

impl Footprint {
    /// A footprint of nothing, to be filled in.
    pub fn new(runtime: Runtime, backend: Backend) -> Self {
        Self {
            runtime,
            backend,
            context: 0,
            sequences: 0,
            layers: 0,
            layers_on_device: 0,
            device: Part::default(),
            host: Part::default(),
            overhead: None,
            kv_per_token: ByteSize::ZERO,
            reserved_cache: None,
            accuracy: Accuracy::default(),
            notes: Vec::new(),
        }
    }
}

/// A cache of all that is left to an engine.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReservedCache {
    /// Its size.
    pub size: ByteSize,
    /// Tokens in it, as vLLM counts them ("GPU KV cache size").
    pub tokens: u64,
    /// Sequences at full length that it holds ("Maximum concurrency"); no whole number.
    pub concurrency: f64,
}

/// What is in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Weights; `None` where only a configuration is there and nobody knows.
    pub weights: Option<ByteSize>,
    /// Weights that are kept rearranged for the processor's kernels, beside [`weights`](Self::weights): llama.cpp leaves them
    /// out where it prints what the host holds.
    pub rearranged_weights: ByteSize,
    /// The cache of keys and values.
    pub kv: ByteSize,
    /// Recurrent state.
    pub state: ByteSize,
    /// Working memory; `None` where this architecture's is not known.
    pub workspace: Option<ByteSize>,
}

impl Part {
    /// The sum; `None` when a part of it is not known.
    pub fn total(&self) -> Option<ByteSize> {
        let sum = [self.weights?, self.rearranged_weights, self.kv, self.state, self.workspace?].into_iter();
        Some(ByteSize::new(sum.fold(0, |sum, size| sum.saturating_add(size.bytes()))))
    }
}

/// How well figures have been checked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Accuracy {
    /// Of weights.
    pub weights: Checked,
    /// Of cache and state.
    pub kv: Checked,
    /// Of working memory.
    pub workspace: Checked,
    /// Of the overhead.
    pub overhead: Checked,
}

/// How well a figure has been checked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Checked {
    /// To the byte, or to the last digit that the engine prints.
    Exact,
    /// Within this ratio of what the engine really took, over what was tried.
    Within(f64),
    /// Not checked for this architecture and back end.
    #[default]
    No,
}
