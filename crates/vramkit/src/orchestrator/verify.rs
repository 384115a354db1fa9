//! Shows that a plan is sound on real memory: each step writes its outputs' patterns and checks its inputs' patterns.
//!
//! A tensor's pattern is drawn from its model, its name and the repetition, so what another tensor or an earlier
//! repetition left in its place is found. Tensors of one alias group have one pattern: they are one place. Weights that a
//! loader has brought are left as they are and must stay so: what is compared is a fingerprint of them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::execute::{Executed, ExecutionError, execute_with};
use super::memory_orchestrator::MemoryOrchestrator;
use super::work::{Idle, ModelRun, StepTensors, Work, WorkError};
use crate::plan::AllocationPlan;
use crate::trace::Event;
use crate::units::{ByteSize, Step};

/// Most violations that are listed; all are counted.
const LISTED: usize = 1000;

/// How thoroughly tensors are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// The ends of each tensor, and 64 bytes of each page between.
    #[default]
    Stride,
    /// Every byte.
    Full,
}

impl Verify {
    fn stride(self) -> Option<ByteSize> {
        match self {
            Self::Stride => Some(ByteSize::new(4096)),
            Self::Full => None,
        }
    }
}

/// What an execution found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecutionReport {
    /// Tensors written and found intact at every read, over all repetitions.
    pub verified_tensors: u64,
    /// Reads that found something else than was written.
    pub aliasing_violations: u64,
    /// The first thousand of them.
    pub violations: Vec<Violation>,
    /// How long models waited for memory.
    pub stalled: Duration,
}

/// A tensor that was not intact when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The model.
    pub model: Arc<str>,
    /// The tensor.
    pub tensor: Arc<str>,
    /// The step that read it.
    pub step: Step,
    /// The first byte of it that was wrong.
    pub at: u64,
}

/// Runs every model of a plan `repetitions` times, each on a thread, and checks every tensor when it is read; see
/// [`execute_with`].
pub fn execute(
    orchestrator: &MemoryOrchestrator,
    plan: &Arc<AllocationPlan>,
    repetitions: u32,
    verify: Verify,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ExecutionReport, ExecutionError> {
    let work = |_: &Arc<str>| Patterns::new(orchestrator, verify);
    let Executed { works, stalled } = execute_with(orchestrator, plan, repetitions, work, progress)?;
    let mut report = ExecutionReport { stalled, ..ExecutionReport::default() };
    for Patterns { report: own, .. } in works {
        report.verified_tensors += own.verified_tensors;
        report.aliasing_violations += own.aliasing_violations;
        report.violations.extend(own.violations);
        report.violations.truncate(LISTED);
    }
    Ok(report)
}

/// As [`execute`]; without `verify` everything is decided in the same order, and no tensor is written or read.
pub fn execute_or_rehearse(
    orchestrator: &MemoryOrchestrator,
    plan: &Arc<AllocationPlan>,
    repetitions: u32,
    verify: Option<Verify>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ExecutionReport, ExecutionError> {
    if let Some(verify) = verify {
        return execute(orchestrator, plan, repetitions, verify, progress);
    }
    let Executed { stalled, .. } = execute_with(orchestrator, plan, repetitions, |_| Idle, progress)?;
    Ok(ExecutionReport { stalled, ..ExecutionReport::default() })
}

/// Writes and checks patterns.
struct Patterns<'a> {
    orchestrator: &'a MemoryOrchestrator,
    verify: Verify,
    /// For each tensor, its pattern and whether it was found intact at every read of this repetition.
    tensors: Vec<(u32, bool)>,
    /// Of weights that were loaded, as they were when the model began to run with them.
    loaded: Option<u64>,
    report: ExecutionReport,
}

impl<'a> Patterns<'a> {
    fn new(orchestrator: &'a MemoryOrchestrator, verify: Verify) -> Self {
        Self { orchestrator, verify, tensors: Vec::new(), loaded: None, report: ExecutionReport::default() }
    }

    fn check(&mut self, run: &ModelRun<'_>, step: Step, i: usize) -> Result<(), WorkError> {
        let (pattern, intact) = &mut self.tensors[i];
        if let Some(at) = run.find_mismatch(i, *pattern, self.verify.stride())? {
            *intact = false;
            let tensor = run.tensors()[i].lifetime.id.clone();
            self.violation(Violation { model: run.model().clone(), tensor, step, at });
        }
        Ok(())
    }

    fn violation(&mut self, violation: Violation) {
        self.orchestrator.note(Event::AliasingViolation {
            model: violation.model.to_string(),
            tensor: violation.tensor.to_string(),
            step: violation.step,
            at_bytes: ByteSize::new(violation.at),
        });
        self.report.aliasing_violations += 1;
        if self.report.violations.len() < LISTED {
            self.report.violations.push(violation);
        }
    }
}

impl Work for Patterns<'_> {
    fn begin(&mut self, run: &ModelRun<'_>) -> Result<(), WorkError> {
        let of = |name: &str| pattern(run.model(), name, run.repetition());
        let tensors = run.tensors().iter().map(|tensor| tensor.lifetime);
        self.tensors = tensors.map(|t| (of(t.alias_group.as_ref().unwrap_or(&t.id)), true)).collect();
        if run.has_new_weights() {
            self.loaded = None;
            if self.orchestrator.has_loader(run.model()) {
                self.loaded = Some(fingerprint(run, self.verify)?);
            } else {
                run.guard().fill_own(weights_pattern(run))?;
            }
        }
        Ok(())
    }

    /// Reads before writes: an operator that works in place overwrites its input.
    fn step(&mut self, run: &ModelRun<'_>, tensors: &StepTensors) -> Result<(), WorkError> {
        for &i in &tensors.reads {
            self.check(run, tensors.step, i)?;
        }
        for &i in &tensors.begins {
            run.fill(i, self.tensors[i].0)?;
        }
        for &i in &tensors.reads_own {
            self.check(run, tensors.step, i)?;
        }
        Ok(())
    }

    fn end(&mut self, run: &ModelRun<'_>) -> Result<(), WorkError> {
        let wrong_at = match self.loaded {
            Some(loaded) => (fingerprint(run, self.verify)? != loaded).then_some(0),
            None => run.guard().own_mismatch(weights_pattern(run), self.verify.stride())?,
        };
        if let Some(at) = wrong_at {
            let (model, step) = (run.model().clone(), run.clock());
            self.violation(Violation { model, tensor: "weights".into(), step, at });
        }
        self.report.verified_tensors += self.tensors.iter().filter(|(_, intact)| *intact).count() as u64;
        Ok(())
    }
}

/// Weights stay over repetitions.
fn weights_pattern(run: &ModelRun<'_>) -> u32 {
    pattern(run.model(), "weights", 0)
}

/// A number that changes with the weights: with every byte, or with the 64 bytes of each page that a
/// [stride](Verify::Stride) looks at.
fn fingerprint(run: &ModelRun<'_>, verify: Verify) -> Result<u64, WorkError> {
    let size = run.guard().weights().map_or(0, |range| range.size.bytes());
    let (step, length) = match verify.stride() {
        Some(stride) => (stride.bytes(), 64),
        None => (1 << 20, 1 << 20),
    };
    let (mut hasher, mut buffer) = (DefaultHasher::new(), vec![0; length as usize]);
    for at in (0..size).step_by(step as usize) {
        let part = &mut buffer[..length.min(size - at) as usize];
        run.guard().read_weights(at, part)?;
        part.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// A pattern that differs between tensors and repetitions but for one chance in 2^32.
fn pattern(model: &str, tensor: &str, repetition: u32) -> u32 {
    let mut hasher = DefaultHasher::new();
    (model, tensor, repetition).hash(&mut hasher);
    hasher.finish() as u32
}
