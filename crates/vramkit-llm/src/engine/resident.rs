//! A model as a tenant of an orchestrator: planned, bound, loaded by the loader, evicted and loaded again.
//!
//! In: an open file and what it is to compute at most. Out: [`Running`]: weights and arena as slices, for as long as one step holds
//! them. Between steps the model is idle, so that another may take its place; the next step brings it back.
#![allow(unsafe_code)]

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use vramkit::ByteSize;
use vramkit::device::DeviceError;
use vramkit::loader::LoadOptions;
use vramkit::orchestrator::{BindError, MemoryBinding, MemoryOrchestrator, RunGuard};
use vramkit::plan::{AllocationPlan, Model, Schedule};
use vramkit::pool::{OutOfMemory, PoolError, Request, ViewError};
use vramkit::units::Step;
use vramkit_models::gguf::GgufFile;

use super::claim::Claim;
use crate::attention::{AttentionError, Level};
use crate::cache::Group;
use crate::error::LoadError;
use crate::kernels::Threads;
use crate::model::arena::Arena;
use crate::model::batch::{AttentionMemory, Part};
use crate::model::forward::Step as StepOf;
use crate::model::hyper::Hyper;
use crate::model::rotations::Rotations;
use crate::model::source::PackedSource;
use crate::model::step::{Activation, Buffers, StepShape};
use crate::model::tensors::Tensors;

/// A model that is bound, or will be when it is needed.
pub(crate) struct Resident {
    pub orchestrator: Arc<MemoryOrchestrator>,
    pub name: String,
    pub hyper: Hyper,
    pub tensors: Tensors,
    threads: Arc<Threads>,
    pub groups: Vec<Group>,
    pub memory: AttentionMemory,
    /// Set when the weights are there for the first time, since files may have factors for it.
    rotations: OnceLock<Rotations>,
    /// The plan to bind by when it is bound no more, and where its tensors are by the plan that it is bound by.
    plan: Mutex<Arc<AllocationPlan>>,
    places: Mutex<Option<(Arc<AllocationPlan>, Arc<Buffers>)>>,
    /// How it was bound last, by this engine or by a policy that has moved it.
    binding: Mutex<Option<MemoryBinding>>,
    /// How long to wait for others to make room.
    patience: Duration,
    _claim: Claim,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A model's memory during a step.
pub(crate) struct Running<'a> {
    pub weights: &'a [u8],
    pub arena: &'a mut [u8],
    pub buffers: Arc<Buffers>,
    _guard: RunGuard,
}

impl Running<'_> {
    /// The logits of the first `rows` sequences that wanted them.
    pub fn logits(&self, hyper: &Hyper, rows: usize) -> &[f32] {
        let place = self.buffers.place(Activation::Logits);
        let logits: &[f32] = bytemuck::cast_slice(&self.arena[place]);
        &logits[..rows * hyper.vocabulary]
    }
}

impl Resident {
    /// Bytes of the arena, as it is bound or would be.
    pub fn arena(&self) -> ByteSize {
        // A policy may have moved it since the last step.
        match self.orchestrator.binding(&self.name) {
            Some(binding) if self.is_ours(&binding) => binding.plan.arena_size,
            _ => lock(&self.plan).arena_size,
        }
    }

    /// Computes one step; returns how many rows of logits there are.
    pub fn compute(&self, running: &mut Running<'_>, parts: &[Part<'_>]) -> Result<usize, AttentionError> {
        let rotations = self.rotations(running.weights)?;
        let step = StepOf {
            hyper: &self.hyper,
            tensors: &self.tensors,
            rotations,
            groups: &self.groups,
            threads: &self.threads,
            weights: running.weights,
            arena: Arena::new(running.arena, &running.buffers),
            memory: self.memory,
            level: Level::best(),
        };
        step.run(parts)
    }

    fn rotations(&self, weights: &[u8]) -> Result<&Rotations, AttentionError> {
        if let Some(rotations) = self.rotations.get() {
            return Ok(rotations);
        }
        let factors = self.tensors.factors.map(|vector| {
            let bytes = &weights[vector.place.offset..][..vector.place.bytes];
            bytemuck::cast_slice::<u8, f32>(bytes)
        });
        let rotations = Rotations::new(&self.hyper, factors)?;
        Ok(self.rotations.get_or_init(|| rotations))
    }

    /// Reads what a file says, and plans. Takes no memory.
    pub fn open(
        orchestrator: &Arc<MemoryOrchestrator>,
        name: &str,
        path: &Path,
        context: Option<u64>,
        threads: usize,
    ) -> Result<Opened, LoadError> {
        let claim = Claim::new(orchestrator, name)?;
        let file = Arc::new(GgufFile::open(path)?);
        let model = path.display().to_string();
        let hyper = Hyper::read(file.header(), &file.shape()?, &model)?;
        let context = context.unwrap_or(hyper.trained_context);
        let tensors = Tensors::read(file.header(), &model, &hyper, context)?;
        Ok(Opened {
            orchestrator: orchestrator.clone(),
            name: name.to_owned(),
            file,
            hyper,
            tensors,
            threads,
            claim,
        })
    }

    /// Whether a binding of the model's name is this engine's, and not of somebody who took the name while it was evicted.
    fn is_ours(&self, found: &MemoryBinding) -> bool {
        let mut known = lock(&self.binding);
        let ended = known.as_ref().map(MemoryBinding::stale);
        match ended {
            // A name is bound once.
            Some(None) => true,
            Some(Some(why)) if why.is_still_bound() => {
                *known = Some(found.clone());
                true
            }
            _ => false,
        }
    }

    fn name_taken(&self) -> LoadError {
        LoadError::NameTaken { model: self.name.clone() }
    }

    /// The memory of the model, which is brought back when it is not there.
    pub fn begin(&self) -> Result<Running<'_>, LoadError> {
        let guard = loop {
            match self.orchestrator.begin(&self.name) {
                Some(guard) if self.is_ours(guard.binding()) => break guard,
                Some(_) => return Err(self.name_taken()),
                None => {}
            }
            let plan = lock(&self.plan).clone();
            match self.orchestrator.admit(&self.name, &plan, self.patience) {
                Ok((binding, _)) => *lock(&self.binding) = Some(binding),
                Err(BindError::AlreadyBound(_)) => return Err(self.name_taken()),
                Err(error) => return Err(self.not_bound(error)),
            }
        };
        let pool = self.orchestrator.pool();
        let unseen = |error: ViewError| LoadError::Device(error.to_string());
        let empty = || LoadError::Config("the model has no memory bound".to_owned());
        let (weights, arena) = (guard.weights().ok_or_else(empty)?, guard.arena().ok_or_else(empty)?);
        // SAFETY: the guard, which lives as long as the slice by `Running`, keeps the weights granted and in place. Nobody
        // writes to them: only the loader does, before the binding is there, and who has the model's name is this engine.
        let weights = unsafe { pool.view_range(weights) }.map_err(unseen)?;
        // SAFETY: as for the weights. The plan is this model's alone, so its arena is, and one step runs at a time: `Engine`
        // calls this under the lock of its state.
        let arena: &mut [u8] = unsafe { pool.view_range_mut(arena) }.map_err(unseen)?;
        let buffers = self.places(&guard, arena.len())?;
        Ok(Running { weights, arena, buffers, _guard: guard })
    }

    /// Where the binding's plan has placed the activations.
    fn places(&self, guard: &RunGuard, arena: usize) -> Result<Arc<Buffers>, LoadError> {
        let plan = &guard.binding().plan;
        let mut places = lock(&self.places);
        if let Some((of, buffers)) = &*places
            && Arc::ptr_eq(of, plan)
        {
            return Ok(buffers.clone());
        }
        let buffers = Arc::new(Buffers::of(guard.binding().tensors()));
        if !buffers.are_sound(arena) {
            return Err(LoadError::Config("the plan places activations over one another".to_owned()));
        }
        *lock(&self.plan) = plan.clone();
        *places = Some((plan.clone(), buffers.clone()));
        Ok(buffers)
    }

    fn not_bound(&self, error: BindError) -> LoadError {
        not_bound(&self.orchestrator, error)
    }
}

/// What a pool could have granted; less than it has where its device has less.
fn could_be_had(shortage: &OutOfMemory) -> ByteSize {
    match &shortage.device_error {
        Some(DeviceError::OutOfMemory { available, .. }) => *available,
        _ => shortage.largest_free,
    }
}

fn not_bound(orchestrator: &MemoryOrchestrator, error: BindError) -> LoadError {
    match error {
        BindError::InsufficientMemory { model, needed, available, .. } => LoadError::InsufficientVram {
            required: needed,
            available,
            device: orchestrator.pool().device().info().id,
            model: model.to_string(),
        },
        // Where the device refuses for a reason other than its figures, they would contradict each other.
        BindError::Pool { model, error: PoolError::OutOfMemory(shortage) }
            if could_be_had(&shortage) < shortage.requested =>
        {
            LoadError::InsufficientVram {
                required: shortage.requested,
                available: could_be_had(&shortage),
                device: shortage.device,
                model: model.to_string(),
            }
        }
        BindError::NotLoaded { model, reason, .. } => {
            LoadError::Weights { model: model.to_string(), reason: reason.to_string() }
        }
        other => LoadError::Bind(Box::new(other)),
    }
}

/// A model that was read, and has no memory yet.
pub(crate) struct Opened {
    orchestrator: Arc<MemoryOrchestrator>,
    pub name: String,
    pub file: Arc<GgufFile>,
    pub hyper: Hyper,
    pub tensors: Tensors,
    threads: usize,
    claim: Claim,
}

impl Opened {
    /// The demand of a step of this shape, as the planner takes it.
    pub fn demand(&self, shape: &StepShape) -> Model {
        Model {
            name: self.name.as_str().into(),
            weights: ByteSize::new(self.tensors.bytes as u64),
            start: Step(0),
            tensors: shape.lifetimes(&self.hyper, &self.name),
        }
    }

    /// Plans a step of this shape, takes the memory and loads the weights; `further` bytes must be left then.
    ///
    /// # Errors
    /// [`LoadError::InsufficientVram`] before anything is taken.
    pub fn bind(
        self,
        shape: &StepShape,
        groups: Vec<Group>,
        memory: AttentionMemory,
        patience: Duration,
    ) -> Result<Resident, LoadError> {
        // One block of each kind, so that there is room to begin with.
        let further = ByteSize::new(groups.iter().map(Group::granted).sum());
        let plan = self.orchestrator.plan(&[self.demand(shape)], Schedule::Sequential);
        let plan = plan.map_err(|error| LoadError::Config(error.to_string()))?;
        let pool = self.orchestrator.pool();
        // As the pool grants them.
        let required = Request::granted(ByteSize::new(self.tensors.bytes as u64))
            .checked_add(Request::granted(plan.arena_size))
            .and_then(|bytes| bytes.checked_add(further))
            .unwrap_or(ByteSize::MAX);
        if required > pool.capacity() {
            return Err(LoadError::InsufficientVram {
                required,
                available: pool.available(),
                device: pool.device().info().id,
                model: self.name,
            });
        }
        let Self { orchestrator, name, file, hyper, tensors, threads, claim } = self;
        let threads = Arc::new(Threads::new(threads));
        let source = PackedSource {
            file: file.clone(),
            stored: tensors.stored.clone().into(),
            threads: threads.clone(),
        };
        orchestrator.load_from(&name, Arc::new(source), LoadOptions::default().chunk(ByteSize::MAX));
        let (plan, places) = (Mutex::new(plan), Mutex::new(None));
        let rotations = OnceLock::new();
        let resident = Resident {
            orchestrator,
            name,
            hyper,
            tensors,
            threads,
            groups,
            memory,
            rotations,
            plan,
            places,
            binding: Mutex::new(None),
            patience,
            _claim: claim,
        };
        let running = resident.begin()?;
        resident.rotations(running.weights).map_err(|error| {
            let factors = resident.tensors.factors_name();
            let of = factors.map_or("its rotation".to_owned(), |name| format!("tensor `{name}`"));
            LoadError::Model { model: resident.name.clone(), reason: format!("{of}: {error}") }
        })?;
        drop(running);
        Ok(resident)
    }
}

impl Drop for Resident {
    /// The memory goes back, and the orchestrator forgets the file, whose loader kept it open.
    fn drop(&mut self) {
        let held = lock(&self.binding).take();
        if held.is_some_and(|binding| binding.stale().is_none_or(|why| why.is_still_bound())) {
            self.orchestrator.release(&self.name);
        }
        self.orchestrator.on_load(&self.name, |_| Ok(()));
        self.orchestrator.on_degrade(&self.name, |_| None);
    }
}
