//! Every byte of an engine is granted as the formula says, has a name in the ledger, is foretold, and goes back.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{CACHES, Job, Model, engine, orchestrator, prompt, run, times, watch};
use vramkit::ByteSize;
use vramkit::device::{Device, HostDevice};
use vramkit::orchestrator::MemoryOrchestrator;
use vramkit::pool::{DeviceMemoryPool, Purpose};
use vramkit_llm::{
    CacheKind, Engine, EngineConfig, LlamaInferenceAdapter, Prefill, Request, SequenceId, StepEvent,
};
use vramkit_testing::gguf::{Architecture, TestModel, WeightType};

const BLOCK: usize = 16;

/// Layers that look equally far back: how many tokens, and how many bytes a block of theirs is granted.
fn groups(model: &TestModel, cache: CacheKind) -> Vec<(Option<usize>, u64)> {
    let block = |layers: u64| {
        let numbers = BLOCK as u64 * layers * model.kv_heads * 2 * model.head;
        let bytes = match cache {
            CacheKind::F32 => 4 * numbers,
            CacheKind::F16 => 2 * numbers,
            _ => numbers / 32 * 34,
        };
        bytes.next_multiple_of(256)
    };
    let window = Some(model.window as usize);
    match model.architecture {
        // Every sixth layer looks back over all.
        Architecture::Gemma3 => {
            vec![(window, block(model.layers - model.layers / 6)), (None, block(model.layers / 6))]
        }
        Architecture::Mistral => vec![(window, block(model.layers))],
        _ => vec![(None, block(model.layers))],
    }
}

/// Bytes that a sequence holds after a step that computed tokens `from..to` of it.
fn held(groups: &[(Option<usize>, u64)], from: usize, to: usize) -> u64 {
    let each = |(window, block): &(Option<usize>, u64)| {
        let first = window.map_or(0, |window| (from + 1).saturating_sub(window) / BLOCK);
        (to.div_ceil(BLOCK) - first) as u64 * block
    };
    groups.iter().map(each).sum()
}

/// Bytes of the pool's owners and of its ledger, which both name every byte that is granted.
fn check_ledger(pool: &DeviceMemoryPool) -> BTreeMap<(String, Purpose, String), u64> {
    let used = pool.used();
    let owners: u64 = pool.owners().iter().map(|owner| owner.granted_bytes.bytes()).sum();
    assert_eq!(owners, used.bytes());
    let entries = pool.ledger();
    assert_eq!(entries.iter().map(|entry| entry.granted_bytes.bytes()).sum::<u64>(), used.bytes());
    let named = |entry: &vramkit::units::LedgerEntry| {
        (entry.model.as_str().to_owned(), entry.purpose, entry.tag.clone())
    };
    entries.iter().map(|entry| (named(entry), entry.granted_bytes.bytes())).collect()
}

#[test]
fn keys_and_values_take_what_the_formula_says_at_every_step() {
    // One head of one layer: its blocks of q8_0 are no whole units of the pool.
    let narrow = TestModel { layers: 1, kv_heads: 1, ..common::tiny(Architecture::Qwen3) };
    for of in Architecture::ALL.map(common::tiny).into_iter().chain([narrow]) {
        let (architecture, model) = (of.architecture, Model::new(of));
        for cache in CACHES {
            let groups = groups(&model.of, cache);
            let orchestrator = orchestrator(ByteSize::mib(64));
            let config = EngineConfig {
                context: Some(400),
                step_tokens: 64,
                cache,
                threads: Some(1),
                ..EngineConfig::default()
            };
            let engine = Engine::load(&orchestrator, "m", &model.path, config).unwrap();
            let (pool, at_rest) = (orchestrator.pool(), engine.memory());
            assert_eq!(pool.used(), at_rest.weights + at_rest.workspace);
            // Steps of 64, 64, 64, 8, then one token each; the last step's blocks go as it ends.
            let (length, most) = (200, 30);
            let mut peak = 0;
            let found = watch(&engine, &[Job::new(prompt(length, 1), most)], |steps| {
                let to = if steps <= 4 { (64 * steps).min(length) } else { length + steps - 4 };
                let from = if steps <= 4 { 64 * (steps - 1) } else { to - 1 };
                let bytes = held(&groups, from, to);
                peak = peak.max(bytes);
                let memory = engine.memory();
                assert_eq!(memory.peak_kv.bytes(), peak, "{architecture:?} {cache:?} step {steps}");
                let has_ended = to == length + most - 1;
                assert_eq!(memory.kv.bytes(), if has_ended { 0 } else { bytes });
                let ledger = check_ledger(pool);
                let of = |purpose, tag: &str| {
                    ledger.get(&("m".to_owned(), purpose, tag.to_owned())).copied().unwrap_or(0)
                };
                assert_eq!(of(Purpose::Kv, "sequence in seat 0"), memory.kv.bytes());
                assert_eq!(of(Purpose::Weights, "m"), memory.weights.bytes());
                assert_eq!(of(Purpose::Activation, "m"), memory.workspace.bytes());
                assert_eq!(ledger.len(), if has_ended { 2 } else { 3 }, "{ledger:?}");
            });
            assert_eq!(found.steps, 4 + most - 1);
            assert_eq!(found.outcomes[0].tokens.len(), most);
        }
    }
}

#[test]
fn each_sequence_has_its_own_line_in_the_ledger() {
    let model = Model::tiny(Architecture::Llama);
    let block = groups(&model.of, CacheKind::F16)[0].1;
    let orchestrator = orchestrator(ByteSize::mib(64));
    let config =
        EngineConfig { context: Some(256), sequences: 4, threads: Some(1), ..EngineConfig::default() };
    let engine = Engine::load(&orchestrator, "m", &model.path, config).unwrap();
    // Four and one blocks, then two in the seat that the second has left.
    let jobs = [Job::new(prompt(60, 1), 20), Job::new(prompt(10, 2), 3), Job::new(prompt(30, 3), 3).at(3)];
    let mut seen = Vec::new();
    watch(&engine, &jobs, |_| {
        let ledger = check_ledger(orchestrator.pool());
        let kv = ledger.into_iter().filter(|((_, purpose, _), _)| *purpose == Purpose::Kv);
        seen.push(kv.map(|((_, _, tag), bytes)| (tag, bytes / block)).collect::<Vec<_>>());
    });
    let line = |seat: usize, blocks: u64| (format!("sequence in seat {seat}"), blocks);
    assert_eq!(seen[0], [line(0, 4), line(1, 1)]);
    assert_eq!(seen[3], [line(0, 4), line(1, 2)]);
    assert_eq!(*seen.last().unwrap(), []);
}

#[test]
fn a_thousand_tokens_take_a_thousand_times_what_one_takes() {
    for cache in CACHES {
        for architecture in [Architecture::Llama, Architecture::Mistral] {
            let model = Model::tiny(architecture);
            let config =
                EngineConfig { context: Some(1100), cache, threads: Some(1), ..EngineConfig::default() };
            let engine = engine(&model.path, config);
            let mut kv = vec![ByteSize::ZERO];
            watch(&engine, &[Job::new(prompt(1, 1), 1040)], |_| kv.push(engine.memory().kv));
            // Where blocks are full there is nothing but tokens.
            let grown = kv[1008] - kv[16];
            let per_token = engine.memory().kv_per_token;
            if architecture == Architecture::Llama {
                assert_eq!(grown, times(per_token, 992));
                let full = (16..=1024).step_by(16);
                assert!(full.clone().all(|tokens| kv[tokens] == times(per_token, tokens)));
                assert!(full.into_iter().all(|tokens| kv[tokens + 1] == times(per_token, tokens + 16)));
                assert_eq!(engine.kv_bytes(1000), times(per_token, 1000));
            } else {
                assert!(kv.iter().all(|kv| *kv <= times(per_token, 48 + 16)), "a window is all that is kept");
                assert_eq!(kv[1008], times(per_token, 48));
                assert_eq!(engine.kv_bytes(1000), times(per_token, 48));
            }
        }
    }
}

/// Runs all seats to the end of the context, and compares what was foretold with what was granted at the most.
fn check_needs(model: &Model, config: EngineConfig) {
    let what = format!("{:?} {:?} {config:?}", model.of.architecture, model.of.kind);
    let needs = Engine::needs(&model.path, &config).unwrap();
    let orchestrator = orchestrator(ByteSize::mib(256));
    let engine = Engine::load(&orchestrator, "m", &model.path, config.clone()).unwrap();
    let pool = orchestrator.pool();
    assert_eq!(pool.used(), needs.weights + needs.workspace, "{what}");
    let (memory, context) = (engine.memory(), config.context.unwrap());
    assert_eq!((memory.weights, memory.workspace), (needs.weights, needs.workspace), "{what}");
    assert_eq!(memory.kv_per_token, needs.kv_per_token, "{what}");
    let jobs: Vec<_> =
        (0..config.sequences).map(|at| Job::new(prompt(context - 4, at as u64), usize::MAX)).collect();
    let found = run(&engine, &jobs);
    assert!(found.outcomes.iter().all(|outcome| outcome.tokens.len() == 4 && outcome.failed.is_none()));
    assert_eq!(engine.memory().peak_kv, needs.kv, "{what}");
    assert_eq!(pool.stats().peak_used_bytes, needs.total(), "{what}");
    // With nothing to spare it is the same.
    let capacity = needs.total();
    let exact = common::orchestrator(capacity);
    let engine = Engine::load(&exact, "m", &model.path, config).unwrap();
    let again = run(&engine, &jobs);
    assert_eq!(again.outcomes, found.outcomes, "{what}");
    assert_eq!(exact.pool().stats().peak_used_bytes, capacity, "{what}");
}

#[test]
fn what_is_foretold_is_what_is_granted_of_every_architecture() {
    for architecture in Architecture::ALL {
        let model = Model::tiny(architecture);
        for cache in CACHES {
            let together = EngineConfig {
                context: Some(120),
                sequences: 3,
                step_tokens: 512,
                cache,
                threads: Some(2),
                share_prefixes: false,
                ..EngineConfig::default()
            };
            check_needs(&model, together.clone());
            // Long after the windows, in steps of whole blocks.
            check_needs(
                &model,
                EngineConfig { context: Some(600), sequences: 1, step_tokens: 64, ..together },
            );
        }
    }
}

#[test]
fn what_is_foretold_is_what_is_granted_of_every_type() {
    for kind in WeightType::ALL {
        let model = Model::new(TestModel {
            embedding_kind: (kind == WeightType::Q4_0).then_some(WeightType::Q6K),
            ..common::of_type(kind)
        });
        for threads in [1, 3] {
            let config = EngineConfig {
                context: Some(100),
                sequences: 2,
                threads: Some(threads),
                share_prefixes: false,
                ..EngineConfig::default()
            };
            check_needs(&model, config);
        }
    }
}

#[test]
fn nothing_is_left_after_a_model_has_gone_however_often_it_comes() {
    for architecture in [Architecture::Llama, Architecture::Gemma3] {
        let model = Model::tiny(architecture);
        let device = Arc::new(HostDevice::new(ByteSize::mib(128)));
        let pool = Arc::new(DeviceMemoryPool::new(device.clone(), ByteSize::mib(128)).unwrap());
        let orchestrator = Arc::new(MemoryOrchestrator::new(pool.clone()));
        let (mut outcomes, mut files) = (Vec::new(), Vec::new());
        for round in 0..10 {
            let config = EngineConfig {
                context: Some(128),
                sequences: 4,
                threads: Some(3),
                // A budget is of the engine that it was given to.
                kv_budget: (round % 2 == 0).then_some(ByteSize::mib(1)),
                ..EngineConfig::default()
            };
            let engine = Engine::load(&orchestrator, "m", &model.path, config).unwrap();
            let jobs: Vec<_> = (0..4).map(|seed| Job::new(prompt(30, seed), 10)).collect();
            outcomes.push(run(&engine, &jobs).outcomes);
            // One that goes in the middle.
            engine.submit(&prompt(50, 9), Default::default()).unwrap();
            engine.step().unwrap();
            assert!(engine.memory().kv > ByteSize::ZERO);
            engine.unload();
            assert_eq!(pool.used(), ByteSize::ZERO);
            assert!(pool.ledger().is_empty() && pool.owners().is_empty());
            pool.trim().unwrap();
            assert_eq!(pool.committed(), ByteSize::ZERO);
            assert_eq!(device.memory().committed_bytes.value, Some(ByteSize::ZERO));
            let of_file = std::fs::read_dir("/proc/self/fd")
                .into_iter()
                .flatten()
                .flatten()
                .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|path| path == model.path));
            files.push(of_file.count());
        }
        assert!(outcomes.windows(2).all(|two| two[0] == two[1]));
        assert!(files.iter().all(|files| *files == 0), "{files:?}");
    }
}

#[test]
fn a_budget_is_of_one_engine_and_goes_with_it() {
    let model = Model::tiny(Architecture::Llama);
    let orchestrator = orchestrator(ByteSize::mib(64));
    let config = EngineConfig { context: Some(512), threads: Some(1), ..EngineConfig::default() };
    let small = EngineConfig { kv_budget: Some(ByteSize::new(64 << 10)), ..config.clone() };
    let engine = Engine::load(&orchestrator, "m", &model.path, small).unwrap();
    let job = [Job::new(prompt(400, 1), 10)];
    let failed = run(&engine, &job).outcomes.remove(0).failed.unwrap();
    assert!(failed.contains("409 tokens") && failed.contains("64 KiB"), "{failed}");
    engine.set_kv_budget(None).unwrap();
    assert_eq!(run(&engine, &job).outcomes[0].failed, None);
    engine.set_kv_budget(Some(ByteSize::new(64 << 10))).unwrap();
    assert!(run(&engine, &job).outcomes[0].failed.is_some());
    drop(engine);
    let engine = Engine::load(&orchestrator, "m", &model.path, config).unwrap();
    assert_eq!(run(&engine, &job).outcomes[0].failed, None);
}

#[test]
fn an_adapter_needs_no_more_than_its_whole_context_takes() {
    for architecture in Architecture::ALL {
        let model = Model::tiny(architecture);
        let config = EngineConfig { context: Some(300), threads: Some(1), ..EngineConfig::default() };
        let needs = Engine::needs(&model.path, &config).unwrap();
        let adapter =
            LlamaInferenceAdapter::from_model_ref(model.path.to_str().unwrap()).unwrap().with_config(config);
        adapter.load().unwrap();
        adapter.prefill(&prompt(200, 1)).unwrap();
        (0..100).for_each(|_| assert!(adapter.decode_token().is_ok()));
        assert!(adapter.decode_token().is_err());
        let pool = adapter.pool().unwrap();
        assert_eq!(pool.capacity(), needs.total(), "{architecture:?}");
        adapter.unload();
        assert_eq!(pool.used(), ByteSize::ZERO);
        pool.trim().unwrap();
        assert_eq!(pool.committed(), ByteSize::ZERO);
    }
}

#[test]
fn where_batching_is_exclusive_nobody_decodes_while_prompts_are_read() {
    let model = Model::tiny(Architecture::Llama);
    let config = EngineConfig {
        sequences: 3,
        step_tokens: 32,
        prefill: Prefill::Exclusive,
        ..EngineConfig::default()
    };
    let engine = engine(&model.path, EngineConfig { share_prefixes: false, ..config });
    let request = |tokens| Request { most_tokens: Some(tokens), stop_at_end: false, ..Request::default() };
    let of = |events: &[StepEvent]| -> Vec<SequenceId> {
        let token = |event: &StepEvent| match event {
            StepEvent::Token { sequence, .. } => Some(*sequence),
            _ => None,
        };
        events.iter().filter_map(token).collect()
    };
    let first = engine.submit(&prompt(20, 1), request(5)).unwrap();
    assert_eq!(of(&engine.step().unwrap()), [first], "the token behind its prompt");
    assert_eq!(of(&engine.step().unwrap()), [first]);
    assert_eq!(engine.memory().step_tokens, 21);
    let (second, third) = (
        engine.submit(&prompt(70, 2), request(5)).unwrap(),
        engine.submit(&prompt(1, 3), request(5)).unwrap(),
    );
    let mut read = Vec::new();
    for held in [21 + 32, 21 + 64, 21 + 70 + 1] {
        read.extend(of(&engine.step().unwrap()));
        assert_eq!(engine.memory().step_tokens, held);
    }
    assert_eq!(read, [second, third]);
    assert_eq!(of(&engine.step().unwrap()), [first, second, third]);
    assert_eq!(of(&engine.step().unwrap()), [first, second, third]);
    // The last token of the first one's five is chosen with four behind its prompt.
    assert_eq!(of(&engine.step().unwrap()), [first, second, third]);
    let memory = engine.memory();
    assert_eq!(memory.step_tokens, 20 + 4 + 70 + 3 + 1 + 3, "what ended in the step is still counted");
    assert!(memory.step_kv > memory.kv, "{memory:?}");
}
