//! Workloads from plan to report, on every kind of device and with faults at every step.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::device::{Backing, Device, Fault, HostDevice, SimulatedDevice};
use vramkit::orchestrator::*;
use vramkit::plan::*;
use vramkit::pressure::*;
use vramkit::trace::*;
use vramkit_ask::{Alternative, RunError, RunReport, Session, SessionModel};
use vramkit_testing::{filler, model, three_models};

mod dry_run;

fn session(device: Arc<dyn Backing>, models: Vec<Model>, schedule: Schedule, capacity: ByteSize) -> Session {
    let entry = |model| SessionModel {
        model,
        standing: Standing::default(),
        degrade_to_ratio: None,
        weights: None,
        graph: None,
    };
    Session {
        name: "test".to_owned(),
        models: models.into_iter().map(entry).collect(),
        schedule,
        device,
        capacity: Some(capacity),
        ladder: PolicyLadder::orchestrator(),
        repetitions: 1,
        verify: Verify::Full,
        dry_run: false,
        planner: MemoryPlanner::new(),
    }
}

#[test]
fn the_three_models_run_verified_under_every_schedule() {
    for (schedule, arena) in
        [(Schedule::Fixed, 350), (Schedule::Sequential, 300), (Schedule::Concurrent, 700)]
    {
        let device = Arc::new(SimulatedDevice::new(ByteSize::mb(800).checked_align_up(2 << 20).unwrap()));
        let mut session = session(device, three_models(), schedule, ByteSize::mb(800));
        session.repetitions = 3;
        session.verify = Verify::Stride; // Without memory behind it, each byte read costs a look-up.
        let steps = session.steps();
        let done = std::sync::atomic::AtomicU64::new(0);
        let progress = |n| {
            done.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
        };
        let report = session.run(&Arc::new(TraceCollector::new()), &progress).unwrap().report;
        assert_eq!(report.plan.arena_bytes, ByteSize::mb(arena));
        assert!(report.plan.proven_optimal);
        assert_eq!((report.verified_tensors, report.aliasing_violations), (21, 0));
        assert_eq!(
            (report.used_after_release_bytes, report.committed_after_trim_bytes),
            (ByteSize::ZERO, ByteSize::ZERO)
        );
        assert_eq!(done.into_inner(), steps);
        let slack = report.peak_committed_bytes - report.plan.arena_bytes;
        assert!(slack < ByteSize::mib(2));
        assert_eq!(report.system_peak_bytes, None, "a simulation is no system");
        assert!(report.system_peak_unavailable.is_some_and(|reason| reason.contains("simulated")));
    }
}

#[test]
fn a_small_workload_is_verified_byte_by_byte_on_real_memory() {
    let mut models = three_models();
    for tensor in models.iter_mut().flat_map(|model| &mut model.tensors) {
        tensor.size = ByteSize::new(tensor.size.bytes() / 100);
    }
    for schedule in [Schedule::Fixed, Schedule::Sequential, Schedule::Concurrent] {
        let device = Arc::new(HostDevice::new(ByteSize::mib(8)));
        let mut session = session(device, models.clone(), schedule, ByteSize::mib(8));
        session.repetitions = 20;
        let report = session.run(&Arc::new(TraceCollector::new()), &|_| {}).unwrap().report;
        assert_eq!((report.verified_tensors, report.aliasing_violations), (140, 0));
        assert_eq!(report.system_peak_bytes, Some(report.peak_committed_bytes));
    }
}

#[test]
fn models_too_many_for_the_memory_take_turns_in_it() {
    let mut models: Vec<Model> = ["x", "y", "z"].map(|name| filler(name, ByteSize::mb(4))).to_vec();
    models.iter_mut().for_each(|model| model.weights = ByteSize::mb(30));
    let device = Arc::new(SimulatedDevice::new(ByteSize::mib(80)));
    let mut session = session(device, models, Schedule::Sequential, ByteSize::mb(70));
    session.repetitions = 2;
    session.verify = Verify::Stride;
    let report = session.run(&Arc::new(TraceCollector::new()), &|_| {}).unwrap().report;
    assert_eq!((report.verified_tensors, report.aliasing_violations), (6, 0));
    let evictions = report.decisions.iter().filter(|e| matches!(e.event, Event::Evicted { .. })).count();
    assert!(evictions >= 4, "two of three fit: {evictions} evictions");
    assert!(report.peak_used_bytes <= ByteSize::mb(70));
    assert_eq!(report.used_after_release_bytes, ByteSize::ZERO);
}

#[test]
fn a_capacity_below_the_plan_is_refused_with_what_would_fit() {
    let run = |schedule, capacity| {
        let device = Arc::new(SimulatedDevice::new(ByteSize::gib(1)));
        let session = session(device, three_models(), schedule, capacity);
        session.run(&Arc::new(TraceCollector::new()), &|_| {}).unwrap_err()
    };
    let error = run(Schedule::Fixed, ByteSize::mb(320));
    let RunError::Capacity(shortage) = &error else { panic!("{error}") };
    let sequential = Alternative::Schedule { schedule: Schedule::Sequential, bytes: ByteSize::mb(300) };
    assert_eq!(shortage.alternatives[0], sequential);
    let text = error.to_string();
    assert!(text.contains("needs 350 MB") && text.contains("the sequential schedule would fit"), "{text}");
    assert!(!text.contains("--"), "no option of a program: {text}");
    let text = run(Schedule::Sequential, ByteSize::mb(200)).to_string();
    assert!(text.contains("B alone would fit (150 MB)"), "{text}");
}

/// Every commit fails once: each run ends in a typed error or recovers, and nothing is left.
#[test]
fn a_fault_at_every_commit_in_turn_leaves_the_pool_at_zero() {
    let mut models: Vec<Model> = ["x", "y", "z"].map(|name| filler(name, ByteSize::mb(4))).to_vec();
    models.iter_mut().for_each(|model| model.weights = ByteSize::mb(30));
    for schedule in [Schedule::Fixed, Schedule::Sequential, Schedule::Concurrent] {
        let mut ended = 0;
        for nth in 1.. {
            // One fault is survived by the pool's second try; two in a row are not.
            for repeat in [1, 2] {
                let mut builder = SimulatedDevice::builder(ByteSize::mib(128));
                for fault in nth..nth + repeat {
                    builder = builder.fault(Fault::CommitFails { nth: fault });
                }
                let device = Arc::new(builder.build());
                let mut session = session(device.clone(), models.clone(), schedule, ByteSize::mb(120));
                session.verify = Verify::Stride;
                let trace = Arc::new(TraceCollector::new());
                match session.run(&trace, &|_| {}) {
                    Ok(vramkit_ask::RunAnswer { report, .. }) => {
                        assert_eq!((report.verified_tensors, report.aliasing_violations), (3, 0));
                        assert_eq!(report.used_after_release_bytes, ByteSize::ZERO);
                    }
                    Err(error) => {
                        ended += 1;
                        assert!(matches!(error, RunError::Execution(ExecutionError::Bind(_))), "{error}");
                    }
                }
                let last = trace.events().iter().rev().find_map(|e| match e.event {
                    Event::Trimmed { committed_bytes, .. } => Some(committed_bytes),
                    _ => None,
                });
                assert_eq!(last, Some(ByteSize::ZERO));
                assert_eq!(device.memory().committed_bytes.value, Some(ByteSize::ZERO));
                if repeat == 2 && device.commits() < nth {
                    assert!(ended > 0, "two faults in a row end a run");
                    break;
                }
            }
            if nth > 12 {
                break;
            }
        }
    }
}

#[test]
fn a_lost_device_ends_a_run_with_an_error_not_a_hang() {
    for from_operation in 1..40 {
        let device = SimulatedDevice::builder(ByteSize::gib(1)).fault(Fault::Lost { from_operation }).build();
        let session = session(Arc::new(device), three_models(), Schedule::Fixed, ByteSize::mb(800));
        let mut session = session;
        session.verify = Verify::Stride;
        let outcome = session.run(&Arc::new(TraceCollector::new()), &|_| {});
        if let Err(error) = outcome {
            assert!(error.to_string().contains("lost"), "{error}");
        }
    }
}

#[test]
fn other_processes_taking_memory_is_an_error_with_numbers() {
    let device = SimulatedDevice::builder(ByteSize::gib(1))
        .fault(Fault::OthersHold { from_operation: 0, bytes: ByteSize::mib(900) })
        .build();
    let session = session(Arc::new(device), three_models(), Schedule::Fixed, ByteSize::mb(800));
    let error = session.run(&Arc::new(TraceCollector::new()), &|_| {}).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("sim has no memory for 334 MiB more: 124 MiB available of 1 GiB"), "{text}");
}

#[test]
fn the_trace_is_json_lines_and_a_file_that_perfetto_opens() {
    let trace = Arc::new(TraceCollector::new());
    let device = Arc::new(SimulatedDevice::new(ByteSize::gib(1)));
    let mut session = session(device, three_models(), Schedule::Fixed, ByteSize::mb(360));
    session.verify = Verify::Stride;
    let report = session.run(&trace, &|_| {}).unwrap().report;
    assert_eq!(
        report.levels[&PressureLevel::Normal] + report.levels[&PressureLevel::Critical],
        report.levels.values().sum::<u64>()
    );
    assert!(report.level_changes >= 2, "350 of 360 MB is critical");
    let mut lines = Vec::new();
    trace.write_json_lines(&mut lines).unwrap();
    let kinds: Vec<String> = String::from_utf8(lines)
        .unwrap()
        .lines()
        .enumerate()
        .map(|(i, line)| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["sequence"], i);
            event["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    for kind in ["plan_generated", "bound", "pressure_changed", "policy_applied", "released", "trimmed"] {
        assert!(kinds.iter().any(|found| found == kind), "{kind} is not among {kinds:?}");
    }
    let mut perfetto = Vec::new();
    trace.write_perfetto(&mut perfetto).unwrap();
    let perfetto: serde_json::Value = serde_json::from_slice(&perfetto).unwrap();
    let events = perfetto["traceEvents"].as_array().unwrap();
    for phase in ["M", "X", "i", "C"] {
        assert!(events.iter().any(|event| event["ph"] == phase), "{phase}");
    }
    for event in events {
        assert!(event["ph"] == "M" || event["ts"].is_number());
        assert!(event["ph"] != "X" || event["dur"].is_number());
    }
}
