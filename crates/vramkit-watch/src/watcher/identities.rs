//! Which card is which: by UUIDs, models and numbers.

use vramkit::ByteSize;
use vramkit::pressure::PressureLevel;

use super::absence::{at, card};
use super::tests::{device, kinds, watcher};
use super::*;
use crate::tick::EventKind;

#[test]
fn cards_without_uuids_or_with_the_same_one_are_known_by_their_ids() {
    let (script, mut watcher) = watcher();
    let same = || vec![card(0, "GPU"), card(1, "GPU"), card(2, ""), device("cuda:3", 1)];
    at(&script, &mut watcher, 0, same());
    let tick = at(&script, &mut watcher, 1, same());
    assert!(tick.events.is_empty() && tick.devices.len() == 4, "{:?}", tick.events);
    let says = |at: usize, words: &str| tick.devices[at].notes.iter().any(|note| note.contains(words));
    assert!(says(0, "same UUID") && says(1, "same UUID") && says(2, "no UUID") && says(3, "no UUID"));
    // One that says no UUID for once is who it was.
    at(&script, &mut watcher, 2, vec![card(0, "GPU-0")]);
    let mut unsaid = card(0, "");
    unsaid.device.uuid = None;
    let tick = at(&script, &mut watcher, 3, vec![unsaid]);
    assert!(!kinds(&tick).contains(&EventKind::Appeared), "{:?}", tick.events);
}

#[test]
fn a_card_that_says_who_it_is_later_goes_on_with_its_history() {
    let (script, mut watcher) = watcher();
    at(&script, &mut watcher, 0, vec![device("cuda:0", 10)]);
    let tick = at(&script, &mut watcher, 1, vec![card(0, "GPU-0")]);
    assert!(tick.events.is_empty(), "{:?}", tick.events);
    let used: Vec<_> = watcher.history().devices["cuda:0"].iter().map(|sample| sample.used_bytes).collect();
    assert_eq!(used, [Some(ByteSize::mib(10)), Some(ByteSize::mib(100))]);
}

#[test]
fn another_model_without_an_identity_is_another_card() {
    let (script, mut watcher) = watcher();
    let named = |name: &str, used| {
        let mut reading = device("cuda:0", used);
        reading.device.name = name.into();
        vec![reading]
    };
    (0..5).for_each(|second| drop(at(&script, &mut watcher, second, named("RTX 4090", 950))));
    at(&script, &mut watcher, 5, Vec::new());
    let tick = at(&script, &mut watcher, 6, named("H100", 10));
    let texts: Vec<&str> = tick.events.iter().map(|event| event.text.as_str()).collect();
    assert_eq!(texts, ["H100 is here, in the place of RTX 4090"]);
    assert_eq!(tick.devices[0].snapshot.level, Some(PressureLevel::Normal));
    assert_eq!(watcher.history().devices["cuda:0"].len(), 1, "it has no past");
    // A name that cannot be read once is none.
    for (second, name) in [(7, "a card without a name (busy)"), (8, "AMD card at 0000:c1:00.0"), (9, "H100")]
    {
        assert!(at(&script, &mut watcher, second, named(name, 10)).events.is_empty());
    }
    assert_eq!(watcher.history().devices["cuda:0"].len(), 4);
}

#[test]
fn of_two_models_without_identities_it_is_known_which_one_fell_off() {
    let (script, mut watcher) = watcher();
    let named = |id: &str, name: &str, used| {
        let mut reading = device(id, used);
        reading.device.name = name.into();
        reading
    };
    at(&script, &mut watcher, 0, vec![named("cuda:0", "RTX 4090", 100), named("cuda:1", "H100", 200)]);
    // What is left becomes the first.
    let tick = at(&script, &mut watcher, 1, vec![named("cuda:0", "H100", 200)]);
    let seen = |tick: &Tick| -> Vec<_> {
        let of = |device: &DeviceTick| {
            let name = &device.snapshot.device;
            (name.id.clone(), name.name.clone(), device.presence == Presence::Present)
        };
        tick.devices.iter().map(of).collect()
    };
    let (first, second) = ("cuda:0".to_owned(), "cuda:1".to_owned());
    let both = |is_here| {
        vec![(first.clone(), "RTX 4090".to_owned(), is_here), (second.clone(), "H100".to_owned(), true)]
    };
    assert_eq!((seen(&tick), kinds(&tick)), (both(false), vec![EventKind::Lost]));
    let used: Vec<_> = watcher.history().devices["cuda:1"].iter().map(|sample| sample.used_bytes).collect();
    assert_eq!(used, [Some(ByteSize::mib(200)); 2]);
    let tick =
        at(&script, &mut watcher, 2, vec![named("cuda:0", "RTX 4090", 100), named("cuda:1", "H100", 200)]);
    assert_eq!((seen(&tick), kinds(&tick)), (both(true), vec![EventKind::Back]));
    // Of two of a model that is not known.
    let tick = at(&script, &mut watcher, 3, vec![named("cuda:0", "H100", 1), named("cuda:1", "H100", 200)]);
    assert!(tick.events[0].text.contains("H100 is here, in the place of RTX 4090"), "{:?}", tick.events);
}

#[test]
fn cards_that_are_numbered_anew_stand_in_the_order_of_their_ids() {
    let (script, mut watcher) = watcher();
    at(&script, &mut watcher, 0, vec![card(0, "GPU-0"), card(1, "GPU-1"), card(2, "GPU-2")]);
    let tick = at(&script, &mut watcher, 1, vec![card(0, "GPU-2"), card(1, "GPU-0"), card(2, "GPU-1")]);
    let ids: Vec<&str> = tick.devices.iter().map(|device| device.snapshot.device.id.as_str()).collect();
    assert_eq!(ids, ["cuda:0", "cuda:1", "cuda:2"]);
}

#[test]
fn the_only_card_listed_may_be_one_that_is_missed() {
    let (script, mut watcher) = watcher();
    at(&script, &mut watcher, 0, vec![card(0, "GPU-0"), card(1, "GPU-1")]);
    // One falls off; the other becomes the first, and does not say who it is.
    let tick = at(&script, &mut watcher, 1, vec![device("cuda:0", 100)]);
    let here = tick.devices.iter().find(|device| device.presence == Presence::Present).unwrap();
    assert!(here.notes.iter().any(|note| note.contains("is not known")), "{:?}", here.notes);
    let (script, mut watcher) = super::tests::watcher();
    let tick = at(&script, &mut watcher, 0, vec![device("cuda:0", 100)]);
    assert!(tick.devices[0].notes.is_empty(), "one alone is the one");
}

#[test]
fn what_a_recording_tells_is_told_of_the_card_that_it_was_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.jsonl");
    let (script, mut before) = watcher();
    before.record(crate::record::TickRecorder::open(&path, 1 << 20).unwrap());
    at(&script, &mut before, 0, vec![card(0, "GPU-0"), card(1, "GPU-1"), card(2, "GPU-2")]);
    let tick = at(&script, &mut before, 1, vec![card(0, "GPU-0"), card(1, "GPU-2")]);
    assert_eq!(tick.events[0].device, "cuda:1");
    drop(before);
    let (script, mut after) = watcher();
    after.restore(&path).unwrap();
    let told = |watcher: &Watcher| watcher.history().events[0].device.clone();
    assert_eq!(told(&after), "cuda:1", "nobody has it yet");
    at(&script, &mut after, 2, vec![card(0, "GPU-0"), card(1, "GPU-2")]);
    assert_eq!(told(&after), "GPU-1");
    let tick = at(&script, &mut after, 3, vec![card(0, "GPU-0"), card(1, "GPU-2"), card(2, "GPU-1")]);
    assert_eq!((told(&after).as_str(), tick.devices.len()), ("cuda:2", 3));
    let (json, _) = after.history_json_piece(Some("cuda:2"));
    assert!(json.contains(r#""device":"cuda:2""#), "{json}");
}
