//! `vramkit plan` at its limits: the largest numbers, no time, all the time, nothing to place, and pools that are full.

use serde_json::{Value, json as value};

use crate::common::{example, file, json, refused, vramkit};

#[test]
fn no_time_is_too_long_and_nonsense_is_refused() {
    for deadline in ["1e19", "1e300", "inf", "0"] {
        let plan = json(&["plan", &example("three-models"), "--json", "--deadline", deadline], 0);
        assert_eq!((&plan["arena_bytes"], &plan["proven_optimal"]), (&350_000_000.into(), &true.into()));
    }
    for deadline in ["nan", "-1", "-inf", "soon"] {
        let deadline = format!("--deadline={deadline}");
        assert!(refused(&["plan", &example("three-models"), &deadline]).contains("'--deadline <SECONDS>'"));
    }
    let threads = json(&["plan", &example("vision"), "--json", "--threads", "65535", "--capacity", "1"], 1);
    assert_eq!(threads["feasible"], false);
}

#[test]
fn the_largest_arena_is_an_arena() {
    let rows = "id,lower,upper,size\na,0,2,9223372036854775808\nb,1,3,9223372036854775807\n";
    let (_folder, path) = file("full.csv", rows);
    for schedule in ["fixed", "sequential", "concurrent"] {
        let plan = json(&["plan", &path, "--json", "--schedule", schedule, "--deadline", "0"], 0);
        assert_eq!((&plan["arena_bytes"], &plan["proven_optimal"]), (&u64::MAX.into(), &true.into()));
        let offsets: Vec<u64> =
            plan["tensors"].as_array().unwrap().iter().map(|t| t["offset_bytes"].as_u64().unwrap()).collect();
        assert!(offsets == [0, 1 << 63] || offsets == [(1 << 63) - 1, 0], "{offsets:?}");
    }
    let heavy =
        "models = [{ name = \"a\", weights = \"16777215TiB\" }, { name = \"b\", weights = \"2TiB\" }]";
    let (_folder, path) = file("heavy.toml", heavy);
    assert!(refused(&["plan", &path]).contains("the weights of model `b`"));
}

/// An hour of searching is left when a bound says that nothing fits, and the bound is named.
#[test]
fn what_cannot_fit_is_said_at_once() {
    let began = std::time::Instant::now();
    let said = |arguments: &[&str]| {
        let output = vramkit().args(arguments).args(["--deadline", "3600"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let row = |i: u64| format!("{i},0,1,{},{}\n", 33 + i % 13, if i.is_multiple_of(3) { 1 } else { 64 });
    let rows: String =
        std::iter::once("id,lower,upper,size,alignment\n".to_owned()).chain((0..60).map(row)).collect();
    let (_folder, path) = file("hard.csv", &rows);
    let fixed = said(&["plan", &path, "--capacity", "2000"]);
    assert!(fixed.contains("does not fit") && fixed.contains("B at step 0"), "{fixed}");
    let together = said(&["plan", &path, &path, "--schedule", "concurrent", "--capacity", "4000"]);
    assert!(
        together.contains("does not fit") && together.contains("are needed, the live peak"),
        "{together}"
    );
    let (_folder, path) = file("full.toml", &pools(3).replace("[\"p2\", \"p0\", \"p1\"]", "[]"));
    let pools = said(&["plan", &path]);
    assert!(pools.contains("needs 21 B at one time, and there are 17 B together"), "{pools}");
    assert!(began.elapsed() < std::time::Duration::from_secs(600));
}

#[test]
fn the_bytes_at_the_fullest_step_add_up() {
    let rows = "id,lower,upper,size,group\na,0,1,100,g\nb,0,5,1,g\nc,1,5,99,\n";
    let (_folder, path) = file("group.csv", rows);
    let text =
        String::from_utf8(vramkit().args(["plan", &path, "--explain"]).output().unwrap().stdout).unwrap();
    let lines = "lower bound: 199 B, live at step 1 in 2 places\n  100 B 50.3 %: alias group g of group, in which b lives\n  99 B 49.7 %: c";
    assert!(text.contains(lines), "{text}");
}

#[test]
fn what_takes_no_room_takes_no_arena() {
    let (_folder, path) = file("zero.csv", "id,lower,upper,size\na,3,3,100\nb,0,5,0\n");
    for arguments in [&["--deadline", "0"][..], &["--schedule", "concurrent"], &["--capacity", "0"]] {
        let plan = json(&[&["plan", &path, "--json"], arguments].concat(), 0);
        assert_eq!((&plan["arena_bytes"], &plan["proven_optimal"]), (&0.into(), &true.into()));
        assert_eq!(plan["feasible"], true);
    }
    let text = String::from_utf8(vramkit().args(["plan", &path]).output().unwrap().stdout).unwrap();
    assert!(text.contains("0 B arena (0 bytes), proven optimal"), "{text}");
    let rows = "id,lower,upper,size,offset\na,3,3,100,18446744073709551615\nb,0,4,10,\n";
    let (folder, path) = file("pinned.csv", rows);
    let picture = folder.path().join("p.svg").display().to_string();
    assert_eq!(json(&["plan", &path, "--json", "--svg", &picture], 0)["arena_bytes"], 10);
}

#[test]
fn an_end_column_names_the_last_step() {
    let (folder, path) = file("old.csv", "buffer,start,end,size\na,0,2,4\nb,2,4,4\n");
    let out = folder.path().join("out.csv").display().to_string();
    let plan = json(&["plan", &path, "--json", "--output", &out], 0);
    assert_eq!((&plan["arena_bytes"], &plan["tensors"][0]["end"]), (&8.into(), &3.into()));
    let written = std::fs::read_to_string(&out).unwrap();
    assert!(written.starts_with("buffer,start,end,size,offset\na,0,2,4,"), "{written}");
    let (_folder, path) = file("new.csv", "id,lower,upper,size\na,0,2,4\nb,2,4,4\n");
    assert_eq!(json(&["plan", &path, "--json"], 0)["arena_bytes"], 4);
}

#[test]
fn concurrent_models_fit_into_one_another() {
    let workload = |rows: &str| format!("schedule = \"concurrent\"\nalignment = 1\n{rows}");
    let aligned = workload(
        "models = [{ name = \"A\", tensors = [{ id = \"a0\", size = 1, start = 0, end = 1, alignment = 256 }, \
         { id = \"a1\", size = 1, start = 0, end = 1, alignment = 256 }] }, \
         { name = \"B\", tensors = [{ id = \"b0\", size = 255, start = 0, end = 1 }] }]",
    );
    let (_folder, path) = file("aligned.toml", &aligned);
    let plan = json(&["plan", &path, "--json"], 0);
    assert_eq!((&plan["arena_bytes"], &plan["proven_optimal"]), (&257.into(), &true.into()));
    assert_eq!(json(&["plan", &path, "--json", "--capacity", "257"], 0)["feasible"], true);
    assert_eq!(json(&["plan", &path, "--json", "--capacity", "256"], 1)["feasible"], false);
}

/// Pools of these capacities for three tensors, of which no two fit together anywhere.
fn pools(last: u64) -> String {
    format!(
        "alignment = 1\npools = [{{ name = \"p0\", capacity = 8 }}, {{ name = \"p1\", capacity = 6 }}, \
         {{ name = \"p2\", capacity = {last} }}]\n[[models]]\nname = \"m\"\ntensors = [\n\
         {{ id = \"t0\", size = 6, start = 3, end = 4, pools = [\"p2\", \"p0\", \"p1\"] }},\n\
         {{ id = \"t1\", size = 7, start = 3, end = 4 }},\n\
         {{ id = \"t2\", size = 8, start = 2, end = 4, pools = [\"p1\", \"p2\"] }}]\n"
    )
}

#[test]
fn pools_say_whether_there_is_no_plan_or_none_was_found() {
    let (_folder, path) = file("pools.toml", &pools(10));
    let plan = json(&["plan", &path, "--json"], 0);
    let pool = |id: &str| {
        let tensors = plan["tensors"].as_array().unwrap();
        tensors.iter().find(|tensor| tensor["id"] == id).unwrap()["pool"].clone()
    };
    assert_eq!([pool("t0"), pool("t1"), pool("t2")], [value!("p1"), value!("p0"), value!("p2")]);
    assert_eq!((&plan["feasible"], &plan["proven_optimal"]), (&true.into(), &true.into()));

    let (_folder, path) = file("full.toml", &pools(7));
    let none = json(&["plan", &path, "--json"], 1);
    assert_eq!((&none["feasible"], &none["proven_optimal"]), (&false.into(), &false.into()));
    assert!(none["refusal"].as_str().unwrap().contains("no distribution over the pools fits"));

    // Cut from a rectangle of height 6: the first answers need 7, and there is no time for more.
    let rows =
        [(8, 10, 1), (7, 12, 1), (7, 12, 1), (1, 10, 2), (10, 12, 4), (1, 7, 2), (1, 10, 1), (1, 8, 1)];
    let row = |(i, (start, end, size)): (usize, &(u64, u64, u64))| {
        format!("{{ id = \"{i}\", size = {size}, start = {start}, end = {end} }}")
    };
    let rows: Vec<String> = rows.iter().enumerate().map(row).collect();
    let workload = format!(
        "alignment = 1\npools = [{{ name = \"only\", capacity = 6 }}]\nmodels = [{{ name = \"m\", tensors = [{}] }}]",
        rows.join(", ")
    );
    let (_folder, path) = file("open.toml", &workload);
    let open = json(&["plan", &path, "--json", "--deadline", "0"], 1);
    assert_eq!((&open["feasible"], &open["pools"][0]["arena_bytes"]), (&Value::Null, &7.into()));
    assert!(open["refusal"].as_str().unwrap().contains("nor that there is none"), "{open}");
    assert_eq!(json(&["plan", &path, "--json"], 0)["feasible"], true);
}

/// A signal that asks the program to end gets the best plan so far, as Ctrl-C does.
#[test]
#[cfg(target_os = "linux")]
fn a_search_that_is_ended_keeps_its_plan() {
    // Tensors of odd sizes between aligned ones: nobody proves the best of it soon.
    let row = |i: u64| match i % 3 {
        0 => format!("{i},0,1,{},1\n", 40 + i % 13),
        _ => format!("{i},0,1,{},64\n", 33 + i % 7),
    };
    let rows: String =
        std::iter::once("id,lower,upper,size,alignment\n".to_owned()).chain((0..60).map(row)).collect();
    let (_folder, path) = file("hard.csv", &rows);
    for (signal, bit) in [("-TERM", 14), ("-INT", 1)] {
        let program = assert_cmd::cargo::cargo_bin("vramkit");
        let child = std::process::Command::new(program)
            .args(["plan", &path, "--json", "--deadline", "1e19"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", child.id());
        let catches = || {
            let status = std::fs::read_to_string(&status).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            u64::from_str_radix(caught.trim(), 16).unwrap() >> bit & 1 == 1
        };
        while !catches() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{signal}");
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(plan["proven_optimal"], false, "{signal}: {}", plan["method"]);
        assert!(plan["arena_bytes"].as_u64() > plan["lower_bound_bytes"].as_u64());
    }
}

#[test]
fn a_capacity_beside_pools_and_pools_that_are_not_there_are_errors() {
    let (_folder, path) = file("pools.toml", &pools(10));
    let error = refused(&["plan", &path, "--capacity", "1MiB"]);
    assert!(error.contains("3 pools has a capacity of its own") && error.contains("--capacity"), "{error}");
    let lonely = "models = [{ name = \"m\", tensors = [{ id = \"a\", size = 1, start = 0, end = 1, pools = [\"p9\"] }] }]";
    let (_folder, path) = file("lonely.toml", lonely);
    let error = refused(&["plan", &path]);
    assert!(error.contains("tensor `a` of `m` is allowed in pool `p9`, and there are no pools"), "{error}");
}

/// Two pools of ten bytes, two models in each: by all pools together any two of them may run at once.
#[test]
fn what_does_not_fit_with_chosen_starts_is_not_called_impossible() {
    let model = |name: &str, pool: &str| {
        format!(
            "{{ name = \"{name}\", tensors = [{{ id = \"{name}t\", size = 10, start = 0, end = 2, pools = [\"{pool}\"] }}] }}"
        )
    };
    let workload = |order: [&str; 4]| {
        let models: Vec<String> =
            order.iter().enumerate().map(|(i, pool)| model(&format!("m{i}"), pool)).collect();
        format!(
            "alignment = 1\npools = [{{ name = \"p0\", capacity = 10 }}, {{ name = \"p1\", capacity = 10 }}]\nmodels = [{}]\n",
            models.join(", ")
        )
    };
    for order in [["p0", "p1", "p0", "p1"], ["p0", "p0", "p1", "p1"]] {
        let (_folder, path) = file("makespan.toml", &workload(order));
        let done = vramkit().args(["plan", &path, "--json", "--makespan", "4"]).output().unwrap();
        let plan: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_ne!(plan["feasible"], false, "{order:?}: starts 0, 0, 2, 2 in some order fit");
        assert!(plan["starts"].is_object());
    }
    let (_folder, path) = file("makespan.toml", &workload(["p0"; 4]));
    let plan = json(&["plan", &path, "--json", "--makespan", "3"], 1);
    assert_eq!(plan["feasible"], false, "no starts have less live than both pools hold: {plan}");
}

/// Capacities that come to more than there are addresses.
#[test]
fn pools_without_limit_do_not_come_to_nothing_together() {
    let workload = "alignment = 1\npools = [{ name = \"p0\", capacity = 1 }, { name = \"p1\", capacity = 9223372036854775807 }, \
                    { name = \"p2\", capacity = 9223372036854775807 }, { name = \"p3\", capacity = 1 }]\n\
                    models = [{ name = \"m\", tensors = [{ id = \"a\", size = 10, start = 0, end = 1, pools = [\"p0\"] }] }, \
                    { name = \"n\", tensors = [{ id = \"b\", size = 10, start = 0, end = 1 }] }]\n";
    let (_folder, path) = file("pools.toml", workload);
    let plan = json(&["plan", &path, "--json", "--makespan", "4"], 1);
    assert_eq!(plan["feasible"], Value::Null, "no bound is above all pools together: {plan}");
    assert_eq!(json(&["plan", &path, "--json"], 1)["feasible"], false);
}

#[test]
fn pins_of_one_address_may_be_in_different_pools_at_any_starts() {
    let workload = "alignment = 1\npools = [{ name = \"p0\", capacity = 8 }, { name = \"p1\", capacity = 8 }]\n\
                    models = [{ name = \"m\", tensors = [{ id = \"a\", size = 4, start = 0, end = 3, offset = 1 }, \
                    { id = \"b\", size = 4, start = 1, end = 4, offset = 1 }] }]\n";
    let (_folder, path) = file("pins.toml", workload);
    for more in [&[][..], &["--makespan", "9"]] {
        let plan = json(&[&["plan", &path, "--json"], more].concat(), 0);
        assert_eq!(plan["feasible"], true, "{more:?}");
    }
}
