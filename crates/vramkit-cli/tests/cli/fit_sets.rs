//! `vramkit fit --sets` as scripts and people use it.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{self, vramkit};
use crate::gguf;

/// A llama-swap configuration of three models beside it, and one that is not there.
const LLAMA_SWAP: &str = r#"# my models
macros:
  "server": "llama-server --port ${PORT} -ngl 99 -c 4096 -np 1"
models:
  large:
    cmd: ${server} -m large.gguf
  middle:
    cmd: ${server} -m middle.gguf
  small:
    cmd: ${server} -m small.gguf
"#;

struct Folder(TempDir);

impl Folder {
    fn new(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, layers) in [("large", 32), ("middle", 16), ("small", 4)] {
            gguf::phi3_of(&folder.path().join(format!("{name}.gguf")), layers);
        }
        fs::write(folder.path().join("llama-swap.yaml"), configuration).unwrap();
        Self(folder)
    }

    fn words(&self, arguments: &str) -> Vec<String> {
        let file = self.0.path().join("llama-swap.yaml").display().to_string();
        let words = arguments.split_whitespace().map(str::to_owned);
        ["fit".to_owned(), "--sets".to_owned(), file].into_iter().chain(words).collect()
    }

    /// One with another file of models beside it.
    fn beside(name: &str, content: &str) -> (Self, String) {
        let folder = Self::new(LLAMA_SWAP);
        let path = folder.0.path().join(name);
        fs::write(&path, content).unwrap();
        (folder, path.display().to_string())
    }

    fn json(&self, arguments: &str, status: i32) -> Value {
        let words = self.words(&format!("{arguments} --json"));
        common::json(&words.iter().map(String::as_str).collect::<Vec<_>>(), status)
    }

    fn text(&self, arguments: &str) -> String {
        let output = vramkit().args(self.words(arguments)).env("NO_COLOR", "1").output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn names(set: &Value) -> String {
    let names = set["models"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn maximal_sets_are_listed() {
    let folder = Folder::new(LLAMA_SWAP);
    let answer = folder.json("--memory 12GiB", 0);
    assert_eq!(answer["schema"], "vramkit.fit/1");
    // llama-swap runs models of no group one at a time, and each fits.
    assert_eq!(answer["fits"], true);
    assert_eq!(answer["models"].as_array().unwrap().len(), 3);
    let sets: Vec<String> = answer["sets"].as_array().unwrap().iter().map(names).collect();
    assert_eq!(sets, ["large small", "middle small"]);
    for set in answer["sets"].as_array().unwrap() {
        let total = set["total_bytes"].as_i64().unwrap();
        assert_eq!(set["headroom_bytes"].as_i64().unwrap(), (12 << 30) - total);
        let each = |name: &str| {
            let model =
                answer["models"].as_array().unwrap().iter().find(|model| model["name"] == name).unwrap();
            model["total_bytes"].as_i64().unwrap()
        };
        assert_eq!(total, names(set).split(' ').map(each).sum::<i64>(), "one overhead a process");
    }
    let all = folder.json("--memory 24GiB", 0);
    assert_eq!(all["sets"].as_array().unwrap().iter().map(names).collect::<Vec<_>>(), ["large middle small"]);
    let none = folder.json("--memory 1GiB", 1);
    assert_eq!((none["sets"].as_array().unwrap().len(), none["too_large"].as_array().unwrap().len()), (0, 3));
    // Figures are of each model; those of all at once would be of models that never run together.
    for figure in ["weights_bytes", "kv_bytes", "state_bytes", "overhead_bytes", "total_bytes"] {
        assert_eq!(all.get(figure), Some(&Value::Null), "{figure}");
        assert!(all["models"][0][figure].is_u64(), "{figure}");
    }
    assert!(all["host"]["kv_bytes"].is_null() && all["accuracy"]["weights"].is_null());
    let without = folder.json("", 0);
    assert!(without["fits"].is_null() && without["notes"].to_string().contains("no memory"));
}

#[test]
fn a_promise_that_does_not_hold_is_a_no() {
    let promised = format!("{LLAMA_SWAP}groups:\n  day:\n    swap: false\n    members: [large, middle]\n");
    let folder = Folder::new(&promised);
    let held = folder.json("--memory 24GiB", 0);
    assert_eq!((&held["fits"], &held["promised"][0]["fits"]), (&true.into(), &true.into()));
    let broken = folder.json("--memory 12GiB", 1);
    assert_eq!(broken["fits"], false);
    let promise = &broken["promised"][0];
    assert_eq!((names(promise).as_str(), &promise["fits"]), ("large middle", &false.into()));
    assert!(promise["headroom_bytes"].as_i64().unwrap() < 0);
    // Of a model that is not there nothing is promised.
    fs::remove_file(folder.0.path().join("middle.gguf")).unwrap();
    let unknown = folder.json("--memory 24GiB", 1);
    assert!(unknown["fits"].is_null());
    assert_eq!(unknown["not_covered"][0]["name"], "middle");
    assert!(
        unknown["promised"][0]["total_bytes"].is_null() && unknown["promised"][0]["headroom_bytes"].is_null()
    );
    assert!(unknown["not_covered"][0]["reason"].as_str().unwrap().contains("is not here"));
    // It may be elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    gguf::phi3_of(&elsewhere.path().join("middle.gguf"), 16);
    folder.json(&format!("--memory 24GiB --model-dir {}", elsewhere.path().display()), 0);
}

#[test]
fn the_configuration_is_given_back_with_its_sets() {
    let folder = Folder::new(LLAMA_SWAP);
    let written = folder.text("--memory 12GiB --write llama-swap");
    assert!(written.starts_with(LLAMA_SWAP) && written.contains("large & small"), "{written}");
    // What was written is read again: its sets are promises now, and hold on the same card alone.
    fs::write(folder.0.path().join("llama-swap.yaml"), &written).unwrap();
    let again = folder.json("--memory 12GiB", 0);
    assert_eq!(again["fits"], true);
    assert_eq!(folder.text("--memory 12GiB --write llama-swap"), written);
    folder.json("--memory 8GiB", 1);
    let words = folder.words("--write llama-swap");
    assert!(common::refused(&words.iter().map(String::as_str).collect::<Vec<_>>()).contains("--memory"));
}

#[test]
fn bad_configurations_are_told_what_is_wrong() {
    let folder = Folder::new("models: [");
    let words = folder.words("--memory 12GiB");
    let error = common::refused(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("llama-swap.yaml"), "{error}");
    assert!(common::refused(&["fit", "--sets", "none.yaml", "--memory", "1GiB"]).contains("none.yaml"));
    assert!(common::refused(&["fit", "a.gguf", "--sets", "none.yaml"]).contains("cannot be used with"));
    assert!(common::refused(&["fit", "--sets", "none.yaml", "--memory", "0"]).contains("--memory 0"));
}

#[test]
fn options_that_the_file_says_are_refused_beside_it() {
    for option in [
        "--ctx 4096",
        "--seqs 2",
        "--cache-type q8_0",
        "--cache-type-k q8_0",
        "--cache-type-v q8_0",
        "--gpu-layers 3",
        "--gpu-layers all",
        "--ubatch 64",
        "--batch 64",
        "--flash-attn on",
        "--flash-attn auto",
        "--kv-unified",
        "--swa-full",
        "--runtime vllm",
        "--gpu-memory-utilization 0.5",
        "--gpu-memory-utilization 0.9",
        "--tensor-parallel 2",
        "--tensor-parallel 1",
        "--max-num-batched-tokens 64",
        "--draft-tokens 1",
        "--draft-tokens 0",
        "--dim n=1",
    ] {
        let words = format!("fit --sets none.yaml --memory 1GiB {option}");
        let error = common::refused(&words.split(' ').collect::<Vec<_>>());
        let name = option.split(' ').next().unwrap();
        assert!(error.contains(&format!("{name} does not act on --sets")), "{option}: {error}");
    }
    let folder = Folder::new(LLAMA_SWAP);
    let asked = folder.json("--memory 24GiB --backend cuda --overhead 1GiB --max-buffer-range 1GiB", 0);
    assert_eq!(asked["models"][0]["overhead_bytes"], 1 << 30);
}

#[test]
fn of_a_file_without_promises_each_model_must_be_known_and_fit() {
    let toml =
        |name: &str| format!("[[models]]\nname = \"{name}\"\npath = \"{name}.gguf\"\nctx = 4096\nseqs = 1\n");
    let ask = |content: &str, memory: &str, status: i32| {
        let (_folder, path) = Folder::beside("models.toml", content);
        let mut words = vec!["fit", "--sets", &path];
        words.extend(memory.split_whitespace());
        let output = vramkit().args(words).env("NO_COLOR", "1").output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let both = format!("{}{}", toml("large"), toml("small"));
    assert!(ask(&both, "--memory 24GiB", 0).starts_with("2 models on 24 GiB\n"));
    assert!(ask(&both, "--memory 4GiB", 1).contains("does not fit alone large"));
    assert!(ask(&toml("small"), "--memory 24GiB", 0).starts_with("1 model on 24 GiB\n"));
    assert!(ask(&toml("small"), "--memory 1GiB", 1).contains("no model fits"));
    // What is not known is no yes, and no no model either.
    let unknown = ask(&toml("gone"), "--memory 24GiB", 1);
    assert!(unknown.contains("none of which anything can be said") && !unknown.contains("fits"), "{unknown}");
    ask(&toml("gone"), "", 1);
    ask(&format!("{}{}", toml("small"), toml("gone")), "--memory 24GiB", 1);
    let half = ask(&format!("{}{}", toml("small"), toml("gone")), "--memory 1GiB", 1);
    assert!(half.contains("none of the models that are known fits"), "{half}");
    ask("memory = \"24GiB\"\n", "", 1);
}

#[test]
fn caches_of_one_byte_and_the_files_own_back_end() {
    let folder = common::root().join("examples/llama-3.1-8b").display().to_string();
    let served = |cache: &str| {
        let script = format!("vllm serve {folder} --max-model-len 8192 --kv-cache-dtype {cache}\n");
        let (_folder, path) = Folder::beside("serve.sh", &script);
        common::json(&["fit", "--sets", &path, "--memory", "80GiB", "--json"], 0)["models"][0].clone()
    };
    let (fp8, auto) = (served("fp8_e5m2"), served("auto"));
    assert_eq!(fp8["kv_bytes"].as_u64().unwrap() * 2, auto["kv_bytes"].as_u64().unwrap());
    let toml = "[[models]]\nname = \"a\"\npath = \"small.gguf\"\nbackend = \"cuda\"\n";
    let (_folder, path) = Folder::beside("models.toml", toml);
    let said = |words: &[&str]| {
        let words = [&["fit", "--sets", &path, "--memory", "24GiB", "--json"], words].concat();
        common::json(&words, 0)["models"][0]["backend"].clone()
    };
    assert_eq!((said(&[]), said(&["--backend", "vulkan"])), ("cuda".into(), "vulkan".into()));
}

#[test]
fn people_read_this() {
    let missing = "  huge:\n    cmd: ${server} -m huge.gguf\ngroups:\n  day:\n    swap: false\n    members: [large, middle]\n";
    let folder = Folder::new(&format!("{LLAMA_SWAP}{missing}"));
    let text = folder.text("--backend cuda --memory 12GiB");
    let place = format!("{}/", folder.0.path().display());
    insta::assert_snapshot!("fit_sets", text.replace(&place, ""));
}
