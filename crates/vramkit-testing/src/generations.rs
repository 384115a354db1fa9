//! Bytes held after each generation of a program's work, with and without a leak. For measuring detectors that compare
//! generations; all synthetic, the same for a seed on every machine.

use super::random::Random;

/// How many generations a program runs.
pub const GENERATIONS: usize = 500;

/// What a program without a leak does from generation to generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Work {
    /// The same, with noise of up to a twentieth.
    Noise,
    /// Caches fill over the first generations, ever slower.
    WarmUp,
    /// Kernels and workspaces come when they are first used, the last of them after some forty generations.
    Lazy,
    /// What is made is collected every few generations.
    Sawtooth,
    /// One generation in ten holds far more when it ends, as may the first.
    Peaks,
    /// Every twenty to fifty generations a few evaluate, and hold more.
    Evaluations,
    /// An allocator keeps what the largest of sixteen shapes has needed so far.
    Shapes,
    /// Load that wanders about its mean.
    Wandering,
}

impl Work {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Noise,
        Self::WarmUp,
        Self::Lazy,
        Self::Sawtooth,
        Self::Peaks,
        Self::Evaluations,
        Self::Shapes,
        Self::Wandering,
    ];
}

/// A program's bytes after each generation, and since which one it leaks.
///
/// ```
/// use vramkit_testing::{Work, generations};
///
/// let (healthy, leak) = generations(Work::Sawtooth, false, 7);
/// assert_eq!((healthy.len(), leak), (500, None));
/// ```
pub fn generations(work: Work, leaking: bool, seed: u64) -> (Vec<f64>, Option<usize>) {
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ work as u64 ^ 0x67e6);
    let base = random.between_log(1e9, 6e10);
    let noise = base * random.between_log(0.0005, 0.01);
    let extra = shape(work, base, &mut random);
    let leak = leaking.then(|| random.below(200) as usize);
    // Three thresholds of 100 MB by the end, at least.
    let rate = leak.map_or(0.0, |since| {
        let least = 3e8 / (GENERATIONS - since) as f64;
        random.between_log(least, 50.0 * least)
    });
    let noise = if work == Work::Noise { base * random.between_log(0.002, 0.05) } else { noise };
    let lost = |at: usize| leak.map_or(0.0, |since| rate * at.saturating_sub(since) as f64);
    let used =
        (0..GENERATIONS).map(|at| (base + extra[at] + lost(at) + noise * random.normal().abs()).max(0.0));
    (used.collect(), leak)
}

/// What a kind of work holds beyond its base after each generation.
fn shape(work: Work, base: f64, random: &mut Random) -> Vec<f64> {
    let size = base * random.between_log(0.02, 0.5);
    match work {
        Work::Noise => vec![0.0; GENERATIONS],
        Work::WarmUp => {
            let slowness = random.between(2.0, 6.0);
            (0..GENERATIONS).map(|at| size * (1.0 - (-(at as f64) / slowness).exp())).collect()
        }
        Work::Lazy => {
            let loads: Vec<(f64, f64)> = (0..5 + random.below(15))
                .map(|_| (random.exponential(8.0).min(45.0), random.between_log(1e7, 2e8)))
                .collect();
            let loaded =
                |at: usize| loads.iter().filter(|(from, _)| *from <= at as f64).map(|(_, bytes)| bytes).sum();
            (0..GENERATIONS).map(loaded).collect()
        }
        Work::Sawtooth => {
            let (period, phase) = (3 + random.below(25) as usize, random.below(25) as usize);
            (0..GENERATIONS).map(|at| size * ((at + phase) % period) as f64 / period as f64).collect()
        }
        Work::Peaks => {
            let first = random.unit() < 0.5;
            (0..GENERATIONS)
                .map(|at| {
                    if at == 0 && first || random.unit() < 0.1 { random.between_log(1e8, 1e10) } else { 0.0 }
                })
                .collect()
        }
        Work::Evaluations => {
            let (every, few) = (20 + random.below(30) as usize, 1 + random.below(3) as usize);
            (0..GENERATIONS).map(|at| if at % every >= every - few { size } else { 0.0 }).collect()
        }
        Work::Shapes => {
            let mut largest = 0;
            (0..GENERATIONS)
                .map(|_| {
                    // The largest in one generation of twenty.
                    let shape = (16.0 * random.unit().powf(0.8) + 0.7) as u64;
                    largest = largest.max(shape.min(16));
                    size * largest as f64 / 16.0
                })
                .collect()
        }
        Work::Wandering => {
            let (kept, width) = (random.between(0.3, 0.8), size * 0.3);
            let mut at = 0.0;
            (0..GENERATIONS)
                .map(|_| {
                    at = kept * at + (1.0f64 - kept * kept).sqrt() * random.normal();
                    size + width * at.clamp(-3.0, 3.0)
                })
                .collect()
        }
    }
}
