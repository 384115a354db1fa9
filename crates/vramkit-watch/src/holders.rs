//! Who holds a device: owners of pools, processes with what is not in the pools that they publish, and what is left.

use std::collections::BTreeMap;

use vramkit::ByteSize;
use vramkit::device::Origin;
use vramkit::monitor::{ProcessIdentity, Snapshot};

use crate::tick::Holder;

/// The holders, most first.
pub(crate) fn holders(snapshot: &Snapshot) -> Vec<Holder> {
    let mut holders: Vec<Holder> = Vec::new();
    let mut add = |name: String, bytes: ByteSize, pid: Option<u32>, identity: Option<&ProcessIdentity>| {
        if bytes.is_zero() {
            return;
        }
        match holders.iter_mut().find(|holder| holder.name == name) {
            Some(holder) => {
                holder.bytes = holder.bytes.saturating_add(bytes);
                // Of several processes it is nobody's alone.
                if holder.pid != pid {
                    (holder.pid, holder.identity) = (None, ProcessIdentity::default());
                }
            }
            None => {
                holders.push(Holder { name, bytes, pid, identity: identity.cloned().unwrap_or_default() })
            }
        }
    };
    let mut pooled: BTreeMap<u32, u64> = BTreeMap::new();
    let mut shown = 0u64;
    for pool in &snapshot.pools {
        for owner in &pool.owners {
            add(
                format!("{} {}", owner.model, owner.purpose),
                owner.granted_bytes,
                Some(pool.pid),
                pool.process.as_ref(),
            );
        }
        let committed = pool.stats.committed_bytes;
        let idle = committed.saturating_sub(pool.stats.used_bytes);
        // Where used means granted, what is not granted is not a part of it.
        let idle = if snapshot.usage.used_bytes.source == Origin::Pool { ByteSize::ZERO } else { idle };
        add(format!("pool {}, idle", pool.name), idle, Some(pool.pid), pool.process.as_ref());
        let all = pooled.entry(pool.pid).or_default();
        *all = all.saturating_add(committed.bytes());
        shown = shown.saturating_add(committed.bytes());
    }
    for process in snapshot.processes.value.iter().flatten() {
        let Some(used) = process.used_bytes.value else { continue };
        let rest = used.bytes().saturating_sub(pooled.get(&process.pid).copied().unwrap_or(0));
        let name = process.name.value.clone().unwrap_or_else(|| "process".into());
        add(
            format!("{name} {}", process.pid),
            ByteSize::new(rest),
            Some(process.pid),
            Some(&process.identity),
        );
        shown = shown.saturating_add(rest);
    }
    if let Some(used) = snapshot.usage.used_bytes.value {
        add("others".into(), ByteSize::new(used.bytes().saturating_sub(shown)), None, None);
    }
    holders.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    holders
}
