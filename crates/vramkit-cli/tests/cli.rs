//! The program as scripts and people use it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn vramkit() -> Command {
    let mut command = Command::cargo_bin("vramkit").unwrap();
    command.current_dir(root());
    command
}

fn example(name: &str) -> String {
    format!("examples/{name}.toml")
}

/// Runs and parses what is printed; checks the exit status.
fn json(arguments: &[&str], status: i32) -> Value {
    let output = vramkit().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs what must fail: exit status 2, nothing on stdout, one line that starts `error:` on stderr.
fn refused(arguments: &[&str]) -> String {
    let output = vramkit().args(arguments).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty() && error.starts_with("error:"), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

/// A folder with one file in it.
fn file(name: &str, content: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn plan_keeps_its_contract() {
    let plan = json(&["plan", &example("three-models"), "--json"], 0);
    for (key, value) in [
        ("arena_bytes", 350_000_000),
        ("lower_bound_bytes", 350_000_000),
        ("sum_of_sizes_bytes", 800_000_000),
    ] {
        assert_eq!(plan[key], value, "{key}");
    }
    assert_eq!(plan["schema"], "vramkit.plan/1");
    assert_eq!(plan["sum_of_peaks_bytes"], 700_000_000);
    assert_eq!((&plan["proven_optimal"], &plan["feasible"]), (&Value::Bool(true), &Value::Bool(true)));
    assert_eq!(plan["shareable_pairs_across_models"], 11);
    assert!(
        plan["method"].is_string() && plan["elapsed_seconds"].is_number() && plan["shared_pairs"].is_number()
    );
    assert_eq!(
        plan["models"][0],
        serde_json::json!({"name": "A", "tensors": 3, "sum_of_sizes_bytes": 350_000_000, "live_peak_bytes": 250_000_000, "weights_bytes": 0})
    );
    let tensors = plan["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 7);
    for key in ["id", "model", "start", "end", "size_bytes", "alignment", "offset_bytes"] {
        assert!(!tensors[0][key].is_null(), "{key}");
    }
}

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
        assert_eq!(run["system_peak_bytes"], run["peak_committed_bytes"]);
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
}

#[test]
fn a_dry_run_takes_nothing() {
    let run = json(&["run", &example("three-models"), "--dry-run", "--json"], 0);
    assert_eq!((&run["peak_committed_bytes"], &run["verified_tensors"]), (&0.into(), &0.into()));
    assert_eq!(run["dry_run"], true);
}

#[test]
fn a_capacity_is_a_question_with_an_exit_status() {
    let three = example("three-models");
    assert_eq!(json(&["plan", &three, "--capacity", "350MB", "--json"], 0)["feasible"], true);
    assert_eq!(json(&["plan", &three, "--capacity", "349MB", "--json"], 1)["feasible"], false);
    // Cut from a full rectangle of height 6: greedy does not put it together again, and nothing proves that it cannot be.
    let (_folder, hard) = file(
        "hard.csv",
        "id,lower,upper,size\n0,10,12,4\n1,1,7,2\n2,0,1,5\n3,0,1,1\n4,1,8,1\n5,8,10,1\n6,1,10,1\n7,1,10,2\n8,7,12,1\n9,7,12,1\n",
    );
    assert_eq!(
        json(&["plan", &hard, "--capacity", "6", "--deadline", "0", "--json"], 1)["feasible"],
        Value::Null
    );
    let exact = json(&["run", &three, "--capacity", "350MB", "--device", "sim", "--json"], 0);
    assert_eq!(exact["peak_used_bytes"], 350_000_128, "granted in units of 256 bytes");
    let error = refused(&["run", &three, "--capacity", "320MB"]);
    assert!(error.contains("--schedule sequential would fit (300 MB)"), "{error}");
}

#[test]
fn several_files_are_sequential_and_tables_go_back_with_offsets() {
    let (folder, a) = file("a.csv", "id,lower,upper,size\nx,0,4,10\ny,3,9,4\n");
    let b = folder.path().join("b.csv").display().to_string();
    fs::write(&b, "id,lower,upper,size\nx,0,4,7\n").unwrap();
    let plan = json(&["plan", &a, &b, "--json"], 0);
    assert_eq!((&plan["schedule"], &plan["arena_bytes"]), (&"sequential".into(), &14.into()));
    assert_eq!(plan["tensors"][2]["model"], "b");
    let out = folder.path().join("out.csv").display().to_string();
    vramkit().args(["plan", &a, "--output", &out]).assert().success();
    assert_eq!(fs::read_to_string(&out).unwrap(), "id,lower,upper,size,offset\nx,0,4,10,0\ny,3,9,4,10\n");
    assert_eq!(json(&["plan", &out, "--json"], 0)["arena_bytes"], 14, "the offsets read back are kept");
    let same = json(&["plan", &a, &a, "--json"], 0);
    assert_eq!(same["models"][1]["name"], "a-2");
}

#[test]
fn an_export_is_a_workload_that_plans_alike() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.toml").display().to_string();
    let first = json(&["plan", &example("vision"), "--export", &copy, "--json"], 0);
    let second = json(&["plan", &copy, "--json"], 0);
    assert_eq!((&first["tensors"], &first["models"]), (&second["tensors"], &second["models"]));
}

#[test]
fn bad_input_is_refused_with_its_place() {
    for (name, content, reason) in [
        ("w.csv", "id,lower,upper,size\na,0,3\n", "line 2: 3 cells where the header has 4"),
        ("w.csv", "id,lower,upper,size\na,0,3,-1\n", "line 2: size `-1` is negative"),
        ("w.csv", "id,lower,upper,size\na,9,3,1\n", "before its start"),
        ("w.csv", "id,lower,upper,size\na,0,3,18446744073709551615\nb,0,3,1\n", "more than 2^64"),
        (
            "w.toml",
            "models = [{ name = \"m\", tensors = [{ id = \"a\", size = nan, start = 0, end = 1 }] }]",
            "floating point `NaN`",
        ),
        (
            "w.toml",
            "models = [{ name = \"m\", tensors = [{ id = \"a\", size = inf, start = 0, end = 1 }] }]",
            "floating point `inf`",
        ),
        (
            "w.toml",
            "models = [{ name = \"m\", tensors = [{ id = \"a\", size = \"5XB\", start = 0, end = 1 }] }]",
            "`XB` in `5XB` is not a unit",
        ),
        ("w.toml", "\nmodels = [{ name = \"m\", tensers = [] }]", "line 2: unknown field `tensers`"),
        ("w.toml", "shedule = \"fixed\"\nmodels = []", "did you mean `schedule`?"),
        ("w.toml", "models = [{ name = \"m\" }, { name = \"m\" }]", "model `m` is there twice"),
        ("w.toml", "models = [{ file = \"missing.onnx\" }]", "missing.onnx"),
        ("w.toml", "models = [{ file = \"w.toml\" }]", "no known kind"),
        (
            "w.toml",
            "models = [{ name = \"a\", tensors = [{ id = \"t\", size = 1, start = 0, end = 1 }] }, { name = \"b\", tensors = [{ id = \"t\", size = 1, start = 0, end = 1 }] }]",
            "tensor `t` is in `a` and again in `b`",
        ),
        (
            "w.toml",
            "models = []\n[pressure]\nrungs = [{ level = \"high\", enter = 1.5 }]",
            "must be within (0, 1]",
        ),
        ("w.json", "{\"models\": [{\"name\": \"m\", \"wieghts\": 3}]}", "did you mean `weights`?"),
        ("w.json", "{\"models\": ", "line 1"),
        ("w.onnx", "certainly not a graph", "not an ONNX model"),
        ("w.onnx", "", "it holds no graph"),
        ("w.txt", "", "no known kind"),
    ] {
        let (_folder, path) = file(name, content);
        let error = refused(&["plan", &path]);
        assert!(error.contains(reason), "{content:?}: {error}");
    }
    refused(&["plan", "nowhere.csv"]);
    refused(&["plan"]);
    refused(&["plan", &example("three-models"), "--capacity", "5 parsecs"]);
    refused(&["plan", &example("three-models"), "--deadline", "-1"]);
    refused(&["plan", &example("three-models"), "--alignment", "3"]);
    refused(&["run", &example("three-models"), "--device", "gpu"]);
    refused(&["run", &example("three-models"), "--device", "sim", "--report", "/nowhere/at/all.html"]);
}

#[test]
fn a_device_that_is_not_here_has_its_own_exit_status() {
    let output = vramkit().args(["run", &example("three-models"), "--device", "cuda:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`cuda:0` is not here"));
}

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
    for command in ["plan", "run", "replay", "devices", "schema", "completions"] {
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
    Command::new("bash").current_dir(root()).args(["-c", &script]).assert().success();
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

#[test]
fn a_capacity_that_cannot_be_met_is_explained() {
    let arguments = ["plan", "examples/three-models.toml", "--capacity", "320MB"];
    let plan = json(&[&arguments[..], &["--json"]].concat(), 1);
    assert_eq!(plan["feasible"], false);
    let conflict = &plan["conflict"];
    assert_eq!(conflict["tensors"], serde_json::json!(["A/T3", "B/T4", "A/T2"]));
    assert_eq!((&conflict["step"], &conflict["needs_bytes"]), (&12.into(), &350_000_000.into()));
    assert_eq!(conflict["irreducible"], true);
    let output = vramkit().args(arguments).arg("--explain").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "lower bound: 350 MB, live at step 12 in 3 tensors\n  200 MB 57.1 %: T3 of A",
        "search: 1 part\n",
        "does not fit a capacity of 320 MB: 3 tensors need 350 MB at step 12 (A/T3, B/T4, A/T2)",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn exact_search_closes_what_greedy_leaves_open() {
    // Cut from a rectangle of height 6; no order of the portfolio puts it together again.
    let rows = "id,lower,upper,size\na,10,12,4\nb,1,7,2\ne,1,8,1\nf,8,10,1\ng,1,10,1\nh,1,10,2\ni,7,12,1\nj,7,12,1\n";
    let (_folder, path) = file("cut.csv", rows);
    let greedy = json(&["plan", &path, "--deadline", "0", "--json"], 0);
    assert_eq!((&greedy["arena_bytes"], &greedy["proven_optimal"]), (&7.into(), &false.into()));
    let plan = json(&["plan", &path, "--json", "--threads", "2", "--seed", "3"], 0);
    assert_eq!((&plan["arena_bytes"], &plan["proven_optimal"]), (&6.into(), &true.into()));
    assert_eq!(plan["method"], "exact search");
    let steps = plan["steps"].as_array().unwrap();
    assert!(steps.len() >= 2 && steps[0]["arena_bytes"] == 7 && steps.last().unwrap()["arena_bytes"] == 6);
    let not_found = json(&["plan", &path, "--capacity", "6", "--deadline", "0", "--json"], 1);
    assert_eq!(not_found["feasible"], Value::Null);
}

#[test]
fn tensors_are_distributed_over_pools() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("out.csv").display().to_string();
    let picture = folder.path().join("out.svg").display().to_string();
    let plan =
        json(&["plan", "examples/fast-and-slow.toml", "--json", "--output", &table, "--svg", &picture], 0);
    let pools = plan["pools"].as_array().unwrap();
    assert_eq!((pools.len(), &pools[0]["name"]), (2, &"fast".into()));
    for pool in pools {
        assert!(pool["arena_bytes"].as_u64() <= pool["capacity_bytes"].as_u64(), "{pool}");
    }
    let tensor =
        |id: &str| plan["tensors"].as_array().unwrap().iter().find(|t| t["id"] == id).unwrap().clone();
    assert_eq!((&tensor("input")["pool"], &tensor("hidden")["pool"]), (&"slow".into(), &"fast".into()));
    assert!(fs::read_to_string(table).unwrap().starts_with("id,lower,upper,size,alignment,pool,offset\n"));
    assert!(folder.path().join("out-fast.svg").exists() && folder.path().join("out-slow.svg").exists());
    let workload = fs::read_to_string(root().join("examples/fast-and-slow.toml")).unwrap();
    let (_folder, path) = file("small.toml", &workload.replace("1GB", "40MB"));
    let output = vramkit().args(["plan", &path]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("pool `slow` has 40 MB, and "));
    let (_folder, path) = file("typo.toml", &workload.replace("\"slow\"] }", "\"slwo\"] }"));
    assert!(refused(&["plan", &path]).contains("allowed in pool `slwo`, which is not there"));
    assert!(refused(&["run", "examples/fast-and-slow.toml"]).contains("a run binds one"));
}

#[test]
fn gaps_of_a_table_are_used() {
    let (_folder, path) = file("gaps.csv", "id,lower,upper,size,gaps\na,0,10,70,2-8\nb,2,8,60,\n");
    let plan = json(&["plan", &path, "--json"], 0);
    assert_eq!((&plan["arena_bytes"], &plan["proven_optimal"]), (&70.into(), &true.into()));
    let (_folder, path) = file("wrong.csv", "id,lower,upper,size,gaps\na,0,10,70,8-12\n");
    assert!(refused(&["plan", &path]).contains("has a gap [8, 12)"));
}

#[test]
fn starts_are_chosen_within_a_makespan() {
    let plan = json(&["plan", "examples/three-models.toml", "--makespan", "60", "--json"], 0);
    let starts = &plan["starts"];
    assert_eq!(
        (&starts["given_peak_bytes"], &starts["chosen_peak_bytes"]),
        (&350_000_000.into(), &300_000_000.into())
    );
    assert_eq!(plan["arena_bytes"], 300_000_000);
    assert!(plan["models"].as_array().unwrap().iter().all(|model| model["start"].is_u64()));
    let short = refused(&["plan", "examples/three-models.toml", "--makespan", "20"]);
    assert!(short.contains("takes 28 steps") || short.contains("takes 35 steps"), "{short}");
    let sequential = ["plan", "examples/three-models.toml", "--makespan", "60", "--schedule", "sequential"];
    assert!(refused(&sequential).contains("--schedule fixed"));
}
