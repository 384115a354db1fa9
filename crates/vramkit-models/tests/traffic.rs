//! Logs of lengths and shapes of KV caches: what real files look like, and what hostile ones do.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use vramkit_models::kv::{CacheType, KvShape, read_kv_shape};
use vramkit_models::traffic::{BadRows, LoggedRequest, Traffic, read_traffic};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn read(name: &str, content: impl AsRef<[u8]>) -> Result<Traffic, String> {
    let folder = Folder::new();
    read_traffic(&folder.file(name, content), BadRows::Refuse).map_err(|error| error.to_string())
}

fn lengths(name: &str, content: &str) -> Vec<(u32, u32)> {
    read(name, content).unwrap().requests.iter().map(|r| (r.prompt, r.output)).collect()
}

#[test]
fn the_headers_that_logs_have() {
    let expected = [(374, 44), (396, 109)];
    assert_eq!(lengths("a.csv", "prompt_tokens,output_tokens\n374,44\n396,109\n"), expected);
    let azure =
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,374,44\n2023-11-16 18:15:50,396,109";
    assert_eq!(lengths("azure.csv", azure), expected);
    assert_eq!(
        lengths("b.CSV", "\u{feff}input_toks, output_toks ,arrival_ns\n374, 44,1\n396,109,2\n"),
        expected
    );
    let lines = "{\"request_id\": \"a\", \"input_toks\": 374, \"output_toks\": 44}\n\n{\"prompt_tokens\": 396.0, \"completion_tokens\": 109}\n";
    assert_eq!(lengths("a.jsonl", lines), expected);
    assert!(!read("a.jsonl", lines).unwrap().estimated);
    // Characters, four to a token.
    let text =
        read("c.csv", "prompt_words,prompt_chars,output_words,output_chars\n26,138,1,2\n8,43,3,7\n").unwrap();
    assert!(text.estimated);
    assert_eq!(
        text.requests,
        [LoggedRequest { prompt: 35, output: 1 }, LoggedRequest { prompt: 11, output: 2 }]
    );
}

#[test]
fn the_data_sets_of_experiments() {
    let alpaca = r#"[{"instruction": "12345678", "input": "1234", "output": "12345678"},
                     {"instruction": "say nothing", "input": "", "output": ""}]"#;
    let read_alpaca = read("alpaca.json", alpaca).unwrap();
    assert!(read_alpaca.estimated);
    assert_eq!(
        (read_alpaca.requests.as_slice(), read_alpaca.left_out),
        (&[LoggedRequest { prompt: 3, output: 2 }][..], 1)
    );
    // Each answer is a request, with all that was said before it as its prompt.
    let sharegpt = r#"[{"id": "x", "conversations": [{"from": "human", "value": "12345678"}, {"from": "gpt", "value": "1234"},
                       {"from": "human", "value": "1234"}, {"from": "gpt", "value": "123456789012"}]}]"#;
    assert_eq!(lengths("sharegpt.json", sharegpt), [(2, 1), (4, 3)]);
}

#[test]
fn a_row_that_is_no_request_is_named() {
    for (name, content, say) in [
        (
            "a.csv",
            "prompt_tokens,output_tokens\n1,1\n5,0\n",
            "line 3: a request of 5 prompt and 0 output tokens",
        ),
        ("a.csv", "prompt_tokens,output_tokens\n1000000000,1\n", "line 2: a request of 1000000000 prompt"),
        ("a.csv", "prompt_tokens,output_tokens\n1,1\n1,x\n", "line 3: `x` is no whole number"),
        ("a.csv", "prompt_tokens,output_tokens\n1,NaN\n", "line 2: `NaN`"),
        ("a.csv", "prompt_tokens,output_tokens\n-4,1\n", "line 2"),
        ("a.csv", "prompt_tokens,output_tokens\n1.5,1\n", "line 2: `1.5`"),
        ("a.csv", "prompt_tokens,output_tokens\n1\n", "line 2"),
        ("a.csv", "prompt_tokens,output_chars\n1,1\n", "mixed units"),
        ("a.csv", "a,b\n1,1\n", "no columns of lengths among `a,b`"),
        ("a.csv", "prompt_tokens,output_tokens\n", "no requests"),
        ("a.csv", "", "line 1"),
        (
            "a.jsonl",
            "{\"prompt_tokens\": 1, \"output_tokens\": 1}\n{\"prompt_tokens\": 1}\n",
            "line 2: no lengths",
        ),
        ("a.jsonl", "{\"prompt_tokens\": 1, \"output_tokens\": \"many\"}\n", "line 1"),
        ("a.jsonl", "[1, 2]\n", "line 1: no JSON object"),
        ("a.jsonl", "", "no requests"),
        ("a.json", "{}", "no JSON array"),
        ("a.json", "[{\"text\": 1}]", "entry 1: neither Alpaca's"),
        ("a.json", "[", "line 1"),
        ("a.txt", "1,1", "no known kind"),
    ] {
        let error = read(name, content).unwrap_err();
        assert!(error.contains(say) && error.contains(name), "{content}: {error}");
    }
    let folder = Folder::new();
    let path = folder.file("a.csv", "prompt_tokens,output_tokens\n1,1\n5,0\n");
    let kept = read_traffic(&path, BadRows::LeaveOut).unwrap();
    assert_eq!((kept.requests.len(), kept.left_out), (1, 1));
}

fn shape(config: &str) -> Result<u64, String> {
    let folder = Folder::new();
    let read = read_kv_shape(&folder.file("config.json", config)).map_err(|error| error.to_string())?;
    Ok(read.bytes_per_token("f16".parse().unwrap()))
}

#[test]
fn configurations_of_real_models() {
    // Llama 3.1 8B: 32 layers, 8 KV heads of 128 numbers, 128 KiB a token.
    let llama = r#"{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}"#;
    assert_eq!(shape(llama), Ok(131_072));
    // Qwen2.5 7B: 28 layers, 4 KV heads, 56 KiB.
    let qwen = r#"{"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "hidden_size": 3584}"#;
    assert_eq!(shape(qwen), Ok(57_344));
    // A head's size of its own, and a model of pictures too.
    let inside = r#"{"text_config": {"num_hidden_layers": 26, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256}}"#;
    assert_eq!(shape(inside), Ok(26_624));
    assert_eq!(shape(r#"{"n_layer": 12, "n_head": 12, "n_embd": 768}"#), Ok(36_864));
    // DeepSeek V2: 27 layers of one vector of 512 + 64 numbers.
    let latent = r#"{"num_hidden_layers": 27, "num_attention_heads": 16, "kv_lora_rank": 512, "qk_rope_head_dim": 64}"#;
    assert_eq!(shape(latent), Ok(31_104));
    for (broken, say) in [
        ("{}", "num_hidden_layers"),
        (r#"{"num_hidden_layers": 2, "num_attention_heads": 0, "hidden_size": 8}"#, "no shape"),
        (
            r#"{"num_hidden_layers": 18446744073709551615, "num_attention_heads": 8, "head_dim": 128}"#,
            "no shape",
        ),
        ("[", "no JSON"),
    ] {
        assert!(shape(broken).unwrap_err().contains(say), "{broken}");
    }
    assert!("q9".parse::<CacheType>().unwrap_err().contains("q8_0"));
    assert!(KvShape::new(0, 1, 1).is_err() && KvShape::new(u64::MAX, 8, 8).is_err());
}

/// A GGUF header with these entries: a key, a kind, the value's bytes.
fn gguf(entries: &[(&str, u32, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend((entries.len() as u64).to_le_bytes());
    for (key, kind, value) in entries {
        bytes.extend((key.len() as u64).to_le_bytes());
        bytes.extend(key.as_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(value);
    }
    bytes
}

fn text(value: &str) -> Vec<u8> {
    [(value.len() as u64).to_le_bytes().as_slice(), value.as_bytes()].concat()
}

fn number(value: u32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

fn array(kind: u32, count: u64, items: Vec<u8>) -> Vec<u8> {
    [kind.to_le_bytes().as_slice(), &count.to_le_bytes(), &items].concat()
}

fn llama() -> Vec<(&'static str, u32, Vec<u8>)> {
    vec![
        ("general.name", 8, text("a model")),
        ("tokenizer.ggml.tokens", 9, array(8, 3, [text("a"), text(""), text("ccc")].concat())),
        ("tokenizer.ggml.scores", 9, array(6, 3, vec![0; 12])),
        ("general.architecture", 8, text("llama")),
        ("llama.block_count", 4, number(32)),
        ("llama.embedding_length", 4, number(4096)),
        ("llama.attention.head_count", 4, number(32)),
        ("llama.attention.head_count_kv", 4, number(8)),
        ("llama.rope.freq_base", 6, 1f32.to_le_bytes().to_vec()),
    ]
}

fn gguf_shape(bytes: &[u8]) -> Result<u64, String> {
    let folder = Folder::new();
    let read = read_kv_shape(&folder.file("model.gguf", bytes)).map_err(|error| error.to_string())?;
    Ok(read.bytes_per_token("f16".parse().unwrap()))
}

#[test]
fn gguf_headers() {
    assert_eq!(gguf_shape(&gguf(&llama())), Ok(131_072));
    let mut each = llama();
    // Eight layers keep a cache, the others none.
    let heads: Vec<u8> =
        (0..32u32).flat_map(|layer| (if layer % 4 == 0 { 8u32 } else { 0 }).to_le_bytes()).collect();
    each[7].2 = array(4, 32, heads);
    each[7].1 = 9;
    each.push(("llama.attention.key_length", 4, number(64)));
    each.push(("llama.attention.value_length", 4, number(96)));
    assert_eq!(gguf_shape(&gguf(&each)), Ok(8 * 8 * (64 + 96) * 2));
    let missing: Vec<_> = llama().into_iter().filter(|entry| entry.0 != "llama.block_count").collect();
    assert!(gguf_shape(&gguf(&missing)).unwrap_err().contains("llama.block_count"));
    let unknown = gguf(&[("x", 77, vec![])]);
    assert!(gguf_shape(&unknown).unwrap_err().contains("unknown kind 77"));
    let huge = gguf(&[("x", 9, array(10, u64::MAX, vec![]))]);
    assert!(gguf_shape(&huge).is_err());
    let deep = gguf(&[("x", 9, array(9, 1, array(9, 1, array(9, 1, array(9, 1, array(9, 1, vec![]))))))]);
    assert!(gguf_shape(&deep).is_err());
    let mut old = gguf(&llama());
    old[4] = 1;
    assert!(gguf_shape(&old).unwrap_err().contains("version 1"));
}

proptest! {
    /// Cut anywhere or with any byte changed, a header is read or refused, and no length in it is believed.
    #[test]
    fn damaged_headers_are_refused(cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8) {
        let whole = gguf(&llama());
        prop_assert!(gguf_shape(&whole[..cut.index(whole.len())]).is_err());
        let mut changed = whole;
        let at = at.index(changed.len());
        changed[at] = byte;
        let _ = gguf_shape(&changed);
    }

    /// Whatever a file holds, it is lengths or an error.
    #[test]
    fn any_text_is_lengths_or_an_error(content in "\\PC{0,200}", ending in prop::sample::select(vec!["csv", "jsonl", "json"])) {
        let _ = read(&format!("a.{ending}"), &content);
        let _ = read(&format!("a.{ending}"), format!("prompt_tokens,output_tokens\n{content}"));
    }
}
