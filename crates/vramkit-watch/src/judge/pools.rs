//! Published pools from tick to tick: so many, and where there are more, no user's and no process's keep out another's. What is left
//! out is said.

use std::collections::BTreeMap;
use std::time::Duration;

use vramkit::monitor::PoolUse;
use vramkit::monitor::leak::TagLeak;

use super::news::News;
use super::pool::WatchedPool;
use crate::source::Unavailable;
use crate::tick::{EventKind, SuspectedLeak};

/// Most lines about decisions of one process's pools in a tick.
const LINES: usize = 32;

/// A pool that has not been there for so long makes room for others.
const GONE: Duration = Duration::from_secs(30);

type User = Option<String>;
/// The device, the process and the pool's name.
type Key = (String, u32, String);

/// See the module's first lines.
#[derive(Default)]
pub(crate) struct WatchedPools {
    pools: BTreeMap<Key, (User, WatchedPool)>,
    /// In this tick: pools that are not watched, and lines of each process, told and not.
    left_out: usize,
    lines: BTreeMap<u32, (usize, usize)>,
}

impl WatchedPools {
    /// Most pools that are watched.
    const MOST: usize = 256;

    /// Begins a tick.
    pub(crate) fn begin(&mut self) {
        self.left_out = 0;
        self.lines.clear();
    }

    /// Looks at a pool as it is now: as [`WatchedPool::judge`].
    pub(crate) fn judge(
        &mut self,
        now: Duration,
        pool: &PoolUse,
        first: bool,
        news: &mut Vec<News>,
    ) -> Vec<SuspectedLeak> {
        let key = (pool.device.clone(), pool.pid, pool.name.clone());
        let user = pool.process.as_ref().and_then(|process| process.user.clone());
        if !self.pools.contains_key(&key) && !self.has_room_for(&user, pool.pid, now) {
            self.left_out += 1;
            return Vec::new();
        }
        let (_, watched) = self.pools.entry(key).or_insert_with(|| (user, WatchedPool::new(now)));
        let mut found = Vec::new();
        let of_it =
            |leak: &TagLeak| SuspectedLeak { pool: pool.name.clone(), pid: pool.pid, leak: leak.clone() };
        let suspected = watched.judge(now, pool, first, &mut found).map(of_it).collect();
        let (told, untold) = self.lines.entry(pool.pid).or_default();
        news.extend(found.into_iter().filter(|one| {
            let is_line = one.kind == EventKind::Decided;
            let is_told = !is_line || *told < LINES;
            *told += usize::from(is_line && is_told);
            *untold += usize::from(!is_told);
            is_told
        }));
        suspected
    }

    /// Whether another pool of a user's process has room. Where there is none, one that has gone makes room, or else the newest of
    /// the user who has most of all, for one who has fewer; and of a user's process that has most, for one that has fewer.
    fn has_room_for(&mut self, user: &User, pid: u32, now: Duration) -> bool {
        if self.pools.len() < Self::MOST {
            return true;
        }
        let oldest = self.pools.iter().min_by_key(|(_, (_, watched))| watched.seen());
        if let Some((key, _)) = oldest.filter(|(_, (_, watched))| now.saturating_sub(watched.seen()) > GONE) {
            let key = key.clone();
            return self.pools.remove(&key).is_some();
        }
        let other = most(self.pools.values().map(|(user, _)| user), user).cloned();
        let of = other.as_ref().unwrap_or(user);
        let of_user = || self.pools.iter().filter(|(_, (user, _))| user == of);
        let process = if other.is_none() { most(of_user().map(|((_, pid, _), _)| pid), &pid) } else { None };
        if other.is_none() && process.is_none() {
            return false;
        }
        let may_go = of_user().filter(|((_, pid, _), _)| process.is_none_or(|process| process == pid));
        let newest = may_go.max_by_key(|(_, (_, watched))| watched.began()).map(|(key, _)| key.clone());
        newest.is_some_and(|newest| self.pools.remove(&newest).is_some())
    }

    /// Ends a tick: decisions that had no room become a line a process.
    pub(crate) fn end(&mut self, news: &mut Vec<News>) {
        let untold = self.lines.iter().filter(|(_, (_, untold))| *untold > 0);
        news.extend(untold.map(|(pid, (_, untold))| {
            let words = format!("{untold} more decisions in pools of process {pid}");
            News::new("pools", EventKind::Decided, words)
        }));
    }

    /// What is not watched, in words.
    pub(crate) fn left_out(&self) -> Option<Unavailable> {
        let reason = format!(
            "{} pools more than {}: nobody looks at their owners for leaks, and their decisions are no events",
            self.left_out,
            Self::MOST
        );
        (self.left_out > 0).then(|| Unavailable { source: "pools".into(), reason })
    }

    /// Forgets pools that have not been there for so long.
    pub(crate) fn forget(&mut self, now: Duration, after: Duration) {
        self.pools.retain(|_, (_, watched)| now.saturating_sub(watched.seen()) < after);
    }
}

/// Who has most, where one more of `own` is less than that.
fn most<'a, K: Ord>(all: impl Iterator<Item = &'a K>, own: &K) -> Option<&'a K> {
    let mut counts: BTreeMap<&K, usize> = BTreeMap::new();
    all.for_each(|one| *counts.entry(one).or_default() += 1);
    let own = counts.get(own).copied().unwrap_or(0);
    let (most, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count > own + 1).then_some(most)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vramkit::ByteSize;
    use vramkit::device::SimulatedDevice;
    use vramkit::monitor::ProcessIdentity;
    use vramkit::pool::DeviceMemoryPool;

    use super::*;
    use crate::judge::decided::decision;

    fn pool(user: &str, name: usize, decisions: u64) -> PoolUse {
        let device = Arc::new(SimulatedDevice::new(ByteSize::mib(1)));
        let mut shown =
            PoolUse::of(&name.to_string(), &DeviceMemoryPool::new(device, ByteSize::mib(1)).unwrap());
        shown.decisions = (0..decisions).map(|sequence| decision(sequence, "evicted")).collect();
        shown.process = Some(ProcessIdentity { user: Some(user.into()), ..ProcessIdentity::default() });
        shown
    }

    /// How many lines of decisions each of these pools gets in a tick.
    fn tick(watched: &mut WatchedPools, second: u64, pools: &[PoolUse]) -> (Vec<usize>, Vec<News>) {
        let (mut news, mut lines) = (Vec::new(), Vec::new());
        watched.begin();
        for pool in pools {
            let before = news.len();
            watched.judge(Duration::from_secs(second), pool, false, &mut news);
            lines.push(news.len() - before);
        }
        let before = news.len();
        watched.end(&mut news);
        (lines, news.split_off(before))
    }

    #[test]
    fn no_users_pools_keep_out_anothers() {
        let mut watched = WatchedPools::default();
        let mut pools: Vec<PoolUse> = (0..300).map(|name| pool("crowd", name, 0)).collect();
        tick(&mut watched, 0, &pools);
        assert!(watched.left_out().unwrap().reason.starts_with("44 pools more than 256"));
        pools.extend([pool("ann", 900, 3), pool("ann", 901, 3)]);
        let (lines, more) = tick(&mut watched, 1, &pools);
        assert_eq!((&lines[300..], more.len()), (&[3, 3][..], 0));
        assert_eq!(
            watched.left_out().unwrap().reason.split(' ').next(),
            Some("44"),
            "two of the crowd made room later"
        );
        assert_eq!(watched.pools.len(), WatchedPools::MOST);
        // Nor does a process of its own user.
        let (lines, _) = tick(&mut watched, 2, &[PoolUse { pid: 7, ..pool("crowd", 0, 3) }]);
        assert_eq!(lines, [3]);
        // The crowd calls its pools otherwise: those that are gone make room.
        let others: Vec<PoolUse> = (1000..1200).map(|name| pool("crowd", name, 0)).collect();
        tick(&mut watched, 40, &others);
        assert!(watched.left_out().is_none());
    }

    #[test]
    fn many_decisions_of_a_process_are_a_line() {
        let mut watched = WatchedPools::default();
        let mut pools: Vec<PoolUse> = (0..100).map(|name| pool("crowd", name, 5)).collect();
        pools.push(PoolUse { pid: 7, ..pool("crowd", 900, 2) });
        let (lines, more) = tick(&mut watched, 0, &pools);
        assert_eq!((lines[..100].iter().sum::<usize>(), lines[100]), (LINES, 2));
        let texts: Vec<&str> = more.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts, [format!("468 more decisions in pools of process {}", std::process::id())]);
    }
}
