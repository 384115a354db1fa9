//! A dry run decides what a run decides.

use super::*;

/// Three models of which two fit, one that can make do with less, and a ladder with everything.
fn crowded(dry_run: bool, device: Arc<dyn Backing>) -> Session {
    let models = ["a", "b", "c"].map(|name| {
        let mut model = model(name, &[("x", 0, 3, 10)]);
        model.weights = ByteSize::mb(40);
        model
    });
    let mut session = session(device, models.to_vec(), Schedule::Sequential, ByteSize::mb(100));
    session.models[1].degrade_to_ratio = Some(0.5);
    let rung = |level, enter, policies: &[PressurePolicy]| Rung {
        level,
        enter,
        exit: None,
        dwell_seconds: 0.0,
        policies: policies.to_vec(),
        cooldown_seconds: 0.0,
    };
    session.ladder = PolicyLadder {
        rungs: vec![
            rung(PressureLevel::Elevated, 0.70, &[PressurePolicy::Log, PressurePolicy::Degrade]),
            rung(PressureLevel::Critical, 0.90, &[PressurePolicy::Compact, PressurePolicy::Evict]),
        ],
        patience: 2,
    };
    (session.repetitions, session.verify, session.dry_run) = (2, Verify::Stride, dry_run);
    session
}

/// What was decided, without times.
fn decisions(report: &RunReport) -> Vec<serde_json::Value> {
    let timeless = |decision: &TraceEvent| {
        let mut value = serde_json::to_value(decision).unwrap();
        let fields = value.as_object_mut().unwrap();
        for name in ["at_seconds", "elapsed_seconds", "done", "dry_run"] {
            fields.remove(name);
        }
        value
    };
    report.decisions.iter().map(timeless).collect()
}

fn ran(session: Session) -> RunReport {
    session.run(&Arc::new(TraceCollector::new()), &|_| {}).unwrap().report
}

#[test]
fn a_dry_run_decides_what_a_run_decides_and_takes_nothing() {
    let device = || Arc::new(SimulatedDevice::new(ByteSize::mib(96)));
    let real = ran(crowded(false, device()));
    let untouched = device();
    let dry = ran(crowded(true, untouched.clone()));
    assert_eq!(decisions(&dry), decisions(&real));
    let evictions = dry.decisions.iter().filter(|e| matches!(e.event, Event::Evicted { .. }));
    assert_eq!(evictions.count(), 4);
    assert!(dry.decisions[0].done, "planning takes nothing");
    assert!(dry.decisions[1..].iter().all(|decision| !decision.done));
    assert!(real.decisions.iter().all(|decision| decision.done));
    assert_eq!((&dry.levels, dry.level_changes), (&real.levels, real.level_changes));
    assert_eq!(dry.peak_used_bytes, real.peak_used_bytes);
    assert_eq!((dry.peak_committed_bytes, dry.verified_tensors), (ByteSize::ZERO, 0));
    assert!(dry.samples.iter().all(|sample| sample.committed_bytes.is_zero()));
    assert_eq!((untouched.commits(), untouched.memory().committed_bytes.value), (0, Some(ByteSize::ZERO)));
}

#[test]
fn so_it_does_under_every_schedule_and_when_a_model_is_refused() {
    for schedule in [Schedule::Fixed, Schedule::Sequential, Schedule::Concurrent] {
        let run = |dry_run| {
            let device = Arc::new(SimulatedDevice::new(ByteSize::mib(800)));
            let mut session = session(device, three_models(), schedule, ByteSize::mb(710));
            (session.verify, session.dry_run) = (Verify::Stride, dry_run);
            ran(session)
        };
        assert_eq!(decisions(&run(true)), decisions(&run(false)), "{schedule}");
    }
    // A model that may not be evicted leaves too little for the next.
    let refused = |dry_run| {
        let mut session = crowded(dry_run, Arc::new(SimulatedDevice::new(ByteSize::mib(96))));
        session.models.iter_mut().for_each(|model| model.standing.pinned = true);
        let trace = Arc::new(TraceCollector::new());
        let error = session.run(&trace, &|_| {}).unwrap_err();
        (error.to_string(), trace.events().iter().map(|e| e.event.describe().0).collect::<Vec<_>>())
    };
    assert_eq!(refused(true), refused(false));
    assert!(refused(true).1.contains(&"rejected".to_owned()));
}

#[test]
fn a_dry_run_does_not_count_on_memory_that_is_not_there() {
    let device = SimulatedDevice::builder(ByteSize::mib(96)).fault(Fault::Lost { from_operation: 1 }).build();
    assert_eq!(ran(crowded(true, Arc::new(device))).used_after_release_bytes, ByteSize::ZERO);
}
