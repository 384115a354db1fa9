//! Plans bound to a pool, run, and dealt with when it fills.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

use std::sync::Arc;
use std::time::Duration;

use vramkit::ByteSize;
use vramkit::device::SimulatedDevice;
use vramkit::orchestrator::*;
use vramkit::plan::TensorLifetime;
use vramkit::plan::*;
use vramkit::pool::DeviceMemoryPool;
use vramkit::pool::Purpose;
use vramkit::pressure::Rung;
use vramkit::pressure::*;
use vramkit::trace::*;
use vramkit::units::Step;
use vramkit_testing::{fill_pool_to_fraction, filler, model, three_models};

mod admission;
mod checks;
mod lease;
mod policies;
mod work;

fn orchestrator(capacity: ByteSize) -> MemoryOrchestrator {
    let device = Arc::new(SimulatedDevice::new(capacity));
    MemoryOrchestrator::new(Arc::new(DeviceMemoryPool::new(device, capacity).unwrap()))
}

fn names(models: &[Arc<str>]) -> Vec<&str> {
    models.iter().map(|name| &**name).collect()
}

#[test]
fn planning_takes_nothing_binding_takes_the_arena_once_and_release_gives_it_back() {
    let orchestrator = orchestrator(ByteSize::mb(800));
    let plan = orchestrator.plan(&three_models(), Schedule::Fixed).unwrap();
    assert_eq!(orchestrator.pool().used(), ByteSize::ZERO);
    let arena = ByteSize::mb(350).checked_align_up(256).unwrap();
    for model in ["A", "B", "C"] {
        orchestrator.bind(model, &plan).unwrap();
        assert_eq!(orchestrator.pool().used(), arena, "one arena for all");
    }
    let nothing = Release { freed: ByteSize::ZERO, deferred: ByteSize::ZERO, was_bound: false };
    assert_eq!(orchestrator.release("A"), Release { was_bound: true, ..nothing });
    assert_eq!(orchestrator.release("A"), nothing);
    assert_eq!(orchestrator.release("B").freed, ByteSize::ZERO);
    assert_eq!(orchestrator.release("C").freed, arena, "with its last model the arena goes");
    assert_eq!(orchestrator.pool().used(), ByteSize::ZERO);
    assert_eq!(orchestrator.release("nobody"), nothing);
}

#[test]
fn what_cannot_be_bound_is_a_typed_error_that_changes_nothing() {
    let orchestrator = orchestrator(ByteSize::mb(400));
    let plan = orchestrator.plan(&three_models(), Schedule::Fixed).unwrap();
    let other = orchestrator.plan(&[filler("big", ByteSize::mb(100))], Schedule::Fixed).unwrap();
    orchestrator.bind("A", &plan).unwrap();
    let used = orchestrator.pool().used();
    assert!(matches!(orchestrator.bind("A", &plan), Err(BindError::AlreadyBound(_))));
    assert!(matches!(orchestrator.bind("A", &other), Err(BindError::NotInPlan { .. })));
    match orchestrator.bind("big", &other) {
        Err(BindError::InsufficientMemory { needed, available, capacity, .. }) => {
            assert_eq!((needed, capacity), (ByteSize::mb(100), ByteSize::mb(400)));
            assert_eq!(available, capacity - used);
        }
        unexpected => panic!("{unexpected:?}"),
    }
    assert_eq!(orchestrator.pool().used(), used);
    assert_eq!(names(&orchestrator.bound()), ["A"]);
    orchestrator.bind("B", &plan).unwrap();
}

#[test]
fn weights_are_each_models_own() {
    let orchestrator = orchestrator(ByteSize::mb(100));
    let mut models = vec![filler("x", ByteSize::mb(8)), filler("y", ByteSize::mb(8))];
    models.iter_mut().for_each(|model| model.weights = ByteSize::mb(16));
    let plan = orchestrator.plan(&models, Schedule::Sequential).unwrap();
    let x = orchestrator.bind("x", &plan).unwrap();
    let y = orchestrator.bind("y", &plan).unwrap();
    let (running_x, running_y) = (x.begin().unwrap(), y.begin().unwrap());
    assert_eq!(running_x.arena(), running_y.arena());
    assert_ne!(running_x.weights(), running_y.weights());
    drop((running_x, running_y));
    assert_eq!(orchestrator.pool().used(), ByteSize::mb(8 + 32));
    let owners = orchestrator.pool().owners();
    assert_eq!(owners.iter().filter(|owner| owner.purpose == Purpose::Weights).count(), 2);
    orchestrator.release("x");
    assert_eq!(orchestrator.pool().used(), ByteSize::mb(8 + 16));
}

#[test]
fn from_85_percent_evicting_brings_the_used_fraction_below() {
    let orchestrator =
        orchestrator(ByteSize::mib(64)).with_ladder(PolicyLadder::always(PressurePolicy::Evict)).unwrap();
    let fillers = fill_pool_to_fraction(&orchestrator, 0.85).unwrap();
    assert_eq!(orchestrator.current_pressure(), PressureLevel::Elevated);
    assert!((orchestrator.pool().used_fraction() - 0.85).abs() < 1e-4);
    let outcome = orchestrator.handle_pressure();
    assert!(orchestrator.pool().used_fraction() < 0.85);
    assert_eq!(orchestrator.current_pressure(), PressureLevel::Normal);
    let Action::Evicted(victims) = outcome.action else { panic!("{outcome:?}") };
    assert_eq!(victims, fillers[..victims.len()], "the least recently used went first");
    assert!(outcome.freed >= outcome.wanted);
}

/// Every policy, at both levels of the preset.
#[test]
fn every_policy_acts_at_every_level() {
    for (fraction, level) in [(0.75, PressureLevel::Elevated), (0.95, PressureLevel::Critical)] {
        for policy in [
            PressurePolicy::Log,
            PressurePolicy::Degrade,
            PressurePolicy::Compact,
            PressurePolicy::Evict,
            PressurePolicy::Reject,
        ] {
            let orchestrator =
                orchestrator(ByteSize::mib(100)).with_ladder(PolicyLadder::always(policy)).unwrap();
            // A pair that shares an arena, of which one has gone, and a model that can make do with half.
            let pair = [filler("small", ByteSize::mib(5)), filler("large", ByteSize::mib(40))];
            let plan = orchestrator.plan(&pair, Schedule::Sequential).unwrap();
            orchestrator.bind("small", &plan).unwrap();
            orchestrator.bind("large", &plan).unwrap();
            orchestrator.release("large");
            let flexible =
                orchestrator.plan(&[filler("flexible", ByteSize::mib(20))], Schedule::Fixed).unwrap();
            orchestrator.bind("flexible", &flexible).unwrap();
            orchestrator.on_degrade("flexible", |_| Some(filler("flexible", ByteSize::mib(10))));
            fill_pool_to_fraction(&orchestrator, fraction).unwrap();
            assert_eq!(orchestrator.current_pressure(), level);
            let used = orchestrator.pool().used();
            let outcome = orchestrator.handle_pressure();
            assert_eq!((outcome.policy, outcome.level), (Some(policy), level));
            assert_eq!(orchestrator.pool().used(), used - outcome.freed, "{policy} freed what it says");
            let newcomer =
                orchestrator.plan(&[filler("newcomer", ByteSize::mib(1))], Schedule::Fixed).unwrap();
            let bound = orchestrator.bind("newcomer", &newcomer);
            match (policy, outcome.action) {
                (PressurePolicy::Log, Action::Logged) => assert!(bound.is_ok()),
                (PressurePolicy::Degrade, Action::Degraded(models)) => {
                    assert_eq!(names(&models), ["flexible"]);
                    assert_eq!(outcome.freed, ByteSize::mib(10));
                    assert_eq!(orchestrator.binding("flexible").unwrap().plan.arena_size, ByteSize::mib(10));
                }
                (PressurePolicy::Compact, Action::Compacted(models)) => {
                    assert_eq!(names(&models), ["small"]);
                    assert_eq!(outcome.freed, ByteSize::mib(35));
                    assert_eq!(orchestrator.binding("small").unwrap().plan.arena_size, ByteSize::mib(5));
                }
                (PressurePolicy::Evict, Action::Evicted(models)) => {
                    assert_eq!(&*models[0], "small", "bound first, used least recently");
                }
                (PressurePolicy::Reject, Action::Rejecting) => {
                    assert!(
                        matches!(bound, Err(BindError::Rejected { level: at, .. }) if at == level),
                        "{bound:?}"
                    );
                    orchestrator.release("small");
                    for name in names(&orchestrator.bound()) {
                        orchestrator.release(name);
                    }
                    assert!(orchestrator.bind("newcomer", &newcomer).is_ok(), "refused only while it lasts");
                }
                (policy, action) => panic!("{policy}: {action:?}"),
            }
            for name in names(&orchestrator.bound()) {
                orchestrator.release(name);
            }
            assert_eq!(orchestrator.pool().used(), ByteSize::ZERO);
        }
    }
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    for policy in
        [PressurePolicy::Evict, PressurePolicy::Compact, PressurePolicy::Degrade, PressurePolicy::Reject]
    {
        let orchestrator = orchestrator(ByteSize::mb(100))
            .with_ladder(PolicyLadder::always(policy))
            .unwrap()
            .with_dry_run(true);
        fill_pool_to_fraction(&orchestrator, 0.95).unwrap();
        let used = orchestrator.pool().used();
        let outcome = orchestrator.handle_pressure();
        assert_eq!(outcome.freed > ByteSize::ZERO, policy == PressurePolicy::Evict);
        assert_eq!(orchestrator.pool().used(), used);
        let plan = orchestrator.plan(&[filler("more", ByteSize::mb(1))], Schedule::Fixed).unwrap();
        orchestrator.bind("more", &plan).unwrap();
        assert!(
            orchestrator
                .trace()
                .events()
                .iter()
                .any(|e| matches!(e.event, Event::PolicyApplied { dry_run: true, .. }))
        );
    }
}

#[test]
fn victims_go_by_priority_cost_and_last_use_and_running_or_pinned_ones_stay() {
    let orchestrator = orchestrator(ByteSize::mb(100));
    for name in ["old", "new", "precious", "dear", "busy", "pinned"] {
        let plan = orchestrator.plan(&[filler(name, ByteSize::mb(10))], Schedule::Fixed).unwrap();
        orchestrator.bind(name, &plan).unwrap();
    }
    orchestrator.set_standing("precious", Standing { priority: 5, ..Standing::default() });
    orchestrator.set_standing("dear", Standing { cost: Some(3.0), ..Standing::default() });
    orchestrator.set_standing("pinned", Standing { pinned: true, priority: -9, ..Standing::default() });
    drop(orchestrator.begin("old").unwrap()); // Used after "new".
    let busy = orchestrator.begin("busy").unwrap();
    let outcome = orchestrator.apply(PressurePolicy::Evict, ByteSize::mb(1000));
    let Action::Evicted(victims) = outcome.action else { panic!() };
    assert_eq!(names(&victims), ["new", "old", "dear", "precious"]);
    assert_eq!(orchestrator.apply(PressurePolicy::Evict, ByteSize::mb(1)).action, Action::NothingToEvict);
    drop(busy);
    let outcome = orchestrator.apply(PressurePolicy::Evict, ByteSize::mb(1));
    assert_eq!(outcome.action, Action::Evicted(vec!["busy".into()]));
}

#[test]
fn a_policy_that_frees_too_little_gives_way_and_cooldowns_are_kept() {
    let rung = Rung {
        level: PressureLevel::Elevated,
        enter: 0.7,
        exit: None,
        dwell_seconds: 0.0,
        policies: vec![PressurePolicy::Compact, PressurePolicy::Evict],
        cooldown_seconds: 0.0,
    };
    let mut ladder = PolicyLadder { rungs: vec![rung], patience: 2 };
    let orchestrator = orchestrator(ByteSize::mb(100)).with_ladder(ladder.clone()).unwrap();
    fill_pool_to_fraction(&orchestrator, 0.8).unwrap();
    assert_eq!(orchestrator.handle_pressure().action, Action::NothingToCompact);
    assert_eq!(orchestrator.handle_pressure().action, Action::NothingToCompact);
    assert!(matches!(orchestrator.handle_pressure().action, Action::Evicted(_)));
    assert!(orchestrator.trace().events().iter().any(|e| matches!(e.event, Event::Escalated { .. })));
    assert_eq!(orchestrator.handle_pressure().action, Action::NoPressure);

    ladder.rungs[0].cooldown_seconds = 3600.0;
    let orchestrator = self::orchestrator(ByteSize::mb(100)).with_ladder(ladder).unwrap();
    fill_pool_to_fraction(&orchestrator, 0.8).unwrap();
    orchestrator.handle_pressure();
    assert_eq!(orchestrator.handle_pressure().action, Action::CoolingDown);
}

#[test]
fn admission_makes_room_and_waits_for_a_release() {
    let orchestrator = orchestrator(ByteSize::mb(100));
    for name in ["a", "b"] {
        let plan = orchestrator.plan(&[filler(name, ByteSize::mb(45))], Schedule::Fixed).unwrap();
        orchestrator.bind(name, &plan).unwrap();
    }
    let plan = orchestrator.plan(&[filler("c", ByteSize::mb(45))], Schedule::Fixed).unwrap();
    let (_, waited) = orchestrator.admit("c", &plan, Duration::ZERO).unwrap();
    assert_eq!(waited, Duration::ZERO);
    assert_eq!(names(&orchestrator.bound()), ["b", "c"], "the least recently used made room");
    let running = (orchestrator.begin("b").unwrap(), orchestrator.begin("c").unwrap());
    let plan = orchestrator.plan(&[filler("d", ByteSize::mb(45))], Schedule::Fixed).unwrap();
    assert!(orchestrator.admit("d", &plan, Duration::ZERO).is_err(), "nobody can make room");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            drop(running);
            orchestrator.release("b");
        });
        let (_, waited) = orchestrator.admit("d", &plan, Duration::from_secs(20)).unwrap();
        assert!(waited > Duration::ZERO);
    });
    assert!(
        orchestrator
            .trace()
            .events()
            .iter()
            .any(|e| matches!(e.event, Event::Stalled { recovered: true, .. }))
    );
}

/// A plan that lets two live tensors overlap must not pass.
#[test]
fn a_broken_plan_is_caught() {
    for verify in [Verify::Stride, Verify::Full] {
        for (victim, offset) in [("T3", 150_000_000u64), ("T5", 0), ("T7", 100_000_128)] {
            let capacity = ByteSize::mb(800).checked_align_up(2 << 20).unwrap();
            let orchestrator = orchestrator(capacity);
            let mut models = three_models();
            for tensor in models.iter_mut().flat_map(|model| &mut model.tensors) {
                tensor.size = ByteSize::new(tensor.size.bytes() / 100);
            }
            let good = orchestrator.plan(&models, Schedule::Fixed).unwrap();
            assert!(good.is_valid(&good.tensors));
            let mut broken = (*good).clone();
            let i = broken.tensors.iter().position(|tensor| &*tensor.id == victim).unwrap();
            broken.offsets[i] = ByteSize::new(offset / 100 / 128 * 128);
            assert!(!broken.is_valid(&good.tensors), "{victim}");
            let broken = Arc::new(broken);
            for model in ["A", "B", "C"] {
                orchestrator.bind(model, &broken).unwrap();
            }
            let report = execute(&orchestrator, &broken, 1, verify, &|_| {}).unwrap();
            assert!(!report.violations.is_empty(), "{victim} at {offset}, {verify:?}");
            assert!(report.verified_tensors < 7);
            let seen = orchestrator.trace().events();
            assert!(seen.iter().any(|e| matches!(e.event, Event::AliasingViolation { .. })));
        }
    }
}

#[test]
fn operators_in_place_share_a_pattern() {
    let orchestrator = orchestrator(ByteSize::mib(16));
    let mut model = model("m", &[("in", 0, 2, 1), ("out", 1, 3, 1)]);
    model.tensors.iter_mut().for_each(|tensor| tensor.alias_group = Some("g".into()));
    let plan = orchestrator.plan(&[model], Schedule::Fixed).unwrap();
    assert_eq!(plan.arena_size, ByteSize::mb(1));
    orchestrator.bind("m", &plan).unwrap();
    let report = execute(&orchestrator, &plan, 2, Verify::Full, &|_| {}).unwrap();
    assert_eq!((report.verified_tensors, report.violations.len()), (4, 0));
}

#[test]
fn the_gate_keeps_to_the_clock_and_ends_waits_on_failure() {
    let gate = ExecutionGate::new(Schedule::Fixed, 2);
    let done = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in [3, 5] {
                gate.begin_step(1, Step(step)).unwrap();
                assert!(
                    done.load(std::sync::atomic::Ordering::SeqCst) >= step - 1,
                    "steps before {step} are done"
                );
            }
            gate.finish(1);
        });
        for step in 0..8 {
            gate.begin_step(0, Step(step)).unwrap();
            done.store(step, std::sync::atomic::Ordering::SeqCst);
        }
        gate.finish(0);
    });
    let gate = ExecutionGate::new(Schedule::Sequential, 2);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| gate.begin_turn(1));
        gate.begin_turn(0).unwrap();
        gate.fail();
        assert_eq!(waiting.join().unwrap(), Err(Aborted));
    });
    assert_eq!(gate.begin_turn(0), Err(Aborted));
}

/// The preset's two rungs, from which on each holds.
#[test]
fn the_preset_reads_elevated_from_70_and_critical_from_90_percent() {
    for (percent, level) in [
        (69, PressureLevel::Normal),
        (70, PressureLevel::Elevated),
        (89, PressureLevel::Elevated),
        (90, PressureLevel::Critical),
    ] {
        let orchestrator = orchestrator(ByteSize::mib(100));
        let plan = orchestrator.plan(&[filler("m", ByteSize::mib(percent))], Schedule::Fixed).unwrap();
        orchestrator.bind("m", &plan).unwrap();
        assert_eq!(orchestrator.current_pressure(), level, "{percent} %");
    }
}

#[test]
fn a_run_is_a_use() {
    let orchestrator = orchestrator(ByteSize::mib(100));
    for name in ["a", "b"] {
        let plan = orchestrator.plan(&[filler(name, ByteSize::mib(10))], Schedule::Fixed).unwrap();
        orchestrator.bind(name, &plan).unwrap();
    }
    let order = || orchestrator.bound().iter().map(|model| model.to_string()).collect::<Vec<_>>();
    assert_eq!(order(), ["a", "b"]);
    drop(orchestrator.begin("a").unwrap());
    assert_eq!(order(), ["b", "a"], "the run has used it last");
}

/// One policy by itself, whoever's turn it is.
#[test]
fn pressure_is_handled_by_the_policy_that_is_named() {
    let orchestrator = orchestrator(ByteSize::mib(64));
    let fillers = fill_pool_to_fraction(&orchestrator, 0.5).unwrap();
    let outcome = orchestrator.handle_pressure_by(PressurePolicy::Evict);
    assert_eq!((outcome.policy, outcome.action), (None, Action::NoPressure), "{} models stay", fillers.len());
    let orchestrator = self::orchestrator(ByteSize::mib(64));
    let fillers = fill_pool_to_fraction(&orchestrator, 0.95).unwrap();
    assert_eq!(orchestrator.handle_pressure_by(PressurePolicy::Log).action, Action::Logged);
    let outcome = orchestrator.handle_pressure_by(PressurePolicy::Evict);
    let Action::Evicted(victims) = outcome.action else { panic!("{outcome:?}") };
    assert_eq!(victims, fillers[..victims.len()]);
    assert!(outcome.freed >= outcome.wanted && !outcome.wanted.is_zero());
}
