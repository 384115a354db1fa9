//! Who holds what, since when: live allocations summed by owner and tag, with their ages, and how long what has been
//! released had lived. Read without holding the book up: under its lock only names are copied, and a line for each entry.

use std::collections::HashMap;
use std::time::Duration;

use super::clock;
use super::core::Inner;
use super::owners::UNKNOWN_TAG;
use vramkit_units::{ByteSize, Holder, LedgerEntry, Purpose, age_class};

/// Entries whose lines are copied before others get the book's lock.
const AT_ONCE: usize = 64;

impl Inner {
    /// Allocations that come or go meanwhile may or may not be in it.
    pub(super) fn ledger(&self) -> Vec<LedgerEntry> {
        let (places, owners, tags) = {
            let mut book = self.book.lock();
            book.noted = self.now();
            (book.fit.places(), book.owners.names(), book.tags.names().to_vec())
        };
        let now = clock::now();
        let mut entries: Vec<LedgerEntry> = Vec::new();
        let mut known: HashMap<(u16, u16), usize> = HashMap::new();
        for seen in (0..places).filter_map(|index| self.table().get(index)?.look()) {
            let label = seen.label;
            // Whoever came after the names were copied is in the next ledger.
            let Some((model, purpose)) = owners.get(usize::from(label.owner)) else { continue };
            let at = *known.entry((label.owner, label.tag)).or_insert_with(|| {
                let tag = tags.get(usize::from(label.tag)).map_or(UNKNOWN_TAG, |tag| tag);
                entries.push(LedgerEntry {
                    model: model.clone(),
                    purpose: *purpose,
                    tag: tag.to_owned(),
                    ..LedgerEntry::default()
                });
                entries.len() - 1
            });
            let (entry, granted) = (&mut entries[at], ByteSize::new(self.granted_of(&seen)));
            let age = if self.config.ages { clock::between(label.born, now) } else { Duration::ZERO };
            // The two clocks of processors may differ by a reading: an allocation is not a year old.
            let age = if age > Duration::from_secs(1 << 24) { Duration::ZERO } else { age };
            entry.allocations += 1;
            entry.granted_bytes += granted;
            entry.by_age_bytes[age_class(age)] += granted;
        }
        self.add_released(&known, &owners, &mut entries);
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.granted_bytes));
        entries
    }

    /// What has been released of each owner and tag with an entry, whose places are known.
    fn add_released(
        &self,
        known: &HashMap<(u16, u16), usize>,
        names: &[(Holder, Purpose)],
        entries: &mut [LedgerEntry],
    ) {
        self.book.lock().recall_released(&self.thread_caches);
        let known: Vec<_> = known.iter().collect();
        for some in known.chunks(AT_ONCE) {
            let book = self.book.lock();
            for &(&(owner, tag), &at) in some {
                // The number may be another owner's since the names were copied.
                if names.get(usize::from(owner)) == Some(&book.owners.name(owner)) {
                    let ages = book.released.of((owner, book.owners.generation(owner)), tag);
                    entries[at].released_by_age_bytes = ages.map(ByteSize::new);
                }
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::device::SimulatedDevice;
    use crate::pool::{DeviceMemoryPool, PoolConfig, Purpose, Request};
    use std::sync::Arc;

    #[test]
    fn the_ledger_sums_by_owner_and_tag() {
        let capacity = ByteSize::mib(64);
        let pool = DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap();
        let kv =
            Request::new(ByteSize::mib(1)).owner(pool.owner("llama", Purpose::Kv)).tag(pool.tag("blocks"));
        let held: Vec<_> = (0..3).map(|_| pool.allocate(kv).unwrap()).collect();
        let other = pool.allocate(Request::new(ByteSize::new(1000))).unwrap();
        let ledger = pool.ledger();
        assert_eq!(ledger.len(), 2);
        assert_eq!(
            (ledger[0].model.as_str(), ledger[0].tag.as_str(), ledger[0].allocations),
            ("llama", "blocks", 3)
        );
        assert_eq!(ledger[0].granted_bytes, ByteSize::mib(3));
        assert_eq!(ledger[1].granted_bytes, ByteSize::new(1024));
        assert_eq!(ledger[0].by_age_bytes.iter().copied().sum::<ByteSize>(), ByteSize::mib(3));
        assert_eq!(ledger[0].older_than(Duration::ZERO), ByteSize::mib(3));
        assert_eq!(ledger[0].older_than(Duration::from_secs(64)), ByteSize::ZERO);
        drop((held, other));
        assert!(pool.ledger().is_empty());
    }

    #[test]
    fn what_is_released_is_counted_by_its_age_however_it_goes() {
        use crate::device::ManualStream;
        let capacity = ByteSize::gib(1);
        let pool =
            Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap());
        let owner = pool.owner("m", Purpose::Kv);
        let request = |mib| Request::new(ByteSize::mib(mib)).owner(owner).tag(pool.tag("t"));
        let _stays = pool.allocate(request(1)).unwrap();
        drop(pool.allocate(request(2)).unwrap());
        drop(pool.allocate_movable(request(4)).unwrap());
        pool.allocate(request(8)).unwrap().release_on(&ManualStream::new(1)).unwrap();
        let mut grows = pool.reserve(request(16), ByteSize::mib(64)).unwrap();
        grows.resize(ByteSize::mib(64)).unwrap();
        grows.resize(ByteSize::mib(32)).unwrap();
        drop(grows);
        assert!(pool.allocate(request(2048)).is_err(), "and what was never granted is not");
        let of = |mib| {
            let entry = pool.ledger().into_iter().find(|entry| entry.tag == "t").unwrap();
            assert_eq!(entry.granted_bytes, ByteSize::mib(1));
            assert_eq!(entry.released_by_age_bytes[0], ByteSize::mib(mib), "{entry:?}");
        };
        of(2 + 4 + 8 + 64);
        // From a thread's cache, where it is released before the book knows.
        pool.use_thread_caches();
        let small = Request::new(ByteSize::new(4096)).owner(owner).tag(pool.tag("t"));
        (0..1000).for_each(|_| drop(pool.allocate(small).unwrap()));
        let small_ones = pool.ledger()[0].released_by_age_bytes[0] - ByteSize::mib(78);
        assert_eq!(small_ones, ByteSize::new(4096 * 1000));
    }

    #[test]
    fn an_age_at_release_is_counted_up_to_the_last_grant_or_ledger() {
        let capacity = ByteSize::mib(64);
        let device = Arc::new(SimulatedDevice::new(capacity));
        let pool = DeviceMemoryPool::new(device.clone(), capacity).unwrap();
        let without = PoolConfig { ages: false, ..PoolConfig::default() };
        let ageless = DeviceMemoryPool::with_config(device, capacity, without).unwrap();
        let request = Request::new(ByteSize::mib(1));
        let granted = |pool: &DeviceMemoryPool| [0; 3].map(|_| pool.allocate(request).unwrap());
        let ([first, second, _stays], [old, _, _also]) = (granted(&pool), granted(&ageless));
        std::thread::sleep(Duration::from_millis(1100));
        pool.ledger();
        drop(first);
        drop((pool.allocate(request).unwrap(), second, old));
        let released = |pool: &DeviceMemoryPool| pool.ledger()[0].released_by_age_bytes;
        assert_eq!(released(&pool)[..2], [ByteSize::mib(1), ByteSize::mib(2)]);
        assert_eq!(released(&ageless)[0], ByteSize::mib(2), "{:?}", released(&ageless));
    }

    #[test]
    fn a_number_that_is_another_owners_now_has_none_of_its_releases() {
        let capacity = ByteSize::mib(64);
        let pool = DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap();
        for (name, mib) in [("a", 5), ("b", 3)] {
            let owner = pool.borrow_owner(name, Purpose::Kv).unwrap();
            let request = |mib| Request::new(ByteSize::mib(mib)).owner(owner);
            drop(pool.allocate(request(mib)).unwrap());
            let held = pool.allocate(request(1)).unwrap();
            assert_eq!(pool.ledger()[0].released_by_age_bytes[0], ByteSize::mib(mib), "{name}");
            drop(held);
            pool.return_owner(owner);
        }
    }
}
