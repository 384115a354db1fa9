//! What programs and other sources say of a card that is not theirs to describe, and cards that are known by their place.

use std::collections::BTreeMap;
use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::device::{DeviceKind, Origin, Reading, SimulatedDevice};
use vramkit::monitor::{PoolUse, ProcessIdentity, ProcessUse};
use vramkit::pool::DeviceMemoryPool;
use vramkit::pressure::PressureLevel;

use super::tests::{device, patient, scripted, watcher};
use super::*;
use crate::judge::decision;
use crate::source::Assignment;
use crate::tick::EventKind;

fn pool(pid: u32, device: &str, uuid: Option<&str>, committed: ByteSize) -> PoolUse {
    let backing = Arc::new(SimulatedDevice::new(ByteSize::gib(1)));
    let mut shown = PoolUse::of("kv", &DeviceMemoryPool::new(backing, ByteSize::gib(1)).unwrap());
    shown.stats.committed_bytes = committed;
    let device_uuid = uuid.map(str::to_owned);
    PoolUse { pid, device: device.into(), device_kind: Some(DeviceKind::Cuda), device_uuid, ..shown }
}

fn card(id: &str, uuid: Option<&str>, used: u64, held: &[(u32, u64)]) -> DeviceReading {
    let mut card = device(id, used);
    card.device.uuid = uuid.map(str::to_owned);
    let process = |&(pid, mib): &(u32, u64)| ProcessUse {
        pid,
        name: Reading::known(format!("p{pid}"), Origin::System),
        identity: ProcessIdentity::default(),
        used_bytes: Reading::known(ByteSize::mib(mib), Origin::Nvml),
        peak_bytes: Reading::unavailable(Origin::Nvml, "not scripted"),
    };
    card.processes = Reading::known(held.iter().map(process).collect(), Origin::Nvml);
    card
}

#[test]
fn an_idle_pool_is_no_room_beyond_what_the_driver_says_that_its_process_holds() {
    let level = |of_process: u64| {
        let (script, mut watcher) = watcher();
        let held = [(5, 970 - of_process), (7, of_process)];
        script.lock().unwrap().devices = vec![card("cuda:0", Some("GPU-0"), 970, &held)];
        script.lock().unwrap().pools = vec![pool(7, "cuda:0", Some("GPU-0"), ByteSize::mib(900))];
        watcher.tick(Duration::ZERO).devices[0].snapshot.level
    };
    assert_eq!(level(910), Some(PressureLevel::Normal), "reserved by design");
    assert_eq!(level(10), Some(PressureLevel::Critical));
}

#[test]
fn idle_pools_of_processes_that_the_driver_does_not_name_are_no_room_beyond_what_it_gives_to_others() {
    let look = |of_others: u64, pooled: &[(u32, u64)]| {
        let (script, mut watcher) = watcher();
        let mut card = card("cuda:0", Some("GPU-0"), 970, &[(5, 970 - of_others), (9001, of_others)]);
        // Of another PID namespace.
        card.processes.value.as_mut().unwrap()[1].name = Reading::unavailable(Origin::System, "not here");
        script.lock().unwrap().devices = vec![card];
        let shown = |&(pid, mib): &(u32, u64)| {
            let shown = pool(pid, "cuda:0", Some("GPU-0"), ByteSize::mib(mib));
            PoolUse { name: format!("kv {pid} {mib}"), ..shown }
        };
        script.lock().unwrap().pools = pooled.iter().map(shown).collect();
        let device = watcher.tick(Duration::ZERO).devices.remove(0);
        (device.snapshot.level, device.notes.iter().any(|note| note.contains("their programs' word alone")))
    };
    let (normal, critical) = (Some(PressureLevel::Normal), Some(PressureLevel::Critical));
    assert_eq!(look(910, &[(7, 900)]), (normal, true), "reserved by design, as far as it says");
    assert_eq!(look(10, &[(5, 40), (7, 900)]), (critical, true), "process 5 holds the rest");
    assert_eq!(look(10, &[(5, 900)]), (normal, false));
    assert_eq!(look(10, &[(7, 900)]), (critical, true), "what it gives to others is of process 5");
}

#[test]
fn what_a_source_lists_as_well_is_the_earlier_ones() {
    let (first, second) = (Arc::default(), Arc::default());
    let sources: Vec<Box<dyn Source>> = vec![Box::new(scripted(&first)), Box::new(scripted(&second))];
    let mut watcher = Watcher::new(sources, patient()).unwrap();
    for at in 0..5 {
        first.lock().unwrap().devices = vec![card("cuda:0", Some("GPU-0"), 970, &[])];
        second.lock().unwrap().devices = vec![card("cuda:0", None, 1, &[])];
        let tick = watcher.tick(Duration::from_secs(at));
        assert_eq!(tick.devices.len(), 1);
        assert_eq!((tick.devices[0].level_changes, tick.events.len()), (1, usize::from(at == 0)), "{at}");
    }
    assert_eq!(watcher.history().devices["cuda:0"].len(), 5);
}

#[test]
fn a_card_takes_nothing_from_what_pools_said_before_it_was_there() {
    for uuid in [None, Some("GPU-0")] {
        let (script, mut watcher) = watcher();
        let mut shown = pool(7, "cuda:0", uuid, ByteSize::mib(950));
        shown.stats.used_bytes = ByteSize::mib(950);
        script.lock().unwrap().pools = vec![shown];
        (0..40).for_each(|second| drop(watcher.tick(Duration::from_secs(second))));
        script.lock().unwrap().devices = vec![card("cuda:0", Some("GPU-0"), 10, &[])];
        script.lock().unwrap().pools.clear();
        let tick = watcher.tick(Duration::from_secs(40));
        assert_eq!(tick.devices.len(), 1, "{uuid:?}");
        let found = &tick.devices[0];
        assert_eq!(
            (found.snapshot.device.id.as_str(), found.snapshot.level),
            ("cuda:0", Some(PressureLevel::Normal))
        );
        assert_eq!(found.level_readings, [1, 0, 0, 0]);
        assert_eq!(watcher.history().devices["cuda:0"].len(), 1);
    }
}

#[test]
fn a_device_that_is_called_like_a_note_hides_none() {
    let (script, mut watcher) = watcher();
    script.lock().unwrap().devices = vec![device("cuda:0", 10)];
    script.lock().unwrap().pools = vec![pool(7, "nvml", None, ByteSize::mib(1))];
    let said = Unavailable { source: "nvml".into(), reason: "no driver".into() };
    script.lock().unwrap().unavailable = vec![said.clone()];
    let tick = watcher.tick(Duration::ZERO);
    assert!(tick.devices.iter().any(|device| device.snapshot.device.id == "nvml"));
    assert!(tick.unavailable.contains(&said), "{:?}", tick.unavailable);
}

#[test]
fn a_card_without_an_identity_is_known_by_its_place_and_so_is_who_may_use_it() {
    let (script, mut watcher) = watcher();
    let listed = |places: &[&str]| {
        let place = |(number, place): (usize, &&str)| (format!("amd:{number}"), (*place).to_owned());
        let places: BTreeMap<String, String> = places.iter().enumerate().map(place).collect();
        let devices =
            places.iter().map(|(id, place)| card(id, None, if place == "c1" { 100 } else { 200 }, &[]));
        let to = |place: &str, pod: &str| Assignment {
            device: place.into(),
            pod: pod.into(),
            container: "c".into(),
        };
        Readings {
            devices: devices.collect(),
            places,
            assigned: vec![to("c1", "t/ann"), to("c2", "t/bob")],
            ..Readings::default()
        }
    };
    *script.lock().unwrap() = listed(&["c1", "c2"]);
    watcher.tick(Duration::ZERO);
    // The first falls off, and the driver calls the second as the first.
    *script.lock().unwrap() = listed(&["c2"]);
    let tick = watcher.tick(Duration::from_secs(1));
    let found: Vec<_> = tick
        .devices
        .iter()
        .map(|one| {
            (
                one.snapshot.device.id.as_str(),
                one.presence == Presence::Present,
                one.assigned.iter().map(|to| to.pod.as_str()).collect::<Vec<_>>(),
            )
        })
        .collect();
    assert_eq!(found[1], ("amd:1", true, vec!["t/bob"]), "{found:?}");
    assert_eq!(found[0], ("amd:0", false, vec!["t/ann"]));
    assert_eq!(tick.devices[1].snapshot.usage.used_bytes.value, Some(ByteSize::mib(200)));
}

#[test]
fn a_group_whose_neighbours_take_all_is_as_full_as_they_make_it() {
    let (script, mut watcher) = watcher();
    let mut group = device("cgroup", 100);
    group.class = DeviceClass::Group;
    let usage = &mut group.usage;
    for number in [&mut usage.total_bytes, &mut usage.used_bytes, &mut usage.free_bytes] {
        number.source = Origin::Cgroup;
    }
    let mut level = |free| {
        let mut group = group.clone();
        group.usage.free_bytes.value = Some(ByteSize::mib(free));
        script.lock().unwrap().devices = vec![group];
        let device = watcher.tick(Duration::ZERO).devices.remove(0);
        assert_eq!(device.snapshot.usage.used_bytes.value, Some(ByteSize::mib(100)));
        device.snapshot.level
    };
    assert_eq!(level(900), Some(PressureLevel::Normal));
    assert_eq!(level(10), Some(PressureLevel::Critical));
}

#[test]
fn decisions_do_not_wash_away_that_a_card_is_lost() {
    let (script, mut watcher) = watcher();
    script.lock().unwrap().devices = vec![device("cuda:0", 10), device("cuda:1", 10)];
    watcher.tick(Duration::ZERO);
    script.lock().unwrap().devices.pop();
    watcher.tick(Duration::from_secs(1));
    for second in 2..100u64 {
        let mut shown = pool(7, "cuda:0", None, ByteSize::mib(1));
        let range = 8 * second..8 * second + 8;
        shown.decisions = range.map(|sequence| decision(sequence, "evicted")).collect();
        script.lock().unwrap().pools = vec![shown];
        watcher.tick(Duration::from_secs(second));
    }
    let events = watcher.history().events;
    assert_eq!(events.len(), EVENTS);
    assert!(events.iter().any(|event| event.kind == EventKind::Lost), "{events:?}");
}

#[test]
fn what_the_driver_keeps_is_nobodys_to_have() {
    let (script, mut watcher) = watcher();
    let mut level = |used, kept| {
        let mut card = device("cuda:0", used);
        card.usage.driver_bytes = Reading::known(ByteSize::mib(kept), Origin::Nvml);
        script.lock().unwrap().devices = vec![card];
        watcher.tick(Duration::ZERO).devices[0].snapshot.level
    };
    assert_eq!(level(500, 120), Some(PressureLevel::Normal));
    assert_eq!(level(880, 120), Some(PressureLevel::Critical), "nothing is free");
}

#[test]
fn a_pool_whose_process_has_ended_is_none_of_those_that_are_listed() {
    let (script, mut watcher) = watcher();
    script.lock().unwrap().devices = vec![card("cuda:0", Some("GPU-0"), 600, &[(5, 590)])];
    script.lock().unwrap().pools = vec![pool(0, "cuda:0", Some("GPU-0"), ByteSize::mib(500))];
    let tick = watcher.tick(Duration::ZERO);
    let ids: Vec<&str> = tick.devices.iter().map(|device| device.snapshot.device.id.as_str()).collect();
    assert_eq!(ids, ["cuda:0", "claimed:cuda:0"]);
}

#[test]
fn room_in_pools_of_a_process_without_a_number_is_told_as_its_word() {
    let (script, mut watcher) = watcher();
    let mut card = card("cuda:0", Some("GPU-0"), 970, &[(7, 0)]);
    card.processes.value.as_mut().unwrap()[0].used_bytes =
        Reading::unavailable(Origin::Nvml, "the driver gives no number");
    script.lock().unwrap().devices = vec![card];
    script.lock().unwrap().pools = vec![pool(7, "cuda:0", Some("GPU-0"), ByteSize::mib(900))];
    let device = watcher.tick(Duration::ZERO).devices.remove(0);
    assert!(
        device.notes.iter().any(|note| note.contains("their programs' word alone")),
        "{:?}",
        device.notes
    );
}

#[test]
fn devices_of_programs_that_come_and_go_hide_no_card_and_wash_away_no_event() {
    let (script, mut watcher) = watcher();
    script.lock().unwrap().devices = vec![device("cuda:0", 10), device("cuda:1", 10)];
    watcher.tick(Duration::ZERO);
    script.lock().unwrap().devices.pop();
    for second in 1..60u64 {
        let of = |number: u64| {
            let mut shown = pool(7, &format!("rocm:{second}.{number}"), None, ByteSize::mib(1));
            shown.device_kind = Some(DeviceKind::Other("rocm".into()));
            let user = Some(format!("u{}", number % 12));
            PoolUse {
                name: format!("p{number}"),
                process: Some(ProcessIdentity { user, ..ProcessIdentity::default() }),
                ..shown
            }
        };
        script.lock().unwrap().pools = (0..300).map(of).collect();
        let tick = watcher.tick(Duration::from_secs(second));
        assert!(tick.devices.iter().any(|one| one.snapshot.device.id == "cuda:1"), "it stays lost: {second}");
    }
    let events = watcher.history().events;
    assert!(
        events.len() < 60
            && events.iter().any(|event| event.kind == EventKind::Lost && event.device == "cuda:1")
    );
}

#[test]
fn a_pool_on_a_lost_card_by_a_number_alone_has_a_word() {
    let look = |uuid: Option<&str>| {
        let (script, mut watcher) = watcher();
        let (first, second) =
            (card("cuda:0", Some("GPU-0"), 10, &[]), card("cuda:1", Some("GPU-1"), 10, &[]));
        script.lock().unwrap().devices = vec![first.clone(), second];
        watcher.tick(Duration::ZERO);
        script.lock().unwrap().devices = vec![first];
        script.lock().unwrap().pools = vec![pool(7, "cuda:1", uuid, ByteSize::mib(1))];
        let tick = watcher.tick(Duration::from_secs(1));
        let lost = tick.devices.into_iter().find(|device| device.snapshot.device.id == "cuda:1").unwrap();
        assert!(matches!(lost.presence, Presence::Lost { .. }) && lost.snapshot.pools.len() == 1);
        lost.notes.iter().any(|note| note.contains("process 7") && note.contains("means another one"))
    };
    assert!(look(None));
    assert!(!look(Some("GPU-1")), "it says itself which card it has");
}
