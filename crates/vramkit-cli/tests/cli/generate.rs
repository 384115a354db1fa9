//! `vramkit generate` as scripts and people use it, on a generated model.

use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use vramkit_testing::gguf::Value::Text;
use vramkit_testing::gguf::{Architecture, TestModel};

use crate::common::{self, vramkit};

struct Model {
    folder: TempDir,
}

impl Model {
    fn tiny() -> Self {
        let folder = tempfile::tempdir().unwrap();
        TestModel::tiny(Architecture::Llama).write(&folder.path().join("tiny.gguf")).unwrap();
        Self { folder }
    }

    fn path(&self) -> String {
        self.folder.path().join("tiny.gguf").display().to_string()
    }

    fn json(&self, arguments: &[&str], status: i32) -> Value {
        common::json(&[&["generate", &self.path()], arguments, &["--json"]].concat(), status)
    }
}

#[test]
fn the_contract_is_kept() {
    let answer = Model::tiny()
        .json(&["--tokens", "5,6,7", "--max-output-tokens", "20", "--top", "3", "--ctx", "64"], 0);
    assert_eq!(answer["schema"], "vramkit.generate/1");
    assert_eq!(answer["prompt_tokens"], serde_json::json!([5, 6, 7]));
    let tokens = answer["tokens"].as_array().unwrap();
    let top = answer["top"].as_array().unwrap();
    assert_eq!(tokens.len(), top.len());
    for (token, likely) in tokens.iter().zip(top) {
        assert_eq!(&likely[0]["token"], token, "greedy takes the most probable");
        let logprob = |at: usize| likely[at]["logprob"].as_f64().unwrap();
        assert!(likely.as_array().unwrap().len() == 3 && 0.0 >= logprob(0) && logprob(0) >= logprob(1));
    }
    match answer["finish"].as_str().unwrap() {
        "length" => assert_eq!(tokens.len(), 20),
        other => assert_eq!(other, "stop"),
    }
    let number = |field: &str| answer[field].as_f64().unwrap_or_else(|| panic!("{field}"));
    let computed = 3 + tokens.len() - 1;
    assert_eq!(number("peak_kv_bytes"), number("kv_bytes_per_token") * computed as f64);
    assert!(number("weights_bytes") > 0.0 && number("workspace_bytes") > 0.0);
    assert_eq!(number("used_after_unload_bytes"), 0.0);
    for rate in ["load_seconds", "prefill_seconds", "decode_seconds", "prefill_tokens_per_second"] {
        assert!(number(rate) > 0.0, "{rate}");
    }
}

#[test]
fn text_is_streamed_and_is_the_documents() {
    let model = Model::tiny();
    let arguments = ["--prompt", "memory", "--max-output-tokens", "12", "--ctx", "64"];
    let json = model.json(&arguments, 0);
    let output = vramkit().args(["generate", &model.path()]).args(arguments).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "quiet when piped");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.strip_suffix('\n').unwrap(), json["text"]);
    // The same seed says the same, on any number of threads.
    let drawn = |threads: &str| {
        let warm =
            ["--temperature", "1.5", "--seed", "7", "--top-k", "40", "--top-p", "0.9", "--threads", threads];
        model.json(&[&arguments[..], &warm].concat(), 0)["tokens"].clone()
    };
    assert_eq!(drawn("1"), drawn("2"));
}

#[test]
fn the_context_ends_a_sequence() {
    let model = Model::tiny();
    let prompt = (5..21).map(|token| token.to_string()).collect::<Vec<_>>().join(",");
    let full = model.json(&["--tokens", &prompt, "--ctx", "16"], 0);
    assert_eq!((&full["finish"], &full["tokens"]), (&"context".into(), &serde_json::json!([])));
    let refused = common::refused(&["generate", &model.path(), "--tokens", &prompt, "--ctx", "15"]);
    assert!(refused.contains("16 tokens, and the context is 15"), "{refused}");
}

#[test]
fn what_cannot_be_is_said() {
    let model = Model::tiny();
    let path = model.path();
    let refused = |arguments: &[&str]| common::refused(&[&["generate", &path], arguments].concat());
    assert!(refused(&["--prompt", ""]).contains("no tokens"));
    assert!(refused(&["--tokens", "5,4000000"]).contains("not in the vocabulary"));
    assert!(refused(&["--prompt", "a", "--ctx", "0"]).contains("--ctx 0"));
    assert!(refused(&["--prompt", "a", "--threads", "0"]).contains("--threads 0"));
    assert!(refused(&["--prompt", "a", "--temperature", "-1"]).contains("temperature"));
    assert!(refused(&["--prompt", "a", "--top-p", "0"]).contains("top-p"));
    assert!(refused(&["--prompt", "a", "--cache-type", "q4_0"]).contains("f16, f32 and q8_0"));
    // It does not fit: the answer is no, with both numbers.
    for (option, value, available) in [
        ("--capacity", "64KiB", "64 KiB available on host"),
        ("--ctx", "1000000000000", "available on host"),
        ("--ctx", "100000000000000000", "available on host"),
    ] {
        let output = vramkit().args(["generate", &path, "--prompt", "a", option, value]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("needs") && said.contains(available), "{said}");
    }
}

/// A file whose weights are all 0, with a chat template.
fn with_template(template: &str) -> Model {
    let folder = tempfile::tempdir().unwrap();
    let mut file = TestModel::tiny(Architecture::Llama).file().unwrap();
    file.set("tokenizer.chat_template", Text(template.to_owned()));
    file.write(&folder.path().join("tiny.gguf")).unwrap();
    Model { folder }
}

#[test]
fn a_hostile_chat_template_ends_nothing_but_itself() {
    let said = with_template("{% for m in messages %}{{ m.content }}{% endfor %}");
    let said = said.json(&["--chat", "memory", "--max-output-tokens", "1", "--ctx", "64"], 0);
    assert_eq!(
        said["prompt_tokens"],
        Model::tiny().json(&["--prompt", "memory", "--ctx", "64"], 0)["prompt_tokens"]
    );

    let carried = |body: &str, behind: &str| {
        format!("{{% set ns = namespace(a=[]) %}}{{% for i in range(60000) %}}{body}{{% endfor %}}{behind}")
    };
    let hostile = [
        format!("{{{{ {}1 }}}}", "-".repeat(60_000)),
        format!("{{{{ 1{} }}}}", "+1".repeat(30_000)),
        format!("{{{{ a{} }}}}", "()".repeat(30_000)),
        format!("{{{{ a{} }}}}", ".b".repeat(30_000)),
        format!("{{{{ a{} }}}}", "|abs".repeat(15_000)),
        format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(5_000)),
        "{% set ns = namespace(a=[]) %}{% set ns.a = ns %}{{ ns }}".to_owned(),
        "{% set ns = namespace(a=[]) %}{% set ns.a = ns %}{{ ns ~ '' }}".to_owned(),
        "{% set ns = namespace(a=[]) %}{% set ns.a = ns %}{{ ns == namespace(a=ns) }}".to_owned(),
        carried("{% set ns.a = [ns.a] %}", "{{ ns.a }}"),
        carried("{% set ns.a = [ns.a] %}", "{{ ns.a | string }}"),
        carried("{% set ns.a = ns.a + ns.a %}", "{{ ns.a | length }}"),
        carried("{% set ns.a = [ns.a, ns.a] %}", "{{ ns.a | join }}"),
    ];
    for template in hostile {
        let model = with_template(&template);
        let begun = Instant::now();
        let arguments =
            ["generate", &model.path(), "--chat", "memory", "--max-output-tokens", "1", "--ctx", "64"];
        let output = vramkit().args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        // Some are texts after all, where the stack is large enough.
        match output.status.code() {
            Some(0) => {}
            status => assert!(status == Some(2) && said.contains("template"), "{status:?}: {said}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{}: {:?}", &template[..40], begun.elapsed());
        // Who does not ask for it does not meet it.
        model.json(&["--prompt", "memory", "--max-output-tokens", "1", "--ctx", "64"], 0);
    }
}

#[test]
fn fit_foretells_it() {
    let model = Model::tiny();
    let path = model.path();
    let fit =
        common::json(&["fit", &path, "--runtime", "vramkit", "--ctx", "64", "--memory", "1GiB", "--json"], 0);
    let ran = model.json(&["--prompt", "memory", "--ctx", "64"], 0);
    for field in ["weights_bytes", "workspace_bytes", "kv_bytes_per_token"] {
        assert_eq!(fit[field], ran[field], "{field}");
    }
    for part in ["weights", "kv", "workspace", "overhead"] {
        assert_eq!(fit["accuracy"][part], "exact");
    }
    let total = fit["total_bytes"].as_u64().unwrap();
    assert_eq!((&fit["fits"], &fit["headroom_bytes"]), (&true.into(), &((1u64 << 30) - total).into()));
    // Just as much is enough, and a byte less is not.
    let with = |bytes: u64, status: i32| {
        let bytes = bytes.to_string();
        let arguments = ["generate", &path, "--prompt", "memory", "--ctx", "64", "--capacity", &bytes];
        assert_eq!(vramkit().args(arguments).output().unwrap().status.code(), Some(status), "{bytes}");
    };
    let of_one_block = fit["weights_bytes"].as_u64().unwrap() + fit["workspace_bytes"].as_u64().unwrap();
    with(total, 0);
    with(of_one_block, 1);
}
