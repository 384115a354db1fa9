//! What a checked run finds, and what a run does between its turns.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::*;

fn weighty(name: &str) -> Model {
    Model { weights: ByteSize::mb(4), ..model(name, &[("in", 0, 2, 1), ("out", 1, 3, 1)]) }
}

/// Binds one model with weights, which a loader fills if there is one.
fn bound(loaded: bool) -> (MemoryOrchestrator, Arc<AllocationPlan>) {
    let orchestrator = orchestrator(ByteSize::mb(100));
    let plan = orchestrator.plan(&[weighty("m")], Schedule::Fixed).unwrap();
    if loaded {
        orchestrator.on_load("m", |load| Ok(load.fill(0x0101_0101)?));
    }
    orchestrator.bind("m", &plan).unwrap();
    (orchestrator, plan)
}

/// Runs once, and spoils a byte of the weights after the first step.
fn run_and_spoil(
    orchestrator: &MemoryOrchestrator,
    plan: &Arc<AllocationPlan>,
    verify: Verify,
    at: Option<u64>,
) -> Vec<(Arc<str>, u64)> {
    let steps = AtomicU64::new(0);
    let report = execute(orchestrator, plan, 1, verify, &|n| {
        if let Some(at) = at.filter(|_| steps.fetch_add(n, SeqCst) == 0) {
            let (binding, mut byte) = (orchestrator.binding("m").unwrap(), [0]);
            binding.read_weights(at, &mut byte).unwrap();
            binding.write_weights(at, &[!byte[0]]).unwrap();
        }
    })
    .unwrap();
    assert_eq!(report.verified_tensors, 2, "the tensors are intact, whatever the weights are");
    assert_eq!(report.aliasing_violations, report.violations.len() as u64);
    report.violations.iter().map(|violation| (violation.tensor.clone(), violation.at)).collect()
}

#[test]
fn weights_that_nobody_loads_get_a_pattern_which_is_watched() {
    let (orchestrator, plan) = bound(false);
    let binding = orchestrator.binding("m").unwrap();
    binding.fill_weights(0).unwrap();
    let mut bytes = [0; 8];
    assert_eq!(run_and_spoil(&orchestrator, &plan, Verify::Full, None), []);
    binding.read_weights(3_999_992, &mut bytes).unwrap();
    assert_ne!(bytes, [0; 8], "they hold the pattern");
    for at in [0, 2_000_001, 3_999_999] {
        let found = run_and_spoil(&orchestrator, &plan, Verify::Full, Some(at));
        assert_eq!(found, [("weights".into(), at)]);
    }
}

#[test]
fn weights_that_a_loader_brought_are_left_alone_and_watched() {
    let (orchestrator, plan) = bound(true);
    for verify in [Verify::Full, Verify::Stride] {
        assert_eq!(run_and_spoil(&orchestrator, &plan, verify, None), []);
    }
    let mut last = [0; 4];
    orchestrator.binding("m").unwrap().read_weights(3_999_996, &mut last).unwrap();
    assert_eq!(last, [1; 4]);
    for at in [0, 63, 1 << 20, 3_999_999] {
        assert_eq!(run_and_spoil(&orchestrator, &plan, Verify::Full, Some(at)), [("weights".into(), 0)]);
    }
}

/// 64 bytes of each page are looked at.
#[test]
fn a_stride_looks_at_the_beginning_of_each_page_alone() {
    const PAGE: u64 = 5 * 4096;
    let (orchestrator, plan) = bound(true);
    let spoilt = |at| !run_and_spoil(&orchestrator, &plan, Verify::Stride, Some(at)).is_empty();
    assert_eq!([PAGE - 1, PAGE, PAGE + 63, PAGE + 64].map(spoilt), [false, true, true, false]);
    // What nobody loads is looked at by the pool, by the same stride.
    let (orchestrator, plan) = bound(false);
    let spoilt = |at| !run_and_spoil(&orchestrator, &plan, Verify::Stride, Some(at)).is_empty();
    assert_eq!([PAGE, PAGE + 2048].map(spoilt), [true, false]);
}

/// Two models in turn, of two tensors that a broken plan puts in one place: `x` is overwritten before it is read.
#[test]
fn all_violations_are_counted_and_the_first_thousand_listed() {
    let orchestrator = orchestrator(ByteSize::mb(8));
    let pair = ["a", "b"].map(|name| {
        let mut model = model(name, &[("x", 0, 3, 1), ("y", 1, 3, 1)]);
        model.tensors.iter_mut().for_each(|tensor| tensor.size = ByteSize::new(256));
        model
    });
    let good = orchestrator.plan(&pair, Schedule::Sequential).unwrap();
    let mut broken = (*good).clone();
    broken.offsets.fill(ByteSize::ZERO);
    let broken = Arc::new(broken);
    for model in ["a", "b"] {
        orchestrator.bind(model, &broken).unwrap();
    }
    let report = execute(&orchestrator, &broken, 600, Verify::Full, &|_| {}).unwrap();
    assert_eq!((report.aliasing_violations, report.verified_tensors), (1200, 1200));
    let of_a = report.violations.iter().take_while(|violation| &*violation.model == "a").count();
    assert_eq!((report.violations.len(), of_a), (1000, 600), "in the plan's order");
    assert!(report.violations.iter().all(|violation| &*violation.tensor == "x"));
}

#[test]
fn a_rehearsed_run_binds_and_touches_nothing() {
    let orchestrator = orchestrator(ByteSize::mb(100));
    let plan = orchestrator.plan(&[weighty("m"), weighty("n")], Schedule::Sequential).unwrap();
    orchestrator.bind("m", &plan).unwrap().fill_weights(0).unwrap();
    let run = |verify| execute_or_rehearse(&orchestrator, &plan, 1, verify, &|_| {}).unwrap();
    assert_eq!(run(None), ExecutionReport::default());
    assert_eq!(orchestrator.bound().len(), 2, "the other one was bound in its turn");
    let mut bytes = [1; 8];
    orchestrator.binding("m").unwrap().read_weights(0, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 8]);
    assert_eq!(run(Some(Verify::Stride)).verified_tensors, 4);
    // A checked run has written: to each model a pattern of its own.
    let weights = ["m", "n"].map(|name| {
        orchestrator.binding(name).unwrap().read_weights(0, &mut bytes).unwrap();
        bytes
    });
    assert!(weights[0] != [0; 8] && weights[0] != weights[1], "{weights:?}");
}

#[test]
fn models_of_a_sequential_plan_are_bound_in_their_turn_and_others_must_be_bound() {
    for schedule in [Schedule::Sequential, Schedule::Fixed, Schedule::Concurrent] {
        let orchestrator = orchestrator(ByteSize::mb(8));
        let plan = orchestrator.plan(&[filler("a", ByteSize::mb(1)), filler("b", ByteSize::mb(1))], schedule);
        let outcome = execute(&orchestrator, &plan.unwrap(), 2, Verify::Full, &|_| {});
        match schedule {
            Schedule::Sequential => {
                assert_eq!(outcome.unwrap().verified_tensors, 4);
                assert_eq!(names(&orchestrator.bound()), ["a", "b"]);
            }
            _ => assert!(matches!(outcome, Err(ExecutionError::NotBound(_))), "{schedule}: {outcome:?}"),
        }
    }
}

#[test]
fn between_the_turns_of_a_sequential_plan_memory_is_sampled_and_pressure_handled() {
    // At 0.4 there is none, at 0.8 there is.
    for (mb, logged) in [(40, 0), (80, 6)] {
        for schedule in [Schedule::Sequential, Schedule::Fixed] {
            let orchestrator = orchestrator(ByteSize::mb(100))
                .with_ladder(PolicyLadder::always(PressurePolicy::Log))
                .unwrap();
            let pair = [filler("a", ByteSize::mb(mb)), filler("b", ByteSize::mb(mb))];
            let plan = match schedule {
                Schedule::Sequential => orchestrator.plan(&pair, schedule).unwrap(),
                _ => orchestrator.plan(&pair[..1], schedule).unwrap(),
            };
            for summary in &plan.models {
                orchestrator.bind(&summary.name, &plan).unwrap();
            }
            let (before, _) = orchestrator.readings();
            execute_with(&orchestrator, &plan, 3, |_| Idle, &|_| {}).unwrap();
            let (after, _) = orchestrator.readings();
            let events = orchestrator.trace().events();
            let applied =
                events.iter().filter(|noted| matches!(noted.event, Event::PolicyApplied { .. })).count();
            let turns = if schedule == Schedule::Sequential { 6 } else { 0 };
            assert_eq!(orchestrator.trace().samples().len(), turns, "{schedule}");
            assert_eq!(applied, logged.min(turns), "{schedule} at {mb} MB");
            if logged == 0 {
                assert_eq!(after[0] - before[0], turns as u64, "read once a turn");
            }
        }
    }
}

/// When each of its repetitions began.
#[derive(Default)]
struct Clocks(Vec<(u32, Step)>);

impl Work for Clocks {
    fn begin(&mut self, run: &ModelRun<'_>) -> Result<(), WorkError> {
        self.0.push((run.repetition(), run.clock()));
        Ok(())
    }

    fn step(&mut self, _: &ModelRun<'_>, _: &StepTensors) -> Result<(), WorkError> {
        Ok(())
    }
}

#[test]
fn repetitions_follow_one_another_on_the_clock() {
    let (orchestrator, plan) = bound(false);
    let executed = execute_with(&orchestrator, &plan, 3, |_| Clocks::default(), &|_| {}).unwrap();
    assert_eq!(executed.works[0].0, [(0, Step(0)), (1, Step(3)), (2, Step(6))]);
}
