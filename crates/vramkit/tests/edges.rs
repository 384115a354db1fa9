//! Where an orchestrator meets its pool: memory in pieces, models of many names, what a stream has given back.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

use std::sync::Arc;
use std::time::{Duration, Instant};

use vramkit::device::{ManualStream, SimulatedDevice};
use vramkit::orchestrator::{BindError, MemoryOrchestrator};
use vramkit::plan::{Model, Schedule, TensorLifetime};
use vramkit::pool::{DeviceMemoryPool, PoolConfig, Purpose, Request};
use vramkit::pressure::PressureLevel;
use vramkit::{ByteSize, Step};

fn mib(n: u64) -> Request {
    Request::new(ByteSize::mib(n))
}

fn pool_with(mib: u64, virtual_memory: bool, config: PoolConfig) -> Arc<DeviceMemoryPool> {
    let capacity = ByteSize::mib(mib);
    let device = SimulatedDevice::builder(capacity).virtual_memory(virtual_memory).build();
    Arc::new(DeviceMemoryPool::with_config(Arc::new(device), capacity, config).unwrap())
}

fn model(name: &str, weights: u64, arena: u64) -> Model {
    let tensors = vec![TensorLifetime::new(name, "x", Step(0), Step(2), ByteSize::mib(arena))];
    Model { name: name.into(), weights: ByteSize::mib(weights), start: Step(0), tensors }
}

#[test]
fn a_model_that_only_pieces_are_left_for_waits_as_long_as_it_may() {
    let pool = pool_with(64, false, PoolConfig::default());
    let mut blocks: Vec<_> = (0..16).map(|_| pool.allocate(mib(4)).ok()).collect();
    blocks.iter_mut().step_by(2).for_each(|block| *block = None);
    let orchestrator = MemoryOrchestrator::new(pool);
    let plan = orchestrator.plan(&[model("a", 0, 16)], Schedule::Fixed).unwrap();
    let start = Instant::now();
    let refused = orchestrator.admit("a", &plan, Duration::from_millis(100)).unwrap_err();
    assert!(matches!(refused, BindError::InsufficientMemory { .. }), "{refused}");
    assert!(start.elapsed() < Duration::from_secs(20));
    drop(blocks);
    orchestrator.admit("a", &plan, Duration::ZERO).unwrap();
}

#[test]
fn a_model_gets_the_places_of_others_that_pieces_are_between() {
    let pool = pool_with(64, false, PoolConfig::default());
    let orchestrator = MemoryOrchestrator::new(pool);
    for i in 0..4 {
        let name = format!("small{i}");
        let plan = orchestrator.plan(&[model(&name, 0, 12)], Schedule::Fixed).unwrap();
        orchestrator.bind(&name, &plan).unwrap();
    }
    // 16 MiB are free at the end, and 12 of one that goes.
    orchestrator.release("small1");
    let plan = orchestrator.plan(&[model("large", 0, 24)], Schedule::Fixed).unwrap();
    orchestrator.admit("large", &plan, Duration::from_secs(1)).expect("idle models make room in one piece");
}

#[test]
fn models_of_any_number_of_names_come_and_go() {
    let pool = pool_with(64, true, PoolConfig::default());
    let kept = pool.owner("m7", Purpose::Weights);
    let orchestrator = MemoryOrchestrator::new(pool.clone());
    for i in 0..33_000 {
        let name = format!("m{i}");
        let plan = orchestrator.plan(&[model(&name, 1, 1)], Schedule::Fixed).unwrap();
        orchestrator.bind(&name, &plan).unwrap_or_else(|error| panic!("{error}"));
        orchestrator.release(&name);
    }
    drop(pool.allocate(mib(1).owner(kept)).expect("an id that somebody asked for stays"));
    assert_eq!(pool.used(), ByteSize::ZERO);
}

/// A model is not evicted for memory that a stream has given back.
#[test]
fn pressure_is_without_what_is_finished() {
    let pool = pool_with(64, true, PoolConfig::default());
    let orchestrator = MemoryOrchestrator::new(pool.clone());
    let stream = ManualStream::new(1);
    let id = pool.allocate_id(mib(60)).unwrap().0;
    pool.release_on(id, &stream).unwrap();
    assert_eq!(orchestrator.current_pressure(), PressureLevel::Critical);
    stream.finish();
    assert_eq!(orchestrator.current_pressure(), PressureLevel::Normal);
}
