//! AMD's cards, over folders that stand for the kernel's.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

use vramkit::ByteSize;
use vramkit_testing::system::{ScriptedCard, SystemTree};
use vramkit_watch::amd::AmdSource;
use vramkit_watch::{DeviceClass, DeviceReading, Health, Readings, Source};

const GIB: fn(u64) -> ByteSize = ByteSize::gib;
const MIB: fn(u64) -> ByteSize = ByteSize::mib;
const HALO: &str = "0000:c5:00.0";
const MI300: &str = "0000:05:00.0";

fn halo() -> ScriptedCard<'static> {
    ScriptedCard {
        bus: HALO,
        name: "AMD Radeon 8060S",
        vram: [MIB(512), MIB(470)],
        gtt: [GIB(124), GIB(90)],
        render: 128,
    }
}

fn mi300() -> ScriptedCard<'static> {
    ScriptedCard {
        bus: MI300,
        name: "AMD Instinct MI300X",
        vram: [GIB(192), GIB(100)],
        gtt: [GIB(512), GIB(1)],
        render: 129,
    }
}

fn machine(cards: &[ScriptedCard<'_>]) -> (tempfile::TempDir, SystemTree) {
    let folder = tempfile::tempdir().unwrap();
    let tree = SystemTree::at(folder.path());
    tree.memory(GIB(128), GIB(30));
    for (number, card) in (0..).zip(cards) {
        tree.amd_card(number, card);
    }
    (folder, tree)
}

fn read(tree: &SystemTree) -> Readings {
    AmdSource::at(tree.root()).read()
}

fn figures(device: &DeviceReading) -> [Option<ByteSize>; 3] {
    let usage = &device.usage;
    [usage.total_bytes.value, usage.used_bytes.value, usage.free_bytes.value]
}

fn held(device: &DeviceReading) -> Vec<(u32, Option<ByteSize>)> {
    let processes = device.processes.value.as_ref().unwrap();
    processes.iter().map(|process| (process.pid, process.used_bytes.value)).collect()
}

fn reasons(readings: &Readings) -> Vec<&str> {
    readings.unavailable.iter().map(|absent| absent.reason.as_str()).collect()
}

#[test]
fn a_process_whose_files_hang_takes_no_card_away() {
    let (_folder, tree) = machine(&[mi300()]);
    for pid in [7, 8] {
        let stat = format!("{pid} (python3) S{}", " 0".repeat(20));
        tree.put(&format!("proc/{pid}/stat"), stat);
        let held = format!(
            "drm-driver:\tamdgpu\ndrm-pdev:\t{MI300}\ndrm-client-id:\t{pid}\ndrm-memory-vram:\t1 GiB\n"
        );
        tree.put(&format!("proc/{pid}/fdinfo/9"), held);
    }
    let mut source = AmdSource::at(tree.root());
    assert_eq!(held(&source.read().devices[0]), [(7, Some(GIB(1))), (8, Some(GIB(1)))]);
    let file = tree.root().join("proc/8/fdinfo/9");
    std::fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    for _ in 0..12 {
        let readings = source.read();
        let card = &readings.devices[0];
        assert_eq!(figures(card)[1], Some(GIB(100)));
        assert_eq!(held(card), [(7, Some(GIB(1))), (8, None)]);
        assert_eq!(reasons(&readings), ["/proc/8/fdinfo has not answered"]);
    }
    drop(std::fs::OpenOptions::new().read(true).write(true).open(&file).unwrap());
}

#[test]
fn a_processors_graphics_have_what_is_set_aside_and_what_they_map() {
    let (_folder, tree) = machine(&[halo(), mi300()]);
    let all = |used| GIB(used).saturating_add(MIB(512));
    let expected =
        [Some(all(124)), Some(GIB(90).saturating_add(MIB(470))), Some(GIB(30).saturating_add(MIB(42)))];
    let readings = read(&tree);
    let [halo, mi300] = &readings.devices[..] else { panic!("{readings:?}") };
    // By sizes alone it is a guess, and said to be one.
    assert_eq!(figures(halo), expected, "no more than the machine has left");
    assert!(halo.shared_bytes.is_none() && halo.notes[0].contains("a guess"), "{:?}", halo.notes);
    // GTT larger than VRAM makes no processor's graphics of a card.
    assert_eq!(figures(mi300), [Some(GIB(192)), Some(GIB(100)), Some(GIB(92))]);
    assert_eq!(mi300.shared_bytes.as_ref().unwrap().value, Some(GIB(1)));
    assert!(mi300.notes[0].contains("a guess"), "{:?}", mi300.notes);
    // What the driver says of itself is none.
    let metrics = |bus: &str, format: u8| {
        tree.put(&format!("sys/devices/pci0000:00/{bus}/gpu_metrics"), [64, 1, format, 0, 7, 7]);
    };
    metrics(HALO, 3);
    metrics(MI300, 1);
    let readings = read(&tree);
    assert_eq!(figures(&readings.devices[0]), expected);
    assert!(!readings.devices[0].notes[0].contains("guess") && readings.devices[1].notes.is_empty());
}

#[test]
fn another_model_in_a_place_is_not_what_the_one_before_was() {
    let (_folder, tree) = machine(&[mi300()]);
    let mut source = AmdSource::at(tree.root());
    assert!(source.read().devices[0].notes[0].contains("192 GiB"));
    tree.amd_card(0, &ScriptedCard { name: "AMD Instinct MI250X", vram: [GIB(64), GIB(1)], ..mi300() });
    let notes = source.read().devices.remove(0).notes;
    assert!(notes[0].contains("64 GiB") && !notes[0].contains("192 GiB"), "{notes:?}");
}

#[test]
fn what_is_known_of_a_card_goes_before_its_sizes() {
    // Much set aside: as large as a card's memory.
    let large = ScriptedCard { vram: [GIB(96), GIB(1)], gtt: [GIB(16), GIB(2)], ..halo() };
    // A small old card in a machine with much memory.
    let small = ScriptedCard { vram: [GIB(2), GIB(1)], gtt: [GIB(64), GIB(0)], ..mi300() };
    let (_folder, tree) = machine(&[large, small]);
    tree.put(&format!("sys/devices/pci0000:00/{MI300}/mem_info_vram_vendor"), "samsung\n");
    tree.compute_node(0, 0, 0, 16);
    tree.compute_node(1, 7001, 128, 16);
    let readings = read(&tree);
    assert_eq!(figures(&readings.devices[0])[..2], [Some(GIB(112)), Some(GIB(3))]);
    assert_eq!(figures(&readings.devices[1]), [Some(GIB(2)), Some(GIB(1)), Some(GIB(1))]);
    assert!(readings.devices.iter().all(|device| !device.notes.iter().any(|note| note.contains("guess"))));
}

#[test]
fn processes_hold_what_their_files_say_each_client_once() {
    let (_folder, tree) = machine(&[halo(), mi300()]);
    tree.process(42, "llama-server");
    tree.opens(42, 3, HALO, 7, MIB(60), GIB(90));
    tree.opens(42, 4, HALO, 7, MIB(60), GIB(90));
    tree.opens(42, 5, HALO, 8, MIB(1), ByteSize::ZERO);
    tree.opens(42, 6, MI300, 7, GIB(2), GIB(1));
    // A child that has got the file from its parent.
    tree.process(43, "child");
    tree.opens(43, 3, HALO, 7, MIB(60), GIB(90));
    let readings = read(&tree);
    assert_eq!(held(&readings.devices[0]), [(42, Some(GIB(90).saturating_add(MIB(61))))]);
    assert_eq!(
        held(&readings.devices[1]),
        [(42, Some(GIB(2)))],
        "what it maps beside is no part of the card"
    );
    let name = &readings.devices[0].processes.value.as_ref().unwrap()[0].name;
    assert_eq!(name.value.as_deref(), Some("llama-server"));
    assert_eq!(readings.devices[0].device.uuid, None, "of zeros");
    assert_eq!(readings.devices[1].device.uuid.as_deref(), Some("0000000000000001"));
}

#[test]
fn a_process_that_only_the_compute_driver_knows_is_listed() {
    let (_folder, tree) = machine(&[halo(), mi300()]);
    tree.process(777, "python3");
    tree.computes(777, 51140, GIB(99));
    // No topology: only one card holds as much.
    let readings = read(&tree);
    assert_eq!(
        (held(&readings.devices[0]), held(&readings.devices[1])),
        (vec![], vec![(777, Some(GIB(99)))])
    );
    assert!(readings.devices[1].notes.iter().any(|note| note.contains("a guess")), "{:?}", readings.devices);
    assert_eq!(reasons(&readings), Vec::<&str>::new());
    // Both may hold so little: it cannot be told.
    tree.computes(777, 51140, GIB(2));
    let readings = read(&tree);
    assert!(readings.devices.iter().all(|device| held(device).is_empty()));
    assert!(
        reasons(&readings)[0].contains("process 777 holds 2 GiB of the card that KFD numbers 51140"),
        "{readings:?}"
    );
    // The topology tells, by the render node or by the place on the bus.
    tree.compute_node(1, 51140, 129, 0);
    let readings = read(&tree);
    assert_eq!(held(&readings.devices[1]), [(777, Some(GIB(2)))]);
    assert!(!readings.devices[1].notes.iter().any(|note| note.contains("compute")), "{readings:?}");
    let node = "sys/class/kfd/kfd/topology/nodes/1/properties";
    tree.put(node, "cpu_cores_count 0\nsimd_count 80\ndomain 0\nlocation_id 1280\n");
    assert_eq!(held(&read(&tree).devices[1]), [(777, Some(GIB(2)))]);
    // A node that is no card of these.
    tree.put(node, "cpu_cores_count 0\nsimd_count 80\ndomain 0\nlocation_id 9\n");
    assert_eq!(reasons(&read(&tree)).len(), 1);
}

#[test]
fn two_numbers_are_not_taken_for_one_card() {
    let (_folder, tree) = machine(&[mi300()]);
    tree.computes(1, 10, GIB(50));
    tree.computes(2, 11, GIB(40));
    let readings = read(&tree);
    assert_eq!((held(&readings.devices[0]), reasons(&readings).len()), (vec![], 2));
}

#[test]
fn what_computes_on_a_part_of_a_divided_card_is_the_cards() {
    let (_folder, tree) = machine(&[mi300(), halo()]);
    let node = |number: u64, properties: &str| {
        tree.put(
            &format!("sys/class/kfd/kfd/topology/nodes/{number}/gpu_id"),
            format!("{}\n", 1000 + number),
        );
        tree.put(&format!("sys/class/kfd/kfd/topology/nodes/{number}/properties"), properties);
    };
    // Which part it is stands in the place's function, or in its highest bits; each has a render node of its own.
    for part in 0..8 {
        let place = if part < 4 { 0x500 | part } else { 0x500 | part << 28 };
        node(
            part,
            &format!("simd_count 152\ndomain 0\nlocation_id {place}\ndrm_render_minor {}\n", 129 + part),
        );
        tree.computes(70 + part as u32, 1000 + part, GIB(8));
    }
    tree.computes(71, 1002, GIB(1));
    // The other card's, and one of a card that is not here.
    node(8, "simd_count 80\ndomain 0\nlocation_id 50432\ndrm_render_minor 128\n");
    node(9, "simd_count 80\ndomain 0\nlocation_id 1536\ndrm_render_minor 150\n");
    tree.computes(90, 1008, GIB(3));
    tree.computes(91, 1009, GIB(4));
    let mode = |name: &str, mode: &str| {
        tree.put(&format!("sys/devices/pci0000:00/{MI300}/current_{name}_partition"), mode)
    };
    mode("compute", "CPX\n");
    let readings = read(&tree);
    let of = |pid: u32| (pid, Some(if pid == 71 { GIB(9) } else { GIB(8) }));
    assert_eq!(held(&readings.devices[0]), (70..78).map(of).collect::<Vec<_>>());
    assert_eq!((readings.devices.len(), held(&readings.devices[1])), (2, vec![(90, Some(GIB(3)))]));
    assert!(reasons(&readings).len() == 1 && reasons(&readings)[0].contains("process 91"), "{readings:?}");
    let notes = |readings: &Readings| readings.devices[0].notes.join("\n");
    assert!(
        notes(&readings).contains("divided into 8 parts (CPX), which have its memory in common"),
        "{readings:?}"
    );
    // What each may have: all of it, and then its share, of a quarter of the memory or of all.
    let banks = |each: u64| {
        for part in 0..8 {
            let bank = format!("sys/class/kfd/kfd/topology/nodes/{part}/mem_banks/0/properties");
            tree.put(&bank, format!("heap_type 1\nsize_in_bytes {}\nflags 0\n", GIB(each).bytes()));
        }
    };
    mode("memory", "NPS1\n");
    banks(192);
    let readings = read(&tree);
    assert!(
        readings.devices.len() == 2 && notes(&readings).contains("(CPX, NPS1), which have"),
        "{readings:?}"
    );
    banks(24);
    mode("memory", "NPS4\n");
    let readings = read(&tree);
    let [card, parts @ .., other] = &readings.devices[..] else { panic!("{readings:?}") };
    assert!(card.notes.join("\n").contains("8 parts (CPX, NPS4): one may be full before"), "{card:?}");
    assert_eq!((parts.len(), other.device.id.as_str()), (8, "amd:1"));
    assert_eq!(
        (card.class, figures(card)),
        (DeviceClass::Gpu, [Some(GIB(192)), Some(GIB(100)), Some(GIB(92))])
    );
    for (number, part) in parts.iter().enumerate() {
        let pid = 70 + number as u32;
        let more = if number == 2 { vec![(71, Some(GIB(1)))] } else { Vec::new() };
        assert_eq!(
            (part.device.id.clone(), part.class),
            (format!("amd:0/part:{number}"), DeviceClass::GpuPart)
        );
        assert_eq!(held(part), [more.clone(), vec![(pid, Some(GIB(8)))]].concat());
        let used = 8 + more.len() as u64;
        assert_eq!(figures(part), [Some(GIB(24)), Some(GIB(used)), Some(GIB(24 - used))]);
    }
    // The machine's own share of a processor is no card's memory, and a whole card has no parts.
    tree.put("sys/class/kfd/kfd/topology/nodes/0/mem_banks/0/properties", "heap_type 0\nsize_in_bytes 1\n");
    assert_eq!(read(&tree).devices.len(), 2);
    mode("compute", "SPX\n");
    (1..8).for_each(|part| tree.remove(&format!("sys/class/kfd/kfd/topology/nodes/{part}")));
    assert!(!notes(&read(&tree)).contains("divided"));
}

#[test]
fn a_card_that_a_virtual_machine_has_is_given_away() {
    let (_folder, tree) = machine(&[mi300()]);
    let mut source = AmdSource::at(tree.root());
    assert!(source.read().given.is_empty());
    tree.remove("sys/class/drm");
    let readings = source.read();
    assert!(readings.health == Health::Absent && readings.given.is_empty());
    tree.put(&format!("sys/bus/pci/drivers/vfio-pci/{MI300}/class"), "0x038000\n");
    assert!(source.read().given.contains(MI300));
    // One that it had before anybody looked: where virtual machines are run.
    tree.put(&format!("sys/bus/pci/drivers/vfio-pci/{MI300}/vendor"), "0x1002\n");
    assert!(read(&tree).given.is_empty());
    tree.put("dev/vfio/12", "");
    assert!(read(&tree).given.contains(MI300));
}

#[test]
fn a_process_that_both_drivers_know_is_counted_once() {
    let (_folder, tree) = machine(&[mi300()]);
    tree.compute_node(1, 10, 129, 0);
    for (pid, drm, kfd) in [(1, GIB(3), GIB(2)), (2, MIB(1), GIB(5))] {
        tree.process(pid, "python3");
        tree.opens(pid, 3, MI300, pid.into(), drm, ByteSize::ZERO);
        tree.computes(pid, 10, kfd);
    }
    tree.computes(3, 10, ByteSize::ZERO);
    assert_eq!(held(&read(&tree).devices[0]), [(1, Some(GIB(3))), (2, Some(GIB(5)))]);
}

#[test]
fn what_a_card_does_is_read_where_its_driver_says() {
    let (_folder, tree) = machine(&[mi300()]);
    assert_eq!(read(&tree).devices[0].activity, None);
    let put = |name: &str, text: &str| tree.put(&format!("sys/devices/pci0000:00/{MI300}/{name}"), text);
    put("gpu_busy_percent", "97\n");
    put("hwmon/hwmon4/temp1_input", "61000\n");
    put("hwmon/hwmon4/temp1_label", "junction\n");
    put("hwmon/hwmon4/temp2_input", "54500\n");
    put("hwmon/hwmon4/temp2_label", "edge\n");
    put("hwmon/hwmon4/power1_input", "612000000\n");
    put("hwmon/hwmon4/power1_cap", "750000000\n");
    let activity = read(&tree).devices[0].activity.clone().unwrap();
    assert_eq!((activity.utilization_ratio, activity.temperature_celsius), (Some(0.97), Some(54.5)));
    assert_eq!((activity.power_watts, activity.power_limit_watts), (Some(612.0), Some(750.0)));
    put("hwmon/hwmon4/power1_average", "600000000\n");
    put("hwmon/hwmon4/temp2_input", "99999999\n");
    put("gpu_busy_percent", "900\n");
    let activity = read(&tree).devices[0].activity.clone().unwrap();
    assert_eq!((activity.utilization_ratio, activity.temperature_celsius), (None, Some(61.0)));
    assert_eq!(activity.power_watts, Some(600.0));
    put("power/runtime_status", "suspended\n");
    let device = read(&tree).devices.remove(0);
    assert!(device.activity.is_none() && device.notes.iter().any(|note| note.contains("asleep")));
}

#[test]
fn what_cannot_be_read_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let tree = SystemTree::at(folder.path());
    tree.put("sys/class/drm/card0/device/vendor", "0x8086");
    tree.put("sys/class/drm/card1-DP-1/device/vendor", "0x1002\n");
    let readings = read(&tree);
    assert!(readings.health == Health::Absent && reasons(&readings)[0].contains("no card"), "{readings:?}");
    tree.memory(GIB(64), GIB(32));
    tree.amd_card(2, &mi300());
    tree.process(42, "python3");
    tree.opens(42, 3, MI300, 1, GIB(1), ByteSize::ZERO);
    // A process that may not be asked is counted, not left out in silence.
    tree.put("proc/44/fdinfo", "");
    let mut source = AmdSource::at(tree.root());
    let readings = source.read();
    assert_eq!(readings.devices[0].device.id, "amd:0");
    assert!(reasons(&readings)[0].starts_with("1 processes' files may not be read"), "{readings:?}");
    assert_eq!(held(&readings.devices[0]).len(), 1);
    // The card stops giving numbers; the process ends.
    let used = format!("sys/devices/pci0000:00/{MI300}/mem_info_vram_used");
    tree.put(&used, "18446744073709551615\n");
    tree.remove("proc/42");
    let device = source.read().devices.remove(0);
    assert_eq!(figures(&device), [Some(GIB(192)), None, None]);
    assert!(held(&device).is_empty());
    tree.remove(&used);
    let reason = source.read().devices.remove(0).usage.used_bytes.unavailable.unwrap();
    assert!(reason.contains("mem_info_vram_used"), "{reason}");
}
