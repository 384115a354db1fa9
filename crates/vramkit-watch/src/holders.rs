//! Who holds a device: owners of pools, processes with what is not in the pools that they publish, and what is left.

use std::collections::{BTreeMap, HashMap};

use vramkit::ByteSize;
use vramkit::device::Origin;
use vramkit::monitor::{ProcessIdentity, Snapshot};

use crate::tick::Holder;

/// Most holders of a device that are told apart; the smallest are among the others.
const MOST: usize = 512;

/// The holders, most first.
pub(crate) fn holders(snapshot: &Snapshot) -> Vec<Holder> {
    let mut all = All::default();
    let mut pooled: BTreeMap<u32, u64> = BTreeMap::new();
    let mut shown = 0u64;
    for pool in &snapshot.pools {
        let pid = Some(pool.pid).filter(|pid| *pid != 0);
        // Owners are read a moment after the pool, and hold nothing that the pool has not.
        let mut left = pool.stats.committed_bytes;
        for owner in &pool.owners {
            let name = format!("{} {}", owner.model, owner.purpose);
            let held = owner.granted_bytes.min(left);
            left = left.saturating_sub(held);
            all.add(name, held, pid, pool.process.as_ref());
        }
        let committed = pool.stats.committed_bytes;
        let idle = committed.saturating_sub(pool.stats.used_bytes);
        // Where used means granted, what is not granted is not a part of it.
        let idle = if snapshot.usage.used_bytes.source == Origin::Pool { ByteSize::ZERO } else { idle };
        all.add(format!("pool {}, idle", pool.name), idle, pid, pool.process.as_ref());
        if let Some(pid) = pid {
            let of_it = pooled.entry(pid).or_default();
            *of_it = of_it.saturating_add(committed.bytes());
        }
        shown = shown.saturating_add(committed.bytes());
    }
    for process in snapshot.processes.value.iter().flatten() {
        let Some(used) = process.used_bytes.value else { continue };
        let rest = used.bytes().saturating_sub(pooled.get(&process.pid).copied().unwrap_or(0));
        let name = process.name.value.as_deref().unwrap_or("process");
        let name = format!("{name} {}", process.pid);
        all.add(name, ByteSize::new(rest), Some(process.pid), Some(&process.identity));
        shown = shown.saturating_add(rest);
    }
    if let Some(used) = snapshot.usage.used_bytes.value {
        all.add("others".into(), ByteSize::new(used.bytes().saturating_sub(shown)), None, None);
    }
    all.most_first()
}

/// Holders, each name once.
#[derive(Default)]
struct All {
    holders: Vec<Holder>,
    places: HashMap<String, usize>,
}

impl All {
    fn add(&mut self, name: String, bytes: ByteSize, pid: Option<u32>, identity: Option<&ProcessIdentity>) {
        if bytes.is_zero() {
            return;
        }
        if let Some(&place) = self.places.get(&name) {
            let holder = &mut self.holders[place];
            holder.bytes = holder.bytes.saturating_add(bytes);
            // Of several processes it is nobody's alone.
            if holder.pid != pid || pid.is_none() {
                (holder.pid, holder.identity) = (None, ProcessIdentity::default());
            }
            return;
        }
        self.places.insert(name.clone(), self.holders.len());
        self.holders.push(Holder { name, bytes, pid, identity: identity.cloned().unwrap_or_default() });
    }

    fn most_first(mut self) -> Vec<Holder> {
        let order = |a: &Holder, b: &Holder| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name));
        self.holders.sort_by(order);
        if self.holders.len() > MOST {
            let small = self.holders.split_off(MOST);
            let sum = small.iter().fold(ByteSize::ZERO, |sum, holder| sum.saturating_add(holder.bytes));
            self.places =
                self.holders.iter().enumerate().map(|(place, one)| (one.name.clone(), place)).collect();
            self.add("others".into(), sum, None, None);
            self.holders.sort_by(order);
        }
        self.holders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_there_once_and_the_smallest_are_others() {
        let mut all = All::default();
        let ann = ProcessIdentity { user: Some("ann".into()), ..ProcessIdentity::default() };
        (1..=40_000).for_each(|n| all.add(format!("m{n}"), ByteSize::new(n), Some(7), Some(&ann)));
        all.add("others".into(), ByteSize::new(100_000), None, None);
        all.add("m40000".into(), ByteSize::new(1), Some(7), Some(&ann));
        all.add("m39999".into(), ByteSize::new(3), Some(8), Some(&ann));
        all.add("nothing".into(), ByteSize::ZERO, None, None);
        let holders = all.most_first();
        assert_eq!(holders.len(), MOST);
        let sum: u64 = holders.iter().map(|holder| holder.bytes.bytes()).sum();
        assert_eq!(sum, 40_000 * 40_001 / 2 + 100_004, "no byte is lost");
        assert_eq!((holders[0].name.as_str(), holders[1].name.as_str()), ("others", "m39999"));
        assert_eq!((holders[1].pid, &holders[1].identity), (None, &ProcessIdentity::default()));
        assert_eq!(
            (holders[2].pid, &holders[2].identity),
            (Some(7), &ann),
            "of one process it stays its own"
        );
    }
}
