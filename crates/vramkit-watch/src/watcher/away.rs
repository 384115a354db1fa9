//! Cards that are not there and that nobody misses.

use super::absence::{at, card, presence};
use super::tests::{kinds, watcher};
use super::*;
use crate::source::Missing;
use crate::tick::EventKind;

fn barred(numbers: &[usize]) -> BTreeSet<String> {
    numbers.iter().map(|number| format!("cuda:{number}")).collect()
}

#[test]
fn a_card_that_the_user_may_not_ask_any_more_is_missed_by_nobody() {
    let (script, mut watcher) = watcher();
    // Another's from the start.
    script.lock().unwrap().barred = barred(&[3]);
    let all = || vec![card(0, "GPU-0"), card(1, "GPU-1"), card(2, "GPU-2")];
    let tick = at(&script, &mut watcher, 0, all());
    assert_eq!(tick.devices.len(), 3);
    script.lock().unwrap().barred = barred(&[1, 3]);
    let tick = at(&script, &mut watcher, 1, vec![card(0, "GPU-0"), card(2, "GPU-2")]);
    assert!(matches!(presence(&tick, "GPU-1").presence, Presence::Barred { .. }), "{tick:?}");
    assert_eq!((tick.devices.len(), kinds(&tick)), (3, vec![EventKind::Lost]));
    assert!(!tick.events[0].text.contains("is lost"), "{:?}", tick.events);
    // One that falls off beside it is another matter, however the driver numbers those that are left.
    for second in 2..4 {
        script.lock().unwrap().barred = if second == 2 { barred(&[1, 3]) } else { barred(&[0, 2]) };
        let left = vec![card(if second == 2 { 2 } else { 1 }, "GPU-2")];
        let tick = at(&script, &mut watcher, second, left);
        assert!(matches!(presence(&tick, "GPU-0").presence, Presence::Lost { .. }), "{tick:?}");
        assert!(matches!(presence(&tick, "GPU-1").presence, Presence::Barred { .. }), "{tick:?}");
    }
    script.lock().unwrap().barred = barred(&[3]);
    let tick = at(&script, &mut watcher, 4, all());
    assert_eq!(kinds(&tick), [EventKind::Back, EventKind::Back]);
    assert!(tick.events[1].text.contains("may be asked again"), "{:?}", tick.events);
}

#[test]
fn a_card_that_was_given_away_before_and_is_so_no_more_is_no_loss() {
    let place = || "0000:18:00.0".to_owned();
    for is_missed_between in [false, true] {
        let (script, mut watcher) = super::tests::watcher();
        script.lock().unwrap().given = [place()].into();
        let tick = at(&script, &mut watcher, 0, vec![card(0, "GPU-0")]);
        assert!(matches!(tick.devices[1].presence, Presence::Given { .. }), "{tick:?}");
        script.lock().unwrap().given.clear();
        if is_missed_between {
            let device = vramkit::monitor::DeviceName {
                id: format!("pci:{}", place()),
                name: "a card".into(),
                uuid: None,
            };
            script.lock().unwrap().missing =
                vec![Missing { device, place: Some(place()), reason: "not listed".into() }];
            let tick = at(&script, &mut watcher, 1, vec![card(0, "GPU-0")]);
            assert!(matches!(tick.devices[1].presence, Presence::Lost { .. }), "{tick:?}");
            script.lock().unwrap().missing.clear();
        }
        // Its place is not known where the driver says no identities there.
        let tick = at(&script, &mut watcher, 2, vec![card(0, "GPU-0"), card(1, "GPU-1")]);
        assert_eq!(tick.devices.len(), 2, "{tick:?}");
        assert!(tick.devices.iter().all(|device| device.presence == Presence::Present));
        assert!(tick.events.iter().any(|event| event.text.ends_with("no more")), "{:?}", tick.events);
        let tick = at(&script, &mut watcher, 3, vec![card(0, "GPU-0")]);
        assert!(matches!(presence(&tick, "GPU-1").presence, Presence::Lost { .. }), "it was listed since");
        assert!(watcher.history().devices.keys().all(|id| id.starts_with("cuda:")));
    }
}

#[test]
fn a_card_that_was_given_away_stays_so_while_its_source_does_not_answer() {
    let (script, mut watcher) = watcher();
    script.lock().unwrap().given = ["0000:18:00.0".to_owned()].into();
    let first = at(&script, &mut watcher, 0, vec![card(0, "GPU-0")]);
    let before = script.lock().unwrap().clone();
    *script.lock().unwrap() = Readings { health: Health::Failing, ..Readings::default() };
    let tick = watcher.tick(Duration::from_secs(1));
    assert!(matches!(presence(&tick, "GPU-0").presence, Presence::Unread { .. }), "{tick:?}");
    assert_eq!(tick.devices[1].presence, first.devices[1].presence);
    *script.lock().unwrap() = before;
    let tick = watcher.tick(Duration::from_secs(2));
    assert_eq!(kinds(&tick), [EventKind::SourceBack], "told once");
    assert_eq!(tick.devices[1].presence, first.devices[1].presence);
}
