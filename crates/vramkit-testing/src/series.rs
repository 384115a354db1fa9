//! Series of used bytes with labels: ten ways in which healthy programs use memory, and the same with a leak. For
//! measuring leak detectors; all synthetic, the same for a seed on every machine.

use super::random::Random;

/// A way in which a healthy program uses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Healthy {
    /// Always the same.
    Constant,
    /// Noise that remembers (an autoregressive process of order 1).
    Noise,
    /// Rises and is collected, every few seconds to minutes.
    Sawtooth,
    /// Models are loaded, and some unloaded, each at once.
    Loads,
    /// Rises ever slower to a plateau.
    WarmUp,
    /// Up and down with the load.
    Sine,
    /// Short heights at random times.
    Bursts,
    /// Keys and values of sequences that come, grow and go.
    Kv,
    /// Fragmentation that grows ever slower.
    Fragmentation,
    /// Rises evenly, then stays.
    Ramp,
}

impl Healthy {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Constant,
        Self::Noise,
        Self::Sawtooth,
        Self::Loads,
        Self::WarmUp,
        Self::Sine,
        Self::Bursts,
        Self::Kv,
        Self::Fragmentation,
        Self::Ramp,
    ];
}

/// A leak that was added to a series.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct Leaking {
    /// The first second of it.
    pub start: usize,
    /// Of the base level, a minute.
    pub rate: f64,
    /// What had been lost at the end, as a part of the base level.
    pub reached: f64,
}

/// Used bytes, once a second.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Series {
    /// How the program uses memory, apart from the leak.
    pub class: Healthy,
    /// The leak, if there is one.
    pub leak: Option<Leaking>,
    /// Bytes, one number a second.
    pub used: Vec<f64>,
}

/// A series of 5 to 60 minutes; the leaking twin of a healthy one has the same seed.
pub fn series(class: Healthy, leaking: bool, seed: u64) -> Series {
    let mut random = Random::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ class as u64);
    let seconds = random.between(300.0, 3600.0) as usize;
    let base = random.between_log(0.5, 40.0) * (1u64 << 30) as f64;
    let shape = healthy(class, seconds, &mut random);
    // Every program allocates and frees a little all the time.
    let jitter = random.between_log(1e-5, 2e-3);
    let mut used: Vec<f64> = shape.iter().map(|part| base * (part + jitter * random.unit())).collect();
    let start = (random.between(0.0, 0.3) * seconds as f64) as usize;
    let rate = random.between_log(0.0005, 0.1);
    let leak = leaking.then(|| {
        for (second, used) in used.iter_mut().enumerate().skip(start) {
            *used += base * rate * (second - start) as f64 / 60.0;
        }
        Leaking { start, rate, reached: rate * (seconds - start) as f64 / 60.0 }
    });
    Series { class, leak, used }
}

/// Parts of the base level, once a second.
fn healthy(class: Healthy, seconds: usize, random: &mut Random) -> Vec<f64> {
    let at = |f: &dyn Fn(f64) -> f64| (0..seconds).map(|second| f(second as f64)).collect::<Vec<f64>>();
    match class {
        Healthy::Constant => vec![1.0; seconds],
        Healthy::Noise => {
            let (memory, deviation) = (1.0 - random.between_log(0.002, 0.1), random.between(0.01, 0.05));
            let kick = deviation * (1.0 - memory * memory).sqrt();
            let mut x = deviation * random.normal();
            let mut next = || {
                x = memory * x + kick * random.normal();
                (1.0 + x).max(0.1)
            };
            (0..seconds).map(|_| next()).collect()
        }
        Healthy::Sawtooth => {
            let (period, height) = (random.between_log(5.0, 240.0), random.between(0.05, 0.5));
            at(&|t| 1.0 + height * (t / period).fract())
        }
        Healthy::Loads => {
            let mut level = vec![1.0; seconds];
            for _ in 0..=random.below(6) {
                let from = random.below(seconds as u64) as usize;
                let to = if random.unit() < 0.4 {
                    (from + random.exponential(600.0) as usize).min(seconds)
                } else {
                    seconds
                };
                let height = random.between(0.05, 0.5);
                // Loading takes a few seconds.
                let ramp = random.between(1.0, 20.0);
                for (second, level) in level[from..to].iter_mut().enumerate() {
                    *level += height * ((second + 1) as f64 / ramp).min(1.0);
                }
            }
            level
        }
        Healthy::WarmUp => {
            let (height, time) = (random.between(0.1, 1.0), random.between_log(30.0, 300.0));
            at(&|t| 1.0 + height * (1.0 - (-t / time).exp()))
        }
        Healthy::Sine => {
            let (height, period) = (random.between(0.05, 0.3), random.between_log(60.0, 3600.0));
            let phase = random.unit();
            at(&|t| 1.0 + height * (1.0 + (std::f64::consts::TAU * (t / period + phase)).sin()))
        }
        Healthy::Bursts => {
            let mut level = vec![1.0; seconds];
            let (every, lasting) = (random.between_log(20.0, 300.0), random.between_log(2.0, 60.0));
            let mut second = random.exponential(every);
            while (second as usize) < seconds {
                let end = ((second + random.exponential(lasting)) as usize + 1).min(seconds);
                let height = random.between(0.05, 0.6);
                level[second as usize..end].iter_mut().for_each(|level| *level += height);
                second += random.exponential(every);
            }
            level
        }
        Healthy::Kv => kv(seconds, random),
        Healthy::Fragmentation => {
            let (height, time) = (random.between(0.05, 0.5), random.between_log(60.0, 900.0));
            at(&|t| 1.0 + height * t / (t + time))
        }
        Healthy::Ramp => {
            let (height, time) = (random.between(0.1, 1.0), random.between_log(60.0, 900.0));
            let start = random.between(0.0, 0.3) * seconds as f64;
            at(&|t| 1.0 + height * ((t - start) / time).clamp(0.0, 1.0))
        }
    }
}

/// Sequences arrive at random, grow by a token a step and leave.
fn kv(seconds: usize, random: &mut Random) -> Vec<f64> {
    let (seats, mean) = (4 + random.below(60) as usize, random.between_log(20.0, 200.0));
    let part = random.between(0.1, 0.6) / (seats as f64 * 2.0 * mean);
    // Each seat: tokens held, and how many seconds are left, of a sequence or of waiting for one.
    let mut places: Vec<(f64, f64, bool)> =
        (0..seats).map(|_| (0.0, random.exponential(mean), random.unit() < 0.7)).collect();
    let mut level = Vec::with_capacity(seconds);
    for _ in 0..seconds {
        for (tokens, left, busy) in &mut places {
            *left -= 1.0;
            if *busy {
                *tokens += 1.0;
            }
            if *left <= 0.0 {
                *busy = !*busy || random.unit() < 0.6;
                *tokens = if *busy { random.exponential(mean) } else { 0.0 };
                *left = if *busy { random.exponential(mean) } else { random.exponential(mean * 0.4) };
            }
        }
        level.push(1.0 + part * places.iter().map(|place| place.0).sum::<f64>());
    }
    level
}
