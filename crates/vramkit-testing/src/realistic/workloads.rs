//! How healthy programs use a card. Every parameter is drawn widely; sizes are parts of the card.

use std::f64::consts::TAU;

use super::curve::Curve;
use super::parts::{Ar, every_so_often, load, notebook, records, start, teeth, tenants};
use super::scene::{GIB, MIB, Scene};
use crate::random::Random;

/// A way in which a healthy program uses a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Workload {
    /// Training, always the same step.
    Training,
    /// Training with a validation every so many steps.
    Validation,
    /// Training with checkpoints that take a copy for a moment.
    Checkpoints,
    /// Training whose allocator's fragmentation levels off.
    Fragmentation,
    /// Training on inputs of changing shapes: what is reserved is the greatest so far.
    DynamicShapes,
    /// Training that empties the allocator's cache after each epoch.
    EpochsEmptied,
    /// Training whose sequences grow a few times.
    Curriculum,
    /// A server that takes its memory at the start.
    Preallocated,
    /// A server whose reserved memory follows the highest load so far.
    ServingRatchet,
    /// A cache of prefixes that fills to its bound.
    PrefixCache,
    /// A cache of embeddings that fills ever slower to its bound.
    EmbeddingLru,
    /// Cells of a notebook, run by hand.
    Notebook,
    /// A loader with pinned buffers and a queue.
    PinnedLoader,
    /// Tenants that come and go.
    Tenants,
    /// A load that follows the day.
    Diurnal,
    /// Batches by the clock.
    CronBatches,
    /// Sessions in office hours.
    OfficeSessions,
    /// As many replicas as the load needs.
    Autoscaled,
    /// Nearly nothing.
    IdleCard,
    /// A collector's teeth.
    Collector,
    /// Noise that comes back to its mean.
    MeanReverting,
    /// Replicas that are restarted in turn.
    RollingRestarts,
    /// Adapters that are loaded when they are first asked for.
    Adapters,
    /// Runs of a sweep, one after the other.
    Sweep,
    /// Workspaces that grow as the logarithm of time.
    LogWorkspaces,
    /// Noise, with times that nobody read.
    GapsAndNoise,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::Training,
        Self::Validation,
        Self::Checkpoints,
        Self::Fragmentation,
        Self::DynamicShapes,
        Self::EpochsEmptied,
        Self::Curriculum,
        Self::Preallocated,
        Self::ServingRatchet,
        Self::PrefixCache,
        Self::EmbeddingLru,
        Self::Notebook,
        Self::PinnedLoader,
        Self::Tenants,
        Self::Diurnal,
        Self::CronBatches,
        Self::OfficeSessions,
        Self::Autoscaled,
        Self::IdleCard,
        Self::Collector,
        Self::MeanReverting,
        Self::RollingRestarts,
        Self::Adapters,
        Self::Sweep,
        Self::LogWorkspaces,
        Self::GapsAndNoise,
    ];

    /// Shorter series of it would show nothing of it.
    pub(super) fn least_seconds(self) -> f64 {
        match self {
            Self::Diurnal | Self::OfficeSessions => 4.0 * 3600.0,
            Self::Curriculum | Self::Autoscaled | Self::CronBatches => 3600.0,
            _ => 600.0,
        }
    }

    pub(super) fn used(self, scene: &Scene, random: &mut Random) -> Vec<f64> {
        let (card, end) = (scene.capacity, scene.seconds);
        let mut curve = Curve::new(&scene.times);
        match self {
            Self::Training => start(&mut curve, card * random.between(0.2, 0.95), random),
            Self::Validation => {
                start(&mut curve, card * random.between(0.2, 0.75), random);
                let (every, more) = (random.between_log(60.0, end / 3.0), card * random.between(0.02, 0.15));
                let lasting = every * random.between(0.05, 0.3);
                every_so_often(every, end, random, |at, random| {
                    curve.stay(at, lasting, more * random.between(0.9, 1.0));
                });
            }
            Self::Checkpoints => {
                start(&mut curve, card * random.between(0.2, 0.75), random);
                let (every, more) = (random.between_log(120.0, end / 2.0), card * random.between(0.01, 0.15));
                every_so_often(every, end, random, |at, random| {
                    curve.stay(at, random.between_log(2.0, 120.0), more);
                });
            }
            Self::Fragmentation => {
                let base = card * random.between(0.15, 0.7);
                start(&mut curve, base, random);
                let more = (base * random.between(0.05, 0.5)).min(0.95 * card - base);
                let (time, unit) =
                    (random.between_log(60.0, end / 2.0), random.between_log(2.0, 512.0) * MIB);
                let is_slow = random.unit() < 0.4;
                curve.add(|t| {
                    let part = if is_slow { t / (t + time) } else { 1.0 - (-t / time).exp() };
                    (more * part / unit).floor() * unit
                });
            }
            Self::DynamicShapes => {
                let base = card * random.between(0.15, 0.6);
                start(&mut curve, base, random);
                let (spread, every) = (random.between(0.02, 0.12), random.between_log(1.0, 120.0));
                records(&mut curve, card * 0.97 - base, end, every, random, |random| {
                    base * spread * random.normal()
                });
            }
            Self::EpochsEmptied => {
                let base = card * random.between(0.15, 0.6);
                start(&mut curve, base, random);
                let (every, more) = (random.between_log(60.0, end / 2.0), card * random.between(0.02, 0.3));
                let bend = random.between_log(0.4, 1.2);
                let phase = random.unit();
                curve.add(|t| more * (t / every + phase).fract().powf(bend));
            }
            Self::Curriculum => {
                let base = card * random.between(0.1, 0.4);
                start(&mut curve, base, random);
                let steps = 1 + random.below(6);
                let more = random.between(0.02, 0.5 / steps as f64) * card;
                let is_even = random.unit() < 0.5;
                for step in 0..steps {
                    let even = (step + 1) as f64 / (steps + 1) as f64;
                    curve.step(
                        end * if is_even { even } else { random.unit() },
                        more * random.between(0.8, 1.2),
                    );
                }
            }
            Self::Preallocated => start(&mut curve, card * random.between(0.6, 0.97), random),
            Self::ServingRatchet => {
                let base = card * random.between(0.2, 0.6);
                start(&mut curve, base, random);
                let every = random.between_log(1.0, 300.0);
                let mean = card * random.between_log(0.01, 0.05);
                records(&mut curve, card * 0.95 - base, end, every, random, |random| {
                    random.exponential(mean)
                });
            }
            Self::PrefixCache => {
                let base = card * random.between(0.2, 0.6);
                start(&mut curve, base, random);
                let bound = card * random.between(0.05, 0.95 - base / card);
                let (time, is_even) = (random.between_log(120.0, end), random.unit() < 0.4);
                let mut arrived = 0.0;
                let (mut before, noise) = (0.0, random.between(0.0, 1.0));
                curve.add(|t| {
                    arrived += (t - before) / time * (1.0 + noise * random.normal()).max(0.0);
                    before = t;
                    bound * if is_even { arrived.min(1.0) } else { 1.0 - (-2.0 * arrived).exp() }
                });
            }
            Self::EmbeddingLru => {
                let base = card * random.between(0.05, 0.4);
                start(&mut curve, base, random);
                let bound = card * random.between(0.05, 0.4);
                let (time, bend) = (random.between_log(120.0, 1.5 * end), random.between(0.35, 0.8));
                curve.add(|t| bound * (t / time).min(1.0).powf(bend));
            }
            Self::Notebook => notebook(&mut curve, card, end, random),
            Self::PinnedLoader => {
                start(&mut curve, card * random.between(0.1, 0.6), random);
                let (workers, each) = (1 + random.below(16), card * random.between_log(0.002, 0.02));
                (0..workers).for_each(|worker| curve.step(worker as f64 * random.between(1.0, 20.0), each));
                let (mut queue, most) = (0.0, 8.0);
                curve.add(|_| {
                    queue = (queue + random.normal()).clamp(0.0, most);
                    0.25 * each * f64::floor(queue)
                });
            }
            Self::Tenants => {
                curve.add(|_| 0.5 * GIB);
                tenants(&mut curve, card, end, 0.9, random);
            }
            Self::Diurnal => {
                let base = card * random.between(0.2, 0.6);
                let more = card * random.between(0.05, 0.35);
                load(&mut curve, base, more, 86_400.0, random);
            }
            Self::CronBatches => {
                start(&mut curve, card * random.between(0.02, 0.4), random);
                let every = [600.0, 900.0, 1800.0, 3600.0, 7200.0][random.below(5) as usize];
                let (more, lasting) = (card * random.between(0.05, 0.5), every * random.between(0.1, 0.8));
                every_so_often(every, end, random, |at, random| {
                    let ramp = random.between_log(1.0, 300.0).min(lasting / 2.0);
                    curve.ramp(at, ramp, more);
                    curve.step(at + lasting * random.between(0.8, 1.1), -more);
                });
            }
            Self::OfficeSessions => {
                curve.add(|_| card * 0.05);
                let (sessions, each) = (5 + random.below(40), random.between(0.3, 2.0));
                let unit = (card * 0.8 / sessions as f64).min(each * GIB);
                let morning = random.between(-0.3, 0.3) * end;
                for _ in 0..sessions {
                    let from = morning + random.between(0.5, 1.0) * 10_800.0 * random.unit();
                    curve.stay(
                        from.max(0.0),
                        random.between_log(1800.0, 32_000.0),
                        unit * random.between(0.5, 1.5),
                    );
                }
            }
            Self::Autoscaled => {
                let most = 2 + random.below(10);
                let (each, period) = (card * 0.9 / most as f64, random.between_log(1800.0, 86_400.0));
                let (phase, low) = (random.unit(), random.between(0.1, 0.6));
                let mut noise = Ar::new(random.between_log(60.0, 1800.0), 0.1);
                let mut count: f64 = 1.0;
                curve.add(|t| {
                    let sine = 0.5 + 0.5 * (TAU * (t / period + phase)).sin();
                    let wanted = most as f64 * (low + (1.0 - low) * sine + noise.next(t, random));
                    // One more at once, one less with hesitation.
                    if wanted > count + 0.2 {
                        count = wanted.ceil().clamp(1.0, most as f64);
                    } else if wanted < count - 1.5 {
                        count = (count - 1.0).max(1.0);
                    }
                    count * each
                });
            }
            Self::IdleCard => {
                let base = random.between_log(1.0, 600.0) * MIB;
                let (time, more) = (random.between_log(300.0, end), random.between_log(0.5, 60.0) * MIB);
                curve.add(|t| base + more * (t / time).min(1.0));
            }
            Self::Collector => {
                let base = card * random.between(0.05, 0.5);
                curve.add(|_| base);
                teeth(&mut curve, card * random.between(0.02, 0.4), end, random);
            }
            Self::MeanReverting | Self::GapsAndNoise => {
                let base = card * random.between(0.2, 0.8);
                let mut noise = Ar::new(
                    random.between_log(10.0, 3600.0),
                    base.min(card - base) * random.between(0.01, 0.15),
                );
                curve.add(|t| base + noise.next(t, random));
            }
            Self::RollingRestarts => {
                let (count, every) = (1 + random.below(6), random.between_log(300.0, end));
                let each = card * random.between(0.3, 0.9) / count as f64;
                let (part, time) = (random.between(0.5, 0.95), random.between_log(20.0, every));
                let down = random.between_log(2.0, 60.0);
                for replica in 0..count {
                    let phase = every * (replica as f64 + random.unit()) / count as f64;
                    curve.add(|t| {
                        let age = (t + phase) % every;
                        if age < down && t > down {
                            return 0.0;
                        }
                        each * (part + (1.0 - part) * (1.0 - (-age / time).exp()))
                    });
                }
            }
            Self::Adapters => {
                let base = card * random.between(0.2, 0.7);
                start(&mut curve, base, random);
                let (kinds, every) = (5 + random.below(60), random.between_log(2.0, 600.0));
                let each = (random.between_log(30.0, 500.0) * MIB).min((0.95 * card - base) / kinds as f64);
                let skew = random.between(1.0, 4.0);
                let mut known = vec![false; kinds as usize];
                let mut at = random.exponential(every);
                while at < end {
                    let kind = (kinds as f64 * random.unit().powf(skew)) as usize;
                    if !std::mem::replace(&mut known[kind], true) {
                        curve.step(at, each * random.between(0.7, 1.3));
                    }
                    at += random.exponential(every);
                }
            }
            Self::Sweep => {
                let mean = random.between_log(120.0, end / 2.0);
                curve.add(|_| 0.3 * GIB);
                let mut at = random.between(0.0, 300.0);
                while at < end {
                    let (lasting, bytes) =
                        (mean * random.between(0.3, 1.7), card * random.between(0.1, 0.85));
                    let ramp = random.between_log(2.0, 90.0).min(lasting / 3.0);
                    curve.ramp(at, ramp, bytes);
                    curve.step(at + lasting, -bytes);
                    at += lasting + random.exponential(30.0);
                }
            }
            Self::LogWorkspaces => {
                let base = card * random.between(0.2, 0.6);
                start(&mut curve, base, random);
                let (more, time) = (card * random.between_log(0.002, 0.04), random.between_log(5.0, 600.0));
                let unit = random.between_log(2.0, 256.0) * MIB;
                curve.add(|t| ((more * (1.0 + t / time).ln()) / unit).floor() * unit);
            }
        }
        curve.finish()
    }
}
