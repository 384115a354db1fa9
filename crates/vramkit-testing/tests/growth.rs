//! The growth detector on what a machine with a GPU shows: small series with one thing in each, and the rates on the
//! realistic classes.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;
use vramkit::ByteSize;
use vramkit::pressure::leak::{GrowthDetector, GrowthEvent};
use vramkit_testing::Random;
use vramkit_testing::realistic::{FillKind, LeakKind, Readings, Workload, fill, healthy, leaking};

const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1024.0 * MIB;
/// A card of 80 GiB.
const CARD: ByteSize = ByteSize::gib(80);

/// Both judges: of one that knows the card, and of one that does not.
fn judges() -> [GrowthDetector; 2] {
    [GrowthDetector::of_capacity(CARD), GrowthDetector::new()]
}

/// What is said of bytes read every so many seconds, with the minutes at which it is said.
fn events(
    mut detector: GrowthDetector,
    period: f64,
    readings: u32,
    mut bytes_at: impl FnMut(f64) -> f64,
) -> Vec<(f64, GrowthEvent)> {
    let mut push = |i: u32| {
        let seconds = period * f64::from(i);
        let used = ByteSize::new(bytes_at(seconds) as u64);
        let event = detector.push(Duration::from_secs_f64(seconds), used)?;
        Some((seconds / 60.0, event))
    };
    (0..readings).filter_map(&mut push).collect()
}

fn verdicts(events: &[(f64, GrowthEvent)]) -> usize {
    events.iter().filter(|(_, event)| *event != GrowthEvent::Stopped).count()
}

#[test]
fn a_nearly_full_card_is_told_a_quarter_of_an_hour_ahead() {
    // 74 of 80 GiB, after ten minutes 200 MiB a minute more, in MiB: full at 40.7 min.
    let used = |t: f64| ((74.0 * GIB + 200.0 * MIB * (t - 600.0).max(0.0) / 60.0) / MIB).floor() * MIB;
    let events = events(GrowthDetector::of_capacity(CARD), 5.0, 489, used);
    assert!(matches!(events[..], [(at, GrowthEvent::FullSoon(_))] if at < 25.7), "{events:?}");
}

#[test]
fn a_leak_is_found_at_any_sampling_and_in_any_quantum() {
    for (period, readings) in
        [(0.2, 18_000), (1.0, 7200), (17.0, 2000), (60.0, 600), (300.0, 200), (600.0, 144)]
    {
        let end = period * f64::from(readings);
        for quantum in [1.0, 2.0 * MIB, 256.0 * MIB] {
            // From 20 to 30 GiB in the last four fifths of it.
            let used = |t: f64| {
                ((20.0 * GIB + 10.0 * GIB * (t - 0.2 * end).max(0.0) / (0.8 * end)) / quantum).floor()
                    * quantum
            };
            for judge in judges() {
                let events = events(judge, period, readings, used);
                assert_eq!(verdicts(&events), 1, "every {period} s, in {quantum}: {events:?}");
                assert!(events[0].0 > 0.2 * end / 60.0, "{events:?}");
            }
        }
    }
}

#[test]
fn leaks_in_steps_and_bursts_are_growth() {
    // 430 MiB more after each epoch of 12 minutes, read every minute.
    let epochs = |t: f64| 4.8 * GIB + 430.0 * MIB * ((t - 6000.0).max(0.0) / 720.0).floor();
    // Seven minutes of 1.2 GiB each.
    let burst = |t: f64| 22.4 * GIB + 1.2 * GIB * ((t - 2700.0) / 60.0).clamp(0.0, 7.0);
    for judge in judges() {
        let found = events(judge.clone(), 60.0, 420, epochs);
        assert!(verdicts(&found) == 1 && found[0].0 < 300.0, "{found:?}");
        let found = events(judge, 60.0, 100, burst);
        assert!(
            matches!(found[..], [(at, GrowthEvent::Fast(_)), (_, GrowthEvent::Stopped)] if at < 53.0),
            "{found:?}"
        );
    }
}

#[test]
fn what_is_small_comes_back_or_comes_in_steps_is_not_growth() {
    // 40 MiB in an hour and a half on an idle card.
    let idle = |t: f64| (30.0 + 40.0 * (t / 5400.0).min(1.0)) * MIB;
    // Two GiB more every two hours, as sequences get longer.
    let curriculum = |t: f64| 13.8 * GIB + 2.0 * GIB * (t / 8000.0).floor();
    // The same tooth again and again: 40 s, and a quarter of a GiB a second.
    let short_teeth = |t: f64| 30.0 * GIB + 0.25 * GIB * (t % 40.0);
    // Validation every half hour.
    let validation = |t: f64| 40.0 * GIB + if t % 1800.0 < 300.0 { 6.0 * GIB } else { 0.0 };
    for judge in judges() {
        for used in [&idle as &dyn Fn(f64) -> f64, &curriculum, &short_teeth, &validation] {
            assert_eq!(events(judge.clone(), 10.0, 6000, used), []);
        }
    }
}

#[test]
fn cells_of_a_notebook_are_not_growth() {
    let mut random = Random::new(5);
    let mut held = 0.5 * GIB;
    let mut next = 0.0;
    let cells = |t: f64| {
        if t >= next {
            next = t + random.exponential(600.0);
            let more = 12.0 * GIB * random.unit();
            held = if held + more > 25.0 * GIB { 0.5 * GIB } else { held + more };
        }
        held
    };
    assert_eq!(events(GrowthDetector::of_capacity(CARD), 60.0, 1440, cells), []);
}

#[test]
fn what_repeats_is_told_once_at_most() {
    // Teeth of ten minutes, and a load that follows the day, four days long.
    let teeth = |t: f64| 43.0 * GIB + 20.0 * GIB * (t / 600.0).fract();
    let days = |t: f64| 45.0 * GIB + 8.0 * GIB * (1.0 - (std::f64::consts::TAU * t / 86_400.0).cos());
    for judge in judges() {
        let found = events(judge.clone(), 2.0, 30_000, teeth);
        assert!(verdicts(&found) <= 1, "{found:?}");
        let found = events(judge, 60.0, 4 * 1440, days);
        assert!(verdicts(&found) <= 1 && found.iter().all(|(at, _)| *at < 1440.0), "{found:?}");
    }
}

#[test]
fn a_cache_that_fills_is_left_alone_or_taken_back() {
    let cache = |t: f64| 7.0 * GIB + 5.0 * GIB * (t / 8000.0).min(1.0).powf(0.45);
    for mut judge in judges() {
        let found = events(judge.clone(), 30.0, 1100, cache);
        assert!(verdicts(&found) <= 1, "{found:?}");
        (0..1100u32).for_each(|i| {
            let t = 30.0 * f64::from(i);
            judge.push(Duration::from_secs_f64(t), ByteSize::new(cache(t) as u64));
        });
        assert!(!judge.is_growing());
    }
}

#[test]
fn a_clock_that_is_set_does_not_stop_the_judgement() {
    // The leak begins after the clock was set, by so many seconds.
    for step in [-5.0, -90.0, -3600.0, -90_000.0, 5.0, 3600.0] {
        for mut judge in judges() {
            let mut told = Vec::new();
            for second in 0..9000u32 {
                let t = f64::from(second);
                let shown = 100_000.0 + t + if t > 3000.0 { step } else { 0.0 };
                let used = 20.0 * GIB + 8.0 * GIB * (t - 4000.0).max(0.0) / 5000.0;
                told.extend(judge.push(Duration::from_secs_f64(shown), ByteSize::new(used as u64)));
            }
            assert_eq!(told.len(), 1, "{step}: {told:?}");
            assert!(judge.is_growing());
        }
    }
}

/// A judge that has told growth of a leak of 100 MiB in ten seconds, read every ten, and the second up to which.
fn growing(mut judge: GrowthDetector) -> (GrowthDetector, u64, u64) {
    for at in 0..600 {
        judge.push(Duration::from_secs(10 * at), ByteSize::mib(10_000 + 100 * at));
        if judge.is_growing() {
            return (judge, 10 * at, 10_000 + 100 * at);
        }
    }
    panic!("it grows");
}

#[test]
fn no_state_outlives_a_gap_or_a_restart() {
    for judge in judges() {
        let (mut after_gap, at, mib) = growing(judge.clone());
        let later = Duration::from_secs(at + 86_400);
        assert_eq!(after_gap.push(later, ByteSize::mib(mib)), Some(GrowthEvent::Stopped));
        assert!(!after_gap.is_growing());

        // From ten days on to the start of another clock.
        let mut later = judge.clone();
        let mut told = Vec::new();
        for at in 0..200 {
            let now = Duration::from_secs(864_000 + 10 * at);
            told.extend(later.push(now, ByteSize::mib(10_000 + 100 * at)));
        }
        assert!(later.is_growing(), "{told:?}");
        told.clear();
        (0..5).for_each(|at| told.extend(later.push(Duration::from_secs(at), ByteSize::mib(30_000))));
        assert_eq!(told, [GrowthEvent::Stopped]);

        let (mut restarted, at, _) = growing(judge.clone());
        let mut told = Vec::new();
        for i in 1..30 {
            told.extend(restarted.push(Duration::from_secs(at + 10 * i), ByteSize::mib(500)));
        }
        assert_eq!(told, [GrowthEvent::Stopped]);

        let (mut level, at, mib) = growing(judge);
        let stops = (1..3000).find(|i| {
            level.push(Duration::from_secs(at + 10 * i), ByteSize::mib(mib)) == Some(GrowthEvent::Stopped)
        });
        assert!(stops.is_some() && !level.is_growing());
    }
}

/// Verdicts on readings, at or after the leak's start.
fn told(readings: &Readings) -> usize {
    let mut detector = GrowthDetector::of_capacity(readings.capacity);
    let start = readings.leak.map_or(Duration::ZERO, |leak| leak.start);
    let mut says = |&(now, used): &(Duration, ByteSize)| {
        detector.push(now, used).is_some_and(|event| event != GrowthEvent::Stopped && now >= start)
    };
    readings.samples.iter().filter(|sample| says(sample)).count()
}

/// A smaller run of `cargo bench -p vramkit-testing --bench leaks`, on seeds of its own.
#[test]
fn rates_on_realistic_series_are_about_those_that_are_documented() {
    let (mut series, mut false_alarms, mut worthwhile, mut found) = (0, 0, 0, 0);
    for seed in 2_000_000..2_000_006 {
        for workload in Workload::ALL {
            series += 1;
            false_alarms += told(&healthy(workload, seed));
        }
        for kind in LeakKind::ALL {
            let readings = leaking(kind, seed);
            if readings.leak.unwrap().is_worthwhile {
                worthwhile += 1;
                found += usize::from(told(&readings) > 0);
            }
        }
    }
    assert!(false_alarms as f64 <= 0.16 * f64::from(series), "{false_alarms} false alarms in {series}");
    assert!(found as f64 >= 0.78 * f64::from(worthwhile), "{found} of {worthwhile}");
}

#[test]
fn forecasts_hold_the_rate_they_are_asked_for() {
    let (mut said, mut within, mut asked) = (0, 0, 0);
    for (kind, seed) in
        FillKind::ALL.into_iter().flat_map(|kind| (0..20).map(move |seed| (kind, 2_000_000 + seed)))
    {
        let fill = fill(kind, seed);
        let mut forecaster = vramkit::monitor::Forecaster::default();
        let half = fill.samples.len() / 2;
        fill.samples[..half].iter().for_each(|&(now, used)| forecaster.push(now, used));
        asked += 1;
        let Some(forecast) = forecaster.forecast(fill.capacity) else { continue };
        said += 1;
        let range = forecast.bytes_per_second_low..=forecast.bytes_per_second_high;
        within += u32::from(range.contains(&fill.bytes_per_second));
    }
    assert!(f64::from(said) > 0.75 * f64::from(asked), "{said} of {asked}");
    assert!(f64::from(within) > 0.88 * f64::from(said), "{within} of {said}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is read, nothing panics, and the state is what was said last.
    #[test]
    fn the_state_is_what_was_said_last(
        capacity in proptest::option::of(any::<u64>()),
        // Runs of readings: their distance in milliseconds, forward or back at first, the bytes and how they change.
        runs in proptest::collection::vec(
            (any::<i32>(), 0u32..700_000, any::<u64>(), -300_000_000i64..300_000_000, 1usize..200), 1..8),
    ) {
        let mut detector = GrowthDetector::new();
        detector.set_capacity(capacity.map(ByteSize::new));
        let (mut now, mut growing) = (0u64, false);
        for (jump, every, bytes, change, count) in runs {
            now = now.saturating_add_signed(i64::from(jump));
            // Mostly of a card's size.
            let mut used = if bytes % 8 == 0 { bytes } else { bytes % (80 << 30) };
            for _ in 0..count {
                match detector.push(Duration::from_millis(now), ByteSize::new(used)) {
                    Some(GrowthEvent::Stopped) => {
                        prop_assert!(growing);
                        growing = false;
                    }
                    Some(_) => {
                        prop_assert!(!growing);
                        growing = true;
                    }
                    None => {}
                }
                prop_assert_eq!(detector.is_growing(), growing);
                now = now.saturating_add(u64::from(every));
                used = used.saturating_add_signed(change);
            }
        }
    }
}
