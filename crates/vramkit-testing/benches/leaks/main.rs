//! Detectors of growth and forecasts on labelled series, from seeds that nothing was tuned on (`tune` as an argument: those
//! that it was): 2,000 plain series and their 2,000 leaking twins; 48 classes of series as a machine shows them, beside what others
//! use; fills whose rate is known. `cargo bench -p vramkit-testing --bench leaks`.

#![allow(clippy::print_stdout)]

mod forecasts;
mod peers;
mod realistic;

use std::time::{Duration, Instant};

use vramkit::ByteSize;
use vramkit::monitor::leak::{GrowthDetector, GrowthEvent};
use vramkit_testing::{Healthy, Series, series};

const EACH: u64 = 200;
/// Of each realistic class.
const EACH_REALISTIC: u64 = 100;

/// When a detector raises an alarm, in seconds.
type Detector = fn(&[f64]) -> Vec<usize>;

fn alarms(used: &[f64], speaks: impl Fn(&GrowthEvent) -> bool) -> Vec<usize> {
    let mut detector = GrowthDetector::new();
    let mut push = |second: usize, used: f64| {
        detector
            .push(Duration::from_secs(second as u64), ByteSize::new(used as u64))
            .is_some_and(|event| speaks(&event))
    };
    (0..used.len()).filter(|&second| push(second, used[second])).collect()
}

fn either(used: &[f64]) -> Vec<usize> {
    alarms(used, |event| !matches!(event, GrowthEvent::Stopped))
}

fn sustained(used: &[f64]) -> Vec<usize> {
    alarms(used, |event| matches!(event, GrowthEvent::Sustained(_)))
}

fn fast(used: &[f64]) -> Vec<usize> {
    alarms(used, |event| matches!(event, GrowthEvent::Fast(_)))
}

/// The mean of the last third over 1.2 of the first's, over five minutes.
fn thirds(used: &[f64]) -> Vec<usize> {
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let grows = |end: &usize| {
        let window = &used[end - 300..*end];
        mean(&window[200..]) > 1.2 * mean(&window[..100])
    };
    (300..=used.len()).step_by(10).filter(grows).collect()
}

/// 100 MB more than 100 samples ago.
fn hundred(used: &[f64]) -> Vec<usize> {
    (100..used.len()).filter(|&now| used[now] - used[now - 100] > 1e8).collect()
}

/// Kendall's rank test for a trend (Mann 1945) at one in a thousand, on floors of 10 s over 5 min, with 15 % of growth
/// by Theil and Sen.
fn mann_kendall(used: &[f64]) -> Vec<usize> {
    let floors: Vec<f64> =
        used.chunks_exact(10).map(|block| block.iter().copied().fold(f64::INFINITY, f64::min)).collect();
    let n = 30usize;
    let grows = |end: &usize| {
        let window = &floors[end - n..*end];
        let mut slopes = Vec::new();
        let mut sign = 0i64;
        for i in 0..n {
            for j in i + 1..n {
                sign += window[j].partial_cmp(&window[i]).map_or(0, |order| order as i64);
                slopes.push((window[j] - window[i]) / (j - i) as f64);
            }
        }
        let count = n as f64;
        let z = (sign - 1) as f64 / (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
        slopes.sort_by(f64::total_cmp);
        z > 3.09 && slopes[slopes.len() / 2] * count > 0.15 * window[0]
    };
    (n..=floors.len()).step_by(6).filter(grows).map(|end| end * 10).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    if values.is_empty() { f64::NAN } else { values[values.len() / 2] }
}

fn main() {
    let seeds = if std::env::args().any(|argument| argument == "tune") {
        0..EACH
    } else {
        1_000_000..1_000_000 + EACH
    };
    if std::env::args().any(|argument| argument == "forecasts") {
        return forecasts::print(seeds);
    }
    let of = |leaking: bool| -> Vec<Series> {
        let classes = Healthy::ALL.iter();
        classes.flat_map(|&class| seeds.clone().map(move |seed| series(class, leaking, seed))).collect()
    };
    let (healthy, leaking) = (of(false), of(true));
    let hours = healthy.iter().map(|series| series.used.len() as f64).sum::<f64>() / 3600.0;
    println!("{} healthy series ({hours:.0} hours), {} leaking ones", healthy.len(), leaking.len());
    println!(
        "false: false alarms per series; found: of leaks that reach +20 %; delay: median minutes since the leak began\n"
    );
    let detectors: [(&str, Detector); 6] = [
        ("last third > 1.2 x first", thirds),
        ("100 MB in 100 samples", hundred),
        ("Mann-Kendall, Theil-Sen", mann_kendall),
        ("vramkit, sustained", sustained),
        ("vramkit, fast", fast),
        ("vramkit, either", either),
    ];
    println!(
        "{:<26}{:>7}{:>10}{:>13}{:>8}{:>8}{:>11}{:>13}",
        "detector", "false", "an hour", "without r,s", "found", "delay", ">=4 %/min", "delay of it"
    );
    for (name, detector) in detectors {
        let alarms: Vec<bool> = healthy.iter().map(|series| !detector(&series.used).is_empty()).collect();
        let count = alarms.iter().filter(|alarm| **alarm).count() as f64;
        let rest: Vec<bool> = healthy
            .iter()
            .zip(&alarms)
            .filter(|(series, _)| !matches!(series.class, Healthy::Ramp | Healthy::Sine))
            .map(|(_, alarm)| *alarm)
            .collect();
        let (mut found, mut delays, mut quick, mut quick_delays) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for series in &leaking {
            let leak = series.leak.expect("it leaks");
            if leak.reached < 0.2 {
                continue;
            }
            // An alarm before the leak began is a false one.
            let at = detector(&series.used).into_iter().find(|&at| at >= leak.start);
            found.push(at.is_some());
            delays.extend(at.map(|at| (at - leak.start) as f64 / 60.0));
            if leak.rate >= 0.04 {
                quick.push(at.is_some());
                quick_delays.extend(at.map(|at| (at - leak.start) as f64 / 60.0));
            }
        }
        let part = |flags: &[bool]| flags.iter().filter(|flag| **flag).count() as f64 / flags.len() as f64;
        println!(
            "{name:<26}{:>7.3}{:>10.3}{:>13.4}{:>8.3}{:>8.2}{:>11.3}{:>13.2}",
            count / alarms.len() as f64,
            count / hours,
            part(&rest),
            part(&found),
            median(&mut delays),
            part(&quick),
            median(&mut quick_delays)
        );
    }
    println!("\nby class (vramkit, sustained | fast | either): false alarms per series, found");
    for class in Healthy::ALL {
        print!("{:<16}", format!("{class:?}").to_lowercase());
        for detector in [sustained as Detector, fast, either] {
            let of_class =
                |all: &[Series]| all.iter().filter(|s| s.class == class).cloned().collect::<Vec<_>>();
            let (healthy, leaking) = (of_class(&healthy), of_class(&leaking));
            let alarms = healthy.iter().filter(|series| !detector(&series.used).is_empty()).count();
            let worth: Vec<&Series> =
                leaking.iter().filter(|s| s.leak.is_some_and(|l| l.reached >= 0.2)).collect();
            let found = worth
                .iter()
                .filter(|s| detector(&s.used).iter().any(|&at| s.leak.is_some_and(|leak| at >= leak.start)))
                .count();
            print!("{:>9.3}{:>7.3}", alarms as f64 / healthy.len() as f64, found as f64 / worth.len() as f64);
        }
        println!();
    }
    let start = Instant::now();
    let samples: usize = healthy.iter().map(|series| series.used.len()).sum();
    healthy.iter().for_each(|series| assert!(either(&series.used).len() < 100));
    println!(
        "\n{:.2} microseconds a sample (plain series)",
        start.elapsed().as_secs_f64() * 1e6 / samples as f64
    );
    realistic::print(seeds.start..seeds.start + EACH_REALISTIC);
    forecasts::print(seeds);
}
