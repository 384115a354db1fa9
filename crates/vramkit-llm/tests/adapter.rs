//! The adapter's verbs in every order: what is too early is said, what is done twice does no harm, what was unloaded comes back.
#![allow(clippy::unwrap_used)]

mod common;

use std::thread;

use common::{Job, Model, alone, engine, prompt};
use vramkit::ByteSize;
use vramkit_llm::{AdapterError, EngineConfig, LlamaInferenceAdapter, LoadError, Sampling};
use vramkit_testing::gguf::Architecture;

fn config() -> EngineConfig {
    EngineConfig { context: Some(64), threads: Some(1), ..EngineConfig::default() }
}

fn adapter(model: &Model) -> LlamaInferenceAdapter {
    let path = model.path.to_str().unwrap();
    LlamaInferenceAdapter::from_model_ref(path).unwrap().with_config(config())
}

fn decode(adapter: &LlamaInferenceAdapter, count: usize) -> Vec<u32> {
    (0..count).map(|_| adapter.decode_token().unwrap()).collect()
}

#[test]
fn verbs_that_come_too_early_are_said_to() {
    let model = Model::tiny(Architecture::Llama);
    let adapter = adapter(&model);
    let check_unloaded = || {
        assert!(matches!(adapter.encode("text"), Err(AdapterError::NotReady(_))));
        assert!(matches!(adapter.decode(&[1]), Err(AdapterError::NotReady(_))));
        assert!(matches!(adapter.prefill(&[1]), Err(AdapterError::NotReady(_))));
        assert!(matches!(adapter.decode_token(), Err(AdapterError::NotReady(_))));
        assert_eq!((adapter.memory(), adapter.used()), (None, ByteSize::ZERO));
    };
    check_unloaded();
    adapter.unload();
    check_unloaded();
    adapter.load().unwrap();
    assert!(matches!(adapter.decode_token(), Err(AdapterError::NotReady(_))));
    adapter.prefill(&prompt(5, 1)).unwrap();
    decode(&adapter, 2);
    adapter.unload();
    check_unloaded();
    adapter.unload();
    check_unloaded();
}

#[test]
fn tokens_are_those_of_an_engine_after_every_load_and_prompt() {
    for architecture in Architecture::ALL {
        let model = Model::tiny(architecture);
        let jobs = [Job::new(prompt(20, 1), 12), Job::new(prompt(33, 2), 12).warm(7)];
        let expected = alone(&engine(&model.path, config()), &jobs);
        let adapter = adapter(&model);
        for _ in 0..3 {
            adapter.load().unwrap();
            adapter.load().unwrap();
            let at_rest = adapter.used();
            for (job, expected) in jobs.iter().zip(&expected) {
                adapter.set_sampling(job.request.sampling);
                adapter.prefill(&prompt(40, 9)).unwrap();
                adapter.prefill(&job.prompt).unwrap();
                assert_eq!(decode(&adapter, 12), expected.tokens, "{architecture:?}");
                assert!(adapter.used() > at_rest);
            }
            // One sequence's memory, though four were begun.
            assert_eq!(adapter.used(), at_rest + adapter.memory().unwrap().kv);
            adapter.unload();
            assert_eq!(adapter.used(), ByteSize::ZERO);
        }
    }
}

#[test]
fn a_token_beyond_the_context_is_refused_with_both_lengths() {
    let model = Model::tiny(Architecture::Mistral);
    let adapter = adapter(&model);
    adapter.load().unwrap();
    for length in [1, 63, 64] {
        adapter.prefill(&prompt(length, 1)).unwrap();
        decode(&adapter, 64 - length);
        for _ in 0..2 {
            match adapter.decode_token() {
                Err(AdapterError::ContextLengthExceeded { length: 65, max: 64 }) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let at_rest = adapter.memory().unwrap().weights + adapter.memory().unwrap().workspace;
    adapter.prefill(&prompt(30, 1)).unwrap();
    match adapter.prefill(&prompt(80, 1)) {
        Err(AdapterError::ContextLengthExceeded { length: 80, max: 64 }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(adapter.used(), at_rest, "the sequence before was given up");
    assert!(matches!(adapter.decode_token(), Err(AdapterError::NotReady(_))));
    assert!(matches!(adapter.prefill(&[]), Err(AdapterError::EmptyPrompt)));
    adapter.set_sampling(Sampling { temperature: f32::NAN, ..Sampling::default() });
    assert!(matches!(adapter.prefill(&[1]), Err(AdapterError::Sampling(_))));
}

#[test]
fn text_comes_back_from_its_tokens() {
    let model = Model::tiny(Architecture::Qwen2);
    let adapter = adapter(&model);
    adapter.load().unwrap();
    for text in ["", "The capital of France is", "zwölf Boxkämpfer 🥊\n\n"] {
        assert_eq!(adapter.decode(&adapter.encode(text).unwrap()).unwrap(), text);
    }
    // What steers is one token, and no text.
    let steering = adapter.encode("<|im_end|>").unwrap();
    assert_eq!((steering.len(), adapter.decode(&steering).unwrap().as_str()), (1, ""));
}

#[test]
fn models_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.gguf");
    for reference in [missing.to_str().unwrap(), "", "no-such-model"] {
        match LlamaInferenceAdapter::from_model_ref(reference) {
            Err(LoadError::NotFound { reference: found, .. }) => assert_eq!(found, reference),
            other => panic!("{other:?}"),
        }
    }
    std::fs::write(&missing, b"GGUF").unwrap();
    let adapter = LlamaInferenceAdapter::from_model_ref(missing.to_str().unwrap()).unwrap();
    assert!(matches!(adapter.load(), Err(LoadError::Read(_))));
    assert_eq!(adapter.used(), ByteSize::ZERO);
}

#[test]
fn threads_take_turns() {
    let model = Model::tiny(Architecture::Llama);
    let adapter = adapter(&model);
    thread::scope(|scope| {
        for seed in 0..4 {
            let adapter = &adapter;
            scope.spawn(move || {
                for round in 0..20 {
                    adapter.load().unwrap();
                    match adapter.prefill(&prompt(10, seed)) {
                        Ok(()) | Err(AdapterError::NotReady(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                    match adapter.decode_token() {
                        Ok(_) | Err(AdapterError::NotReady(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                    if round % 5 == seed as usize {
                        adapter.unload();
                    }
                }
            });
        }
    });
    adapter.unload();
    assert_eq!(adapter.used(), ByteSize::ZERO);
}
