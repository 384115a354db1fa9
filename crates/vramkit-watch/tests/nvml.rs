//! The source over the stand-in for NVIDIA's library: every fault of the field, scripted.
#![allow(clippy::unwrap_used, unsafe_code)]

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Value, json};
use vramkit::ByteSize;
use vramkit::device::Origin;
use vramkit_watch::{Activity, DeviceClass, Health, NvmlSource, Readings, Source};

/// The stand-in's script is the process's: one test at a time.
struct Machine {
    _one: MutexGuard<'static, ()>,
}

fn script() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("vramkit-nvml-{}.json", std::process::id()));
        // SAFETY: called once, before this process's only other reader of the environment, which it hands it to.
        unsafe { std::env::set_var("VRAMKIT_STANDIN_NVML", &path) };
        path
    })
}

impl Machine {
    fn new(script: Value) -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        let machine = Self { _one: ONE.lock().unwrap_or_else(PoisonError::into_inner) };
        machine.becomes(script);
        machine
    }

    fn becomes(&self, value: Value) {
        std::fs::write(script(), value.to_string()).unwrap();
    }

    fn source(&self) -> NvmlSource {
        let directory = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
        NvmlSource::of(directory.join("libvramkit_standin.so").as_os_str())
    }
}

fn card(change: impl FnOnce(&mut Value)) -> Value {
    let mut card = json!({
        "name": "Stand-in A100", "uuid": "GPU-5a", "total": 80u64 << 30, "free": 60u64 << 30, "used": 19u64 << 30,
        "reserved": 1u64 << 30, "accounting": true,
        "processes": [{"pid": std::process::id(), "used": 12u64 << 30, "peak": 15u64 << 30}]
    });
    change(&mut card);
    card
}

fn reasons(readings: &Readings) -> Vec<&str> {
    readings.unavailable.iter().map(|absent| absent.reason.as_str()).collect()
}

#[test]
fn a_card_is_read_with_what_its_driver_keeps_and_its_processes() {
    let machine = Machine::new(json!({"cards": [card(|_| ())]}));
    let readings = machine.source().read();
    let device = &readings.devices[0];
    assert_eq!((device.device.id.as_str(), device.device.uuid.as_deref()), ("cuda:0", Some("GPU-5a")));
    assert_eq!(device.usage.total_bytes.value, Some(ByteSize::gib(80)));
    assert_eq!(device.usage.driver_bytes.value, Some(ByteSize::gib(1)));
    assert_eq!(device.usage.used_bytes.source, Origin::Nvml);
    let process = &device.processes.value.as_ref().unwrap()[0];
    assert_eq!(
        (process.used_bytes.value, process.peak_bytes.value),
        (Some(ByteSize::gib(12)), Some(ByteSize::gib(15)))
    );
    // The thread's name is what the kernel shows of a test.
    assert!(process.name.value.is_some());
}

#[test]
fn sentinels_are_missing_numbers_and_zero_is_no_size() {
    let machine = Machine::new(json!({"cards": [
        card(|card| { card["used"] = json!(u64::MAX); card["reserved"] = json!(u64::MAX);
                      card["processes"][0] = json!({"pid": 4_000_000}); }),
        card(|card| card["total"] = json!(0)),
    ]}));
    let readings = machine.source().read();
    let (first, second) = (&readings.devices[0], &readings.devices[1]);
    assert_eq!((first.usage.used_bytes.value, first.usage.driver_bytes.value), (None, None));
    assert_eq!(first.usage.used_ratio(), None);
    let process = &first.processes.value.as_ref().unwrap()[0];
    assert_eq!((process.used_bytes.value, process.peak_bytes.value), (None, None));
    assert!(process.name.unavailable.as_deref().unwrap().contains("outside this container"));
    assert_eq!((second.usage.total_bytes.value, second.usage.free_bytes.value), (None, None));
}

#[test]
fn a_card_that_shares_the_machines_memory_has_the_machines_figures() {
    let shares = card(|card| {
        card["memory"] = json!(3);
        card["processes"] = json!([{"pid": 1, "used": 5u64 << 30}, {"pid": 2, "used": 2u64 << 30}]);
    });
    let one_is_not_known = card(|card| {
        card["memory"] = json!(3);
        card["processes"] = json!([{"pid": 1, "used": 5u64 << 30}, {"pid": 2}]);
    });
    let part = card(|card| card["parts"] = json!([shares]));
    let machine = Machine::new(json!({"cards": [shares, one_is_not_known, part]}));
    let readings = machine.source().read();
    let usage = |at: usize| &readings.devices[at].usage;
    assert_eq!(usage(0).total_bytes.source, Origin::System);
    let ratio = usage(0).used_ratio().unwrap();
    assert!(ratio > 0.0 && ratio < 1.0 && usage(0).free_bytes.value.is_some());
    assert_eq!(
        (usage(0).allocated_bytes.value, usage(0).allocated_bytes.source),
        (Some(ByteSize::gib(7)), Origin::Processes)
    );
    assert!(readings.devices[0].notes[0].contains("taken as sharing the machine's"));
    assert_eq!(usage(1).allocated_bytes.value, None);
    // A part of a card is no part of the machine.
    assert_eq!((usage(3).total_bytes.value, usage(3).used_bytes.value), (None, None));
}

#[test]
fn a_driver_whose_new_form_is_not_supported_is_asked_in_the_old_one() {
    let machine = Machine::new(json!({"cards": [card(|card| card["memory_v2"] = json!(3))]}));
    let device = machine.source().read().devices.remove(0);
    assert_eq!(device.usage.total_bytes.value, Some(ByteSize::gib(80)));
    assert_eq!((device.usage.total_bytes.source, device.notes.len()), (Origin::Nvml, 0));
}

#[test]
fn clients_of_mps_hold_what_they_hold() {
    let machine = Machine::new(json!({"cards": [card(|card| {
        card["processes"] = json!([{"pid": 5, "used": 30u64 << 20}]);
        card["mps"] = json!([{"pid": 6, "used": 12u64 << 30}]);
    })]}));
    let device = machine.source().read().devices.remove(0);
    let held = device.processes.value.unwrap();
    let held: Vec<_> = held.iter().map(|process| (process.pid, process.used_bytes.value)).collect();
    assert_eq!(held, [(5, Some(ByteSize::mib(30))), (6, Some(ByteSize::gib(12)))]);
}

#[test]
fn more_cards_than_are_looked_at_are_told() {
    let machine = Machine::new(json!({"cards": vec![card(|_| ()); 70]}));
    let readings = machine.source().read();
    assert_eq!(readings.devices.len(), 64);
    assert_eq!(reasons(&readings), ["6 cards more than 64 are not looked at"]);
}

#[test]
fn a_card_that_cannot_be_read_is_not_known_to_be_empty() {
    for code in [4, 15, 999] {
        let machine = Machine::new(json!({"cards": [card(|card| {
            (card["memory"], card["memory_v2"]) = (json!(code), json!(code));
            card["processes"] = json!([]);
        })]}));
        for device in &machine.source().read().devices {
            assert_eq!(device.usage.used_bytes.value, None, "{code}");
        }
    }
}

#[test]
fn an_older_driver_is_asked_in_the_old_form() {
    let machine = Machine::new(json!({"cards": [card(|card| card["memory_v2"] = json!(13))]}));
    let usage = &machine.source().read().devices[0].usage;
    assert_eq!(usage.total_bytes.value, Some(ByteSize::gib(80)));
    assert_eq!(usage.driver_bytes.value, None);
}

#[test]
fn parts_of_a_card_are_devices_and_a_process_counts_once() {
    let machine = Machine::new(json!({"cards": [card(|whole| {
        whole["parts"] = json!([card(|part| part["uuid"] = json!("MIG-1")), card(|part| part["total"] = json!(10u64 << 30))]);
        whole["graphics"] = json!([{"pid": std::process::id(), "used": 12u64 << 30}, {"pid": 9, "used": 1}]);
    })]}));
    let readings = machine.source().read();
    let ids: Vec<&str> = readings.devices.iter().map(|device| device.device.id.as_str()).collect();
    assert_eq!(ids, ["cuda:0", "cuda:0/mig:0", "cuda:0/mig:1"]);
    assert_eq!(readings.devices[2].usage.total_bytes.value, Some(ByteSize::gib(10)));
    assert_eq!(readings.devices[0].processes.value.as_ref().unwrap().len(), 2);
}

#[test]
fn a_driver_that_goes_away_between_two_ticks_is_told_and_nothing_old_is_shown() {
    let machine = Machine::new(json!({"cards": [card(|_| ())]}));
    let mut source = machine.source();
    assert_eq!(source.read().devices.len(), 1);
    for code in [1, 9, 18] {
        machine.becomes(json!({"count": code, "cards": [card(|_| ())]}));
        let readings = source.read();
        assert!(readings.devices.is_empty() && reasons(&readings).len() == 1, "{readings:?}");
        machine.becomes(json!({"cards": [card(|_| ())]}));
        source = machine.source();
        assert_eq!(source.read().devices.len(), 1);
    }
    // In the middle of a card.
    machine.becomes(json!({"cards": [card(|card| card["list"] = json!(1))]}));
    assert!(source.read().devices.is_empty());
}

#[test]
fn an_unplugged_card_leaves_the_others() {
    let machine = Machine::new(json!({"cards": [card(|card| card["handle"] = json!(15)), card(|_| ())]}));
    let readings = machine.source().read();
    assert_eq!(readings.devices.len(), 1);
    assert_eq!(
        (readings.devices[0].device.id.as_str(), readings.missing[0].device.id.as_str()),
        ("cuda:1", "cuda:0")
    );
}

#[test]
fn who_may_not_see_processes_still_sees_memory() {
    let machine = Machine::new(json!({"cards": [card(|card| card["list"] = json!(4))]}));
    let device = &machine.source().read().devices[0];
    assert_eq!(device.usage.used_bytes.value, Some(ByteSize::gib(19)));
    assert!(device.processes.unavailable.is_some());
}

#[test]
fn no_library_a_library_of_another_kind_and_no_driver_are_reasons() {
    let machine = Machine::new(json!({"init": 9}));
    for (path, says) in [("libnot-here.so.1", "is not here"), ("libc.so.6", "is no NVML")] {
        let readings = NvmlSource::of(path.as_ref()).read();
        assert!(readings.devices.is_empty() && reasons(&readings)[0].contains(says), "{readings:?}");
    }
    let readings = machine.source().read();
    assert!(readings.devices.is_empty() && reasons(&readings).len() == 1, "{readings:?}");
    assert_eq!(readings.health, Health::Absent);
    for code in [4, 15, 999] {
        machine.becomes(json!({"init": code}));
        let readings = machine.source().read();
        assert_eq!((readings.health, reasons(&readings).len()), (Health::Failing, 1), "{code}");
    }
}

#[test]
fn a_name_that_could_not_be_asked_for_once_is_asked_for_again() {
    let called = |name: &str| json!({"cards": [card(|card| card["name"] = json!(name))]});
    let machine = Machine::new(called(&"long".repeat(200)));
    let mut source = machine.source();
    assert!(source.read().devices[0].device.name.contains("without a name"));
    machine.becomes(called("NVIDIA H100"));
    assert_eq!(source.read().devices[0].device.name, "NVIDIA H100");
}

#[test]
fn a_card_that_is_divided_anew_has_its_new_parts_names() {
    let divided = |parts: &[(&str, &str, u64)]| {
        json!({"cards": [card(|whole| {
            whole["parts"] = parts.iter().map(|(name, uuid, gib)| card(|part| {
                (part["name"], part["uuid"], part["total"]) = (json!(name), json!(uuid), json!(gib << 30));
            })).collect();
        })]})
    };
    let machine =
        Machine::new(divided(&[("A100 MIG 1g.10gb", "MIG-aaaa", 10), ("A100 MIG 1g.10gb", "MIG-bbbb", 10)]));
    let mut source = machine.source();
    assert_eq!(source.read().devices.len(), 3);
    machine.becomes(divided(&[("A100 MIG 2g.20gb", "MIG-aaaa", 20)]));
    let part = &source.read().devices[1].device;
    assert_eq!(
        part.name, "A100 MIG 2g.20gb",
        "an identity is of the place of an instance, whatever its size"
    );
    machine.becomes(divided(&[("A100 MIG 3g.40gb", "MIG-cccc", 40)]));
    let readings = source.read();
    let part = &readings.devices[1];
    assert_eq!(
        (part.device.id.as_str(), part.device.name.as_str(), part.device.uuid.as_deref()),
        ("cuda:0/mig:0", "A100 MIG 3g.40gb", Some("MIG-cccc"))
    );
    assert_eq!((readings.devices.len(), part.class, part.activity.as_ref()), (2, DeviceClass::GpuPart, None));
}

#[test]
fn a_card_says_what_it_does_as_far_as_it_knows() {
    let machine = Machine::new(json!({"cards": [
        card(|card| {
            (card["utilization"], card["temperature"]) = (json!(37), json!(64));
            (card["power"], card["power_limit"]) = (json!(312_500), json!(700_000));
        }),
        card(|card| (card["utilization"], card["power"]) = (json!(101), json!(u32::MAX))),
    ]}));
    let readings = machine.source().read();
    let activity = readings.devices[0].activity.clone().unwrap();
    assert_eq!(
        (
            activity.utilization_ratio,
            activity.temperature_celsius,
            activity.power_watts,
            activity.power_limit_watts
        ),
        (Some(0.37), Some(64.0), Some(312.5), Some(700.0))
    );
    assert_eq!(readings.devices[1].activity, Some(Activity::default()), "nonsense is no figure");
}

#[test]
fn a_cards_name_steers_no_terminal() {
    let machine =
        Machine::new(json!({"cards": [card(|card| card["name"] = json!("A\u{1b}[2J\u{202e}100"))]}));
    assert_eq!(machine.source().read().devices[0].device.name, "A [2J100");
}

#[test]
fn cards_of_one_identity_have_each_its_own_name_and_an_empty_identity_is_none() {
    let of = |name: &str, uuid: &str| card(|card| (card["name"], card["uuid"]) = (json!(name), json!(uuid)));
    let machine =
        Machine::new(json!({"cards": [of("A", "GPU-1"), of("B", "GPU-1"), of("C", ""), of("D", " ")]}));
    let mut source = machine.source();
    for _ in 0..2 {
        let devices = source.read().devices;
        let names: Vec<&str> = devices.iter().map(|reading| reading.device.name.as_str()).collect();
        let uuids: Vec<Option<&str>> = devices.iter().map(|reading| reading.device.uuid.as_deref()).collect();
        assert_eq!(
            (names, uuids),
            (vec!["A", "B", "C", "D"], vec![Some("GPU-1"), Some("GPU-1"), None, None])
        );
    }
}

#[test]
fn a_driver_that_is_loaded_anew_is_found_soon() {
    let machine = Machine::new(json!({"cards": [card(|_| ())]}));
    let mut source = machine.source();
    assert_eq!(source.read().devices.len(), 1);
    machine.becomes(json!({"init": 9, "count": 9, "cards": [card(|_| ())]}));
    assert!(source.read().devices.is_empty());
    machine.becomes(json!({"cards": [card(|_| ())]}));
    let start = std::time::Instant::now();
    while source.read().devices.is_empty() {
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "it is not asked again");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
