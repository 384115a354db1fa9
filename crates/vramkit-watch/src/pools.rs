//! Pools that processes of this machine publish.

use std::collections::HashMap;
use std::path::PathBuf;

use vramkit::ByteSize;
use vramkit::monitor::PoolUse;
use vramkit::monitor::publish::{PublishedReader, Unreadable, folders};

use crate::source::{Readings, Source, Unavailable};

/// No device has more.
const LARGEST: ByteSize = ByteSize::gib(1 << 20);

/// Most sockets that are named because nothing came from them.
const UNAVAILABLE: usize = 8;

/// Asks every publishing process at every read.
///
/// ```
/// use vramkit_watch::{PublishedPools, Source};
///
/// let mut nobody = PublishedPools::of("/nonexistent".into());
/// assert!(nobody.read().pools.is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct PublishedPools {
    only: Option<PathBuf>,
    reader: PublishedReader,
}

impl PublishedPools {
    /// Of one folder, instead of all that this user may read.
    pub fn of(folder: PathBuf) -> Self {
        Self { only: Some(folder), ..Self::default() }
    }
}

impl Source for PublishedPools {
    fn name(&self) -> &'static str {
        "pools"
    }

    fn read(&mut self) -> Readings {
        let folders = self.only.clone().map_or_else(folders, |only| vec![only]);
        let found = self.reader.read_all(&folders);
        let pools = found.into_iter().flat_map(|found| {
            // The document says whose pools they are; a pool does not say otherwise.
            found.pools.into_iter().filter(adds_up).map(move |mut pool| {
                pool.pid = found.pid;
                pool
            })
        });
        let mut pools: Vec<PoolUse> = pools.collect();
        tell_apart(&mut pools);
        let hidden = if self.only.is_some() { Unreadable::default() } else { Unreadable::now() };
        let hidden = (!hidden.is_empty())
            .then(|| Unavailable { source: self.name().to_owned(), reason: hidden.to_string() });
        let left_out = self.reader.left_out().iter().map(|socket| Unavailable {
            source: socket.display().to_string().replace(char::is_control, " "),
            reason: "a process publishes pools there, and takes too long to say them or says too much"
                .to_owned(),
        });
        Readings {
            pools,
            unavailable: left_out.take(UNAVAILABLE).chain(hidden).collect(),
            ..Readings::default()
        }
    }
}

/// Two libraries of a process may call their pools the same: the second is `main #2`, so that each has its own numbers.
fn tell_apart(pools: &mut [PoolUse]) {
    // The last number of each name; names that are given stand there as well.
    let mut seen: HashMap<(u32, String), u64> = HashMap::new();
    for pool in pools {
        let key = (pool.pid, pool.name.clone());
        while seen.contains_key(&(pool.pid, pool.name.clone())) {
            let number = seen.entry(key.clone()).or_insert(1);
            *number += 1;
            pool.name = format!("{} #{number}", key.1);
        }
        seen.insert((pool.pid, pool.name.clone()), 1);
    }
}

/// Whether what is held can be added up. The document is another process's: with numbers that no device has, the pool is
/// left out.
fn adds_up(pool: &PoolUse) -> bool {
    let stats = &pool.stats;
    // Capacity, too, is rounded up to whole granules.
    let most = stats.capacity_bytes.saturating_add(ByteSize::gib(1));
    let sizes = [stats.committed_bytes, stats.used_bytes, stats.pending_bytes, stats.requested_bytes];
    if stats.capacity_bytes > LARGEST || sizes.iter().any(|size| *size > most) {
        return false;
    }
    let owned = pool.owners.iter().map(|owner| owner.granted_bytes);
    let tagged = pool.ledger.iter().map(|entry| entry.granted_bytes);
    let aged = pool.ledger.iter().flat_map(|entry| entry.by_age_bytes);
    let released = pool.ledger.iter().flat_map(|entry| entry.released_by_age_bytes);
    let mut all = owned.chain(tagged).chain(aged).chain(released).map(ByteSize::bytes);
    all.try_fold(0, u64::checked_add).is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vramkit::device::SimulatedDevice;
    use vramkit::pool::{AGE_CLASSES, DeviceMemoryPool, LedgerEntry, Request};

    use super::*;

    #[test]
    fn what_cannot_be_added_up_is_left_out() {
        let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
        let pool = DeviceMemoryPool::new(device, ByteSize::mib(64)).unwrap();
        let _held = pool.allocate(Request::new(ByteSize::mib(1))).unwrap();
        let shown = PoolUse::of("p", &pool);
        assert!(adds_up(&shown));
        assert!(!shown.ledger.is_empty());
        let spoil: [fn(&mut LedgerEntry); 3] = [
            |entry| entry.granted_bytes = ByteSize::MAX,
            |entry| entry.by_age_bytes[3] = ByteSize::MAX,
            |entry| entry.released_by_age_bytes = [ByteSize::new(1 << 60); AGE_CLASSES],
        ];
        for spoil in spoil {
            let mut spoiled = shown.clone();
            spoil(&mut spoiled.ledger[0]);
            assert!(!adds_up(&spoiled));
        }
        let spoil: [fn(&mut PoolUse); 3] = [
            |pool| pool.stats.used_bytes = ByteSize::MAX,
            |pool| pool.stats.committed_bytes = ByteSize::gib(1 << 30),
            |pool| pool.stats.capacity_bytes = ByteSize::gib(1 << 21),
        ];
        for spoil in spoil {
            let mut spoiled = shown.clone();
            spoil(&mut spoiled);
            assert!(!adds_up(&spoiled));
        }
    }

    #[test]
    fn pools_of_one_name_in_a_process_are_told_apart() {
        let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
        let pool = DeviceMemoryPool::new(device, ByteSize::mib(64)).unwrap();
        let one = |name: &str, pid| PoolUse { pid, ..PoolUse::of(name, &pool) };
        let mut pools = [one("main", 7), one("main", 8), one("main", 7), one("kv", 7), one("main", 7)];
        tell_apart(&mut pools);
        assert_eq!(pools.map(|pool| pool.name), ["main", "main", "main #2", "kv", "main #3"]);
        let mut pools = [one("main", 7), one("main #2", 7), one("main", 7)];
        tell_apart(&mut pools);
        assert_eq!(pools.map(|pool| pool.name), ["main", "main #2", "main #3"]);
    }
}
