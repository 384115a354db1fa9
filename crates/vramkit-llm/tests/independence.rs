//! A sequence becomes the same, bit for bit, whatever runs beside it, however it is cut into steps, preempted, shared or computed.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CACHES, Job, Model, Outcome, alone, engine, prompt, run, times, watch};
use proptest::prelude::*;
use vramkit::ByteSize;
use vramkit_llm::{Admission, CacheKind, EngineConfig, Finish, Prefill};
use vramkit_testing::gguf::{Architecture, WeightType};

/// Seven sequences beside one that passes windows of 48 tokens and chunks of 256, greedy and drawn.
fn jobs() -> Vec<Job> {
    let lengths = [290, 1, 15, 16, 17, 40, 100, 5];
    let each = |(at, length)| {
        let job = Job::new(prompt(length, at as u64), 20).at(at / 2);
        if at % 2 == 1 { job.warm(at as u64) } else { job }
    };
    lengths.into_iter().enumerate().map(each).collect()
}

/// As many threads and tokens of a step, and the most that is kept of eight sequences.
fn config(cache: CacheKind, sequences: usize, step_tokens: usize, threads: usize) -> EngineConfig {
    let (context, threads) = (Some(512), Some(threads));
    EngineConfig { context, sequences, step_tokens, cache, threads, ..EngineConfig::default() }
}

/// Bytes of the keys and values of so many tokens without windows, in blocks.
fn bytes(model: &Model, config: &EngineConfig, tokens: usize) -> ByteSize {
    let engine = engine(&model.path, config.clone());
    times(engine.memory().kv_per_token, tokens.next_multiple_of(16))
}

fn check(expected: &[Outcome], found: &[Outcome], what: &str) {
    for (at, (expected, found)) in expected.iter().zip(found).enumerate() {
        assert_eq!(expected, found, "sequence {at}, {what}");
        assert_eq!((found.finish, found.tokens.len()), (Some(Finish::Length), 20), "sequence {at}, {what}");
    }
}

fn check_architecture(architecture: Architecture) {
    let model = Model::tiny(architecture);
    for cache in CACHES {
        let jobs = jobs();
        let expected = alone(
            &engine(&model.path, EngineConfig { share_prefixes: false, ..config(cache, 1, 512, 1) }),
            &jobs,
        );
        // A fault that makes all tokens alike would be none of the comparisons'.
        assert!(expected.windows(2).all(|two| two[0].top != two[1].top));
        for threads in [2, 3] {
            let found = alone(&engine(&model.path, config(cache, 1, 512, threads)), &jobs[..1]);
            check(&expected[..1], &found, &format!("{cache:?}, alone, {threads} threads"));
        }
        for (step_tokens, threads) in [(512, 1), (512, 3), (37, 2), (16, 1)] {
            let found = run(&engine(&model.path, config(cache, 8, step_tokens, threads)), &jobs);
            let what = format!("{cache:?}, together, steps of {step_tokens}, {threads} threads");
            check(&expected, &found.outcomes, &what);
            assert_eq!(found.preempted, 0, "{what}");
        }
        let apart = EngineConfig { prefill: Prefill::Exclusive, ..config(cache, 8, 37, 2) };
        check(&expected, &run(&engine(&model.path, apart), &jobs).outcomes, &format!("{cache:?}, exclusive"));
        let small = config(cache, 8, 64, 2);
        let small = EngineConfig {
            admission: Admission::Optimistic,
            kv_budget: Some(bytes(&model, &small, 352)),
            ..small
        };
        let found = run(&engine(&model.path, small), &jobs);
        check(&expected, &found.outcomes, &format!("{cache:?}, preempted"));
        // Windows keep less.
        assert!(found.preempted > 0 || model.of.window > 0, "nobody had to make way");
    }
}

#[test]
fn llama_sequences_are_independent() {
    check_architecture(Architecture::Llama);
}

#[test]
fn phi3_sequences_are_independent() {
    check_architecture(Architecture::Phi3);
}

#[test]
fn qwen2_sequences_are_independent() {
    check_architecture(Architecture::Qwen2);
}

#[test]
fn qwen3_sequences_are_independent() {
    check_architecture(Architecture::Qwen3);
}

#[test]
fn mistral_sequences_are_independent() {
    check_architecture(Architecture::Mistral);
}

#[test]
fn gemma3_sequences_are_independent() {
    check_architecture(Architecture::Gemma3);
}

#[test]
fn sequences_with_windows_that_make_way_become_the_same() {
    for architecture in [Architecture::Mistral, Architecture::Gemma3] {
        let model = Model::tiny(architecture);
        let lengths = [200, 120, 90, 60];
        let jobs: Vec<_> =
            lengths.iter().map(|&length| Job::new(prompt(length, length as u64), 60)).collect();
        let expected = alone(&engine(&model.path, config(CacheKind::F16, 1, 512, 1)), &jobs);
        let budget = engine(&model.path, config(CacheKind::F16, 1, 16, 1)).memory().kv_per_token;
        let small = EngineConfig {
            admission: Admission::Optimistic,
            // About a third of what the four would hold at last.
            kv_budget: Some(times(budget, if architecture == Architecture::Gemma3 { 144 } else { 112 })),
            ..config(CacheKind::F16, 4, 16, 2)
        };
        let found = run(&engine(&model.path, small), &jobs);
        assert_eq!(expected, found.outcomes, "{architecture:?}");
        assert!(found.preempted > 0, "{architecture:?}: nobody had to make way");
    }
}

#[test]
fn every_type_of_weights_gives_one_result_in_batches_of_all_sizes() {
    for kind in WeightType::ALL {
        let model = Model::new(common::of_type(kind));
        let jobs: Vec<_> =
            [70, 3, 33, 16].iter().map(|&length| Job::new(prompt(length, length as u64), 12)).collect();
        let expected = alone(&engine(&model.path, config(CacheKind::F16, 1, 1, 1)), &jobs);
        for (sequences, step_tokens, threads) in [(1, 512, 2), (4, 512, 1), (4, 7, 3), (4, 16, 2), (3, 33, 1)]
        {
            let found =
                run(&engine(&model.path, config(CacheKind::F16, sequences, step_tokens, threads)), &jobs);
            assert_eq!(expected, found.outcomes, "{kind:?}, {sequences} in steps of {step_tokens}");
        }
    }
}

#[test]
fn sequences_that_begin_alike_become_the_same_in_fewer_bytes() {
    for architecture in Architecture::ALL {
        let model = Model::tiny(architecture);
        for cache in CACHES {
            // Both look at the same 64 tokens; the second comes when the first has computed them, the third repeats the
            // second's whole prompt.
            let (first, second) = (prompt(70, 1), [&prompt(70, 1)[..64], &prompt(20, 2)].concat());
            let jobs =
                [Job::new(first, 40), Job::new(second.clone(), 30).at(2), Job::new(second, 20).warm(5).at(4)];
            let expected = alone(
                &engine(&model.path, EngineConfig { share_prefixes: false, ..config(cache, 1, 512, 1) }),
                &jobs,
            );
            let mut held = Vec::new();
            for share_prefixes in [false, true] {
                let engine = engine(&model.path, EngineConfig { share_prefixes, ..config(cache, 3, 512, 2) });
                let mut kv = Vec::new();
                let found = watch(&engine, &jobs, |_| kv.push(engine.memory().kv.bytes()));
                assert_eq!(expected, found.outcomes, "{architecture:?} {cache:?} {share_prefixes}");
                held.push(kv);
            }
            let [apart, shared] = &held[..] else { unreachable!() };
            assert_eq!(apart.len(), shared.len(), "neither takes more steps");
            assert!(apart.iter().zip(shared).all(|(apart, shared)| shared <= apart));
            // After the third has come: four blocks of the second and five of the third are others' where nothing has a window.
            let at = 4;
            if model.of.window == 0 {
                let token = engine(&model.path, config(cache, 1, 512, 1)).memory().kv_per_token.bytes();
                assert_eq!(apart[at] - shared[at], token * 16 * 9, "{architecture:?} {cache:?}");
            } else {
                assert!(shared[at] < apart[at], "{architecture:?} {cache:?}");
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Case {
    jobs: Vec<Job>,
    config: EngineConfig,
    /// Tokens that the budget holds beyond the longest sequence.
    spare: Option<usize>,
}

fn cases() -> impl Strategy<Value = Case> {
    let job = (1usize..150, 1usize..24, 0usize..12, 0u64..3, any::<bool>()).prop_map(
        |(length, most, at, seed, is_warm)| {
            let job = Job::new(prompt(length, seed), most).at(at);
            if is_warm { job.warm(seed) } else { job }
        },
    );
    let jobs = prop::collection::vec(job, 1..8);
    let settings = (1usize..9, 0usize..60, 1usize..4, any::<bool>(), prop::option::of(0usize..64));
    (jobs, settings, prop::sample::select(CACHES.to_vec())).prop_map(
        |(jobs, (sequences, more, threads, share_prefixes, spare), cache)| {
            let admission = if spare.is_some() { Admission::Optimistic } else { Admission::Reserve };
            let config = EngineConfig {
                admission,
                share_prefixes,
                context: Some(180),
                ..config(cache, sequences, sequences + more, threads)
            };
            Case { jobs, config, spare }
        },
    )
}

/// Of an architecture with windows in some layers, and one without.
fn models() -> &'static [Model; 2] {
    static MODELS: std::sync::OnceLock<[Model; 2]> = std::sync::OnceLock::new();
    MODELS.get_or_init(|| [Architecture::Qwen3, Architecture::Gemma3].map(Model::tiny))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_batch_in_any_steps_gives_what_each_sequence_gives_alone(case in cases(), which in 0usize..2) {
        let model = &models()[which];
        let cache = case.config.cache;
        let reference = EngineConfig { share_prefixes: false, context: Some(180), ..config(cache, 1, 512, 1) };
        let expected = alone(&engine(&model.path, reference), &case.jobs);
        let longest = case.jobs.iter().map(|job| job.prompt.len() + job.request.most_tokens.unwrap()).max().unwrap();
        let kv_budget = case.spare.map(|spare| {
            // Of windows, what a step may add to one at the most.
            bytes(model, &case.config, longest.max(48 + case.config.step_tokens + 32) + spare)
        });
        let engine = engine(&model.path, EngineConfig { kv_budget, ..case.config });
        let found = run(&engine, &case.jobs);
        prop_assert_eq!(expected, found.outcomes);
        prop_assert_eq!(engine.memory().kv, ByteSize::ZERO);
    }
}
