//! One device from tick to tick: its level, its growth, when it will be full, and a short history.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use vramkit::ByteSize;
use vramkit::monitor::leak::{Growth, GrowthDetector, GrowthEvent};
use vramkit::monitor::{Forecast, Forecaster, Snapshot};
use vramkit::pressure::{Ladder, PressureGauge};

use super::news::News;
use crate::tick::{EventKind, Growing, HistorySample, HolderUse, duration};

/// Holders told apart in a sample.
const HOLDERS: usize = 8;

pub(crate) struct WatchedDevice {
    gauge: PressureGauge,
    growth: GrowthDetector,
    growing: Option<Growing>,
    forecaster: Forecaster,
    history: VecDeque<HistorySample>,
    last_used: Option<(Duration, ByteSize)>,
    /// The fastest filling seen of late, in bytes a second.
    fastest: f64,
    seen: Duration,
    present: bool,
}

/// What follows from a reading, beside the level.
pub(crate) struct Judged {
    pub(crate) level_readings: [u64; 4],
    pub(crate) level_changes: u64,
    pub(crate) forecast: Option<Forecast>,
    pub(crate) growing: Option<Growing>,
}

impl WatchedDevice {
    pub(crate) fn new() -> Self {
        Self {
            gauge: PressureGauge::new(),
            growth: GrowthDetector::new(),
            growing: None,
            forecaster: Forecaster::new(Duration::from_secs(2), Duration::from_secs(60)),
            history: VecDeque::new(),
            last_used: None,
            fastest: 0.0,
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
        self.fastest
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
        if let Some(ratio) = snapshot.usage.used_ratio() {
            if let Some(change) = self.gauge.read(ladder, ratio, now) {
                let words = format!("{} to {} at {:.0} %", change.from, change.to, 100.0 * ratio);
                news.push(News::new(id, EventKind::LevelChanged, words));
            }
            snapshot.level = Some(self.gauge.level());
        }
        let mut forecast = None;
        if let Some(used) = snapshot.usage.used_bytes.value {
            self.note_rate(now, used);
            self.forecaster.push(now, used);
            forecast = snapshot.usage.total_bytes.value.and_then(|total| self.forecaster.forecast(total));
            if let Some(event) = self.growth.push(now, used) {
                let full = forecast.and_then(|forecast| forecast.full_in_seconds);
                news.push(self.note_growth(id, event, full));
            }
        }
        Judged {
            level_readings: self.gauge.readings(),
            level_changes: self.gauge.changes(),
            forecast,
            growing: self.growing,
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

    /// The fastest rate is forgotten by half in a minute.
    fn note_rate(&mut self, now: Duration, used: ByteSize) {
        if let Some((then, before)) = self.last_used {
            let seconds = now.saturating_sub(then).as_secs_f64();
            if seconds > 0.0 {
                let rate = used.saturating_sub(before).bytes() as f64 / seconds;
                self.fastest = rate.max(self.fastest * 0.5f64.powf(seconds / 60.0));
            }
        }
        self.last_used = Some((now, used));
    }

    fn note_growth(&mut self, id: &str, event: GrowthEvent, full_in_seconds: Option<f64>) -> News {
        let full =
            full_in_seconds.map_or(String::new(), |seconds| format!(", full in {}", duration(seconds)));
        let numbers = |growth: &Growth| (100.0 * growth.growth_ratio, duration(growth.window_seconds));
        let (growing, kind, words) = match event {
            GrowthEvent::Fast(growth) => {
                let (percent, window) = numbers(&growth);
                let words = format!("growing fast: +{percent:.0} % in {window}{full}");
                (Some(Growing { fast: true, growth }), EventKind::GrowingFast, words)
            }
            GrowthEvent::Sustained(growth) => {
                let (percent, window) = numbers(&growth);
                let words =
                    format!("sustained growth: floor up {percent:.0} % over {window}, not slowing{full}");
                (Some(Growing { fast: false, growth }), EventKind::SustainedGrowth, words)
            }
            GrowthEvent::Stopped => (None, EventKind::Cleared, "growth stopped".into()),
        };
        self.growing = growing;
        News::new(id, kind, words)
    }
}
