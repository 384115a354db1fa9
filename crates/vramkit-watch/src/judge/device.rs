//! One device from tick to tick: its level, its growth, when it will be full, and a short history.

use std::time::Duration;

use vramkit::monitor::{Finding, Forecast, Snapshot};
use vramkit::pressure::{DeviceJudge, Ladder};

use super::news::News;
use crate::past::Past;
use crate::tick::{EventKind, Growing, Holder};
use crate::utc::since_1970;

#[derive(Default)]
pub(crate) struct WatchedDevice {
    device: DeviceJudge,
    past: Past,
    seen: Duration,
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
    /// When it was last there.
    pub(crate) fn seen(&self) -> Duration {
        self.seen
    }

    /// The fastest filling seen of late, in bytes a second.
    pub(crate) fn fastest(&self) -> f64 {
        self.device.series().fastest_bytes_per_second()
    }

    /// Its samples, oldest first.
    pub(crate) fn past(&self) -> &Past {
        &self.past
    }

    /// Its samples, for what a recording has of them.
    pub(crate) fn past_mut(&mut self) -> &mut Past {
        &mut self.past
    }

    /// What a reading means. Sets the snapshot's level; what is new goes to `news`.
    pub(crate) fn judge(
        &mut self,
        now: Duration,
        ladder: &Ladder<()>,
        snapshot: &mut Snapshot,
        news: &mut Vec<News>,
    ) -> Judged {
        self.seen = now;
        let id = &snapshot.device.id;
        let used = snapshot.usage.used_bytes.value;
        if let Some(used) = used {
            let device = snapshot.device_use();
            // A group fills as well when those beside it take what is above them all.
            let counted = device.as_ref().map_or(used, |device| device.used);
            let judged = self.device.read(ladder, now, counted, device.as_ref());
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
            full_soon: used.is_some() && series.is_full_soon(),
            growing: series.growing().filter(|_| used.is_some()).and_then(growing),
        }
    }

    /// Keeps a sample of a reading, and `most` of them as they are, of so many devices.
    pub(crate) fn keep(&mut self, snapshot: &Snapshot, holders: &[Holder], most: (usize, usize)) {
        let holders = holders.iter().map(|holder| (holder.name.as_str(), holder.bytes));
        let used = snapshot.usage.used_bytes.value;
        self.past.keep(since_1970(snapshot.time), used, snapshot.level, holders, most);
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
