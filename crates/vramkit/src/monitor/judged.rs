//! What a monitor's readings mean, one after the other: the level, growth and forecast of the used bytes, leaks by owner. Readings
//! come in with their times, and events come out; nothing is told here.

use std::time::Duration;

use super::pool_use::PoolUse;
use super::snapshot::Snapshot;
use crate::pressure::leak::{OwnerLeaks, TagEvent, TagLeak};
use crate::pressure::{Headroom, Ladder, PressureGauge, PressureLevel, SeriesJudge};
use crate::trace::Event;

/// Owners are looked at no more often.
const OWNERS_EVERY: Duration = Duration::from_secs(10);

/// What is known from the readings so far.
#[derive(Default)]
pub(super) struct Judged {
    headroom: Headroom,
    gauge: PressureGauge,
    series: SeriesJudge,
    leaks: OwnerLeaks,
    /// When owners were looked at last.
    looked: Option<Duration>,
}

impl Judged {
    /// Takes a reading in; what was found.
    pub(super) fn reading(&mut self, now: Duration, ladder: &Ladder<()>, snapshot: &Snapshot) -> Vec<Event> {
        let usage = &snapshot.usage;
        let Some(used) = usage.used_bytes.value else { return Vec::new() };
        let mut events = Vec::new();
        let taken = snapshot.device_use().and_then(|taken| self.headroom.fraction(ladder, &taken, now));
        if let Some((fraction, _)) = taken
            && let Some(used_ratio) = usage.used_ratio()
            && let Some(change) = self.gauge.read(ladder, fraction, now)
        {
            let (from, to) = (change.from, change.to);
            events.push(Event::PressureChanged { from, to, used_bytes: used, used_ratio });
        }
        let found = self.series.push(now, used, usage.total_bytes.value);
        events.extend(found.into_iter().map(Event::Series));
        events
    }

    /// Whether it is time to look at the owners.
    pub(super) fn owners_are_due(&self, now: Duration) -> bool {
        self.looked.is_none_or(|looked| now.saturating_sub(looked) >= OWNERS_EVERY)
    }

    /// Takes in pools with their ledgers; what was found.
    pub(super) fn owners(&mut self, now: Duration, pools: &[PoolUse]) -> Vec<Event> {
        self.looked = Some(now);
        for owner in pools.iter().flat_map(|pool| &pool.owners) {
            self.leaks.set_budget(&owner.model, owner.purpose, owner.budget_bytes);
        }
        let ledger: Vec<_> = pools.iter().flat_map(|pool| pool.ledger.iter().cloned()).collect();
        let told = self.leaks.check(now, &ledger).into_iter().filter_map(|event| match event {
            TagEvent::Retains(leak) => Some(Event::Retains { leak }),
            TagEvent::Suspected(leak) => Some(Event::LeakSuspected { leak }),
            TagEvent::Cleared(leak) => Some(Event::LeakCleared { leak }),
            // What a later version may say.
            _ => None,
        });
        told.collect()
    }

    pub(super) fn gauge(&self) -> &PressureGauge {
        &self.gauge
    }

    /// The level of the last reading that had one.
    pub(super) fn level(&self) -> Option<PressureLevel> {
        (self.gauge.readings().iter().sum::<u64>() > 0).then(|| self.gauge.level())
    }

    pub(super) fn series(&self) -> &SeriesJudge {
        &self.series
    }

    pub(super) fn fastest_bytes_per_second(&self) -> f64 {
        self.series.fastest_bytes_per_second()
    }

    pub(super) fn suspected(&self) -> Vec<TagLeak> {
        self.leaks.suspected().cloned().collect()
    }
}
