//! The detectors of leaks on labelled series.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use vramkit::ByteSize;
use vramkit::pressure::leak::{GrowthDetector, GrowthEvent};
use vramkit_testing::{Healthy, series};

const GIB: f64 = (1u64 << 30) as f64;

/// What a detector says of a series, one sample a second.
fn events(used: impl IntoIterator<Item = f64>) -> Vec<(u64, GrowthEvent)> {
    let mut detector = GrowthDetector::new();
    let push = |(second, used): (usize, f64)| {
        let event = detector.push(Duration::from_secs(second as u64), ByteSize::new(used as u64))?;
        Some((second as u64, event))
    };
    used.into_iter().enumerate().filter_map(push).collect()
}

#[test]
fn a_fast_leak_is_told_once_within_six_minutes_and_taken_back_when_it_stops() {
    let leak = (0..900).map(|second| GIB * (1.0 + 0.08 * f64::from(second) / 60.0));
    let steady = std::iter::repeat_n(GIB * 2.2, 1200);
    let events = events(leak.chain(steady));
    let [(at, GrowthEvent::Fast(growth)), (stopped, GrowthEvent::Stopped)] = events[..] else {
        panic!("one verdict for one cause, and it is taken back: {events:?}")
    };
    assert!(growth.growth_ratio > 0.3 && at <= 360 && stopped <= 1200, "{events:?}");
}

#[test]
fn a_slow_leak_is_found_at_a_longer_scale() {
    let events = events((0..7200).map(|second| GIB * (4.0 + 0.012 * f64::from(second) / 60.0)));
    assert!(matches!(events[..], [(at, GrowthEvent::Sustained(_))] if at < 4000), "{events:?}");
}

#[test]
fn what_does_not_grow_without_end_is_left_alone() {
    let step = (0..3600).map(|second| if second < 1700 { GIB } else { 2.0 * GIB });
    let sawtooth = (0..3600).map(|second| GIB * (1.0 + f64::from(second % 90) / 90.0));
    let falling = (0..3600).map(|second| GIB * (4.0 - f64::from(second) / 3600.0));
    let zero = std::iter::repeat_n(0.0, 3600);
    for quiet in [
        &mut step.into_iter() as &mut dyn Iterator<Item = f64>,
        &mut sawtooth.into_iter(),
        &mut falling.into_iter(),
        &mut zero.into_iter(),
    ] {
        assert_eq!(events(quiet), []);
    }
}

#[test]
fn clocks_that_go_back_and_gaps_do_no_harm() {
    let mut detector = GrowthDetector::new();
    let mut push = |second: u64, mib: u64| detector.push(Duration::from_secs(second), ByteSize::mib(mib));
    for second in 0..280 {
        assert_eq!(push(second, 1000 + second), None);
        assert_eq!(push(second / 2, 0), None, "a sample from before is left out");
    }
    // After a long gap there is nothing to compare with.
    assert_eq!(push(100_000, 5000), None);
    for second in 100_001..100_290 {
        assert_eq!(push(second, 5000), None);
    }
    assert_eq!(push(u64::MAX / 2, 6000), None);
}

/// A smaller run of `cargo bench -p vramkit-testing --bench leaks`, on seeds that nothing was tuned on.
#[test]
fn rates_on_labelled_series_are_what_is_documented() {
    let growing = |class, leaking, seed| {
        let series = series(class, leaking, seed);
        let start = series.leak.map_or(0, |leak| leak.start as u64);
        let found = events(series.used.iter().copied())
            .iter()
            .any(|(at, event)| *event != GrowthEvent::Stopped && *at >= start);
        (found, series.leak)
    };
    let (mut healthy, mut wrong, mut leaking, mut found) = (0, 0, 0, 0);
    for class in Healthy::ALL {
        for seed in 2_000_000..2_000_012 {
            if !matches!(class, Healthy::Sine | Healthy::Ramp) {
                healthy += 1;
                wrong += u32::from(growing(class, false, seed).0);
            }
            let (is_found, leak) = growing(class, true, seed);
            if leak.is_some_and(|leak| leak.reached >= 0.2) {
                leaking += 1;
                found += u32::from(is_found);
            }
        }
    }
    assert!(wrong <= 2, "{wrong} false alarms in {healthy}");
    assert!(f64::from(found) >= 0.8 * f64::from(leaking), "{found} of {leaking}");
}
