//! Runs a plan on real memory, to show that it is sound: each step writes its outputs' patterns and checks its
//! inputs' patterns, models on threads under the gate.
//!
//! A tensor's pattern is drawn from its model, its name and the repetition, so what another tensor or an earlier
//! repetition left in its place is found. Tensors of one alias group have one pattern: they are one place.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MemoryOrchestrator;
use super::binding::BindError;
use super::gate::{Aborted, ExecutionGate};
use super::guard::RunGuard;
use crate::device::AddressRange;
use crate::plan::{AllocationPlan, Schedule};
use crate::pool::PoolError;
use crate::pressure::PressureLevel;
use crate::trace::{Event, Span};
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

/// Why an execution did not end.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ExecutionError {
    /// A model got no memory.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A model is not bound.
    #[error("model `{0}` is not bound; it was released or evicted before its turn")]
    NotBound(Arc<str>),
    /// The device failed while a model ran.
    #[error("model `{model}`, {step}: {error}")]
    Device {
        /// The model.
        model: Arc<str>,
        /// The step.
        step: Step,
        /// What the device said.
        error: PoolError,
    },
    /// Another model failed first.
    #[error(transparent)]
    Aborted(#[from] Aborted),
}

/// A tensor with its place and pattern.
struct Placed<'a> {
    id: &'a Arc<str>,
    place: AddressRange,
    pattern: u32,
    intact: bool,
}

/// What happens at one step of one model, as indices of its tensors.
#[derive(Default)]
struct Work {
    /// Made by an earlier step.
    reads: Vec<usize>,
    writes: Vec<usize>,
    /// Made by this step and read by it, too: scratch memory.
    reads_own: Vec<usize>,
}

/// Runs every model of a plan `repetitions` times, each on a thread. Models of a sequential plan are bound when
/// their turn comes, with room made for them, unless they are bound already; all others must be bound.
pub fn execute(
    orchestrator: &MemoryOrchestrator,
    plan: &Arc<AllocationPlan>,
    repetitions: u32,
    verify: Verify,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ExecutionReport, ExecutionError> {
    execute_or_rehearse(orchestrator, plan, repetitions, Some(verify), progress)
}

/// As [`execute`]; without `verify` everything is decided in the same order, and no tensor is written or read.
///
/// # Errors
/// As of [`execute`].
pub fn execute_or_rehearse(
    orchestrator: &MemoryOrchestrator,
    plan: &Arc<AllocationPlan>,
    repetitions: u32,
    verify: Option<Verify>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ExecutionReport, ExecutionError> {
    let gate = ExecutionGate::new(plan.schedule, plan.models.len());
    let runner = Runner { orchestrator, plan, gate: &gate, repetitions, verify, progress };
    let results: Vec<Result<ExecutionReport, ExecutionError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.models.len())
            .map(|model| {
                let runner = &runner;
                scope.spawn(move || runner.run(model))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut report = ExecutionReport::default();
    let mut aborted = None;
    for result in results {
        match result {
            Ok(own) => {
                report.verified_tensors += own.verified_tensors;
                report.aliasing_violations += own.aliasing_violations;
                report.violations.extend(own.violations);
                report.violations.truncate(LISTED);
                report.stalled += own.stalled;
            }
            // The first cause, not those who were stopped by it.
            Err(error @ ExecutionError::Aborted(_)) => aborted = Some(error),
            Err(error) => return Err(error),
        }
    }
    aborted.map_or(Ok(report), Err)
}

struct Runner<'a> {
    orchestrator: &'a MemoryOrchestrator,
    plan: &'a Arc<AllocationPlan>,
    gate: &'a ExecutionGate,
    repetitions: u32,
    verify: Option<Verify>,
    progress: &'a (dyn Fn(u64) + Sync),
}

/// Ends everyone's waiting when a model's thread ends badly, by an error or a panic.
struct FailOnDrop<'a>(Option<&'a ExecutionGate>);

impl Drop for FailOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(gate) = self.0 {
            gate.fail();
        }
    }
}

impl Runner<'_> {
    fn run(&self, model: usize) -> Result<ExecutionReport, ExecutionError> {
        let mut guard = FailOnDrop(Some(self.gate));
        let mut report = ExecutionReport::default();
        // The length of the clock: repetitions follow one another on it.
        let period = self.plan.tensors.iter().map(|tensor| tensor.end.0).max().unwrap_or(0);
        for repetition in 0..self.repetitions {
            let turn = u64::from(repetition) * self.plan.models.len() as u64 + model as u64;
            self.gate.begin_turn(turn)?;
            self.repetition(model, repetition, u64::from(repetition) * period, &mut report)?;
            if self.plan.schedule == Schedule::Sequential {
                // Between turns nobody runs, so every policy may act.
                self.orchestrator.sample();
                if self.orchestrator.current_pressure() > PressureLevel::Normal {
                    self.orchestrator.handle_pressure();
                }
            }
            self.gate.end_turn();
        }
        self.gate.finish(model);
        guard.0 = None;
        Ok(report)
    }

    fn repetition(
        &self,
        model: usize,
        repetition: u32,
        clock: u64,
        report: &mut ExecutionReport,
    ) -> Result<(), ExecutionError> {
        let name = &self.plan.models[model].name;
        let mut fresh = repetition == 0;
        if self.plan.schedule == Schedule::Sequential && self.orchestrator.binding(name).is_none() {
            fresh = true;
            // On its turn it runs alone: whoever else is bound is idle and can make room; nobody will release.
            let (_, waited) = self.orchestrator.admit(name, self.plan, Duration::ZERO)?;
            report.stalled += waited;
        }
        let running = self.orchestrator.begin(name).ok_or_else(|| ExecutionError::NotBound(name.clone()))?;
        let Some(verify) = self.verify else {
            return Ok(());
        };
        let (mut tensors, steps) = schedule(&running, repetition);
        let weights = running.weights().map(|_| pattern(name, "weights", 0));
        let failed = |step: Step| move |error| ExecutionError::Device { model: name.clone(), step, error };
        if let Some(pattern) = weights.filter(|_| fresh) {
            running.fill_own(pattern).map_err(failed(Step(0)))?;
        }
        for (step, work) in steps {
            // Gate by the workload's clock; the steps of a degraded or compacted plan are on the same one.
            self.gate.begin_step(model, clock.saturating_add(step.0))?;
            let start = self.orchestrator.trace().now();
            self.step(&running, &mut tensors, (step, &work), verify, report).map_err(failed(step))?;
            (self.progress)(1);
            self.orchestrator.trace().span(Span {
                model: name.to_string(),
                name: step.to_string(),
                start,
                duration: self.orchestrator.trace().now().saturating_sub(start),
            });
        }
        if let Some(pattern) = weights
            && let Some(at) = running.own_mismatch(pattern, verify.stride()).map_err(failed(Step(clock)))?
        {
            self.violation(
                report,
                Violation { model: name.clone(), tensor: "weights".into(), step: Step(clock), at },
            );
        }
        report.verified_tensors += tensors.iter().filter(|tensor| tensor.intact).count() as u64;
        Ok(())
    }

    /// Reads before writes: an operator that works in place overwrites its input.
    fn step(
        &self,
        running: &RunGuard,
        tensors: &mut [Placed<'_>],
        (step, work): (Step, &Work),
        verify: Verify,
        report: &mut ExecutionReport,
    ) -> Result<(), PoolError> {
        for (order, places) in [&work.reads, &work.writes, &work.reads_own].into_iter().enumerate() {
            for &i in places {
                let tensor = &mut tensors[i];
                if order == 1 {
                    running.fill_arena(tensor.place, tensor.pattern)?;
                } else if let Some(at) = running.mismatch(tensor.place, tensor.pattern, verify.stride())? {
                    tensor.intact = false;
                    let (model, tensor) = (running.binding().model.clone(), tensor.id.clone());
                    self.violation(report, Violation { model, tensor, step, at });
                }
            }
        }
        Ok(())
    }

    fn violation(&self, report: &mut ExecutionReport, violation: Violation) {
        self.orchestrator.note(Event::AliasingViolation {
            model: violation.model.to_string(),
            tensor: violation.tensor.to_string(),
            step: violation.step,
            at_bytes: ByteSize::new(violation.at),
        });
        report.aliasing_violations += 1;
        if report.violations.len() < LISTED {
            report.violations.push(violation);
        }
    }
}

/// A running model's tensors, and what it does with them at each of its steps.
fn schedule(running: &RunGuard, repetition: u32) -> (Vec<Placed<'_>>, BTreeMap<Step, Work>) {
    let mut tensors = Vec::new();
    let mut steps: BTreeMap<Step, Work> = BTreeMap::new();
    for (tensor, place) in running.tensors() {
        if !tensor.takes_room() {
            continue;
        }
        let i = tensors.len();
        for (start, _) in tensor.runs() {
            steps.entry(start).or_default().writes.push(i);
        }
        for read in tensor.read_steps() {
            let work = steps.entry(read).or_default();
            if tensor.runs().any(|(start, _)| start == read) { &mut work.reads_own } else { &mut work.reads }
                .push(i);
        }
        let name = tensor.alias_group.as_ref().unwrap_or(&tensor.id);
        let pattern = pattern(&running.binding().model, name, repetition);
        tensors.push(Placed { id: &tensor.id, place, pattern, intact: true });
    }
    (tensors, steps)
}

/// A pattern that differs between tensors and repetitions but for one chance in 2^32.
fn pattern(model: &str, tensor: &str, repetition: u32) -> u32 {
    let mut hasher = DefaultHasher::new();
    (model, tensor, repetition).hash(&mut hasher);
    hasher.finish() as u32
}
