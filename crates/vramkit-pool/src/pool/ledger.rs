//! Who holds what, since when: live allocations summed by owner and tag, with their ages. Read without holding the book
//! up: only names are copied under its lock.

use std::collections::HashMap;
use std::time::Duration;

use super::clock;
use super::core::Inner;
use super::owners::UNKNOWN_TAG;
use vramkit_units::{AGE_CLASSES, ByteSize, LedgerEntry, age_class};

impl Inner {
    /// Allocations that come or go meanwhile may or may not be in it.
    pub(super) fn ledger(&self) -> Vec<LedgerEntry> {
        let (places, owners, tags) = {
            let book = self.book.lock();
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
                    allocations: 0,
                    granted_bytes: ByteSize::ZERO,
                    by_age_bytes: [ByteSize::ZERO; AGE_CLASSES],
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
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.granted_bytes));
        entries
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::device::SimulatedDevice;
    use crate::pool::{DeviceMemoryPool, Purpose, Request};
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
}
