//! The model under pressure: its file, what its header says a token takes, engines of it, and prompts.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use vramkit::ByteSize;
use vramkit::device::{Device, HostDevice};
use vramkit::orchestrator::MemoryOrchestrator;
use vramkit::pool::{Allocation, DeviceMemoryPool, Purpose, Request};
use vramkit::units::SplitMix64;
use vramkit_llm::{AdapterError, Engine, EngineConfig, SequenceId, StepEvent, host_pool};
use vramkit_models::gguf::GgufFile;
use vramkit_testing::gguf::TestModel;

use crate::question::{StressError, StressQuestion};

/// The context where none is asked for.
const CONTEXT: usize = 4096;
/// The shortest that the checks make sense for: several blocks, and room behind a prompt.
const SHORTEST: usize = 128;
/// Bytes of a number in the cache.
const F16: u64 = 2;

/// The name that engines of the checks have in pools.
pub(crate) const NAME: &str = "stressed";

pub(crate) struct Subject {
    pub path: PathBuf,
    pub name: String,
    /// Tokens of the context.
    pub context: usize,
    /// Bytes of a token in the cache before any window is full, by the header alone.
    pub bytes_per_token: ByteSize,
    vocabulary: usize,
    /// Of the file, so that a report is about one.
    state: (u64, SystemTime),
    capacity: Option<ByteSize>,
    threads: Option<usize>,
    seed: u64,
    pub neighbour: Option<Vec<std::ffi::OsString>>,
    /// The model's, where it was made: it has no name, so however the program ends nothing is left of it.
    _made: Option<File>,
}

/// What became of a sequence.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub tokens: Vec<u32>,
    pub failed: Option<String>,
    /// Whether that was for lack of room for its keys and values.
    pub is_out_of_cache: bool,
}

impl Subject {
    pub fn new(question: &StressQuestion) -> Result<Self, StressError> {
        let (path, name, made) = match &question.model {
            Some(path) => {
                let name = path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy());
                (path.clone(), name.into_owned(), None)
            }
            None => {
                let system = |error| StressError::System { what: "making a file for the model", error };
                let file = tempfile::tempfile().map_err(system)?;
                let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
                TestModel { seed: question.seed, ..TestModel::phi3_shaped() }.write(&path)?;
                (path, "phi3-shaped".to_owned(), Some(file))
            }
        };
        let shape = GgufFile::open(&path)?.shape()?;
        let longest = shape.longest_context().and_then(|longest| usize::try_from(longest).ok());
        let context = question.context.unwrap_or_else(|| CONTEXT.min(longest.unwrap_or(usize::MAX)));
        if context < SHORTEST {
            return Err(StressError::Context { context, least: SHORTEST });
        }
        let kept = shape.elements(1);
        let state = state(&path)?;
        let mut subject = Self {
            state,
            path,
            name,
            context,
            bytes_per_token: ByteSize::new(F16 * kept.per_token()),
            vocabulary: 0,
            capacity: question.capacity,
            threads: question.threads,
            seed: question.seed,
            neighbour: question.neighbour.clone(),
            _made: made,
        };
        let config = subject.config(SHORTEST);
        subject.vocabulary =
            subject.engine("load", &subject.pool("load", &config, 1.0)?, config)?.vocabulary_len();
        Ok(subject)
    }

    /// That the file is the one that was opened first.
    ///
    /// # Errors
    /// It was replaced, changed or removed.
    pub fn is_unchanged(&self) -> Result<(), StressError> {
        if state(&self.path)? == self.state {
            return Ok(());
        }
        let error = io::Error::other(format!("{} was changed meanwhile", self.path.display()));
        Err(StressError::System { what: "reading the model again", error })
    }

    /// One sequence of so many tokens.
    pub fn config(&self, context: usize) -> EngineConfig {
        EngineConfig { context: Some(context), threads: self.threads, ..EngineConfig::default() }
    }

    /// A context for checks that do not depend on its length.
    pub fn short(&self) -> usize {
        self.context.min(512)
    }

    /// A pool with room for so many engines set up so.
    ///
    /// # Errors
    /// It would pass the capacity asked for, or what this machine has.
    pub fn pool(
        &self,
        check: &'static str,
        config: &EngineConfig,
        engines: f64,
    ) -> Result<Arc<DeviceMemoryPool>, StressError> {
        let needs = Engine::needs(&self.path, config)?.total();
        self.pool_of(check, ByteSize::new((needs.bytes() as f64 * engines) as u64))
    }

    /// A pool of so many bytes.
    ///
    /// # Errors
    /// As [`pool`](Self::pool).
    pub fn pool_of(
        &self,
        check: &'static str,
        needed: ByteSize,
    ) -> Result<Arc<DeviceMemoryPool>, StressError> {
        self.has_room(check, needed)?;
        Ok(host_pool(needed)?)
    }

    /// That so many bytes may be taken for a check.
    ///
    /// # Errors
    /// As [`pool`](Self::pool).
    pub fn has_room(&self, check: &'static str, needed: ByteSize) -> Result<(), StressError> {
        let (machine, device) = available();
        let available = self.capacity.map_or(machine, |capacity| capacity.min(machine));
        if needed > available {
            return Err(StressError::Memory { check, needed, available, device });
        }
        Ok(())
    }

    /// The fault of several checks: a block of keys and values of the model's that nobody gives back.
    pub fn leave_block(&self, pool: &DeviceMemoryPool, engine: &Engine) -> Result<Allocation, StressError> {
        let bytes = self.bytes_per_token.bytes() * engine.memory().block_tokens as u64;
        let owner = pool.owner(NAME, Purpose::Kv);
        Ok(pool.allocate(Request::new(ByteSize::new(bytes)).owner(owner))?)
    }

    /// An engine in a pool.
    pub fn engine(
        &self,
        name: &str,
        pool: &Arc<DeviceMemoryPool>,
        config: EngineConfig,
    ) -> Result<Engine, StressError> {
        let orchestrator = Arc::new(MemoryOrchestrator::new(pool.clone()));
        Ok(Engine::load(&orchestrator, name, &self.path, config)?)
    }

    /// Tokens of a prompt: any, the same for the same number.
    pub fn prompt(&self, count: usize, number: u64) -> Vec<u32> {
        let mut random = SplitMix64::new(self.seed ^ (number << 32));
        // The last tokens of a vocabulary are often special ones.
        let room = (self.vocabulary as u64 * 3 / 4).max(1);
        (0..count).map(|_| (random.bits() % room) as u32).collect()
    }
}

/// What tells a file from one that takes its place.
fn state(path: &Path) -> Result<(u64, SystemTime), StressError> {
    let system = |error| StressError::System { what: "reading the model", error };
    let metadata = path.metadata().map_err(system)?;
    Ok((metadata.len(), metadata.modified().map_err(system)?))
}

/// What this machine has available, and what it is called as a device.
pub(crate) fn available() -> (ByteSize, String) {
    let device = HostDevice::with_available_memory();
    (device.memory().free_bytes.value.unwrap_or(ByteSize::MAX), device.info().id)
}

/// So many tokens behind a prompt, whatever they are.
pub(crate) fn most(tokens: usize) -> vramkit_llm::Request {
    vramkit_llm::Request { most_tokens: Some(tokens), stop_at_end: false, ..vramkit_llm::Request::default() }
}

/// Runs sequences to their ends, all at once; looks after each step.
pub(crate) fn run(
    engine: &Engine,
    prompts: &[Vec<u32>],
    tokens: usize,
    look: &mut dyn FnMut(&Engine) -> Result<(), StressError>,
) -> Result<Vec<Said>, StressError> {
    let ids: Vec<SequenceId> = prompts
        .iter()
        .map(|prompt| engine.submit(prompt, most(tokens)))
        .collect::<Result<_, AdapterError>>()?;
    let mut said: Vec<Said> = ids.iter().map(|_| Said::default()).collect();
    while engine.has_work() {
        for event in engine.step()? {
            let of = |sequence: SequenceId| ids.iter().position(|id| *id == sequence);
            match event {
                StepEvent::Token { sequence, token, .. } => {
                    if let Some(at) = of(sequence) {
                        said[at].tokens.push(token);
                    }
                }
                StepEvent::Failed { sequence, error } => {
                    if let Some(at) = of(sequence) {
                        said[at].is_out_of_cache = matches!(*error, AdapterError::OutOfCache { .. });
                        said[at].failed = Some(error.to_string());
                    }
                }
                _ => {}
            }
        }
        look(engine)?;
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn without_a_word_it_is_phi_3_with_its_context() {
        let subject = Subject::new(&StressQuestion::default()).unwrap();
        assert_eq!((subject.context, subject.bytes_per_token.bytes()), (4096, 393_216));
        assert_eq!(subject.prompt(9, 1), subject.prompt(9, 1));
        assert_ne!(subject.prompt(9, 1), subject.prompt(9, 2));
    }
}
