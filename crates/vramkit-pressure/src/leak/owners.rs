//! Which tag leaks? Judged on the ledger: what is leaked grows old, and what is old in a healthy tag does not grow without
//! end.
//!
//! For every owner and tag, lanes of 30 floors (20 min, 40 min, …) keep the bytes that are at least about a quarter of the
//! lane's window old, and all of its bytes. A tag is suspect when the old ones rise evenly, are at their highest and do
//! not slow, and those twice as old and all of them rise with them. Batches die young, so they leave nothing old; a cache
//! at its bound grows old without growing; a model's weights are a step. A cache that fills evenly for longer than the
//! shortest lane cannot be told from a leak until it stops: give its owner a budget, and it will be left alone below it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use vramkit_units::{ByteSize, Holder, LedgerEntry, Purpose};

use super::floors::{FLOORS, keep};
use super::shape;

/// The block of the first lane, and how old its old bytes are; both double from lane to lane.
const BLOCK: Duration = Duration::from_secs(40);
const OLD: Duration = Duration::from_secs(256);
/// 20, 40, 80, 160 and 320 minutes.
const LANES: usize = 5;
/// Blocks without a sample that are bridged.
const BRIDGED: u128 = 6;
/// Owners and tags that are watched; what comes later is not.
const MOST: usize = 4096;

/// What is asked of the old bytes: the smallest of five rises over their mean, and the last third's rise of the one
/// before.
const EVENNESS: f64 = 0.4;
const SATURATION: f64 = 0.7;
/// Bytes twice as old must rise by this part of the old ones' rise: what is leaked does not die on the way.
const AGEING: f64 = 0.6;
/// All bytes must rise by this part of the old ones' rise.
const TOGETHER: f64 = 0.5;
/// A suspicion ends when the old bytes rise by less than this part of what they did.
const OVER: f64 = 0.25;

/// A tag that seems to leak.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TagLeak {
    /// For whom.
    pub model: Holder,
    /// What for.
    pub purpose: Purpose,
    /// The tag; empty when there is none.
    pub tag: String,
    /// By how much its old bytes grow a second.
    pub bytes_per_second: f64,
    /// What was looked at, in seconds.
    pub window_seconds: f64,
    /// Bytes of it that are old now.
    pub old_bytes: ByteSize,
    /// How old at least, in seconds.
    pub old_seconds: f64,
    /// Its live allocations.
    pub allocations: u64,
}

/// In words: who, how much and how old.
impl fmt::Display for TagLeak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = if self.tag.is_empty() { "untagged" } else { &self.tag };
        let more = ByteSize::new((self.bytes_per_second * 60.0).max(0.0) as u64);
        write!(f, "tag `{tag}` of {} ({}): {} ", self.model, self.purpose, self.old_bytes)?;
        write!(f, "older than {:.0} min, {more}/min more", self.old_seconds / 60.0)
    }
}

/// A change in what is known of a tag.
#[derive(Clone, Debug, PartialEq)]
pub enum TagEvent {
    /// A leak is suspected.
    Suspected(TagLeak),
    /// The tag no longer grows.
    Cleared(TagLeak),
}

type Key = (Holder, Purpose, String);

/// Watches a pool's ledger.
///
/// ```
/// use std::time::Duration;
///
/// use vramkit_pressure::leak::OwnerLeaks;
/// use vramkit_units::ByteSize;
///
/// let mut leaks = OwnerLeaks::new(ByteSize::mib(4));
/// // Every ten seconds or so, with the pool's ledger.
/// assert!(leaks.check(Duration::from_secs(10), &[]).is_empty());
/// assert_eq!(leaks.suspected().count(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct OwnerLeaks {
    least: ByteSize,
    tags: HashMap<Key, Track>,
    bounded: HashMap<(Holder, Purpose), ByteSize>,
    last: Option<Duration>,
}

#[derive(Clone, Debug, Default)]
struct Track {
    lanes: [Lane; LANES],
    /// When it was last in the ledger.
    seen: Duration,
    suspected: Option<(usize, TagLeak)>,
}

/// Floors of one tag at one scale: of its old bytes, of those twice as old, and of all.
#[derive(Clone, Debug, Default)]
struct Lane {
    floors: [VecDeque<f64>; 3],
    open: Option<(u128, [f64; 3])>,
}

impl Default for OwnerLeaks {
    fn default() -> Self {
        Self::new(ByteSize::mib(4))
    }
}

impl OwnerLeaks {
    /// Speaks of tags that grow by at least `least` in a window.
    pub fn new(least: ByteSize) -> Self {
        Self { least, tags: HashMap::new(), bounded: HashMap::new(), last: None }
    }

    /// Leaves an owner alone while it holds less than its budget: it fills what it may. `None` takes that back.
    pub fn set_budget(&mut self, model: &Holder, purpose: Purpose, budget: Option<ByteSize>) {
        match budget {
            Some(budget) => self.bounded.insert((model.clone(), purpose), budget),
            None => self.bounded.remove(&(model.clone(), purpose)),
        };
    }

    /// Takes a ledger in, read at the time `now` of a clock that does not go back; every ten seconds or so. Returns what
    /// has changed.
    pub fn check(&mut self, now: Duration, ledger: &[LedgerEntry]) -> Vec<TagEvent> {
        if self.last.is_some_and(|last| now <= last) {
            return Vec::new();
        }
        self.last = Some(now);
        let mut held: HashMap<(&Holder, Purpose), ByteSize> = HashMap::new();
        for entry in ledger {
            let sum = held.entry((&entry.model, entry.purpose)).or_default();
            // A ledger may be what another process says.
            *sum = sum.saturating_add(entry.granted_bytes);
        }
        let mut events = Vec::new();
        for entry in ledger {
            let key = (entry.model.clone(), entry.purpose, entry.tag.clone());
            if !self.tags.contains_key(&key) && self.tags.len() >= MOST {
                continue;
            }
            let owner = (entry.model.clone(), entry.purpose);
            let within = self.bounded.get(&owner).is_some_and(|budget| held[&(&owner.0, owner.1)] <= *budget);
            let track = self.tags.entry(key).or_default();
            track.seen = now;
            events.extend(track.take(now, entry, self.least, within));
        }
        // What holds nothing any more leaks nothing.
        self.tags.retain(|_, track| {
            let stays = track.seen == now;
            if !stays && let Some((_, leak)) = track.suspected.take() {
                events.push(TagEvent::Cleared(leak));
            }
            stays
        });
        events
    }

    /// Tags that are suspected now.
    pub fn suspected(&self) -> impl Iterator<Item = &TagLeak> {
        self.tags.values().filter_map(|track| Some(&track.suspected.as_ref()?.1))
    }
}

impl Track {
    fn take(
        &mut self,
        now: Duration,
        entry: &LedgerEntry,
        least: ByteSize,
        within_budget: bool,
    ) -> Option<TagEvent> {
        let mut event = None;
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            let (block, age) = (BLOCK * (1 << i), OLD * (1 << i));
            let (old, older) = (entry.older_than(age), entry.older_than(age * 2));
            let bytes = [old, older, entry.granted_bytes].map(|size| size.bytes() as f64);
            if !lane.push(now.as_nanos() / block.as_nanos(), bytes) {
                continue;
            }
            let (slope, evidence) = lane.judge(least);
            match &self.suspected {
                Some((by, leak))
                    if *by == i && slope / block.as_secs_f64() < OVER * leak.bytes_per_second =>
                {
                    event = Some(TagEvent::Cleared(leak.clone()));
                    self.suspected = None;
                }
                None if evidence && !within_budget => {
                    let leak = TagLeak {
                        model: entry.model.clone(),
                        purpose: entry.purpose,
                        tag: entry.tag.clone(),
                        bytes_per_second: slope / block.as_secs_f64(),
                        window_seconds: block.as_secs_f64() * FLOORS as f64,
                        old_bytes: old,
                        old_seconds: age.as_secs_f64(),
                        allocations: entry.allocations,
                    };
                    event = Some(TagEvent::Suspected(leak.clone()));
                    self.suspected = Some((i, leak));
                }
                _ => {}
            }
        }
        event
    }
}

impl Lane {
    /// Takes a sample in; whether a block closed on a full lane.
    fn push(&mut self, block: u128, bytes: [f64; 3]) -> bool {
        let Some((open, least)) = self.open else {
            self.open = Some((block, bytes));
            return false;
        };
        if block <= open {
            self.open = Some((open, std::array::from_fn(|i| least[i].min(bytes[i]))));
            return false;
        }
        self.open = Some((block, bytes));
        if block - open > BRIDGED {
            self.floors.iter_mut().for_each(VecDeque::clear);
            return false;
        }
        for _ in open..block {
            for (floors, least) in self.floors.iter_mut().zip(least) {
                keep(floors, least);
            }
        }
        self.floors[0].len() == FLOORS
    }

    /// The old bytes' slope a block, and whether there is evidence of a leak.
    fn judge(&mut self, least: ByteSize) -> (f64, bool) {
        let [old, older, all] = &mut self.floors;
        let old = old.make_contiguous();
        let slope_of = |floors: &mut VecDeque<f64>| shape::theil_sen(floors.make_contiguous()).0;
        let (slope, _) = shape::theil_sen(old);
        let evidence = slope * FLOORS as f64 >= least.bytes() as f64
            && shape::is_record(old)
            && shape::evenness(old).0 >= EVENNESS
            && shape::saturation(old) >= SATURATION
            && slope_of(older) >= AGEING * slope
            && slope_of(all) >= TOGETHER * slope
            && shape::goes_on(old);
        (slope, evidence)
    }
}
