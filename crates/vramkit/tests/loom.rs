//! Interleavings of small programs, by a model checker. Run with
//! `LOOM_MAX_PREEMPTIONS=5 RUSTFLAGS="--cfg loom" cargo test -p vramkit --release --test loom`: every interleaving with
//! up to five preemptions in a run; without that bound the larger programs take hours.
#![cfg(loom)]

use std::sync::Arc;

use loom::thread;
use vramkit::ByteSize;
use vramkit::device::SimulatedDevice;
use vramkit::orchestrator::ExecutionGate;
use vramkit::plan::Schedule;
use vramkit::pool::{DeviceMemoryPool, Request};

const GRANULE: ByteSize = ByteSize::new(1024);

fn pool(granules: u64) -> Arc<DeviceMemoryPool> {
    let capacity = ByteSize::new(granules * GRANULE.bytes());
    let device = SimulatedDevice::builder(capacity).granularity(GRANULE).build();
    Arc::new(DeviceMemoryPool::new(Arc::new(device), capacity).unwrap())
}

/// Takes memory, uses all of it, gives it back. The device refuses access to what is not committed.
fn use_memory(pool: &DeviceMemoryPool, bytes: u64, pattern: u32) {
    if let Ok(mut allocation) = pool.allocate(Request::new(ByteSize::new(bytes))) {
        allocation.fill(pattern).expect("granted memory is committed");
        assert_eq!(allocation.find_mismatch(pattern, None), Ok(None), "granted memory is nobody else's");
    }
}

#[test]
fn two_threads_share_a_granule() {
    loom::model(|| {
        let pool = pool(2);
        let other = pool.clone();
        let thread = thread::spawn(move || use_memory(&other, 768, 1));
        use_memory(&pool, 512, 2);
        thread.join().unwrap();
        assert_eq!(pool.used(), ByteSize::ZERO);
        pool.trim().unwrap();
        assert_eq!(pool.committed(), ByteSize::ZERO);
    });
}

#[test]
fn trimming_never_takes_what_is_being_granted() {
    loom::model(|| {
        let pool = pool(2);
        drop(pool.allocate(Request::new(ByteSize::new(2048))).unwrap());
        let other = pool.clone();
        let thread = thread::spawn(move || {
            other.trim().unwrap();
        });
        use_memory(&pool, 1280, 3);
        thread.join().unwrap();
        pool.trim().unwrap();
        assert_eq!(pool.committed(), ByteSize::ZERO);
    });
}

#[test]
fn a_failed_commit_is_undone_without_harm_to_a_neighbour() {
    loom::model(|| {
        // Memory for two granules, addresses for four: one of the two requests may fail, none may be hurt.
        let device = SimulatedDevice::builder(ByteSize::new(2 * 1024)).granularity(GRANULE).build();
        let pool = Arc::new(DeviceMemoryPool::new(Arc::new(device), ByteSize::new(4 * 1024)).unwrap());
        let other = pool.clone();
        let thread = thread::spawn(move || use_memory(&other, 512, 4));
        use_memory(&pool, 2304, 5);
        thread.join().unwrap();
        assert_eq!(pool.used(), ByteSize::ZERO);
    });
}

/// A pool whose threads have met at the book's lock, which is when they begin to keep blocks.
fn pool_with_fronts(granules: u64) -> Arc<DeviceMemoryPool> {
    let pool = pool(granules);
    pool.use_fronts();
    pool
}

#[test]
fn a_block_that_a_thread_keeps_is_nobody_elses() {
    loom::model(|| {
        let pool = pool_with_fronts(2);
        let other = pool.clone();
        let thread = thread::spawn(move || {
            use_memory(&other, 512, 6);
            use_memory(&other, 500, 7);
        });
        use_memory(&pool, 512, 8);
        assert!(pool.used() <= pool.capacity());
        thread.join().unwrap();
        assert_eq!((pool.used(), pool.stats().requested_bytes), (ByteSize::ZERO, ByteSize::ZERO));
    });
}

#[test]
fn what_a_thread_keeps_is_there_for_another_that_needs_it() {
    loom::model(|| {
        let pool = pool_with_fronts(2);
        let other = pool.clone();
        let thread = thread::spawn(move || use_memory(&other, 768, 9));
        thread.join().unwrap();
        // All of the pool: only there when what the other thread kept comes back.
        let whole = pool.allocate(Request::new(ByteSize::new(2048))).expect("everything is free");
        assert_eq!(pool.used(), ByteSize::new(2048));
        drop(whole);
        assert_eq!(pool.stats().largest_free_bytes, ByteSize::new(2048));
    });
}

#[test]
fn of_two_releases_of_an_id_one_wins() {
    loom::model(|| {
        let pool = pool_with_fronts(2);
        let id = pool.allocate(Request::new(ByteSize::new(512))).unwrap().into_id();
        let other = pool.clone();
        let thread = thread::spawn(move || other.release(id).is_ok());
        let here = pool.release(id).is_ok();
        assert!(here ^ thread.join().unwrap());
        assert_eq!((pool.stats().live, pool.used()), (0, ByteSize::ZERO));
    });
}

#[test]
fn threads_may_begin_to_keep_blocks_while_others_release() {
    loom::model(|| {
        let pool = pool(2);
        let (first, second) = (
            pool.allocate(Request::new(ByteSize::new(256))).unwrap().into_id(),
            pool.allocate(Request::new(ByteSize::new(256))).unwrap().into_id(),
        );
        let other = pool.clone();
        let thread = thread::spawn(move || other.release(first).is_ok());
        pool.release(second).unwrap();
        let here = pool.release(first).is_ok();
        assert!(here ^ thread.join().unwrap());
        assert_eq!((pool.stats().live, pool.used()), (0, ByteSize::ZERO));
    });
}

#[test]
fn the_gate_keeps_two_models_to_one_clock() {
    loom::model(|| {
        let gate = Arc::new(ExecutionGate::new(Schedule::Fixed, 2));
        let written = Arc::new(loom::sync::atomic::AtomicU64::new(0));
        let (other, seen) = (gate.clone(), written.clone());
        // The place that the one leaves after step 0, the other takes at step 1.
        let thread = thread::spawn(move || {
            other.begin_step(1, 1).unwrap();
            assert_eq!(seen.load(loom::sync::atomic::Ordering::Relaxed), 1);
            other.finish(1);
        });
        gate.begin_step(0, 0).unwrap();
        written.store(1, loom::sync::atomic::Ordering::Relaxed);
        gate.begin_step(0, 2).unwrap();
        gate.finish(0);
        thread.join().unwrap();
    });
}

#[test]
fn a_failure_ends_every_wait() {
    loom::model(|| {
        let gate = Arc::new(ExecutionGate::new(Schedule::Sequential, 2));
        let other = gate.clone();
        let thread = thread::spawn(move || other.begin_turn(1));
        gate.begin_turn(0).unwrap();
        gate.fail();
        assert!(thread.join().unwrap().is_err());
    });
}
