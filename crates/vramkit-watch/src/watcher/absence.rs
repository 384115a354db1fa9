//! What is not there: sources that do not answer, cards that fall off.

use std::sync::mpsc::{self, Sender};

use vramkit::ByteSize;
use vramkit::pressure::PressureLevel;

use super::tests::{Script, device, kinds, patient, scripted, watcher};
use super::*;
use crate::source::{Missing, source_fn};
use crate::tick::{EventKind, Presence};

pub(super) fn card(number: usize, uuid: &str) -> DeviceReading {
    let mut reading = device(&format!("cuda:{number}"), 100);
    reading.device.uuid = Some(uuid.to_owned());
    reading
}

/// Eight cards, each holding so many MiB more than the one before, numbered as the driver does.
pub(super) fn cards(without: &[usize]) -> Vec<DeviceReading> {
    let those = (0..8).filter(|card| !without.contains(card));
    those
        .enumerate()
        .map(|(number, card)| {
            let mut reading = device(&format!("cuda:{number}"), 100 + 10 * card as u64);
            reading.device.uuid = Some(format!("GPU-{card}"));
            reading
        })
        .collect()
}

pub(super) fn presence<'a>(tick: &'a Tick, uuid: &str) -> &'a DeviceTick {
    tick.devices.iter().find(|device| device.snapshot.device.uuid.as_deref() == Some(uuid)).unwrap()
}

pub(super) fn at(script: &Script, watcher: &mut Watcher, second: u64, devices: Vec<DeviceReading>) -> Tick {
    script.lock().unwrap().devices = devices;
    watcher.tick(Duration::from_secs(second))
}

#[test]
fn a_card_that_falls_off_is_lost_under_its_own_id_and_the_others_keep_theirs() {
    let (script, mut watcher) = watcher();
    (0..3).for_each(|second| drop(at(&script, &mut watcher, second, cards(&[]))));
    let tick = at(&script, &mut watcher, 3, cards(&[4]));
    assert_eq!((tick.devices.len(), kinds(&tick)), (8, vec![EventKind::Lost]));
    let lost = presence(&tick, "GPU-4");
    let Presence::Lost { since, reason } = &lost.presence else { panic!("{:?}", lost.presence) };
    assert_eq!((since, reason.as_str()), (&tick.time, "the driver does not list it any more"));
    assert_eq!((lost.snapshot.device.id.as_str(), lost.snapshot.level), ("cuda:4", None));
    assert_eq!(lost.snapshot.usage.used_bytes.value, None);
    assert_eq!(lost.snapshot.usage.used_bytes.unavailable.as_deref(), Some(reason.as_str()));
    for (number, device) in tick.devices.iter().enumerate() {
        assert_eq!(device.snapshot.device.id, format!("cuda:{number}"), "ids stay");
        assert_eq!(device.snapshot.device.uuid, Some(format!("GPU-{number}")));
    }
    assert!(at(&script, &mut watcher, 4, cards(&[4])).events.is_empty(), "told once");
    let samples = &watcher.history().devices["cuda:5"];
    assert!(samples.iter().all(|sample| sample.used_bytes == Some(ByteSize::mib(150))), "its own history");
    assert_eq!(watcher.history().devices["cuda:4"].last().unwrap().used_bytes, None);
    // Much later it is still missed, and then it comes back.
    let tick = at(&script, &mut watcher, 200_000, cards(&[4]));
    assert_eq!(
        presence(&tick, "GPU-4").presence,
        Presence::Lost { since: since.clone(), reason: reason.clone() }
    );
    let tick = at(&script, &mut watcher, 200_001, cards(&[]));
    assert_eq!(kinds(&tick), [EventKind::Back]);
    assert_eq!(presence(&tick, "GPU-4").presence, Presence::Present);
    assert!(tick.events[0].text.contains("it was lost since"), "{:?}", tick.events);
}

#[test]
fn a_card_that_its_driver_cannot_ask_is_lost_with_what_the_driver_says() {
    let (script, mut watcher) = watcher();
    at(&script, &mut watcher, 0, cards(&[]));
    let lost = cards(&[]).remove(4).device;
    script.lock().unwrap().missing =
        vec![Missing { device: lost, place: None, reason: "GPU is lost".into() }];
    let mut without = cards(&[]);
    without.remove(4);
    let tick = at(&script, &mut watcher, 1, without);
    let lost = presence(&tick, "GPU-4");
    assert!(matches!(&lost.presence, Presence::Lost { reason, .. } if reason == "GPU is lost"));
    assert_eq!(tick.events[0].text, "scripted is lost: GPU is lost");
    // One that nobody has ever seen.
    let (script, mut watcher) = super::tests::watcher();
    let device = vramkit::monitor::DeviceName { id: "cuda:0".into(), name: "a card".into(), uuid: None };
    script.lock().unwrap().missing = vec![Missing { device, place: None, reason: "GPU is lost".into() }];
    let tick = at(&script, &mut watcher, 0, Vec::new());
    assert!(matches!(tick.devices[0].presence, Presence::Lost { .. }));
    assert_eq!(kinds(&tick), [EventKind::Lost], "told at the first look, too");
    script.lock().unwrap().missing.clear();
    let tick = at(&script, &mut watcher, 1, vec![card(0, "GPU-0")]);
    assert_eq!((tick.devices.len(), tick.devices[0].presence.clone()), (1, Presence::Present));
}

#[test]
fn another_card_in_the_place_of_a_lost_one_takes_its_id() {
    let (script, mut watcher) = watcher();
    at(&script, &mut watcher, 0, vec![card(0, "GPU-0"), card(1, "GPU-1")]);
    at(&script, &mut watcher, 1, vec![card(0, "GPU-1")]);
    let tick = at(&script, &mut watcher, 2, vec![card(0, "GPU-2"), card(1, "GPU-1")]);
    let ids: Vec<_> =
        tick.devices.iter().map(|device| device.snapshot.device.uuid.as_deref().unwrap()).collect();
    assert_eq!(ids, ["GPU-2", "GPU-1"]);
    assert!(tick.events[0].text.contains("in the place of GPU-0, which was lost"), "{:?}", tick.events);
    assert!(tick.devices.iter().all(|device| device.presence == Presence::Present));
}

#[test]
fn a_card_that_is_changed_between_two_readings_is_told_and_so_is_one_that_was_lost_from_the_start() {
    let (script, mut watcher) = watcher();
    at(&script, &mut watcher, 0, vec![card(0, "GPU-0"), card(1, "GPU-1")]);
    let tick = at(&script, &mut watcher, 1, vec![card(0, "GPU-0"), card(1, "GPU-9")]);
    assert_eq!((tick.devices.len(), kinds(&tick)), (2, vec![EventKind::Appeared]));
    let text = &tick.events[0].text;
    assert!(text.contains("in the place of GPU-1, which is not listed any more"), "{text}");
    let tick = at(&script, &mut watcher, 2, vec![card(0, "GPU-0"), card(1, "GPU-1")]);
    assert!(tick.events[0].text.contains("in the place of GPU-9"), "{:?}", tick.events);
    // Numbered anew, each is who it was.
    let tick = at(&script, &mut watcher, 3, vec![card(0, "GPU-1"), card(1, "GPU-0")]);
    assert!(tick.events.is_empty(), "{:?}", tick.events);

    let (script, mut watcher) = super::tests::watcher();
    let device = vramkit::monitor::DeviceName { id: "cuda:0".into(), name: "a card".into(), uuid: None };
    script.lock().unwrap().missing = vec![Missing { device, place: None, reason: "GPU is lost".into() }];
    at(&script, &mut watcher, 0, Vec::new());
    script.lock().unwrap().missing.clear();
    let tick = at(&script, &mut watcher, 1, vec![card(0, "GPU-0")]);
    assert_eq!(kinds(&tick), [EventKind::Back]);
    assert!(tick.events[0].text.contains("here, where a card was lost since"), "{:?}", tick.events);
}

#[test]
fn memory_that_cannot_be_read_is_told_once_and_said_for_as_long_as_it_lasts() {
    let (script, mut watcher) = watcher();
    let refused = || {
        let mut card = card(1, "GPU-1");
        card.usage = vramkit::monitor::Usage::unavailable(card.usage.used_bytes.source, "unknown error");
        card
    };
    let said = |tick: &Tick| {
        let of_it = |absent: &&Unavailable| absent.source == "memory of cuda:1";
        tick.unavailable.iter().find(of_it).map(|absent| absent.reason.clone())
    };
    const WORDS: &str = "its memory cannot be read: unknown error";
    let tick = at(&script, &mut watcher, 0, vec![card(0, "GPU-0"), refused()]);
    assert_eq!((kinds(&tick), tick.events[0].device.as_str()), (vec![EventKind::SourceFailing], "cuda:1"));
    assert_eq!((tick.events[0].text.as_str(), said(&tick).as_deref()), (WORDS, Some(WORDS)));
    assert_eq!(presence(&tick, "GPU-1").presence, Presence::Present, "the card is there");
    let source = &tick.sources[0];
    assert_eq!((source.health, source.reason.clone()), (Health::Up, Some(format!("cuda:1: {WORDS}"))));
    let tick = at(&script, &mut watcher, 1, vec![card(0, "GPU-0"), refused()]);
    assert!(tick.events.is_empty() && said(&tick).is_some(), "told once");
    let tick = at(&script, &mut watcher, 2, vec![card(0, "GPU-0"), card(1, "GPU-1")]);
    assert_eq!((kinds(&tick), said(&tick)), (vec![EventKind::SourceBack], None));
    assert_eq!(tick.sources[0].reason, None);
    // One that is lost is told as that.
    at(&script, &mut watcher, 3, vec![card(0, "GPU-0"), refused()]);
    let tick = at(&script, &mut watcher, 4, vec![card(0, "GPU-0")]);
    assert_eq!((kinds(&tick), said(&tick)), (vec![EventKind::Lost], None));
}

#[test]
fn parts_and_programs_own_devices_that_go_are_gone_but_a_part_goes_with_its_card() {
    let (script, mut watcher) = watcher();
    let part = |number: usize| {
        let mut part = device(&format!("cuda:0/mig:{number}"), 10);
        (part.device.uuid, part.class) = (Some(format!("MIG-{number}")), DeviceClass::GpuPart);
        part
    };
    let mut simulated = device("sim", 10);
    simulated.class = DeviceClass::Simulated;
    at(&script, &mut watcher, 0, vec![card(0, "GPU-0"), part(0), part(1), simulated]);
    let tick = at(&script, &mut watcher, 1, vec![card(0, "GPU-0"), part(1)]);
    assert_eq!((tick.devices.len(), kinds(&tick)), (2, vec![EventKind::Lost, EventKind::Lost]));
    let tick = at(&script, &mut watcher, 2, Vec::new());
    let lost = |device: &DeviceTick| matches!(device.presence, Presence::Lost { .. });
    assert!(tick.devices.len() == 2 && tick.devices.iter().all(lost), "{:?}", tick.devices);
    let ids: Vec<&str> = tick.devices.iter().map(|device| device.snapshot.device.id.as_str()).collect();
    assert_eq!(ids, ["cuda:0", "cuda:0/mig:1"]);
}

/// Cards whose source answers as often as it is let, beside a machine.
fn with_gate() -> (Script, Sender<()>, Watcher) {
    let (open, gate) = mpsc::channel();
    let (cards, host) = (Script::default(), Script::default());
    host.lock().unwrap().devices = vec![device("host", 10)];
    host.lock().unwrap().devices[0].class = DeviceClass::Machine;
    let mut behind = scripted(&cards);
    let gated = source_fn("gated", move || {
        let _ = gate.recv();
        behind.read()
    });
    let sources: Vec<Box<dyn Source>> = vec![Box::new(gated), Box::new(scripted(&host))];
    (cards, open, Watcher::new(sources, patient()).unwrap())
}

#[test]
fn a_source_that_hangs_delays_nobody_and_what_it_lists_is_unread() {
    let (script, open, mut watcher) = with_gate();
    let mut high = card(0, "GPU-0");
    high.usage.used_bytes.value = Some(ByteSize::mib(990));
    script.lock().unwrap().devices = vec![high];
    open.send(()).unwrap();
    let tick = watcher.tick(Duration::ZERO);
    assert_eq!(tick.devices[0].snapshot.level, Some(PressureLevel::Critical));
    watcher.config.patience = Duration::from_millis(300);
    let tick = watcher.tick(Duration::from_secs(1));
    let Presence::Unread { since, reason } = &tick.devices[0].presence else {
        panic!("{:?}", tick.devices[0])
    };
    assert_eq!(reason, "has not answered within 300ms");
    assert!(*since <= tick.time);
    let snapshot = &tick.devices[0].snapshot;
    assert_eq!((snapshot.device.id.as_str(), snapshot.level), ("cuda:0", None));
    assert_eq!(snapshot.usage.used_bytes.value, None, "old numbers are not told as new");
    assert_eq!(
        (tick.devices[1].snapshot.device.id.as_str(), &tick.devices[1].presence),
        ("host", &Presence::Present)
    );
    assert_eq!((tick.sources[0].health, tick.sources[1].health), (Health::Late, Health::Up));
    assert_eq!(kinds(&tick), [EventKind::SourceLate]);
    // It is not waited for again.
    watcher.config.patience = Duration::from_secs(3600);
    let tick = watcher.tick(Duration::from_secs(2));
    assert!(tick.events.is_empty() && &tick.sources[0].since == since);
    // It answers what it was asked, and then what it is asked anew.
    open.send(()).unwrap();
    open.send(()).unwrap();
    let tick = (3..10_000)
        .map(|second| watcher.tick(Duration::from_secs(second)))
        .find(|tick| tick.sources[0].health == Health::Up)
        .unwrap();
    assert_eq!(kinds(&tick), [EventKind::SourceBack]);
    assert_eq!(
        (tick.devices[0].presence.clone(), tick.sources[0].answered.as_ref()),
        (Presence::Present, Some(&tick.time))
    );
}

#[test]
fn a_source_that_fails_leaves_its_cards_unread_and_one_whose_driver_is_gone_has_lost_them() {
    let (script, mut watcher) = watcher();
    at(&script, &mut watcher, 0, cards(&[]));
    let ill = |health: Health, reason: &str| Readings {
        health,
        unavailable: vec![Unavailable { source: "nvml".into(), reason: reason.into() }],
        ..Readings::default()
    };
    *script.lock().unwrap() = ill(Health::Failing, "unknown error");
    let tick = watcher.tick(Duration::from_secs(1));
    assert!(
        matches!(&presence(&tick, "GPU-7").presence, Presence::Unread { reason, .. } if reason == "unknown error")
    );
    assert_eq!(kinds(&tick), [EventKind::SourceFailing]);
    *script.lock().unwrap() = ill(Health::Absent, "the driver is not loaded");
    let tick = watcher.tick(Duration::from_secs(2));
    assert_eq!(tick.sources[0].health, Health::Failing, "somebody misses it");
    assert!(
        matches!(&presence(&tick, "GPU-7").presence, Presence::Lost { reason, .. } if reason.contains("not loaded"))
    );
    assert_eq!(kinds(&tick), [EventKind::Lost; 8]);
    *script.lock().unwrap() = Readings { devices: cards(&[]), ..Readings::default() };
    let back = kinds(&watcher.tick(Duration::from_secs(3)));
    assert_eq!(back, [&[EventKind::SourceBack] as &[_], &[EventKind::Back; 8]].concat());
    // What was never here is missed by nobody.
    let (script, mut watcher) = super::tests::watcher();
    *script.lock().unwrap() = ill(Health::Absent, "no card of its make");
    let tick = watcher.tick(Duration::ZERO);
    assert_eq!((tick.sources[0].health, tick.events.len(), tick.devices.len()), (Health::Absent, 0, 0));
}

#[test]
fn a_card_that_is_given_to_a_virtual_machine_is_not_lost() {
    let (script, mut watcher) = watcher();
    let places = |count: usize| {
        (0..count).map(|card| (format!("cuda:{card}"), format!("0000:{card}7:00.0"))).collect()
    };
    script.lock().unwrap().places = places(8);
    at(&script, &mut watcher, 0, cards(&[]));
    // For a moment no driver holds it.
    script.lock().unwrap().places.clear();
    let tick = at(&script, &mut watcher, 1, cards(&[7]));
    assert!(matches!(presence(&tick, "GPU-7").presence, Presence::Lost { .. }));
    script.lock().unwrap().given = ["0000:77:00.0".to_owned()].into();
    let tick = at(&script, &mut watcher, 2, cards(&[7]));
    let Presence::Given { since, reason } = &presence(&tick, "GPU-7").presence else { panic!("{tick:?}") };
    assert!(*since == tick.time && reason.contains("0000:77:00.0, the driver vfio-pci"), "{reason}");
    assert_eq!((kinds(&tick), tick.devices.len()), (vec![EventKind::Lost], 8));
    assert!(tick.events[0].text.contains("is given away"), "{:?}", tick.events);
    assert!(at(&script, &mut watcher, 3, cards(&[7])).events.is_empty(), "told once");
    // The driver may have none left at all.
    script.lock().unwrap().health = Health::Absent;
    let tick = at(&script, &mut watcher, 4, Vec::new());
    assert!(matches!(presence(&tick, "GPU-7").presence, Presence::Given { .. }));
    assert!(matches!(presence(&tick, "GPU-6").presence, Presence::Lost { .. }));
    assert_eq!(tick.sources[0].health, Health::Failing, "seven of them nobody gave away");
    script.lock().unwrap().given = (0..8).map(|card| format!("0000:{card}7:00.0")).collect();
    let tick = at(&script, &mut watcher, 5, Vec::new());
    assert_eq!(tick.sources[0].health, Health::Absent, "and no source fails for what was given away");
    *script.lock().unwrap() = Readings { places: places(8), ..Readings::default() };
    let tick = at(&script, &mut watcher, 6, cards(&[]));
    let texts: Vec<&str> = tick.events.iter().map(|event| event.text.as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("was given away since")), "{texts:?}");
    assert_eq!(presence(&tick, "GPU-7").presence, Presence::Present);
}

#[test]
fn parts_of_a_card_that_comes_back_without_them_are_gone() {
    let (script, mut watcher) = watcher();
    let part = || {
        let mut part = device("cuda:0/mig:0", 10);
        (part.class, part.device.uuid) = (DeviceClass::GpuPart, Some("MIG-0".into()));
        part
    };
    at(&script, &mut watcher, 0, vec![card(0, "GPU-0"), part()]);
    let tick = at(&script, &mut watcher, 1, Vec::new());
    assert!(tick.devices.iter().all(|device| matches!(device.presence, Presence::Lost { .. })), "{tick:?}");
    let tick = at(&script, &mut watcher, 2, vec![card(0, "GPU-0")]);
    assert_eq!((tick.devices.len(), tick.devices[0].presence.clone()), (1, Presence::Present));
}

#[test]
fn a_place_that_cannot_be_asked_is_the_card_that_is_not_listed() {
    let (script, mut watcher) = watcher();
    let all = |order: [&str; 3]| -> Vec<DeviceReading> {
        order.iter().enumerate().map(|(number, uuid)| card(number, uuid)).collect()
    };
    at(&script, &mut watcher, 0, all(["GPU-0", "GPU-1", "GPU-2"]));
    // Numbered anew, and then the last place does not answer: it was the first card's.
    at(&script, &mut watcher, 1, all(["GPU-2", "GPU-1", "GPU-0"]));
    let device = vramkit::monitor::DeviceName { id: "cuda:2".into(), name: "a card".into(), uuid: None };
    script.lock().unwrap().missing = vec![Missing { device, place: None, reason: "fell off the bus".into() }];
    let tick = at(&script, &mut watcher, 2, all(["GPU-2", "GPU-1", "GPU-0"])[..2].to_vec());
    let lost = presence(&tick, "GPU-0");
    assert!(
        matches!(&lost.presence, Presence::Lost { reason, .. } if reason == "fell off the bus"),
        "{lost:?}"
    );
    assert_eq!((tick.devices.len(), lost.snapshot.device.id.as_str()), (3, "cuda:0"));
    assert_eq!(presence(&tick, "GPU-2").presence, Presence::Present);
    assert_eq!(tick.events.len(), 1, "{:?}", tick.events);
}

#[test]
fn what_falls_off_after_another_has_gone_is_who_it_was() {
    for is_given in [false, true] {
        let (script, mut watcher) = watcher();
        let places = |cards: &[usize]| {
            let own = cards.iter().enumerate();
            own.map(|(number, card)| (format!("cuda:{number}"), format!("0000:{card}7:00.0"))).collect()
        };
        script.lock().unwrap().places = places(&[0, 1, 2, 3]);
        let all: Vec<DeviceReading> = (0..4).map(|number| card(number, &format!("GPU-{number}"))).collect();
        at(&script, &mut watcher, 0, all);
        // The second goes, and the others are numbered anew.
        script.lock().unwrap().places = places(&[0, 2, 3]);
        script.lock().unwrap().given = is_given.then(|| "0000:17:00.0".to_owned()).into_iter().collect();
        at(&script, &mut watcher, 1, vec![card(0, "GPU-0"), card(1, "GPU-2"), card(2, "GPU-3")]);
        // What says no identity for a moment is who it was.
        let mut nameless = card(1, "");
        nameless.device.uuid = None;
        let tick = at(&script, &mut watcher, 2, vec![card(0, "GPU-0"), nameless, card(2, "GPU-3")]);
        assert!(tick.events.is_empty(), "{is_given} {:?}", tick.events);
        let device = vramkit::monitor::DeviceName { id: "cuda:2".into(), name: "a card".into(), uuid: None };
        let missing = Missing { device, place: None, reason: "fell off the bus".into() };
        script.lock().unwrap().missing = vec![missing];
        script.lock().unwrap().places = places(&[0, 2]);
        for second in 3..6 {
            let tick = at(&script, &mut watcher, second, vec![card(0, "GPU-0"), card(1, "GPU-2")]);
            let reason = |uuid: &str| match &presence(&tick, uuid).presence {
                Presence::Lost { reason, .. } | Presence::Given { reason, .. } => reason.clone(),
                other => panic!("{other:?}"),
            };
            assert_eq!((tick.devices.len(), tick.events.len()), (4, usize::from(second == 3)), "{tick:?}");
            assert_eq!(reason("GPU-3"), "fell off the bus");
            let words = if is_given { "vfio-pci" } else { "does not list it" };
            assert!(reason("GPU-1").contains(words), "{}", reason("GPU-1"));
        }
    }
}

#[test]
fn a_card_that_the_driver_is_told_to_leave_out_is_not_missed() {
    let (script, mut watcher) = watcher();
    let places = [("cuda:0", "0000:17:00.0"), ("cuda:1", "0000:18:00.0")];
    script.lock().unwrap().places = places.map(|(id, place)| (id.to_owned(), place.to_owned())).into();
    at(&script, &mut watcher, 0, vec![card(0, "GPU-0"), card(1, "GPU-1")]);
    script.lock().unwrap().excluded = ["0000:18:00.0".to_owned()].into();
    let tick = at(&script, &mut watcher, 1, vec![card(0, "GPU-0")]);
    assert_eq!((tick.devices.len(), tick.events[0].text.contains("is excluded")), (1, true), "{tick:?}");
}

#[test]
fn a_card_that_was_given_away_before_is_here_when_it_comes_back() {
    let (script, mut watcher) = watcher();
    let place = "0000:18:00.0".to_owned();
    script.lock().unwrap().given = [place.clone()].into();
    let tick = at(&script, &mut watcher, 0, vec![card(0, "GPU-0")]);
    let away = &tick.devices[1];
    assert!(matches!(away.presence, Presence::Given { .. }), "{tick:?}");
    assert_eq!(away.snapshot.device.id, "pci:0000:18:00.0");
    assert!(at(&script, &mut watcher, 1, vec![card(0, "GPU-0")]).events.is_empty());
    script.lock().unwrap().given.clear();
    script.lock().unwrap().places = [("cuda:1".to_owned(), place)].into();
    let tick = at(&script, &mut watcher, 2, vec![card(0, "GPU-0"), card(1, "GPU-1")]);
    assert_eq!(
        (tick.devices.len(), presence(&tick, "GPU-1").presence.clone()),
        (2, Presence::Present),
        "{tick:?}"
    );
}
