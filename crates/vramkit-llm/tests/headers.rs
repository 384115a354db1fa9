//! What a header says that cannot be, contradicts itself, or asks for what is not computed is refused by its key or tensor.
#![allow(clippy::unwrap_used, clippy::result_large_err)]

mod common;

use common::{orchestrator, small, tiny};
use vramkit::ByteSize;
use vramkit_llm::{Engine, LoadError};
use vramkit_testing::gguf::{Architecture, SparseFile, SparseTensor, TestModel, Value};

/// Loads what a test has changed of a file, weights zero.
fn load_changed(file: &SparseFile) -> Result<Engine, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.gguf");
    file.write(&path).unwrap();
    let orchestrator = orchestrator(ByteSize::mib(64));
    let loaded = Engine::load(&orchestrator, "m", &path, small());
    assert!(loaded.is_ok() || orchestrator.pool().used() == ByteSize::ZERO);
    loaded
}

/// That a changed file is refused with words that name these.
fn check_refused(file: &SparseFile, words: &[&str]) {
    let error = load_changed(file).err().unwrap_or_else(|| panic!("{words:?} is no reason to refuse"));
    let said = error.to_string();
    assert!(words.iter().all(|word| said.contains(word)), "{words:?} are not in: {said}");
}

#[test]
fn tensors_that_are_missing_misshapen_or_for_nothing_are_named() {
    for architecture in Architecture::ALL {
        let whole = TestModel { layers: 1, ..tiny(architecture) }.file().unwrap();
        // All weights are 0, which is no factor of a frequency.
        let has_factors = whole.tensors.iter().any(|tensor| tensor.name == "rope_factors_short.weight");
        match load_changed(&whole) {
            Ok(_) => assert!(!has_factors),
            Err(error) => {
                let said = error.to_string();
                assert!(
                    has_factors && said.contains("`rope_factors_short.weight`: a frequency factor"),
                    "{said}"
                );
            }
        }
        for at in 0..whole.tensors.len() {
            let name = &whole.tensors[at].name;
            let mut file = whole.clone();
            file.tensors.remove(at);
            // A file without a head uses its embeddings, and one without factors needs none.
            let is_optional = name == "output.weight" || name.starts_with("rope_factors_");
            match load_changed(&file) {
                Ok(_) => assert!(is_optional, "{architecture:?} without {name}"),
                Err(error) => assert!(
                    error.to_string().contains(name) || name == "blk.0.attn_qkv.weight" || is_optional,
                    "{architecture:?} without {name}: {error}"
                ),
            }
            let mut file = whole.clone();
            let sizes = &mut file.tensors[at].sizes;
            *sizes.last_mut().unwrap() += 32;
            match name.as_str() {
                // Rows are tokens, of which another test is.
                "token_embd.weight" => {}
                // Of a context of 64, it is not used.
                "rope_factors_long.weight" => check_refused(&file, &["rope_factors_short.weight"]),
                _ => check_refused(&file, &[name]),
            }
        }
        for name in ["blk.0.ffn_gate_inp.weight", "blk.1.attn_q.weight", "blk.0.attn_sinks.weight"] {
            let mut file = whole.clone();
            file.tensors.push(SparseTensor::new(name, "f32", &[32]));
            check_refused(&file, &[name]);
        }
        let mut file = whole.clone();
        file.tensors.iter_mut().find(|tensor| tensor.name == "output_norm.weight").unwrap().kind = "q8_0";
        check_refused(&file, &["output_norm.weight", "q8_0"]);
        let mut file = whole.clone();
        let down = file.tensors.iter_mut().find(|tensor| tensor.name == "blk.0.ffn_down.weight").unwrap();
        *down = SparseTensor::new("blk.0.ffn_down.weight", "iq4_nl", &down.sizes);
        check_refused(&file, &["blk.0.ffn_down.weight", "iq4_nl"]);
    }
}

#[test]
fn keys_that_cannot_be_are_refused() {
    let whole = tiny(Architecture::Llama).file().unwrap();
    let float = Value::F32;
    for (key, value) in [
        ("llama.attention.causal", Value::Bool(false)),
        ("llama.rope.scaling.type", Value::Text("longrope".to_owned())),
        ("llama.rope.scaling.type", Value::U32(1)),
        ("llama.attention.head_count", Value::U32(0)),
        ("llama.attention.head_count", Value::U32(u32::MAX)),
        ("llama.attention.head_count", Value::U32(3)),
        ("llama.attention.head_count_kv", Value::U32(0)),
        ("llama.attention.head_count_kv", Value::U32(8)),
        ("llama.attention.key_length", Value::U32(0)),
        ("llama.attention.key_length", Value::U32(u32::MAX)),
        ("llama.block_count", Value::U32(0)),
        ("llama.block_count", Value::U32(3)),
        ("llama.block_count", Value::U32(1)),
        ("llama.block_count", Value::U32(u32::MAX)),
        ("llama.embedding_length", Value::U64(1 << 40)),
        ("llama.feed_forward_length", Value::U32(0)),
        ("llama.rope.dimension_count", Value::U32(0)),
        ("llama.rope.dimension_count", Value::U32(31)),
        ("llama.rope.dimension_count", Value::U32(64)),
        ("llama.rope.freq_base", float(f32::NAN)),
        ("llama.rope.freq_base", float(-1.0)),
        ("llama.rope.scaling.factor", float(-2.0)),
        ("llama.rope.scaling.type", Value::Text("spiral".to_owned())),
        ("llama.attention.layer_norm_rms_epsilon", float(-1.0)),
        ("llama.attention.layer_norm_rms_epsilon", float(f32::INFINITY)),
        ("llama.attention.layer_norm_rms_epsilon", Value::Text("small".to_owned())),
        ("llama.expert_count", Value::U32(8)),
        ("llama.logit_scale", float(0.5)),
    ] {
        let mut file = whole.clone();
        file.set(key, value.clone());
        if load_changed(&file).is_ok() {
            panic!("{key} of {value:?} is no reason to refuse");
        }
    }
    // Heads that no KV head is shared by evenly, in tensors that say the same.
    let mut file = whole;
    file.set("llama.attention.head_count_kv", Value::U32(3));
    for tensor in &mut file.tensors {
        if tensor.name.ends_with("attn_k.weight") || tensor.name.ends_with("attn_v.weight") {
            tensor.sizes[1] = 3 * 32;
        }
    }
    check_refused(&file, &["4 heads cannot share 3 KV heads"]);
}

#[test]
fn a_vocabulary_that_is_another_models_is_refused() {
    let whole = tiny(Architecture::Llama).file().unwrap();
    let resized = |rows: u64| {
        let mut file = whole.clone();
        let of_tokens =
            |tensor: &&mut SparseTensor| ["token_embd.weight", "output.weight"].contains(&&*tensor.name);
        file.tensors.iter_mut().filter(of_tokens).for_each(|tensor| tensor.sizes[1] = rows);
        file
    };
    check_refused(&resized(512), &["544", "512"]);
    // Rows that no token has are chosen by nobody who was trained, and have no text.
    if let Ok(engine) = load_changed(&resized(576)) {
        assert_eq!(engine.tokenizer().decode(&[560, u32::MAX]), "");
    }
    let mut file = whole.clone();
    file.keys.retain(|(key, _)| !key.starts_with("tokenizer."));
    check_refused(&file, &["tokenizer"]);
    let mut file = whole.clone();
    file.set("tokenizer.ggml.pre", Value::Text("no-such-rule".to_owned()));
    check_refused(&file, &["no-such-rule"]);
    let mut file = whole;
    file.set("general.architecture", Value::Text("gpt2".to_owned()));
    check_refused(&file, &["gpt2"]);
}

/// What llama.cpp computes and this engine does not is refused, of every architecture that reads it.
#[test]
fn arithmetic_that_is_not_computed_is_refused_by_its_key() {
    for architecture in Architecture::ALL {
        let whole = tiny(architecture).file().unwrap();
        let name = architecture.name();
        let refused = |keys: &[(&str, Value)]| {
            let mut file = whole.clone();
            keys.iter().for_each(|(key, value)| file.set(&format!("{name}.{key}"), value.clone()));
            check_refused(&file, &[keys[0].0]);
        };
        refused(&[("attention.causal", Value::Bool(false))]);
        let (text, float) = (|text: &str| Value::Text(text.to_owned()), Value::F32);
        refused(&[("rope.scaling.type", text("longrope")), ("rope.scaling.factor", float(2.0))]);
        refused(&[("rope.scaling.type", text("yarn")), ("rope.scaling.factor", float(0.5))]);
        if architecture == Architecture::Gemma3 {
            refused(&[("rope.scaling.type", text("yarn")), ("rope.scaling.factor", float(4.0))]);
            refused(&[("rope.dimension_count_swa", Value::U32(16))]);
            refused(&[("final_logit_softcapping", float(-30.0))]);
        }
        if matches!(architecture, Architecture::Phi3) {
            continue;
        }
        let mut file = whole.clone();
        file.tensors.push(SparseTensor::new("rope_factors_long.weight", "f32", &[16]));
        check_refused(&file, &["rope_factors_long.weight"]);
        if !matches!(architecture, Architecture::Llama | Architecture::Mistral) {
            let mut file = whole.clone();
            file.tensors.push(SparseTensor::new("rope_freqs.weight", "f32", &[16]));
            check_refused(&file, &["rope_freqs.weight"]);
        }
    }
}
