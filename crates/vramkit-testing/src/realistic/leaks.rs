//! How programs leak: what they use without the leak, what is lost by each time, and since when.

use super::curve::Curve;
use super::parts::{Ar, every_so_often, load, notebook, start, teeth, tenants};
use super::scene::{GIB, MIB, Scene};
use crate::random::Random;

/// A way to leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LeakKind {
    /// Evenly.
    Linear,
    /// A little with every request.
    ByRequest,
    /// With a load that follows the day.
    DiurnalLoad,
    /// With a load that comes in bursts.
    BurstyLoad,
    /// With every error of a server that takes its memory at the start.
    OnErrors,
    /// At times.
    StopAndGo,
    /// Under a collector's teeth.
    CollectorFloor,
    /// Beside tenants that come and go.
    AmongTenants,
    /// In an allocator's granules, in training.
    Granules,
    /// With every epoch.
    ByEpoch,
    /// With cells of a notebook that are run again.
    Notebook,
    /// On a card that is nearly full.
    NearFull,
    /// With every checkpoint.
    ByCheckpoint,
    /// Under noise.
    InNoise,
    /// With times when much is given back for a while.
    WithDips,
    /// In one part, while another is restarted.
    OverRestarts,
    /// Ever faster.
    Accelerating,
    /// As the square root of time.
    SquareRoot,
    /// Until the program ends, again and again.
    CrashLoop,
    /// After a cache has filled.
    AfterCache,
    /// With the pinned buffers of a loader's workers.
    PinnedLoader,
    /// Slowly, read every minute or less.
    SlowAtMinutes,
}

/// What a leaking program does.
pub(super) struct Drawn {
    pub(super) used: Vec<f64>,
    pub(super) lost: Vec<f64>,
    pub(super) start: f64,
}

impl LeakKind {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Linear,
        Self::ByRequest,
        Self::DiurnalLoad,
        Self::BurstyLoad,
        Self::OnErrors,
        Self::StopAndGo,
        Self::CollectorFloor,
        Self::AmongTenants,
        Self::Granules,
        Self::ByEpoch,
        Self::Notebook,
        Self::NearFull,
        Self::ByCheckpoint,
        Self::InNoise,
        Self::WithDips,
        Self::OverRestarts,
        Self::Accelerating,
        Self::SquareRoot,
        Self::CrashLoop,
        Self::AfterCache,
        Self::PinnedLoader,
        Self::SlowAtMinutes,
    ];

    /// Shorter series of it would show nothing of it.
    pub(super) fn least_seconds(self) -> f64 {
        match self {
            Self::DiurnalLoad => 4.0 * 3600.0,
            Self::SlowAtMinutes => 3.0 * 3600.0,
            Self::ByEpoch | Self::ByCheckpoint | Self::StopAndGo | Self::BurstyLoad | Self::OnErrors => {
                2400.0
            }
            _ => 1200.0,
        }
    }

    pub(super) fn draw(self, scene: &mut Scene, random: &mut Random) -> Drawn {
        if self == Self::SlowAtMinutes {
            scene.period = [60.0, 120.0, 300.0][random.below(3) as usize];
            scene.sample(random);
        }
        let (card, end) = (scene.capacity, scene.seconds);
        let begin = random.between(0.0, 0.4) * end;
        let base =
            card * if self == Self::NearFull { random.between(0.85, 0.95) } else { random.between(0.1, 0.7) };
        // What will be lost by the end, should there be room.
        let lost = (card - base) * random.between_log(0.1, 2.5);
        let rate = lost / (end - begin);
        let (mut used, mut leak) = (Curve::new(&scene.times), Curve::new(&scene.times));
        let since = |t: f64| (t - begin).max(0.0);
        match self {
            Self::AmongTenants => {
                used.add(|_| base / 2.0);
                tenants(&mut used, card - base, end, 0.8, random);
            }
            Self::Notebook => notebook(&mut used, card * 0.6, end, random),
            Self::CollectorFloor => {
                used.add(|_| base);
                teeth(&mut used, (card - base) * random.between(0.05, 0.5), end, random);
            }
            Self::DiurnalLoad => {
                load(&mut used, base, (card - base) * random.between(0.05, 0.4), 86_400.0, random)
            }
            Self::InNoise => {
                let mut noise = Ar::new(
                    random.between_log(5.0, 1200.0),
                    base.min(card - base) * random.between(0.02, 0.15),
                );
                used.add(|t| base + noise.next(t, random));
            }
            Self::WithDips => {
                start(&mut used, base, random);
                every_so_often(random.between_log(60.0, end / 4.0), end, random, |at, random| {
                    used.stay(at, random.between_log(2.0, 120.0), -base * random.between(0.1, 0.9));
                });
            }
            Self::OverRestarts => {
                let part = random.between(0.1, 0.5);
                used.add(|_| base * (1.0 - part));
                let every = random.between_log(end / 12.0, end / 2.0);
                used.add(|t| if t % every < 30.0 { 0.0 } else { base * part });
            }
            Self::AfterCache => {
                start(&mut used, base * 0.6, random);
                let (bound, time) = (base * 0.4, begin.max(60.0) * random.between(0.3, 1.0));
                used.add(|t| bound * (t / time).min(1.0));
            }
            _ => start(&mut used, base, random),
        }
        let again = |every: f64, bytes_each: f64, leak: &mut Curve, random: &mut Random| {
            every_so_often(every, end - begin, random, |at, random| {
                leak.step(begin + at, bytes_each * random.between(0.7, 1.3));
            });
        };
        match self {
            Self::ByRequest | Self::OnErrors | Self::Notebook => {
                let few = if self == Self::ByRequest { 1000.0 } else { 15.0 };
                let each = (lost / random.between_log(few, few * 10.0)).max(64.0 * 1024.0);
                let mut at = begin;
                while at < end {
                    at += random.exponential(each / rate);
                    leak.step(at, each * random.between(0.5, 1.5));
                }
            }
            Self::DiurnalLoad => {
                let phase = random.unit();
                let mut sum = 0.0;
                let mut before = begin;
                leak.add(|t| {
                    let load = 1.0 + (std::f64::consts::TAU * (t / 86_400.0 + phase)).sin();
                    sum += rate * load * (t - before).max(0.0);
                    before = t.max(begin);
                    sum
                });
            }
            Self::BurstyLoad | Self::StopAndGo => {
                let every = (end - begin) / random.between(3.0, 30.0);
                let part = random.between(0.15, 0.6);
                let mut at = begin;
                while at < end {
                    let whole =
                        if self == Self::StopAndGo { every } else { random.exponential(every).max(1.0) };
                    let burst = whole * part;
                    leak.ramp(at, burst, rate * whole);
                    at += whole;
                }
            }
            Self::Granules => {
                let unit = random.between_log(2.0, 512.0) * MIB;
                leak.add(|t| (rate * since(t) / unit).floor() * unit);
            }
            Self::ByEpoch | Self::ByCheckpoint | Self::PinnedLoader => {
                let every = (end - begin) / random.between_log(6.0, 60.0);
                again(every, rate * every, &mut leak, random);
                if self == Self::ByCheckpoint {
                    let more = (card - base) * random.between(0.02, 0.2);
                    every_so_often(every, end, random, |at, random| {
                        used.stay(at, random.between_log(2.0, 60.0), more);
                    });
                }
            }
            Self::Accelerating => {
                let bend = random.between(1.3, 2.5);
                leak.add(|t| lost * (since(t) / (end - begin)).powf(bend));
            }
            Self::SquareRoot => leak.add(|t| lost * (since(t) / (end - begin)).sqrt()),
            Self::CrashLoop => {
                // It ends before the card is full, at a limit of its own.
                let most = (card - base) * random.between(0.5, 0.95);
                let rate = rate * random.between(1.5, 5.0);
                leak.add(|t| (rate * since(t)) % most);
            }
            _ => leak.add(|t| rate * since(t)),
        }
        let mut used = used.finish();
        used.iter_mut().for_each(|used| *used = used.clamp(0.2 * GIB, 0.97 * card));
        Drawn { used, lost: leak.finish(), start: begin }
    }
}
