//! One series of used bytes from reading to reading: does it grow, when will it be full, how fast has it filled of late? What is
//! found is told when it begins and when it ends, and not in between.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use vramkit_units::ByteSize;

use crate::forecast::{Forecast, Forecaster};
use crate::headroom::FULL;
use crate::leak::{Growth, GrowthDetector, GrowthEvent};

/// Sooner than this, even at the slowest rate that the forecast allows, it is full soon.
const SOON: Duration = Duration::from_secs(15 * 60);
/// For that part of the time that is left the forecast must have said so.
const HOLD: u32 = 4;
/// And not soon any more when it takes longer than this at the likeliest rate.
const LATER: Duration = Duration::from_secs(30 * 60);

/// What is found of a series. In words by its `Display`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// It grows fast: more than a fifth in five minutes, evenly.
    GrowingFast {
        /// How much, over which window.
        #[serde(flatten)]
        growth: Growth,
        /// Until it is full, where that is known.
        full_in_seconds: Option<f64>,
    },
    /// Its floor rises and does not slow.
    SustainedGrowth {
        /// How much, over which window.
        #[serde(flatten)]
        growth: Growth,
        /// Until it is full, where that is known.
        full_in_seconds: Option<f64>,
    },
    /// It takes much of what is free: a quarter and more of the headroom over the window, evenly.
    GrowingTowardsFull {
        /// How much, over which window.
        #[serde(flatten)]
        growth: Growth,
        /// Until it is full, where that is known.
        full_in_seconds: Option<f64>,
    },
    /// What was said of growth is over.
    GrowthStopped,
    /// It will be full within a quarter of an hour at the latest.
    FullSoon {
        /// When.
        #[serde(flatten)]
        forecast: Forecast,
    },
    /// It will not be full soon any more.
    NotFullSoon,
}

impl Finding {
    /// Its kind, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::GrowingFast { .. } => "growing fast",
            Self::SustainedGrowth { .. } => "sustained growth",
            Self::GrowingTowardsFull { .. } => "growing towards full",
            Self::GrowthStopped => "growth stopped",
            Self::FullSoon { .. } => "full soon",
            Self::NotFullSoon => "not full soon",
        }
    }

    /// Its numbers, in words; empty where there are none.
    pub fn details(&self) -> String {
        let numbers = |growth: &Growth| (100.0 * growth.growth_ratio, duration(growth.window_seconds));
        let until = |seconds: Option<f64>| {
            seconds.map_or_else(String::new, |seconds| format!(", full in {}", duration(seconds)))
        };
        match self {
            Self::GrowingFast { growth, full_in_seconds } => {
                let (percent, window) = numbers(growth);
                format!("+{percent:.0} % in {window}{}", until(*full_in_seconds))
            }
            Self::SustainedGrowth { growth, full_in_seconds } => {
                let (percent, window) = numbers(growth);
                format!("floor up {percent:.0} % over {window}, not slowing{}", until(*full_in_seconds))
            }
            Self::GrowingTowardsFull { growth, full_in_seconds } => {
                let rise = ByteSize::new((growth.bytes_per_second * growth.window_seconds).max(0.0) as u64);
                format!("+{rise} in {}{}", duration(growth.window_seconds), until(*full_in_seconds))
            }
            Self::FullSoon { forecast } => {
                let full = forecast.full_in_seconds.map_or_else(|| "soon".to_owned(), duration);
                format!("in {full} at the rate of late")
            }
            Self::GrowthStopped | Self::NotFullSoon => String::new(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = self.details();
        f.write_str(self.kind())?;
        if details.is_empty() { Ok(()) } else { write!(f, ": {details}") }
    }
}

/// A time in seconds for people: `34 s`, `12 min`, `5.0 h`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} days", s / 86400.0),
    }
}

/// Judges one series.
///
/// ```
/// use std::time::Duration;
/// use vramkit_pressure::{Finding, SeriesJudge};
/// use vramkit_units::ByteSize;
///
/// let mut judge = SeriesJudge::default();
/// let found = (0..900).find_map(|second| {
///     let used = ByteSize::mib(1000 + second); // one more MiB every second
///     judge.push(Duration::from_secs(second), used, Some(ByteSize::gib(4))).pop()
/// });
/// assert!(matches!(found, Some(Finding::GrowingFast { growth, .. }) if growth.growth_ratio > 0.2));
/// ```
#[derive(Clone, Debug)]
pub struct SeriesJudge {
    growth: GrowthDetector,
    growing: Option<Finding>,
    forecaster: Forecaster,
    forecast: Option<Forecast>,
    full_soon: bool,
    /// Since when the forecast has said so.
    soon_since: Option<Duration>,
    last: Option<(Duration, ByteSize)>,
    /// The fastest filling seen of late, in bytes a second.
    fastest: f64,
}

impl Default for SeriesJudge {
    fn default() -> Self {
        Self {
            growth: GrowthDetector::new(),
            growing: None,
            forecaster: Forecaster::new(Duration::from_secs(2), Duration::from_secs(600)),
            forecast: None,
            full_soon: false,
            soon_since: None,
            last: None,
            fastest: 0.0,
        }
    }
}

impl SeriesJudge {
    /// Takes a reading in: `used` bytes of `total` (where that is known) at the time `now` of a clock that does not go back.
    /// Returns what has begun and ended.
    pub fn push(&mut self, now: Duration, used: ByteSize, total: Option<ByteSize>) -> Vec<Finding> {
        self.note_rate(now, used);
        self.forecaster.push(now, used);
        self.forecast = total.and_then(|total| self.forecaster.forecast(total));
        let full_in_seconds = self.forecast.and_then(|forecast| forecast.full_in_seconds);
        let mut found = Vec::new();
        self.growth.set_capacity(total);
        if let Some(event) = self.growth.push(now, used) {
            let finding = match event {
                GrowthEvent::Fast(growth) => Finding::GrowingFast { growth, full_in_seconds },
                GrowthEvent::Sustained(growth) => Finding::SustainedGrowth { growth, full_in_seconds },
                GrowthEvent::FullSoon(growth) => Finding::GrowingTowardsFull { growth, full_in_seconds },
                GrowthEvent::Stopped => Finding::GrowthStopped,
            };
            self.growing = (finding != Finding::GrowthStopped).then_some(finding);
            found.push(finding);
        }
        found.extend(self.note_full(now, used, total));
        found
    }

    /// Growth that has been told and not taken back.
    pub fn growing(&self) -> Option<&Finding> {
        self.growing.as_ref()
    }

    /// When it will be full, as of the last reading.
    pub fn forecast(&self) -> Option<Forecast> {
        self.forecast
    }

    /// Whether it has been told that it is full soon, and not taken back.
    pub fn is_full_soon(&self) -> bool {
        self.full_soon
    }

    /// The fastest filling seen of late, in bytes a second. It is forgotten by half in a minute.
    pub fn fastest_bytes_per_second(&self) -> f64 {
        self.fastest
    }

    fn note_full(&mut self, now: Duration, used: ByteSize, total: Option<ByteSize>) -> Option<Finding> {
        let forecast = self.forecast;
        let of = |pick: fn(&Forecast) -> Option<f64>| {
            forecast
                .as_ref()
                .and_then(pick)
                .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
        };
        // A program that starts fills, and goes on to do its work: what has more than quadrupled in view is not told of.
        let starts = self.forecaster.oldest().is_none_or(|oldest| used.bytes() / 4 > oldest.bytes());
        let latest =
            of(|forecast| forecast.full_in_seconds_latest).filter(|latest| *latest <= SOON && !starts);
        let Some(latest) = latest else {
            self.soon_since = None;
            // What is full does not fill, and is not to be called far from it.
            let is_full = total.is_some_and(|total| used.ratio_of(total) >= FULL);
            let is_over = !is_full && of(|forecast| forecast.full_in_seconds).is_none_or(|full| full > LATER);
            let ends = self.full_soon && is_over;
            self.full_soon &= !is_over;
            return ends.then_some(Finding::NotFullSoon);
        };
        let since = *self.soon_since.get_or_insert(now);
        let held = now.saturating_sub(since) >= latest / HOLD;
        let is_new = held && !self.full_soon;
        self.full_soon |= held;
        forecast.filter(|_| is_new).map(|forecast| Finding::FullSoon { forecast })
    }

    fn note_rate(&mut self, now: Duration, used: ByteSize) {
        if let Some((then, before)) = self.last {
            let seconds = now.saturating_sub(then).as_secs_f64();
            if seconds > 0.0 {
                let rate = used.saturating_sub(before).bytes() as f64 / seconds;
                self.fastest = rate.max(self.fastest * 0.5f64.powf(seconds / 60.0));
            }
        }
        self.last = Some((now, used));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vramkit_units::SplitMix64;

    #[test]
    fn full_soon_is_told_once_and_taken_back() {
        let (mut judge, mut found) = (SeriesJudge::default(), Vec::new());
        let total = Some(ByteSize::gib(10));
        let mut push = |second: u64, mib: u64| {
            found.extend(judge.push(Duration::from_secs(second), ByteSize::mib(mib), total));
        };
        (0..600).for_each(|second| push(second, 4000 + 6 * second)); // full after 1,040 s
        (600..3000).for_each(|second| push(second, 7600));
        let is = |kind: fn(&Finding) -> bool| found.iter().filter(|finding| kind(finding)).count();
        assert_eq!(is(|finding| matches!(finding, Finding::FullSoon { .. })), 1, "{found:?}");
        assert_eq!(is(|finding| *finding == Finding::NotFullSoon), 1, "{found:?}");
        assert!(judge.growing().is_none(), "{found:?}");
    }

    /// What was flat for hours or days and then fills is forecast by the fill, and told in time.
    #[test]
    fn a_fill_after_a_flat_time_is_told_in_time() {
        let total = ByteSize::gib(80);
        for (hours, mib_per_second, noise) in [(6, 50, 0), (3, 10, 64), (12, 20, 256)] {
            let (mut judge, mut random) = (SeriesJudge::default(), SplitMix64::new(3));
            let flat = hours * 3600;
            let end = flat + 60 * 1024 / mib_per_second;
            let mut used = |second: u64| {
                let risen = second.saturating_sub(flat) * mib_per_second;
                ByteSize::mib(20 * 1024 + risen + (random.unit() * noise as f64) as u64)
            };
            let is_soon = |finding: &Finding| matches!(finding, Finding::FullSoon { .. });
            let told: Vec<u64> = (0..end)
                .filter(|&second| {
                    judge.push(Duration::from_secs(second), used(second), Some(total)).iter().any(is_soon)
                })
                .collect();
            let ahead = told.first().map(|second| end - second);
            assert!(told.len() == 1 && ahead > Some(600), "{hours} h, {mib_per_second} MiB/s: {ahead:?}");
            let said = judge.forecast().and_then(|forecast| forecast.full_in_seconds);
            assert!(said < Some(60.0), "{said:?}");
        }
    }

    /// What has risen so far before, and fallen, is no fill: days of teeth are told of once at most, as long as one is all there is.
    #[test]
    fn teeth_are_not_full_soon_each_time() {
        for (period, low, high) in [(1800, 32.0, 72.0), (3600, 32.0, 73.6), (3600, 24.0, 76.0)] {
            let (mut judge, mut soon) = (SeriesJudge::default(), 0);
            for reading in 0..8 * 3600u64 {
                let (second, part) = (2 * reading, (2 * reading % period) as f64 / period as f64);
                let used = ByteSize::new(((low + (high - low) * part) * (1u64 << 30) as f64) as u64);
                let found = judge.push(Duration::from_secs(second), used, Some(ByteSize::gib(80)));
                soon += found.iter().filter(|finding| matches!(finding, Finding::FullSoon { .. })).count();
            }
            assert!(soon <= 1, "{soon} times, a tooth in {period} s");
        }
    }

    #[test]
    fn what_is_full_stays_full() {
        let (mut judge, mut found) = (SeriesJudge::default(), Vec::new());
        let total = Some(ByteSize::gib(80));
        let mut push = |second: u64, mib: u64| {
            found.extend(judge.push(Duration::from_secs(second), ByteSize::mib(mib), total));
        };
        (0..2560).for_each(|second| push(second, 30 * 1024 + 20 * second));
        (2560..12_000).for_each(|second| push(second, 80 * 1024));
        (12_000..14_000).for_each(|second| push(second, 40 * 1024));
        found.retain(|finding| matches!(finding, Finding::FullSoon { .. } | Finding::NotFullSoon));
        assert!(matches!(found[..], [Finding::FullSoon { .. }, Finding::NotFullSoon]), "{found:?}");
    }

    /// What has more than quadrupled in view is a program that starts.
    #[test]
    fn a_program_that_starts_is_not_told_of() {
        let told = |first: u64| {
            let (mut judge, mut told) = (SeriesJudge::default(), false);
            for second in 0..400u64 {
                let used = ByteSize::mib(first + 20 * second);
                judge.push(Duration::from_secs(second), used, Some(ByteSize::mib(first + 20 * 500)));
                told |= judge.is_full_soon();
            }
            told
        };
        assert!(told(4000));
        assert!(!told(100));
    }

    #[test]
    fn growth_and_full_soon_are_as_they_were_told_last() {
        let mut judge = SeriesJudge::default();
        assert!(judge.growing().is_none() && !judge.is_full_soon());
        for second in 0..900u64 {
            judge.push(
                Duration::from_secs(second),
                ByteSize::mib(4000 + 6 * second),
                Some(ByteSize::gib(10)),
            );
        }
        assert!(matches!(judge.growing(), Some(Finding::GrowingTowardsFull { .. })), "{:?}", judge.growing());
        assert!(judge.is_full_soon());
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let all = [0.4, 89.0, 90.0, 600.0, 5400.0, 36_000.0, 172_800.0].map(duration);
        assert_eq!(all, ["0 s", "89 s", "2 min", "10 min", "1.5 h", "10.0 h", "2 days"]);
    }

    #[test]
    fn findings_say_how_much_over_what_and_until_when() {
        let growth = Growth { growth_ratio: 0.25, window_seconds: 300.0, bytes_per_second: 1e6 };
        let found = Finding::GrowingFast { growth, full_in_seconds: Some(7200.0) };
        assert_eq!(found.to_string(), "growing fast: +25 % in 5 min, full in 2.0 h");
        let found = Finding::SustainedGrowth { growth, full_in_seconds: None };
        assert_eq!(found.to_string(), "sustained growth: floor up 25 % over 5 min, not slowing");
        let found = Finding::GrowingTowardsFull { growth, full_in_seconds: Some(60.0) };
        assert_eq!(found.to_string(), "growing towards full: +300 MB in 5 min, full in 60 s");
        assert_eq!(Finding::NotFullSoon.to_string(), "not full soon");
    }
}
