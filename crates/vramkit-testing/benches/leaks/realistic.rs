//! The growth detector and what others use on series as a machine shows them.

use std::time::Duration;

use vramkit::monitor::leak::{GrowthDetector, GrowthEvent};
use vramkit_testing::realistic::{Leak, LeakKind, Readings, Workload, healthy, leaking};

use super::peers::{PEERS, alarms, statistics};

/// Seeds of each class on which peers' thresholds are set.
const TUNE: u64 = 40;
/// Told this long before the card is full is told in time.
const AHEAD: Duration = Duration::from_secs(600);
/// Leaks that fill the card sooner after their start cannot be told in time.
const LASTS: Duration = Duration::from_secs(1200);
/// Nor can those that are read more seldom.
const OFTEN: Duration = Duration::from_secs(60);

/// What a detector's alarms come to.
#[derive(Clone, Default)]
struct Score {
    healthy: usize,
    days: f64,
    false_alarms: usize,
    worthwhile: usize,
    found: usize,
    verdicts: usize,
    filled: usize,
    in_time: usize,
    leads: Vec<f64>,
}

impl Score {
    fn healthy(&mut self, readings: &Readings, alarms: &[Duration]) {
        self.healthy += 1;
        self.days += readings.seconds() / 86_400.0;
        self.false_alarms += alarms.len();
    }

    /// Alarms from before the leak began do not count as found.
    fn leaking(&mut self, readings: &Readings, leak: Leak, alarms: &[Duration]) {
        if !leak.is_worthwhile {
            return;
        }
        let mut since = alarms.iter().filter(|at| **at >= leak.start);
        let first = since.next();
        self.worthwhile += 1;
        self.found += usize::from(first.is_some());
        self.verdicts += usize::from(first.is_some()) + since.count();
        if let Some(full) = leak.full
            && full.saturating_sub(leak.start) >= LASTS
            && readings.period <= OFTEN
        {
            let lead = first.map_or(Duration::ZERO, |at| full.saturating_sub(*at));
            self.filled += 1;
            self.in_time += usize::from(lead >= AHEAD);
            self.leads.push(lead.as_secs_f64() / 60.0);
        }
    }

    fn add(&mut self, other: &Self) {
        self.healthy += other.healthy;
        self.days += other.days;
        self.false_alarms += other.false_alarms;
        self.worthwhile += other.worthwhile;
        self.found += other.found;
        self.verdicts += other.verdicts;
        self.filled += other.filled;
        self.in_time += other.in_time;
        self.leads.extend(&other.leads);
    }

    fn a_series(&self) -> f64 {
        self.false_alarms as f64 / self.healthy as f64
    }

    fn print(&self, name: &str) {
        println!(
            "{name:<26}{:>9.3}{:>8.2}{:>8.3}{:>9.2}{:>10.3}{:>10.1}",
            self.a_series(),
            self.false_alarms as f64 / self.days,
            self.found as f64 / self.worthwhile as f64,
            self.verdicts as f64 / self.found as f64,
            self.in_time as f64 / self.filled as f64,
            super::median(&mut self.leads.clone()),
        );
    }
}

/// When growth is told.
fn told(mut detector: GrowthDetector, readings: &Readings) -> Vec<Duration> {
    let push = |&(now, used): &_| {
        detector.push(now, used).filter(|event| *event != GrowthEvent::Stopped).map(|_| now)
    };
    readings.samples.iter().filter_map(push).collect()
}

fn of_capacity(readings: &Readings) -> Vec<Duration> {
    told(GrowthDetector::of_capacity(readings.capacity), readings)
}

fn without_capacity(readings: &Readings) -> Vec<Duration> {
    told(GrowthDetector::new(), readings)
}

/// All series of the seeds, one after the other.
fn each(seeds: std::ops::Range<u64>, mut with: impl FnMut(&Readings)) {
    for seed in seeds {
        Workload::ALL.iter().for_each(|&workload| with(&healthy(workload, seed)));
        LeakKind::ALL.iter().for_each(|&kind| with(&leaking(kind, seed)));
    }
}

fn score(score: &mut Score, readings: &Readings, alarms: &[Duration]) {
    match readings.leak {
        Some(leak) => score.leaking(readings, leak, alarms),
        None => score.healthy(readings, alarms),
    }
}

/// The threshold of a peer whose false alarms are nearest to so many a series, on the seeds that are tuned on.
fn thresholds(a_series: f64) -> Vec<f64> {
    let mut all: Vec<Vec<Vec<(Duration, f64)>>> = PEERS.iter().map(|_| Vec::new()).collect();
    for seed in 0..TUNE {
        for workload in Workload::ALL {
            let readings = healthy(workload, seed);
            PEERS.iter().zip(&mut all).for_each(|(peer, all)| all.push(statistics(peer, &readings)));
        }
    }
    let threshold = |all: &Vec<Vec<(Duration, f64)>>| {
        let rate = |threshold: f64| {
            all.iter().map(|statistics| alarms(statistics, threshold).len()).sum::<usize>() as f64
                / all.len() as f64
        };
        // Alarms are fewer the higher it is, but for alarms that join.
        let grid = (0..=120).map(|i| 1e-3 * 10f64.powf(f64::from(i) / 15.0));
        grid.min_by(|a, b| (rate(*a) - a_series).abs().total_cmp(&(rate(*b) - a_series).abs())).unwrap_or(1.0)
    };
    all.iter().map(threshold).collect()
}

pub(crate) fn print(seeds: std::ops::Range<u64>) {
    let mut tuned = Score::default();
    each(0..TUNE, |readings| score(&mut tuned, readings, &of_capacity(readings)));
    let thresholds = thresholds(tuned.a_series());

    let (mut ours, mut without) = (Score::default(), Score::default());
    let mut peers = vec![Score::default(); PEERS.len()];
    let mut workloads = Vec::new();
    let mut kinds = Vec::new();
    let each_class = seeds.end - seeds.start;
    let mut of_class = |series: &dyn Fn(u64) -> Readings| {
        let mut class = Score::default();
        for readings in seeds.clone().map(series) {
            score(&mut class, &readings, &of_capacity(&readings));
            score(&mut without, &readings, &without_capacity(&readings));
            for ((peer, threshold), peer_score) in PEERS.iter().zip(&thresholds).zip(&mut peers) {
                score(peer_score, &readings, &alarms(&statistics(peer, &readings), *threshold));
            }
        }
        ours.add(&class);
        class
    };
    for workload in Workload::ALL {
        workloads.push((format!("{workload:?}"), of_class(&|seed| healthy(workload, seed)).a_series()));
    }
    for kind in LeakKind::ALL {
        let class = of_class(&|seed| leaking(kind, seed));
        kinds.push((format!("{kind:?}"), class.found as f64 / class.worthwhile as f64));
    }
    println!(
        "\nrealistic series, {each_class} of each class: {} healthy ({:.0} days), {} with a worthwhile leak, {} of them with a full card",
        ours.healthy, ours.days, ours.worthwhile, ours.filled
    );
    println!(
        "peers at thresholds that give vramkit's false alarms a series on seeds 0..{TUNE}; lead: median minutes told before full\n"
    );
    println!(
        "{:<26}{:>9}{:>8}{:>8}{:>9}{:>10}{:>10}",
        "detector", "a series", "a day", "found", "verdicts", "in time", "lead"
    );
    ours.print("vramkit");
    without.print("vramkit, no capacity");
    PEERS.iter().zip(&peers).for_each(|(peer, score)| score.print(peer.name));
    println!("\n{:<18}{:>9}   {:<18}{:>7}", "healthy", "a series", "leaking", "found");
    for (at, (workload, rate)) in workloads.iter().enumerate() {
        let leak = kinds.get(at).map_or(String::new(), |(kind, found)| format!("{kind:<18}{found:>7.3}"));
        println!("{workload:<18}{rate:>9.3}   {leak}");
    }
}
