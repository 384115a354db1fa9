//! Engines in turmoil: several threads, and evictions, degrading and cancelling between steps. Sequences become what they become alone.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::thread;

use common::{Job, Model, Outcome, Run, alone, engine, note, orchestrator, prompt, two};
use proptest::prelude::*;
use vramkit::ByteSize;
use vramkit::orchestrator::PressurePolicy;
use vramkit::trace::Event;
use vramkit_llm::{AdapterError, Admission, Engine, EngineConfig, LoadError, Prefill, Request, StepEvent};
use vramkit_testing::gguf::Architecture;

#[test]
fn sequences_may_come_and_go_from_any_thread() {
    let model = Model::tiny(Architecture::Qwen3);
    let config = EngineConfig { sequences: 3, admission: Admission::Optimistic, ..two() };
    let jobs: Vec<_> = (0..6).map(|seed| Job::new(prompt(8 + 5 * seed as usize, seed), 12)).collect();
    let expected = alone(&engine(&model.path, config.clone()), &jobs);
    let orchestrator = orchestrator(ByteSize::mib(64));
    let engine = Engine::load(&orchestrator, "m", &model.path, config).unwrap();
    let events = std::sync::Mutex::new(Vec::new());
    let kept = thread::scope(|scope| {
        let submitters: Vec<_> = (0..3)
            .map(|_| {
                let (engine, jobs) = (&engine, &jobs);
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for (at, job) in jobs.iter().enumerate() {
                        kept.push((at, engine.submit(&job.prompt, job.request.clone()).unwrap()));
                        let gone = engine.submit(&job.prompt, Request::default()).unwrap();
                        thread::yield_now();
                        engine.cancel(gone);
                        engine.memory();
                    }
                    kept
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..400 {
                    let found = engine.step().unwrap();
                    events.lock().unwrap().extend(found);
                    orchestrator.apply(PressurePolicy::Evict, ByteSize::new(1));
                }
            });
        }
        submitters.into_iter().flat_map(|submitter| submitter.join().unwrap()).collect::<Vec<_>>()
    });
    while engine.has_work() {
        let found = engine.step().unwrap();
        events.lock().unwrap().extend(found);
    }
    let mut tokens: HashMap<_, Vec<u32>> = HashMap::new();
    for event in events.into_inner().unwrap() {
        if let StepEvent::Token { sequence, token, .. } = event {
            tokens.entry(sequence).or_default().push(token);
        }
    }
    assert_eq!(kept.len(), 18);
    for (at, id) in kept {
        // Two threads may note their steps in another order than they computed them.
        let (mut found, mut expected) = (tokens.remove(&id).unwrap(), expected[at].tokens.clone());
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
    assert_eq!(engine.memory().kv, ByteSize::ZERO);
    let is_eviction = |event: &vramkit::trace::TraceEvent| matches!(event.event, Event::Evicted { .. });
    assert!(orchestrator.trace().events().iter().any(is_eviction));
}

#[test]
fn engines_on_threads_of_their_own_share_a_pool_too_small_for_both() {
    let models = [Model::tiny(Architecture::Llama), Model::tiny(Architecture::Mistral)];
    let jobs = [Job::new(prompt(40, 1), 20), Job::new(prompt(70, 2), 20)];
    let expected = models.each_ref().map(|model| alone(&engine(&model.path, two()), &jobs));
    let (orchestrator, engines) = common::tenants(&models);
    let runs = thread::scope(|scope| {
        let threads = engines.each_ref().map(|engine| {
            let jobs = &jobs;
            scope.spawn(move || {
                let ids =
                    jobs.each_ref().map(|job| Some(engine.submit(&job.prompt, job.request.clone()).unwrap()));
                let mut run = Run { outcomes: vec![Outcome::default(); 2], ..Run::default() };
                while engine.has_work() {
                    match engine.step() {
                        Ok(events) => note(&mut run, &ids, &events),
                        // The other one is in the middle of a step.
                        Err(AdapterError::NotLoaded(error)) => {
                            assert!(matches!(&*error, LoadError::InsufficientVram { .. }), "{error}");
                            thread::yield_now();
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                run.outcomes
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(runs, expected);
    drop(engines);
    assert_eq!(orchestrator.pool().used(), ByteSize::ZERO);
}

#[test]
fn logits_are_asked_for_beside_a_sequence_that_loses_nothing() {
    let model = Model::tiny(Architecture::Qwen2);
    let engine = engine(&model.path, two());
    let job = Job::new(prompt(20, 1), 12);
    let expected = alone(&engine, std::slice::from_ref(&job)).remove(0);
    let logits = engine.logits(&prompt(30, 2)).unwrap();
    assert!((logits.iter().map(|logprob| logprob.exp()).sum::<f32>() - 1.0).abs() < 1e-3);
    let ids = [Some(engine.submit(&job.prompt, job.request).unwrap())];
    let mut run = Run { outcomes: vec![Outcome::default()], ..Run::default() };
    while engine.has_work() {
        note(&mut run, &ids, &engine.step().unwrap());
        if run.outcomes[0].tokens.len() == 5 {
            assert_eq!(engine.logits(&prompt(30, 2)).unwrap(), logits);
        }
    }
    note(&mut run, &ids, &engine.step().unwrap());
    assert_eq!(run.outcomes[0], expected);
}

/// What happens between two steps.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Submit(usize),
    Cancel(usize),
    Evict,
    Degrade,
    Compact,
    Trim,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        6 => (0usize..6).prop_map(Happening::Submit),
        2 => (0usize..12).prop_map(Happening::Cancel),
        2 => Just(Happening::Evict),
        1 => Just(Happening::Degrade),
        1 => Just(Happening::Compact),
        1 => Just(Happening::Trim),
    ];
    prop::collection::vec(one, 1..40)
}

/// A model with windows in some layers, sequences that begin alike in pairs, and what each becomes.
fn chaos() -> &'static (Model, Vec<Job>, Vec<Outcome>) {
    static CHAOS: std::sync::OnceLock<(Model, Vec<Job>, Vec<Outcome>)> = std::sync::OnceLock::new();
    CHAOS.get_or_init(|| {
        let model = Model::tiny(Architecture::Gemma3);
        let job = |at: u64| {
            let job = Job::new(prompt(10 + 17 * at as usize, at / 2), 10);
            if at % 3 == 1 { job.warm(at) } else { job }
        };
        let jobs: Vec<_> = (0..6).map(job).collect();
        let expected = alone(&engine(&model.path, two()), &jobs);
        (model, jobs, expected)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_between_steps_sequences_become_the_same_and_memory_goes_back(
        happenings in happenings(), is_optimistic: bool, is_exclusive: bool, share_prefixes: bool,
    ) {
        let (model, jobs, expected) = chaos();
        let admission = if is_optimistic { Admission::Optimistic } else { Admission::Reserve };
        let prefill = if is_exclusive { Prefill::Exclusive } else { Prefill::Chunked };
        let config = EngineConfig { sequences: 4, admission, prefill, share_prefixes, ..two() };
        // Room for about two and a half sequences.
        let needs = Engine::needs(&model.path, &config).unwrap();
        let kv = needs.kv.bytes() / 8 * 5;
        let orchestrator = orchestrator(needs.weights + needs.workspace + ByteSize::new(kv));
        let engine = Engine::load(&orchestrator, "m", &model.path, config).unwrap();
        let (mut ids, mut which, mut cancelled) = (Vec::new(), Vec::new(), Vec::new());
        let mut events = Vec::new();
        for happening in happenings {
            match happening {
                Happening::Submit(at) => {
                    ids.push(engine.submit(&jobs[at].prompt, jobs[at].request.clone()).unwrap());
                    which.push(at);
                }
                Happening::Cancel(at) if at < ids.len() => {
                    engine.cancel(ids[at]);
                    cancelled.push(ids[at]);
                }
                Happening::Cancel(_) => {}
                Happening::Evict => drop(orchestrator.apply(PressurePolicy::Evict, ByteSize::new(1))),
                Happening::Degrade => drop(orchestrator.apply(PressurePolicy::Degrade, ByteSize::mib(1))),
                Happening::Compact => drop(orchestrator.apply(PressurePolicy::Compact, ByteSize::mib(1))),
                Happening::Trim => drop(orchestrator.trim().unwrap()),
            }
            events.extend(engine.step().unwrap());
            let (memory, pool) = (engine.memory(), orchestrator.pool());
            let rest = if orchestrator.bound().is_empty() { ByteSize::ZERO } else { memory.weights + memory.workspace };
            prop_assert_eq!(pool.used(), rest + memory.kv);
        }
        while engine.has_work() {
            events.extend(engine.step().unwrap());
        }
        let mut run = Run { outcomes: vec![Outcome::default(); ids.len()], ..Run::default() };
        let named: Vec<_> = ids.iter().copied().map(Some).collect();
        note(&mut run, &named, &events);
        for ((id, at), found) in ids.iter().zip(which).zip(run.outcomes) {
            if cancelled.contains(id) && found.finish.is_none() {
                prop_assert!(expected[at].tokens.starts_with(&found.tokens) && found.failed.is_none());
            } else {
                prop_assert_eq!(&found, &expected[at]);
            }
        }
        drop(engine);
        prop_assert_eq!(orchestrator.pool().used(), ByteSize::ZERO);
        orchestrator.trim().unwrap();
        prop_assert_eq!(orchestrator.pool().committed(), ByteSize::ZERO);
    }
}
