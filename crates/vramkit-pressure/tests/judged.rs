//! What the judges say of made series and programs, to the second and the digit: nothing that they compute changes unnoticed. Whether it
//! is right is tested elsewhere, on many seeds (`vramkit-testing`, tests and benches); a change that is meant to change it changes the
//! snapshot, and is to be looked at there.

use std::fmt::Write as _;
use std::time::Duration;

use vramkit_pressure::leak::{GrowthDetector, GrowthEvent, OwnerLeaks, TagEvent};
use vramkit_pressure::{Finding, Forecast, SeriesJudge};
use vramkit_units::{ByteSize, Holder, LedgerEntry, Purpose, SplitMix64, age_class};

const GIB: f64 = (1u64 << 30) as f64;

/// A series: its name, the seconds between readings, how many there are, and GiB at a time.
struct Made {
    name: &'static str,
    every: f64,
    readings: u32,
    capacity: Option<u64>,
    gib: fn(f64, &mut SplitMix64) -> f64,
}

const SERIES: [Made; 21] = [
    Made { name: "even", every: 1.0, readings: 3000, capacity: Some(80), gib: |t, _| 20.0 + t / 100.0 },
    Made {
        name: "even, no capacity",
        every: 1.0,
        readings: 3000,
        capacity: None,
        gib: |t, _| 20.0 + t / 100.0,
    },
    Made {
        name: "noisy",
        every: 1.0,
        readings: 4000,
        capacity: Some(80),
        gib: |t, r| 20.0 + t / 150.0 + r.unit(),
    },
    Made {
        name: "slow, noisy",
        every: 10.0,
        readings: 5000,
        capacity: Some(80),
        gib: |t, r| 30.0 + t / 1500.0 + 2.0 * r.unit(),
    },
    Made { name: "still", every: 1.0, readings: 3000, capacity: Some(80), gib: |_, r| 40.0 + 0.2 * r.unit() },
    Made {
        name: "ever slower",
        every: 2.0,
        readings: 4000,
        capacity: Some(80),
        gib: |t, r| 60.0 * (1.0 - (-t / 1500.0).exp()) + 0.1 * r.unit(),
    },
    Made {
        name: "by the root",
        every: 5.0,
        readings: 4000,
        capacity: Some(80),
        gib: |t, r| 10.0 + 0.3 * t.sqrt() + 0.1 * r.unit(),
    },
    Made {
        name: "ever faster",
        every: 1.0,
        readings: 3000,
        capacity: Some(80),
        gib: |t, _| 10.0 + (t / 400.0).powi(2),
    },
    Made {
        name: "teeth",
        every: 1.0,
        readings: 5000,
        capacity: Some(80),
        gib: |t, r| 20.0 + 10.0 * (t / 300.0).fract() + 0.1 * r.unit(),
    },
    Made {
        name: "teeth that rise",
        every: 1.0,
        readings: 6000,
        capacity: Some(80),
        gib: |t, r| 20.0 + 10.0 * (t / 300.0).fract() + t / 300.0 + 0.1 * r.unit(),
    },
    Made {
        name: "steps",
        every: 5.0,
        readings: 3000,
        capacity: Some(80),
        gib: |t, _| 20.0 + 6.0 * (t / 2500.0).floor(),
    },
    Made {
        name: "small steps",
        every: 2.0,
        readings: 4000,
        capacity: Some(80),
        gib: |t, _| 20.0 + 0.5 * (t / 100.0).floor(),
    },
    Made {
        name: "a wave",
        every: 30.0,
        readings: 6000,
        capacity: Some(80),
        gib: |t, r| 30.0 + 15.0 * (t / 20_000.0 * std::f64::consts::TAU).sin() + r.unit(),
    },
    Made {
        name: "a wave that rises",
        every: 30.0,
        readings: 6000,
        capacity: Some(80),
        gib: |t, r| 20.0 + t / 4000.0 + 8.0 * (t / 20_000.0 * std::f64::consts::TAU).sin() + r.unit(),
    },
    Made {
        name: "near full",
        every: 1.0,
        readings: 5000,
        capacity: Some(80),
        gib: |t, r| (76.0 + (t - 2000.0).max(0.0) / 800.0 + 0.02 * r.unit()).min(80.0),
    },
    Made {
        name: "flat, then fills",
        every: 2.0,
        readings: 4000,
        capacity: Some(80),
        gib: |t, r| 20.0 + (t - 5000.0).max(0.0) / 50.0 + 0.05 * r.unit(),
    },
    Made {
        name: "fills and is released",
        every: 1.0,
        readings: 5000,
        capacity: Some(80),
        gib: |t, r| if t < 2000.0 { 20.0 + t / 50.0 } else { 25.0 + 0.1 * r.unit() },
    },
    Made {
        name: "started anew",
        every: 1.0,
        readings: 5000,
        capacity: Some(80),
        gib: |t, r| 2.0 + (t % 1700.0) / 40.0 + 0.1 * r.unit(),
    },
    Made {
        name: "fast readings",
        every: 0.2,
        readings: 6000,
        capacity: Some(24),
        gib: |t, r| 10.0 + t / 120.0 + 0.3 * r.unit(),
    },
    Made {
        name: "readings by the minute",
        every: 60.0,
        readings: 1500,
        capacity: Some(80),
        gib: |t, r| 20.0 + t / 3600.0 + 0.5 * r.unit(),
    },
    Made {
        name: "readings by ten minutes",
        every: 600.0,
        readings: 600,
        capacity: Some(80),
        gib: |t, r| 20.0 + t / 9000.0 + r.unit(),
    },
];

fn digits(value: f64) -> String {
    format!("{value:.2e}")
}

fn said(forecast: Option<Forecast>) -> String {
    let Some(forecast) = forecast else { return "nothing".to_owned() };
    let optional = |value: Option<f64>| value.map_or("-".to_owned(), digits);
    format!(
        "{} [{}, {}] full in {} [{}, {}]",
        digits(forecast.bytes_per_second),
        digits(forecast.bytes_per_second_low),
        digits(forecast.bytes_per_second_high),
        optional(forecast.full_in_seconds),
        optional(forecast.full_in_seconds_soonest),
        optional(forecast.full_in_seconds_latest),
    )
}

fn numbers(finding: &Finding) -> String {
    match finding {
        Finding::GrowingFast { growth, .. }
        | Finding::SustainedGrowth { growth, .. }
        | Finding::GrowingTowardsFull { growth, .. } => format!(
            " {} over {} at {}",
            digits(growth.growth_ratio),
            digits(growth.window_seconds),
            digits(growth.bytes_per_second)
        ),
        _ => String::new(),
    }
}

/// What is found, and at each eighth what is forecast.
fn judge(made: &Made, times: impl Fn(f64) -> f64) -> String {
    let (mut judge, mut random, mut text) = (SeriesJudge::default(), SplitMix64::new(11), String::new());
    let capacity = made.capacity.map(ByteSize::gib);
    for reading in 0..made.readings {
        let at = f64::from(reading) * made.every;
        let used = ByteSize::new(((made.gib)(at, &mut random) * GIB) as u64);
        let now = Duration::from_secs_f64(times(at));
        for finding in judge.push(now, used, capacity) {
            let _ = writeln!(text, "  {at:.0} s {}{}", finding.kind(), numbers(&finding));
        }
        if reading % (made.readings / 8) == made.readings / 16 {
            let _ = writeln!(text, "  {at:.0} s forecast {}", said(judge.forecast()));
        }
    }
    let _ = writeln!(text, "  fastest {}", digits(judge.fastest_bytes_per_second()));
    text
}

#[test]
fn of_series() {
    let mut text = String::new();
    for made in &SERIES {
        text += &format!("{}\n{}", made.name, judge(made, |at| at));
    }
    // Clocks and gaps.
    for (name, times) in [
        ("a clock that is set back", (|at| if at < 1500.0 { 10_000.0 + at } else { at }) as fn(f64) -> f64),
        ("a gap of an hour", |at| if at < 1500.0 { at } else { at + 3600.0 }),
        ("a gap of two minutes", |at| if at < 1500.0 { at } else { at + 120.0 }),
    ] {
        text += &format!("{name}\n{}", judge(&SERIES[2], times));
    }
    insta::assert_snapshot!("series", text);
}

/// Stretches of a series, drawn: each still, rising, falling, in teeth, in steps or in a wave, with noise.
fn drawn(seed: u64) -> (f64, Vec<(f64, f64)>) {
    let mut random = SplitMix64::new(seed);
    let every = [0.5, 1.0, 5.0, 20.0, 60.0][random.below(5)];
    let (mut all, mut level, mut at) = (Vec::new(), 5.0 + 30.0 * random.unit(), 0.0);
    for _ in 0..1 + random.bits() % 4 {
        let readings = 300 + random.bits() % 1200;
        let (shape, size, noise) =
            (random.bits() % 6, 0.5 + 20.0 * random.unit(), random.unit().powi(3) * 2.0);
        let rounds = 3.0 + 20.0 * random.unit();
        for reading in 0..readings {
            let part = reading as f64 / readings as f64;
            let gib = match shape {
                0 => 0.0,
                1 => size * part,
                2 => size * part.sqrt(),
                3 => size * (rounds * part).fract() + size / 3.0 * part,
                4 => size / rounds * (rounds * part).floor(),
                _ => size / 2.0 * (rounds * part * std::f64::consts::TAU).sin().abs() + size / 4.0 * part,
            };
            all.push((at, (level + gib + noise * random.unit()).clamp(0.0, 80.0)));
            at += every;
        }
        level = all.last().map_or(level, |last| last.1) * if random.unit() < 0.3 { 0.3 } else { 1.0 };
        at += if random.unit() < 0.2 { 500.0 * random.unit() } else { 0.0 };
    }
    (every, all)
}

#[test]
fn of_drawn_series() {
    let mut text = String::new();
    for seed in 0..120 {
        let (every, readings) = drawn(seed);
        let mut detector =
            if seed % 3 > 0 { GrowthDetector::of_capacity(ByteSize::gib(80)) } else { GrowthDetector::new() };
        let _ = write!(text, "{seed}: {} readings, one in {every} s;", readings.len());
        for (at, gib) in readings {
            let used = ByteSize::new((gib * GIB) as u64);
            let Some(event) = detector.push(Duration::from_secs_f64(at), used) else { continue };
            let (kind, growth) = match event {
                GrowthEvent::Fast(growth) => ("fast", Some(growth)),
                GrowthEvent::Sustained(growth) => ("sustained", Some(growth)),
                GrowthEvent::FullSoon(growth) => ("towards full", Some(growth)),
                GrowthEvent::Stopped => ("stopped", None),
                _ => continue,
            };
            let numbers = growth.map_or_else(String::new, |growth| {
                format!(
                    " {} {} {}",
                    digits(growth.growth_ratio),
                    growth.window_seconds,
                    digits(growth.bytes_per_second)
                )
            });
            assert_eq!(detector.is_growing(), growth.is_some());
            let _ = write!(text, " {at:.0} s {kind}{numbers};");
        }
        text += "\n";
    }
    insta::assert_snapshot!("drawn_series", text);
}

/// Blocks of one tag that come evenly: how many a minute, of MiB, for how many seconds (0: they stay), from a second on.
#[derive(Clone, Copy)]
struct Blocks {
    model: &'static str,
    tag: &'static str,
    a_minute: f64,
    mib: u64,
    lives: f64,
    from: u64,
    /// Of so many one stays; 0 for none.
    stays: u64,
}

const PLAIN: Blocks =
    Blocks { model: "llama", tag: "request", a_minute: 60.0, mib: 2, lives: 30.0, from: 0, stays: 0 };

/// What is told of a program.
fn tell(blocks: &[Blocks], tag_each: bool, budget: Option<ByteSize>, seconds: u64) -> String {
    let (mut leaks, mut random, mut text) = (OwnerLeaks::default(), SplitMix64::new(5), String::new());
    for of in blocks {
        leaks.set_budget(&Holder::from(of.model), Purpose::Kv, budget);
    }
    let mut live: Vec<(usize, u64, u64, u64)> = Vec::new();
    let mut gone: Vec<[ByteSize; vramkit_units::AGE_CLASSES]> = vec![Default::default(); blocks.len()];
    let (mut due, mut number) = (vec![0.0; blocks.len()], 0u64);
    for second in 0..seconds {
        for (i, of) in blocks.iter().enumerate().filter(|(_, of)| second >= of.from) {
            due[i] += of.a_minute / 60.0;
            while due[i] >= 1.0 {
                (due[i], number) = (due[i] - 1.0, number + 1);
                let stays = of.lives == 0.0 || of.stays > 0 && number.is_multiple_of(of.stays);
                let lives = (of.lives * (0.5 + random.unit())) as u64;
                live.push((i, number, second, if stays { u64::MAX } else { second + lives.max(1) }));
            }
        }
        if second % 10 > 0 {
            continue;
        }
        live.retain(|&(i, _, born, end)| {
            if end <= second {
                gone[i][age_class(Duration::from_secs(end - born))] += ByteSize::mib(blocks[i].mib);
            }
            end > second
        });
        let mut ledger: Vec<LedgerEntry> = Vec::new();
        for (i, of) in blocks.iter().enumerate() {
            let entry = |tag: String| LedgerEntry {
                model: Holder::from(of.model),
                purpose: Purpose::Kv,
                tag,
                ..LedgerEntry::default()
            };
            let mut all = entry(of.tag.to_owned());
            all.released_by_age_bytes = if tag_each { Default::default() } else { gone[i] };
            for &(_, number, born, _) in live.iter().filter(|block| block.0 == i) {
                let mut own = entry(format!("{}-{number}", of.tag));
                let into = if tag_each { &mut own } else { &mut all };
                into.allocations += 1;
                into.granted_bytes += ByteSize::mib(of.mib);
                into.by_age_bytes[age_class(Duration::from_secs(second - born))] += ByteSize::mib(of.mib);
                ledger.extend(tag_each.then_some(own));
            }
            ledger.extend((!tag_each && all.allocations > 0).then_some(all));
        }
        for event in leaks.check(Duration::from_secs(second), &ledger) {
            let (kind, leak) = match event {
                TagEvent::Retains(leak) => ("retains", leak),
                TagEvent::Suspected(leak) => ("suspected", leak),
                TagEvent::Cleared(leak) => ("cleared", leak),
                _ => continue,
            };
            let _ = writeln!(
                text,
                "  {second} s {kind} {} {:?} whole {} at {} over {} old {} of {} in {}",
                leak.model,
                leak.tag,
                leak.whole_owner,
                digits(leak.bytes_per_second),
                leak.window_seconds,
                leak.old_bytes,
                leak.old_seconds,
                leak.allocations
            );
        }
    }
    let count = (leaks.suspected().count(), leaks.retaining().count(), leaks.unwatched());
    let _ = writeln!(text, "  at the end {count:?}");
    text
}

#[test]
fn of_programs() {
    let hours = |n: u64| n * 3600;
    let cache = Blocks { tag: "cache", a_minute: 6.0, mib: 4, lives: 0.0, ..PLAIN };
    let leak = Blocks { tag: "leak", a_minute: 3.0, mib: 4, lives: 0.0, from: 1800, ..PLAIN };
    let leaky = Blocks { stays: 40, from: 600, ..PLAIN };
    let slow = Blocks { tag: "session", a_minute: 4.0, mib: 8, lives: 1500.0, ..PLAIN };
    let other = Blocks { model: "phi", tag: "step", a_minute: 30.0, mib: 1, lives: 90.0, ..PLAIN };
    type Program<'a> = (&'a str, &'a [Blocks], bool, Option<ByteSize>, u64);
    let programs: [Program<'_>; 12] = [
        ("requests", &[PLAIN], false, None, hours(3)),
        ("requests of which some stay", &[leaky], false, None, hours(4)),
        ("a tag each", &[PLAIN], true, None, hours(2)),
        ("a tag each, some stay", &[leaky], true, None, hours(3)),
        ("a cache that fills", &[PLAIN, cache], false, None, hours(3)),
        ("within a budget", &[PLAIN, cache], false, Some(ByteSize::gib(64)), hours(3)),
        ("over a budget", &[leaky], false, Some(ByteSize::mib(300)), hours(3)),
        ("a tag that only grows", &[PLAIN, leak], false, None, hours(3)),
        ("sessions", &[slow], false, None, hours(6)),
        ("sessions of which some stay", &[Blocks { stays: 10, ..slow }], false, None, hours(8)),
        ("two models, one leaks", &[leaky, other], false, None, hours(3)),
        ("all three", &[leaky, slow, Blocks { model: "phi", ..leak }], false, None, hours(4)),
    ];
    let mut text = String::new();
    for (name, blocks, tag_each, budget, seconds) in programs {
        text += &format!("{name}\n{}", tell(blocks, tag_each, budget, seconds));
    }
    insta::assert_snapshot!("programs", text);
}

#[test]
fn of_drawn_programs() {
    const TAGS: [&str; 4] = ["a", "b", "c", "d"];
    let mut text = String::new();
    for seed in 0..16 {
        let mut random = SplitMix64::new(seed);
        let mut draw = |some: &[f64]| some[random.below(some.len())];
        let blocks: Vec<Blocks> = TAGS[..1 + seed as usize % 4]
            .iter()
            .map(|tag| Blocks {
                model: if draw(&[0.0, 0.0, 1.0]) > 0.0 { "phi" } else { "llama" },
                tag,
                a_minute: draw(&[1.0, 4.0, 20.0]),
                mib: draw(&[1.0, 2.0, 8.0]) as u64,
                lives: draw(&[20.0, 100.0, 400.0, 1500.0, 0.0]),
                from: draw(&[0.0, 600.0, 3000.0]) as u64,
                stays: draw(&[0.0, 0.0, 10.0, 50.0, 400.0]) as u64,
            })
            .collect();
        let tag_each = seed % 5 == 4;
        let seconds = if tag_each { 2 * 3600 } else { 5 * 3600 };
        text += &format!("{seed}\n{}", tell(&blocks, tag_each, None, seconds));
    }
    insta::assert_snapshot!("drawn_programs", text);
}
