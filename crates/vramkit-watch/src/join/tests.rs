//! Pools of all kinds of programs, on cards whose driver lists all kinds of processes.

use std::sync::Arc;

use vramkit::device::SimulatedDevice;
use vramkit::monitor::{ProcessIdentity, ProcessUse};
use vramkit::pool::DeviceMemoryPool;

use super::*;

const GIB: ByteSize = ByteSize::gib(1);

fn card(number: u32, uuid: &str, pids: &[u32]) -> DeviceReading {
    let mut usage = Usage::unavailable(Origin::Nvml, "not scripted");
    usage.used_bytes = Reading::known(ByteSize::gib(40), Origin::Nvml);
    let process = |&pid: &u32| ProcessUse {
        pid,
        name: Reading::known("python3".into(), Origin::System),
        identity: ProcessIdentity::default(),
        used_bytes: Reading::known(GIB, Origin::Nvml),
        peak_bytes: Reading::unavailable(Origin::Nvml, "not scripted"),
    };
    DeviceReading {
        device: DeviceName { id: format!("cuda:{number}"), name: "H100".into(), uuid: Some(uuid.into()) },
        class: DeviceClass::Gpu,
        activity: None,
        usage,
        processes: Reading::known(pids.iter().map(process).collect(), Origin::Nvml),
        stall: None,
        shared_bytes: None,
        notes: Vec::new(),
    }
}

fn part(id: &str, uuid: &str, pids: &[u32]) -> DeviceReading {
    let mut part = card(0, uuid, pids);
    (part.device.id, part.class) = (id.into(), DeviceClass::GpuPart);
    part
}

fn pool(pid: u32, device: &str, uuid: Option<&str>) -> PoolUse {
    let backing = Arc::new(SimulatedDevice::new(GIB));
    let mut shown = PoolUse::of("kv", &DeviceMemoryPool::new(backing, GIB).unwrap());
    shown.stats.committed_bytes = GIB;
    let process = Some(ProcessIdentity { user: Some("ann".into()), ..ProcessIdentity::default() });
    let device_uuid = uuid.map(str::to_owned);
    PoolUse { pid, device: device.into(), device_uuid, device_kind: None, process, ..shown }
}

/// Where one pool went, and by what; and what was said.
fn joined(
    devices: Vec<DeviceReading>,
    pool: PoolUse,
    environment: &str,
) -> (String, Option<DeviceBy>, Vec<String>) {
    let environment = Environment::of(environment.replace(' ', "\0").as_bytes());
    let joined = by_device(devices, vec![pool.clone()], &[(pool.pid, environment)].into());
    let (device, on_it) =
        joined.listed.into_iter().chain(joined.own).find(|(_, on_it)| !on_it.is_empty()).unwrap();
    assert_eq!((on_it.len(), &on_it[0].device), (1, &device.device.id));
    (device.device.id, on_it[0].device_by, joined.notes.into_iter().map(|note| note.reason).collect())
}

#[test]
fn an_identity_finds_its_card_or_part_whatever_the_program_calls_it() {
    let cards =
        || vec![card(0, "GPU-aa", &[7]), card(1, "GPU-bb", &[8, 9]), part("cuda:1/mig:0", "MIG-cc", &[9])];
    let is = |id: &str| (id.to_owned(), Some(DeviceBy::Identity), Vec::<String>::new());
    assert_eq!(joined(cards(), pool(8, "cuda:0", Some("GPU-BB")), ""), is("cuda:1"));
    assert_eq!(joined(cards(), pool(9, "cuda:0", Some("MIG-cc")), ""), is("cuda:1/mig:0"));
    // Of a card that nobody lists: never the one of its number.
    let (id, by, notes) = joined(cards(), pool(8, "cuda:0", Some("GPU-dd")), "");
    assert_eq!((id.as_str(), by, notes.len()), ("GPU-dd", None, 0));
}

#[test]
fn without_an_identity_the_driver_the_environment_and_the_name_are_asked_in_turn() {
    let listed = |pids: [&[u32]; 3]| {
        let cards = pids.iter().zip(["GPU-aa", "GPU-bb", "GPU-cc"]).zip(0..);
        cards.map(|((pids, uuid), number)| card(number, uuid, pids)).collect::<Vec<_>>()
    };
    let four = |environment, pids| {
        let (id, by, notes) = joined(listed(pids), pool(7, "cuda:0", None), environment);
        (id, by.unwrap(), notes.len())
    };
    // Workers that all say `cuda:0`.
    assert_eq!(four("", [&[1], &[2], &[7]]), ("cuda:2".into(), DeviceBy::Driver, 0));
    assert_eq!(
        four("CUDA_VISIBLE_DEVICES=2,1", [&[], &[7], &[7]]),
        ("cuda:2".into(), DeviceBy::Environment, 0)
    );
    // The driver does not list processes of other namespaces.
    assert_eq!(four("CUDA_VISIBLE_DEVICES=1", [&[], &[], &[]]), ("cuda:1".into(), DeviceBy::Environment, 0));
    assert_eq!(four("", [&[], &[], &[]]), ("cuda:0".into(), DeviceBy::Claim, 1));
    // One in parts lists it on the part, and on the whole.
    let parts = vec![
        card(0, "GPU-aa", &[7, 8]),
        part("cuda:0/mig:0", "MIG-a", &[8]),
        part("cuda:0/mig:1", "MIG-b", &[7]),
    ];
    assert_eq!(joined(parts, pool(7, "cuda:0", None), "").0, "cuda:0/mig:1");
    // Without cards, and of a process that is not visible.
    assert_eq!(joined(vec![], pool(7, "cuda:0", None), ""), ("cuda:0".into(), None, vec![]));
    assert_eq!(joined(listed([&[], &[], &[]]), pool(0, "cuda:1", None), "").1, Some(DeviceBy::Claim));
}

#[test]
fn a_claim_that_the_driver_contradicts_is_told_and_shown_apart() {
    let says = |cards: Vec<DeviceReading>, uuid| {
        let (id, by, notes) = joined(cards, pool(7, "cuda:0", uuid), "");
        (id, by, notes.first().cloned().unwrap_or_default())
    };
    for uuid in [None, Some("GPU-aa")] {
        let (id, by, note) = says(vec![card(0, "GPU-aa", &[8])], uuid);
        assert_eq!((id.as_str(), by), ("claimed:cuda:0", None));
        assert!(note.contains("lists no such process"), "{note}");
    }
    // An idle card has no room for it.
    let mut idle = card(0, "GPU-aa", &[]);
    idle.usage.used_bytes = Reading::known(ByteSize::ZERO, Origin::Nvml);
    assert_eq!(says(vec![idle], Some("GPU-aa")).0, "claimed:cuda:0");
    // A list of another namespace, or none, contradicts nobody.
    let mut elsewhere = card(0, "GPU-aa", &[8]);
    elsewhere.processes.value.as_mut().unwrap()[0].name = Reading::unavailable(Origin::System, "not here");
    assert_eq!(says(vec![elsewhere], Some("GPU-aa")).0, "cuda:0");
    let mut unlisted = card(0, "GPU-aa", &[]);
    unlisted.processes = Reading::unavailable(Origin::Nvml, "not allowed");
    assert_eq!(says(vec![unlisted], Some("GPU-aa")).0, "cuda:0");
}

#[test]
fn more_than_is_in_use_is_shown_apart_where_the_driver_gives_no_list_of_processes() {
    let place = |reading: DeviceReading, name: &str, kind, gib: u64| {
        let mut shown = pool(7, name, None);
        (shown.stats.committed_bytes, shown.device_kind) = (ByteSize::gib(gib), kind);
        let (id, _, notes) = joined(vec![reading], shown, "");
        (id, notes.concat())
    };
    let unlisted = || {
        let mut card = card(0, "GPU-aa", &[]);
        card.processes = Reading::unavailable(Origin::Nvml, "not supported");
        card
    };
    assert_eq!(place(unlisted(), "cuda:0", None, 41).0, "cuda:0", "a little may have come meanwhile");
    let (id, notes) = place(unlisted(), "cuda:0", None, 64);
    assert_eq!(id, "claimed:cuda:0");
    assert!(notes.contains("says that it holds 64 GiB of cuda:0, of which 40 GiB is in use"), "{notes}");
    // One that the driver lists is there, whatever it says.
    assert_eq!(place(card(0, "GPU-aa", &[7]), "cuda:0", None, 64).0, "cuda:0");
    let mut host = unlisted();
    (host.device.id, host.class) = ("host".into(), DeviceClass::Machine);
    host.usage.total_bytes = Reading::known(ByteSize::gib(64), Origin::System);
    assert_eq!(place(host.clone(), "host", Some(DeviceKind::Host), 50).0, "host", "not touched yet");
    assert_eq!(place(host, "host", Some(DeviceKind::Host), 80).0, "claimed:host");
}

#[test]
fn what_is_simulated_is_no_card_whatever_it_is_called() {
    for (device, kind, expected) in [
        ("cuda:0", Some(DeviceKind::Simulated), "sim:cuda:0"),
        ("sim", Some(DeviceKind::Cuda), "sim"),
        ("sim", None, "sim"),
        ("host", Some(DeviceKind::Simulated), "sim:host"),
    ] {
        let mut shown = pool(7, device, Some("GPU-aa"));
        shown.device_kind = kind;
        let joined = by_device(vec![card(0, "GPU-aa", &[7])], vec![shown], &BTreeMap::new());
        let (device, on_it) = &joined.own[0];
        assert_eq!((device.device.id.as_str(), device.class), (expected, DeviceClass::Simulated));
        assert_eq!((on_it.len(), joined.listed[0].1.len()), (1, 0));
    }
    // One that a source lists is not there twice.
    let mut listed = card(0, "none", &[]);
    (listed.device.id, listed.class) = ("sim".into(), DeviceClass::Simulated);
    assert_eq!(by_device(vec![listed], vec![pool(7, "sim", None)], &BTreeMap::new()).own.len(), 0);
    // A pool of main memory is on no card, though it is called so.
    let mut shown = pool(7, "cuda:0", None);
    shown.device_kind = Some(DeviceKind::Host);
    assert_eq!(joined(vec![card(0, "GPU-aa", &[7])], shown, "").0, "claimed:cuda:0");
}

#[test]
fn one_user_has_so_many_devices_of_its_own() {
    let mut pools: Vec<PoolUse> = (0..3000).map(|n| pool(7, &format!("x{n}"), None)).collect();
    let mut other = pool(8, "y", None);
    other.process.as_mut().unwrap().user = Some("ben".into());
    pools.push(other);
    let joined = by_device(vec![], pools, &BTreeMap::new());
    assert_eq!(joined.listed.len() + joined.own.len(), OWN + 1);
    assert_eq!(joined.own.last().unwrap().0.device.id, "y");
    assert_eq!(joined.notes.len(), WORDS + 1);
}

#[test]
fn no_pool_makes_a_device_that_is_called_as_one_that_is_listed() {
    for uuid in ["cuda:0", "host"] {
        let mut host = card(9, "", &[]);
        (host.device.id, host.class) = ("host".into(), DeviceClass::Machine);
        let (id, _, notes) = joined(vec![card(0, "GPU-aa", &[]), host], pool(8, "cuda:0", Some(uuid)), "");
        assert_eq!(id, format!("claimed:{uuid}"));
        assert!(notes[0].contains("no identity of a card"), "{notes:?}");
    }
}
