//! What cannot be is refused by name and number, nothing of it is left in the pool, and others go on.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Job, Model, Outcome, alone, engine, orchestrator, prompt, refused, run, small, times};
use vramkit::ByteSize;
use vramkit_llm::{
    AdapterError, Admission, CacheKind, Engine, EngineConfig, Finish, LoadError, Request, Sampling,
    load_with_vram_limit,
};
use vramkit_testing::faulty;
use vramkit_testing::gguf::Architecture;

#[test]
fn too_little_memory_is_said_in_numbers_before_anything_is_taken() {
    for architecture in [Architecture::Llama, Architecture::Gemma3] {
        let model = Model::tiny(architecture);
        let needs = Engine::needs(&model.path, &small()).unwrap();
        let bound = needs.weights + needs.workspace;
        let block = times(needs.kv_per_token, 16);
        let exactly = bound + block;
        // A pool counts in these.
        let unit = ByteSize::new(256);
        for limit in [unit, needs.weights - unit, needs.weights, bound - unit, bound, exactly - unit] {
            let orchestrator = orchestrator(limit);
            match refused(&orchestrator, &model.path, small()) {
                LoadError::InsufficientVram { required, available, device, model } => {
                    assert_eq!((required, available), (exactly, limit));
                    assert_eq!((device.as_str(), model.as_str()), ("host", "m"));
                }
                other => panic!("{limit}: {other}"),
            }
            assert_eq!(orchestrator.pool().stats().peak_committed_bytes, ByteSize::ZERO);
        }
        let orchestrator = orchestrator(exactly);
        let engine = Engine::load(&orchestrator, "m", &model.path, small()).unwrap();
        // One block has room for 16 tokens.
        let jobs = [Job::new(prompt(10, 1), 7), Job::new(prompt(10, 1), 8)];
        let found = alone(&engine, &jobs);
        assert_eq!((found[0].finish, found[0].tokens.len()), (Some(Finish::Length), 7));
        assert!(found[1].failed.as_deref().unwrap().contains(&block.to_string()), "{:?}", found[1].failed);
    }
}

#[test]
fn memory_that_others_hold_is_not_there_to_be_had() {
    let model = Model::tiny(Architecture::Llama);
    let needs = Engine::needs(&model.path, &small()).unwrap();
    let orchestrator = orchestrator(needs.total());
    let held = orchestrator.pool().allocate(vramkit::pool::Request::new(needs.workspace)).unwrap();
    match refused(&orchestrator, &model.path, small()) {
        LoadError::InsufficientVram { required, available, .. } => {
            assert!(
                required > available && available == needs.total() - needs.workspace,
                "{required} {available}"
            );
        }
        other => panic!("{other}"),
    }
    drop(held);
    assert!(Engine::load(&orchestrator, "m", &model.path, small()).is_ok());
}

#[test]
fn a_limit_is_of_the_adapters_whole_memory() {
    let model = Model::tiny(Architecture::Llama);
    let reference = model.path.to_str().unwrap();
    let needs = Engine::needs(&model.path, &EngineConfig::default()).unwrap();
    let exactly = needs.weights + needs.workspace + times(needs.kv_per_token, 16);
    let unit = ByteSize::new(256);
    for (limit, of_units) in [
        (ByteSize::ZERO, ByteSize::ZERO),
        (ByteSize::new(1), ByteSize::ZERO),
        (exactly - ByteSize::new(1), exactly - unit),
    ] {
        match load_with_vram_limit(reference, limit) {
            Err(LoadError::InsufficientVram { required, available, .. }) => {
                assert_eq!((required, available), (exactly, of_units));
            }
            other => panic!("{limit}: {other:?}"),
        }
    }
    let adapter = load_with_vram_limit(reference, exactly).unwrap();
    assert_eq!(adapter.used(), needs.weights + needs.workspace);
}

#[test]
fn a_context_ends_where_it_ends() {
    let model = Model::tiny(Architecture::Qwen3);
    let engine = engine(&model.path, small());
    for length in [65, 80, 5_000] {
        match engine.submit(&prompt(length, 1), Request::default()) {
            Err(AdapterError::ContextLengthExceeded { length: found, max: 64 }) => assert_eq!(found, length),
            other => panic!("{other:?}"),
        }
    }
    for (length, most, generated, finish) in [
        (64, Some(5), 0, Finish::Context),
        (63, Some(5), 1, Finish::Context),
        (60, Some(4), 4, Finish::Length),
        (60, Some(5), 4, Finish::Context),
        (60, None, 4, Finish::Context),
        (60, Some(0), 0, Finish::Length),
    ] {
        let mut job = Job::new(prompt(length, 1), 0);
        job.request.most_tokens = most;
        let found = run(&engine, &[job]).outcomes.remove(0);
        assert_eq!((found.tokens.len(), found.finish), (generated, Some(finish)), "{length} {most:?}");
    }
    let default = EngineConfig { context: Some(4096), ..small() };
    let engine = common::engine(&model.path, default);
    let said = engine.submit(&prompt(5_000, 1), Request::default()).err().unwrap().to_string();
    assert!(said.contains("5000") && said.contains("4096"), "{said}");
}

#[test]
fn requests_that_cannot_be_are_refused() {
    let model = Model::tiny(Architecture::Llama);
    let engine = engine(&model.path, small());
    let submit = |prompt: &[u32], sampling| {
        engine.submit(prompt, Request { sampling, ..Request::default() }).err().unwrap()
    };
    assert!(matches!(submit(&[], Sampling::default()), AdapterError::EmptyPrompt));
    for token in [544, u32::MAX] {
        match submit(&[1, token], Sampling::default()) {
            AdapterError::UnknownToken { token: found, vocabulary: 544 } => assert_eq!(found, token),
            other => panic!("{other}"),
        }
    }
    let temperatures = [f32::NAN, -0.1, f32::INFINITY, f32::NEG_INFINITY];
    let samplings = temperatures.map(|temperature| Sampling { temperature, ..Sampling::default() });
    let tops =
        [0.0, 2.0, -1.0, f32::NAN].map(|top_p| Sampling { temperature: 1.0, top_p, ..Sampling::default() });
    for sampling in samplings.into_iter().chain(tops) {
        assert!(matches!(submit(&[1], sampling), AdapterError::Sampling(_)), "{sampling:?}");
    }
    assert!(!engine.has_work(), "nothing of them is kept");
    // What is odd, and can be.
    let odd = [
        Sampling {
            temperature: f32::MIN_POSITIVE,
            top_k: usize::MAX,
            top_p: f32::MIN_POSITIVE,
            seed: u64::MAX,
        },
        Sampling { temperature: f32::MAX, top_k: 1, top_p: 1.0, seed: 0 },
        Sampling { temperature: -0.0, ..Sampling::default() },
    ];
    let greedy = run(&engine, &[Job::new(prompt(9, 1), 8)]).outcomes.remove(0).tokens;
    for sampling in odd {
        let mut job = Job::new(prompt(9, 1), 8);
        job.request.sampling = sampling;
        assert_eq!(run(&engine, &[job]).outcomes[0].tokens, greedy, "{sampling:?}");
    }
}

#[test]
fn configurations_that_cannot_be_are_refused() {
    let model = Model::tiny(Architecture::Gemma3);
    let impossible = [
        EngineConfig { context: Some(0), ..small() },
        EngineConfig { threads: Some(0), ..small() },
        EngineConfig { sequences: 0, ..small() },
        EngineConfig { sequences: 9, step_tokens: 8, ..small() },
    ];
    for config in impossible {
        let orchestrator = orchestrator(ByteSize::mib(64));
        assert!(matches!(Engine::needs(&model.path, &config), Err(LoadError::Config(_))), "{config:?}");
        assert!(matches!(refused(&orchestrator, &model.path, config), LoadError::Config(_)));
    }
    let most = usize::MAX;
    let huge = [
        EngineConfig { context: Some(most), step_tokens: most, ..small() },
        EngineConfig { context: Some(1 << 40), sequences: 1 << 30, step_tokens: most, ..small() },
        EngineConfig { sequences: most, step_tokens: most, ..small() },
        EngineConfig { threads: Some(most), ..small() },
        EngineConfig { threads: Some(most), context: Some(4096), sequences: 4, ..small() },
    ];
    for config in huge {
        let orchestrator = orchestrator(ByteSize::mib(64));
        let error = refused(&orchestrator, &model.path, config.clone());
        assert!(
            matches!(error, LoadError::Config(_) | LoadError::InsufficientVram { .. }),
            "{config:?}: {error}"
        );
    }
    // A context that nobody has memory for, and few tokens of it.
    let long = EngineConfig { context: Some(most), step_tokens: 16, ..small() };
    match Engine::load(&orchestrator(ByteSize::mib(64)), "m", &model.path, long) {
        Ok(engine) => {
            let job = Job::new(prompt(20, 1), 4);
            assert_eq!(run(&engine, &[job]).outcomes[0].tokens.len(), 4);
        }
        Err(error) => assert!(matches!(error, LoadError::Config(_) | LoadError::InsufficientVram { .. })),
    }
    let nothing = EngineConfig { kv_budget: Some(ByteSize::ZERO), ..small() };
    let engine = engine(&model.path, nothing);
    assert!(run(&engine, &[Job::new(prompt(1, 1), 1)]).outcomes[0].failed.is_some());
}

/// Two sequences of which the second is as long as the first, later.
fn pair() -> [Job; 2] {
    [Job::new(prompt(30, 1), 40), Job::new(prompt(50, 2), 12).at(3)]
}

#[test]
fn every_commit_may_fail_once_or_for_good() {
    let model = Model::tiny(Architecture::Gemma3);
    let config = EngineConfig {
        context: Some(128),
        sequences: 2,
        admission: Admission::Optimistic,
        cache: CacheKind::F32,
        ..small()
    };
    let expected = alone(&engine(&model.path, config.clone()), &pair());
    let (mut loads_failed, mut sequences_failed, mut preempted) = (0, 0, 0);
    // Once with what is tried again then, and for good.
    for length in [2, usize::MAX] {
        for first in 0usize.. {
            let failing = first..first.saturating_add(length);
            let (orchestrator, faults) = faulty(ByteSize::mib(16), failing, |_| ());
            let pool = orchestrator.pool().clone();
            match Engine::load(&orchestrator, "m", &model.path, config.clone()) {
                Err(error) => {
                    let said = error.to_string();
                    assert!(
                        matches!(error, LoadError::Bind(_) | LoadError::InsufficientVram { .. }),
                        "{said}"
                    );
                    loads_failed += 1;
                }
                Ok(engine) => {
                    let found = run(&engine, &pair());
                    for (expected, found) in expected.iter().zip(&found.outcomes) {
                        if found.failed.is_some() {
                            sequences_failed += 1;
                            assert!(expected.tokens.starts_with(&found.tokens) && found.finish.is_none());
                        } else {
                            assert_eq!(expected, found);
                        }
                    }
                    preempted += found.preempted;
                    let memory = engine.memory();
                    assert_eq!((pool.used(), memory.kv), (memory.weights + memory.workspace, ByteSize::ZERO));
                    drop(engine);
                }
            }
            assert_eq!(pool.used(), ByteSize::ZERO);
            assert!(pool.owners().is_empty());
            pool.trim().unwrap();
            assert_eq!(pool.committed(), ByteSize::ZERO);
            if faults.commits() <= first {
                break;
            }
        }
    }
    assert!(
        loads_failed > 2 && sequences_failed > 2 && preempted > 2,
        "{loads_failed} {sequences_failed} {preempted}"
    );
}

#[test]
fn a_sequence_too_long_for_the_memory_fails_alone() {
    for architecture in [Architecture::Llama, Architecture::Qwen2] {
        let model = Model::tiny(architecture);
        let config =
            EngineConfig { context: Some(512), sequences: 4, threads: Some(2), ..EngineConfig::default() };
        let token = Engine::needs(&model.path, &config).unwrap().kv_per_token;
        let jobs = [
            Job::new(prompt(20, 1), 40),
            Job::new(prompt(70, 2), 300),
            Job::new(prompt(90, 3), 20),
            Job::new(prompt(15, 4), 30).at(5),
        ];
        let expected: Vec<Outcome> = alone(&engine(&model.path, config.clone()), &jobs);
        for (admission, generated) in [(Admission::Reserve, 0), (Admission::Optimistic, 160 - 70 + 1)] {
            let budget = times(token, 160);
            let orchestrator = orchestrator(ByteSize::mib(64));
            let config = EngineConfig { admission, kv_budget: Some(budget), ..config.clone() };
            let engine = Engine::load(&orchestrator, "m", &model.path, config).unwrap();
            let found = run(&engine, &jobs);
            for at in [0, 2, 3] {
                assert_eq!(found.outcomes[at], expected[at], "{admission:?} {at}");
            }
            let long = &found.outcomes[1];
            assert_eq!(long.tokens, expected[1].tokens[..generated], "{admission:?}");
            assert!(long.failed.as_deref().unwrap().contains(&budget.to_string()), "{:?}", long.failed);
            assert_eq!(found.preempted > 0, admission == Admission::Optimistic);
            let memory = engine.memory();
            assert_eq!(orchestrator.pool().used(), memory.weights + memory.workspace);
            assert!(memory.peak_kv <= budget);
        }
    }
}
