//! Main memory and control groups, over folders that stand for the kernel's.
#![allow(clippy::unwrap_used)]

use vramkit::ByteSize;
use vramkit::device::Origin;
use vramkit_testing::system::{ScriptedGroup, SystemTree};
use vramkit_watch::host::HostSource;
use vramkit_watch::{DeviceClass, DeviceReading, Readings, Source};

const GIB: fn(u64) -> ByteSize = ByteSize::gib;
const MIB: fn(u64) -> ByteSize = ByteSize::mib;

/// A machine of 64 GiB, 48 of which could be had.
fn machine() -> (tempfile::TempDir, SystemTree) {
    let folder = tempfile::tempdir().unwrap();
    let tree = SystemTree::at(folder.path());
    tree.memory(GIB(64), GIB(48));
    tree.put("sys/fs/cgroup/cgroup.controllers", "memory\n");
    tree.put(
        "proc/pressure/memory",
        "some avg10=1.50 avg60=0.20 avg300=0.00 total=2500000\nfull avg10=0.10 avg60=0.00 avg300=0.00 total=1000000\n",
    );
    (folder, tree)
}

fn read(tree: &SystemTree) -> Readings {
    HostSource::at(tree.root()).read()
}

/// The machine, which is always as it is, and the group.
fn group(tree: &SystemTree) -> Option<DeviceReading> {
    let mut devices = read(tree).devices;
    let host = devices.remove(0);
    assert_eq!((host.device.id.as_str(), host.class), ("host", DeviceClass::Machine));
    assert_eq!(figures(&host), (Some(GIB(64)), Some(GIB(16)), Some(GIB(48))));
    assert_eq!(host.usage.total_bytes.source, Origin::System);
    devices.pop()
}

fn figures(device: &DeviceReading) -> (Option<ByteSize>, Option<ByteSize>, Option<ByteSize>) {
    let usage = &device.usage;
    (usage.total_bytes.value, usage.used_bytes.value, usage.free_bytes.value)
}

#[test]
fn a_group_with_a_limit_is_a_device_beside_the_machine() {
    let (_folder, tree) = machine();
    let path = "/system.slice/vramkit.service";
    tree.group(path, ScriptedGroup { max: Some(MIB(64)), current: MIB(20), ..Default::default() });
    tree.put(
        &format!("sys/fs/cgroup{path}/memory.pressure"),
        "some avg10=5.00 avg60=0.00 avg300=0.00 total=1000000\n",
    );
    let found = group(&tree).unwrap();
    assert_eq!((found.device.id.as_str(), found.class), ("cgroup", DeviceClass::Group));
    assert_eq!(found.device.name, "control group /system.slice/vramkit.service");
    assert_eq!(figures(&found), (Some(MIB(64)), Some(MIB(20)), Some(MIB(44))));
    assert_eq!(found.usage.used_bytes.source, Origin::Cgroup);
    assert_eq!(found.stall.unwrap().some.avg10_ratio, 0.05);
    assert_eq!(read(&tree).devices[0].stall.unwrap().some.total_seconds, 2.5);
    // No limit, and one that is no less than the machine has.
    for max in [None, Some(GIB(64)), Some(GIB(128))] {
        tree.group(path, ScriptedGroup { max, current: MIB(20), ..Default::default() });
        assert!(group(&tree).is_none(), "{max:?}");
    }
}

#[test]
fn page_cache_that_can_be_given_up_is_not_used() {
    let (_folder, tree) = machine();
    let full = ScriptedGroup { max: Some(GIB(16)), current: MIB(16 * 1024 - 100), ..Default::default() };
    let cache = GIB(13).saturating_sub(MIB(100));
    for (cached, used) in [
        (ScriptedGroup { inactive_file: cache, ..full }, GIB(3)),
        (ScriptedGroup { active_file: cache, ..full }, GIB(3)),
        (ScriptedGroup { active_file: GIB(1), inactive_file: cache.saturating_sub(GIB(1)), ..full }, GIB(3)),
        (ScriptedGroup { inactive_file: cache, file_dirty: GIB(1), ..full }, GIB(4)),
        (ScriptedGroup { inactive_file: cache, slab_reclaimable: GIB(1), ..full }, GIB(2)),
        (ScriptedGroup { inactive_file: GIB(20), ..full }, ByteSize::ZERO),
        (full, full.current),
    ] {
        tree.group("/", cached);
        let found = group(&tree).unwrap();
        assert_eq!(figures(&found), (Some(GIB(16)), Some(used), Some(GIB(16).saturating_sub(used))));
    }
    tree.remove("sys/fs/cgroup/memory.stat");
    let found = group(&tree).unwrap();
    assert_eq!(found.usage.used_bytes.value, Some(full.current));
    assert!(found.notes[0].starts_with("page cache counts as used"), "{:?}", found.notes);
}

#[test]
fn the_tightest_limit_up_the_tree_counts_with_what_that_group_holds() {
    let (_folder, tree) = machine();
    let of = |max, current| ScriptedGroup { max, current, ..Default::default() };
    tree.group("/pods", of(Some(GIB(60)), GIB(30)));
    tree.group("/pods/a", of(Some(GIB(8)), GIB(5)));
    tree.group("/pods/a/b", of(None, GIB(2)));
    let found = group(&tree).unwrap();
    assert_eq!(found.device.name, "control group /pods/a");
    assert_eq!(figures(&found), (Some(GIB(8)), Some(GIB(5)), Some(GIB(3))));
    // Of equal ones the outer counts what both hold.
    tree.group("/pods/a/b", of(Some(GIB(8)), GIB(2)));
    assert_eq!(group(&tree).unwrap().device.name, "control group /pods/a");
    tree.group("/pods/a/b", of(Some(GIB(4)), GIB(2)));
    assert_eq!(figures(&group(&tree).unwrap()), (Some(GIB(4)), Some(GIB(2)), Some(GIB(2))));
    // A wider group above is nearly full: that is what is left.
    tree.group("/pods/a", of(Some(GIB(8)), MIB(7 * 1024 + 512)));
    tree.group("/pods/a/b", of(Some(GIB(4)), GIB(2)));
    let found = group(&tree).unwrap();
    assert_eq!(figures(&found), (Some(GIB(4)), Some(GIB(2)), Some(MIB(512))));
    assert!(found.notes[0].contains("/pods/a above it leaves"), "{:?}", found.notes);
    // And so is the machine.
    tree.memory(GIB(64), MIB(100));
    assert_eq!(read(&tree).devices[1].usage.free_bytes.value, Some(MIB(100)));
}

#[test]
fn a_group_that_is_only_slowed_down_is_told() {
    let (_folder, tree) = machine();
    tree.group("/a", ScriptedGroup { high: Some(GIB(4)), current: GIB(1), ..Default::default() });
    let readings = read(&tree);
    assert_eq!(readings.devices.len(), 1);
    assert_eq!(readings.devices[0].notes, ["control group /a is slowed down from 4 GiB on (memory.high)"]);
    let both = ScriptedGroup { high: Some(GIB(4)), max: Some(GIB(5)), current: GIB(1), ..Default::default() };
    tree.group("/a", both);
    let readings = read(&tree);
    assert!(
        readings.devices[0].notes.is_empty() && readings.devices[1].notes.concat().contains("from 4 GiB")
    );
    assert_eq!(
        readings.devices[1].usage.free_bytes.value,
        Some(GIB(4)),
        "it is slowed down there, not stopped"
    );
    tree.group("/a", ScriptedGroup { high: Some(GIB(4)), current: GIB(4), ..Default::default() });
    assert!(read(&tree).devices[0].notes[0].ends_with("(memory.high), and is there"));
}

#[test]
fn a_container_sees_its_group_at_the_mounts_root() {
    let (_folder, tree) = machine();
    let limited = ScriptedGroup { max: Some(GIB(2)), current: GIB(1), ..Default::default() };
    tree.group("/", limited);
    assert_eq!(figures(&group(&tree).unwrap()), (Some(GIB(2)), Some(GIB(1)), Some(GIB(1))));
    // The path is another namespace's, or the mount shows the container's part alone.
    for path in ["/../../other", "/docker/0123", "/gone (deleted)"] {
        tree.put("proc/self/cgroup", format!("0::{path}\n"));
        assert_eq!(group(&tree).unwrap().device.name, "control group /", "{path}");
    }
    tree.put(
        "proc/self/mountinfo",
        "31 23 0:28 /docker/0123 /sys/fs/cgroup ro - cgroup2 cgroup rw\n32 23 0:29 / /proc/meminfo rw - fuse.lxcfs lxcfs rw\n",
    );
    tree.put("sys/fs/cgroup/a/memory.max", "1073741824\n");
    tree.put("sys/fs/cgroup/a/memory.current", "1048576\n");
    tree.put("proc/self/cgroup", "0::/docker/0123/a\n");
    assert_eq!(figures(&group(&tree).unwrap()), (Some(GIB(1)), Some(MIB(1)), Some(MIB(1023))));
    assert!(read(&tree).devices[0].notes[0].contains("lxcfs"));
}

/// Version 1, alone and beside version 2.
#[test]
fn groups_of_version_1_are_read() {
    let (_folder, tree) = machine();
    tree.put("sys/fs/cgroup/unified/cgroup.controllers", "");
    let none = "9223372036854771712\n";
    let put = |path: &str, limit: &str, usage: ByteSize, cache: ByteSize, least: &str| {
        let folder = format!("sys/fs/cgroup/memory{path}");
        tree.put(&format!("{folder}/memory.limit_in_bytes"), limit);
        tree.put(&format!("{folder}/memory.usage_in_bytes"), format!("{}\n", usage.bytes()));
        let cache = cache.bytes();
        tree.put(
            &format!("{folder}/memory.stat"),
            format!(
                "inactive_file 1\nhierarchical_memory_limit {least}total_inactive_file {cache}\ntotal_active_file 4096\ntotal_dirty 4096\n"
            ),
        );
    };
    tree.put("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/docker/a\n0::/\n");
    put("", none, GIB(30), GIB(1), none);
    put("/docker", none, GIB(20), GIB(1), none);
    put("/docker/a", none, GIB(10), GIB(1), none);
    assert!(group(&tree).is_none());
    put("/docker/a", "17179869184\n", GIB(15), GIB(12), "17179869184\n");
    let found = group(&tree).unwrap();
    assert_eq!(figures(&found), (Some(GIB(16)), Some(GIB(3)), Some(GIB(13))));
    assert_eq!(found.device.name, "control group /docker/a");
    put("/docker", "8589934592\n", GIB(6), GIB(1), "8589934592\n");
    put("/docker/a", "17179869184\n", GIB(5), GIB(2), "8589934592\n");
    assert_eq!(figures(&group(&tree).unwrap()), (Some(GIB(8)), Some(GIB(5)), Some(GIB(3))));
    // Without counting those below it, the outer group does not limit the inner one.
    tree.put("sys/fs/cgroup/memory/docker/memory.use_hierarchy", "0\n");
    put("/docker/a", "17179869184\n", GIB(5), GIB(2), "17179869184\n");
    assert_eq!(figures(&group(&tree).unwrap()), (Some(GIB(16)), Some(GIB(3)), Some(GIB(13))));
    // A limit of a group that is not seen.
    put("", none, GIB(5), GIB(2), "4294967296\n");
    put("/docker/a", none, GIB(3), GIB(1), "4294967296\n");
    let found = group(&tree).unwrap();
    assert_eq!(found.usage.total_bytes.value, Some(GIB(4)));
    assert!(found.notes[0].contains("not seen from here"), "{:?}", found.notes);
}

#[test]
fn what_cannot_be_read_is_a_reason_and_no_number() {
    let (_folder, tree) = machine();
    let limited = ScriptedGroup { max: Some(GIB(2)), current: GIB(1), ..Default::default() };
    tree.group("/a", limited);
    tree.put("sys/fs/cgroup/a/memory.max", "lots\u{1b}[31m\n");
    let readings = read(&tree);
    assert_eq!(readings.devices.len(), 1);
    assert_eq!(readings.unavailable[0].reason, "/sys/fs/cgroup/a/memory.max says `lots [31m`");
    tree.group("/a", limited);
    tree.put("sys/fs/cgroup/a/memory.current", "-5\n");
    let found = group(&tree).unwrap();
    assert_eq!(figures(&found), (Some(GIB(2)), None, None));
    assert!(found.usage.used_bytes.unavailable.unwrap().contains("memory.current says `-5`"));
    tree.put("proc/meminfo", "MemTotal: many kB\n");
    let readings = read(&tree);
    assert_eq!(figures(&readings.devices[0]), (None, None, None));
    assert_eq!(
        readings.devices[1].usage.total_bytes.value,
        Some(GIB(2)),
        "a limit is one without the machine's"
    );
    tree.remove("proc/meminfo");
    let usage = read(&tree).devices.remove(0).usage;
    assert!(usage.total_bytes.unavailable.unwrap().contains("proc/meminfo"));
    for (groups, says) in [("3:cpu:/\n", "no group that limits memory"), ("4:memory:/\n", "not mounted here")]
    {
        tree.put("proc/self/cgroup", groups);
        let readings = read(&tree);
        assert!(readings.unavailable[0].reason.contains(says), "{readings:?}");
    }
}

#[test]
fn a_group_is_called_by_what_can_be_shown_wherever_it_is_named() {
    let (_folder, tree) = machine();
    let path = "/a\u{1b}[31mx\u{202e}/\u{200b}b\u{9b}";
    tree.group(path, ScriptedGroup { max: Some(MIB(64)), current: MIB(20), ..Default::default() });
    assert_eq!(group(&tree).unwrap().device.name, "control group /a [31mx/b");
    // Slowed down, and unreadable.
    tree.put(&format!("sys/fs/cgroup{path}/memory.high"), "1048576\n");
    tree.put(&format!("sys/fs/cgroup{path}/memory.max"), "much\u{1b}\n");
    let readings = read(&tree);
    let words = format!("{readings:?}");
    assert!(words.contains("is slowed down") && words.contains("says `much`"), "{words}");
    // As `Debug` writes them.
    assert!(
        !["\\u{1b}", "\\u{202e}", "\\u{200b}", "\\u{9b}"].iter().any(|what| words.contains(what)),
        "{words}"
    );
}
