//! Who gets memory, when, and what those are told who do not.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;

use vramkit::pool::{PoolError, Request};
use vramkit_testing::faulty;

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// Over a device that cannot move memory behind its addresses: what is free in pieces stays in pieces.
fn in_pieces(capacity: ByteSize) -> MemoryOrchestrator {
    let device = Arc::new(SimulatedDevice::builder(capacity).virtual_memory(false).build());
    MemoryOrchestrator::new(Arc::new(DeviceMemoryPool::new(device, capacity).unwrap()))
}

fn plan_of(orchestrator: &MemoryOrchestrator, model: Model) -> Arc<AllocationPlan> {
    orchestrator.plan(&[model], Schedule::Fixed).unwrap()
}

fn bind(orchestrator: &MemoryOrchestrator, name: &str, size: ByteSize) {
    orchestrator.bind(name, &plan_of(orchestrator, filler(name, size))).unwrap();
}

/// A model with weights beside its one tensor.
fn weighty(name: &str, size: ByteSize, weights: ByteSize) -> Model {
    Model { weights, ..filler(name, size) }
}

/// How long models were recorded to have waited, and whether they got their memory then.
fn waits(orchestrator: &MemoryOrchestrator) -> Vec<(f64, bool)> {
    let events = orchestrator.trace().events();
    let waits = events.iter().filter_map(|noted| match noted.event {
        Event::Stalled { waited_seconds, recovered, .. } => Some((waited_seconds, recovered)),
        _ => None,
    });
    waits.collect()
}

#[test]
fn the_pool_knows_an_arena_by_the_models_of_its_plan() {
    let orchestrator = orchestrator(ByteSize::mib(100));
    let pair = ["x", "y"].map(|name| weighty(name, ByteSize::mib(8), ByteSize::mib(4)));
    let plan = orchestrator.plan(&pair, Schedule::Sequential).unwrap();
    orchestrator.bind("x", &plan).unwrap();
    bind(&orchestrator, "alone", ByteSize::mib(1));
    let owners = orchestrator.pool().owners();
    let owners: Vec<_> =
        owners.iter().map(|owner| (owner.model.to_string(), owner.purpose, owner.granted_bytes)).collect();
    assert_eq!(
        owners,
        [
            ("x+y".to_owned(), Purpose::Activation, ByteSize::mib(8)),
            ("x".to_owned(), Purpose::Weights, ByteSize::mib(4)),
            ("alone".to_owned(), Purpose::Activation, ByteSize::mib(1)),
        ]
    );
}

#[test]
fn a_device_without_memory_is_not_a_pool_that_is_full() {
    let (orchestrator, faults) = faulty(ByteSize::mib(1), 0..usize::MAX, |_| ());
    let plan = plan_of(&orchestrator, filler("m", ByteSize::new(64 << 10)));
    match orchestrator.bind("m", &plan) {
        Err(BindError::Pool { error: PoolError::OutOfMemory(error), .. }) => {
            assert!(error.device_error.is_some(), "{error:?}");
        }
        unexpected => panic!("{unexpected:?}"),
    }
    // No policy makes room for what the device refuses.
    assert!(matches!(orchestrator.admit("m", &plan, Duration::ZERO), Err(BindError::Pool { .. })));
    assert!(faults.commits() > 0);
    assert_eq!((orchestrator.pool().used(), orchestrator.bound().len()), (ByteSize::ZERO, 0));
}

#[test]
fn a_refusal_says_what_this_binding_would_have_taken() {
    let orchestrator = orchestrator(ByteSize::mib(100));
    let pair = [
        weighty("small", ByteSize::mib(8), ByteSize::mib(1)),
        weighty("large", ByteSize::mib(8), ByteSize::mib(95)),
    ];
    let plan = orchestrator.plan(&pair, Schedule::Sequential).unwrap();
    orchestrator.bind("small", &plan).unwrap();
    // The arena is there: the weights are missing. Then all of it is.
    for (missing, left) in [(95, 91), (103, 100)] {
        let error = orchestrator.bind("large", &plan).unwrap_err();
        match &error {
            BindError::InsufficientMemory { needed, available, .. } => {
                assert_eq!((*needed, *available), (ByteSize::mib(missing), ByteSize::mib(left)));
            }
            unexpected => panic!("{unexpected:?}"),
        }
        let more = ByteSize::mib(missing - left);
        let advice = format!("release or evict {more} more, or plan with fewer models");
        assert!(error.to_string().ends_with(&advice), "{error}");
        match &orchestrator.trace().events().last().unwrap().event {
            Event::Rejected { model, needed_bytes, reason, .. } => {
                assert_eq!((&**model, *needed_bytes), ("large", ByteSize::mib(missing)));
                assert_eq!(*reason, error.to_string());
            }
            unexpected => panic!("{unexpected:?}"),
        }
        orchestrator.release("small");
    }
    assert_eq!(orchestrator.pool().stats().failures, 0, "the pool was not even asked");
}

#[test]
fn a_model_with_a_loader_is_recorded_with_all_that_it_took() {
    let orchestrator = orchestrator(ByteSize::mib(100));
    let plan = plan_of(&orchestrator, weighty("m", ByteSize::mib(8), ByteSize::mib(4)));
    orchestrator.on_load("m", |load| Ok(load.fill(0x0706_0504)?));
    let binding = orchestrator.bind("m", &plan).unwrap();
    let mut last = [0; 4];
    binding.read_weights((4 << 20) - 4, &mut last).unwrap();
    assert_eq!(last, [4, 5, 6, 7]);
    let events = orchestrator.trace().events();
    let bound = events.iter().find_map(|noted| match noted.event {
        Event::Bound { granted_bytes, used_bytes, .. } => Some((granted_bytes, used_bytes)),
        _ => None,
    });
    assert_eq!(bound, Some((ByteSize::mib(12), ByteSize::mib(12))));
}

#[test]
fn an_arena_begins_where_its_tensors_may() {
    let orchestrator = orchestrator(ByteSize::mib(8));
    // What comes first in the pool is not in the way of it.
    let before = orchestrator.pool().allocate(Request::new(ByteSize::new(256))).unwrap();
    let mut model = filler("m", ByteSize::mib(1));
    model.tensors[0].alignment = 1 << 16;
    orchestrator.bind("m", &plan_of(&orchestrator, model)).unwrap();
    let place = orchestrator.begin("m").unwrap().place("m.all").unwrap();
    assert!(place.base.is_multiple_of(1 << 16), "{place}");
    drop(before);
}

#[test]
fn models_between_free_pieces_make_one_piece_of_them_at_once() {
    let orchestrator = in_pieces(ByteSize::mib(64));
    for name in ["a", "b", "c", "d"] {
        bind(&orchestrator, name, ByteSize::mib(12));
    }
    orchestrator.release("b");
    // 12 MiB are free, and 16 at the end; with the least recently used gone, 36 in one piece.
    let plan = plan_of(&orchestrator, filler("large", ByteSize::mib(24)));
    let (_, waited) = orchestrator.admit("large", &plan, Duration::ZERO).unwrap();
    assert_eq!((waited, names(&orchestrator.bound())), (Duration::ZERO, vec!["d", "large"]));
    assert_eq!(waits(&orchestrator), [], "nobody has waited");
}

#[test]
fn room_is_made_again_until_the_pieces_join_or_patience_ends() {
    let orchestrator = in_pieces(ByteSize::mib(64));
    let name = |i: u32| format!("m{i}");
    (0..16).for_each(|i| bind(&orchestrator, &name(i), ByteSize::mib(4)));
    // Every other one is used again, so those that go first leave pieces that do not touch.
    (1..16).step_by(2).for_each(|i| drop(orchestrator.begin(&name(i)).unwrap()));
    orchestrator.release("m0");
    orchestrator.release("m2");
    let plan = plan_of(&orchestrator, filler("large", ByteSize::mib(8)));
    let (_, waited) = orchestrator.admit("large", &plan, SOON).unwrap();
    assert_eq!(waited, Duration::ZERO);
    assert_eq!(names(&orchestrator.bound()), ["m5", "m7", "m9", "m11", "m13", "m15", "large"]);
}

#[test]
fn what_is_free_in_pieces_alone_is_no_room_and_the_wait_for_it_is_recorded() {
    let orchestrator = in_pieces(ByteSize::mib(64));
    let four = Request::new(ByteSize::mib(4));
    let mut blocks: Vec<_> = (0..16).map(|_| orchestrator.pool().allocate(four).ok()).collect();
    blocks.iter_mut().step_by(2).for_each(|block| *block = None);
    let plan = plan_of(&orchestrator, filler("m", ByteSize::mib(16)));
    let error = orchestrator.admit("m", &plan, Duration::from_millis(50)).unwrap_err();
    assert!(
        error.to_string().contains("; but in pieces, or not at the alignment that is asked for"),
        "{error}"
    );
    let waits = waits(&orchestrator);
    assert!(matches!(waits[..], [(waited, false)] if waited >= 0.05), "{waits:?}");
}

#[test]
fn who_is_refused_waits_and_asks_the_policies_once() {
    let rung = |level, enter, policy| Rung {
        level,
        enter,
        exit: None,
        dwell_seconds: 0.0,
        policies: vec![policy],
        cooldown_seconds: 0.0,
    };
    let rungs = vec![
        rung(PressureLevel::Elevated, 0.7, PressurePolicy::Reject),
        rung(PressureLevel::Critical, 0.9, PressurePolicy::Log),
    ];
    let orchestrator =
        orchestrator(ByteSize::mib(100)).with_ladder(PolicyLadder { rungs, patience: 2 }).unwrap();
    bind(&orchestrator, "held", ByteSize::mib(80));
    orchestrator.handle_pressure();
    let plan = plan_of(&orchestrator, filler("m", ByteSize::mib(10)));
    let error = orchestrator.admit("m", &plan, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, BindError::Rejected { .. }), "{error}");
    let events = orchestrator.trace().events();
    let applied = events.iter().filter_map(|noted| match noted.event {
        Event::PolicyApplied { policy, .. } => Some(policy),
        _ => None,
    });
    assert_eq!(applied.collect::<Vec<_>>(), [PressurePolicy::Reject, PressurePolicy::Log]);
    // A release is what it waits for.
    std::thread::scope(|scope| {
        scope.spawn(|| orchestrator.release("held"));
        orchestrator.admit("m", &plan, SOON).unwrap();
    });
}

/// The first commit is the arena's; until it is there nobody has a share of it.
#[test]
fn who_joins_while_the_arena_is_being_made_waits_for_it() {
    let (begin, begun) = channel();
    let (tell, told) = channel();
    let (told, early) = (Mutex::new(told), Arc::new(AtomicBool::new(false)));
    let was_early = early.clone();
    let (orchestrator, _) = faulty(ByteSize::mib(1), 0..0, move |commit| {
        if commit == 0 {
            begin.send(()).unwrap();
            let told = told.lock().unwrap().recv_timeout(Duration::from_millis(200));
            was_early.store(told.is_ok(), SeqCst);
        }
    });
    let pair = [filler("first", ByteSize::new(64 << 10)), filler("second", ByteSize::new(64 << 10))];
    let plan = orchestrator.plan(&pair, Schedule::Sequential).unwrap();
    let (orchestrator, plan) = (&orchestrator, &plan);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            begun.recv_timeout(SOON).unwrap();
            orchestrator.bind("second", plan).unwrap();
            // Nobody listens any more once the arena is there.
            let _ = tell.send(());
        });
        orchestrator.bind("first", plan).unwrap();
    });
    assert!(!early.load(SeqCst), "bound to an arena that was not there");
    let arenas = ["first", "second"].map(|name| orchestrator.begin(name).unwrap().arena());
    assert!(arenas[0].is_some() && arenas[0] == arenas[1], "{arenas:?}");
}

fn applied(orchestrator: &MemoryOrchestrator) -> usize {
    let events = orchestrator.trace().events();
    events.iter().filter(|noted| matches!(noted.event, Event::PolicyApplied { .. })).count()
}

/// Nothing changes while it waits: its own attempts are no change either.
#[test]
fn who_waits_has_asked_the_policies_once() {
    let orchestrator = orchestrator(ByteSize::mib(100));
    bind(&orchestrator, "runs", ByteSize::mib(60));
    let _running = orchestrator.begin("runs").unwrap();
    let plan = plan_of(&orchestrator, filler("waits", ByteSize::mib(60)));
    orchestrator.admit("waits", &plan, Duration::from_millis(50)).unwrap_err();
    assert_eq!(applied(&orchestrator), 2, "both of the highest rung's");
    // So do two who wait beside each other.
    let before = applied(&orchestrator);
    std::thread::scope(|scope| {
        for name in ["one", "other"] {
            let (orchestrator, plan) =
                (&orchestrator, plan_of(&orchestrator, filler(name, ByteSize::mib(60))));
            scope.spawn(move || orchestrator.admit(name, &plan, Duration::from_millis(50)).unwrap_err());
        }
    });
    assert_eq!(applied(&orchestrator) - before, 4);
    // What is free in pieces is not to be had, however often it is looked at.
    let device = SimulatedDevice::builder(ByteSize::mib(64)).virtual_memory(false).build();
    let pool = DeviceMemoryPool::new(Arc::new(device), ByteSize::mib(64)).unwrap();
    let pieces = MemoryOrchestrator::new(Arc::new(pool));
    let four = Request::new(ByteSize::mib(4));
    let mut blocks: Vec<_> = (0..16).map(|_| pieces.pool().allocate(four).ok()).collect();
    blocks.iter_mut().step_by(2).for_each(|block| *block = None);
    let plan = plan_of(&pieces, filler("large", ByteSize::mib(16)));
    pieces.admit("large", &plan, Duration::from_millis(50)).unwrap_err();
    assert_eq!(applied(&pieces), 2);
}
