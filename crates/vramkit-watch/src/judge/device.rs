//! One device from tick to tick: its level, its growth, when it will be full, and a short history.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use vramkit::monitor::{Finding, Forecast, Snapshot};
use vramkit::pressure::{Headroom, Ladder, PressureGauge, SeriesJudge};

use super::news::News;
use crate::tick::{EventKind, Growing, HistorySample, HolderUse};

/// Holders told apart in a sample.
const HOLDERS: usize = 8;

pub(crate) struct WatchedDevice {
    headroom: Headroom,
    gauge: PressureGauge,
    series: SeriesJudge,
    history: VecDeque<HistorySample>,
    seen: Duration,
    present: bool,
}

/// What follows from a reading, beside the level.
pub(crate) struct Judged {
    pub(crate) level_readings: [u64; 4],
    pub(crate) level_changes: u64,
    pub(crate) forecast: Option<Forecast>,
    pub(crate) full_soon: bool,
    pub(crate) growing: Option<Growing>,
}

impl WatchedDevice {
    pub(crate) fn new() -> Self {
        Self {
            headroom: Headroom::default(),
            gauge: PressureGauge::new(),
            series: SeriesJudge::default(),
            history: VecDeque::new(),
            seen: Duration::ZERO,
            present: false,
        }
    }

    /// When it was last there.
    pub(crate) fn seen(&self) -> Duration {
        self.seen
    }

    /// The fastest filling seen of late, in bytes a second.
    pub(crate) fn fastest(&self) -> f64 {
        self.series.fastest_bytes_per_second()
    }

    /// The last samples, oldest first.
    pub(crate) fn history(&self) -> Vec<HistorySample> {
        self.history.iter().cloned().collect()
    }

    /// It is there; whether it was at the tick before.
    pub(crate) fn note_present(&mut self, now: Duration) -> bool {
        self.seen = now;
        std::mem::replace(&mut self.present, true)
    }

    /// It is not there; whether it was at the tick before.
    pub(crate) fn note_absent(&mut self) -> bool {
        std::mem::replace(&mut self.present, false)
    }

    /// What a reading means. Sets the snapshot's level; what is new goes to `news`.
    pub(crate) fn judge(
        &mut self,
        now: Duration,
        ladder: &Ladder<()>,
        snapshot: &mut Snapshot,
        news: &mut Vec<News>,
    ) -> Judged {
        let id = &snapshot.device.id;
        let taken = snapshot.device_use().and_then(|taken| self.headroom.fraction(ladder, &taken, now));
        if let Some((ratio, _)) = taken {
            if let Some(change) = self.gauge.read(ladder, ratio, now) {
                let words = format!("{} to {} at {:.0} %", change.from, change.to, 100.0 * ratio);
                news.push(News::new(id, EventKind::LevelChanged, words));
            }
            snapshot.level = Some(self.gauge.level());
        }
        if let Some(used) = snapshot.usage.used_bytes.value {
            let found = self.series.push(now, used, snapshot.usage.total_bytes.value);
            news.extend(found.iter().map(|found| News::new(id, kind(found), found.to_string())));
        }
        Judged {
            level_readings: self.gauge.readings(),
            level_changes: self.gauge.changes(),
            forecast: self.series.forecast().filter(|_| snapshot.usage.used_bytes.value.is_some()),
            full_soon: self.series.is_full_soon(),
            growing: self.series.growing().and_then(growing),
        }
    }

    /// Keeps a sample of a reading, and `most` of them.
    pub(crate) fn keep(&mut self, snapshot: &Snapshot, holders: &[HolderUse], most: usize) {
        self.history.push_back(HistorySample {
            unix_seconds: snapshot
                .time
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs_f64()),
            used_bytes: snapshot.usage.used_bytes.value,
            level: snapshot.level,
            holders: holders.iter().take(HOLDERS).cloned().collect(),
        });
        while self.history.len() > most.max(1) {
            self.history.pop_front();
        }
    }
}

fn kind(found: &Finding) -> EventKind {
    match found {
        Finding::GrowingFast { .. } | Finding::GrowingTowardsFull { .. } => EventKind::GrowingFast,
        Finding::SustainedGrowth { .. } => EventKind::SustainedGrowth,
        Finding::FullSoon { .. } => EventKind::FullSoon,
        _ => EventKind::Cleared,
    }
}

fn growing(found: &Finding) -> Option<Growing> {
    match *found {
        Finding::GrowingFast { growth, .. } | Finding::GrowingTowardsFull { growth, .. } => {
            Some(Growing { fast: true, growth })
        }
        Finding::SustainedGrowth { growth, .. } => Some(Growing { fast: false, growth }),
        _ => None,
    }
}
