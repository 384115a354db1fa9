//! Who leaks? Judged on a pool's ledger: what is leaked outlives what is known of its kind.
//!
//! ```text
//! ledger ──► ages of each tag (what passes 128 s, 256 s, …; what is released beyond) ──► lanes of blocks ──► survival
//!            a tag that holds nothing more, or makes nothing more, is its owner's rest      │
//!                                                                                   tags, then owners:
//!                                                                              rest and tags that are not told
//! ```
//!
//! Every tag is judged, and every owner (a model and a purpose) as the sum of its tags: of a program that tags each request,
//! no tag lives for long and none grows. One cause is told once: a tag that is told is no part of its owner's sum, and while
//! an owner is told its tags are not, unless more is known of one of them. Tags of which nothing is known to be released, such
//! as a cache that fills, are judged by themselves alone: the releases of others say nothing about them. An owner with a budget
//! is left alone below it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use vramkit_units::{ByteSize, Holder, LedgerEntry, Purpose};

use super::owner::{Judge, Owner};
use super::survival::Verdict;
use super::tag_leak::{TagEvent, TagLeak};
use super::track::{self, LANES};

/// Tags that have a past of their own; what comes later is its owner's rest.
const TRACKS: usize = 512;
/// Owners that are watched; what comes later is not, and is counted.
const OWNERS: usize = 512;
/// Budgets that are kept of owners that are not there.
const BUDGETS: usize = 8 * OWNERS;
/// For how long an owner that holds nothing is remembered.
const FORGOTTEN: Duration = Duration::from_secs(1200);

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
    owners: BTreeMap<(Holder, Purpose), Owner>,
    bounded: HashMap<(Holder, Purpose), ByteSize>,
    last: Option<Duration>,
    unwatched: usize,
}

impl Default for OwnerLeaks {
    fn default() -> Self {
        Self::new(ByteSize::mib(4))
    }
}

impl OwnerLeaks {
    /// Speaks of tags and owners that grow by at least `least` in a window.
    pub fn new(least: ByteSize) -> Self {
        Self { least, owners: BTreeMap::new(), bounded: HashMap::new(), last: None, unwatched: 0 }
    }

    /// Leaves an owner alone while it holds less than its budget: it fills what it may. `None` takes that back. When there are
    /// thousands, those of owners that are not there are forgotten.
    pub fn set_budget(&mut self, model: &Holder, purpose: Purpose, budget: Option<ByteSize>) {
        if self.bounded.len() >= BUDGETS {
            self.bounded.retain(|owner, _| self.owners.contains_key(owner));
        }
        match budget {
            Some(budget) => self.bounded.insert((model.clone(), purpose), budget),
            None => self.bounded.remove(&(model.clone(), purpose)),
        };
    }

    /// Takes a ledger in, read at the time `now` of a clock that does not go back; every ten seconds or so. Returns what
    /// has changed.
    pub fn check(&mut self, now: Duration, ledger: &[LedgerEntry]) -> Vec<TagEvent> {
        let Some(last) = self.last.map_or(Some(now), |last| Some(last).filter(|last| now > *last)) else {
            return Vec::new();
        };
        self.last = Some(now);
        self.take(now, ledger);
        let mut events = Vec::new();
        let mut vacant = TRACKS.saturating_sub(self.owners.values().map(Owner::tracks).sum());
        for (key, owner) in &mut self.owners {
            owner.settle(now, &mut vacant, &mut events);
            owner.advance(now);
            let budget = self.bounded.get(key);
            let judge = Judge {
                model: &key.0,
                purpose: key.1,
                least: self.least.bytes() as f64,
                may_tell: budget.is_none_or(|budget| owner.held() > *budget),
            };
            for lane in (0..LANES).filter(|&lane| track::number(lane, now) > track::number(lane, last)) {
                owner.judge(&judge, lane, &mut events);
            }
        }
        self.owners.retain(|_, owner| now.saturating_sub(owner.seen()) < FORGOTTEN);
        events
    }

    /// Tags and owners that are suspected to leak now.
    pub fn suspected(&self) -> impl Iterator<Item = &TagLeak> {
        self.told(Verdict::Leaks)
    }

    /// Tags and owners whose old bytes grow now, with nothing known of how long such bytes live.
    pub fn retaining(&self) -> impl Iterator<Item = &TagLeak> {
        self.told(Verdict::Retains)
    }

    /// Owners of the last ledger that there was no room for: nothing is known of them. The tags of those that are watched all count.
    pub fn unwatched(&self) -> usize {
        self.unwatched
    }

    fn told(&self, verdict: Verdict) -> impl Iterator<Item = &TagLeak> {
        self.owners.values().flat_map(move |owner| owner.told(verdict))
    }

    /// Notes what the ledger says of each tag.
    fn take(&mut self, now: Duration, ledger: &[LedgerEntry]) {
        let mut unwatched = BTreeSet::new();
        self.owners.values_mut().for_each(Owner::begin);
        for entry in ledger {
            let key = (entry.model.clone(), entry.purpose);
            if self.owners.len() >= OWNERS && !self.owners.contains_key(&key) {
                unwatched.insert(key);
                continue;
            }
            self.owners.entry(key).or_default().take(now, entry);
        }
        self.unwatched = unwatched.len();
    }
}
