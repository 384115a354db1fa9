//! `vramkit run` and `vramkit devices` as scripts use them, on host memory, the simulated device and the stand-in for a
//! card.

use crate::common::{example, json, root, vramkit};

#[test]
fn run_keeps_its_contract() {
    for (schedule, arena) in
        [("fixed", 350_000_000u64), ("sequential", 300_000_000), ("concurrent", 700_000_000)]
    {
        let run =
            json(&["run", &example("three-models"), "--schedule", schedule, "--device", "sim", "--json"], 0);
        assert_eq!(run["schema"], "vramkit.run/1");
        assert_eq!(
            (&run["plan"]["arena_bytes"], &run["plan"]["proven_optimal"]),
            (&arena.into(), &true.into())
        );
        assert!(run["plan"]["tensors"].is_null());
        assert_eq!((&run["verified_tensors"], &run["aliasing_violations"]), (&7.into(), &0.into()));
        assert_eq!(run["used_after_release_bytes"], 0);
        let committed = run["peak_committed_bytes"].as_u64().unwrap();
        assert!(committed >= arena && committed - arena < 2 << 20);
        assert!(run["system_peak_bytes"].is_null(), "a simulation is no system");
        assert!(run["system_peak_unavailable"].as_str().unwrap().contains("simulated"));
        assert_eq!(run["dropped"]["events"], 0);
        assert!(run["stall_seconds"].is_number() && run["levels"]["normal"].is_number());
        let kinds: Vec<&str> =
            run["decisions"].as_array().unwrap().iter().map(|d| d["kind"].as_str().unwrap()).collect();
        assert_eq!((kinds[0], kinds[1]), ("plan_generated", "bound"));
    }
    let run = json(&["run", &example("three-models"), "--device", "sim", "--json"], 0);
    assert_eq!(
        (&run["reduction_of_sum_of_sizes_ratio"], &run["reduction_of_sum_of_peaks_ratio"]),
        (&0.5625.into(), &0.5.into())
    );
}

#[test]
fn real_graphs_run_on_real_memory() {
    let run = json(&["run", &example("vision"), "--json"], 0);
    assert_eq!((&run["verified_tensors"], &run["aliasing_violations"]), (&449.into(), &0.into()));
    assert_eq!(run["plan"]["arena_bytes"], 9_633_792);
    let peak = run["peak_committed_bytes"].as_u64().unwrap();
    assert_eq!(run["system_peak_bytes"].as_u64().unwrap_or(peak), peak);
    // What people would otherwise have against what they have: weights are there either way.
    let bytes = |name: &str| run[name].as_u64().unwrap();
    let peaks = run["plan"]["sum_of_peaks_bytes"].as_u64().unwrap();
    assert_eq!(bytes("together_bytes"), 9_633_792 + bytes("weights_bytes"));
    assert_eq!(bytes("apart_bytes"), peaks + bytes("weights_bytes"));
    let ratio = run["reduction_of_apart_ratio"].as_f64().unwrap();
    assert!((0.071..0.072).contains(&ratio), "{ratio}");
}

#[test]
fn a_dry_run_takes_nothing() {
    let run = json(&["run", &example("three-models"), "--dry-run", "--json"], 0);
    assert_eq!((&run["peak_committed_bytes"], &run["verified_tensors"]), (&0.into(), &0.into()));
    assert_eq!(run["dry_run"], true);
}

/// Two of three models fit; ladder with everything.
const CROWDED: &str = r#"
schedule = "sequential"
capacity = "100MB"
repetitions = 2
[[models]]
name = "a"
weights = "40MB"
tensors = [ { id = "x", size = "10MB", start = 0, end = 3 } ]
[[models]]
name = "b"
weights = "40MB"
degrade_to_ratio = 0.5
tensors = [ { id = "y", size = "10MB", start = 0, end = 3 } ]
[[models]]
name = "c"
weights = "40MB"
tensors = [ { id = "z", size = "10MB", start = 0, end = 3 } ]
[pressure]
rungs = [
  { level = "elevated", enter = 0.70, policies = ["log", "degrade"] },
  { level = "critical", enter = 0.90, policies = ["compact", "evict"] },
]
"#;

#[test]
fn a_dry_run_says_what_a_run_does() {
    let folder = tempfile::tempdir().unwrap();
    let crowded = folder.path().join("crowded.toml");
    std::fs::write(&crowded, CROWDED).unwrap();
    let crowded = crowded.display().to_string();
    for (workload, evictions) in [(crowded, 4), (example("three-models"), 0), (example("vision"), 0)] {
        let decisions = |more: &[&str]| {
            let run = ["run", &workload, "--device", "sim", "--schedule", "sequential", "--json"];
            let run = json(&[&run, more].concat(), 0);
            let fields = |decision: &serde_json::Value| {
                let field = |name: &str| decision[name].to_string();
                ["kind", "model", "freed_bytes", "policy", "to"].map(field)
            };
            let all = run["decisions"].as_array().unwrap();
            let done = all.iter().skip(1).map(|decision| decision["done"].as_bool().unwrap());
            assert!(done.clone().all(|done| done) || done.clone().all(|done| !done), "{workload}");
            assert_eq!(done.clone().next(), Some(more.is_empty()));
            (all.iter().map(fields).collect::<Vec<_>>(), run["levels"].clone())
        };
        let real = decisions(&[]);
        assert_eq!(decisions(&["--dry-run"]), real, "{workload}");
        assert_eq!(real.0.iter().filter(|fields| fields[0] == "\"evicted\"").count(), evictions);
    }
}

#[test]
fn what_a_run_allocates_is_recorded_and_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("allocations.jsonl").display().to_string();
    let run =
        json(&["run", &example("three-models"), "--device", "sim", "--record", &recording, "--json"], 0);
    assert_eq!(run["release_mismatches"], serde_json::json!([]));
    let replay = json(&["replay", &recording, "--policy", "default", "--json"], 0);
    let trace = &replay["traces"][0];
    assert_eq!(trace["peak_live_bytes"], run["plan"]["arena_bytes"], "as it was asked for");
    assert!(trace["operations"].as_u64().unwrap() >= 2, "{trace}");
}

#[test]
fn nothing_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let workload = folder.path().join("w.toml");
    std::fs::copy(root().join(example("three-models")), &workload).unwrap();
    let before = std::fs::read_to_string(&workload).unwrap();
    let link = folder.path().join("link");
    std::fs::hard_link(&workload, &link).unwrap();
    let shown = |path: &std::path::Path| path.display().to_string();
    let (workload, other, link) = (shown(&workload), shown(&folder.path().join("t")), shown(&link));
    for outputs in [
        ["--record", &workload, "--trace", &other],
        ["--record", &other, "--trace", &other],
        ["--record", &link, "--trace", &other],
    ] {
        let output = vramkit().args(["run", &workload, "--device", "sim"]).args(outputs).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("would be written over"));
    }
    assert_eq!(std::fs::read_to_string(&workload).unwrap(), before);
}

#[test]
fn pairs_that_share_addresses_are_explained() {
    for command in ["plan", "run"] {
        let device: &[&str] = if command == "run" { &["--device", "sim"] } else { &[] };
        let asked = |more: &str| [&[command, &example("three-models"), more], device].concat().join(" ");
        let words = asked("--explain");
        let output = vramkit().args(words.split(' ')).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("`T3` ends at step 20, `T6` starts at step 22"), "{text}");
        let words = asked("--json");
        let document = json(&words.split(' ').collect::<Vec<_>>(), 0);
        let plan = if command == "run" { &document["plan"] } else { &document };
        assert_eq!(plan["shared"].as_array().unwrap().len() as u64, plan["shared_pairs"].as_u64().unwrap());
        let first = &plan["shared"][0];
        assert_eq!(
            (&first["first"], &first["second"], &first["shared_bytes"]),
            (&"T3".into(), &"T6".into(), &200_000_000.into())
        );
    }
}

/// Many times what is kept in memory.
#[test]
fn a_long_run_is_whole_in_its_trace_and_says_what_its_report_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let (workload, trace) = (folder.path().join("long.toml"), folder.path().join("t.jsonl"));
    std::fs::write(&workload, CROWDED.replace("repetitions = 2", "repetitions = 4000")).unwrap();
    let run = json(
        &[
            "run",
            &workload.display().to_string(),
            "--device",
            "sim",
            "--dry-run",
            "--trace",
            &trace.display().to_string(),
            "--json",
        ],
        0,
    );
    let lacking = run["dropped"]["events"].as_u64().unwrap();
    assert_eq!(run["decisions"].as_array().unwrap().len(), 65_536);
    let lines = std::fs::read_to_string(trace).unwrap();
    let missing: u64 = lines
        .lines()
        .filter(|line| line.contains("\"trace_dropped\""))
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["events"].as_u64().unwrap())
        .sum();
    let events = lines.lines().filter(|line| !line.contains("\"trace_dropped\"")).count() as u64;
    assert_eq!(events + missing, 65_536 + lacking);
}

#[test]
fn a_device_that_is_not_here_has_its_own_exit_status() {
    let output = vramkit().args(["run", &example("three-models"), "--device", "cuda:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`cuda:0` is not here"));
}

/// The stand-in for the driver, built beside this test.
fn stand_in() -> std::path::PathBuf {
    let _ = vramkit_standin::standin_reset as extern "C" fn();
    std::env::current_exe().unwrap().parent().unwrap().join("libvramkit_standin.so")
}

#[test]
fn a_card_runs_a_workload_and_is_listed() {
    let with_card = || {
        let mut command = vramkit();
        command.env("VRAMKIT_CUDA_DRIVER", stand_in());
        command
    };
    let output = with_card().args(["devices", "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["devices"][1]["id"], "cuda:0");
    assert_eq!(report["devices"][1]["stream_pool"]["used_bytes"]["value"], 64 << 20);
    assert_eq!(report["unavailable"], serde_json::json!([]));
    let run = ["run", &example("three-models"), "--device", "cuda:0", "--verify", "full", "--json"];
    let output = with_card().args(run).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["verified_tensors"], &report["aliasing_violations"]), (&7.into(), &0.into()));
    assert_eq!(report["used_after_release_bytes"], 0);
    // A card that is not there, a driver without cards, one that is lost in mid-run, and one that is too small.
    let run = ["run", &example("three-models"), "--device", "cuda:1"];
    assert_eq!(with_card().args(run).output().unwrap().status.code(), Some(3));
    let run = ["run", &example("three-models"), "--device", "cuda:0"];
    let none = with_card().env("VRAMKIT_STANDIN_CARDS", "0").args(run).output().unwrap();
    assert_eq!(none.status.code(), Some(3));
    let lost = with_card().env("VRAMKIT_STANDIN_FAULTS", "cuMemcpyDtoH_v2:2=719").args(run).output().unwrap();
    assert!(!lost.status.success());
    assert!(String::from_utf8_lossy(&lost.stderr).contains("cuda:0 is lost"));
    let small = with_card().env("VRAMKIT_STANDIN_BYTES", "200000000").args(run).output().unwrap();
    assert!(!small.status.success());
    let text = String::from_utf8_lossy(&small.stderr).into_owned();
    assert!(text.contains("needs 350 MB") || text.contains("out of memory"), "{text}");
    let other = vramkit().env("VRAMKIT_CUDA_DRIVER", "libm.so.6").arg("devices").output().unwrap();
    assert!(other.status.success());
    assert!(String::from_utf8_lossy(&other.stdout).contains("lacks the function cuInit"));
}
