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
    refused("unknown.trace", b"a 1 5\nf 2\n", "line 2: id 2 is freed and is not live");
    refused("twice.trace", b"a 1 5\nf 1\nf 1\n", "line 3: id 1 is freed and is not live");
    refused("zero.trace", b"a 1 0\n", "line 1: an allocation of 0 bytes");
    refused("huge.trace", b"a 1 9223372036854775808\n", "9223372036854775808 bytes");
    refused("evil.pkl", b"cposix\nsystem\n(S'true'\ntR.", "opcode GLOBAL would run code");
    refused("length.pkl", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", "are announced");
    refused("deep.pkl", &[b']'; 100_000], "are announced");
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
