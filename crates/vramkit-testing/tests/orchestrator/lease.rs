//! Bindings that end, loaders that bring weights back, and who is told.

use std::sync::mpsc::{Receiver, channel};

use super::*;

/// One model of two tensors and weights, alone in a plan.
fn weighty(name: &str) -> Model {
    let mut model = model(name, &[("in", 0, 2, 1), ("out", 1, 3, 1)]);
    model.weights = ByteSize::mb(4);
    model
}

fn bound(orchestrator: &MemoryOrchestrator, model: Model) -> (MemoryBinding, Arc<AllocationPlan>) {
    let name = model.name.clone();
    let plan = orchestrator.plan(&[model], Schedule::Fixed).unwrap();
    (orchestrator.bind(&name, &plan).unwrap(), plan)
}

fn told(orchestrator: &MemoryOrchestrator, model: &str) -> Receiver<StaleNotice> {
    let (tell, told) = channel();
    orchestrator.on_evict(model, move |notice| tell.send(notice.clone()).unwrap());
    told
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_binding_reads_and_writes_its_own_and_nothing_else() {
    let orchestrator = orchestrator(ByteSize::mb(100));
    let (binding, _) = bound(&orchestrator, weighty("m"));
    binding.write("in", &[1, 2, 3]).unwrap();
    binding.write_weights(3_999_999, &[9]).unwrap();
    let (mut three, mut one) = ([0; 3], [0; 1]);
    binding.read("in", &mut three).unwrap();
    binding.read_weights(3_999_999, &mut one).unwrap();
    assert_eq!((three, one), ([1, 2, 3], [9]));
    binding.fill("out", 7).unwrap();
    let error = binding.write_weights(4_000_000, &[9]).unwrap_err();
    assert!(
        error.to_string().contains("the weights of model `m` has 4 MB: 1 bytes at byte 4000000"),
        "{error}"
    );
    assert!(matches!(binding.fill("other", 0), Err(AccessError::Nothing { .. })));
    let running = binding.begin().unwrap();
    assert!(matches!(running.write("in", 1_000_000, &[0]), Err(AccessError::OutOfBounds { .. })));
    assert_eq!(running.place("in").unwrap(), running.tensors().next().unwrap().1);
}

#[test]
fn a_stale_binding_never_reaches_what_is_anothers_by_now() {
    let orchestrator = orchestrator(ByteSize::mb(100));
    let (old, plan) = bound(&orchestrator, weighty("m"));
    orchestrator.release("m");
    // The same place, another's now, and then the same model again.
    let (other, _) = bound(&orchestrator, weighty("other"));
    other.fill_weights(1).unwrap();
    let error = old.fill_weights(2).unwrap_err();
    let stale = StaleBinding { model: "m".into(), why: StaleReason::Released };
    assert_eq!(error, AccessError::Stale(stale.clone()));
    assert!(error.to_string().contains("it was released; what it held is gone; bind it again"), "{error}");
    assert_eq!(old.begin().unwrap_err(), stale);
    orchestrator.release("other");
    let new = orchestrator.bind("m", &plan).unwrap();
    assert_eq!((old.stale(), new.stale()), (Some(StaleReason::Released), None));
    assert!(old.write("in", &[0]).is_err() && new.write("in", &[0]).is_ok());
    orchestrator.apply(PressurePolicy::Evict, ByteSize::mb(1));
    assert_eq!(new.stale(), Some(StaleReason::Evicted));
    let last = orchestrator.bind("m", &plan).unwrap();
    drop(orchestrator);
    assert_eq!(last.stale(), Some(StaleReason::Released));
    assert!(last.read("in", &mut [0]).is_err());
}

#[test]
fn compacting_and_degrading_end_bindings_and_give_new_ones() {
    let orchestrator = orchestrator(ByteSize::mb(100));
    let pair = [weighty("small"), filler("large", ByteSize::mb(40))];
    let plan = orchestrator.plan(&pair, Schedule::Sequential).unwrap();
    let before = orchestrator.bind("small", &plan).unwrap();
    before.fill_weights(5).unwrap();
    orchestrator.bind("large", &plan).unwrap();
    orchestrator.release("large");
    let notices = told(&orchestrator, "small");
    orchestrator.apply(PressurePolicy::Compact, ByteSize::mb(1));
    let notice = notices.recv_timeout(SOON).unwrap();
    assert_eq!((&*notice.model, notice.why), ("small", StaleReason::Compacted));
    let (two, forty) = (orchestrator.binding("small").unwrap().plan.arena_size, plan.arena_size);
    assert!(two < ByteSize::mb(3) && (forty - two).bytes().abs_diff(notice.freed.bytes()) < 512);
    let error = before.write("in", &[1]).unwrap_err();
    assert!(matches!(&error, AccessError::Stale(stale) if stale.why == StaleReason::Compacted));
    assert!(error.to_string().contains("ask the orchestrator for its new `binding`"), "{error}");
    let after = orchestrator.binding("small").unwrap();
    let mut weights = [0];
    after.read_weights(4, &mut weights).unwrap();
    assert_eq!(weights, [5], "weights stay");
    orchestrator.on_degrade("small", |_| Some(filler("small", ByteSize::mb(1))));
    orchestrator.apply(PressurePolicy::Degrade, ByteSize::mb(1));
    assert_eq!(notices.recv_timeout(SOON).unwrap().why, StaleReason::Degraded);
    assert_eq!(after.stale(), Some(StaleReason::Degraded));
    orchestrator.binding("small").unwrap().fill("small.all", 1).unwrap();
}

#[test]
fn what_runs_keeps_its_memory_even_when_it_is_released() {
    let orchestrator = orchestrator(ByteSize::mb(100));
    let (binding, plan) = bound(&orchestrator, weighty("m"));
    let running = binding.begin().unwrap();
    let all = orchestrator.pool().used();
    assert_eq!(orchestrator.release("m"), Release { freed: ByteSize::ZERO, deferred: all, was_bound: true });
    assert!(binding.fill_weights(1).is_err());
    running.fill_weights(2).unwrap();
    assert_eq!(orchestrator.pool().used(), all);
    // Bound again meanwhile, elsewhere; the end of the old run is not the end of a new one.
    let again = orchestrator.bind("m", &plan).unwrap();
    let running_again = again.begin().unwrap();
    assert_ne!(running.weights(), running_again.weights());
    // A guard borrows nothing, and goes to another thread.
    std::thread::spawn(move || drop(running)).join().unwrap();
    assert_eq!(orchestrator.pool().used(), all);
    assert_eq!(orchestrator.apply(PressurePolicy::Evict, ByteSize::mb(1)).action, Action::NothingToEvict);
    drop(running_again);
    assert_eq!(orchestrator.release("m").freed, all);
    assert_eq!(orchestrator.pool().used(), ByteSize::ZERO);
}

#[test]
fn a_guard_outlives_its_orchestrator() {
    let orchestrator = orchestrator(ByteSize::mb(100));
    let (binding, _) = bound(&orchestrator, weighty("m"));
    let (running, pool) = (binding.begin().unwrap(), orchestrator.pool().clone());
    drop(orchestrator);
    running.fill_weights(3).unwrap();
    drop(running);
    assert_eq!((pool.used(), binding.stale()), (ByteSize::ZERO, Some(StaleReason::Released)));
}

/// Threads write through bindings that others evict and bind again; each finds its own pattern or an error.
#[test]
fn writers_and_evictions_together_never_meet_in_one_place() {
    let orchestrator = orchestrator(ByteSize::mb(12));
    let names = ["a", "b", "c"];
    std::thread::scope(|scope| {
        for (i, name) in names.into_iter().enumerate() {
            let orchestrator = &orchestrator;
            scope.spawn(move || {
                let plan = orchestrator.plan(&[weighty(name)], Schedule::Fixed).unwrap();
                let mut held = Vec::new();
                for round in 0..200 {
                    if let Ok((binding, _)) = orchestrator.admit(name, &plan, Duration::ZERO) {
                        held.push(binding);
                    }
                    for binding in &held {
                        let (mine, mut found) = ([i as u8 + 1; 64], [0; 64]);
                        let Ok(running) = binding.begin() else { continue };
                        running.write_weights(round * 64, &mine).unwrap();
                        running.read_weights(round * 64, &mut found).unwrap();
                        assert_eq!(found, mine);
                    }
                    held.retain(|binding| binding.stale().is_none());
                    orchestrator.apply(PressurePolicy::Evict, ByteSize::mb(1));
                }
            });
        }
    });
    for name in names {
        orchestrator.release(name);
    }
    assert_eq!(orchestrator.pool().used(), ByteSize::ZERO);
}

#[test]
fn who_is_evicted_is_told_and_may_panic_bind_and_release() {
    let orchestrator = Arc::new(orchestrator(ByteSize::mb(100)));
    let plans: Vec<_> = ["a", "b"].map(|name| bound(&orchestrator, weighty(name)).1).into();
    let (all, of_all) = channel();
    orchestrator.on_evict("a", |_| panic!("by this test, in a callback"));
    let (again, plan, here) = (Arc::downgrade(&orchestrator), plans[0].clone(), std::thread::current().id());
    orchestrator.on_every_evict(move |notice| {
        assert_ne!(std::thread::current().id(), here, "not on the thread that evicts");
        if let Some(orchestrator) = again.upgrade().filter(|_| notice.why == StaleReason::Evicted) {
            orchestrator.bind("a", &plan).unwrap();
            orchestrator.release("a");
        }
        all.send(notice.clone()).unwrap();
    });
    orchestrator.apply(PressurePolicy::Evict, ByteSize::mb(6));
    let notice = of_all.recv_timeout(SOON).unwrap();
    assert_eq!((&*notice.model, notice.why), ("a", StaleReason::Evicted));
    assert!(notice.freed >= ByteSize::mb(6) && notice.trace.events().len() > 3);
    assert_eq!(of_all.recv_timeout(SOON).unwrap().why, StaleReason::Released, "by the callback");
    orchestrator.release("b");
    assert_eq!(&*of_all.recv_timeout(SOON).unwrap().model, "b", "the thread begins anew");
}

#[test]
fn a_loader_brings_the_weights_back_at_every_bind() {
    let orchestrator = Arc::new(orchestrator(ByteSize::mb(9)));
    let models = [weighty("m"), weighty("n")];
    let plan = orchestrator.plan(&models, Schedule::Sequential).unwrap();
    let again = Arc::downgrade(&orchestrator);
    let shared = plan.clone();
    orchestrator.on_load("m", move |load| {
        load.write(0, b"weights of ")?;
        load.write(11, load.model().as_bytes())?;
        assert_eq!((load.size(), load.range().size), (ByteSize::mb(4), ByteSize::mb(4)));
        // Another model of the same plan may be bound meanwhile; this one is being bound.
        let orchestrator = again.upgrade().unwrap();
        assert!(matches!(orchestrator.bind("m", &shared), Err(BindError::AlreadyBound(_))));
        assert!(!orchestrator.release("m").was_bound);
        if orchestrator.bind("n", &shared).is_ok() {
            orchestrator.release("n");
        }
        Ok(())
    });
    let mut text = [0; 12];
    for _ in 0..2 {
        let (binding, _) = orchestrator.admit("m", &plan, Duration::ZERO).unwrap();
        binding.read_weights(0, &mut text).unwrap();
        assert_eq!(&text, b"weights of m");
        binding.fill_weights(0).unwrap();
        orchestrator.apply(PressurePolicy::Evict, ByteSize::mb(1));
    }
    let loaded = orchestrator.trace().events().into_iter().filter_map(|e| match e.event {
        Event::Loaded { model, loaded_bytes, elapsed_seconds } => {
            Some((model, loaded_bytes, elapsed_seconds >= 0.0))
        }
        _ => None,
    });
    assert_eq!(loaded.collect::<Vec<_>>(), vec![("m".to_owned(), ByteSize::mb(4), true); 2]);
}

#[test]
fn a_loader_that_fails_or_panics_leaves_nothing_bound() {
    let orchestrator = orchestrator(ByteSize::mb(100));
    let models = [weighty("m"), weighty("n")];
    let plan = orchestrator.plan(&models, Schedule::Sequential).unwrap();
    let attempts = [
        orchestrator.bind_with("m", &plan, |_| Err("no such file".into())),
        orchestrator.bind_with("m", &plan, |_| panic!("by this test, in a loader")),
        orchestrator.bind_with("m", &plan, |load| Ok(load.write(4_000_000, &[0])?)),
    ];
    for (attempt, words) in
        attempts.into_iter().zip(["no such file", "panicked: by this test", "do not lie in it"])
    {
        let error = attempt.unwrap_err();
        assert!(matches!(error, BindError::NotLoaded { .. }) && error.to_string().contains(words), "{error}");
    }
    assert_eq!((orchestrator.pool().used(), orchestrator.bound().len()), (ByteSize::ZERO, 0));
    // With another in the arena, that one stays.
    orchestrator.bind("n", &plan).unwrap();
    let used = orchestrator.pool().used();
    assert!(orchestrator.admit("m", &plan, Duration::ZERO).is_err());
    assert_eq!(orchestrator.pool().used(), used);
    let refusals = orchestrator.trace().events();
    assert_eq!(refusals.iter().filter(|e| matches!(e.event, Event::Rejected { .. })).count(), 4);
    orchestrator.bind_with("m", &plan, |load| Ok(load.fill(1)?)).unwrap();
}

trait BindWith {
    fn bind_with(
        &self,
        model: &str,
        plan: &Arc<AllocationPlan>,
        loader: impl Fn(&WeightsLoad<'_>) -> Result<(), LoadFailure> + Send + Sync + 'static,
    ) -> Result<MemoryBinding, BindError>;
}

impl BindWith for MemoryOrchestrator {
    fn bind_with(
        &self,
        model: &str,
        plan: &Arc<AllocationPlan>,
        loader: impl Fn(&WeightsLoad<'_>) -> Result<(), LoadFailure> + Send + Sync + 'static,
    ) -> Result<MemoryBinding, BindError> {
        self.on_load(model, loader);
        self.bind(model, plan)
    }
}
