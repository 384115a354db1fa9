//! The program on machines that are not here: `VRAMKIT_SYSTEM_ROOT` for the kernel's files, the stand-in for NVML.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

use std::process::Command;

use serde_json::{Value, json};
use vramkit::ByteSize;
use vramkit_testing::system::{ScriptedCard, ScriptedGroup, SystemTree};

const GIB: fn(u64) -> ByteSize = ByteSize::gib;

struct Machine {
    folder: tempfile::TempDir,
    tree: SystemTree,
}

impl Machine {
    /// 128 GiB, 30 of which could be had, and these cards of NVIDIA's.
    fn new(nvidia: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree = SystemTree::at(&folder.path().join("root"));
        tree.memory(GIB(128), GIB(30));
        std::fs::create_dir_all(tree.root().join("sys/fs/cgroup")).unwrap();
        std::fs::write(folder.path().join("cards.json"), nvidia.to_string()).unwrap();
        Self { folder, tree }
    }

    /// What the program prints, and its exit status.
    fn run(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let stand_in = std::env::current_exe().unwrap().parent().unwrap().join("libvramkit_standin.so");
        let done = Command::new(env!("CARGO_BIN_EXE_vramkit"))
            .args(arguments)
            .env("NO_COLOR", "1")
            .env("VRAMKIT_NVML", stand_in)
            .env("VRAMKIT_STANDIN_NVML", self.folder.path().join("cards.json"))
            .env("VRAMKIT_RUNTIME_DIR", self.folder.path().join("pools"))
            .env("VRAMKIT_CUDA_DRIVER", "libcuda-not-here.so")
            .env("VRAMKIT_SYSTEM_ROOT", self.tree.root())
            .output()
            .unwrap();
        (String::from_utf8(done.stdout).unwrap(), done.status.code())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (text, _) = self.run(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

fn device<'a>(report: &'a Value, id: &str) -> &'a Value {
    let devices = report["devices"].as_array().unwrap();
    devices.iter().find(|device| device["device"]["id"] == id || device["id"] == id).unwrap()
}

#[test]
fn a_full_group_is_no_full_machine_and_page_cache_is_not_used() {
    let machine = Machine::new(&json!({"init": 9}));
    let cached = ScriptedGroup {
        max: Some(GIB(16)),
        current: ByteSize::mib(16_300),
        inactive_file: ByteSize::mib(16_300 - 3 * 1024),
        ..Default::default()
    };
    machine.tree.group("/kubepods/pod1", cached);
    let (text, status) = machine.run(&["top", "--once"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("cgroup  control group /kubepods/pod1  normal, 18.8 % used"), "{text}");
    assert!(text.contains("98 GiB used of 128 GiB, 30 GiB free"), "{text}");
    machine.tree.group("/kubepods/pod1", ScriptedGroup { inactive_file: ByteSize::ZERO, ..cached });
    let tick = machine.json(&["top", "--once", "--json"]);
    assert_eq!(
        (&device(&tick, "host")["level"], &device(&tick, "cgroup")["level"]),
        (&json!("elevated"), &json!("critical"))
    );
    assert_eq!(
        (&device(&tick, "host")["class"], &device(&tick, "cgroup")["class"]),
        (&json!("machine"), &json!("group"))
    );
}

#[test]
fn every_card_that_top_sees_is_listed_with_its_class_and_identity() {
    let machine = Machine::new(&json!({"cards": [
        {"name": "NVIDIA GB10", "uuid": "GPU-gb10", "memory": 3, "processes": [{"pid": 5, "used": 7u64 << 30}]},
        {"name": "NVIDIA A100", "uuid": "GPU-a", "total": 40u64 << 30, "free": 30u64 << 30, "used": 10u64 << 30,
         "parts": [{"name": "NVIDIA A100 MIG 3g.20gb", "uuid": "MIG-b", "total": 20u64 << 30, "free": 10u64 << 30, "used": 10u64 << 30}]}
    ]}));
    let halo = ScriptedCard {
        bus: "0000:c5:00.0",
        name: "AMD Radeon 8060S",
        vram: [ByteSize::mib(512), ByteSize::mib(470)],
        gtt: [GIB(124), GIB(90)],
        render: 128,
    };
    machine.tree.amd_card(1, &halo);
    let tick = machine.json(&["top", "--once", "--json"]);
    let gb10 = device(&tick, "cuda:0");
    assert_eq!(gb10["total_bytes"]["value"], 128u64 << 30);
    assert_eq!(
        (&gb10["used_bytes"]["value"], &gb10["used_bytes"]["source"]),
        (&json!(98u64 << 30), &json!("system"))
    );
    assert_eq!(
        (&gb10["free_bytes"]["value"], &gb10["allocated_bytes"]["value"]),
        (&json!(30u64 << 30), &json!(7u64 << 30))
    );
    assert_eq!(gb10["level"], "elevated");
    // The machine fills: so does its card.
    machine.tree.memory(GIB(128), GIB(2));
    assert_eq!(device(&machine.json(&["top", "--once", "--json"]), "cuda:0")["level"], "critical");
    let report = machine.json(&["devices", "--json"]);
    let ids: Vec<&str> =
        report["devices"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["host", "cuda:0", "cuda:1", "cuda:1/mig:0", "amd:0"]);
    let amd = device(&report, "amd:0");
    assert_eq!((&amd["kind"], &amd["class"]), (&json!("rocm"), &json!("gpu")));
    assert_eq!(amd["total_bytes"]["value"], (124u64 << 30) + (512 << 20));
    assert_eq!(
        (&device(&report, "cuda:0")["unified"]["value"], &device(&report, "cuda:0")["kind"]),
        (&json!(true), &json!("cuda"))
    );
    assert_eq!(device(&report, "cuda:1/mig:0")["class"], "gpu_part");
    assert_eq!(report["unavailable"].as_array().unwrap().len(), 1, "CUDA's driver is not here");
    let (text, _) = machine.run(&["devices"]);
    assert!(text.contains("AMD Radeon 8060S") && text.contains("a part of a card, MIG-b"), "{text}");
}

#[test]
fn devices_say_what_is_lost_what_fails_and_what_a_group_allows() {
    let gib = |count: u64| count << 30;
    let machine = Machine::new(&json!({"cards": [
        {"name": "NVIDIA A100", "uuid": "GPU-a", "total": gib(40), "free": gib(30), "used": gib(10), "processes": [{"pid": 5}]},
        {"name": "NVIDIA A100", "uuid": "GPU-b", "handle": 15},
        {"name": "NVIDIA A100", "uuid": "GPU-c", "handle": 4}
    ]}));
    let group = ScriptedGroup { max: Some(GIB(2)), current: GIB(1), ..Default::default() };
    machine.tree.group("/kubepods/pod1", group);
    let (text, _) = machine.run(&["devices"]);
    assert!(text.contains("lost since ") && text.contains("control group /kubepods/pod1"), "{text}");
    let report = machine.json(&["devices", "--json"]);
    assert_eq!(device(&report, "cgroup")["total_bytes"]["value"], gib(2));
    assert_eq!(device(&report, "host")["notes"], json!([]), "as the schema says");
    // One of the three is nobody's loss: this user may not ask it.
    assert_eq!(report["devices"].as_array().unwrap().len(), 4, "{report}");
    let (text, _) = machine.run(&["top", "--once"]);
    assert!(text.contains("one card of this machine may not be asked by this user"), "{text}");
    assert!(text.contains("(5): what it holds is not known: "), "{text}");
    let machine = Machine::new(&json!({"init": 18}));
    let (text, _) = machine.run(&["devices"]);
    assert!(text.contains("driver/library version mismatch"), "{text}");
}
