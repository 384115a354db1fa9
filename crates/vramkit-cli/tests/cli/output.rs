//! What every command has in common: schemas, pages, pictures, completions, and text that people read.

use std::fs;

use serde_json::Value;

use crate::common::{example, json, root, vramkit};

#[test]
fn results_agree_with_their_schemas() {
    for (name, arguments) in [
        ("plan", &["plan", "examples/three-models.toml", "--json"][..]),
        ("run", &["run", "examples/three-models.toml", "--device", "sim", "--json"]),
        ("devices", &["devices", "--json"]),
        ("replay", &["replay", "examples/training.trace", "--policy", "all", "--json"]),
    ] {
        let (schema, result) = (json(&["schema", name], 0), json(arguments, 0));
        let properties = schema["properties"].as_object().unwrap();
        let fields = result.as_object().unwrap();
        for field in fields.keys() {
            assert!(properties.contains_key(field), "{name}: `{field}` is not in the schema");
        }
        for required in schema["required"].as_array().unwrap() {
            assert!(
                fields.contains_key(required.as_str().unwrap()),
                "{name}: {required} is not in the result"
            );
        }
        assert_eq!(result["schema"], format!("vramkit.{name}/1"));
    }
}

#[test]
fn what_the_monitor_serves_and_keeps_has_schemas() {
    for (name, fields) in [
        ("history", ["schema", "devices", "events"]),
        ("ready", ["ready", "sources", "devices"]),
        ("past", ["time", "seconds", "devices"]),
    ] {
        let required = json(&["schema", name], 0)["required"].clone();
        for field in fields {
            assert!(required.as_array().unwrap().contains(&field.into()), "{name}: {field}");
        }
    }
}

#[test]
fn every_page_and_picture_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (svg, html, trace, perfetto) = (path("p.svg"), path("r.html"), path("t.jsonl"), path("p.json"));
    vramkit().args(["plan", &example("three-models"), "--svg", &svg]).assert().success();
    let files = ["--report", &html, "--trace", &trace, "--perfetto", &perfetto];
    vramkit().args(["run", &example("three-models"), "--device", "sim"]).args(files).assert().success();
    let svg = fs::read_to_string(svg).unwrap();
    for text in ["350 MB arena, proven optimal", "T3 (200 MB)", "lower bound", "A (peak 250 MB)"] {
        assert!(svg.contains(text), "{text}");
    }
    let html = fs::read_to_string(html).unwrap();
    for text in ["56.25 % less", "aliasing violations", "Memory over time", "Decisions", "plan generated"] {
        assert!(html.contains(text), "{text}");
    }
    assert!(!html.contains("src=") && !html.contains("href="), "the page needs no other file");
    assert!(
        fs::read_to_string(trace).unwrap().lines().all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
    assert!(
        serde_json::from_str::<Value>(&fs::read_to_string(perfetto).unwrap()).unwrap()["traceEvents"]
            .is_array()
    );
}

#[test]
fn completions_help_and_devices_are_there() {
    for shell in ["bash", "zsh", "fish"] {
        let output = vramkit().args(["completions", shell]).output().unwrap();
        assert!(String::from_utf8(output.stdout).unwrap().contains("vramkit"));
    }
    for command in ["fit", "plan", "run", "replay", "devices", "schema", "completions"] {
        let output = vramkit().args([command, "--help"]).output().unwrap();
        assert!(String::from_utf8(output.stdout).unwrap().contains("Examples:"), "{command}");
    }
    let output = vramkit().arg("devices").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("host") && text.contains("compute capability not available"), "{text}");
}

#[test]
#[cfg(unix)]
fn a_reader_that_leaves_early_is_not_an_error() {
    let program = assert_cmd::cargo::cargo_bin("vramkit");
    let script = format!(
        "set -o pipefail; {} plan examples/vision.toml --json | head -c 10 >/dev/null",
        program.display()
    );
    assert_cmd::Command::new("bash").current_dir(root()).args(["-c", &script]).assert().success();
}

/// What a person reads, times aside.
#[test]
fn people_read_this() {
    let text = |arguments: &[&str]| {
        let output = vramkit().args(arguments).env("NO_COLOR", "1").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains('\u{1b}'), "no colours where nobody asked for them");
        // Each number before a unit of time.
        let words = text.split_inclusive([' ', '\n']).collect::<Vec<_>>();
        let timed = |i: usize| {
            words
                .get(i + 1)
                .is_some_and(|next| matches!(next.trim_end_matches([',', ';', '\n', ' ']), "ms" | "s"))
        };
        (0..words.len())
            .map(|i| if timed(i) { "[time] ".to_owned() } else { words[i].to_owned() })
            .collect::<String>()
    };
    insta::assert_snapshot!("plan", text(&["plan", "examples/three-models.toml"]));
    insta::assert_snapshot!("run", text(&["run", "examples/three-models.toml", "--device", "sim"]));
    insta::assert_snapshot!("run_vision", text(&["run", "examples/vision.toml", "--device", "sim"]));
}
