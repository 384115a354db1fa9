//! Weights on their way from a source to a device: straight, staged, cancelled, and failing at every place.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use vramkit::device::{Backing, Fault, HostDevice, SimulatedDevice};
use vramkit::loader::*;
use vramkit::orchestrator::{BindError, MemoryOrchestrator, NotLoadedReason};
use vramkit::plan::{AllocationPlan, Model, Schedule, TensorLifetime};
use vramkit::pool::{DeviceMemoryPool, PoolError, Request};
use vramkit::{ByteSize, Step};

/// Tensors of some sizes, of bytes that can be told apart; may fail at a byte of all.
struct Generated {
    sizes: Vec<u64>,
    fails_at: Option<u64>,
    /// How long the longest read was.
    longest: AtomicU64,
}

impl Generated {
    fn new(sizes: &[u64]) -> Self {
        Self { sizes: sizes.to_vec(), fails_at: None, longest: AtomicU64::new(0) }
    }

    fn failing(sizes: &[u64], at: u64) -> Self {
        Self { fails_at: Some(at), ..Self::new(sizes) }
    }

    fn total(&self) -> u64 {
        self.sizes.iter().sum()
    }
}

fn byte(at: u64) -> u8 {
    (at ^ (at >> 8)) as u8
}

impl WeightSource for Generated {
    fn tensors(&self) -> Vec<SourceTensor> {
        let tensor = |(i, &size)| SourceTensor::new(&format!("t{i}"), ByteSize::new(size));
        self.sizes.iter().enumerate().map(tensor).collect()
    }

    fn read(&self, tensor: usize, offset: u64, into: &mut [u8]) -> Result<(), ReadFailure> {
        self.longest.fetch_max(into.len() as u64, Ordering::Relaxed);
        assert!(offset + into.len() as u64 <= self.sizes[tensor], "within the tensor");
        let first = self.sizes[..tensor].iter().sum::<u64>() + offset;
        if self.fails_at.is_some_and(|at| (first..first + into.len() as u64).contains(&at)) {
            return Err("the disk has gone".into());
        }
        for (i, into) in into.iter_mut().enumerate() {
            *into = byte(first + i as u64);
        }
        Ok(())
    }
}

const SIZES: [u64; 5] = [1000, 1, 0, 5000, 256];

fn pool(device: impl Backing + 'static) -> Arc<DeviceMemoryPool> {
    Arc::new(DeviceMemoryPool::new(Arc::new(device), ByteSize::mib(8)).unwrap())
}

fn devices() -> [(Arc<DeviceMemoryPool>, bool); 2] {
    let capacity = ByteSize::mib(8);
    [(pool(HostDevice::new(capacity)), true), (pool(SimulatedDevice::new(capacity)), false)]
}

fn bindable(pool: &Arc<DeviceMemoryPool>) -> (MemoryOrchestrator, Arc<AllocationPlan>) {
    let orchestrator = MemoryOrchestrator::new(pool.clone());
    let model = Model {
        name: "m".into(),
        weights: ByteSize::new(SIZES.iter().sum()),
        start: Step(0),
        tensors: vec![TensorLifetime::new("m", "x", 0, 1, ByteSize::mib(1))],
    };
    let plan = orchestrator.plan(&[model], Schedule::Fixed).unwrap();
    (orchestrator, plan)
}

fn copy_error(error: &BindError) -> &LoadError {
    match error {
        BindError::NotLoaded { reason: NotLoadedReason::Copy(error), .. } => error,
        error => panic!("{error:?}"),
    }
}

fn is_right(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(at, &found)| found == byte(at as u64))
}

#[test]
fn weights_lie_one_behind_another_whatever_the_chunk_and_the_device() {
    for (pool, is_host) in devices() {
        for chunk in [0, 1, 7, 256, 4096, 1 << 24] {
            let source = Generated::new(&SIZES);
            let mut memory = pool.allocate(Request::new(ByteSize::new(source.total()))).unwrap();
            let options = LoadOptions::default().chunk(ByteSize::new(chunk));
            let report = load_weights(&source, &mut memory, &options).unwrap();
            let all = ByteSize::new(source.total());
            let staged = if is_host { ByteSize::ZERO } else { all };
            assert_eq!((report.loaded, report.staged), (all, staged), "{chunk}");
            assert_eq!(source.longest.into_inner(), chunk.clamp(1, 5000), "a chunk at a time");
            let mut bytes = vec![0; all.bytes() as usize];
            memory.read(0, &mut bytes).unwrap();
            assert!(is_right(&bytes));
        }
    }
    let offsets = weight_offsets(&Generated::new(&SIZES).tensors());
    assert_eq!(offsets.iter().map(|offset| offset.bytes()).collect::<Vec<_>>(), [0, 1000, 1001, 1001, 6001]);
}

#[test]
fn a_bound_model_has_its_weights_again_whenever_it_is_bound() {
    for (pool, _) in devices() {
        let (orchestrator, plan) = bindable(&pool);
        orchestrator.load_from("m", Arc::new(Generated::new(&SIZES)), LoadOptions::default());
        for _ in 0..2 {
            let binding = orchestrator.bind("m", &plan).unwrap();
            let mut bytes = vec![0; SIZES.iter().sum::<u64>() as usize];
            binding.read_weights(0, &mut bytes).unwrap();
            assert!(is_right(&bytes));
            binding.fill_weights(0).unwrap();
            // What is bound can be loaded anew, too.
            let running = binding.begin().unwrap();
            running.load_weights(&Generated::new(&SIZES), &LoadOptions::default()).unwrap();
            running.read_weights(0, &mut bytes).unwrap();
            assert!(is_right(&bytes));
            drop(running);
            orchestrator.release("m");
            assert_eq!(pool.used(), ByteSize::ZERO);
        }
    }
}

#[test]
fn a_source_that_fails_at_any_byte_leaves_nothing_bound() {
    for (pool, _) in devices() {
        let (orchestrator, plan) = bindable(&pool);
        for (at, tensor, first) in
            [(0, "t0", 0), (999, "t0", 900), (1000, "t1", 0), (6000, "t3", 4900), (6256, "t4", 200)]
        {
            let options = LoadOptions::default().chunk(ByteSize::new(100));
            orchestrator.load_from("m", Arc::new(Generated::failing(&SIZES, at)), options);
            let error = orchestrator.bind("m", &plan).unwrap_err();
            let words = format!("tensor `{tensor}` could not be read at its byte {first}: the disk has gone");
            assert!(error.to_string().contains(&words), "{error}");
            assert!(matches!(copy_error(&error), LoadError::Read { at, .. } if *at == first), "{error:?}");
            assert_eq!((pool.used(), orchestrator.bound().len()), (ByteSize::ZERO, 0));
        }
    }
}

#[test]
fn a_reload_that_fails_leaves_the_model_bound_as_it_was() {
    for (pool, _) in devices() {
        let (orchestrator, plan) = bindable(&pool);
        let binding = orchestrator.bind("m", &plan).unwrap();
        let used = pool.used();
        let failing = Generated::failing(&SIZES, 3000);
        let error = binding.begin().unwrap().load_weights(&failing, &LoadOptions::default()).unwrap_err();
        assert!(matches!(error, LoadError::Read { at: 0, .. }), "{error}");
        assert_eq!((binding.stale(), pool.used()), (None, used));
        binding.begin().unwrap().load_weights(&Generated::new(&SIZES), &LoadOptions::default()).unwrap();
    }
}

#[test]
fn a_source_of_another_size_is_refused_before_anything_is_read() {
    let (pool, _) = &devices()[0];
    let (orchestrator, plan) = bindable(pool);
    for sizes in [&[6256][..], &[6258], &[u64::MAX, u64::MAX], &[]] {
        let source = Arc::new(Generated::new(sizes));
        orchestrator.load_from("m", source.clone(), LoadOptions::default());
        let error = orchestrator.bind("m", &plan).unwrap_err();
        assert!(error.to_string().contains("they are not of one model"), "{error}");
        assert_eq!((source.longest.load(Ordering::Relaxed), pool.used()), (0, ByteSize::ZERO));
    }
}

#[test]
fn progress_is_told_in_order_and_cancels_anywhere() {
    for (pool, _) in devices() {
        let (orchestrator, plan) = bindable(&pool);
        let told = Arc::new(Mutex::new(Vec::new()));
        for stop in [2000, 6257, u64::MAX] {
            let tell = told.clone();
            let options = LoadOptions::default().chunk(ByteSize::new(1000)).on_progress(move |progress| {
                tell.lock().unwrap().push((progress.tensor.to_owned(), progress.loaded.bytes()));
                assert_eq!(progress.total, ByteSize::new(6257));
                if progress.loaded.bytes() >= stop {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            orchestrator.load_from("m", Arc::new(Generated::new(&SIZES)), options);
            let bound = orchestrator.bind("m", &plan);
            let told = std::mem::take(&mut *told.lock().unwrap());
            match stop {
                u64::MAX => {
                    bound.unwrap();
                    assert!(told.is_sorted_by_key(|(_, loaded)| *loaded));
                    assert_eq!(told.last(), Some(&("t4".to_owned(), 6257)));
                }
                _ => {
                    let error = bound.unwrap_err();
                    assert!(matches!(copy_error(&error), LoadError::Cancelled { .. }), "{error}");
                    assert_eq!(pool.used(), ByteSize::ZERO);
                }
            }
        }
    }
}

#[test]
fn a_device_that_is_lost_on_the_way_is_named_with_the_tensor_and_the_byte() {
    let mut failed_in = std::collections::BTreeSet::new();
    for from_operation in 0..40 {
        let device = SimulatedDevice::builder(ByteSize::mib(8)).fault(Fault::Lost { from_operation }).build();
        let Ok(pool) = DeviceMemoryPool::new(Arc::new(device), ByteSize::mib(8)) else { continue };
        let pool = Arc::new(pool);
        let source = Generated::new(&SIZES);
        let Ok(mut memory) = pool.allocate(Request::new(ByteSize::new(source.total()))) else { continue };
        let options = LoadOptions::default().chunk(ByteSize::new(500));
        match load_weights(&source, &mut memory, &options) {
            Ok(report) => assert_eq!(report.staged, ByteSize::new(source.total())),
            Err(LoadError::Write { tensor, at, error }) => {
                assert!(at.is_multiple_of(500) && matches!(error, PoolError::Device(_)), "{error:?}");
                failed_in.insert(tensor);
            }
            Err(error) => panic!("{error}"),
        }
        drop(memory);
        assert_eq!(pool.used(), ByteSize::ZERO);
    }
    let failed_in: Vec<_> = failed_in.iter().map(|tensor| &**tensor).collect();
    assert_eq!(failed_in, ["t0", "t1", "t3", "t4"]);
}

/// Panics when it is read.
struct Broken;

impl WeightSource for Broken {
    fn tensors(&self) -> Vec<SourceTensor> {
        vec![SourceTensor::new("t", ByteSize::new(6257))]
    }

    fn read(&self, _: usize, _: u64, _: &mut [u8]) -> Result<(), ReadFailure> {
        panic!("by this test, in a source")
    }
}

#[test]
fn a_source_that_panics_is_a_model_that_is_not_bound() {
    for (pool, _) in devices() {
        let (orchestrator, plan) = bindable(&pool);
        orchestrator.load_from("m", Arc::new(Broken), LoadOptions::default());
        let error = orchestrator.bind("m", &plan).unwrap_err();
        assert!(error.to_string().contains("the loader panicked: by this test, in a source"), "{error}");
        assert_eq!(pool.used(), ByteSize::ZERO);
        // A loader of the caller's may use a source as well.
        orchestrator.on_load("m", |load| {
            let report = load.copy_from(&Generated::new(&SIZES), &LoadOptions::default())?;
            assert_eq!(report.loaded, load.size());
            Ok(())
        });
        let binding = orchestrator.bind("m", &plan).unwrap();
        let mut bytes = vec![0; SIZES.iter().sum::<u64>() as usize];
        binding.read_weights(0, &mut bytes).unwrap();
        assert!(is_right(&bytes));
    }
}
