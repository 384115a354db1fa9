//! Leaks by owner: on simulated programs, on a pool, and on ledgers that nobody should believe.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use vramkit::ByteSize;
use vramkit::pool::{AGE_CLASSES, Holder, LedgerEntry, Purpose};
use vramkit::pressure::leak::{OwnerLeaks, TagEvent, TagLeak};
use vramkit::units::{SplitMix64, age_class};
use vramkit_testing::{Program, Serving};

/// What is suspected of a program, in order.
fn suspected(serving: Serving, leaking: bool, seed: u64) -> (Vec<TagLeak>, Program) {
    let mut program = Program::new(serving, leaking, seed);
    let mut leaks = OwnerLeaks::default();
    for (model, purpose, budget) in &program.budgets {
        leaks.set_budget(model, *purpose, Some(*budget));
    }
    let mut found = Vec::new();
    while let Some((now, ledger)) = program.step() {
        found.extend(leaks.check(now, &ledger).into_iter().filter_map(|event| match event {
            TagEvent::Suspected(leak) => Some(leak),
            _ => None,
        }));
    }
    (found, program)
}

/// A smaller run of `cargo bench -p vramkit-testing --bench owners`, on seeds that nothing was tuned on.
#[test]
fn nothing_is_suspected_of_healthy_programs() {
    for serving in Serving::HEALTHY.into_iter().chain([Serving::EndlessCache]) {
        for seed in 3_000_000..3_000_002 {
            assert_eq!(suspected(serving, false, seed).0, [], "{serving:?}, {seed}");
        }
    }
}

/// Requests with a tag each, of which some are never released, beside tags that stay: how many seconds of two hours are leaked in, and
/// in how many of them that is suspected.
fn leaked_requests(a_second: f64, leaked: f64, tensors: usize) -> (u64, u64) {
    const SIZE: ByteSize = ByteSize::mib(4);
    let entry = |purpose, tag: String, age: u64| {
        let mut entry = LedgerEntry { model: Holder::from("served"), purpose, tag, ..LedgerEntry::default() };
        (entry.allocations, entry.granted_bytes) = (1, SIZE);
        entry.by_age_bytes[age_class(Duration::from_secs(age))] = SIZE;
        entry
    };
    let (mut random, mut leaks) = (SplitMix64::new(5), OwnerLeaks::default());
    let mut live: Vec<(u64, u64, u64)> = Vec::new();
    let (mut made, mut due, mut leaking, mut suspected) = (0, 0.0, 0, 0);
    for second in 0..3 * 3600u64 {
        due += a_second;
        while due >= 1.0 {
            (due, made) = (due - 1.0, made + 1);
            let stays = random.unit() < leaked && second > 1800;
            let end = if stays { u64::MAX } else { second + 5 + (random.unit() * 60.0) as u64 };
            live.push((made, second, end));
        }
        live.retain(|request| request.2 > second);
        if second % 10 != 0 {
            continue;
        }
        let weights = (0..tensors).map(|tensor| entry(Purpose::Weights, format!("w{tensor}"), second));
        let requests =
            live.iter().map(|&(number, born, _)| entry(Purpose::Kv, format!("r{number}"), second - born));
        leaks.check(Duration::from_secs(second), &weights.chain(requests).collect::<Vec<_>>());
        if second > 3600 {
            leaking += 10;
            suspected += 10 * leaks.suspected().count().min(1) as u64;
        }
    }
    assert_eq!(leaks.unwatched(), 0);
    (leaking, suspected)
}

/// However many tags there are, none hides another.
#[test]
fn a_leak_among_thousands_of_tags_stays_suspected() {
    for (a_second, leaked, tensors) in [(10.0, 0.1, 0), (0.4, 0.1, 4096)] {
        let (leaking, suspected) = leaked_requests(a_second, leaked, tensors);
        assert!(suspected * 10 >= leaking * 9, "{suspected} s of {leaking}, {tensors} tensors");
    }
}

#[test]
fn leaks_are_found_in_their_tag_or_owner() {
    let (mut found, mut all) = (0, 0);
    for serving in [
        Serving::Plain,
        Serving::TaggedRequests,
        Serving::ManyOwners,
        Serving::ManyTags,
        Serving::RequestsBesideBuffer,
    ] {
        for seed in 3_000_000..3_000_003 {
            let (said, program) = suspected(serving, true, seed);
            let leak = program.leak.unwrap();
            for one in &said {
                assert_eq!((&one.model, one.purpose), (&leak.model, leak.purpose), "{serving:?}, {seed}");
                assert!(leak.tag.as_ref().is_none_or(|tag| *tag == one.tag), "{serving:?}, {seed}: {one:?}");
            }
            all += 1;
            found += usize::from(!said.is_empty());
        }
    }
    assert!(found + 1 >= all, "{found} of {all}");
}

/// A megabyte made every second that stays, and as many again that live for three seconds where `released` says so.
fn filling(second: u64, released: u64) -> LedgerEntry {
    let mut by_age_bytes = [ByteSize::ZERO; AGE_CLASSES];
    for age in 1..=second {
        by_age_bytes[age.ilog2() as usize + 1] += ByteSize::mb(1);
    }
    let mut released_by_age_bytes = [ByteSize::ZERO; AGE_CLASSES];
    released_by_age_bytes[2] = ByteSize::mb(second * released);
    LedgerEntry {
        model: "cache".into(),
        purpose: Purpose::Other,
        tag: "entries".into(),
        allocations: second,
        granted_bytes: ByteSize::mb(second),
        by_age_bytes,
        released_by_age_bytes,
    }
}

#[test]
fn an_owner_below_its_budget_fills_what_it_may() {
    let said = |budget: Option<ByteSize>| {
        let mut leaks = OwnerLeaks::default();
        leaks.set_budget(&"cache".into(), Purpose::Other, budget);
        let at = |second| leaks.check(Duration::from_secs(second), &[filling(second, 0)]).len();
        (10..4000).step_by(10).map(at).sum::<usize>()
    };
    assert_eq!(said(None), 1);
    assert_eq!(said(Some(ByteSize::gib(5))), 0);
    assert_eq!(said(Some(ByteSize::mib(500))), 1);
}

#[test]
fn what_fills_retains_until_its_kind_is_known_to_go_and_then_leaks_and_is_cleared_when_it_goes() {
    let mut leaks = OwnerLeaks::default();
    let mut said = Vec::new();
    let mut check = |second: u64, ledger: &[LedgerEntry]| {
        for event in leaks.check(Duration::from_secs(second), ledger) {
            let (word, leak) = match event {
                TagEvent::Retains(leak) => ("retains", leak),
                TagEvent::Suspected(leak) => ("suspected", leak),
                TagEvent::Cleared(leak) => ("cleared", leak),
                _ => continue,
            };
            said.push((word, leak.tag, second));
        }
        (leaks.retaining().count(), leaks.suspected().count())
    };
    for second in (10..3000).step_by(10) {
        check(second, &[filling(second, 0)]);
    }
    assert_eq!(check(3000, &[filling(3000, 0)]), (1, 0));
    for second in (3010..5000).step_by(10) {
        check(second, &[filling(second, 4)]);
    }
    assert_eq!(check(5000, &[filling(5000, 4)]), (0, 1));
    assert_eq!(check(5010, &[]), (0, 0));
    let words: Vec<(&str, &str)> = said.iter().map(|(word, tag, _)| (*word, tag.as_str())).collect();
    assert_eq!(words, [("retains", "entries"), ("suspected", "entries"), ("cleared", "entries")]);
    assert!((1200..2000).contains(&said[0].2) && (3010..3400).contains(&said[1].2), "{said:?}");
}

#[test]
fn a_program_that_does_not_count_releases_is_never_suspected() {
    for serving in [Serving::Plain, Serving::ManyOwners] {
        let (mut program, mut leaks) = (Program::new(serving, true, 3_000_000), OwnerLeaks::default());
        while let Some((now, mut ledger)) = program.step() {
            ledger.iter_mut().for_each(|entry| entry.released_by_age_bytes = Default::default());
            let events = leaks.check(now, &ledger);
            assert!(!events.iter().any(|event| matches!(event, TagEvent::Suspected(_))), "{events:?}");
        }
    }
}

fn any_bytes() -> impl Strategy<Value = ByteSize> {
    prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), 0u64..1 << 30].prop_map(ByteSize::new)
}

fn any_entry() -> impl Strategy<Value = LedgerEntry> {
    let names = (0usize..3, 0usize..4);
    let ages = || prop::array::uniform20(any_bytes());
    (names, any::<u64>(), any_bytes(), ages(), ages()).prop_map(
        |((model, tag), allocations, granted_bytes, by_age_bytes, released_by_age_bytes)| LedgerEntry {
            model: Holder::from(["", "a", "b"][model]),
            purpose: Purpose::Kv,
            tag: ["", "x", "y", "z"][tag].into(),
            allocations,
            granted_bytes,
            by_age_bytes,
            released_by_age_bytes,
        },
    )
}

/// What is told of each: nothing is said twice, nor taken back unsaid.
fn follow(
    told: &mut HashMap<(Holder, Purpose, String, bool), u8>,
    event: &TagEvent,
) -> Result<(), TestCaseError> {
    let (word, leak) = match event {
        TagEvent::Retains(leak) => (1, leak),
        TagEvent::Suspected(leak) => (2, leak),
        TagEvent::Cleared(leak) => (0, leak),
        _ => return Ok(()),
    };
    let key = (leak.model.clone(), leak.purpose, leak.tag.clone(), leak.whole_owner);
    let before = told.insert(key, word).unwrap_or(0);
    prop_assert!(
        if word == 0 { before > 0 } else { word > before },
        "{} after {}: {:?}",
        word,
        before,
        event
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever another process says, and whenever.
    #[test]
    fn no_ledger_panics(
        steps in prop::collection::vec((prop_oneof![0u64..100, any::<u64>()], prop::collection::vec(any_entry(), 0..8)), 1..60),
    ) {
        let (mut leaks, mut told, mut now) = (OwnerLeaks::default(), HashMap::new(), 0u64);
        for (after, ledger) in steps {
            now = now.saturating_add(after);
            for event in leaks.check(Duration::from_secs(now), &ledger) {
                follow(&mut told, &event)?;
            }
        }
    }

    /// A leak among noise, which begins, ends and begins again.
    #[test]
    fn what_is_told_is_told_once_until_it_is_cleared(
        seed in 0u64..1000,
        phases in prop::collection::vec((100u64..400, 0u64..5, 0u64..5), 1..5),
    ) {
        let (mut leaks, mut told) = (OwnerLeaks::default(), HashMap::new());
        let (mut random, mut now) = (vramkit_testing::Random::new(seed), 0);
        // When each that is left over was made.
        let mut left: [Vec<u64>; 3] = Default::default();
        let mut released = [0u64; 3];
        for (steps, stays, goes) in phases {
            for _ in 0..steps {
                now += 10;
                let mut ledger = Vec::new();
                for (tag, left) in left.iter_mut().enumerate() {
                    left.extend((0..random.below(stays + 1)).map(|_| now));
                    let gone = random.below(goes * goes + 1) as usize;
                    released[tag] += 2 * goes + gone.min(left.len()) as u64;
                    left.drain(..gone.min(left.len()));
                    let mut entry = filling(0, 0);
                    entry.tag = format!("tag-{tag}");
                    entry.allocations = left.len() as u64;
                    entry.granted_bytes = ByteSize::mb(left.len() as u64);
                    for made in left.iter() {
                        entry.by_age_bytes[vramkit::units::age_class(Duration::from_secs(now - made))] += ByteSize::mb(1);
                    }
                    entry.released_by_age_bytes[1] = ByteSize::mb(released[tag]);
                    ledger.extend(Some(entry).filter(|entry| entry.allocations > 0));
                }
                for event in leaks.check(Duration::from_secs(now), &ledger) {
                    follow(&mut told, &event)?;
                }
                let standing = told.values().filter(|word| **word > 0).count();
                prop_assert_eq!(standing, leaks.suspected().count() + leaks.retaining().count());
            }
        }
    }
}
