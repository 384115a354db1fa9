//! The engine itself: loading, taking sequences, computing a step.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vramkit::ByteSize;
use vramkit::orchestrator::MemoryOrchestrator;

use super::config::EngineConfig;
use super::event::StepEvent;
use super::memory::{self, MemoryUse};
use super::needs::Needs;
use super::resident::Resident;
use super::schedule::{Others, State};
use super::sequence::{Request, Sequence, SequenceId};
use super::shapes::{attention_memory, groups, shape};
use crate::cache::KvCache;
use crate::error::{AdapterError, LoadError};
use crate::model::batch::Part;
use crate::model::step::StepShape;
use crate::text::{ChatTemplate, TemplateError, Tokenizer};

/// A model that generates text, in the memory of a pool.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use vramkit::ByteSize;
/// use vramkit::orchestrator::MemoryOrchestrator;
/// use vramkit_llm::text::Decoder;
/// use vramkit_llm::{Engine, EngineConfig, Request, Special, StepEvent, host_pool};
///
/// let orchestrator = Arc::new(MemoryOrchestrator::new(host_pool(ByteSize::mib(512))?));
/// let engine = Engine::load(&orchestrator, "smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf".as_ref(), EngineConfig::default())?;
/// let prompt = engine.tokenizer().encode("The capital of France is", Special::Parse, true);
/// engine.submit(&prompt, Request { most_tokens: Some(8), ..Request::default() })?;
/// let mut text = Decoder::new(Special::Plain);
/// while engine.has_work() {
///     for event in engine.step()? {
///         match event {
///             StepEvent::Token { token, .. } => print!("{}", text.push(engine.tokenizer(), token)),
///             StepEvent::Failed { error, .. } => return Err(error.into()),
///             _ => {}
///         }
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Engine {
    resident: Arc<Resident>,
    state: Arc<Mutex<State>>,
    /// Sequences that were submitted and not seen by a step yet, and those that are to end.
    inbox: Mutex<Inbox>,
    tokenizer: Arc<Tokenizer>,
    template: Result<ChatTemplate, Arc<TemplateError>>,
    config: EngineConfig,
    context: usize,
    next: AtomicU64,
}

#[derive(Default)]
struct Inbox {
    submitted: Vec<Sequence>,
    cancelled: Vec<SequenceId>,
}

/// What is there after a panic elsewhere is whole: every change is made of complete steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Loads a model under a name, which no other model of the orchestrator and its pool has. What is in the way and idle is evicted.
    ///
    /// # Errors
    /// [`LoadError::InsufficientVram`] before anything is committed when there is not enough; [`LoadError::NameTaken`]; whatever is
    /// wrong with the file.
    pub fn load(
        orchestrator: &Arc<MemoryOrchestrator>,
        name: &str,
        path: &Path,
        config: EngineConfig,
    ) -> Result<Self, LoadError> {
        config.check().map_err(LoadError::Config)?;
        let threads = config.thread_count();
        let opened =
            Resident::open(orchestrator, name, path, config.context.map(|context| context as u64), threads)?;
        let tokenizer = Tokenizer::from_gguf(&opened.file)
            .map_err(|error| LoadError::Tokenizer { model: path.display().to_string(), error })?;
        if tokenizer.vocabulary_len() > opened.hyper.vocabulary {
            return Err(LoadError::Model {
                model: path.display().to_string(),
                reason: format!(
                    "its tokenizer has {} tokens, and its embedding {}",
                    tokenizer.vocabulary_len(),
                    opened.hyper.vocabulary
                ),
            });
        }
        let template = ChatTemplate::from_gguf(&opened.file, &tokenizer).map_err(Arc::new);
        let context = config.context_of(&opened.hyper);
        let memory = attention_memory(&opened.hyper, &config, context)?;
        let shape = shape(&opened.hyper, &config, context, memory);
        let groups = groups(&opened.hyper, config.cache)?;
        let mut cache = KvCache::new(orchestrator.pool(), name, groups.clone())?;
        let resident = Arc::new(opened.bind(&shape, groups, memory, Duration::ZERO)?);
        if config.kv_budget.is_some() {
            cache.set_budget(config.kv_budget)?;
        }
        let state = Arc::new(Mutex::new(State::new(cache, &config)));
        let engine = Self {
            resident,
            state,
            inbox: Mutex::default(),
            tokenizer: Arc::new(tokenizer),
            template,
            config,
            context,
            next: AtomicU64::new(0),
        };
        engine.answer_degrading();
        Ok(engine)
    }

    /// What loading a model so would take, and its sequences at most.
    ///
    /// # Errors
    /// As [`load`](Self::load), as far as a header shows it.
    pub fn needs(path: &Path, config: &EngineConfig) -> Result<Needs, LoadError> {
        Needs::read(path, config)
    }

    /// Between text and tokens.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The file's chat template.
    ///
    /// # Errors
    /// The file has none, or one that cannot be used.
    pub fn template(&self) -> Result<&ChatTemplate, AdapterError> {
        self.template.as_ref().map_err(|error| AdapterError::Template(error.clone()))
    }

    /// Most tokens of a sequence.
    pub fn context(&self) -> usize {
        self.context
    }

    /// How many tokens there are.
    pub fn vocabulary_len(&self) -> usize {
        self.resident.hyper.vocabulary
    }

    /// How it was set up.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// The name that the pool and the orchestrator know the model by.
    pub fn name(&self) -> &str {
        &self.resident.name
    }

    /// Takes a sequence; its first token comes with a later [`step`](Self::step).
    ///
    /// # Errors
    /// A prompt without tokens, with ones that are not in the vocabulary, or longer than the context; numbers that say no way to
    /// choose. A prompt as long as the context ends without a token.
    pub fn submit(&self, prompt: &[u32], request: Request) -> Result<SequenceId, AdapterError> {
        let vocabulary = self.resident.hyper.vocabulary;
        if prompt.is_empty() {
            return Err(AdapterError::EmptyPrompt);
        }
        if let Some(&token) = prompt.iter().find(|token| **token as usize >= vocabulary) {
            return Err(AdapterError::UnknownToken { token, vocabulary });
        }
        if prompt.len() > self.context {
            return Err(AdapterError::ContextLengthExceeded { length: prompt.len(), max: self.context });
        }
        request.sampling.check().map_err(AdapterError::Sampling)?;
        let wanted = request.most_tokens.unwrap_or(usize::MAX);
        let id = SequenceId(self.next.fetch_add(1, Ordering::Relaxed));
        let sequence = Sequence {
            id,
            tokens: prompt.to_vec(),
            prompt: prompt.len(),
            computed: 0,
            most: prompt.len().saturating_add(wanted).min(self.context),
            request,
            blocks: Default::default(),
            tag: vramkit::pool::TagId::NONE,
            seat: 0,
            finished: false,
        };
        lock(&self.inbox).submitted.push(sequence);
        Ok(id)
    }

    /// Ends a sequence before its next token, and gives its memory back with the next step. No event tells of it. One that has ended
    /// is left alone.
    pub fn cancel(&self, sequence: SequenceId) {
        lock(&self.inbox).cancelled.push(sequence);
    }

    /// Whether a step would do anything.
    pub fn has_work(&self) -> bool {
        let inbox = lock(&self.inbox);
        let waits = !inbox.submitted.is_empty() || !inbox.cancelled.is_empty();
        drop(inbox);
        waits || lock(&self.state).has_work()
    }

    /// Computes one step of all sequences that are admitted. Other calls of it wait for this one.
    ///
    /// # Errors
    /// [`AdapterError::NotLoaded`] when the model was evicted and there is no room to load it again: nothing is lost, and a later
    /// step may succeed.
    pub fn step(&self) -> Result<Vec<StepEvent>, AdapterError> {
        let mut state = lock(&self.state);
        let Inbox { submitted, cancelled } = std::mem::take(&mut *lock(&self.inbox));
        state.take(submitted, &cancelled);
        if !state.has_work() {
            return Ok(state.told());
        }
        let mut running = self.resident.begin().map_err(|error| AdapterError::NotLoaded(Arc::new(error)))?;
        let mut events = state.told();
        let room = running.buffers.tokens(&self.resident.hyper);
        let batch = state.schedule(room, &Others(&self.resident.orchestrator), &mut events);
        if batch.is_empty() {
            return Ok(events);
        }
        let parts: Vec<Part<'_>> = batch.iter().map(|part| state.part(part)).collect();
        let rows = self.resident.compute(&mut running, &parts).map_err(AdapterError::Arithmetic)?;
        drop(parts);
        let hyper = &self.resident.hyper;
        let mut rows = running.logits(hyper, rows).chunks_exact(hyper.vocabulary);
        for part in &batch {
            let row = if part.is_last { rows.next() } else { None };
            state.computed(part, row, &self.tokenizer, &mut events);
        }
        drop(running);
        state.retire();
        Ok(events)
    }

    /// What the model holds of the pool, and what a token takes.
    pub fn memory(&self) -> MemoryUse {
        memory::of(&self.resident, &lock(&self.state))
    }

    /// Bytes of the keys and values of so many tokens of a sequence, rounding to blocks left out; in layers with a window those in
    /// it.
    pub fn kv_bytes(&self, tokens: usize) -> ByteSize {
        ByteSize::new(lock(&self.state).cache.bytes_of(tokens))
    }

    /// Sets the most bytes that keys and values may take from now on; what the pool has left when not given. Pressure on the pool
    /// halves it where the orchestrator's policy is to degrade, and nothing but this raises it again.
    ///
    /// # Errors
    /// The pool refuses it.
    pub fn set_kv_budget(&self, budget: Option<ByteSize>) -> Result<(), AdapterError> {
        Ok(lock(&self.state).set_budget(budget)?)
    }

    /// The log-probability of every token after a prompt, as `f32` in the vocabulary's order: what a reference can be held
    /// against. The prompt is computed for this alone; what becomes of other sequences meanwhile is told with the next step.
    ///
    /// # Errors
    /// As [`submit`](Self::submit) and [`step`](Self::step).
    pub fn logits(&self, prompt: &[u32]) -> Result<Vec<f32>, AdapterError> {
        let vocabulary = self.resident.hyper.vocabulary;
        let request =
            Request { most_tokens: Some(1), top: vocabulary, stop_at_end: false, ..Request::default() };
        let wanted = self.submit(prompt, request)?;
        let mut of_others = Vec::new();
        let found = self.logits_of(wanted, &mut of_others);
        if found.is_err() {
            self.cancel(wanted);
        }
        lock(&self.state).tell_later(of_others);
        found
    }

    /// Steps until a sequence has its first token; keeps what concerns others.
    fn logits_of(
        &self,
        wanted: SequenceId,
        of_others: &mut Vec<StepEvent>,
    ) -> Result<Vec<f32>, AdapterError> {
        let mut found = Err(AdapterError::NotReady("the sequence has ended"));
        while self.has_work() {
            let mut is_over = false;
            for event in self.step()? {
                match event {
                    StepEvent::Token { sequence, top, .. } if sequence == wanted => {
                        let mut logits = vec![0.0; self.resident.hyper.vocabulary];
                        top.iter().for_each(|each| logits[each.token as usize] = each.logprob);
                        found = Ok(logits);
                    }
                    StepEvent::Failed { sequence, error } if sequence == wanted => {
                        is_over = true;
                        found = Err(Arc::into_inner(error).unwrap_or(AdapterError::NotReady("it failed")));
                    }
                    StepEvent::Finished { sequence, .. } if sequence == wanted => is_over = true,
                    StepEvent::Preempted { sequence } if sequence == wanted => {}
                    other => of_others.push(other),
                }
            }
            if is_over {
                break;
            }
        }
        found
    }

    /// Gives back all that the model holds, to the pool and, where nobody else needs it, to the device. Dropping the engine leaves the
    /// device's part to [`trim`](vramkit::pool::DeviceMemoryPool::trim).
    pub fn unload(self) {
        let orchestrator = self.resident.orchestrator.clone();
        drop(self);
        if let Err(error) = orchestrator.pool().trim() {
            tracing::warn!(%error, "memory could not be given back to the device yet");
        }
    }

    /// Halves what the model keeps for itself when the orchestrator asks it to make do with less: tokens of a step, and the budget
    /// of keys and values, for which the sequences that came last make way at once.
    fn answer_degrading(&self) {
        let (state, resident) = (Arc::downgrade(&self.state), Arc::downgrade(&self.resident));
        let (config, context) = (self.config.clone(), self.context);
        self.resident.orchestrator.on_degrade(&self.resident.name, move |request| {
            let (state, resident) = (state.upgrade()?, resident.upgrade()?);
            // A step is under way: the model is not idle, and its state not to be touched.
            let mut state = state.try_lock().ok()?;
            if !request.is_dry_run {
                state.shrink(context);
            }
            drop(state);
            let now = StepShape::of(&request.current.tensors, &resident.hyper)?;
            let tokens = (now.tokens / 2).max(config.sequences);
            if tokens == now.tokens {
                return None;
            }
            let smaller = EngineConfig { step_tokens: tokens, ..config.clone() };
            let shape = shape(&resident.hyper, &smaller, context, resident.memory);
            Some(vramkit::plan::Model {
                tensors: shape.lifetimes(&resident.hyper, &resident.name),
                ..request.current.clone()
            })
        });
    }
}

impl Drop for Engine {
    /// Blocks first, so that nothing is left when the model's memory goes.
    fn drop(&mut self) {
        lock(&self.state).clear();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("name", &self.resident.name)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
