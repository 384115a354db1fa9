//! Interleavings of models at the execution gate, by a model checker:
//! `LOOM_MAX_PREEMPTIONS=5 RUSTFLAGS="--cfg loom" cargo test -p vramkit --release --test loom`.
#![cfg(loom)]

use std::sync::Arc;

use loom::thread;
use vramkit::Step;
use vramkit::orchestrator::ExecutionGate;
use vramkit::plan::Schedule;

#[test]
fn the_gate_keeps_two_models_to_one_clock() {
    loom::model(|| {
        let gate = Arc::new(ExecutionGate::new(Schedule::Fixed, 2));
        let written = Arc::new(loom::sync::atomic::AtomicU64::new(0));
        let (other, seen) = (gate.clone(), written.clone());
        // The place that the one leaves after step 0, the other takes at step 1.
        let thread = thread::spawn(move || {
            other.begin_step(1, Step(1)).unwrap();
            assert_eq!(seen.load(loom::sync::atomic::Ordering::Relaxed), 1);
            other.finish(1);
        });
        gate.begin_step(0, Step(0)).unwrap();
        written.store(1, loom::sync::atomic::Ordering::Relaxed);
        gate.begin_step(0, Step(2)).unwrap();
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
