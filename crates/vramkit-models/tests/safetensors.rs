//! Safetensors: one file, and the shards of a folder.

mod common;

use common::safetensors;
use vramkit_models::header::ModelHeader;

const TWO: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[4,8],"data_offsets":[0,64]},
"b":{"dtype":"F8_E4M3","shape":[16],"data_offsets":[64,80]}}"#;

fn read(header: &str, data: u64) -> Result<ModelHeader, String> {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("model.safetensors");
    safetensors(&path, header, data);
    ModelHeader::read(&path).map_err(|error| error.to_string())
}

#[test]
fn tensors_of_a_file() {
    let model = read(TWO, 80).expect("a right file");
    let tensors = model.tensors.expect("stored");
    let of = |at: usize| (tensors[at].name.as_str(), tensors[at].kind, tensors[at].size.bytes());
    assert_eq!([of(0), of(1)], [("a", "BF16", 64), ("b", "F8_E4M3", 16)]);
    assert!(model.notes[0].contains("config.json"));
}

#[test]
fn headers_that_cannot_be() {
    let one = |dtype: &str, shape: &str, offsets: &str| {
        let header = format!(r#"{{"odd":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#);
        read(&header, 64).expect_err("refused")
    };
    assert!(one("BF17", "[4,8]", "[0,64]").contains("`odd`: its type `BF17` is not known; known are BOOL"));
    assert!(one("BF16", "[4,9]", "[0,64]").contains("not what 4 × 9 numbers of BF16 take"));
    assert!(one("BF16", "[4,8]", "[64,0]").contains("not what"));
    assert!(one("BF16", "[4294967296,4294967296,4]", "[0,64]").contains("not what"));
    assert!(one("BF16", "[4,16]", "[0,128]").contains("ends at byte 128, and the file has 64"));
    assert!(one("BF16", "[4,7]", "[8,64]").contains("leaves a hole"));
    assert!(one("BF16", "[-4]", "[0,64]").contains("no header of safetensors"));
    assert!(one("BF16", "[4,4]", "[0,32]").contains("64 bytes of data, of which its header names 32"));
    assert!(read(&TWO.replace("64,80", "48,64"), 64).expect_err("refused").contains("overlaps"));
    assert!(read(&TWO.replace("\"b\"", "\"a\""), 80).expect_err("refused").contains("twice"));
    assert!(read("[]", 0).is_err());
}

#[test]
fn files_cut_short() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("model.safetensors");
    safetensors(&path, TWO, 80);
    let whole = std::fs::read(&path).expect("written");
    for end in 0..whole.len() {
        std::fs::write(&path, &whole[..end]).expect("write");
        assert!(ModelHeader::read(&path).is_err(), "{end} of {} bytes", whole.len());
    }
    // A header that says that it is longer than any.
    let mut bytes = whole;
    bytes[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    std::fs::write(&path, &bytes).expect("write");
    let error = ModelHeader::read(&path).expect_err("refused").to_string();
    assert!(error.contains("1152921504606846976"), "{error}");
}

const CONFIG: &str =
    r#"{"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4}"#;
const FIRST: &str = "model-00001-of-00002.safetensors";
const SECOND: &str = "model-00002-of-00002.safetensors";

/// A folder with a configuration and these shards of a tensor each; its index names the tensors of `indexed`.
fn shards(there: &[&str], indexed: Option<&[&str]>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("write");
    write("config.json", CONFIG.to_owned());
    for name in there {
        let header = format!(r#"{{"{name}":{{"dtype":"BF16","shape":[4,8],"data_offsets":[0,64]}}}}"#);
        safetensors(&folder.path().join(name), &header, 64);
    }
    if let Some(indexed) = indexed {
        let entries: Vec<_> = indexed.iter().map(|name| format!(r#""{name}":"{name}""#)).collect();
        write("model.safetensors.index.json", format!(r#"{{"weight_map":{{{}}}}}"#, entries.join(",")));
    }
    folder
}

#[test]
fn a_part_of_a_model_is_not_the_whole() {
    let both: &[&str] = &[FIRST, SECOND];
    let count = |path: &std::path::Path| {
        let model = ModelHeader::read(path).map_err(|error| error.to_string())?;
        Ok::<_, String>(model.tensors.expect("stored").len())
    };
    let missing = |there: &[&str], indexed| count(shards(there, indexed).path()).expect_err("refused");
    for indexed in [None, Some(both)] {
        let whole = shards(both, indexed);
        assert_eq!(count(whole.path()), Ok(2));
        // One of them stands for all.
        assert_eq!(count(&whole.path().join(SECOND)), Ok(2));
    }
    assert!(missing(&[FIRST], None).contains(SECOND));
    assert!(missing(&[SECOND], None).contains(FIRST));
    assert!(missing(&[FIRST], Some(both)).contains(SECOND));
    assert!(missing(both, Some(&[FIRST])).contains(SECOND));
    assert!(missing(both, Some(&[])).contains("names no tensor"));
    let first = shards(&[FIRST], None);
    assert!(count(&first.path().join(FIRST)).expect_err("refused").contains(SECOND));
}

#[test]
fn a_pointer_of_git_lfs() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1234\n";
    let folder = tempfile::tempdir().expect("folder");
    for name in ["model.safetensors", "model.gguf"] {
        let path = folder.path().join(name);
        std::fs::write(&path, pointer).expect("write");
        let error = ModelHeader::read(&path).expect_err("refused").to_string();
        assert!(error.contains("git lfs pull"), "{error}");
    }
}
