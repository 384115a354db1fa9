//! GGUF headers: what is read of right files, and what is said of wrong ones.

mod common;

use std::path::Path;

use common::{Gguf, llama};
use proptest::prelude::*;
use vramkit_models::gguf::{GgufHeader, GgufValue};
use vramkit_models::header::ModelHeader;
use vramkit_models::shape::{Cache, Heads, Layer};

fn written(gguf: &Gguf) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("model.gguf");
    gguf.write(&path);
    (folder, path)
}

fn wrong(gguf: &Gguf) -> String {
    let (_folder, path) = written(gguf);
    GgufHeader::read(&path).expect_err("refused").to_string()
}

fn no_shape(gguf: &Gguf) -> String {
    let (_folder, path) = written(gguf);
    ModelHeader::read(&path).expect_err("refused").to_string()
}

fn read_bytes(bytes: &[u8]) -> Result<GgufHeader, vramkit_models::ReadError> {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("write");
    GgufHeader::read(&path)
}

#[test]
fn keys_and_tensors_of_a_file() {
    let file = llama()
        .raw("a.negative", 5, &(-3i32).to_le_bytes())
        .raw("a.byte", 1, &[0xff])
        .raw("a.float", 6, &1.5f32.to_le_bytes())
        .raw("a.double", 12, &2.5f64.to_le_bytes())
        .raw("a.flag", 7, &[1])
        .numbers("a.numbers", &[1, 2, 3])
        .flags("a.flags", &[true, false]);
    let (_folder, path) = written(&file);
    let header = GgufHeader::read(&path).expect("a right file");
    assert_eq!(header.architecture, "llama");
    assert_eq!(header.integer("embedding_length"), Some(64));
    let value = |key: &str| header.metadata[key].clone();
    assert_eq!(value("a.negative"), GgufValue::Integer(-3));
    assert_eq!(value("a.byte"), GgufValue::Integer(-1));
    assert_eq!(value("a.float"), GgufValue::Float(1.5));
    assert_eq!(value("a.double"), GgufValue::Float(2.5));
    assert_eq!(value("a.flag"), GgufValue::Bool(true));
    assert_eq!(value("a.numbers"), GgufValue::Integers(vec![1, 2, 3]));
    assert_eq!(value("a.flags"), GgufValue::Bools(vec![true, false]));
    assert_eq!(value("tokenizer.ggml.tokens"), GgufValue::Array(3));
    let output = header.tensor("output.weight").expect("stored");
    assert_eq!((output.dims, output.bytes), ([64, 100, 1, 1], 25_600));
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let (header, length) = llama().bytes();
    let mut whole = header;
    whole.resize(length as usize, 0);
    assert!(read_bytes(&whole).is_ok());
    // Every boundary of the header, and the data's end.
    let data = whole.len() - 51_200;
    for end in (0..data).chain([data + 1, whole.len() - 1]) {
        let error = read_bytes(&whole[..end]).expect_err("refused").to_string();
        assert!(error.contains("model.gguf"), "{error}");
    }
}

#[test]
fn counts_beyond_the_file() {
    for said in [1 << 60, u64::MAX, 1 << 20] {
        let error = wrong(&Gguf { keys_said: Some(said), ..llama() });
        assert!(error.contains(&format!("{said} keys")), "{error}");
        let error = wrong(&Gguf { tensors_said: Some(said), ..llama() });
        assert!(error.contains(&format!("{said} tensors")), "{error}");
    }
    let mut huge = 8u32.to_le_bytes().to_vec();
    huge.extend((1u64 << 60).to_le_bytes());
    assert!(wrong(&llama().raw("a.list", 9, &huge)).contains("`a.list` is an array of 1152921504606846976"));
    let mut huge = 4u32.to_le_bytes().to_vec();
    huge.extend((1u64 << 60).to_le_bytes());
    assert!(wrong(&llama().raw("a.list", 9, &huge)).contains("a.list"));
    let length = (1u64 << 60).to_le_bytes();
    assert!(wrong(&llama().raw("a.text", 8, &length)).contains("a.text is a text of 1152921504606846976"));
}

#[test]
fn tensors_in_wrong_places() {
    let two = |offset: u64| {
        let one = Gguf::default().text("general.architecture", "llama").tensor("a", &[64]);
        wrong(&one.tensor_at("b", &[8], 0, offset))
    };
    assert!(two(224).contains("tensors `a` and `b` overlap"));
    assert!(two(100).contains("no multiple of the alignment of 32"));
    assert!(two(1 << 40).contains("tensor `b` of 32 bytes is at offset 1099511627776"));
    assert!(two(u64::MAX - 31).contains("tensor `b`"));
}

#[test]
fn tensors_that_cannot_be() {
    let one = |dims: &[u64], kind: u32| {
        wrong(&Gguf::default().text("general.architecture", "llama").tensor_at("odd", dims, kind, 0))
    };
    let error = one(&[64], 99);
    assert!(error.contains("`odd` has type 99") && error.contains("12 (q4_K)"), "{error}");
    assert!(one(&[33], 2).contains("33 × 1 × 1 × 1 numbers in q4_0, whose rows are blocks of 32"));
    assert!(one(&[1 << 40, 1 << 40], 0).contains("no tensor"));
    assert!(one(&[0], 0).contains("no tensor"));
    assert!(one(&[1, 1, 1, 1, 1], 0).contains("5 dimensions"));
    assert!(wrong(&llama().tensor("output.weight", &[64])).contains("tensor `output.weight` is there twice"));
    assert!(
        wrong(&llama().number("llama.block_count", 3)).contains("key `llama.block_count` is there twice")
    );
}

#[test]
fn other_kinds_of_files() {
    assert!(wrong(&Gguf { version: Some(1), ..llama() }).contains("version 1"));
    assert!(wrong(&Gguf { version: Some(4), ..llama() }).contains("version 4; 2 and 3 are read"));
    assert!(wrong(&Gguf { version: Some(3u32.swap_bytes()), ..llama() }).contains("big-endian"));
    assert!(read_bytes(b"GGML....").expect_err("refused").to_string().contains("no GGUF file"));
    assert!(wrong(&llama().raw("general.alignment", 4, &48u32.to_le_bytes())).contains("no power of two"));
    let version_2 = Gguf { version: Some(2), ..llama() };
    let (_folder, path) = written(&version_2);
    assert!(GgufHeader::read(&path).is_ok());
}

fn shard(at: u16, of: u16) -> Gguf {
    Gguf::default().short("split.no", at).short("split.count", of)
}

fn shards(folder: &Path) {
    let first = llama().short("split.no", 0).short("split.count", 3).number("split.tensors.count", 4);
    first.write(&folder.join("big-00001-of-00003.gguf"));
    shard(1, 3).tensor("blk.0.a", &[64]).write(&folder.join("big-00002-of-00003.gguf"));
    shard(2, 3).tensor("blk.1.a", &[64]).write(&folder.join("big-00003-of-00003.gguf"));
}

#[test]
fn models_in_several_files() {
    let folder = tempfile::tempdir().expect("folder");
    let file = |name: &str| folder.path().join(name);
    shards(folder.path());
    let read = |name: &str| GgufHeader::read(&file(name));
    assert_eq!(read("big-00001-of-00003.gguf").expect("whole").tensors.len(), 4);
    // The folder is the model.
    assert_eq!(ModelHeader::read(folder.path()).expect("whole").name, "big-00001-of-00003");
    let error = read("big-00002-of-00003.gguf").expect_err("not the first").to_string();
    assert!(error.contains("file 2 of 3") && error.contains("big-00001-of-00003.gguf"), "{error}");
    shard(2, 3).tensor("blk.0.a", &[64]).write(&file("big-00003-of-00003.gguf"));
    let error = read("big-00001-of-00003.gguf").expect_err("twice").to_string();
    assert!(error.contains("tensor `blk.0.a` is in two of the 3 files"), "{error}");
    shard(1, 3).tensor("blk.1.a", &[64]).write(&file("big-00003-of-00003.gguf"));
    let error = read("big-00001-of-00003.gguf").expect_err("another file").to_string();
    assert!(error.contains("big-00003-of-00003.gguf") && error.contains("file 3 of 3"), "{error}");
    std::fs::remove_file(file("big-00003-of-00003.gguf")).expect("there");
    let error = read("big-00001-of-00003.gguf").expect_err("missing").to_string();
    assert!(error.contains("big-00003-of-00003.gguf is missing"), "{error}");
    std::fs::rename(file("big-00001-of-00003.gguf"), file("renamed.gguf")).expect("renamed");
    assert!(read("renamed.gguf").expect_err("no names").to_string().contains("-00001-of-00003.gguf"));
}

#[test]
fn what_is_no_file() {
    let folder = tempfile::tempdir().expect("folder");
    let missing = folder.path().join("missing.gguf");
    assert!(ModelHeader::read(&missing).expect_err("missing").to_string().contains("missing.gguf"));
    let error = ModelHeader::read(folder.path()).expect_err("empty").to_string();
    assert!(error.contains("without a config.json"), "{error}");
    llama().write(&folder.path().join("a.gguf"));
    llama().write(&folder.path().join("b.gguf"));
    let error = ModelHeader::read(folder.path()).expect_err("two").to_string();
    assert!(error.contains("a.gguf") && error.contains("b.gguf"), "{error}");
    // As ollama keeps them: without an ending.
    llama().write(&folder.path().join("sha256-1234"));
    assert!(ModelHeader::read(&folder.path().join("sha256-1234")).is_ok());
    #[cfg(unix)]
    assert!(ModelHeader::read(Path::new("/dev/zero")).is_err());
}

/// A model of this architecture with the common keys and these.
fn model(name: &str, layers: u32, more: impl Fn(Gguf) -> Gguf) -> ModelHeader {
    let key = |key: &str| format!("{name}.{key}");
    let gguf = Gguf::default()
        .text("general.architecture", name)
        .number(&key("block_count"), layers)
        .number(&key("context_length"), 4096)
        .number(&key("embedding_length"), 512)
        .number(&key("attention.head_count"), 8);
    let (_folder, path) = written(&more(gguf));
    ModelHeader::read(&path).expect("a shape")
}

fn heads(kv_heads: u64, key: u64) -> Heads {
    Heads { kv_heads, key, value: key }
}

#[test]
fn shapes_by_layer() {
    let plain = model("llama", 3, |gguf| gguf.number("llama.attention.head_count_kv", 2));
    assert_eq!(plain.shape.layers, [Layer::keeping(Cache::Full(heads(2, 64))); 3]);

    let windows = model("gemma3", 6, |gguf| gguf.number("gemma3.attention.sliding_window", 1024));
    let window = Layer::keeping(Cache::Window { heads: heads(8, 64), tokens: 1024 });
    let full = Layer::keeping(Cache::Full(heads(8, 64)));
    assert_eq!(windows.shape.layers, [window, window, window, window, window, full]);

    let first = model("laguna", 4, |gguf| gguf.number("laguna.attention.sliding_window", 512));
    assert!(matches!(first.shape.layers[0].cache, Cache::Full(_)));
    assert!(matches!(first.shape.layers[1].cache, Cache::Window { tokens: 512, .. }));

    let shared = model("gemma4", 4, |gguf| {
        gguf.number("gemma4.attention.sliding_window", 512)
            .flags("gemma4.attention.sliding_window_pattern", &[true, false, true, false])
            .number("gemma4.attention.shared_kv_layers", 2)
    });
    assert_eq!(shared.shape.layers[2].cache, Cache::Shared { layer: 0 });
    assert_eq!(shared.shape.layers[3].cache, Cache::Shared { layer: 1 });

    let latent = model("deepseek2", 2, |gguf| {
        gguf.number("deepseek2.attention.kv_lora_rank", 512)
            .number("deepseek2.attention.key_length", 576)
            .number("deepseek2.attention.key_length_mla", 192)
            .number("deepseek2.attention.head_count_kv", 1)
    });
    let vector = Cache::Latent { latent: 512, rope: 64, indexer: 0 };
    assert_eq!(latent.shape.layers, [Layer::keeping(vector); 2]);

    let hybrid = model("qwen35", 4, |gguf| {
        gguf.number("qwen35.ssm.conv_kernel", 4)
            .number("qwen35.ssm.inner_size", 1024)
            .number("qwen35.ssm.state_size", 128)
            .number("qwen35.ssm.group_count", 2)
    });
    let kept = hybrid.shape.elements(1);
    assert_eq!(kept.growing_per_token, 2 * 512);
    assert_eq!(kept.constant, 3 * (3 * (1024 + 2 * 2 * 128) + 1024 * 128));

    let encoder = model("bert", 2, |gguf| gguf);
    assert_eq!(encoder.shape.elements(1).at(1000), 0);

    let drafts = model("glm4moe", 3, |gguf| gguf.number("glm4moe.nextn_predict_layers", 1));
    assert_eq!((drafts.shape.layers.len(), drafts.shape.draft_layers.len()), (2, 1));
}

#[test]
fn shapes_that_contradict_themselves() {
    let one = |key: &str, value: u32| {
        let gguf = Gguf::default().text("general.architecture", "llama");
        let common = [("block_count", 2), ("embedding_length", 64), ("attention.head_count", 8)];
        let common = common.iter().filter(|known| known.0 != key);
        let gguf = common.fold(gguf, |gguf, (key, value)| gguf.number(&format!("llama.{key}"), *value));
        no_shape(&gguf.number(&format!("llama.{key}"), value))
    };
    assert!(one("block_count", 0).contains("0 layers"));
    assert!(one("block_count", u32::MAX).contains("4294967295 layers"));
    assert!(one("embedding_length", 0).contains("0 numbers"));
    assert!(one("attention.head_count_kv", 3).contains("8 heads cannot share 3 KV heads"));
    assert!(one("attention.head_count", 0).contains("`llama.attention.head_count`"));
    assert!(one("nextn_predict_layers", 2).contains("2 of 2 layers"));
    let error = no_shape(&Gguf::default().text("general.architecture", "llamma"));
    assert!(error.contains("`llamma` is not known") && error.contains("did you mean `llama`?"), "{error}");
    let error = no_shape(&Gguf::default().text("general.architecture", "llama"));
    assert!(error.contains("no `llama.block_count` in it"), "{error}");
    let error = no_shape(&Gguf::default().number("x", 1));
    assert!(error.contains("no `general.architecture`"), "{error}");
}

proptest! {
    /// Whatever bytes are there, they are read or refused.
    #[test]
    fn damaged_files_do_not_panic(changes in prop::collection::vec((0usize..900, any::<u8>()), 1..8), cut in 0usize..900) {
        let mut bytes = llama().bytes().0;
        for (at, byte) in changes {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        bytes.truncate(bytes.len().max(cut));
        bytes.resize(bytes.len() + 60_000, 0);
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, bytes).expect("write");
        let _ = ModelHeader::read(&path);
    }
}

#[test]
fn a_projector_is_not_the_model_of_a_folder() {
    let folder = tempfile::tempdir().expect("folder");
    let write = |name: &str, gguf: &Gguf| gguf.write(&folder.path().join(name));
    let projector = Gguf::default().text("general.architecture", "clip").tensor("v.weight", &[64, 4]);
    write("model-q4.gguf", &llama());
    write("mmproj-f16.gguf", &projector);
    write("vision.gguf", &projector);
    let model = ModelHeader::read(folder.path()).expect("one model");
    assert_eq!((model.name.as_str(), model.shape.layers.len()), ("model-q4", 2));
    assert!(model.notes[0].contains("mmproj-f16.gguf, vision.gguf"), "{:?}", model.notes);
    write("another.gguf", &llama());
    let error = ModelHeader::read(folder.path()).expect_err("two models").to_string();
    assert!(error.contains("another.gguf") && !error.contains("mmproj"), "{error}");
    for name in ["another.gguf", "model-q4.gguf"] {
        std::fs::remove_file(folder.path().join(name)).expect("there");
    }
    assert!(ModelHeader::read(folder.path()).expect_err("none").to_string().contains("projectors"));
}
