//! The execution gate: makes models on threads keep to the schedule that their plan was made for.
//!
//! Under the fixed schedule it is a clock: nobody begins a step before everyone has finished all earlier ones,
//! so memory that one tensor leaves at a step is free when another takes it there. Under the sequential schedule
//! it is a turnstile: one model at a time. Under the concurrent schedule it is open. When one model fails, every
//! wait ends.

use crate::plan::Schedule;
use crate::sync::{Condvar, Mutex, MutexGuard, lock, wait};
use crate::units::Step;

/// Keeps the models of a run, each on a thread, to the schedule that their plan was made for.
///
/// ```
/// use vramkit::Step;
/// use vramkit::orchestrator::ExecutionGate;
/// use vramkit::plan::Schedule;
///
/// let gate = ExecutionGate::new(Schedule::Fixed, 2);
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         // Waits until the other has finished every step before 1.
///         gate.begin_step(0, Step(1)).expect("nobody fails");
///         gate.finish(0);
///     });
///     gate.begin_step(1, Step(0)).expect("nobody fails");
///     gate.finish(1);
/// });
/// ```
#[derive(Debug)]
pub struct ExecutionGate {
    schedule: Schedule,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// For each model, the first step that it may not have finished.
    steps: Vec<Step>,
    /// Whose turn it is, counted over all repetitions.
    turn: u64,
    failed: bool,
}

/// Another model failed; there is no use in going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another model of the run failed")]
pub struct Aborted;

impl ExecutionGate {
    /// For this many models.
    pub fn new(schedule: Schedule, models: usize) -> Self {
        let state = State { steps: vec![Step(0); models], turn: 0, failed: false };
        Self { schedule, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits until `turn` has come: turns are numbered from 0 over all models and repetitions. Under the other
    /// schedules every turn has come.
    pub fn begin_turn(&self, turn: u64) -> Result<(), Aborted> {
        let exclusive = self.schedule == Schedule::Sequential;
        self.wait_until(lock(&self.state), |state| !exclusive || state.turn == turn)
    }

    /// Ends the turn: the next may begin.
    pub fn end_turn(&self) {
        lock(&self.state).turn += 1;
        self.changed.notify_all();
    }

    /// Says that a model has finished every step before `step`, and waits until it may begin `step`. Steps of
    /// one model do not go back.
    ///
    /// # Panics
    ///
    /// When there is no such model.
    pub fn begin_step(&self, model: usize, step: Step) -> Result<(), Aborted> {
        let mut state = lock(&self.state);
        state.steps[model] = step;
        if self.schedule != Schedule::Fixed {
            return if state.failed { Err(Aborted) } else { Ok(()) };
        }
        self.changed.notify_all();
        self.wait_until(state, |state| state.steps.iter().all(|&other| other >= step))
    }

    /// Says that a model has finished all of its steps.
    ///
    /// # Panics
    ///
    /// When there is no such model.
    pub fn finish(&self, model: usize) {
        lock(&self.state).steps[model] = Step(u64::MAX);
        self.changed.notify_all();
    }

    /// Ends every wait, now and later.
    pub fn fail(&self) {
        lock(&self.state).failed = true;
        self.changed.notify_all();
    }

    fn wait_until(
        &self,
        mut state: MutexGuard<'_, State>,
        ready: impl Fn(&State) -> bool,
    ) -> Result<(), Aborted> {
        loop {
            if state.failed {
                return Err(Aborted);
            }
            if ready(&state) {
                return Ok(());
            }
            state = wait(&self.changed, state);
        }
    }
}
