//! What a monitor's readings mean, one after the other: the level, growth and forecast of the used bytes, leaks by owner. Readings
//! come in with their times, and events come out; nothing is told here.

use std::time::Duration;

use super::pool_use::PoolUse;
use super::snapshot::Snapshot;
use crate::pressure::leak::{OwnerLeaks, TagEvent, TagLeak};
use crate::pressure::{DeviceJudge, Ladder, PressureLevel};
use crate::trace::Event;

/// Owners are looked at no more often.
const OWNERS_EVERY: Duration = Duration::from_secs(10);

/// What is known from the readings so far.
#[derive(Default)]
pub(super) struct Judged {
    device: DeviceJudge,
    leaks: OwnerLeaks,
    /// When owners were looked at last.
    looked: Option<Duration>,
}

impl Judged {
    /// Takes a reading in; what was found.
    pub(super) fn reading(&mut self, now: Duration, ladder: &Ladder<()>, snapshot: &Snapshot) -> Vec<Event> {
        let usage = &snapshot.usage;
        let Some(used) = usage.used_bytes.value else { return Vec::new() };
        let judged = self.device.read(ladder, now, used, snapshot.device_use().as_ref());
        let change = judged.change.zip(usage.used_ratio()).map(|((change, _), used_ratio)| {
            let (from, to) = (change.from, change.to);
            Event::PressureChanged { from, to, used_bytes: used, used_ratio }
        });
        change.into_iter().chain(judged.found.into_iter().map(Event::Series)).collect()
    }

    /// Whether it is time to look at the owners.
    pub(super) fn owners_are_due(&self, now: Duration) -> bool {
        self.looked.is_none_or(|looked| now.saturating_sub(looked) >= OWNERS_EVERY)
    }

    /// Takes in pools with their ledgers; what was found.
    pub(super) fn owners(&mut self, now: Duration, pools: &[PoolUse]) -> Vec<Event> {
        self.looked = Some(now);
        let before = self.leaks.unwatched();
        for owner in pools.iter().flat_map(|pool| &pool.owners) {
            self.leaks.set_budget(&owner.model, owner.purpose, owner.budget_bytes);
        }
        let ledger: Vec<_> = pools.iter().flat_map(|pool| pool.ledger.iter().cloned()).collect();
        let events = self.leaks.check(now, &ledger);
        let unwatched = self.leaks.unwatched();
        if unwatched > 0 && before == 0 {
            tracing::warn!(target: "vramkit::monitor", unwatched, "more owners than are watched for leaks");
        }
        let told = events.into_iter().filter_map(|event| match event {
            TagEvent::Retains(leak) => Some(Event::Retains { leak }),
            TagEvent::Suspected(leak) => Some(Event::LeakSuspected { leak }),
            TagEvent::Cleared(leak) => Some(Event::LeakCleared { leak }),
            // What a later version may say.
            _ => None,
        });
        told.collect()
    }

    /// The level of the last reading that had one.
    pub(super) fn level(&self) -> Option<PressureLevel> {
        let gauge = self.device.gauge();
        (gauge.readings().iter().sum::<u64>() > 0).then(|| gauge.level())
    }

    pub(super) fn device(&self) -> &DeviceJudge {
        &self.device
    }

    pub(super) fn suspected(&self) -> Vec<TagLeak> {
        self.leaks.suspected().cloned().collect()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::device::SimulatedDevice;
    use crate::pool::{DeviceMemoryPool, Purpose, Request};
    use crate::units::ByteSize;

    /// As if a block had been granted every second and stayed, and `released` others had lived for three.
    fn told(released: u64) -> Vec<Event> {
        let device = Arc::new(SimulatedDevice::new(ByteSize::gib(8)));
        let pool = DeviceMemoryPool::new(device, ByteSize::gib(8)).unwrap();
        let request =
            Request::new(ByteSize::mib(1)).owner(pool.owner("llama", Purpose::Kv)).tag(pool.tag("block"));
        let _one = pool.allocate(request).unwrap();
        let (mut seen, mut judged, mut told) = (PoolUse::of("main", &pool), Judged::default(), Vec::new());
        for second in 1..3000u64 {
            let now = Duration::from_secs(second);
            if !judged.owners_are_due(now) {
                continue;
            }
            let entry = &mut seen.ledger[0];
            entry.by_age_bytes = Default::default();
            (1..=second).for_each(|age| entry.by_age_bytes[age.ilog2() as usize + 1] += ByteSize::mib(1));
            (entry.granted_bytes, entry.allocations) = (ByteSize::mib(second), second);
            entry.released_by_age_bytes[2] = ByteSize::mib(second * released);
            told.extend(judged.owners(now, std::slice::from_ref(&seen)));
        }
        assert_eq!(judged.suspected().len(), usize::from(released > 0));
        seen.ledger.clear();
        told.extend(judged.owners(Duration::from_secs(3010), &[seen]));
        told
    }

    #[test]
    fn owners_are_looked_at_and_told_as_what_is_known_of_them() {
        let told_of = |released| {
            let told = told(released).into_iter().map(|event| event.describe().0);
            told.collect::<Vec<_>>()
        };
        assert_eq!(told_of(10), ["leak suspected", "leak cleared"]);
        assert_eq!(told_of(0), ["retains", "leak cleared"]);
    }

    #[test]
    fn owners_are_due_every_ten_seconds() {
        let mut judged = Judged::default();
        assert!(judged.owners_are_due(Duration::ZERO));
        judged.owners(Duration::from_secs(5), &[]);
        assert!(
            !judged.owners_are_due(Duration::from_secs(14)) && judged.owners_are_due(Duration::from_secs(15))
        );
    }

    /// Leaks are looked for among so many owners at most: that is said, once.
    #[test]
    fn owners_beyond_those_that_are_watched_are_warned_of_once() {
        let device = Arc::new(SimulatedDevice::new(ByteSize::gib(8)));
        let pool = DeviceMemoryPool::new(device, ByteSize::gib(8)).unwrap();
        let take = |name: &str| {
            let request =
                Request::new(ByteSize::mib(1)).owner(pool.owner(name, Purpose::Kv)).tag(pool.tag(name));
            pool.allocate(request).unwrap()
        };
        let _one = take("alone");
        let few = PoolUse::of("main", &pool);
        let _others: Vec<_> = (0..2000).map(|number| take(&format!("m{number}"))).collect();
        let many = PoolUse::of("main", &pool);
        let mut judged = Judged::default();
        let mut look = |second, pools: &PoolUse| {
            let now = Duration::from_secs(second);
            crate::heard::warnings(|| drop(judged.owners(now, std::slice::from_ref(pools))))
        };
        assert_eq!((look(10, &few), look(20, &few)), (0, 0));
        assert_eq!((look(30, &many), look(40, &many)), (1, 0));
    }
}
