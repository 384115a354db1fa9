//! Simulated programs and their ledgers: weights, batches, keys and values, caches, and in some a leak in one tag. For
//! measuring detectors that know owners and ages; all synthetic, the same for a seed on every machine.

use std::time::Duration;

use super::random::Random;
use vramkit::pool::{AGE_CLASSES, LedgerEntry, Purpose};
use vramkit::units::ByteSize;

/// A class of age a second long would do for batches; ages are kept to this many seconds.
const STEP: u64 = 10;

/// One simulated program.
///
/// ```
/// use vramkit::pressure::leak::OwnerLeaks;
/// use vramkit_testing::Program;
///
/// let (mut program, mut leaks) = (Program::new(true, 1), OwnerLeaks::default());
/// while let Some((now, ledger)) = program.step() {
///     leaks.check(now, &ledger);
/// }
/// let (tag, _since) = program.leak.expect("it was asked to leak");
/// assert!(leaks.suspected().any(|leak| leak.tag == tag));
/// ```
pub struct Program {
    tags: Vec<Tag>,
    random: Random,
    now: u64,
    /// The tag that leaks, and since which second.
    pub leak: Option<(&'static str, u64)>,
    /// How long it runs, in seconds.
    pub seconds: u64,
}

/// What a tag's allocations do.
enum Life {
    /// Loaded at one time, unloaded at another.
    Weights { from: u64, to: u64 },
    /// So many at once, for about so many seconds; the number follows the load.
    Lasting { mean_seconds: f64, arrivals: f64 },
    /// Kept up to a bound; keys come again by a skewed law, so that it fills ever slower, or never, so that it fills
    /// evenly. What was made first goes first.
    Cache { bound: usize, arrivals: f64, keys: Option<f64> },
}

struct Tag {
    name: &'static str,
    purpose: Purpose,
    life: Life,
    bytes: f64,
    /// When each was made, and when it ends; a leaked one never does.
    live: Vec<(u64, u64)>,
    /// A second, of allocations that are never released.
    leaks: f64,
    since: u64,
}

impl Program {
    /// A program of its own for each seed. The leak, if there is one, begins in the first third and has lost at least
    /// 64 MiB and 60 allocations two hours later.
    pub fn new(leaking: bool, seed: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 77);
        let seconds = 4 * 3600;
        let mut tags = Vec::new();
        for name in ["model-a", "model-b", "model-c"].into_iter().take(1 + random.below(3) as usize) {
            let from = if random.unit() < 0.5 { 0 } else { random.below(seconds) };
            let to = if random.unit() < 0.3 { from + random.below(seconds) } else { u64::MAX };
            let bytes = random.between_log(5e8, 2e10);
            tags.push(Tag::new(name, Purpose::Weights, Life::Weights { from, to }, bytes));
        }
        let lasting = |mean_seconds, arrivals| Life::Lasting { mean_seconds, arrivals };
        let batches = lasting(random.between_log(1.0, 10.0), random.between(1.0, 10.0));
        tags.push(Tag::new("batch", Purpose::Activation, batches, random.between_log(1e6, 5e7)));
        let sequences = lasting(random.between_log(10.0, 200.0), random.between_log(0.1, 2.0));
        tags.push(Tag::new("sequence", Purpose::Kv, sequences, random.between_log(2e6, 1e8)));
        for name in ["prefix cache", "result cache"].into_iter().take(random.below(3) as usize) {
            let bound = random.between_log(200.0, 2000.0);
            // It fills within a few minutes to a quarter of an hour.
            let arrivals = bound / random.between_log(60.0, 900.0);
            let keys = (random.unit() < 0.7).then(|| bound * random.between_log(1.1, 5.0));
            let cache = Life::Cache { bound: bound as usize, arrivals, keys };
            tags.push(Tag::new(name, Purpose::Other, cache, random.between_log(1e5, 5e6)));
        }
        let leak = leaking.then(|| {
            // Weights are not made again and again.
            let able: Vec<usize> =
                (0..tags.len()).filter(|&i| !matches!(tags[i].life, Life::Weights { .. })).collect();
            let tag = &mut tags[able[random.below(able.len() as u64) as usize]];
            tag.since = random.below(seconds / 3);
            let lost_in_two_hours = random.between_log(6.7e7, 2e10).max(60.0 * tag.bytes);
            tag.leaks = lost_in_two_hours / 7200.0 / tag.bytes;
            (tag.name, tag.since)
        });
        Self { tags, random, now: 0, leak, seconds }
    }

    /// Ten seconds on: the time, and the ledger then. `None` at the end.
    pub fn step(&mut self) -> Option<(Duration, Vec<LedgerEntry>)> {
        if self.now >= self.seconds {
            return None;
        }
        self.now += STEP;
        let now = self.now;
        // The load of a day, on a smaller scale, and its noise.
        let load = 1.0 + 0.4 * (now as f64 / 5000.0).sin() + 0.1 * self.random.unit();
        for tag in &mut self.tags {
            tag.step(now, load, &mut self.random);
        }
        let entries = self.tags.iter().filter(|tag| !tag.live.is_empty()).map(|tag| tag.entry(now));
        Some((Duration::from_secs(now), entries.collect()))
    }
}

impl Tag {
    fn new(name: &'static str, purpose: Purpose, life: Life, bytes: f64) -> Self {
        Self { name, purpose, life, bytes, live: Vec::new(), leaks: 0.0, since: 0 }
    }

    fn step(&mut self, now: u64, load: f64, random: &mut Random) {
        // As many as were expected, the part of one by chance.
        let mut many = |expected: f64| expected as u64 + u64::from(random.unit() < expected.fract());
        let lost = if now > self.since { many(self.leaks * STEP as f64) } else { 0 };
        self.live.extend((0..lost).map(|_| (now, u64::MAX)));
        match &self.life {
            Life::Weights { from, to } => {
                self.live.clear();
                if (*from..*to).contains(&now) {
                    self.live.push((*from, *to));
                }
            }
            Life::Lasting { mean_seconds, arrivals } => {
                let come = many(arrivals * load * STEP as f64);
                // Those that end within the step are never seen.
                for _ in 0..come {
                    let end = now + random.exponential(*mean_seconds) as u64;
                    self.live.push((now, end));
                }
                self.live.retain(|(_, end)| *end > now);
            }
            Life::Cache { bound, arrivals, keys } => {
                let kept = self.live.iter().filter(|(_, end)| *end != u64::MAX).count();
                let come = many(arrivals * load * STEP as f64);
                for _ in 0..come {
                    let known = keys.map_or(0.0, |keys| kept as f64 / keys);
                    if random.unit() >= known {
                        self.live.push((now, u64::MAX - 1));
                    }
                }
                let mut over =
                    self.live.iter().filter(|(_, end)| *end != u64::MAX).count().saturating_sub(*bound);
                self.live.retain(|(_, end)| {
                    let goes = over > 0 && *end != u64::MAX;
                    over -= usize::from(goes);
                    !goes
                });
            }
        }
    }

    fn entry(&self, now: u64) -> LedgerEntry {
        let mut by_age = [0.0; AGE_CLASSES];
        for (made, _) in &self.live {
            let age = now - made;
            let class = if age == 0 { 0 } else { (age.ilog2() as usize + 1).min(AGE_CLASSES - 1) };
            by_age[class] += self.bytes;
        }
        LedgerEntry {
            model: "served".into(),
            purpose: self.purpose,
            tag: self.name.into(),
            allocations: self.live.len() as u64,
            granted_bytes: ByteSize::new(by_age.iter().map(|bytes| *bytes as u64).sum()),
            by_age_bytes: by_age.map(|bytes| ByteSize::new(bytes as u64)),
        }
    }
}
