//! Detectors that compare generations of work on simulated programs, and levels under noise: how many healthy programs are
//! told of, how many leaks are found, how often a level changes. From seeds that nothing was tuned on (`tune` as an argument:
//! those that it was). `cargo bench -p vramkit-testing --bench generations`.

#![allow(clippy::print_stdout)]

use std::time::Duration;

use vramkit::ByteSize;
use vramkit::pressure::leak::{GenerationBaseline, GenerationConfig};
use vramkit::pressure::{Ladder, PressureGauge, PressureLevel};
use vramkit_testing::{Random, Work, generations};

/// Programs of each kind.
const EACH: u64 = 63;
const THRESHOLD: u64 = 100_000_000;

/// The generation at which a warning comes.
type Detector = Box<dyn Fn(&[f64]) -> Vec<usize>>;

/// The last number of every ten against that of the first generation.
fn one_sample() -> Detector {
    Box::new(|used| {
        let tells = |at: &usize| used[*at] - used[0] >= THRESHOLD as f64;
        (10..used.len()).step_by(10).filter(tells).collect()
    })
}

fn floors(warm_up: u64, every: u64) -> Detector {
    let config = GenerationConfig { warm_up, every, threshold: ByteSize::new(THRESHOLD) };
    Box::new(move |used| {
        let mut baseline = GenerationBaseline::default();
        let mut tells =
            |at: usize| baseline.check(&config, at as u64 + 1, ByteSize::new(used[at] as u64)).is_some();
        (0..used.len()).filter(|&at| tells(at)).collect()
    })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn compare_generations(seeds: &std::ops::Range<u64>) {
    let default = GenerationConfig::default();
    let detectors = [
        ("one sample, after 1, every 10".to_owned(), one_sample()),
        ("floors, after 1, every 10".into(), floors(1, 10)),
        ("floors, after 20, every 10".into(), floors(20, 10)),
        ("floors, after 60, every 10".into(), floors(60, 10)),
        ("floors, after 100, every 10".into(), floors(100, 10)),
        ("floors, after 100, every 25".into(), floors(100, 25)),
        ("floors, after 100, every 50".into(), floors(100, 50)),
    ];
    println!(
        "generations: {} healthy programs of 500 generations and as many with a leak, default after {}, every {}",
        EACH * Work::ALL.len() as u64,
        default.warm_up,
        default.every
    );
    println!("{:<32}{:>14}{:>10}{:>22}", "detector", "healthy told", "found", "delay, generations");
    for (name, detector) in &detectors {
        let (mut told, mut found, mut delays) = (0, 0, Vec::new());
        for (work, seed) in Work::ALL.iter().flat_map(|&work| seeds.clone().map(move |seed| (work, seed))) {
            told += u64::from(!detector(&generations(work, false, seed).0).is_empty());
            let (used, since) = generations(work, true, seed);
            let at = detector(&used).into_iter().find(|&at| since.is_some_and(|since| at > since));
            found += u64::from(at.is_some());
            delays.extend(at.zip(since).map(|(at, since)| (at - since) as f64));
        }
        println!("{name:<32}{told:>14}{found:>10}{:>22}", median(&mut delays));
    }
    println!("\nby kind: healthy told and leaks found of {EACH}, one sample | default");
    let default = floors(default.warm_up, default.every);
    for work in Work::ALL {
        let count = |detector: &Detector, leaking| {
            let tells = |seed: &u64| {
                let (used, since) = generations(work, leaking, *seed);
                detector(&used).iter().any(|&at| at > since.unwrap_or(0))
            };
            seeds.clone().filter(tells).count()
        };
        println!(
            "{:<16}{:>6}{:>6}  |{:>6}{:>6}",
            format!("{work:?}").to_lowercase(),
            count(&detectors[0].1, false),
            count(&detectors[0].1, true),
            count(&default, false),
            count(&default, true)
        );
    }
}

/// As the level was judged before: left below the exit when the dwell has passed since it was entered.
fn changes_by_entry(ladder: &Ladder<()>, used: &[f64]) -> u64 {
    let (mut level, mut entered, mut changes) = (PressureLevel::Normal, 0, 0);
    for (second, used) in used.iter().enumerate() {
        let highest = |held: &dyn Fn(&vramkit::pressure::Rung<()>) -> bool| {
            ladder.rungs.iter().rev().find(|rung| held(rung)).map_or(PressureLevel::Normal, |rung| rung.level)
        };
        let from = level;
        let reached = highest(&|rung| *used >= rung.enter);
        if reached > level {
            level = reached;
        } else if ladder.rung(level).is_some_and(|rung| (second - entered) as f64 >= rung.dwell_seconds) {
            level = highest(&|rung| rung.level <= from && *used >= rung.exit.unwrap_or(rung.enter));
        }
        if level != from {
            (entered, changes) = (second, changes + 1);
        }
    }
    changes
}

/// Changes of level in an hour of readings a second apart, with normal noise of .02, alone or correlated over ten seconds.
fn compare_levels(seed: u64) {
    let ladder = |dwell: f64| {
        let mut ladder = Ladder::watch();
        ladder.rungs.iter_mut().for_each(|rung| rung.dwell_seconds = dwell);
        ladder
    };
    println!(
        "\nlevels: changes an hour at noise of .02 (mean of 20 hours); the part of the time at critical or above"
    );
    println!(
        "{:<8}{:<12}{:>14}{:>10}{:>10}{:>10}{:>12}{:>14}",
        "mean", "noise", "since entry 5", "all of 5", "of 30", "of 120", "at critical", "of readings"
    );
    for (mean, kept) in
        [0.76, 0.82, 0.84, 0.86, 0.88, 0.90, 0.92].into_iter().flat_map(|mean| [(mean, 0.0), (mean, 0.9)])
    {
        let mut random = Random::new(seed);
        let (mut at, hours) = (0.0, 20);
        let used: Vec<f64> = (0..3600 * hours)
            .map(|_| {
                at = kept * at + (1.0f64 - kept * kept).sqrt() * random.normal();
                mean + 0.02 * at
            })
            .collect();
        let run = |dwell| {
            let (ladder, mut gauge) = (ladder(dwell), PressureGauge::new());
            for (second, &used) in used.iter().enumerate() {
                gauge.read(&ladder, used, Duration::from_secs(second as u64));
            }
            (gauge.changes() as f64 / hours as f64, gauge.readings()[3] as f64 / used.len() as f64)
        };
        let before = changes_by_entry(&ladder(5.0), &used) as f64 / hours as f64;
        let past = used.iter().filter(|&&used| used >= 0.9).count() as f64 / used.len() as f64;
        println!(
            "{mean:<8}{:<12}{before:>14.1}{:>10.1}{:>10.1}{:>10.1}{:>12.3}{past:>14.3}",
            if kept > 0.0 { "correlated" } else { "alone" },
            run(5.0).0,
            run(30.0).0,
            run(120.0).0,
            run(30.0).1
        );
    }
}

fn main() {
    let first = if std::env::args().any(|argument| argument == "tune") { 0 } else { 2_000_000 };
    compare_generations(&(first..first + EACH));
    compare_levels(first);
}
