//! `vramkit plan` as scripts use it, and what it makes of bad input.

use std::fs;

use serde_json::Value;

use crate::common::{example, file, json, refused, root, vramkit};

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
        serde_json::json!({"name": "A", "tensors": 3, "sum_of_sizes_bytes": 350_000_000, "live_peak_bytes": 250_000_000, "weights_bytes": 0, "derived_bytes": 0})
    );
    let tensors = plan["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 7);
    for key in ["id", "model", "start", "end", "size_bytes", "alignment", "offset_bytes"] {
        assert!(!tensors[0][key].is_null(), "{key}");
    }
}

#[test]
fn a_capacity_is_a_question_with_an_exit_status() {
    let three = example("three-models");
    assert_eq!(json(&["plan", &three, "--capacity", "350MB", "--json"], 0)["feasible"], true);
    assert_eq!(json(&["plan", &three, "--capacity", "349MB", "--json"], 1)["feasible"], false);
    let exact = json(&["run", &three, "--capacity", "350MB", "--device", "sim", "--json"], 0);
    assert_eq!(exact["peak_used_bytes"], 350_000_128, "granted in units of 256 bytes");
    let error = refused(&["run", &three, "--capacity", "320MB"]);
    assert!(error.contains("--schedule sequential would fit (300 MB)"), "{error}");
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
    let rows = "id,lower,upper,size\na,8,10,1\nb,7,12,1\ne,7,12,1\nf,1,10,2\ng,10,12,4\nh,1,7,2\ni,1,10,1\nj,1,8,1\n";
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
    assert_eq!(starts["given_end"], 35);
    let late = "schedule = \"fixed\"\n[[models]]\nname = \"a\"\nstart = 5\ntensors = [{ id = \"x\", size = 8, start = 0, end = 2 }]\n";
    let (_folder, path) = file("late.toml", late);
    let output = vramkit().args(["plan", &path, "--makespan", "4"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("live at most in 7 steps become 8 B within 4 steps"), "{text}");
    let short = refused(&["plan", "examples/three-models.toml", "--makespan", "20"]);
    assert!(short.contains("takes 28 steps") || short.contains("takes 35 steps"), "{short}");
    let sequential = ["plan", "examples/three-models.toml", "--makespan", "60", "--schedule", "sequential"];
    assert!(refused(&sequential).contains("--schedule fixed"));
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
fn lives_on_several_clocks_are_planned_alone() {
    let (_folder, path) =
        file("threads.csv", "id,lower,upper,size\na,0;0,1;0,4\nb,1;0,2;0,4\nc,0;0,0;3,4\nd,2;3,3;3,4\n");
    let plan = json(&["plan", &path, "--json"], 0);
    assert_eq!((&plan["arena_bytes"], &plan["proven_optimal"]), (&8.into(), &true.into()));
    assert!(refused(&["plan", &path, "--makespan", "9"]).contains("on 2 clocks"));
    assert!(refused(&["plan", &path, "examples/three-models.toml"]).contains("planned alone"));
}
