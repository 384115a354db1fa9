//! What an engine is to hold and compute at most.

use vramkit::ByteSize;

use crate::attention::CacheKind;
use crate::cache::Chunks;
use crate::model::hyper::Hyper;

/// When a waiting sequence may begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// When there is room for all that it may become beside all that the others may: nobody is ever preempted for room that the
    /// model promised.
    #[default]
    Reserve,
    /// When there is room for its prompt. When the room runs out, the sequence that came last makes way and is computed again
    /// later.
    Optimistic,
}

/// In which steps prompts are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prefill {
    /// In pieces, beside the sequences that decode: nobody waits long for a next token.
    #[default]
    Chunked,
    /// In steps of their own, while nobody decodes: exclusive batching, where a cycle of decoding begins with all prompts read.
    Exclusive,
}

/// What an engine is to hold and compute at most.
///
/// ```
/// use vramkit_llm::{Admission, EngineConfig};
///
/// let server = EngineConfig { sequences: 16, admission: Admission::Optimistic, ..EngineConfig::default() };
/// # assert_eq!(server.step_tokens, 512);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct EngineConfig {
    /// Most tokens of a sequence, prompt and output together; what the model was trained for when not given.
    pub context: Option<usize>,
    /// Most sequences that are computed together.
    pub sequences: usize,
    /// Most tokens of one step: a longer prompt is read in several.
    pub step_tokens: usize,
    /// How keys and values are stored.
    pub cache: CacheKind,
    /// Threads that compute; the processors that this program may use when not given.
    pub threads: Option<usize>,
    /// When a waiting sequence may begin.
    pub admission: Admission,
    /// In which steps prompts are read.
    pub prefill: Prefill,
    /// Whether sequences that begin alike share what they have alike.
    pub share_prefixes: bool,
    /// Most bytes for keys and values; what the pool has left when not given.
    pub kv_budget: Option<ByteSize>,
}

impl Default for EngineConfig {
    /// One sequence of the model's context, in steps of up to 512 tokens, keys and values in 16 bits.
    fn default() -> Self {
        Self {
            context: None,
            sequences: 1,
            step_tokens: 512,
            cache: CacheKind::F16,
            threads: None,
            admission: Admission::Reserve,
            prefill: Prefill::Chunked,
            share_prefixes: true,
            kv_budget: None,
        }
    }
}

impl EngineConfig {
    /// Most tokens of a sequence of a model.
    pub(crate) fn context_of(&self, hyper: &Hyper) -> usize {
        self.context.unwrap_or_else(|| usize::try_from(hyper.trained_context).unwrap_or(usize::MAX))
    }

    /// Threads that compute.
    pub(crate) fn thread_count(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// How a sequence is cut into steps.
    pub(crate) fn chunks(&self) -> Chunks {
        Chunks::of(self.step_tokens, self.sequences)
    }

    /// Whether the numbers can be; otherwise which cannot.
    pub(crate) fn check(&self) -> Result<(), String> {
        let few = |what: &str| Err(format!("{what} is 0; at least 1 is needed"));
        match self {
            Self { context: Some(0), .. } => few("the context"),
            Self { sequences: 0, .. } => few("the number of sequences"),
            Self { threads: Some(0), .. } => few("the number of threads"),
            Self { step_tokens, sequences, .. } if step_tokens < sequences => Err(format!(
                "steps of {step_tokens} tokens, and {sequences} sequences need one each: take a larger step or fewer sequences"
            )),
            _ => Ok(()),
        }
    }
}
