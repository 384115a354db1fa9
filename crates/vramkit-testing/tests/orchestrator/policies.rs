//! What policies do, to the byte: how much they free, who goes first, what is recorded, and what a dry run
//! leaves alone.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use vramkit::pool::Request;

use super::*;

fn rung(level: PressureLevel, enter: f64, policies: &[PressurePolicy]) -> Rung<PressurePolicy> {
    let policies = policies.to_vec();
    Rung { level, enter, exit: None, dwell_seconds: 0.0, policies, cooldown_seconds: 0.0 }
}

fn with_rungs(capacity: ByteSize, rungs: Vec<Rung<PressurePolicy>>) -> MemoryOrchestrator {
    orchestrator(capacity).with_ladder(PolicyLadder { rungs, patience: 2 }).unwrap()
}

fn plan_of(orchestrator: &MemoryOrchestrator, name: &str, size: ByteSize) -> Arc<AllocationPlan> {
    orchestrator.plan(&[filler(name, size)], Schedule::Fixed).unwrap()
}

fn bind(orchestrator: &MemoryOrchestrator, name: &str, size: ByteSize) -> MemoryBinding {
    orchestrator.bind(name, &plan_of(orchestrator, name, size)).unwrap()
}

/// Binds a pair that shares an arena as large as the larger one.
fn bind_pair(
    orchestrator: &MemoryOrchestrator,
    small: (&str, ByteSize),
    large: (&str, ByteSize),
) -> Arc<AllocationPlan> {
    let models = [small, large].map(|(name, size)| filler(name, size));
    let plan = orchestrator.plan(&models, Schedule::Sequential).unwrap();
    models.iter().for_each(|model| drop(orchestrator.bind(&model.name, &plan).unwrap()));
    plan
}

/// The events that a test is after, with whether each was done.
fn noted<T>(orchestrator: &MemoryOrchestrator, pick: impl Fn(&Event) -> Option<T>) -> Vec<(bool, T)> {
    let events = orchestrator.trace().events();
    events.iter().filter_map(|noted| Some((noted.done, pick(&noted.event)?))).collect()
}

#[test]
fn just_enough_is_freed_to_leave_the_rung() {
    let rungs = vec![rung(PressureLevel::Elevated, 0.75, &[PressurePolicy::Evict])];
    let orchestrator = with_rungs(ByteSize::mib(100), rungs);
    for i in 0..16 {
        bind(&orchestrator, &format!("m{i}"), ByteSize::mib(5));
    }
    let outcome = orchestrator.handle_pressure();
    // With one less the pool would be at 0.75, which is on the rung.
    assert_eq!(outcome.wanted, ByteSize::mib(5) + ByteSize::new(1));
    assert_eq!((outcome.freed, orchestrator.pool().used()), (ByteSize::mib(10), ByteSize::mib(70)));
    assert_eq!(orchestrator.sample().level, PressureLevel::Normal);
}

#[test]
fn a_policy_that_is_not_there_to_free_anything_never_gives_way() {
    let rungs = vec![rung(PressureLevel::Elevated, 0.7, &[PressurePolicy::Log, PressurePolicy::Evict])];
    let orchestrator = with_rungs(ByteSize::mib(100), rungs);
    bind(&orchestrator, "m", ByteSize::mib(80));
    for _ in 0..5 {
        assert_eq!(orchestrator.handle_pressure().action, Action::Logged);
    }
    assert!(noted(&orchestrator, |event| matches!(event, Event::Escalated { .. }).then_some(())).is_empty());
}

#[test]
fn what_was_done_is_recorded_as_done_and_what_would_be_is_not() {
    for (dry_run, rehearsal) in [(false, false), (true, false), (false, true)] {
        let orchestrator = orchestrator(ByteSize::mb(100)).with_dry_run(dry_run).with_rehearsal(rehearsal);
        bind(&orchestrator, "a", ByteSize::mb(40));
        bind(&orchestrator, "b", ByteSize::mb(40));
        assert_eq!(orchestrator.apply(PressurePolicy::Evict, ByteSize::mb(50)).freed, ByteSize::mb(80));
        let applied = noted(&orchestrator, |event| match event {
            Event::PolicyApplied { outcome, dry_run, .. } => Some((outcome.clone(), *dry_run)),
            _ => None,
        });
        let only_said = dry_run || rehearsal;
        assert_eq!(applied, [(!only_said, ("evicted a, b".to_owned(), only_said))]);
        let bound = noted(&orchestrator, |event| matches!(event, Event::Bound { .. }).then_some(()));
        assert_eq!(bound, [(!rehearsal, ()); 2], "a dry run binds, a rehearsal binds elsewhere");
        let evicted = noted(&orchestrator, |event| matches!(event, Event::Evicted { .. }).then_some(()));
        assert_eq!(evicted, vec![(!rehearsal, ()); if dry_run { 0 } else { 2 }]);
    }
}

#[test]
fn every_action_has_its_words() {
    let models = || vec!["a".into(), "b".into()];
    for (action, words) in [
        (Action::NoPressure, "no pressure"),
        (Action::CoolingDown, "cooling down"),
        (Action::Logged, "logged"),
        (Action::Rejecting, "new bindings are refused"),
        (Action::Evicted(models()), "evicted a, b"),
        (Action::NothingToEvict, "nothing to evict"),
        (Action::Compacted(models()), "compacted a, b"),
        (Action::NothingToCompact, "nothing to compact"),
        (Action::Degraded(models()), "degraded a, b"),
        (Action::NothingToDegrade, "nothing to degrade"),
    ] {
        assert_eq!(action.to_string(), words);
    }
}

/// By [`PressureLevel::ALL`]: normal, elevated, high, critical.
#[test]
fn a_policy_that_acted_shows_in_the_level_and_a_dry_run_reads_nothing() {
    for dry_run in [false, true] {
        let orchestrator = orchestrator(ByteSize::mb(100)).with_dry_run(dry_run);
        bind(&orchestrator, "m", ByteSize::mb(80));
        assert_eq!(orchestrator.readings(), ([0, 1, 0, 0], 1));
        orchestrator.apply(PressurePolicy::Evict, ByteSize::mb(1));
        let (readings, level) = match dry_run {
            false => (([1, 1, 0, 0], 2), PressureLevel::Normal),
            true => (([0, 1, 0, 0], 1), PressureLevel::Elevated),
        };
        assert_eq!((orchestrator.readings(), orchestrator.sample().level), (readings, level));
    }
}

#[test]
fn compacting_gives_granules_back_to_the_device_and_a_dry_run_keeps_them() {
    for dry_run in [false, true] {
        let orchestrator = orchestrator(ByteSize::mib(100)).with_dry_run(dry_run);
        bind_pair(&orchestrator, ("small", ByteSize::mib(5)), ("large", ByteSize::mib(40)));
        orchestrator.release("large");
        let before = orchestrator.pool().committed();
        let outcome = orchestrator.apply(PressurePolicy::Compact, ByteSize::mib(1));
        assert_eq!(outcome.action, Action::Compacted(vec!["small".into()]));
        assert_eq!(outcome.freed, ByteSize::mib(35));
        let gone = before - orchestrator.pool().committed();
        let trimmed = noted(&orchestrator, |event| match event {
            Event::Trimmed { freed_bytes, .. } => Some(*freed_bytes),
            _ => None,
        });
        if dry_run {
            assert_eq!((gone, trimmed), (ByteSize::ZERO, vec![]));
        } else {
            assert!(gone >= ByteSize::mib(30), "{gone}");
            assert_eq!(trimmed, [(true, gone)]);
        }
    }
}

#[test]
fn trimming_says_what_went_back_to_the_device() {
    let orchestrator = orchestrator(ByteSize::mib(100));
    bind(&orchestrator, "m", ByteSize::mib(40));
    orchestrator.release("m");
    let committed = orchestrator.pool().committed();
    assert!(committed >= ByteSize::mib(40));
    assert_eq!(orchestrator.trim().unwrap(), committed);
    assert_eq!(orchestrator.trim().unwrap(), ByteSize::ZERO);
}

#[test]
fn a_sample_has_the_systems_view_where_there_is_a_system() {
    let simulated = orchestrator(ByteSize::mib(8));
    bind(&simulated, "m", ByteSize::mib(2));
    assert!(simulated.pool().resident().value.is_some(), "it says so of itself");
    assert_eq!(simulated.sample().system, None);
    let device = Arc::new(vramkit::device::HostDevice::new(ByteSize::mib(8)));
    let host = MemoryOrchestrator::new(Arc::new(DeviceMemoryPool::new(device, ByteSize::mib(8)).unwrap()));
    bind(&host, "m", ByteSize::mib(2)).fill("m.all", 1).unwrap();
    let resident = host.pool().resident().value;
    assert_eq!(host.sample().system.is_some(), resident.is_some());
}

#[test]
fn a_model_that_can_do_without_memory_gives_all_of_its_arena_back() {
    let orchestrator = orchestrator(ByteSize::mib(100));
    bind(&orchestrator, "m", ByteSize::mib(20));
    orchestrator.on_degrade("m", |request| Some(Model { tensors: Vec::new(), ..request.current.clone() }));
    let outcome = orchestrator.apply(PressurePolicy::Degrade, ByteSize::mib(1));
    assert_eq!(outcome.action, Action::Degraded(vec!["m".into()]));
    assert_eq!((outcome.freed, orchestrator.pool().used()), (ByteSize::mib(20), ByteSize::ZERO));
    assert_eq!(orchestrator.begin("m").unwrap().arena(), None);
}

#[test]
fn models_beside_one_that_runs_are_not_asked_for_less() {
    for dry_run in [false, true] {
        let orchestrator = orchestrator(ByteSize::mib(100)).with_dry_run(dry_run);
        bind_pair(&orchestrator, ("busy", ByteSize::mib(10)), ("idle", ByteSize::mib(10)));
        let asked = Arc::new(AtomicU32::new(0));
        for name in ["busy", "idle"] {
            let asked = asked.clone();
            orchestrator.on_degrade(name, move |request| {
                assert_eq!((&*request.model, request.is_dry_run), (name, dry_run));
                asked.fetch_add(1, SeqCst);
                Some(filler(name, ByteSize::mib(5)))
            });
        }
        let running = orchestrator.begin("busy").unwrap();
        let outcome = orchestrator.apply(PressurePolicy::Degrade, ByteSize::mib(1));
        assert_eq!((outcome.action, asked.load(SeqCst)), (Action::NothingToDegrade, 0));
        drop(running);
        let outcome = orchestrator.apply(PressurePolicy::Degrade, ByteSize::mib(1));
        assert_eq!(outcome.action, Action::Degraded(vec!["busy".into(), "idle".into()]));
        assert_eq!((outcome.freed, asked.load(SeqCst)), (ByteSize::mib(5), 2));
    }
}

#[test]
fn an_arena_whose_models_changed_while_they_were_asked_is_left_as_it_is() {
    let orchestrator = Arc::new(orchestrator(ByteSize::mib(100)));
    bind_pair(&orchestrator, ("a", ByteSize::mib(10)), ("b", ByteSize::mib(10)));
    let again = Arc::downgrade(&orchestrator);
    orchestrator.on_degrade("a", move |_| {
        again.upgrade().unwrap().release("b");
        Some(filler("a", ByteSize::mib(5)))
    });
    orchestrator.on_degrade("b", |_| Some(filler("b", ByteSize::mib(5))));
    let binding = orchestrator.binding("a").unwrap();
    let outcome = orchestrator.apply(PressurePolicy::Degrade, ByteSize::mib(1));
    assert_eq!((outcome.action, binding.stale()), (Action::NothingToDegrade, None));
    assert_eq!(orchestrator.pool().used(), ByteSize::mib(10));
}

#[test]
fn an_arena_that_a_released_models_run_still_uses_is_not_moved() {
    let orchestrator = orchestrator(ByteSize::mib(100));
    bind_pair(&orchestrator, ("small", ByteSize::mib(5)), ("large", ByteSize::mib(40)));
    let running = orchestrator.begin("large").unwrap();
    orchestrator.release("large");
    let small = orchestrator.binding("small").unwrap();
    for (policy, action) in [
        (PressurePolicy::Compact, Action::NothingToCompact),
        // Nor would it be free if the one that is left went.
        (PressurePolicy::Evict, Action::NothingToEvict),
    ] {
        let outcome = orchestrator.apply(policy, ByteSize::mib(1));
        assert_eq!((outcome.action, outcome.freed), (action, ByteSize::ZERO));
    }
    assert_eq!((small.stale(), orchestrator.pool().used()), (None, ByteSize::mib(40)));
    drop(running);
    assert_eq!(orchestrator.apply(PressurePolicy::Compact, ByteSize::mib(1)).freed, ByteSize::mib(35));
}

/// The cheapest a byte goes first, and of an arena that is shared a model holds its share.
#[test]
fn a_cost_is_spread_over_a_models_share_of_the_arena() {
    let orchestrator = orchestrator(ByteSize::mib(200));
    bind(&orchestrator, "dearer", ByteSize::mib(30));
    bind_pair(&orchestrator, ("x", ByteSize::mib(40)), ("y", ByteSize::mib(40)));
    bind(&orchestrator, "cheaper", ByteSize::mib(60));
    // For each MiB: 0.1, 0.05, 0.05 and 0.025.
    for (name, cost) in [("dearer", 3.0), ("x", 1.0), ("y", 1.0), ("cheaper", 1.5)] {
        orchestrator.set_standing(name, Standing { cost: Some(cost), ..Standing::default() });
    }
    let Action::Evicted(victims) = orchestrator.apply(PressurePolicy::Evict, ByteSize::mib(200)).action
    else {
        panic!("all of them are idle")
    };
    assert_eq!(names(&victims), ["cheaper", "x", "y", "dearer"]);
}

#[test]
fn nobody_goes_for_an_arena_that_a_model_being_bound_shares() {
    let orchestrator = Arc::new(orchestrator(ByteSize::mib(100)));
    let mut models = [filler("late", ByteSize::mib(10)), filler("idle", ByteSize::mib(10))];
    models[0].weights = ByteSize::mib(4);
    let plan = orchestrator.plan(&models, Schedule::Sequential).unwrap();
    orchestrator.bind("idle", &plan).unwrap();
    let again = Arc::downgrade(&orchestrator);
    orchestrator.on_load("late", move |_| {
        // Its weights are on their way: the arena is its own already.
        let outcome = again.upgrade().unwrap().apply(PressurePolicy::Evict, ByteSize::mib(50));
        assert_eq!(outcome.action, Action::NothingToEvict);
        Ok(())
    });
    orchestrator.bind("late", &plan).unwrap();
    assert_eq!(names(&orchestrator.bound()), ["idle", "late"]);
}

#[test]
fn room_that_compacting_makes_costs_nobody_a_binding() {
    let orchestrator = orchestrator(ByteSize::mib(100));
    bind_pair(&orchestrator, ("small", ByteSize::mib(5)), ("large", ByteSize::mib(40)));
    orchestrator.release("large");
    bind(&orchestrator, "other", ByteSize::mib(40));
    let plan = plan_of(&orchestrator, "new", ByteSize::mib(45));
    orchestrator.admit("new", &plan, Duration::ZERO).unwrap();
    assert_eq!(names(&orchestrator.bound()), ["small", "other", "new"]);
    assert_eq!(orchestrator.pool().used(), ByteSize::mib(5 + 40 + 45));
}

#[test]
fn room_that_is_made_below_the_rung_that_refuses_lifts_the_refusal() {
    let orchestrator = with_rungs(
        ByteSize::mib(100),
        vec![
            rung(PressureLevel::Elevated, 0.7, &[PressurePolicy::Reject]),
            rung(PressureLevel::Critical, 0.9, &[PressurePolicy::Compact, PressurePolicy::Evict]),
        ],
    );
    bind_pair(&orchestrator, ("small", ByteSize::mib(5)), ("large", ByteSize::mib(20)));
    orchestrator.release("large");
    bind(&orchestrator, "a", ByteSize::mib(40));
    bind(&orchestrator, "b", ByteSize::mib(25));
    assert_eq!(orchestrator.handle_pressure().action, Action::Rejecting);
    let plan = plan_of(&orchestrator, "new", ByteSize::mib(10));
    assert!(matches!(orchestrator.bind("new", &plan), Err(BindError::Rejected { .. })));
    // Compacting makes room enough, but 0.7 stay in use; the least recently used goes as well.
    orchestrator.admit("new", &plan, Duration::ZERO).unwrap();
    assert_eq!(names(&orchestrator.bound()), ["a", "b", "new"]);
}

#[test]
fn a_refusal_ends_when_what_is_no_bindings_has_gone_back() {
    let orchestrator = with_rungs(
        ByteSize::mib(100),
        vec![
            rung(PressureLevel::Elevated, 0.7, &[PressurePolicy::Reject]),
            rung(PressureLevel::Critical, 0.9, &[PressurePolicy::Log]),
        ],
    );
    let held = orchestrator.pool().allocate(Request::new(ByteSize::mib(80))).unwrap();
    assert_eq!(orchestrator.handle_pressure().action, Action::Rejecting);
    let plan = plan_of(&orchestrator, "m", ByteSize::mib(10));
    assert!(matches!(
        orchestrator.admit("m", &plan, Duration::ZERO),
        Err(BindError::Rejected { level: PressureLevel::Elevated, .. })
    ));
    drop(held);
    orchestrator.admit("m", &plan, Duration::ZERO).unwrap();
}

#[test]
fn nobody_goes_once_a_refusal_is_lifted_and_there_is_room() {
    let orchestrator = with_rungs(
        ByteSize::mib(100),
        vec![
            rung(PressureLevel::Elevated, 0.7, &[PressurePolicy::Reject]),
            rung(PressureLevel::Critical, 0.9, &[PressurePolicy::Compact, PressurePolicy::Evict]),
        ],
    );
    bind_pair(&orchestrator, ("small", ByteSize::mib(5)), ("large", ByteSize::mib(40)));
    orchestrator.release("large");
    bind(&orchestrator, "other", ByteSize::mib(40));
    orchestrator.handle_pressure();
    let plan = plan_of(&orchestrator, "new", ByteSize::mib(10));
    orchestrator.admit("new", &plan, Duration::ZERO).unwrap();
    let bound: Vec<String> = orchestrator.bound().iter().map(|model| model.to_string()).collect();
    assert_eq!(bound.len(), 3, "compacting was enough: {bound:?}");
}

#[test]
fn a_refusal_that_no_policy_could_lift_ends_with_its_reason() {
    let orchestrator =
        orchestrator(ByteSize::mib(100)).with_ladder(PolicyLadder::always(PressurePolicy::Reject)).unwrap();
    let held = orchestrator.pool().allocate(Request::new(ByteSize::mib(80))).unwrap();
    orchestrator.handle_pressure();
    let plan = plan_of(&orchestrator, "new", ByteSize::mib(10));
    assert!(matches!(orchestrator.bind("new", &plan), Err(BindError::Rejected { .. })));
    drop(held);
    orchestrator.bind("new", &plan).expect("nothing is used");
}

#[test]
fn a_dry_run_promises_nothing_that_a_released_models_run_holds() {
    let orchestrator = orchestrator(ByteSize::mib(100)).with_dry_run(true);
    bind_pair(&orchestrator, ("small", ByteSize::mib(5)), ("large", ByteSize::mib(40)));
    let _running = orchestrator.begin("large").unwrap();
    orchestrator.release("large");
    let outcome = orchestrator.apply(PressurePolicy::Compact, ByteSize::mib(1));
    assert_eq!((outcome.action, outcome.freed), (Action::NothingToCompact, ByteSize::ZERO));
}
