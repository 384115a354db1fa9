//! Series of used bytes as a machine with a GPU shows them: 26 ways in which healthy programs use a card and 22 in which
//! they leak, 10 minutes to 24 hours, read every .2 to 600 seconds, with gaps, clocks that step, and readings in MiB. For
//! measuring leak detectors and forecasts; all synthetic, the same for a seed on every machine.
//!
//! ```text
//! seed ──► scene (card, duration, times of readings) ──► workload (curve) ──┐
//!                    └──► leak (curve, its start) ──────────────────────────┴──► readings (quantum, gaps, clock), labels
//! ```
//!
//! ```
//! use vramkit::pressure::leak::GrowthDetector;
//! use vramkit_testing::realistic::{LeakKind, leaking};
//!
//! let readings = leaking(LeakKind::NearFull, 1);
//! let mut detector = GrowthDetector::of_capacity(readings.capacity);
//! let told = readings.samples.iter().find_map(|&(now, used)| detector.push(now, used).map(|event| (now, event)));
//! let leak = readings.leak.expect("it leaks");
//! assert!(leak.is_worthwhile && told.is_some_and(|(at, _)| at > leak.start));
//! ```

mod curve;
mod fills;
mod leaks;
mod parts;
mod scene;
mod workloads;

use std::time::Duration;

use vramkit::units::ByteSize;

use super::random::Random;
pub use fills::{Fill, FillKind, fill};
pub use leaks::LeakKind;
use scene::{MIB, Scene};
pub use workloads::Workload;

/// A leak that is in a series.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leak {
    /// In which way.
    pub kind: LeakKind,
    /// When it began, on the clock of the readings.
    pub start: Duration,
    /// Bytes a second, from its start to its end.
    pub bytes_per_second: f64,
    /// What had been lost at the end, or when the card was full.
    pub lost: ByteSize,
    /// What was used when it began, without it.
    pub level: ByteSize,
    /// When the card was full; the series ends there.
    pub full: Option<Duration>,
    /// Whether it was worth a word: it came to a fifth of the level or to .3 of the headroom at its start, and to 64 MiB.
    pub is_worthwhile: bool,
}

/// Readings of one card.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Readings {
    /// What the card holds.
    pub capacity: ByteSize,
    /// The usual time between readings.
    pub period: Duration,
    /// The leak, if there is one.
    pub leak: Option<Leak>,
    /// Used bytes and when they were read. A clock that was set back shows here.
    pub samples: Vec<(Duration, ByteSize)>,
}

impl Readings {
    /// From the first to the last reading, in seconds.
    pub fn seconds(&self) -> f64 {
        let end = |sample: Option<&(Duration, ByteSize)>| sample.map_or(0.0, |sample| sample.0.as_secs_f64());
        (end(self.samples.last()) - end(self.samples.first())).max(0.0)
    }
}

/// The readings of a healthy program.
///
/// ```
/// use vramkit_testing::realistic::{Workload, healthy};
///
/// let readings = healthy(Workload::Diurnal, 7);
/// assert!(readings.leak.is_none());
/// assert!(readings.samples.iter().all(|(_, used)| *used <= readings.capacity));
/// ```
pub fn healthy(workload: Workload, seed: u64) -> Readings {
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (workload as u64) << 8);
    let scene = Scene::draw(workload.least_seconds(), workload == Workload::GapsAndNoise, &mut random);
    let mut used = workload.used(&scene, &mut random);
    wobble(&mut used, &mut random);
    read(scene, &used, None, &mut random)
}

/// The readings of a program that leaks.
///
/// ```
/// use vramkit_testing::realistic::{LeakKind, leaking};
///
/// let leak = leaking(LeakKind::Linear, 7).leak.expect("it leaks");
/// assert!(leak.bytes_per_second > 0.0);
/// ```
pub fn leaking(kind: LeakKind, seed: u64) -> Readings {
    let mut random = Random::new(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ (kind as u64) << 20);
    let mut scene = Scene::draw(kind.least_seconds(), false, &mut random);
    let drawn = kind.draw(&mut scene, &mut random);
    let mut used = drawn.used;
    wobble(&mut used, &mut random);
    let start = scene.times.partition_point(|&time| time < drawn.start).min(scene.times.len() - 1);
    let level = used[start];
    let mut full = None;
    for (at, used) in used.iter_mut().enumerate() {
        *used += drawn.lost[at];
        if *used >= scene.capacity && full.is_none() {
            full = Some(at);
        }
    }
    let end = full.unwrap_or(used.len() - 1);
    let (lost, seconds) =
        (drawn.lost[..=end].iter().copied().fold(0.0, f64::max), scene.times[end] - drawn.start);
    let enough = (0.2 * level).min(0.3 * (scene.capacity - level)).max(64.0 * MIB);
    let leak = Leak {
        kind,
        start: Duration::from_secs_f64(drawn.start),
        bytes_per_second: lost / seconds.max(1.0),
        lost: ByteSize::new(lost as u64),
        level: ByteSize::new(level as u64),
        full: full.map(|at| Duration::from_secs_f64(scene.times[at])),
        is_worthwhile: lost >= enough,
    };
    if full.is_some() {
        scene.times.truncate(end + 1);
    }
    read(scene, &used, Some(leak), &mut random)
}

/// What is read of it: in units, with gaps, and by a clock that may step.
fn read(scene: Scene, used: &[f64], leak: Option<Leak>, random: &mut Random) -> Readings {
    let quantum = [1.0, MIB, MIB, 2.0 * MIB][random.below(4) as usize];
    let mut gaps = Vec::new();
    if scene.has_gaps || random.unit() < 0.15 {
        for _ in 0..=random.below(4) {
            let from = random.unit() * scene.seconds;
            gaps.push(from..from + random.between_log(0.003, 0.15) * scene.seconds);
        }
    }
    // A clock that is set, mostly by little, and sometimes by hours.
    let step = (random.unit() < 0.08).then(|| {
        let by = random.between_log(0.1, 3600.0) * if random.unit() < 0.5 { -1.0 } else { 1.0 };
        (random.unit() * scene.seconds, by)
    });
    // Far from the clock's zero, so that it can go back.
    let zero = if step.is_some() { 7200.0 } else { 0.0 };
    let shown = |time: f64| {
        let by = step.filter(|(at, _)| time >= *at).map_or(0.0, |(_, by)| by);
        Duration::from_secs_f64((zero + time + by).max(0.0))
    };
    let samples = scene
        .times
        .iter()
        .zip(used)
        .filter(|(time, _)| !gaps.iter().any(|gap| gap.contains(*time)))
        .map(|(&time, &used)| {
            let bytes = (used.clamp(0.0, scene.capacity) / quantum).floor() * quantum;
            (shown(time), ByteSize::new(bytes as u64))
        })
        .collect();
    let leak = leak.map(|leak| Leak {
        start: shown(leak.start.as_secs_f64()),
        full: leak.full.map(|full| shown(full.as_secs_f64())),
        ..leak
    });
    Readings {
        capacity: ByteSize::new(scene.capacity as u64),
        period: Duration::from_secs_f64(scene.period),
        leak,
        samples,
    }
}

/// Every program allocates and frees a little all the time; some do not show it.
fn wobble(used: &mut [f64], random: &mut Random) {
    let height = if random.unit() < 0.4 { 0.0 } else { random.between_log(1e-5, 3e-3) };
    used.iter_mut().for_each(|used| *used *= 1.0 + height * random.unit());
}
