//! Memory that fills at a rate that is known, until it is full: for measuring forecasts.

use std::time::Duration;

use vramkit::units::ByteSize;

use super::curve::Curve;
use super::parts::{Ar, teeth};
use super::scene::{CARDS, GIB, MIB};
use crate::random::Random;

/// What is around the line that fills a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FillKind {
    /// Noise that forgets at once.
    White,
    /// Noise that remembers for seconds to half an hour.
    Correlated,
    /// A random walk, whose drift is the line.
    Walk,
    /// Steps at equal or at random distances instead of the line.
    Steps,
    /// A collector's teeth.
    Teeth,
    /// A load that comes and goes evenly.
    Load,
}

impl FillKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::White, Self::Correlated, Self::Walk, Self::Steps, Self::Teeth, Self::Load];
}

/// A series that fills, or (one in six) stays.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Fill {
    /// What the card holds.
    pub capacity: ByteSize,
    /// The line's bytes a second.
    pub bytes_per_second: f64,
    /// When a reading first shows it full; none when none did in the time that was simulated, which is thrice what the
    /// line needs.
    pub full: Option<Duration>,
    /// Readings up to then, at most up to the time at which the line alone is full.
    pub samples: Vec<(Duration, ByteSize)>,
}

/// A series of 10 minutes to 24 hours, read every .2 to 300 seconds; half of them in MiB.
///
/// ```
/// use vramkit_testing::realistic::{FillKind, fill};
///
/// let fill = fill(FillKind::White, 1);
/// assert!(fill.full.is_none() || fill.bytes_per_second > 0.0);
/// ```
pub fn fill(kind: FillKind, seed: u64) -> Fill {
    let mut random = Random::new(seed.wrapping_mul(0xa076_1d64_78bd_642f) ^ (kind as u64) << 12);
    let random = &mut random;
    let card = CARDS[random.below(CARDS.len() as u64) as usize] * GIB;
    let seconds = random.between_log(600.0, 86_400.0);
    let period = [0.2f64, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0][random.below(8) as usize]
        .clamp(seconds / 5000.0, seconds / 40.0);
    let times: Vec<f64> = (0..(3.0 * seconds / period) as usize).map(|i| i as f64 * period).collect();
    let base = card * random.between(0.05, 0.8);
    let room = card - base;
    let rate = if random.unit() < 1.0 / 6.0 { 0.0 } else { room / seconds };
    let mut curve = Curve::new(&times);
    curve.add(|_| base);
    if kind != FillKind::Steps {
        curve.add(|t| rate * t);
    }
    match kind {
        FillKind::White => {
            let deviation = room * random.between_log(1e-4, 0.05);
            curve.add(|_| deviation * random.normal());
        }
        FillKind::Correlated => {
            let mut noise = Ar::new(random.between_log(5.0, 1800.0), room * random.between_log(1e-3, 0.05));
            curve.add(|t| noise.next(t, random));
        }
        FillKind::Walk => {
            // Its deviation when the line is full, of the room.
            let deviation = room * random.between_log(0.02, 0.5) * (period / seconds).sqrt();
            let mut at = 0.0;
            curve.add(|_| {
                at += deviation * random.normal();
                at
            });
        }
        FillKind::Steps => {
            let count = random.between_log(8.0, 300.0);
            let (every, is_even) = (seconds / count, random.unit() < 0.5);
            let mut at = every * random.unit();
            while rate > 0.0 && at < 3.0 * seconds {
                curve.step(at, rate * every);
                at += if is_even { every } else { random.exponential(every) };
            }
        }
        FillKind::Teeth => teeth(&mut curve, room * random.between_log(0.01, 0.2), 3.0 * seconds, random),
        FillKind::Load => {
            let (height, turn) =
                (room * random.between_log(0.005, 0.2), random.between_log(300.0, 2.0 * seconds));
            let phase = random.unit();
            curve.add(|t| height * (std::f64::consts::TAU * (t / turn + phase)).sin());
        }
    }
    let quantum = if random.unit() < 0.5 { MIB } else { 1.0 };
    let used: Vec<f64> = curve.finish().into_iter().map(|used| (used / quantum).floor() * quantum).collect();
    let full = used.iter().position(|used| *used >= card - quantum);
    let end = full.unwrap_or(times.len()).min((seconds / period) as usize);
    let sample = |(time, used): (&f64, &f64)| (Duration::from_secs_f64(*time), ByteSize::new(*used as u64));
    Fill {
        capacity: ByteSize::new(card as u64),
        bytes_per_second: rate,
        full: full.map(|at| Duration::from_secs_f64(times[at])),
        samples: times.iter().zip(&used).take(end).map(sample).collect(),
    }
}
