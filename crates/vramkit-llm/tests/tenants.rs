//! Engines as tenants of one pool: evicted, loaded again, degraded, in any order and from any thread, with the tokens that each has
//! alone.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::path::Path;

use common::{Job, Model, Outcome, Run, alone, engine, note, orchestrator, prompt, run, times, two, watch};
use vramkit::ByteSize;
use vramkit::orchestrator::{Action, BindError, MemoryOrchestrator, PressurePolicy, Standing};
use vramkit::plan::{Model as Demand, Schedule, TensorLifetime};
use vramkit::trace::Event;
use vramkit::units::Step;
use vramkit_llm::{
    AdapterError, Admission, Engine, EngineConfig, LlamaInferenceAdapter, LoadError, Request, StepEvent,
};
use vramkit_testing::gguf::Architecture;

const fn is_shared<T: Send + Sync>() {}
const _: () = is_shared::<Engine>();
const _: () = is_shared::<LlamaInferenceAdapter>();

fn bound(path: &Path, config: &EngineConfig) -> ByteSize {
    let needs = Engine::needs(path, config).unwrap();
    needs.weights + needs.workspace
}

/// How often each model was evicted and how often its weights were loaded.
fn moves(orchestrator: &MemoryOrchestrator) -> HashMap<String, (usize, usize)> {
    let mut moves: HashMap<String, (usize, usize)> = HashMap::new();
    for event in orchestrator.trace().events() {
        match &event.event {
            Event::Evicted { model, .. } => moves.entry(model.clone()).or_default().0 += 1,
            Event::Loaded { model, .. } => moves.entry(model.clone()).or_default().1 += 1,
            _ => {}
        }
    }
    moves
}

#[test]
fn two_models_in_a_pool_too_small_for_both_take_turns() {
    let models = [Model::tiny(Architecture::Llama), Model::tiny(Architecture::Gemma3)];
    let jobs = [Job::new(prompt(40, 1), 16), Job::new(prompt(23, 2), 16).warm(3)];
    let expected = models.each_ref().map(|model| alone(&engine(&model.path, two()), &jobs));
    let (orchestrator, engines) = common::tenants(&models);
    for round in 0..3 {
        // A whole answer each, then a step each in turn, so that sequences outlive their model's eviction.
        for (engine, expected) in engines.iter().zip(&expected) {
            assert_eq!(run(engine, &jobs).outcomes, *expected, "round {round}");
        }
        let mut runs = [0, 1].map(|_| Run { outcomes: vec![Outcome::default(); 2], ..Run::default() });
        let ids = engines.each_ref().map(|engine| {
            jobs.each_ref().map(|job| Some(engine.submit(&job.prompt, job.request.clone()).unwrap()))
        });
        while engines.iter().any(Engine::has_work) {
            for (at, engine) in engines.iter().enumerate() {
                note(&mut runs[at], &ids[at], &engine.step().unwrap());
            }
        }
        for (run, expected) in runs.iter().zip(&expected) {
            assert_eq!(run.outcomes, *expected, "round {round}");
        }
    }
    let moves = moves(&orchestrator);
    for name in ["m0", "m1"] {
        let (evicted, loaded) = moves[name];
        assert!(evicted > 30 && loaded > 30, "{name}: {evicted} {loaded}");
    }
    drop(engines);
    assert_eq!(orchestrator.pool().used(), ByteSize::ZERO);
}

#[test]
fn room_for_keys_and_values_is_made_by_models_at_rest() {
    let model = Model::tiny(Architecture::Qwen2);
    let needs = Engine::needs(&model.path, &two()).unwrap();
    // Room for both models, and for one sequence of a hundred tokens only where the other model is not.
    let block = times(needs.kv_per_token, 16);
    let both = bound(&model.path, &two());
    let orchestrator = orchestrator(both + both + block);
    let engines = ["a", "b"].map(|name| Engine::load(&orchestrator, name, &model.path, two()).unwrap());
    assert_eq!(orchestrator.bound().len(), 2);
    let jobs = [Job::new(prompt(90, 1), 20)];
    let expected = alone(&engine(&model.path, two()), &jobs);
    for engine in engines.iter().chain(&engines) {
        assert_eq!(run(engine, &jobs).outcomes, expected);
        assert_eq!(orchestrator.bound().len(), 1, "the other one made way");
    }
}

#[test]
fn a_pinned_model_does_not_make_way_and_nothing_is_lost() {
    let models = [Model::tiny(Architecture::Llama), Model::tiny(Architecture::Qwen3)];
    let sizes = models.each_ref().map(|model| bound(&model.path, &two()));
    let kv = ByteSize::new(512 << 10);
    let orchestrator = orchestrator(sizes[0].max(sizes[1]) + kv);
    let first = Engine::load(&orchestrator, "first", &models[0].path, two()).unwrap();
    orchestrator.set_standing("first", Standing { pinned: true, ..Standing::default() });
    match Engine::load(&orchestrator, "second", &models[1].path, two()) {
        Err(LoadError::InsufficientVram { required, available, .. }) => assert!(required > available),
        other => panic!("{other:?}"),
    }
    orchestrator.set_standing("first", Standing::default());
    let second = Engine::load(&orchestrator, "second", &models[1].path, two()).unwrap();
    orchestrator.set_standing("second", Standing { pinned: true, ..Standing::default() });
    let job = Job::new(prompt(30, 1), 6);
    first.submit(&job.prompt, job.request.clone()).unwrap();
    for _ in 0..3 {
        match first.step() {
            Err(AdapterError::NotLoaded(error)) => {
                assert!(matches!(&*error, LoadError::InsufficientVram { .. }), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(first.has_work());
    drop(second);
    let mut tokens = Vec::new();
    while first.has_work() {
        for event in first.step().unwrap() {
            if let StepEvent::Token { token, .. } = event {
                tokens.push(token);
            }
        }
    }
    assert_eq!(tokens, alone(&engine(&models[0].path, two()), &[job])[0].tokens);
}

#[test]
fn the_model_of_lower_priority_makes_way() {
    let model = Model::tiny(Architecture::Llama);
    let size = bound(&model.path, &two());
    let orchestrator = orchestrator(size + size + ByteSize::mib(1));
    let load = |name: &str, priority: i32| {
        orchestrator.set_standing(name, Standing { priority, ..Standing::default() });
        Engine::load(&orchestrator, name, &model.path, two()).unwrap()
    };
    let (important, other) = (load("important", 2), load("other", 1));
    // Used last, and still the one to go.
    run(&important, &[Job::new(prompt(3, 1), 2)]);
    run(&other, &[Job::new(prompt(3, 1), 2)]);
    let filler = orchestrator.pool().allocate(vramkit::pool::Request::new(ByteSize::new(900 << 10))).unwrap();
    let third = load("third", 0);
    let bound: Vec<_> = orchestrator.bound().iter().map(|name| name.to_string()).collect();
    assert_eq!(bound, ["important", "third"]);
    drop((important, other, third, filler));
    assert_eq!(orchestrator.pool().used(), ByteSize::ZERO);
}

#[test]
fn a_degraded_model_holds_less_and_says_the_same() {
    for architecture in [Architecture::Llama, Architecture::Gemma3, Architecture::Phi3] {
        let model = Model::tiny(architecture);
        let jobs: Vec<_> = (0..4)
            .map(|seed| Job::new(prompt(40 + 9 * seed as usize, seed), 30).at(2 * seed as usize))
            .collect();
        for admission in [Admission::Reserve, Admission::Optimistic] {
            let config = EngineConfig { sequences: 4, admission, ..two() };
            let expected = alone(&engine(&model.path, config.clone()), &jobs);
            let orchestrator = orchestrator(ByteSize::mib(64));
            let engine = Engine::load(&orchestrator, "m", &model.path, config).unwrap();
            let before = engine.memory();
            let mut degraded = 0;
            let found = watch(&engine, &jobs, |steps| {
                if ![4, 8, 12, 16, 20].contains(&steps) {
                    return;
                }
                let held = engine.memory();
                let outcome = orchestrator.apply(PressurePolicy::Degrade, ByteSize::mib(64));
                if let Action::Degraded(models) = outcome.action {
                    assert_eq!(models.len(), 1);
                    assert!(outcome.freed > ByteSize::ZERO);
                    degraded += 1;
                }
                assert!(engine.memory().kv <= held.kv);
            });
            assert_eq!(found.outcomes, expected, "{architecture:?} {admission:?}");
            // From 64 tokens a step to 4, one for each seat.
            assert_eq!(degraded, 4);
            assert!(found.preempted > 0, "sequences made way, and it was told");
            run(&engine, &jobs[..1]);
            let after = engine.memory();
            assert!(after.workspace < before.workspace, "{after:?} {before:?}");
            let least = engine_kv(&model, 128);
            assert!(after.peak_kv > least, "it held more before");
            drop(engine);
            assert_eq!(orchestrator.pool().used(), ByteSize::ZERO);
        }
    }
}

/// Bytes of one sequence of so many tokens.
fn engine_kv(model: &Model, tokens: usize) -> ByteSize {
    let one = EngineConfig { context: Some(tokens), sequences: 1, ..two() };
    Engine::needs(&model.path, &one).unwrap().kv
}

#[test]
fn a_model_that_was_degraded_at_rest_still_has_room_for_a_sequence() {
    let model = Model::tiny(Architecture::Llama);
    let orchestrator = orchestrator(ByteSize::mib(64));
    let engine = Engine::load(&orchestrator, "m", &model.path, two()).unwrap();
    for _ in 0..20 {
        orchestrator.apply(PressurePolicy::Degrade, ByteSize::mib(64));
    }
    let jobs = [Job::new(prompt(100, 1), 28), Job::new(prompt(100, 2), 28)];
    let found = run(&engine, &jobs);
    assert_eq!(found.outcomes, alone(&common::engine(&model.path, two()), &jobs));
    // Nor is there room for two.
    assert_eq!(engine.memory().peak_kv, engine_kv(&model, 128));
    // It is loaded again as it is now.
    let workspace = engine.memory().workspace;
    orchestrator.apply(PressurePolicy::Evict, ByteSize::new(1));
    assert_eq!(run(&engine, &jobs).outcomes, found.outcomes);
    assert_eq!(engine.memory().workspace, workspace);
}

#[test]
fn a_name_is_one_models() {
    let models = [Model::tiny(Architecture::Llama), Model::tiny(Architecture::Qwen3)];
    let orchestrator = orchestrator(ByteSize::mib(64));
    let jobs = [Job::new(prompt(20, 1), 10)];
    let expected = alone(&engine(&models[0].path, two()), &jobs);
    let first = Engine::load(&orchestrator, "m", &models[0].path, two()).unwrap();
    for is_evicted in [false, true] {
        if is_evicted {
            orchestrator.apply(PressurePolicy::Evict, ByteSize::new(1));
            assert!(orchestrator.bound().is_empty());
        }
        match Engine::load(&orchestrator, "m", &models[1].path, two()) {
            Err(LoadError::NameTaken { model }) => assert_eq!(model, "m"),
            other => panic!("{other:?}"),
        }
        assert_eq!(run(&first, &jobs).outcomes, expected, "the first is untouched");
    }
    // The ledger of a pool knows one model of a name, whoever has bound it.
    let beside = std::sync::Arc::new(MemoryOrchestrator::new(orchestrator.pool().clone()));
    assert!(matches!(Engine::load(&beside, "m", &models[0].path, two()), Err(LoadError::NameTaken { .. })));
    // In another pool, and when it is free again, the name may be had.
    let elsewhere = engine(&models[1].path, two());
    assert_eq!(elsewhere.name(), "model");
    drop(first);
    let second = Engine::load(&orchestrator, "m", &models[1].path, two()).unwrap();
    assert_eq!(run(&second, &jobs).outcomes, alone(&elsewhere, &jobs));
}

#[test]
fn a_binding_of_somebody_elses_is_refused_and_left_alone() {
    let model = Model::tiny(Architecture::Llama);
    let orchestrator = orchestrator(ByteSize::mib(64));
    let theirs = Demand {
        name: "m".into(),
        weights: ByteSize::mib(1),
        start: Step(0),
        tensors: vec![TensorLifetime::new("m", "x", 0, 1, ByteSize::mib(1))],
    };
    let plan = orchestrator.plan(&[theirs], Schedule::Fixed).unwrap();
    let binding = orchestrator.bind("m", &plan).unwrap();
    let used = orchestrator.pool().used();
    assert!(matches!(Engine::load(&orchestrator, "m", &model.path, two()), Err(LoadError::NameTaken { .. })));
    assert_eq!((binding.stale(), orchestrator.pool().used()), (None, used));
    orchestrator.release("m");
    // While the engine's model is evicted.
    let engine = Engine::load(&orchestrator, "m", &model.path, two()).unwrap();
    assert!(matches!(orchestrator.bind("m", &plan), Err(BindError::AlreadyBound(_))));
    orchestrator.apply(PressurePolicy::Evict, ByteSize::new(1));
    orchestrator.on_load("m", |_| Ok(()));
    let binding = orchestrator.bind("m", &plan).unwrap();
    binding.fill_weights(7).unwrap();
    engine.submit(&[1], Request::default()).unwrap();
    match engine.step() {
        Err(AdapterError::NotLoaded(error)) => {
            assert!(matches!(&*error, LoadError::NameTaken { .. }), "{error}")
        }
        other => panic!("{other:?}"),
    }
    drop(engine);
    assert_eq!((binding.stale(), orchestrator.pool().used()), (None, used));
}

#[test]
fn engines_go_in_any_order() {
    let model = Model::tiny(Architecture::Llama);
    let size = bound(&model.path, &two());
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        // Room for two of three.
        let orchestrator = orchestrator(size + size + ByteSize::mib(1));
        let pool = orchestrator.pool().clone();
        let mut engines = [0, 1, 2].map(|at| {
            let engine = Engine::load(&orchestrator, &at.to_string(), &model.path, two()).unwrap();
            engine.submit(&prompt(20, at), Request::default()).unwrap();
            engine.step().unwrap();
            Some(engine)
        });
        drop(orchestrator);
        for at in order {
            engines[at] = None;
            let left: Vec<_> = engines.iter().flatten().collect();
            let kv: ByteSize = left.iter().map(|engine| engine.memory().kv).sum();
            assert!(pool.used() >= kv);
            left.iter().for_each(|engine| assert!(engine.step().is_ok()));
        }
        assert_eq!(pool.used(), ByteSize::ZERO, "{order:?}");
        assert!(pool.owners().is_empty());
    }
}
