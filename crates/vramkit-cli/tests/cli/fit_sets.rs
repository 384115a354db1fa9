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
fn people_read_this() {
    let missing = "  huge:\n    cmd: ${server} -m huge.gguf\ngroups:\n  day:\n    swap: false\n    members: [large, middle]\n";
    let folder = Folder::new(&format!("{LLAMA_SWAP}{missing}"));
    let text = folder.text("--backend cuda --memory 12GiB");
    let place = format!("{}/", folder.0.path().display());
    insta::assert_snapshot!("fit_sets", text.replace(&place, ""));
}
