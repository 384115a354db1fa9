//! What the engine's tests share: tiny models in a folder of their own, pools on this machine's memory, sequences run to their end.
#![allow(dead_code, clippy::unwrap_used)] // each file of tests uses a part

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use vramkit::ByteSize;
use vramkit::device::HostDevice;
use vramkit::orchestrator::MemoryOrchestrator;
use vramkit::pool::DeviceMemoryPool;
use vramkit_llm::{
    AdapterError, CacheKind, Engine, EngineConfig, Finish, LoadError, Request, Sampling, SequenceId,
    StepEvent,
};
use vramkit_testing::gguf::{Architecture, TestModel, WeightType};

/// How keys and values may be stored.
pub const CACHES: [CacheKind; 3] = [CacheKind::F32, CacheKind::F16, CacheKind::Q8_0];

/// Some hundred thousand weights with every part that the architecture has; windows of 48 tokens.
pub fn tiny(architecture: Architecture) -> TestModel {
    let of = TestModel::tiny(architecture);
    TestModel {
        layers: if architecture == Architecture::Gemma3 { 6 } else { 2 },
        hidden: 128,
        head: 32,
        feed_forward: 128,
        window: if of.window > 0 { 48 } else { 0 },
        kind: WeightType::Q8_0,
        ..of
    }
}

/// One layer with weights of this type, whose rows fit the blocks of all types.
pub fn of_type(kind: WeightType) -> TestModel {
    TestModel { layers: 1, hidden: 256, head: 64, feed_forward: 256, kind, ..tiny(Architecture::Llama) }
}

/// A model's file in a folder that goes with it.
pub struct Model {
    pub of: TestModel,
    pub path: PathBuf,
    _folder: TempDir,
}

impl Model {
    pub fn new(of: TestModel) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        of.write(&path).unwrap();
        Self { of, path, _folder: folder }
    }

    pub fn tiny(architecture: Architecture) -> Self {
        Self::new(tiny(architecture))
    }
}

/// An orchestrator over so much of this machine's memory.
pub fn orchestrator(capacity: ByteSize) -> Arc<MemoryOrchestrator> {
    let device = HostDevice::new(capacity.checked_align_up(HostDevice::GRANULARITY.bytes()).unwrap());
    Arc::new(MemoryOrchestrator::new(Arc::new(DeviceMemoryPool::new(Arc::new(device), capacity).unwrap())))
}

/// An engine in a pool of its own, of 256 MiB.
pub fn engine(path: &Path, config: EngineConfig) -> Engine {
    Engine::load(&orchestrator(ByteSize::mib(256)), "model", path, config).unwrap()
}

/// So many times as many bytes.
pub fn times(bytes: ByteSize, count: usize) -> ByteSize {
    ByteSize::new(bytes.bytes() * count as u64)
}

/// Tokens of a prompt: any, the same for the same seed.
pub fn prompt(count: usize, seed: u64) -> Vec<u32> {
    let mut random = vramkit::units::SplitMix64::new(seed);
    (0..count).map(|_| (random.bits() >> 40) as u32 % 500).collect()
}

/// A sequence to be, and the step before which it comes.
#[derive(Clone, Debug)]
pub struct Job {
    pub prompt: Vec<u32>,
    pub request: Request,
    pub at: usize,
}

impl Job {
    /// So many tokens behind a prompt, with the four most probable at each place.
    pub fn new(prompt: Vec<u32>, most: usize) -> Self {
        let request = Request { most_tokens: Some(most), top: 4, stop_at_end: false, ..Request::default() };
        Self { prompt, request, at: 0 }
    }

    pub fn at(self, at: usize) -> Self {
        Self { at, ..self }
    }

    pub fn warm(mut self, seed: u64) -> Self {
        self.request.sampling = Sampling { temperature: 0.9, top_k: 50, top_p: 0.95, seed };
        self
    }
}

/// What became of a sequence; log-probabilities as their bits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub tokens: Vec<u32>,
    pub top: Vec<Vec<(u32, u32)>>,
    pub finish: Option<Finish>,
    pub failed: Option<String>,
}

/// What became of sequences.
#[derive(Debug, Default)]
pub struct Run {
    pub outcomes: Vec<Outcome>,
    pub preempted: usize,
    pub steps: usize,
}

/// Runs sequences to their ends; looks after each step.
pub fn watch(engine: &Engine, jobs: &[Job], mut look: impl FnMut(usize)) -> Run {
    let mut run = Run { outcomes: vec![Outcome::default(); jobs.len()], ..Run::default() };
    let mut ids: Vec<Option<SequenceId>> = vec![None; jobs.len()];
    loop {
        for (job, id) in jobs.iter().zip(&mut ids) {
            if job.at <= run.steps && id.is_none() {
                *id = Some(engine.submit(&job.prompt, job.request.clone()).unwrap());
            }
        }
        if !engine.has_work() && ids.iter().all(Option::is_some) {
            return run;
        }
        let events = engine.step().unwrap();
        note(&mut run, &ids, &events);
        run.steps += 1;
        assert!(run.steps < 100_000, "it does not end");
        look(run.steps);
    }
}

/// Takes note of what a step did.
pub fn note(run: &mut Run, ids: &[Option<SequenceId>], events: &[StepEvent]) {
    let place = |of: &SequenceId| ids.iter().position(|id| id.as_ref() == Some(of)).unwrap();
    for event in events {
        match event {
            StepEvent::Token { sequence, token, top } => {
                let outcome = &mut run.outcomes[place(sequence)];
                outcome.tokens.push(*token);
                outcome.top.push(top.iter().map(|each| (each.token, each.logprob.to_bits())).collect());
            }
            StepEvent::Finished { sequence, finish } => {
                let before = run.outcomes[place(sequence)].finish.replace(*finish);
                assert_eq!(before, None, "a sequence ends once");
            }
            StepEvent::Failed { sequence, error } => {
                run.outcomes[place(sequence)].failed = Some(error.to_string());
            }
            StepEvent::Preempted { .. } => run.preempted += 1,
            other => panic!("{other:?}"),
        }
    }
}

/// Runs sequences to their ends.
pub fn run(engine: &Engine, jobs: &[Job]) -> Run {
    watch(engine, jobs, |_| ())
}

/// What becomes of each sequence by itself.
pub fn alone(engine: &Engine, jobs: &[Job]) -> Vec<Outcome> {
    jobs.iter().map(|job| run(engine, &[job.clone().at(0)]).outcomes.remove(0)).collect()
}

/// Steps once, after everything else is over; for errors of a step itself.
pub fn step_error(engine: &Engine) -> AdapterError {
    engine.step().err().unwrap()
}

/// One short sequence on one thread.
pub fn small() -> EngineConfig {
    EngineConfig { context: Some(64), threads: Some(1), ..EngineConfig::default() }
}

/// A model that cannot be loaded: why, after a look at what is left of it.
pub fn refused(orchestrator: &Arc<MemoryOrchestrator>, path: &Path, config: EngineConfig) -> LoadError {
    let before = orchestrator.pool().used();
    let error = Engine::load(orchestrator, "m", path, config).err().unwrap();
    let pool = orchestrator.pool();
    assert_eq!(pool.used(), before, "{error}");
    assert!(orchestrator.bound().is_empty());
    pool.trim().unwrap();
    assert_eq!(pool.committed() == ByteSize::ZERO, before == ByteSize::ZERO, "{error}");
    error
}

/// Two sequences on one thread.
pub fn two() -> EngineConfig {
    EngineConfig {
        context: Some(128),
        sequences: 2,
        step_tokens: 64,
        threads: Some(1),
        ..EngineConfig::default()
    }
}

/// Two engines in a pool with room for the larger one, and for the keys and values of both.
pub fn tenants(models: &[Model; 2]) -> (Arc<MemoryOrchestrator>, [Engine; 2]) {
    let needs = models.each_ref().map(|model| Engine::needs(&model.path, &two()).unwrap());
    let larger = needs.iter().map(|needs| needs.weights + needs.workspace).max().unwrap();
    let orchestrator = orchestrator(larger + needs[0].kv + needs[1].kv);
    let engines =
        [0, 1].map(|at| Engine::load(&orchestrator, &format!("m{at}"), &models[at].path, two()).unwrap());
    (orchestrator, engines)
}
