//! Pools that processes of this machine publish.

use std::path::PathBuf;

use vramkit::ByteSize;
use vramkit::monitor::PoolUse;
use vramkit::monitor::publish::{PublishedReader, folders};

use crate::source::{Readings, Source};

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
    fn read(&mut self) -> Readings {
        let folders = self.only.clone().map_or_else(folders, |only| vec![only]);
        let found = folders.iter().flat_map(|folder| self.reader.read(folder));
        let pools = found.flat_map(|found| {
            // The document says whose pools they are; a pool does not say otherwise.
            found.pools.into_iter().filter(adds_up).map(move |mut pool| {
                pool.pid = found.pid;
                pool
            })
        });
        Readings { pools: pools.collect(), ..Readings::default() }
    }
}

/// Whether what is held can be added up. The document is another process's: with numbers that no device has, the pool is
/// left out.
fn adds_up(pool: &PoolUse) -> bool {
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
    }
}
