//! One model and one sequence, by verbs: open, load, encode, prefill, decode a token, unload.
//!
//! In: a file or the name of one. Out: tokens, one call each. It is an [`Engine`] with one sequence, for programs that drive
//! inference themselves and want every step's memory to be seen.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vramkit::ByteSize;
use vramkit::orchestrator::MemoryOrchestrator;
use vramkit::pool::DeviceMemoryPool;

use crate::engine::{Engine, EngineConfig, MemoryUse, Request, Sampling, SequenceId, StepEvent};
use crate::error::{AdapterError, LoadError};
use crate::host::host_pool;
use crate::text::Special;

/// What the next forward pass is to compute.
///
/// ```
/// use vramkit_llm::ForwardPassConfig;
///
/// let prompt = ForwardPassConfig::prefill(128);
/// assert!(prompt.is_prefill && prompt.seq_len == 128 && prompt.cache_len == 0);
/// let next = ForwardPassConfig::decode(128);
/// assert_eq!((next.seq_len, next.cache_len), (1, 128));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForwardPassConfig {
    /// Whether a prompt is read; otherwise one token is decoded.
    pub is_prefill: bool,
    /// Sequences computed together.
    pub batch_size: usize,
    /// Tokens computed of each sequence.
    pub seq_len: usize,
    /// Tokens whose keys and values are there already.
    pub cache_len: usize,
    /// As [`Sampling::temperature`].
    pub temperature: f32,
    /// As [`Sampling::seed`].
    pub seed: u64,
}

impl ForwardPassConfig {
    /// Reads a prompt of so many tokens, greedily.
    pub fn prefill(tokens: usize) -> Self {
        Self { is_prefill: true, batch_size: 1, seq_len: tokens, cache_len: 0, temperature: 0.0, seed: 0 }
    }

    /// Decodes one token behind so many, greedily.
    pub fn decode(cache_len: usize) -> Self {
        Self { is_prefill: false, batch_size: 1, seq_len: 1, cache_len, temperature: 0.0, seed: 0 }
    }
}

/// One model with one sequence.
///
/// ```no_run
/// use vramkit_llm::LlamaInferenceAdapter;
///
/// let adapter = LlamaInferenceAdapter::from_model_ref("SmolLM2-135M-Instruct.Q4_1.gguf")?;
/// adapter.load()?;
/// let prompt = adapter.encode("The capital of France is")?;
/// adapter.prefill(&prompt)?;
/// let token = adapter.decode_token()?;
/// adapter.unload();
/// assert_eq!(adapter.used(), vramkit::ByteSize::ZERO);
/// # let _ = token;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LlamaInferenceAdapter {
    path: PathBuf,
    name: String,
    config: EngineConfig,
    limit: Option<ByteSize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pool: Option<Arc<DeviceMemoryPool>>,
    engine: Option<Engine>,
    sequence: Option<Current>,
    sampling: Sampling,
}

/// The sequence that is being decoded.
#[derive(Debug)]
struct Current {
    id: SequenceId,
    /// Tokens of the prompt and those that were handed out.
    length: usize,
    /// Chosen, and not handed out yet.
    next: Option<u32>,
}

/// The folder where models are looked for by name.
const FOLDER: &str = "VRAMKIT_MODELS";

impl LlamaInferenceAdapter {
    /// A model by its file, or by a name: a `.gguf` file whose name begins with it, in the folder that the environment variable
    /// `VRAMKIT_MODELS` names. Nothing is loaded yet.
    ///
    /// # Errors
    /// [`LoadError::NotFound`]: no such file, no folder to look in, none or several files of that name in it.
    pub fn from_model_ref(reference: &str) -> Result<Self, LoadError> {
        let path = find(reference)?;
        let name =
            path.file_stem().map_or_else(|| reference.to_owned(), |stem| stem.to_string_lossy().into_owned());
        let (config, limit, state) = (EngineConfig::default(), None, Mutex::default());
        Ok(Self { path, name, config, limit, state })
    }

    /// Loads it so.
    pub fn with_config(mut self, config: EngineConfig) -> Self {
        self.config = config;
        self
    }

    /// Loads the model into a pool on this machine's memory, just large enough for one sequence of the whole context.
    ///
    /// # Errors
    /// As [`Engine::load`]. A model that is loaded already is left as it is.
    pub fn load(&self) -> Result<(), LoadError> {
        let mut state = self.state();
        if state.engine.is_some() {
            return Ok(());
        }
        let limit = match self.limit {
            Some(limit) => limit,
            None => Engine::needs(&self.path, &self.config)?.total(),
        };
        let pool = host_pool(limit)?;
        let orchestrator = Arc::new(MemoryOrchestrator::new(pool.clone()));
        state.engine = Some(Engine::load(&orchestrator, &self.name, &self.path, self.config.clone())?);
        state.pool = Some(pool);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tokens of a text, special ones recognised; in front the one that begins a text, where the model wants it.
    ///
    /// # Errors
    /// [`AdapterError::NotReady`] before [`load`](Self::load).
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, AdapterError> {
        let state = self.state();
        let engine = state.engine()?;
        Ok(engine.tokenizer().encode(text, Special::Parse, true))
    }

    /// How tokens are chosen from the next [`prefill`](Self::prefill) on.
    pub fn set_sampling(&self, sampling: Sampling) {
        self.state().sampling = sampling;
    }

    /// Computes a prompt; the sequence before, if there was one, is given up.
    ///
    /// # Errors
    /// [`AdapterError::ContextLengthExceeded`] and the others of [`Engine::submit`]; [`AdapterError::OutOfCache`].
    pub fn prefill(&self, tokens: &[u32]) -> Result<(), AdapterError> {
        let mut state = self.state();
        if let Some(before) = state.sequence.take() {
            let engine = state.engine()?;
            engine.cancel(before.id);
            // Its memory goes now, whatever becomes of this prompt.
            engine.step()?;
        }
        let request = Request { sampling: state.sampling, stop_at_end: false, ..Request::default() };
        let engine = state.engine()?;
        let id = engine.submit(tokens, request)?;
        let mut current = Current { id, length: tokens.len(), next: None };
        if let Err(error) = engine.advance(&mut current) {
            engine.cancel(id);
            engine.step()?;
            return Err(error);
        }
        state.sequence = Some(current);
        Ok(())
    }

    /// The next token of the sequence.
    ///
    /// # Errors
    /// [`AdapterError::ContextLengthExceeded`] for the first token that the context has no place for;
    /// [`AdapterError::NotReady`] before a prompt was computed; what a step may fail with.
    pub fn decode_token(&self) -> Result<u32, AdapterError> {
        let mut state = self.state();
        let State { engine: Some(engine), sequence: Some(current), .. } = &mut *state else {
            return Err(AdapterError::NotReady(
                "no prompt has been computed: call `load` and `prefill` first",
            ));
        };
        if current.length >= engine.context() {
            let (length, max) = (current.length + 1, engine.context());
            return Err(AdapterError::ContextLengthExceeded { length, max });
        }
        if current.next.is_none() {
            engine.advance(current)?;
        }
        let token = current.next.take().ok_or(AdapterError::NotReady("the sequence has ended"))?;
        current.length += 1;
        Ok(token)
    }

    /// The text of tokens.
    ///
    /// # Errors
    /// [`AdapterError::NotReady`] before [`load`](Self::load).
    pub fn decode(&self, tokens: &[u32]) -> Result<String, AdapterError> {
        Ok(self.state().engine()?.tokenizer().decode(tokens))
    }

    /// What the model holds; `None` before [`load`](Self::load).
    pub fn memory(&self) -> Option<MemoryUse> {
        self.state().engine.as_ref().map(Engine::memory)
    }

    /// Bytes granted in the adapter's pool: none before [`load`](Self::load) and after [`unload`](Self::unload).
    pub fn used(&self) -> ByteSize {
        self.state().pool.as_ref().map_or(ByteSize::ZERO, |pool| pool.used())
    }

    /// The pool that everything comes from, once [`load`](Self::load) has made it.
    pub fn pool(&self) -> Option<Arc<DeviceMemoryPool>> {
        self.state().pool.clone()
    }

    /// Gives all memory back. Without a loaded model nothing happens.
    pub fn unload(&self) {
        let mut state = self.state();
        state.sequence = None;
        state.engine = None;
        if let Some(pool) = &state.pool
            && let Err(error) = pool.trim()
        {
            tracing::warn!(%error, "memory could not be given back to the device yet");
        }
    }
}

impl State {
    fn engine(&self) -> Result<&Engine, AdapterError> {
        self.engine.as_ref().ok_or(AdapterError::NotReady("no model is loaded: call `load` first"))
    }
}

impl Engine {
    /// Steps until a sequence has its next token, or has ended.
    fn advance(&self, current: &mut Current) -> Result<(), AdapterError> {
        while self.has_work() {
            for event in self.step()? {
                match event {
                    StepEvent::Token { sequence, token, .. } if sequence == current.id => {
                        current.next = Some(token);
                    }
                    StepEvent::Failed { sequence, error } if sequence == current.id => {
                        return Err(Arc::into_inner(error).unwrap_or(AdapterError::NotReady("it failed")));
                    }
                    StepEvent::Finished { sequence, .. } if sequence == current.id => return Ok(()),
                    _ => {}
                }
            }
            if current.next.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Loads a model that may take so many bytes in all.
///
/// # Errors
/// [`LoadError::InsufficientVram`] with both numbers when the limit is too small, before anything is committed; and as
/// [`LlamaInferenceAdapter::from_model_ref`] and [`load`](LlamaInferenceAdapter::load).
pub fn load_with_vram_limit(reference: &str, limit: ByteSize) -> Result<LlamaInferenceAdapter, LoadError> {
    let adapter =
        LlamaInferenceAdapter { limit: Some(limit), ..LlamaInferenceAdapter::from_model_ref(reference)? };
    adapter.load()?;
    Ok(adapter)
}

/// The file that a reference names.
fn find(reference: &str) -> Result<PathBuf, LoadError> {
    let missing = |reason: String| LoadError::NotFound { reference: reference.to_owned(), reason };
    let path = Path::new(reference);
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let Some(folder) = std::env::var_os(FOLDER) else {
        return Err(missing(format!("it is no file, and `{FOLDER}` names no folder to look for it in")));
    };
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| missing(format!("`{FOLDER}` names {}: {error}", Path::new(&folder).display())))?;
    let wanted = reference.to_lowercase();
    let is_wanted = |path: &PathBuf| {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().to_lowercase());
        name.ends_with(".gguf") && name.starts_with(&wanted)
    };
    let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_wanted).collect();
    found.sort();
    match found.as_slice() {
        [path] => Ok(path.clone()),
        [] => Err(missing(format!("no .gguf file in {} begins so", Path::new(&folder).display()))),
        several => {
            let names: Vec<_> = several.iter().map(|path| path.display().to_string()).collect();
            Err(missing(format!("several files begin so: {}", names.join(", "))))
        }
    }
}
