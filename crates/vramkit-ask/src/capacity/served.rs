//! What is served and with what: a question's log and its engine's text, read, and the traffic that its options make of them.

use vramkit_fit::Runtime;
use vramkit_models::serving::{Engine, ServingCache, read_serving};
use vramkit_models::traffic::{BadRows, Traffic, TrafficOptions, read_traffic_as};
use vramkit_occupancy::{Lengths, RequestLengths};

use super::question::{CapacityQuestion, KvSource, Memory, TrafficSource};
use crate::error::{AskError, QuestionError};
use crate::fit::{FitMemory, FitQuestion, fit};

/// Tokens of a block of vLLM's where nobody says otherwise.
const VLLM_BLOCK: u32 = 16;

/// Reads the log of a question that has one.
pub(super) fn read_log(question: &CapacityQuestion) -> Result<Option<Traffic>, AskError> {
    let Some(TrafficSource::Log { path, skip_bad_rows, columns }) = &question.traffic else {
        return Ok(None);
    };
    let bad_rows = if *skip_bad_rows { BadRows::LeaveOut } else { BadRows::Refuse };
    let options = TrafficOptions { bad_rows, columns: columns.clone() };
    Ok(Some(read_traffic_as(path, &options)?))
}

/// The memory, block and context that a question gives, or its engine's text.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    pub(super) memory: Option<Memory>,
    pub(super) block: u32,
    pub(super) max_model_len: Option<u32>,
    pub(super) notes: Vec<String>,
}

impl Cache {
    pub(super) fn of(question: &CapacityQuestion) -> Result<Self, AskError> {
        let mut cache = Self {
            memory: question.memory,
            block: question.block.unwrap_or(1),
            max_model_len: question.max_model_len,
            notes: Vec::new(),
        };
        if let Some(path) = &question.engine_text {
            cache.take(question, read_serving(path)?)?;
        }
        if let (Some(Memory::Card { total, utilization }), Some(KvSource::Model(path))) =
            (cache.memory, &question.model)
        {
            let mut card = FitQuestion {
                models: vec![path.clone()],
                runtime: Some(Runtime::Vllm),
                memory: Some(FitMemory::Size(total)),
                ..FitQuestion::default()
            };
            card.options.gpu_memory_utilization = utilization;
            card.options.context = cache.max_model_len.map(u64::from);
            let report = fit(&card)?.report;
            let left = report.models.first().and_then(|model| model.reserved_cache_bytes);
            let left = left.filter(|&bytes| bytes.bytes() > 0).ok_or_else(|| {
                QuestionError::NoCacheSize(format!(
                    "{utilization} of {total} leaves nothing for the KV cache of `{}`",
                    path.display()
                ))
            })?;
            cache.notes.push(format!(
                "{utilization} of {total} leaves {left} of KV cache beside the model, as `fit` says of vLLM"
            ));
            cache.memory = Some(Memory::Bytes(left));
            cache.assume_block(question, None);
        }
        Ok(cache)
    }

    /// The block that an engine says it has, or vLLM's own. Threshold batching counts by the token.
    fn assume_block(&mut self, question: &CapacityQuestion, said: Option<u32>) {
        if question.block.is_some() || question.threshold.is_some() {
            return;
        }
        if said.is_none() {
            self.notes.push(format!("blocks are taken to be of {VLLM_BLOCK} tokens, as vLLM has them"));
        }
        self.block = said.unwrap_or(VLLM_BLOCK);
    }

    /// What the engine says, where the question does not say otherwise.
    fn take(&mut self, question: &CapacityQuestion, said: ServingCache) -> Result<(), AskError> {
        if self.memory.is_none() {
            let tokens = said.kv_tokens.map(|tokens| Memory::Tokens(tokens as f64));
            let bytes = said.kv_bytes.map(Memory::Bytes);
            self.memory = tokens.or(bytes);
            let Some(memory) = self.memory else {
                let what = format!("{} does not say in its text how large its KV cache is", said.engine);
                return Err(QuestionError::NoCacheSize(what).into());
            };
            if matches!(memory, Memory::Bytes(_)) && question.model.is_none() {
                return Err(QuestionError::NoShape.into());
            }
            let what = match memory {
                Memory::Bytes(bytes) => bytes.to_string(),
                _ => format!("{} tokens", said.kv_tokens.unwrap_or(0)),
            };
            self.notes.push(format!("{} says that its KV cache has {what}", said.engine));
        }
        if said.engine == Engine::Vllm || said.block_tokens.is_some() {
            self.assume_block(question, said.block_tokens);
        }
        if let Some(most) = said.max_sequences {
            self.notes.push(format!("{} says that it serves at most {most} sequences at once; a larger batch here is what its memory would do for", said.engine));
        }
        self.max_model_len = self.max_model_len.or(said.max_model_len);
        self.notes.extend(said.notes);
        Ok(())
    }
}

/// The lengths that are served: of a log or a formula, cut off and shared as a question says.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) lengths: Lengths,
    /// The part of what comes that is served, and not refused.
    pub(super) part: f64,
    pub(super) notes: Vec<String>,
}

impl Served {
    pub(super) fn of(
        question: &CapacityQuestion,
        traffic: Option<&Traffic>,
        max_model_len: Option<u32>,
    ) -> Result<Self, AskError> {
        let (mut notes, mut part) = (Vec::new(), 1.0);
        let mut lengths = match (traffic, &question.traffic) {
            (Some(traffic), _) => {
                notes.extend(traffic.notes.iter().cloned());
                let requests =
                    traffic.requests.iter().map(|r| RequestLengths { prompt: r.prompt, output: r.output });
                Lengths::from_requests(requests.collect::<Vec<_>>())?
            }
            (None, Some(TrafficSource::Geometric { prompt_tokens, termination })) => {
                Lengths::geometric(*prompt_tokens, *termination)?
            }
            (None, _) => return Err(QuestionError::NoTraffic.into()),
        };
        if let Some(cap) = question.max_output {
            lengths = lengths.capped(cap)?;
        }
        if let Some(context) = max_model_len {
            let all = lengths.requests().map_or(1, <[RequestLengths]>::len);
            let refused;
            (lengths, refused) = lengths.within(context)?;
            part = 1.0 - refused as f64 / all as f64;
            if refused > 0 {
                notes.push(format!("{refused} requests have prompts that fill the model's {context} tokens: refused, and left out"));
            }
        }
        if question.shared_prefix > 0 {
            let without;
            (lengths, without) = lengths.beside_prefix(question.shared_prefix)?;
            if without > 0 {
                notes.push(format!(
                    "{without} prompts are no longer than the shared {} tokens: taken to share nothing",
                    question.shared_prefix
                ));
            }
        }
        Ok(Self { lengths, part, notes })
    }
}

/// Tokens of whole blocks that a prefix takes, once.
pub(super) fn held_once(prefix: u32, block: u32) -> f64 {
    f64::from(prefix.div_ceil(block)) * f64::from(block)
}
