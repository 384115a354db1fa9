//! `vramkit stress` as scripts and people use it, on a generated model.

use std::fs;

use vramkit_testing::gguf::{Architecture, TestModel};

use crate::common::{self, vramkit};

#[test]
fn every_check_passes_and_catches_its_fault() {
    let folder = tempfile::tempdir().unwrap();
    let (model, report) = (folder.path().join("tiny.gguf"), folder.path().join("report.md"));
    TestModel::tiny(Architecture::Llama).write(&model).unwrap();
    let (model, report) = (model.display().to_string(), report.display().to_string());
    let answer =
        common::json(&["stress", &model, "--ctx", "128", "--prove", "--report", &report, "--json"], 0);
    assert_eq!((&answer["schema"], &answer["passed"]), (&"vramkit.stress/1".into(), &true.into()));
    let checks = answer["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 10);
    for check in checks {
        assert_eq!((&check["passed"], &check["caught"]), (&true.into(), &true.into()), "{check}");
        assert!(check["measured"].is_number() && check["limit"].is_number(), "{check}");
        assert!(["name", "unit", "detail", "fault"].iter().all(|field| check[field].is_string()), "{check}");
    }
    let written = fs::read_to_string(&report).unwrap();
    assert!(written.starts_with("# Memory under pressure: tiny\n\nAll checks passed."), "{written}");

    let output = vramkit().args(["stress", &model, "--ctx", "128"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(text.contains("passed  linear_growth: ") && text.ends_with("10 of 10 checks passed\n"), "{text}");
}

#[test]
fn what_cannot_be_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    TestModel::tiny(Architecture::Llama).write(&path).unwrap();
    let path = path.display().to_string();
    let refused = |arguments: &[&str]| common::refused(&[&["stress", &path], arguments].concat());
    assert!(refused(&["--ctx", "0"]).contains("--ctx 0"));
    assert!(refused(&["--ctx", "64"]).contains("128 at least"));
    assert!(refused(&["--threads", "0"]).contains("--threads 0"));
    assert!(refused(&["--capacity", "64KiB"]).contains("64 KiB available on host"));
    assert!(refused(&["--report", "/nowhere/report.md"]).contains("/nowhere/report.md"));
    assert!(common::refused(&["stress", "/nowhere/model.gguf"]).contains("/nowhere/model.gguf"));
}
