//! What simulated programs hold: allocations of one size under one tag, that are made and released by some law, in steps of ten
//! seconds; and requests, each under a tag of its own.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::random::Random;
use vramkit::pool::{AGE_CLASSES, Holder, LedgerEntry, Purpose};
use vramkit::units::{ByteSize, age_class};

/// Seconds of a step.
pub(crate) const STEP: u64 = 10;

/// For how long something lives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lasting {
    /// About so many seconds.
    Exponential(f64),
    /// By the median in seconds, and the deviation of its logarithm.
    Lognormal(f64, f64),
}

impl Lasting {
    fn draw(self, random: &mut Random) -> u64 {
        match self {
            Self::Exponential(mean) => random.exponential(mean) as u64,
            Self::Lognormal(median, deviation) => {
                (median * (deviation * random.normal()).exp()).min(1e6) as u64
            }
        }
    }
}

/// Which entry a full cache gives up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Evicted {
    /// The first made.
    Oldest,
    /// The first made, but that one in three has been used again and stays as if it were new.
    LeastRecent,
    /// Mostly one of the newest, which have been used the least.
    LeastFrequent,
}

/// What a store's allocations do.
#[derive(Clone, Debug)]
pub(crate) enum Life {
    /// Loaded at one time, unloaded at another.
    Weights { from: u64, to: u64 },
    /// So many arrivals a second, each for as long as it lasts; their number follows the load.
    Lasting(Lasting, f64),
    /// Kept up to a bound; keys come again by a skewed law, so that it fills ever slower, or never, so that it fills
    /// evenly. Of what is made, a part is released after half a minute.
    Cache { bound: f64, arrivals: f64, keys: Option<f64>, evicted: Evicted, short: f64 },
    /// As many as the load needs, which goes up and down once in a period.
    Replicas { most: f64, period: f64 },
}

impl Life {
    pub(crate) fn cache(bound: f64, arrivals: f64, keys: Option<f64>, evicted: Evicted, short: f64) -> Self {
        Self::Cache { bound, arrivals, keys, evicted, short }
    }
}

/// Allocations of one size under one tag.
pub(crate) struct Store {
    pub(crate) model: Holder,
    pub(crate) purpose: Purpose,
    pub(crate) tag: String,
    pub(crate) bytes: f64,
    life: Life,
    /// What lives: how many were made at each step that still do.
    made: BTreeMap<u64, u64>,
    /// Of what ends by itself, when it was made, by when it ends.
    ends: BTreeMap<u64, Vec<u64>>,
    /// When the entries of a cache were made, in the order in which they go.
    cached: VecDeque<u64>,
    released: [f64; AGE_CLASSES],
    /// A second, of allocations that are never released, and since when.
    leaks: (u64, f64),
}

impl Store {
    pub(crate) fn new(model: &str, purpose: Purpose, tag: &str, life: Life, bytes: f64) -> Self {
        Self {
            model: model.into(),
            purpose,
            tag: tag.to_owned(),
            bytes: bytes.round(),
            life,
            made: BTreeMap::new(),
            ends: BTreeMap::new(),
            cached: VecDeque::new(),
            released: [0.0; AGE_CLASSES],
            leaks: (u64::MAX, 0.0),
        }
    }

    pub(crate) fn is_weights(&self) -> bool {
        matches!(self.life, Life::Weights { .. })
    }

    /// Loses so many allocations a second from some time on.
    pub(crate) fn leak(&mut self, since: u64, a_second: f64) {
        self.leaks = (since, a_second);
    }

    fn make(&mut self, now: u64) {
        *self.made.entry(now).or_default() += 1;
    }

    fn release(&mut self, made: u64, now: u64) {
        if let Some(count) = self.made.get_mut(&made) {
            *count -= 1;
            if *count == 0 {
                self.made.remove(&made);
            }
        }
        self.released[age_class(Duration::from_secs(now - made))] += self.bytes;
    }

    /// One that ends by itself; within the step it is never seen.
    fn make_until(&mut self, now: u64, lasts: u64) {
        if lasts < STEP {
            self.released[age_class(Duration::from_secs(lasts))] += self.bytes;
        } else {
            self.make(now);
            self.ends.entry(now + lasts).or_default().push(now);
        }
    }

    pub(crate) fn step(&mut self, now: u64, load: f64, random: &mut Random) {
        while let Some(entry) = self.ends.first_entry().filter(|entry| *entry.key() <= now) {
            entry.remove().into_iter().for_each(|made| self.release(made, now));
        }
        if now > self.leaks.0 {
            (0..many(self.leaks.1 * STEP as f64, random)).for_each(|_| self.make(now));
        }
        match self.life.clone() {
            Life::Weights { from, to } => {
                if (from..to).contains(&now) && self.made.is_empty() {
                    self.make(now);
                } else if now >= to
                    && let Some((&made, _)) = self.made.first_key_value()
                {
                    self.release(made, now);
                }
            }
            Life::Lasting(law, arrivals) => {
                for _ in 0..many(arrivals * load * STEP as f64, random) {
                    let lasts = law.draw(random);
                    self.make_until(now, lasts);
                }
            }
            Life::Cache { bound, arrivals, keys, evicted, short } => {
                for _ in 0..many(arrivals * load * STEP as f64, random) {
                    let known = keys.map_or(0.0, |keys| self.cached.len() as f64 / keys);
                    if random.unit() < short {
                        let lasts = random.exponential(30.0) as u64;
                        self.make_until(now, lasts);
                    } else if random.unit() >= known {
                        self.make(now);
                        self.cached.push_back(now);
                    }
                }
                while self.cached.len() as f64 > bound {
                    self.evict(evicted, now, random);
                }
            }
            Life::Replicas { most, period } => {
                let wanted =
                    most * (0.5 - 0.5 * (now as f64 / period * std::f64::consts::TAU).cos()) * load.min(1.2);
                if (self.cached.len() as f64) < wanted.floor() {
                    self.make(now);
                    self.cached.push_back(now);
                } else if self.cached.len() as f64 > wanted.floor() + 1.0 {
                    self.evict(Evicted::LeastRecent, now, random);
                }
            }
        }
    }

    fn evict(&mut self, evicted: Evicted, now: u64, random: &mut Random) {
        let made = match evicted {
            Evicted::LeastFrequent if random.unit() < 0.8 => {
                let newest = (self.cached.len() / 4).max(1);
                let at = self.cached.len() - 1 - random.below(newest as u64) as usize;
                self.cached.remove(at)
            }
            Evicted::LeastRecent => {
                while random.unit() < 0.33 {
                    self.cached.rotate_left(1);
                }
                self.cached.pop_front()
            }
            _ => self.cached.pop_front(),
        };
        made.into_iter().for_each(|made| self.release(made, now));
    }

    pub(crate) fn entry(&self, now: u64) -> Option<LedgerEntry> {
        let mut by_age = [0; AGE_CLASSES];
        for (made, count) in &self.made {
            by_age[age_class(Duration::from_secs(now - made))] += count;
        }
        let allocations = by_age.iter().sum::<u64>();
        let size = |count: u64| ByteSize::new(count * self.bytes as u64);
        (allocations > 0).then(|| LedgerEntry {
            model: self.model.clone(),
            purpose: self.purpose,
            tag: self.tag.clone(),
            allocations,
            granted_bytes: size(allocations),
            by_age_bytes: by_age.map(size),
            released_by_age_bytes: self.released.map(|bytes| ByteSize::new(bytes as u64)),
        })
    }
}

/// As many as were expected, the part of one by chance.
fn many(expected: f64, random: &mut Random) -> u64 {
    expected as u64 + u64::from(random.unit() < expected.fract())
}

/// Requests, each of three allocations under a tag of its own.
pub(crate) struct TaggedRequests {
    law: Lasting,
    arrivals: f64,
    bytes: f64,
    live: Vec<Tagged>,
    number: u64,
    /// Since when, which part of them leaves an allocation behind.
    leaks: (u64, f64),
}

struct Tagged {
    tag: String,
    made: u64,
    ends: u64,
    leaks: bool,
    /// When two of its allocations were released.
    ended: Option<u64>,
}

impl TaggedRequests {
    pub(crate) fn new(law: Lasting, arrivals: f64, bytes: f64) -> Self {
        Self { law, arrivals, bytes: bytes.round(), live: Vec::new(), number: 0, leaks: (u64::MAX, 0.0) }
    }

    pub(crate) fn leak(&mut self, since: u64, part: f64) {
        // As many as sixty in two hours, and as 64 MiB.
        let least = (60.0f64).max(6.7e7 / self.bytes) / 7200.0 / self.arrivals;
        self.leaks = (since, part.max(least));
    }

    pub(crate) fn step(&mut self, now: u64, load: f64, random: &mut Random) {
        for _ in 0..many(self.arrivals * load * STEP as f64, random) {
            self.number += 1;
            let ends = now + self.law.draw(random);
            let leaks = now > self.leaks.0 && random.unit() < self.leaks.1;
            self.live.push(Tagged {
                tag: format!("request-{}", self.number),
                made: now,
                ends,
                leaks,
                ended: None,
            });
        }
        for request in &mut self.live {
            if request.ends <= now && request.leaks {
                request.ended.get_or_insert(now);
            }
        }
        self.live.retain(|request| request.leaks || request.ends > now);
    }

    pub(crate) fn entries(&self, now: u64) -> impl Iterator<Item = LedgerEntry> {
        self.live.iter().map(move |request| {
            let held = if request.ended.is_some() { 1 } else { 3 };
            let size = ByteSize::new(held * self.bytes as u64);
            let mut entry = LedgerEntry {
                model: "served".into(),
                purpose: Purpose::Kv,
                tag: request.tag.clone(),
                allocations: held,
                granted_bytes: size,
                ..LedgerEntry::default()
            };
            entry.by_age_bytes[age_class(Duration::from_secs(now - request.made))] = size;
            if let Some(ended) = request.ended {
                let class = age_class(Duration::from_secs(ended - request.made));
                entry.released_by_age_bytes[class] = ByteSize::new(2 * self.bytes as u64);
            }
            entry
        })
    }
}
