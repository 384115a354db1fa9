//! Simulated programs and their ledgers, with and without leaks. For measuring detectors that know owners, ages and lifetimes;
//! all synthetic, the same for a seed on every machine.

use std::time::Duration;

use super::random::Random;
use super::stores::{Evicted, Lasting, Life, STEP, Store, TaggedRequests};
use vramkit::pool::{Holder, LedgerEntry, Purpose};
use vramkit::units::ByteSize;

/// What a program holds, beside weights, batches and short sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Serving {
    /// Caches that fill ever slower, or evenly for up to a quarter of an hour.
    Plain,
    /// Sequences that last for minutes to an hour, under a load that rises for up to two.
    LongSequences,
    /// Sessions that last for up to hours, from the first one on.
    Sessions,
    /// A cache that fills for up to an hour and a half and gives up what was not used for longest.
    LruCache,
    /// The same, which gives up what is used least: mostly the newest.
    LfuCache,
    /// A cache that fills evenly for up to three hours, to a budget.
    BudgetedCache,
    /// Copies of a model that come and go with the load.
    Replicas,
    /// The last so many, kept from the first on: full after up to five hours.
    ReplayBuffer,
    /// Blocks that stay for prompts with the same beginning, and blocks that are released at their request's end, under one tag.
    PrefixCache,
    /// A tag for each request.
    TaggedRequests,
    /// Thirty models with a tag each.
    ManyOwners,
    /// One owner with forty tags.
    ManyTags,
    /// A tag for each request, and a buffer that fills, of one owner.
    RequestsBesideBuffer,
    /// A cache that nothing is ever given up from. It cannot be told from one that fills, and is no healthy program.
    EndlessCache,
}

impl Serving {
    /// Those that have no leak by themselves.
    pub const HEALTHY: [Self; 13] = [
        Self::Plain,
        Self::LongSequences,
        Self::Sessions,
        Self::LruCache,
        Self::LfuCache,
        Self::BudgetedCache,
        Self::Replicas,
        Self::ReplayBuffer,
        Self::PrefixCache,
        Self::TaggedRequests,
        Self::ManyOwners,
        Self::ManyTags,
        Self::RequestsBesideBuffer,
    ];
    /// Those in which a leak can be told from what they do anyway.
    pub const LEAKING: [Self; 8] = [
        Self::Plain,
        Self::LongSequences,
        Self::Sessions,
        Self::LruCache,
        Self::TaggedRequests,
        Self::ManyOwners,
        Self::ManyTags,
        Self::RequestsBesideBuffer,
    ];
}

/// A leak that a program has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramLeak {
    /// For whom.
    pub model: Holder,
    /// What for.
    pub purpose: Purpose,
    /// Its tag; `None` when it is in many.
    pub tag: Option<String>,
    /// Since when, in seconds.
    pub since: u64,
}

/// One simulated program.
///
/// ```
/// use vramkit::pressure::leak::OwnerLeaks;
/// use vramkit_testing::{Program, Serving};
///
/// let (mut program, mut leaks) = (Program::new(Serving::Plain, true, 1), OwnerLeaks::default());
/// while let Some((now, ledger)) = program.step() {
///     leaks.check(now, &ledger);
/// }
/// let leak = program.leak.expect("it was asked to leak");
/// assert!(leaks.suspected().any(|found| Some(&found.tag) == leak.tag.as_ref()));
/// ```
pub struct Program {
    stores: Vec<Store>,
    requests: Option<TaggedRequests>,
    random: Random,
    now: u64,
    /// How fast the load goes up and down, where it begins, and by how much it rises over which time.
    wave: (f64, f64),
    rise: (f64, f64),
    /// The leak, if there is one.
    pub leak: Option<ProgramLeak>,
    /// What owners may hold at most.
    pub budgets: Vec<(Holder, Purpose, ByteSize)>,
    /// How long it runs, in seconds.
    pub seconds: u64,
}

impl Program {
    /// A program of its own for each seed, four hours long, or twelve where lives are. The leak, if there is one, begins in the
    /// first eighty minutes and has lost at least 64 MiB and 60 allocations two hours later.
    pub fn new(serving: Serving, leaking: bool, seed: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 77 ^ (serving as u64) << 40);
        // What lives for long takes long to be told from what lives for ever.
        let is_long = matches!(serving, Serving::LongSequences | Serving::Sessions | Serving::LruCache);
        let seconds = if is_long { 12 * 3600 } else { 4 * 3600 };
        let mut program = Self {
            stores: common(&mut random, seconds),
            requests: None,
            wave: (random.between_log(2000.0, 8000.0), random.between(0.0, 6.3)),
            rise: (0.0, 1.0),
            now: 0,
            leak: None,
            budgets: Vec::new(),
            seconds,
            random: Random::new(seed ^ 0xbead),
        };
        let first = program.stores.len();
        program.add(serving, &mut random);
        if leaking {
            program.add_leak(first, &mut random);
        }
        program
    }

    fn add(&mut self, serving: Serving, random: &mut Random) {
        let kv = |tag: &str, life, bytes| Store::new("served", Purpose::Kv, tag, life, bytes);
        let other = |tag: &str, life, bytes| Store::new("served", Purpose::Other, tag, life, bytes);
        match serving {
            Serving::Plain => {
                for tag in ["result cache", "plan cache"].into_iter().take(1 + random.below(2) as usize) {
                    let bound = random.between_log(200.0, 2000.0);
                    let arrivals = bound / random.between_log(60.0, 900.0);
                    let keys = (random.unit() < 0.7).then(|| bound * random.between_log(1.1, 5.0));
                    let life = Life::cache(bound, arrivals, keys, Evicted::Oldest, 0.0);
                    self.stores.push(other(tag, life, random.between_log(1e5, 5e6)));
                }
            }
            Serving::LongSequences => {
                let life = Life::Lasting(
                    Lasting::Exponential(random.between_log(300.0, 3600.0)),
                    random.between_log(0.05, 1.0),
                );
                self.rise = (random.between(1.0, 4.0), random.between(1800.0, 7200.0));
                self.stores.push(kv("long sequence", life, random.between_log(2e6, 5e7)));
            }
            Serving::Sessions => {
                let law = match random.unit() < 0.5 {
                    true => Lasting::Lognormal(random.between_log(600.0, 3600.0), random.between(0.5, 1.2)),
                    false => Lasting::Exponential(random.between_log(600.0, 7200.0)),
                };
                self.rise = (random.between(0.0, 2.0), random.between(1800.0, 7200.0));
                self.stores.push(kv(
                    "session",
                    Life::Lasting(law, random.between_log(0.05, 0.5)),
                    random.between_log(1e6, 2e7),
                ));
            }
            Serving::LruCache
            | Serving::LfuCache
            | Serving::BudgetedCache
            | Serving::PrefixCache
            | Serving::ReplayBuffer => {
                let bound = random.between_log(500.0, 4000.0);
                let (least, most) = match serving {
                    Serving::BudgetedCache => (1800.0, 12_000.0),
                    Serving::ReplayBuffer => (1200.0, 18_000.0),
                    _ => (600.0, 5400.0),
                };
                let arrivals = bound / random.between_log(least, most);
                let (evicted, short) = match serving {
                    Serving::LruCache => (Evicted::LeastRecent, 0.0),
                    Serving::LfuCache => (Evicted::LeastFrequent, 0.0),
                    Serving::PrefixCache => (Evicted::LeastRecent, random.between(0.1, 0.4)),
                    _ => (Evicted::Oldest, 0.0),
                };
                let life = Life::cache(bound, arrivals / (1.0 - short), None, evicted, short);
                let bytes = random.between_log(2e5, 5e6);
                self.stores.push(other("cache", life, bytes));
                if serving == Serving::BudgetedCache {
                    let budget = ByteSize::new((bound * bytes * 1.05) as u64);
                    self.budgets.push((Holder::from("served"), Purpose::Other, budget));
                }
            }
            Serving::Replicas => {
                let life = Life::Replicas {
                    most: 4.0 + random.below(12) as f64,
                    period: random.between_log(1800.0, 14_400.0),
                };
                self.stores.push(Store::new(
                    "served",
                    Purpose::Weights,
                    "replica",
                    life,
                    random.between_log(5e8, 8e9),
                ));
            }
            Serving::TaggedRequests | Serving::RequestsBesideBuffer => {
                let law = Lasting::Exponential(random.between_log(5.0, 120.0));
                let requests =
                    TaggedRequests::new(law, random.between_log(0.2, 2.0), random.between_log(1e6, 3e7));
                self.requests = Some(requests);
                if serving == Serving::RequestsBesideBuffer {
                    let bound = random.between_log(500.0, 4000.0);
                    let arrivals = bound / random.between_log(1200.0, 18_000.0);
                    let life = Life::cache(bound, arrivals, None, Evicted::Oldest, 0.0);
                    self.stores.push(kv("buffer", life, random.between_log(2e5, 5e6)));
                }
            }
            Serving::ManyOwners => self.stores.extend((0..30).map(|i| {
                let life = Life::Lasting(
                    Lasting::Exponential(random.between_log(10.0, 200.0)),
                    random.between_log(0.05, 0.5),
                );
                Store::new(&format!("model-{i}"), Purpose::Kv, "sequence", life, random.between_log(2e6, 5e7))
            })),
            Serving::ManyTags => self.stores.extend((0..40).map(|i| {
                let life = Life::Lasting(
                    Lasting::Exponential(random.between_log(5.0, 60.0)),
                    random.between_log(0.02, 0.2),
                );
                kv(&format!("layer-{i}"), life, random.between_log(2e6, 2e7))
            })),
            Serving::EndlessCache => {
                let life = Life::cache(f64::MAX, random.between_log(0.05, 1.0), None, Evicted::Oldest, 0.0);
                self.stores.push(other("cache", life, random.between_log(2e5, 5e6)));
            }
        }
    }

    /// Lets what the program is about leak; of a plain one, anything that is not weights.
    fn add_leak(&mut self, first: usize, random: &mut Random) {
        let since = random.below(4800);
        if let Some(requests) = &mut self.requests {
            requests.leak(since, random.between_log(0.01, 0.2));
            let (model, purpose) = (Holder::from("served"), Purpose::Kv);
            self.leak = Some(ProgramLeak { model, purpose, tag: None, since });
            return;
        }
        let many = self.stores.len() - first == 40;
        let able: Vec<usize> = match self.stores.len() - first {
            1 if self.stores[first].tag != "result cache" => vec![first],
            1 | 2 => (0..self.stores.len()).filter(|&i| !self.stores[i].is_weights()).collect(),
            _ => (first..self.stores.len()).collect(),
        };
        let chosen = if many { able } else { vec![able[random.below(able.len() as u64) as usize]] };
        let part = 1.0 / chosen.len() as f64;
        for &at in &chosen {
            let store = &mut self.stores[at];
            let lost_in_two_hours = random.between_log(6.7e7, 2e10) * part;
            let few = 60.0 * store.bytes * if many { 0.2 } else { 1.0 };
            store.leak(since, lost_in_two_hours.max(few) / 7200.0 / store.bytes);
        }
        let store = &self.stores[chosen[0]];
        let tag = (!many).then(|| store.tag.clone());
        self.leak = Some(ProgramLeak { model: store.model.clone(), purpose: store.purpose, tag, since });
    }

    /// Ten seconds on: the time, and the ledger then. `None` at the end.
    pub fn step(&mut self) -> Option<(Duration, Vec<LedgerEntry>)> {
        if self.now >= self.seconds {
            return None;
        }
        self.now += STEP;
        let now = self.now;
        // The load of a day, on a smaller scale, its rise and its noise.
        let wave = 0.4 * (now as f64 / self.wave.0 + self.wave.1).sin();
        let load = (1.0 + wave + 0.1 * self.random.unit())
            * (1.0 + self.rise.0 * (now as f64 / self.rise.1).min(1.0));
        let mut entries = Vec::new();
        for store in &mut self.stores {
            store.step(now, load, &mut self.random);
            entries.extend(store.entry(now));
        }
        if let Some(requests) = &mut self.requests {
            requests.step(now, load, &mut self.random);
            entries.extend(requests.entries(now));
        }
        Some((Duration::from_secs(now), entries))
    }
}

/// Weights, batches and short sequences.
fn common(random: &mut Random, seconds: u64) -> Vec<Store> {
    let mut stores = Vec::new();
    for tag in ["model-a", "model-b", "model-c"].into_iter().take(1 + random.below(3) as usize) {
        let from = if random.unit() < 0.5 { 0 } else { random.below(seconds) };
        let to = if random.unit() < 0.3 { from + random.below(seconds) } else { u64::MAX };
        stores.push(Store::new(
            "served",
            Purpose::Weights,
            tag,
            Life::Weights { from, to },
            random.between_log(5e8, 2e10),
        ));
    }
    let lasting = |mean, arrivals| Life::Lasting(Lasting::Exponential(mean), arrivals);
    let batches = lasting(random.between_log(1.0, 10.0), random.between(1.0, 10.0));
    stores.push(Store::new("served", Purpose::Activation, "batch", batches, random.between_log(1e6, 5e7)));
    let sequences = lasting(random.between_log(10.0, 200.0), random.between_log(0.1, 2.0));
    stores.push(Store::new("served", Purpose::Kv, "sequence", sequences, random.between_log(2e6, 1e8)));
    stores
}
