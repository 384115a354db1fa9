//! Runs a plan: its models on threads, under the gate, each doing its work.
//!
//! A plan and a [`Work`] for each of its models come in; the works come back with what they found, or why the run ended. When
//! one model fails, by an error or a panic, every other one's waiting ends, and whatever a run held is given back with it.
//! What a step does is not known here.

use std::sync::Arc;
use std::time::Duration;

use super::error::BindError;
use super::gate::{Aborted, ExecutionGate};
use super::memory_orchestrator::MemoryOrchestrator;
use super::work::{ModelRun, Work, WorkError};
use crate::plan::{AllocationPlan, Schedule};
use crate::pool::PoolError;
use crate::pressure::PressureLevel;
use crate::trace::Span;
use crate::units::Step;

/// Why an execution did not end.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
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
    /// What a model was at failed for another reason than its device.
    #[error("model `{model}`, {step}: {error}")]
    Work {
        /// The model.
        model: Arc<str>,
        /// The step.
        step: Step,
        /// What its work said.
        error: WorkError,
    },
    /// Another model failed first.
    #[error(transparent)]
    Aborted(#[from] Aborted),
}

/// A run that has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Executed<W> {
    /// The models' works, in the plan's order.
    pub works: Vec<W>,
    /// How long models lacked memory, all together: until room was made for them.
    pub stalled: Duration,
}

/// Runs every model of a plan `repetitions` times, each on a thread, with the work that `work` makes for it. Models of a
/// sequential plan are bound when their turn comes, with room made for them, unless they are bound already; all others must
/// be bound. `progress` is told of every step done.
///
/// # Errors
///
/// The first model's, in the plan's order, that failed by itself: it got no memory, was released before its turn, or its work
/// could not go on.
///
/// # Panics
///
/// When a work panics, after every model has ended.
pub fn execute_with<W: Work>(
    orchestrator: &MemoryOrchestrator,
    plan: &Arc<AllocationPlan>,
    repetitions: u32,
    work: impl Fn(&Arc<str>) -> W,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Executed<W>, ExecutionError> {
    let gate = ExecutionGate::new(plan.schedule, plan.models.len());
    let runner = Runner { orchestrator, plan, gate: &gate, repetitions, progress };
    let works: Vec<W> = plan.models.iter().map(|model| work(&model.name)).collect();
    let results: Vec<Result<(W, Duration), ExecutionError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = works
            .into_iter()
            .enumerate()
            .map(|(model, mut work)| {
                let runner = &runner;
                scope.spawn(move || runner.run(model, &mut work).map(|stalled| (work, stalled)))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut executed = Executed { works: Vec::with_capacity(results.len()), stalled: Duration::ZERO };
    let mut aborted = None;
    for result in results {
        match result {
            Ok((work, stalled)) => {
                executed.works.push(work);
                executed.stalled += stalled;
            }
            // The first cause, not those who were stopped by it.
            Err(error @ ExecutionError::Aborted(_)) => aborted = Some(error),
            Err(error) => return Err(error),
        }
    }
    aborted.map_or(Ok(executed), Err)
}

struct Runner<'a> {
    orchestrator: &'a MemoryOrchestrator,
    plan: &'a Arc<AllocationPlan>,
    gate: &'a ExecutionGate,
    repetitions: u32,
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
    /// Runs one model, and returns how long it lacked memory.
    fn run(&self, model: usize, work: &mut impl Work) -> Result<Duration, ExecutionError> {
        let mut guard = FailOnDrop(Some(self.gate));
        let mut stalled = Duration::ZERO;
        // The length of the clock: repetitions follow one another on it.
        let period = self.plan.tensors.iter().map(|tensor| tensor.end.0).max().unwrap_or(0);
        for repetition in 0..self.repetitions {
            let turn = u64::from(repetition) * self.plan.models.len() as u64 + model as u64;
            self.gate.begin_turn(turn)?;
            stalled += self.repetition(model, repetition, Step(u64::from(repetition) * period), work)?;
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
        Ok(stalled)
    }

    fn repetition(
        &self,
        model: usize,
        repetition: u32,
        clock: Step,
        work: &mut impl Work,
    ) -> Result<Duration, ExecutionError> {
        let name = &self.plan.models[model].name;
        let (mut stalled, mut new_weights) = (Duration::ZERO, repetition == 0);
        if self.plan.schedule == Schedule::Sequential && self.orchestrator.binding(name).is_none() {
            new_weights = true;
            // On its turn it runs alone: whoever else is bound is idle and can make room; nobody will release.
            (.., stalled) = self.orchestrator.admitted(name, self.plan, Duration::ZERO)?;
        }
        let running = self.orchestrator.begin(name).ok_or_else(|| ExecutionError::NotBound(name.clone()))?;
        if !work.has_steps() {
            return Ok(stalled);
        }
        let failed = |step: Step| move |error| ExecutionError::of_work(name, step, error);
        let run = ModelRun::new(&running, repetition, clock, new_weights);
        work.begin(&run).map_err(failed(Step(0)))?;
        for tensors in run.steps() {
            let step = tensors.step;
            // Gate by the workload's clock; the steps of a degraded or compacted plan are on the same one.
            self.gate.begin_step(model, Step(clock.0.saturating_add(step.0)))?;
            let start = self.orchestrator.trace().now();
            work.step(&run, &tensors).map_err(failed(step))?;
            (self.progress)(1);
            self.orchestrator.trace().span(Span {
                model: name.to_string(),
                name: step.to_string(),
                start,
                duration: self.orchestrator.trace().now().saturating_sub(start),
            });
        }
        work.end(&run).map_err(failed(clock))?;
        Ok(stalled)
    }
}

impl ExecutionError {
    fn of_work(model: &Arc<str>, step: Step, error: WorkError) -> Self {
        let model = model.clone();
        match error {
            WorkError::Device(error) => Self::Device { model, step, error },
            error => Self::Work { model, step, error },
        }
    }
}
