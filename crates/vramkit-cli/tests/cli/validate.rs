//! `vramkit validate` and `vramkit report` as scripts and people use them, on a generated model.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use vramkit_testing::gguf::{Architecture, TestModel};

use crate::common::{self, vramkit};

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        TestModel::tiny(Architecture::Llama).write(&place.0.path().join("tiny.gguf")).unwrap();
        let rows: String = (0..60).map(|at| format!("{},{}\n", 5 + at % 20, 1 + at * 7 % 30)).collect();
        fs::write(place.0.path().join("lengths.csv"), format!("prompt_tokens,output_tokens\n{rows}"))
            .unwrap();
        let alpaca: Vec<Value> = (0..20)
            .map(|at| serde_json::json!({"instruction": format!("Say {at}."), "input": "", "output": "x"}))
            .collect();
        fs::write(place.0.path().join("alpaca.json"), serde_json::to_string(&alpaca).unwrap()).unwrap();
        let said = |from: &str, value: &str| serde_json::json!({"from": from, "value": value});
        let chats: Vec<Value> = (0..20)
            .map(|at| {
                let turns = [said("human", &format!("{at}?")), said("gpt", "Yes.")];
                serde_json::json!({"conversations": turns})
            })
            .collect();
        fs::write(place.0.path().join("chats.json"), serde_json::to_string(&chats).unwrap()).unwrap();
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// A small experiment, with what is asked beside it.
    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let small = [
            ("--model", self.path("tiny.gguf")),
            ("--lengths-path", self.path("lengths.csv")),
            ("--alpaca-path", self.path("alpaca.json")),
            ("--sharegpt-path", self.path("chats.json")),
            ("--output-dir", self.path("out")),
            ("--batch-size", "6".to_owned()),
            ("--num-cycles", "12".to_owned()),
            ("--max-output-tokens", "20".to_owned()),
            ("--ctx", "64".to_owned()),
        ];
        let small = small.into_iter().filter(|(option, _)| !more.contains(option));
        let small = small.flat_map(|(option, value)| [option.to_owned(), value]);
        let more = more.iter().map(|each| (*each).to_owned());
        ["validate".to_owned()].into_iter().chain(small).chain(more).collect()
    }

    fn json(&self, more: &[&str]) -> Value {
        let arguments = self.arguments(more);
        let output = vramkit().args(&arguments).arg("--json").output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        // Twelve cycles may be too few for a verdict.
        assert!(matches!(output.status.code(), Some(0 | 1)));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self, more: &[&str], status: i32) -> String {
        let output = vramkit().args(self.arguments(more)).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{more:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn out(&self, name: &str) -> PathBuf {
        self.0.path().join("out").join(name)
    }
}

#[test]
fn the_contract_is_kept() {
    let place = Place::new();
    let answer = place.json(&[
        "--dataset",
        "lengths",
        "--switching-threshold",
        "2",
        "--warmup-cycles",
        "3",
        "--seed",
        "4",
    ]);
    assert_eq!((&answer["schema"], &answer["dataset"]), (&"vramkit.validate/1".into(), &"lengths".into()));
    let of = &answer["parameters"];
    for (field, value) in [
        ("batch_size", 6),
        ("switching_threshold", 2),
        ("num_cycles", 12),
        ("warmup_cycles", 3),
        ("max_output_tokens", 20),
        ("seed", 4),
    ] {
        assert_eq!(of[field], value, "{field}");
    }
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value}"));
    assert!((number(&of["theta"]) - 1.0 / 3.0).abs() < 1e-12);
    for field in ["termination", "mean_prompt_tokens", "mean_output_tokens", "bytes_per_token"] {
        assert!(number(&of[field]) > 0.0, "{field}");
    }
    for quantity in ["x0", "xmax", "sup_y"] {
        for field in ["mean_tokens", "standard_error_tokens", "mean_bytes"] {
            assert!(number(&answer["measured"][quantity][field]) > 0.0, "{quantity} {field}");
        }
    }
    for prediction in ["published", "corrected", "exact"] {
        for quantity in ["x0", "xmax", "kappa"] {
            assert!(number(&answer["predicted"][prediction][format!("{quantity}_tokens")]) > 0.0);
            assert!(number(&answer["errors"][prediction][format!("{quantity}_ratio")]) >= 0.0);
        }
    }
    // The published formula, by hand.
    let (p, theta) = (number(&of["termination"]), number(&of["theta"]));
    let x0 = 6.0 * number(&of["mean_prompt_tokens"])
        + 6.0 * (1.0 - theta).powi(2) / (theta * p) * (1.0 / (1.0 - theta)).ln();
    assert!((number(&answer["predicted"]["published"]["x0_tokens"]) / x0 - 1.0).abs() < 1e-9);
    let thresholds = answer["tail"]["thresholds"].as_array().unwrap();
    assert_eq!(thresholds.len(), 20);
    assert!(thresholds.iter().all(|each| each["observed"].is_number()
        && each["published"].is_number()
        && each["corrected"].is_number()));
    for field in ["published_valid_ratio", "corrected_valid_ratio"] {
        assert!((0.0..=1.0).contains(&number(&answer["tail"][field])));
    }
    let verdicts = answer["verdicts"].as_array().unwrap();
    assert!(
        verdicts
            .iter()
            .any(|v| v["quantity"] == "xmax" && v["prediction"] == "published" && v["limit_ratio"] == 0.15)
    );
    assert!(verdicts.iter().all(|v| v["passed"].is_boolean() && v["error_ratio"].is_number()));
    let memory = &answer["memory"];
    assert_eq!(memory["used_after_unload_bytes"], 0);
    assert!(
        ["weights_bytes", "peak_kv_bytes", "peak_committed_bytes"]
            .iter()
            .all(|field| number(&memory[field]) > 0.0)
    );
    let cycles = answer["cycles"].as_array().unwrap();
    assert_eq!(cycles.len(), 12);
    assert!(
        cycles
            .iter()
            .all(|c| c["xmax_tokens"].as_u64() > c["x0_tokens"].as_u64() && c["steps"].as_u64() > Some(0))
    );

    // By its schema.
    let schema = common::json(&["schema", "validate"], 0);
    has_what_is_required(&answer, &schema, &schema);

    // The same document is kept, and the drawings; nothing of the way there.
    let kept: Value =
        serde_json::from_slice(&fs::read(place.out("lengths_memory_validation.json")).unwrap()).unwrap();
    assert_eq!(kept, answer);
    assert!(fs::read(place.out("lengths_memory_validation.pdf")).unwrap().starts_with(b"%PDF"));
    let mut names: Vec<_> = fs::read_dir(place.out(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let drawn = ["html", "json", "pdf"].map(|ending| format!("lengths_memory_validation.{ending}"));
    assert_eq!(names, [&["lengths_measured_lengths.csv".to_owned()][..], &drawn].concat());
    let lengths = place.out("lengths_measured_lengths.csv").display().to_string();
    let question = [
        "capacity",
        "--lengths",
        &lengths,
        "--batch",
        "6",
        "--threshold",
        "2",
        "--capacity-tokens",
        "400",
        "--json",
    ];
    assert_eq!(common::json(&question, 0)["traffic"]["requests"], of["requests"]);

    // The same question has the same answer, but for what the device says.
    let mut again = place.json(&[
        "--dataset",
        "lengths",
        "--switching-threshold",
        "2",
        "--warmup-cycles",
        "3",
        "--seed",
        "4",
    ]);
    let mut answer = answer;
    for document in [&mut answer, &mut again] {
        document["memory"]["device_peak_bytes"] = Value::Null;
        document["cycles"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|cycle| cycle["device_bytes"] = Value::Null);
    }
    assert_eq!(again, answer);
}

/// Every field that a schema requires, at any depth.
fn has_what_is_required(value: &Value, schema: &Value, root: &Value) {
    let named = |reference: &Value| {
        let name = reference.as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
        name.map(|name| &root["$defs"][name])
    };
    if let Some(schema) = named(&schema["$ref"]) {
        return has_what_is_required(value, schema, root);
    }
    for field in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(field.as_str().unwrap()).is_some(), "{field} is missing");
    }
    for (field, of) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(field) {
            has_what_is_required(value, of, root);
        }
    }
    for value in value.as_array().into_iter().flatten() {
        has_what_is_required(value, &schema["items"], root);
    }
}

#[test]
fn both_data_sets_stand_side_by_side() {
    let place = Place::new();
    let answer = place.json(&["--run-both"]);
    assert_eq!((&answer["dataset"], &answer["beside"][0]["dataset"]), (&"alpaca".into(), &"sharegpt".into()));
    for name in ["alpaca", "sharegpt"] {
        for ending in ["json", "pdf", "html"] {
            assert!(place.out(&format!("{name}_memory_validation.{ending}")).exists(), "{name}.{ending}");
        }
    }
    assert!(fs::read(place.out("both_memory_validation.pdf")).unwrap().starts_with(b"%PDF"));
    let html = fs::read_to_string(place.out("both_memory_validation.html")).unwrap();
    assert!(html.contains("alpaca") && html.contains("sharegpt"));
    let text = String::from_utf8(vramkit().args(place.arguments(&[])).output().unwrap().stdout).unwrap();
    assert!(
        text.starts_with("alpaca: 12 cycles after 22 to warm up; 6 sequences")
            && text.contains("left after unloading"),
        "{text}"
    );
}

#[test]
fn a_limited_run_counts_who_makes_way_and_says_how_that_is_foretold() {
    let place = Place::new();
    let free = place.json(&["--dataset", "lengths"]);
    let peak = free["memory"]["peak_kv_bytes"].as_u64().unwrap();
    let limit = format!("{}B", peak * 3 / 4);
    let limited = ["--dataset", "lengths", "--kv-limit", &limit, "--output-dir", &place.path("limited")];
    let answer = place.json(&limited);
    assert_eq!(answer["limit"]["kv_limit_bytes"], peak * 3 / 4);
    assert!(answer["limit"]["preempting_ratio"].as_f64() > Some(0.0));
    assert!(answer["memory"]["peak_kv_bytes"].as_u64() <= Some(peak * 3 / 4));
    // Neither the results nor the journal of a run without limit are touched.
    let journal = place.out("lengths_memory_validation.journal");
    fs::write(&journal, "of another run").unwrap();
    let before = fs::read(place.out("lengths_memory_validation.json")).unwrap();
    place.json(&["--dataset", "lengths", "--kv-limit", &limit]);
    assert_eq!(fs::read_to_string(&journal).unwrap(), "of another run");
    assert_eq!(fs::read(place.out("lengths_memory_validation.json")).unwrap(), before);
    assert!(place.out("lengths_limited_memory_validation.json").exists());
    let text = vramkit().args(place.arguments(&limited)).output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("too little room in ")
            && text.contains("vramkit capacity --lengths lengths_measured_lengths.csv"),
        "{text}"
    );
}

#[test]
fn documents_are_drawn_again() {
    let place = Place::new();
    place.json(&["--dataset", "lengths"]);
    let file = place.out("lengths_memory_validation.json").display().to_string();
    let printed = vramkit().args(["report", &file]).output().unwrap();
    assert!(printed.status.success() && printed.stderr.is_empty());
    assert_eq!(String::from_utf8(printed.stdout).unwrap().lines().count(), 4);
    assert!(fs::read(place.out("lengths_memory_validation.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(fs::read_to_string(place.out("lengths_memory_validation.svg")).unwrap().starts_with("<svg"));
    // A plan as well, and two validations beside each other.
    let plan = place.path("plan.json");
    let csv = place.path("net.csv");
    fs::write(&csv, "id,lower,upper,size\na,0,4,10\nb,3,9,4\n").unwrap();
    fs::write(&plan, vramkit().args(["plan", &csv, "--json"]).output().unwrap().stdout).unwrap();
    let stem = place.path("drawn");
    assert!(
        vramkit()
            .args(["report", &plan, "--output", &stem, "--format", "pdf,svg"])
            .output()
            .unwrap()
            .status
            .success()
    );
    assert!(fs::read(format!("{stem}.pdf")).unwrap().starts_with(b"%PDF"));
    assert!(
        vramkit()
            .args(["report", &file, &file, "--output", &stem, "--format", "html"])
            .output()
            .unwrap()
            .status
            .success()
    );

    let svg = format!("{stem}.svg");
    fs::copy(&plan, &svg).unwrap();
    assert!(common::refused(&["report", &svg, "--format", "svg"]).contains("would be written over"));
    assert!(common::refused(&["report", "/dev/zero"]).contains("is no file"));
    assert!(common::refused(&["report", &plan, "--format", "html"]).contains("of validations alone"));
    assert!(common::refused(&["report", &plan, &file]).contains("side by side"));
    assert!(common::refused(&["report", &csv]).contains("is no JSON"));
    assert!(common::refused(&["report", "/nowhere.json"]).contains("/nowhere.json"));
    fs::write(&plan, r#"{"schema": "vramkit.top/1"}"#).unwrap();
    assert!(common::refused(&["report", &plan]).contains("`vramkit.top/1`"));
    fs::write(&plan, r#"{"schema": "vramkit.validate/1"}"#).unwrap();
    assert!(common::refused(&["report", &plan]).contains("missing field"));
}

#[test]
fn what_cannot_be_is_said_before_anything_runs() {
    let place = Place::new();
    let lengths = ["--dataset", "lengths"];
    let with = |more: &[&'static str]| [&lengths, more].concat();
    for (more, status, say) in [
        (
            with(&["--tensor-parallel-size", "2"]),
            2,
            "--tensor-parallel-size 2: the engine computes on one device",
        ),
        (with(&["--switching-threshold", "0"]), 2, "threshold"),
        (with(&["--switching-threshold", "7"]), 2, "threshold of 7"),
        (with(&["--batch-size", "0"]), 2, "a batch of 0"),
        (with(&["--output-dir", "/proc/nothing"]), 2, "/proc/nothing"),
        (with(&["--capacity", "64KiB"]), 1, "try a smaller --batch-size"),
        (with(&["--ctx", "4"]), 2, "--ctx gives a longer context"),
        (with(&["--kv-limit", "1KiB"]), 2, "try a larger --kv-limit"),
        (with(&["--threads", "9999"]), 2, "more than 1024 threads"),
        (vec!["--run-both", "--dataset", "lengths"], 2, "lengths run alone"),
        (vec!["--scale", "0.5"], 2, "a scale is for a log of lengths"),
    ] {
        let error = place.refused(&more, status);
        assert!(error.contains(say), "{more:?}: {error}");
    }
    assert!(common::refused(&["validate", "--model", "m.gguf"]).contains("give --alpaca-path"));
    fs::remove_file(place.path("chats.json")).unwrap();
    assert!(place.refused(&["--run-both"], 2).contains("chats.json"));
    assert!(!place.out("").exists(), "nothing is left of what did not run");
    fs::write(place.path("chats.json"), r#"[{"conversations": []}]"#).unwrap();
    let swapped = place.refused(&["--alpaca-path", &place.path("chats.json")], 2);
    assert!(swapped.contains("--alpaca-path or --sharegpt-path go together"), "{swapped}");
}

/// Waits until the journal has so many lines.
fn until(journal: &PathBuf, lines: usize, child: &mut Child) {
    let begun = Instant::now();
    while fs::read_to_string(journal).map_or(0, |text| text.lines().count()) < lines {
        assert!(begun.elapsed() < Duration::from_secs(60), "no progress");
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_run_that_was_killed_or_interrupted_goes_on() {
    let place = Place::new();
    let more = ["--dataset", "lengths", "--num-cycles", "4000", "--max-samples", "60"];
    let journal = place.out("lengths_memory_validation.journal");
    let start = || {
        let program = assert_cmd::cargo::cargo_bin("vramkit");
        Command::new(program)
            .args(place.arguments(&more))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut killed = start();
    until(&journal, 30, &mut killed);
    let busy = place.refused(&more, 2);
    assert!(busy.contains("is being written by another run"), "{busy}");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before = fs::read_to_string(&journal).unwrap().lines().count();
    let mut interrupted = start();
    until(&journal, before + 20, &mut interrupted);
    Command::new("kill").args(["-INT", &interrupted.id().to_string()]).status().unwrap();
    let output = interrupted.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the same command goes on from"), "{said}");
    let other = place.refused(&["--dataset", "lengths", "--max-samples", "60", "--batch-size", "5"], 2);
    assert!(other.contains("of an experiment with another batch"), "{other}");
    // Fewer cycles of the same are there already.
    let answer = place.json(&["--dataset", "lengths", "--num-cycles", "20", "--max-samples", "60"]);
    assert!(!journal.exists());
    let anew = place.json(&["--dataset", "lengths", "--num-cycles", "20", "--max-samples", "60"]);
    let cycles = |answer: &Value| -> Vec<_> {
        let cycles = answer["cycles"].as_array().unwrap().iter();
        cycles.map(|c| (c["x0_tokens"].clone(), c["xmax_tokens"].clone(), c["steps"].clone())).collect()
    };
    assert_eq!(cycles(&answer), cycles(&anew));
}
