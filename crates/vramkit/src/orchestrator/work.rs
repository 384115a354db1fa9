//! What a model does when it runs.
//!
//! A runner ([`execute_with`](super::execute_with)) keeps the models of a plan to its schedule and calls each one's [`Work`]
//! at every step, with the tensors that begin, are read and end in it and with their memory, which the run holds. Patterns
//! that show a plan to be sound are one work, an engine's step is another. A work binds nothing, releases nothing, and does
//! not know of other models.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::access::AccessError;
use super::guard::RunGuard;
use crate::device::AddressRange;
use crate::plan::TensorLifetime;
use crate::pool::PoolError;
use crate::units::{ByteSize, Step};

/// What one model does. Each model of a run has a work of its own, which stays with it over all repetitions.
pub trait Work: Send {
    /// Whether there is anything to do in a step. When not, the model is bound and released in its turn, and no step of it is
    /// waited for, recorded or counted; nothing else here is called.
    fn has_steps(&self) -> bool {
        true
    }

    /// Before the first step of a repetition.
    fn begin(&mut self, run: &ModelRun<'_>) -> Result<(), WorkError> {
        let _ = run;
        Ok(())
    }

    /// One step. No tensor of another model lies where this step's tensors do, until it has returned.
    fn step(&mut self, run: &ModelRun<'_>, step: &StepTensors) -> Result<(), WorkError>;

    /// After the last step of a repetition.
    fn end(&mut self, run: &ModelRun<'_>) -> Result<(), WorkError> {
        let _ = run;
        Ok(())
    }
}

/// A work that does nothing: a run with it decides what a run decides, and touches no tensor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle;

impl Work for Idle {
    fn has_steps(&self) -> bool {
        false
    }

    fn step(&mut self, _: &ModelRun<'_>, _: &StepTensors) -> Result<(), WorkError> {
        Ok(())
    }
}

/// Why a work could not go on. It ends the run of every model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] PoolError),
    /// What was to be read or written is not there.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The work failed by itself.
    #[error("{0}")]
    Failed(String),
}

/// One step's tensors, as indices into [`ModelRun::tensors`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepTensors {
    /// The step.
    pub step: Step,
    /// Those made by an earlier step that this one reads.
    pub reads: Vec<usize>,
    /// Those that begin here: they hold anything until they are written. One may lie where a tensor of `reads` of the same
    /// alias group does.
    pub begins: Vec<usize>,
    /// Those of `begins` that this step reads as well: scratch memory.
    pub reads_own: Vec<usize>,
    /// Those that no later step uses before they begin anew.
    pub ends: Vec<usize>,
}

/// A tensor of a run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RunTensor<'a> {
    /// Its lifetime in the plan.
    pub lifetime: &'a TensorLifetime,
    /// Where it is; of use until the repetition has ended.
    pub place: AddressRange,
}

/// One repetition of a model, with the memory that it holds. Tensors without bytes or without a step are left out.
pub struct ModelRun<'a> {
    guard: &'a RunGuard,
    tensors: Vec<RunTensor<'a>>,
    repetition: u32,
    clock: Step,
    new_weights: bool,
}

impl<'a> ModelRun<'a> {
    pub(super) fn new(guard: &'a RunGuard, repetition: u32, clock: Step, new_weights: bool) -> Self {
        let tensors = guard.tensors().filter(|(lifetime, _)| lifetime.takes_room());
        let tensors = tensors.map(|(lifetime, place)| RunTensor { lifetime, place }).collect();
        Self { guard, tensors, repetition, clock, new_weights }
    }

    /// The model.
    pub fn model(&self) -> &Arc<str> {
        &self.guard.binding().model
    }

    /// What holds its memory: by name, and the weights.
    pub fn guard(&self) -> &'a RunGuard {
        self.guard
    }

    /// Its tensors, in the plan's order.
    pub fn tensors(&self) -> &[RunTensor<'a>] {
        &self.tensors
    }

    /// How often it has run before.
    pub fn repetition(&self) -> u32 {
        self.repetition
    }

    /// When this repetition began, on a clock of steps that goes on over repetitions.
    pub fn clock(&self) -> Step {
        self.clock
    }

    /// Whether the model was given its memory for weights since it ran last.
    pub fn has_new_weights(&self) -> bool {
        self.new_weights
    }

    /// Writes bytes into a tensor, from a byte of it on.
    ///
    /// # Panics
    ///
    /// As all that takes an index: when there is no such tensor.
    pub fn write(&self, tensor: usize, offset: u64, bytes: &[u8]) -> Result<(), AccessError> {
        let RunTensor { lifetime, place } = self.tensors[tensor];
        self.guard.at(&lifetime.id, place)?.write(offset, bytes)
    }

    /// Reads bytes of a tensor, from a byte of it on.
    pub fn read(&self, tensor: usize, offset: u64, into: &mut [u8]) -> Result<(), AccessError> {
        let RunTensor { lifetime, place } = self.tensors[tensor];
        self.guard.at(&lifetime.id, place)?.read(offset, into)
    }

    /// Fills a tensor with a pattern of four bytes.
    pub fn fill(&self, tensor: usize, pattern: u32) -> Result<(), PoolError> {
        self.guard.fill_arena(self.tensors[tensor].place, pattern)
    }

    /// The first byte of a tensor that does not hold the pattern that it was filled with. With a stride only its ends and
    /// 64 bytes of each stride are looked at.
    pub fn find_mismatch(
        &self,
        tensor: usize,
        pattern: u32,
        stride: Option<ByteSize>,
    ) -> Result<Option<u64>, PoolError> {
        self.guard.mismatch(self.tensors[tensor].place, pattern, stride)
    }

    /// What the model does at each of its steps, in order.
    pub(super) fn steps(&self) -> Vec<StepTensors> {
        let mut steps: BTreeMap<Step, StepTensors> = BTreeMap::new();
        for (i, RunTensor { lifetime, .. }) in self.tensors.iter().enumerate() {
            for (start, end) in lifetime.runs() {
                steps.entry(start).or_default().begins.push(i);
                let last = lifetime.read_steps().filter(|&read| start <= read && read < end).max();
                steps.entry(last.unwrap_or(start)).or_default().ends.push(i);
            }
            for read in lifetime.read_steps() {
                let step = steps.entry(read).or_default();
                let own = lifetime.runs().any(|(start, _)| start == read);
                if own { &mut step.reads_own } else { &mut step.reads }.push(i);
            }
        }
        steps.into_iter().map(|(step, tensors)| StepTensors { step, ..tensors }).collect()
    }
}
