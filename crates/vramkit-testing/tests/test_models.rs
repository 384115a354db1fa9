//! Test models, read back by the reader of `vramkit-models`.
#![cfg(not(loom))]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vramkit_models::gguf::{GgufFile, GgufValue};
use vramkit_models::header::ModelHeader;
use vramkit_testing::gguf::{Architecture, RopeScaling, TestModel, TestModelError, WeightType, dequantise};

fn written(folder: &TempDir, name: &str, model: &TestModel) -> PathBuf {
    let path = folder.path().join(name);
    model.write(&path).expect("the shape is sound");
    path
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

fn numbers(file: &GgufFile, name: &str) -> Vec<f32> {
    let at =
        file.header().tensors.iter().position(|tensor| tensor.name == name).expect("the tensor is listed");
    let tensor = &file.header().tensors[at];
    let mut bytes = vec![0; tensor.bytes as usize];
    file.read_tensor(at, 0, &mut bytes).expect("the tensor is in the file");
    dequantise(WeightType::named(tensor.kind.name()).expect("a type that was asked for"), &bytes)
}

#[test]
fn every_architecture_is_read_back_as_it_was_asked_for() {
    let folder = folder();
    for architecture in Architecture::ALL {
        let model = TestModel { kind: WeightType::Q4K, ..TestModel::tiny(architecture) };
        let file = GgufFile::open(&written(&folder, architecture.name(), &model)).expect("the file is sound");
        let header = file.header();
        assert_eq!(header.architecture, architecture.name());
        for (key, value) in [
            ("block_count", model.layers),
            ("embedding_length", model.hidden),
            ("attention.head_count", model.heads),
            ("attention.head_count_kv", model.kv_heads),
            ("attention.key_length", model.head),
            ("feed_forward_length", model.feed_forward),
            ("context_length", model.context),
            ("vocab_size", model.vocabulary),
        ] {
            assert_eq!(header.integer(key), Some(i128::from(value)), "{key} of {architecture:?}");
        }
        assert_eq!(header.tensor("output.weight").is_none(), model.tied, "{architecture:?}");
        assert_eq!(header.tensor("blk.0.attn_q.bias").is_some(), model.biases, "{architecture:?}");
        let listed = model.file().expect("the shape is sound").tensors;
        assert_eq!(header.tensors.len(), listed.len());
        for (read, listed) in header.tensors.iter().zip(listed) {
            assert_eq!(
                (&read.name, read.kind.name(), read.bytes),
                (&listed.name, listed.kind, listed.bytes())
            );
            let own = numbers(&file, &read.name);
            assert!(
                own.iter().all(|number| number.is_finite()) && own.iter().any(|number| *number != 0.0),
                "{read:?}"
            );
        }
    }
}

#[test]
fn a_vocabulary_holds_all_that_its_merges_make() {
    let folder = folder();
    for architecture in Architecture::ALL {
        let model = TestModel::tiny(architecture);
        let file = GgufFile::open(&written(&folder, architecture.name(), &model)).expect("the file is sound");
        let texts = |key: &str| file.texts(key).expect("the array is sound");
        let tokens = texts("tokenizer.ggml.tokens").expect("there are tokens");
        let kinds =
            file.integers("tokenizer.ggml.token_type").expect("the array is sound").expect("it is there");
        assert_eq!((tokens.len() as u64, kinds.len()), (model.vocabulary, tokens.len()));
        let all: BTreeSet<_> = tokens.iter().collect();
        assert_eq!(all.len(), tokens.len(), "{architecture:?}");
        let unused = kinds.iter().filter(|kind| **kind == 5).count();
        assert!(unused < 200, "{unused} of {} tokens of {architecture:?} are unused", tokens.len());

        if let Some(merges) = texts("tokenizer.ggml.merges") {
            assert!(merges.len() > 100);
            for merge in merges.iter() {
                let (first, second) = merge.split_once(' ').expect("two pieces");
                for piece in [first, second, &format!("{first}{second}")] {
                    assert!(all.contains(piece), "`{piece}` of {architecture:?}");
                }
            }
        } else {
            let scores =
                file.floats("tokenizer.ggml.scores").expect("the array is sound").expect("it is there");
            assert_eq!(scores.len(), tokens.len());
            assert_eq!(kinds.iter().filter(|kind| **kind == 6).count(), 256);
            let pieces = kinds
                .iter()
                .zip(tokens.iter())
                .filter(|(kind, piece)| **kind == 1 && piece.chars().count() > 1);
            for (_, piece) in pieces {
                // Some pair of known pieces makes it.
                let cuts = piece.char_indices().skip(1).map(|(at, _)| piece.split_at(at));
                assert!(
                    cuts.into_iter().any(|(one, other)| all.contains(one) && all.contains(other)),
                    "`{piece}`"
                );
            }
        }
        let template = file.header().metadata.get("tokenizer.chat_template");
        assert!(matches!(template, Some(GgufValue::Text(text)) if text.contains("messages")), "{template:?}");
    }
}

#[test]
fn types_differ_by_what_their_blocks_lose_and_no_more() {
    let folder = folder();
    let model = |kind| TestModel { kind, layers: 1, ..TestModel::tiny(Architecture::Llama) };
    let open = |kind: WeightType| {
        GgufFile::open(&written(&folder, kind.name(), &model(kind))).expect("the file is sound")
    };
    let exact = open(WeightType::F32);
    // Root mean square errors beside the weights' own; ggml's quantiser loses as much, its K types a few percent less.
    let most = [
        (WeightType::F32, 0.0),
        (WeightType::F16, 0.0003),
        (WeightType::Bf16, 0.002),
        (WeightType::Q8_0, 0.006),
        (WeightType::Q4_0, 0.095),
        (WeightType::Q4_1, 0.083),
        (WeightType::Q5_0, 0.046),
        (WeightType::Q5_1, 0.041),
        (WeightType::Q4K, 0.083),
        (WeightType::Q5K, 0.041),
        (WeightType::Q6K, 0.02),
    ];
    for (kind, most) in most {
        let file = open(kind);
        for name in ["token_embd.weight", "blk.0.ffn_down.weight"] {
            let (one, other) = (numbers(&exact, name), numbers(&file, name));
            assert_eq!(one.len(), other.len());
            let square = |numbers: &mut dyn Iterator<Item = f32>| {
                numbers.map(|number| f64::from(number).powi(2)).sum::<f64>()
            };
            let lost = square(&mut one.iter().zip(&other).map(|(one, other)| one - other));
            let error = (lost / square(&mut one.iter().copied())).sqrt();
            assert!(error <= most, "{} of {name} by {error:.5}", kind.name());
            assert!(
                kind == WeightType::F32 || error > most / 4.0,
                "{} of {name} by {error:.5} only",
                kind.name()
            );
        }
        assert_eq!(numbers(&exact, "blk.0.ffn_norm.weight"), numbers(&file, "blk.0.ffn_norm.weight"));
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let folder = folder();
    let bytes = |seed| {
        let model = TestModel { seed, kind: WeightType::Q5_1, ..TestModel::tiny(Architecture::Gemma3) };
        std::fs::read(written(&folder, "model", &model)).expect("it was written")
    };
    let (one, again, other) = (bytes(1), bytes(1), bytes(2));
    assert!(one == again);
    assert_eq!(one.len(), other.len());
    let header = TestModel::tiny(Architecture::Gemma3).file().expect("the shape is sound").header().len();
    let differing = one[header..].iter().zip(&other[header..]).filter(|(one, other)| one != other).count();
    assert!(differing > one.len() / 2, "{differing} of {} bytes differ", one.len());
}

#[test]
fn a_seed_draws_the_same_weights_of_a_layer_however_many_there_are() {
    let folder = folder();
    let weights = |layers: u64| {
        let model = TestModel { layers, ..TestModel::tiny(Architecture::Qwen3) };
        let file = GgufFile::open(&written(&folder, "model", &model)).expect("the file is sound");
        numbers(&file, "blk.1.attn_q.weight")
    };
    assert_eq!(weights(2), weights(3));
}

#[test]
fn keys_and_values_of_phi_3_are_exact_without_its_weights() {
    let folder = folder();
    let path = written(&folder, "model.gguf", &TestModel::phi3_shaped());
    let header = ModelHeader::read(&path).expect("the file is sound");
    let kept = header.shape.elements(1);
    assert_eq!(2 * (kept.at(1000) - kept.at(999)), 393_216);
    assert!(std::fs::metadata(&path).expect("it was written").len() < 8_000_000);
}

#[test]
fn factors_of_long_contexts_rise_to_how_much_longer_they_are() {
    let folder = folder();
    let model = TestModel::tiny(Architecture::Phi3);
    assert!(matches!(model.rope_scaling, RopeScaling::Long { original: 256, .. }));
    let file = GgufFile::open(&written(&folder, "model", &model)).expect("the file is sound");
    let long = numbers(&file, "rope_factors_long.weight");
    assert_eq!((long.len(), long[0], long[31]), (32, 1.0, 8.0));
    assert!(long.is_sorted());
    assert_eq!(file.header().integer("rope.scaling.original_context_length"), Some(256));
}

#[test]
fn what_no_engine_could_run_is_refused_with_the_number() {
    let tiny = TestModel::tiny;
    let refused = |model: TestModel| {
        let error = model.write(Path::new("/nowhere/model.gguf")).expect_err("the shape is not sound");
        assert!(!matches!(error, TestModelError::Io(_)), "{error}");
        error.to_string()
    };
    for (model, says) in [
        (TestModel { hidden: 192, kind: WeightType::Q6K, ..tiny(Architecture::Llama) }, "192 numbers"),
        (TestModel { vocabulary: 100, ..tiny(Architecture::Qwen2) }, "100 tokens"),
        (TestModel { kv_heads: 3, ..tiny(Architecture::Llama) }, "no multiple of 3"),
        (TestModel { kv_heads: 0, ..tiny(Architecture::Llama) }, "`kv_heads` is 0"),
        (TestModel { head: 63, ..tiny(Architecture::Qwen3) }, "63"),
        (TestModel { hidden: 512, ..tiny(Architecture::Phi3) }, "256 wide"),
        (TestModel { biases: true, ..tiny(Architecture::Qwen3) }, "no biases"),
        (
            TestModel { rope_scaling: RopeScaling::Divisors { factor: 8.0 }, ..tiny(Architecture::Gemma3) },
            "no divisors",
        ),
        (TestModel { layers: u64::MAX, ..tiny(Architecture::Llama) }, "`layers` is 18446744073709551615"),
    ] {
        let reason = refused(model);
        assert!(reason.contains(says), "`{reason}` does not say `{says}`");
    }
}
