//! `vramkit replay` as scripts use it.

use std::fs;

use crate::common::{json, vramkit};

#[test]
fn replay_keeps_its_contract() {
    let policies = [
        "default",
        "exact",
        "stepped",
        "pow2",
        "best-fit",
        "first-fit",
        "pytorch",
        "pytorch-expandable",
        "offline",
    ];
    let report =
        json(&["replay", "examples/training.trace", "examples/rmm_log.csv", "--policy", "all", "--json"], 0);
    assert_eq!(report["schema"], "vramkit.replay/1");
    for (trace, file) in report["traces"].as_array().unwrap().iter().zip(["training.trace", "rmm_log.csv"]) {
        assert_eq!(trace["file"], file);
        let live = trace["peak_live_bytes"].as_u64().unwrap();
        let reports = trace["policies"].as_array().unwrap();
        assert_eq!(
            reports.iter().map(|report| report["policy"].as_str().unwrap()).collect::<Vec<_>>(),
            policies
        );
        let arena = |name: &str| {
            let report = reports.iter().find(|report| report["policy"] == name).unwrap();
            report["peak_arena_bytes"].as_u64().unwrap()
        };
        for report in reports {
            assert_eq!(report["failures"], 0);
            assert!(report["peak_committed_bytes"].as_u64().unwrap() >= live);
            assert!(report["nanoseconds_per_operation"].as_f64().unwrap() > 0.0);
            for ratio in ["external_fragmentation_ratio", "internal_fragmentation_ratio"] {
                assert!((0.0..1.0).contains(&report[ratio].as_f64().unwrap()));
            }
        }
        assert!(arena("offline") <= arena("default") && arena("default") <= arena("pytorch"));
    }
    // With a capacity: 1 when no policy gets through, 0 when one does.
    let trace = ["replay", "examples/training.trace", "--json", "--policy"];
    let with = |more: &[&'static str]| [&trace[..], more].concat();
    let tight = json(&with(&["default,pytorch", "--capacity", "150MiB"]), 1);
    assert!(tight["traces"][0]["policies"][0]["failures"].as_u64().unwrap() > 0);
    json(&with(&["pytorch,offline", "--capacity", "150MiB"]), 0);
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, content: &[u8], reason: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let output = vramkit().arg("replay").arg(&path).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}: {error}");
        assert!(error.contains(reason) && error.lines().count() == 1, "{name}: {error}");
    };
    refused("zero.trace", b"a 1 0\n", "line 1: an allocation of 0 bytes");
    refused("huge.trace", b"a 1 9223372036854775808\n", "9223372036854775808 bytes");
    refused(
        "evil.pkl",
        b"\x80\x02cposix\nsystem\n(S'true'\ntR.",
        "asks for posix.system to be called, which is never done",
    );
    refused("length.pkl", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", "are announced");
    refused("deep.pkl", &[b"\x80\x02".as_slice(), &[b']'; 100_000]].concat(), "are announced");
    refused("empty.gz", b"\x1f\x8b\x08\x00", "cannot read");
    assert_eq!(
        vramkit()
            .args(["replay", "examples/training.trace", "--policy", "best"])
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
    let svg = folder.path().join("t.svg");
    let drawn = ["replay", "examples/training.trace", "--policy", "first-fit", "--svg"];
    assert!(vramkit().args(drawn).arg(&svg).output().unwrap().status.success());
    let svg = fs::read_to_string(svg).unwrap();
    assert!(
        svg.contains("training.trace, first-fit")
            && svg.contains("largest free block")
            && svg.ends_with("</svg>\n")
    );
}

/// A file of the test, with what is in it.
fn written(folder: &tempfile::TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A snapshot as JSON: allocations of so many MiB at lines of `train.py`, freed or not, and a request of 6 GiB that failed.
fn snapshot(allocations: &[(u64, u64, bool)], fails: bool) -> String {
    let frames = |line: u64| {
        format!(
            r#"[{{"filename": "/lib/python3/site-packages/torch/nn.py", "line": 5, "name": "forward"}},
                {{"filename": "/home/u/train.py", "line": {line}, "name": "step"}}]"#
        )
    };
    let mut entries = Vec::new();
    for (at, &(line, mib, freed)) in allocations.iter().enumerate() {
        let (address, size) = ((at as u64 + 1) << 40, mib << 20);
        let entry = |action: &str| {
            format!(
                r#"{{"action": "{action}", "addr": {address}, "size": {size}, "stream": 0, "frames": {}}}"#,
                frames(line)
            )
        };
        entries.push(entry("alloc"));
        if freed {
            entries.push(entry("free_requested"));
            entries.push(entry("free_completed"));
        }
    }
    if fails {
        let oom = r#"{"action": "oom", "size": 6442450944, "device_free": 100, "stream": 0, "frames": "#;
        entries.push(format!("{oom}{}}}", frames(77)));
    }
    format!(r#"{{"segments": [], "device_traces": [[{}]]}}"#, entries.join(","))
}

#[test]
fn it_says_where_a_program_dies_and_who_held_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file =
        written(&folder, "s.json", snapshot(&[(10, 1024, false), (11, 2048, false), (12, 64, true)], true));
    let policies = ["replay", &file, "--policy", "pytorch,default,best-fit,offline", "--json", "--capacity"];
    let report = json(&[&policies[..], &["8GiB"]].concat(), 1);
    let trace = &report["traces"][0];
    assert_eq!((&trace["operations"], &trace["peak_live_bytes"]), (&5.into(), &(9_u64 << 30).into()));
    for policy in trace["policies"].as_array().unwrap() {
        assert_eq!(policy["failures"], 1, "{policy}");
        let failure = &policy["first_failure"];
        assert_eq!(failure["operation"], 4, "{policy}");
        assert_eq!(failure["requested_bytes"], 6_u64 << 30);
        assert_eq!(failure["live_bytes"], 3_u64 << 30);
        assert_eq!(failure["free_bytes"], 5_u64 << 30, "{policy}");
        assert_eq!(failure["largest_free_bytes"], 5_u64 << 30, "{policy}");
        assert_eq!(failure["owner"], "train.py:77 step");
        assert_eq!(failure["frames"].as_array().unwrap().len(), 2);
        let least = policy["least_capacity_bytes"].as_u64().unwrap();
        // PyTorch keeps the 64 MiB that were freed, until they are in the way.
        assert_eq!(least, 9 << 30, "{policy}");
    }
    let enough = json(&[&policies[..], &["9GiB"]].concat(), 0);
    assert_eq!(enough["traces"][0]["policies"][0]["first_failure"], serde_json::Value::Null);
    // Who held it when it failed, by line and by stack.
    let held =
        |more: &[&str]| json(&[&policies[..], &["8GiB"], more].concat(), 1)["traces"][0]["held"].clone();
    let failed = held(&["--at", "failure"]);
    assert_eq!((&failed["at"], &failed["bytes"]), (&"failure".into(), &(3_u64 << 30).into()));
    assert_eq!(failed["owners"][0]["owner"], "train.py:11 step");
    let stack = "/home/u/train.py:11 step;/lib/python3/site-packages/torch/nn.py:5 forward";
    assert_eq!(held(&["--at", "end", "--by", "stack"])["owners"][0]["owner"], stack);
    assert_eq!(held(&["--at", "0"])["bytes"], 1 << 30);
    let output =
        vramkit().args(["replay", &file, "--capacity", "8GiB", "--policy", "pytorch"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("asks for 6 GiB with 3 GiB live") && text.contains("would have ended here"),
        "{text}"
    );
    assert!(
        text.contains("asked by train.py:77 step") && text.contains("* of what was granted alone"),
        "{text}"
    );
    for bad in [&["--at", "noon"][..], &["--by", "thread"], &["--alloc-conf", "max_split_size_mb:x"]] {
        let output = vramkit().args(["replay", &file]).args(bad).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn settings_are_those_that_were_recorded_and_those_that_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    // 48 MiB are freed and 40 asked for, which splits the block unless that is forbidden.
    let plain = snapshot(&[(1, 48, true), (2, 40, false), (3, 8, false)], false);
    let recorded = plain.replace(
        r#""segments": []"#,
        r#""segments": [], "allocator_settings": {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:32", "expandable_segments": false}"#,
    );
    let (plain, recorded) =
        (written(&folder, "plain.json", plain), written(&folder, "recorded.json", recorded));
    let held = |arguments: &[&str]| {
        let report = json(&[&["replay", "--json", "--policy", "pytorch"], arguments].concat(), 0);
        report["traces"][0]["policies"][0]["peak_committed_bytes"].as_u64().unwrap() >> 20
    };
    assert_eq!(held(&[&plain]), 48);
    assert_eq!(held(&[&recorded]), 68);
    assert_eq!(held(&[&plain, "--alloc-conf", "max_split_size_mb:32"]), 68);
    assert_eq!(held(&[&recorded, "--alloc-conf", "max_split_size_mb:64"]), 48);
    assert_eq!(held(&[&plain, "--alloc-conf", "expandable_segments:True"]), 60);
}

#[test]
fn what_grew_is_told_and_nothing_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let before = written(&folder, "before.json", snapshot(&[(10, 100, false), (11, 5, false)], false));
    let after =
        written(&folder, "after.json", snapshot(&[(10, 300, false), (12, 7, false), (13, 900, true)], false));
    let report = json(&["replay", "--diff", &before, &after, "--json"], 0);
    let diff = &report["diff"];
    assert_eq!((&diff["at"], &diff["grown_bytes"]), (&"end".into(), &(202_i64 << 20).into()));
    let owners: Vec<(&str, i64)> = diff["owners"]
        .as_array()
        .unwrap()
        .iter()
        .map(|owner| (owner["owner"].as_str().unwrap(), owner["grown_bytes"].as_i64().unwrap() >> 20))
        .collect();
    assert_eq!(owners, [("train.py:10 step", 200), ("train.py:12 step", 7), ("train.py:11 step", -5)]);
    assert!(report["traces"][0]["policies"].as_array().unwrap().is_empty());
    let one = vramkit().args(["replay", "--diff", &before]).output().unwrap();
    assert_eq!(one.status.code(), Some(2));
}

#[test]
fn stacks_are_folded_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(&folder, "s.json", snapshot(&[(10, 100, false), (11, 5, true)], false));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (folded, flame) = (path("folded"), path("flame.svg"));
    let drawn = ["replay", &file, "--folded", &folded, "--flame", &flame, "--policy", "pytorch"];
    assert!(vramkit().args(drawn).output().unwrap().status.success());
    let mut lines: Vec<String> = fs::read_to_string(&folded).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    let outer = ";/lib/python3/site-packages/torch/nn.py:5 forward";
    let of = |line: u64, mib: u64| format!("/home/u/train.py:{line} step{outer} {}", mib << 20);
    assert_eq!(lines, [of(10, 100), of(11, 5)]);
    assert!(fs::read_to_string(&flame).unwrap().contains("train.py:10 step: 100 MiB (95.2 %)"));
}

#[test]
fn a_snapshot_without_history_says_who_holds_what() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"[{"address": 4096, "total_size": 2097152, "blocks": [{"size": 512, "requested_size": 500, "state": "active_allocated",
        "frames": [{"filename": "a.py", "line": 1, "name": "f"}]}]}]"#;
    let file = written(&folder, "state.json", text);
    let report = json(&["replay", &file, "--json"], 0);
    let trace = &report["traces"][0];
    assert!(trace["policies"].as_array().unwrap().is_empty());
    assert!(trace["notes"][0].as_str().unwrap().contains("no history"));
    assert_eq!(
        (&trace["held"]["owners"][0]["owner"], &trace["held"]["bytes"]),
        (&"a.py:1 f".into(), &500.into())
    );
    let asked = vramkit().args(["replay", &file, "--capacity", "1GiB"]).output().unwrap();
    assert_eq!(asked.status.code(), Some(2), "whether it fits is not known");
}

#[test]
fn standard_input_and_odd_lines() {
    let output =
        vramkit().args(["replay", "-", "--json"]).write_stdin("a 1 5\nf 2\nwhat\nf 1\n").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["traces"][0]["operations"], 2);
    let note = report["traces"][0]["notes"][0].as_str().unwrap();
    assert!(note.starts_with("2 lines left out, the first: line 2: id 2 is freed and is not live"), "{note}");
}
