//! What a model takes under a configuration, from its header alone: the same rules that loading follows, so that what is foretold
//! is what is granted, to the byte.

use std::path::Path;

use vramkit::ByteSize;
use vramkit::plan::{MemoryPlanner, Model, Schedule};
use vramkit::pool::Request;
use vramkit::units::Step;
use vramkit_models::gguf::{GgufFile, GgufHeader};
use vramkit_models::shape::ModelShape;

use super::config::EngineConfig;
use super::shapes::{attention_memory, groups, shape};
use crate::cache::most_bytes;
use crate::error::LoadError;
use crate::model::hyper::Hyper;
use crate::model::tensors::Tensors;

/// What a model takes of a pool.
///
/// ```no_run
/// use vramkit_llm::{Engine, EngineConfig};
///
/// let config = EngineConfig { context: Some(4096), sequences: 8, ..EngineConfig::default() };
/// let needs = Engine::needs("model.gguf".as_ref(), &config)?;
/// println!("{} in all, {} for each token", needs.total(), needs.kv_per_token);
/// # Ok::<(), vramkit_llm::LoadError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// Most tokens of a sequence.
    pub context: usize,
    /// Weights, as they are packed.
    pub weights: ByteSize,
    /// The arena that a step's activations share.
    pub workspace: ByteSize,
    /// Keys and values of as many sequences as are computed together, each of the whole context, in whole blocks. In layers with a
    /// window, where several sequences share a step, more than they come to hold at once.
    pub kv: ByteSize,
    /// Bytes of the keys and values of a token in a sequence that has reached no window yet.
    pub kv_per_token: ByteSize,
}

impl Needs {
    /// All of it.
    pub fn total(&self) -> ByteSize {
        let sum = self.weights.checked_add(self.workspace).and_then(|sum| sum.checked_add(self.kv));
        sum.unwrap_or(ByteSize::MAX)
    }

    /// Of a model by its header.
    ///
    /// # Errors
    /// As [`Engine::load`](super::Engine::load), as far as a header shows it.
    pub fn of(
        header: &GgufHeader,
        model_shape: &ModelShape,
        name: &str,
        config: &EngineConfig,
    ) -> Result<Self, LoadError> {
        config.check().map_err(LoadError::Config)?;
        let hyper = Hyper::read(header, model_shape, name)?;
        let context = config.context_of(&hyper);
        let tensors = Tensors::read(header, name, &hyper, context as u64)?;
        let memory = attention_memory(&hyper, config, context)?;
        let demand = Model {
            name: "model".into(),
            weights: ByteSize::ZERO,
            start: Step(0),
            tensors: shape(&hyper, config, context, memory).lifetimes(&hyper, "model"),
        };
        let plan = MemoryPlanner::new().plan(&[demand], Schedule::Sequential);
        let plan = plan.map_err(|error| LoadError::Config(error.to_string()))?;
        let groups = groups(&hyper, config.cache)?;
        let of_one = most_bytes(&groups, context, config.chunks());
        Ok(Self {
            context,
            weights: Request::granted(ByteSize::new(tensors.bytes as u64)),
            workspace: Request::granted(plan.arena_size),
            kv: ByteSize::new(of_one.saturating_mul(config.sequences as u64)),
            kv_per_token: groups.iter().map(|group| group.layout.bytes_per_token()).sum(),
        })
    }

    /// Of a model by its file.
    ///
    /// # Errors
    /// As [`of`](Self::of), and whatever is wrong with the file.
    pub fn read(path: &Path, config: &EngineConfig) -> Result<Self, LoadError> {
        let file = GgufFile::open(path)?;
        Self::of(file.header(), &file.shape()?, &path.display().to_string(), config)
    }
}
