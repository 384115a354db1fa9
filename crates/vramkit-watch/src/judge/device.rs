//! One device from tick to tick: its level, its growth, when it will be full, and a short history.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use vramkit::monitor::{Finding, Forecast, Snapshot};
use vramkit::pressure::{DeviceJudge, Ladder};

use super::news::News;
use crate::tick::{EventKind, Growing, HistorySample, Holder, HolderUse};

/// Holders told apart in a sample.
const HOLDERS: usize = 8;

pub(crate) struct WatchedDevice {
    device: DeviceJudge,
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
            device: DeviceJudge::default(),
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
        self.device.series().fastest_bytes_per_second()
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
        let used = snapshot.usage.used_bytes.value;
        if let Some(used) = used {
            let device = snapshot.device_use();
            let judged = self.device.read(ladder, now, used, device.as_ref());
            if let Some((change, ratio)) = judged.change {
                let words = format!("{} to {} at {:.0} %", change.from, change.to, 100.0 * ratio);
                news.push(News::new(id, EventKind::LevelChanged, words));
            }
            news.extend(judged.found.iter().map(|found| News::new(id, kind(found), found.to_string())));
        }
        let (gauge, series) = (self.device.gauge(), self.device.series());
        snapshot.level = snapshot.usage.used_ratio().map(|_| gauge.level());
        Judged {
            level_readings: gauge.readings(),
            level_changes: gauge.changes(),
            forecast: series.forecast().filter(|_| used.is_some()),
            full_soon: series.is_full_soon(),
            growing: series.growing().and_then(growing),
        }
    }

    /// Keeps a sample of a reading, and `most` of them.
    pub(crate) fn keep(&mut self, snapshot: &Snapshot, holders: &[Holder], most: usize) {
        self.history.push_back(HistorySample {
            unix_seconds: snapshot
                .time
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs_f64()),
            used_bytes: snapshot.usage.used_bytes.value,
            level: snapshot.level,
            holders: holders
                .iter()
                .take(HOLDERS)
                .map(|holder| HolderUse { name: holder.name.clone(), bytes: holder.bytes })
                .collect(),
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
