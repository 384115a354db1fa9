//! One published pool from tick to tick: leaks by owner, and decisions that are new.

use std::time::Duration;

use vramkit::monitor::PoolUse;
use vramkit::monitor::leak::{OwnerLeaks, TagEvent, TagLeak};

use super::decided::Decided;
use super::news::News;
use crate::tick::EventKind;

/// Owners are looked at no more often.
const OWNERS_EVERY: Duration = Duration::from_secs(10);

pub(crate) struct WatchedPool {
    leaks: OwnerLeaks,
    decided: Decided,
    looked: Option<Duration>,
    began: Duration,
    seen: Duration,
}

impl WatchedPool {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            leaks: OwnerLeaks::default(),
            decided: Decided::default(),
            looked: None,
            began: now,
            seen: now,
        }
    }

    /// When it was first there.
    pub(crate) fn began(&self) -> Duration {
        self.began
    }

    /// When it was last there.
    pub(crate) fn seen(&self) -> Duration {
        self.seen
    }

    /// Looks at the pool as it is now: what is new goes to `news`; returned are the tags and owners that are suspected to
    /// leak, not those that only retain.
    /// `first`: nobody has looked at anything before.
    pub(crate) fn judge<'a>(
        &'a mut self,
        now: Duration,
        pool: &PoolUse,
        first: bool,
        news: &mut Vec<News>,
    ) -> impl Iterator<Item = &'a TagLeak> + use<'a> {
        self.seen = now;
        let decided = self.decided.news(pool, first);
        news.extend(decided.into_iter().map(|words| News::new(&pool.device, EventKind::Decided, words)));
        if self.looked.is_none_or(|looked| now.saturating_sub(looked) >= OWNERS_EVERY) {
            self.looked = Some(now);
            for owner in &pool.owners {
                self.leaks.set_budget(&owner.model, owner.purpose, owner.budget_bytes);
            }
            let events = self.leaks.check(now, &pool.ledger);
            news.extend(events.iter().filter_map(|event| leak_news(pool, event)));
        }
        self.leaks.suspected()
    }
}

/// What is new in words; nothing for kinds of events that there were none of when this was written.
fn leak_news(pool: &PoolUse, event: &TagEvent) -> Option<News> {
    let (kind, leak, words) = match event {
        TagEvent::Suspected(leak) => (EventKind::LeakSuspected, leak, "leak suspected"),
        TagEvent::Retains(leak) => (EventKind::Retains, leak, "retains"),
        TagEvent::Cleared(leak) => (EventKind::Cleared, leak, "no longer growing"),
        _ => return None,
    };
    let text = format!("{words}: {leak}, in pool {} of process {}", pool.name, pool.pid);
    Some(News::new(&pool.device, kind, text))
}
