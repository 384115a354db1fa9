//! `vramkit fit` as scripts and people use it.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{self, vramkit};
use crate::gguf;

/// A folder with a model in it, and what is asked about it.
struct Model {
    folder: TempDir,
}

impl Model {
    fn phi3() -> Self {
        let folder = tempfile::tempdir().unwrap();
        gguf::phi3(&folder.path().join("phi-3-mini-4k.gguf"));
        Self { folder }
    }

    fn words(&self, arguments: &str) -> Vec<String> {
        let model = self.folder.path().join("phi-3-mini-4k.gguf").display().to_string();
        let words = arguments.split_whitespace().map(str::to_owned);
        ["fit".to_owned(), model].into_iter().chain(words).collect()
    }

    fn json(&self, arguments: &str, status: i32) -> Value {
        let words = self.words(&format!("{arguments} --json"));
        common::json(&words.iter().map(String::as_str).collect::<Vec<_>>(), status)
    }

    fn refused(&self, arguments: &str) -> String {
        let words = self.words(arguments);
        common::refused(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn text(&self, arguments: &str) -> String {
        let output = vramkit().args(self.words(arguments)).env("NO_COLOR", "1").output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains('\u{1b}'), "no colours where nobody asked for them");
        text
    }
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number of bytes"))
}

#[test]
fn the_contract_is_kept() {
    let answer = Model::phi3().json("--backend cpu --memory 24GiB", 0);
    assert_eq!(answer["schema"], "vramkit.fit/1");
    assert_eq!(
        (&answer["fits"], &answer["runtime"], &answer["backend"]),
        (&true.into(), &"llama.cpp".into(), &"cpu".into())
    );
    let model = &answer["models"][0];
    assert_eq!((&model["name"], &model["architecture"]), (&"phi-3-mini-4k".into(), &"phi3".into()));
    assert_eq!(
        (&model["layers"], &model["context"], &model["sequences"]),
        (&32.into(), &4096.into(), &1.into())
    );
    // 32 layers x 32 heads x 96 numbers x 2 x 2 bytes.
    assert_eq!(answer["kv_bytes_per_token"], 393_216);
    assert_eq!(answer["kv_bytes"], 4096 * 393_216);
    assert_eq!(
        (&answer["accuracy"]["weights"], &answer["accuracy"]["kv"]),
        (&"exact".into(), &"exact".into())
    );
    let parts = ["weights_bytes", "kv_bytes", "state_bytes", "workspace_bytes", "overhead_bytes"];
    let sum: u64 = parts.iter().map(|part| bytes(&answer[part])).sum();
    assert_eq!(bytes(&answer["total_bytes"]), sum);
    assert_eq!(bytes(&answer["available_bytes"]), 24 << 30);
    assert_eq!(answer["headroom_bytes"].as_i64().unwrap(), (24 << 30) - sum as i64);
    for part in ["weights_bytes", "kv_bytes", "workspace_bytes", "total_bytes"] {
        assert!(answer["host"][part].is_u64(), "{part}");
    }
    assert_eq!(answer["max_context"], 4096);
    assert!(answer["suggestions"].is_array());
}

#[test]
fn the_exit_status_is_the_answer() {
    let model = Model::phi3();
    let without = model.json("--backend cpu", 0);
    assert!(
        without["fits"].is_null() && without["available_bytes"].is_null() && without["max_context"].is_null()
    );
    let need = bytes(&without["total_bytes"]);
    assert_eq!(model.json(&format!("--backend cpu --memory {need}"), 0)["headroom_bytes"], 0);
    let no = model.json(&format!("--backend cpu --memory {}", need - 1), 1);
    assert_eq!((&no["fits"], &no["headroom_bytes"]), (&false.into(), &(-1).into()));
    let output = vramkit()
        .args(model.words("--device cuda:0"))
        .env("VRAMKIT_CUDA_DRIVER", "none.so")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let simulated = model.json("--backend cpu --device sim", 0);
    assert_eq!(bytes(&simulated["memory"]["free_bytes"]), 80 << 30);
    assert_eq!(simulated["memory"]["device"], "sim");
}

#[test]
fn the_most_that_fits_fits() {
    let model = Model::phi3();
    let memory = "--backend cpu --memory 14GiB";
    let answer = model.json(memory, 0);
    let most = bytes(&answer["max_sequences"]);
    assert!(most > 1, "{most}");
    model.json(&format!("{memory} --seqs {most} --ctx {}", 4096 * most), 0);
    model.json(&format!("{memory} --seqs {} --ctx {}", most + 1, 4096 * (most + 1)), 1);
    // A smaller memory decides about the context; sequences share what llama.cpp is given.
    let memory = "--backend cpu --memory 8200MiB";
    let context = bytes(&model.json(memory, 1)["max_context"]);
    assert!((256..4096).contains(&context), "{context}");
    model.json(&format!("{memory} --ctx {context}"), 0);
    model.json(&format!("{memory} --ctx {}", context + 256), 1);
}

#[test]
fn suggestions_do_what_they_say() {
    let model = Model::phi3();
    let memory = "--backend cpu --memory 8200MiB";
    let answer = model.json(memory, 1);
    let suggestions = answer["suggestions"].as_array().unwrap();
    assert_eq!(suggestions[0]["fits"], true, "{suggestions:?}");
    // The engine's spelling, in this program's.
    let ours = |option: &str| {
        option
            .replace("--ctx-size", "--ctx")
            .replace("--ubatch-size", "--ubatch")
            .replace("--n-gpu-layers", "--gpu-layers")
    };
    for suggestion in suggestions {
        let options: Vec<String> =
            suggestion["options"].as_array().unwrap().iter().map(|it| ours(it.as_str().unwrap())).collect();
        let status = i32::from(suggestion["fits"] == false);
        let then = model.json(&format!("{memory} {}", options.join(" ")), status);
        assert_eq!(then["total_bytes"], suggestion["total_bytes"], "{options:?}");
    }
    let decides = answer["decides"].as_str().unwrap();
    assert!(decides.starts_with("weights: 7.12 GiB of ") && decides.contains("; try --"), "{decides}");
}

#[test]
fn vllm_takes_a_part_of_the_card() {
    let ask = |arguments: &str, status| {
        let words = format!("fit examples/llama-3.1-8b --json {arguments}");
        common::json(&words.split_whitespace().collect::<Vec<_>>(), status)
    };
    let answer = ask("--memory 80GiB --ctx 16384 --seqs 16", 0);
    assert_eq!((&answer["runtime"], &answer["backend"]), (&"vllm".into(), &"cuda".into()));
    assert_eq!(answer["available_bytes"], 72_u64 << 30);
    assert_eq!(answer["kv_bytes_per_token"], 131_072);
    assert_eq!(answer["kv_bytes"], 16 * 16_384 * 131_072_u64);
    let model = &answer["models"][0];
    assert!(model["kv_cache_tokens"].as_u64().unwrap() > 16 * 16_384);
    assert!(model["maximum_concurrency"].as_f64().unwrap() > 16.0);
    // A small card: the context that vLLM begins with is too long for it, and the one that is proposed is not.
    let no = ask("--memory 24GiB", 1);
    let context = bytes(&no["max_context"]);
    assert_eq!(no["suggestions"][0]["options"][0], format!("--max-model-len {context}"));
    ask(&format!("--memory 24GiB --ctx {context}"), 0);
    ask(&format!("--memory 24GiB --ctx {}", context + 16), 1);
    // Others' memory is not there to be taken.
    let two = common::json(
        &[
            "fit",
            "examples/llama-3.1-8b",
            "examples/llama-3.1-8b",
            "--ctx",
            "4096",
            "--memory",
            "80GiB",
            "--json",
        ],
        1,
    );
    for say in ["2 processes", "vLLM takes 72 GiB when it starts"] {
        assert!(two["notes"].to_string().contains(say), "{}", two["notes"]);
    }
}

#[test]
fn graphs_are_planned() {
    let graph = "matmul.onnx";
    let ask = |arguments: &str, status| {
        let words = format!("fit {graph} --dim N=4 --json {arguments}");
        common::json(&words.split_whitespace().collect::<Vec<_>>(), status)
    };
    let answer = ask("", 0);
    assert_eq!((&answer["runtime"], &answer["backend"]), (&"vramkit".into(), &"cpu".into()));
    let plan = common::json(&["plan", graph, "--dim", "N=4", "--json"], 0);
    assert_eq!(answer["weights_bytes"], plan["weights_bytes"]);
    assert_eq!(answer["workspace_bytes"], plan["arena_bytes"]);
    assert_eq!(answer["accuracy"]["workspace"], "exact");
    assert_eq!((&answer["kv_bytes"], &answer["models"][0]["layers"]), (&0.into(), &Value::Null));
    let need = bytes(&answer["total_bytes"]);
    ask(&format!("--memory {need}"), 0);
    ask(&format!("--memory {}", need - 1), 1);
    let missing = common::refused(&["fit", graph]);
    assert!(missing.contains("--dim N=N"), "{missing}");
}

#[test]
fn several_models_are_summed() {
    let model = Model::phi3();
    let path = model.words("")[1].clone();
    let one = model.json("--backend cpu", 0);
    let two = model.json(&format!("{path} --backend cpu --memory 100GiB"), 0);
    assert_eq!(two["models"].as_array().unwrap().len(), 2);
    for part in ["weights_bytes", "kv_bytes", "workspace_bytes", "overhead_bytes", "total_bytes"] {
        assert_eq!(bytes(&two[part]), 2 * bytes(&one[part]), "{part}");
        assert_eq!(two["models"][1][part], one[part], "{part}");
    }
    assert!(two["notes"].to_string().contains("2 processes"));
}

#[test]
fn what_an_engine_does_with_options_is_said() {
    let model = Model::phi3();
    let notes = |arguments: &str| model.json(arguments, 0)["notes"].to_string();
    assert!(notes("--ubatch 1024 --batch 512").contains("cut to the batch of 512"));
    assert!(notes("--ubatch 4096").contains("cut to the batch of 2048"));
    assert!(
        notes("--tensor-parallel 2").contains("llama.cpp has no such option, so it changes nothing: tensor")
    );
    assert!(notes("--ctx 8192").contains("longer than the 4,096"));
    assert_eq!(model.json("--ctx 8192 --seqs 2 --backend cpu", 0)["notes"], serde_json::json!([]));
    let given = model.json("--overhead 300MiB", 0);
    assert_eq!((bytes(&given["overhead_bytes"]), &given["accuracy"]["overhead"]), (300 << 20, &Value::Null));
}

#[test]
fn options_go_by_the_engines_own_names() {
    let model = Model::phi3();
    let ours = model.json("--ctx 2048 --seqs 2 --ubatch 256 --batch 1024 --gpu-layers 20", 0);
    let theirs =
        model.json("--ctx-size 2048 --parallel 2 --ubatch-size 256 --batch-size 1024 --n-gpu-layers 20", 0);
    assert_eq!(ours, theirs);
    assert!(
        model.json("--backend cpu --gpu-layers 5", 0)["notes"].to_string().contains("layers on the device")
    );
    assert!(model.json("--dim N=5", 0)["notes"].to_string().contains("sizes of dimensions are for graphs"));
}

#[test]
fn bad_questions_are_told_what_is_wrong() {
    let model = Model::phi3();
    for (arguments, say) in [
        ("--ctx 0", "--ctx 0"),
        ("--seqs 0", "--seqs 0"),
        ("--memory 0", "--memory 0"),
        ("--memory 8EiB", "no device has more than 1 EiB"),
        ("--batch 0", "--batch 0"),
        ("--ubatch 0", "--ubatch 0"),
        ("--tensor-parallel 0", "--tensor-parallel 0"),
        ("--gpu-layers 34", "33 at most"),
        ("--gpu-layers -1", "--gpu-layers"),
        ("--gpu-layers some", "neither `all` nor a number"),
        ("--cache-type q3_7", "it has f32, f16"),
        ("--cache-type fp8", "llama.cpp has no cache type `fp8`"),
        ("--cache-type q8_0 --cache-type-k f16", "cannot be used with"),
        ("--gpu-memory-utilization 0", "above 0"),
        ("--gpu-memory-utilization NaN", "above 0"),
        ("--gpu-memory-utilization 1.1", "at most 1"),
        ("--runtime ollama", "llama.cpp"),
        ("--backend rocm", "vulkan"),
        ("--runtime vramkit --backend cuda", "computes on the processor"),
        ("--runtime vramkit --cache-type q4_0", "it has f32, f16, q8_0"),
        ("--memory 1GiB --device host", "cannot be used with"),
        ("--device gpu", "host, sim or cuda:N"),
        ("nothing-here.gguf", "nothing-here.gguf"),
        ("--write llama-swap", "--sets"),
    ] {
        let error = model.refused(arguments);
        assert!(error.contains(say), "{arguments}: {error}");
    }
    assert!(common::refused(&["fit"]).contains("MODEL"));
    assert!(common::refused(&["fit", "examples/requests.csv"]).contains("requests.csv"));
}

#[test]
fn people_read_this() {
    let model = Model::phi3();
    insta::assert_snapshot!("fit", model.text("--backend cuda --memory 24GiB"));
    insta::assert_snapshot!("fit_not", model.text("--backend cpu --memory 8200MiB --seqs 2"));
}

#[test]
fn the_picture_is_whole() {
    let model = Model::phi3();
    let svg = model.folder.path().join("fit.svg");
    model.text(&format!("--backend vulkan --memory 24GiB --gpu-layers 12 --svg {}", svg.display()));
    let svg = fs::read_to_string(svg).unwrap();
    for part in ["phi-3-mini-4k", "24 GiB available", "KV cache", "on the device", "host"] {
        assert!(svg.contains(part), "{part}");
    }
}

#[test]
fn the_schema_describes_the_answer() {
    let schema = common::json(&["schema", "fit"], 0);
    let answer = Model::phi3().json("--memory 24GiB --backend cpu", 0);
    for key in answer.as_object().unwrap().keys() {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    for required in schema["required"].as_array().unwrap() {
        assert!(answer.get(required.as_str().unwrap()).is_some(), "{required}");
    }
}
