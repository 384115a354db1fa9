//! Text from a model, with its memory accounted: `vramkit.generate/1`.
//!
//! In: a model file, a prompt, how to choose. Out: text as it comes, then the whole answer with what it took. Everything is in a
//! pool of this question's own, on this machine's memory, which is empty again at the end.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use vramkit::ByteSize;
use vramkit::device::{Device, HostDevice};
use vramkit::orchestrator::MemoryOrchestrator;
use vramkit_llm::text::{Decoder, Message};
use vramkit_llm::{
    AdapterError, CacheKind, Engine, EngineConfig, Finish, LoadError, Request, Sampling, Special, StepEvent,
    host_pool,
};
use vramkit_models::CacheType;

use crate::error::{AskError, QuestionError};

/// What a model is to continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Text as it is written, special tokens recognised.
    Text(String),
    /// What a user says, put into the file's chat template.
    Chat(String),
    /// Tokens.
    Tokens(Vec<u32>),
}

/// What does this model say?
///
/// ```
/// use vramkit_ask::{GenerateQuestion, Prompt};
///
/// let question = GenerateQuestion {
///     most_tokens: 16,
///     ..GenerateQuestion::new("SmolLM2-135M-Instruct.Q4_1.gguf", Prompt::Chat("What is the capital of France?".to_owned()))
/// };
/// # assert_eq!(question.sampling.temperature, 0.0);
/// ```
#[derive(Clone, Debug)]
pub struct GenerateQuestion {
    /// A GGUF file, the first of split ones.
    pub model: PathBuf,
    /// What is continued.
    pub prompt: Prompt,
    /// Most tokens to generate.
    pub most_tokens: usize,
    /// How tokens are chosen; greedily by default.
    pub sampling: Sampling,
    /// Most tokens of prompt and output; the model's by default.
    pub context: Option<usize>,
    /// Threads that compute; all processors by default.
    pub threads: Option<usize>,
    /// Most tokens of a prompt that are read at once; 512 by default. Fewer take less working memory.
    pub step_tokens: Option<usize>,
    /// How keys and values are stored; f16 by default.
    pub cache: CacheType,
    /// Most bytes that weights, workspace and cache take together; what the context needs by default.
    pub capacity: Option<ByteSize>,
    /// How many of the most probable tokens to report at each place.
    pub top: usize,
    /// The program that renders the file's chat template, whose standard input and output it hands to
    /// [`answer_chat_template`](crate::answer_chat_template); in this process when there is none, which a hostile template can end.
    pub renderer: Option<Vec<OsString>>,
}

impl GenerateQuestion {
    /// A model and a prompt, up to 256 tokens, and otherwise the defaults.
    pub fn new(model: impl Into<PathBuf>, prompt: Prompt) -> Self {
        Self {
            model: model.into(),
            prompt,
            most_tokens: 256,
            sampling: Sampling::default(),
            context: None,
            threads: None,
            step_tokens: None,
            cache: CacheType::F16,
            capacity: None,
            top: 0,
            renderer: None,
        }
    }

    fn config(&self) -> Result<EngineConfig, QuestionError> {
        for (what, number) in [
            ("context", self.context),
            ("number of threads", self.threads),
            ("micro-batch", self.step_tokens),
        ] {
            if number == Some(0) {
                return Err(QuestionError::Zero(what));
            }
        }
        let cache = engine_cache(self.cache)?;
        let default = EngineConfig::default();
        let step_tokens = self.step_tokens.unwrap_or(default.step_tokens);
        Ok(EngineConfig { context: self.context, threads: self.threads, step_tokens, cache, ..default })
    }
}

/// How the engine stores keys and values of this type.
pub(crate) fn engine_cache(cache: CacheType) -> Result<CacheKind, QuestionError> {
    match cache.name() {
        "f32" => Ok(CacheKind::F32),
        "f16" => Ok(CacheKind::F16),
        "q8_0" => Ok(CacheKind::Q8_0),
        other => Err(QuestionError::EngineCacheType(other)),
    }
}

/// A token with the natural logarithm of its probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LikelyToken {
    /// The token.
    pub token: u32,
    /// ln p, at temperature 1.
    pub logprob: f32,
}

/// What a model said, and what it took.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct GenerateReport {
    /// `vramkit.generate/1`.
    pub schema: &'static str,
    /// The model's file.
    pub model: String,
    /// Most tokens of prompt and output.
    pub context_tokens: usize,
    /// The prompt.
    pub prompt_tokens: Vec<u32>,
    /// What was generated, the token that ends it included.
    pub tokens: Vec<u32>,
    /// The same as text, special tokens left out.
    pub text: String,
    /// `stop`: a token that ends a text; `length`: as many as were asked for; `context`: the context is full; `stopped`: whoever was
    /// told the text wanted no more.
    pub finish: String,
    /// For each generated token the most probable ones at its place; empty when none were asked for.
    pub top: Vec<Vec<LikelyToken>>,
    /// The weights, as granted.
    pub weights_bytes: ByteSize,
    /// Keys and values of one token.
    pub kv_bytes_per_token: ByteSize,
    /// Keys and values of the tokens that were computed, at most.
    pub peak_kv_bytes: ByteSize,
    /// The same in whole blocks, as granted.
    pub peak_kv_granted_bytes: ByteSize,
    /// What a step's activations share.
    pub workspace_bytes: ByteSize,
    /// What was granted after the model was unloaded.
    pub used_after_unload_bytes: ByteSize,
    /// From the start until the weights were there.
    pub load_seconds: f64,
    /// Until the first token.
    pub prefill_seconds: f64,
    /// From the first token to the last.
    pub decode_seconds: f64,
    /// Tokens of the prompt in a second.
    pub prefill_tokens_per_second: f64,
    /// Generated tokens behind the first in a second; 0 when there are none.
    pub decode_tokens_per_second: f64,
}

/// Generates text; `on_text` is told each piece as it comes, whole characters only, and says whether to go on.
///
/// # Errors
/// A question that contradicts itself; a model that cannot be loaded, for lack of memory too; a prompt that is empty or longer than
/// the context.
pub fn generate(
    question: &GenerateQuestion,
    on_text: &mut dyn FnMut(&str) -> bool,
) -> Result<GenerateReport, AskError> {
    let config = question.config()?;
    let started = Instant::now();
    let name = question.model.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy());
    let capacity = capacity(question, &config, &name)?;
    let pool = host_pool(capacity).map_err(LoadError::from)?;
    let orchestrator = Arc::new(MemoryOrchestrator::new(pool.clone()));
    let engine = Engine::load(&orchestrator, &name, &question.model, config)?;
    let load_seconds = started.elapsed().as_secs_f64();
    let mut report = answer(question, &engine, load_seconds, on_text)?;
    engine.unload();
    report.used_after_unload_bytes = pool.used();
    Ok(report)
}

/// The pool's: as asked, or what the model needs; no more than the machine has. A context that was asked for is to fit as a whole, and
/// the model's own as far as there is room.
fn capacity(question: &GenerateQuestion, config: &EngineConfig, model: &str) -> Result<ByteSize, AskError> {
    let device = HostDevice::with_available_memory();
    let available = device.memory().free_bytes.value.unwrap_or(ByteSize::MAX);
    if let Some(capacity) = question.capacity {
        return Ok(capacity.min(available));
    }
    let required = Engine::needs(&question.model, config)?.total();
    if question.context.is_some() && required > available {
        let (device, model) = (device.info().id, model.to_owned());
        return Err(LoadError::InsufficientVram { required, available, device, model }.into());
    }
    Ok(required.min(available))
}

/// The tokens of a prompt.
fn tokens(question: &GenerateQuestion, engine: &Engine) -> Result<Vec<u32>, AdapterError> {
    Ok(match &question.prompt {
        Prompt::Tokens(tokens) => tokens.clone(),
        // Some models would begin a text of their own.
        Prompt::Text(text) if text.is_empty() => return Err(AdapterError::EmptyPrompt),
        Prompt::Text(text) => engine.tokenizer().encode(text, Special::Parse, true),
        Prompt::Chat(text) => {
            let (template, messages) = (engine.template()?, [Message::new("user", text)]);
            let said = match question.renderer.as_deref() {
                Some([program, arguments @ ..]) => {
                    template.render_apart(Command::new(program).args(arguments), &messages, true)?
                }
                _ => template.render(&messages, true)?,
            };
            engine.tokenizer().encode_chat(&said)
        }
    })
}

fn answer(
    question: &GenerateQuestion,
    engine: &Engine,
    load_seconds: f64,
    on_text: &mut dyn FnMut(&str) -> bool,
) -> Result<GenerateReport, AskError> {
    let prompt = tokens(question, engine)?;
    let request = Request {
        most_tokens: Some(question.most_tokens),
        sampling: question.sampling,
        top: question.top,
        stop_at_end: true,
    };
    let started = Instant::now();
    let sequence = engine.submit(&prompt, request)?;
    let mut decoder = Decoder::new(Special::Plain);
    let (mut generated, mut top, mut text) = (Vec::new(), Vec::new(), String::new());
    let (mut finish, mut prefill_seconds) = (None, None);
    let mut say = |piece: &str, text: &mut String| {
        text.push_str(piece);
        piece.is_empty() || on_text(piece)
    };
    while engine.has_work() {
        for event in engine.step()? {
            match event {
                StepEvent::Token { token, top: likely, .. } => {
                    prefill_seconds.get_or_insert_with(|| started.elapsed().as_secs_f64());
                    generated.push(token);
                    if question.top > 0 {
                        let likely = likely
                            .iter()
                            .map(|each| LikelyToken { token: each.token, logprob: each.logprob });
                        top.push(likely.collect());
                    }
                    if !say(&decoder.push(engine.tokenizer(), token), &mut text) {
                        engine.cancel(sequence);
                    }
                }
                StepEvent::Finished { finish: why, .. } => finish = Some(why),
                StepEvent::Failed { error, .. } => return Err(AskError::Engine(error)),
                _ => {}
            }
        }
    }
    say(&decoder.finish(), &mut text);
    let all = started.elapsed().as_secs_f64();
    let prefill_seconds = prefill_seconds.unwrap_or(all);
    let decode_seconds = all - prefill_seconds;
    let rate =
        |count: usize, seconds: f64| if count == 0 || seconds <= 0.0 { 0.0 } else { count as f64 / seconds };
    let memory = engine.memory();
    // The last token was chosen, and never computed.
    let computed = (prompt.len() + generated.len()).saturating_sub(usize::from(!generated.is_empty()));
    Ok(GenerateReport {
        schema: "vramkit.generate/1",
        model: question.model.display().to_string(),
        context_tokens: engine.context(),
        finish: finish.map_or_else(|| "stopped".to_owned(), |finish: Finish| finish.to_string()),
        text,
        top,
        weights_bytes: memory.weights,
        kv_bytes_per_token: memory.kv_per_token,
        peak_kv_bytes: engine.kv_bytes(computed),
        peak_kv_granted_bytes: memory.peak_kv,
        workspace_bytes: memory.workspace,
        used_after_unload_bytes: ByteSize::ZERO,
        load_seconds,
        prefill_seconds,
        decode_seconds,
        prefill_tokens_per_second: rate(prompt.len(), prefill_seconds),
        decode_tokens_per_second: rate(generated.len().saturating_sub(1), decode_seconds),
        prompt_tokens: prompt,
        tokens: generated,
    })
}
