//! When will it be full, and how often must one look? From the tops of a series, because it is a top that does not fit.
//!
//! Samples come in; a rate with its interval comes out, and from it the time to exhaustion. A rate that may be zero gives
//! no latest time.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use vramkit_units::ByteSize;

use crate::leak::slopes;

/// Tops that a forecast looks at.
const TOPS: usize = 30;
/// Fewer give none.
const LEAST: usize = 6;
/// Of the standard normal law, for 19 in 20.
const Z: f64 = 1.96;

/// When the memory will be full, should it go on as it did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Forecast {
    /// The median slope, in bytes a second; negative when memory empties.
    pub bytes_per_second: f64,
    /// Its interval, 19 times in 20 by Sen's method if what is random from one top to the next is independent.
    pub bytes_per_second_low: f64,
    /// See `bytes_per_second_low`.
    pub bytes_per_second_high: f64,
    /// Until it is full; none when it does not fill.
    pub full_in_seconds: Option<f64>,
    /// Soonest, at the highest rate.
    pub full_in_seconds_soonest: Option<f64>,
    /// Latest, at the lowest rate; none when that does not fill it.
    pub full_in_seconds_latest: Option<f64>,
}

/// Keeps the tops of used bytes over blocks of equal time. The blocks double when there are too many, so that it looks
/// back over at least half of what it has been told, up to a bound.
///
/// ```
/// use std::time::Duration;
///
/// use vramkit_pressure::Forecaster;
/// use vramkit_units::ByteSize;
///
/// let mut forecaster = Forecaster::default();
/// for second in 0..100 {
///     forecaster.push(Duration::from_secs(second), ByteSize::mb(1000 + second));
/// }
/// // A megabyte a second, and about 900 MB to go.
/// let forecast = forecaster.forecast(ByteSize::mb(2000)).expect("there are tops enough");
/// assert!((forecast.bytes_per_second - 1e6).abs() < 1.0);
/// assert!((890.0..910.0).contains(&forecast.full_in_seconds.expect("it fills")));
/// ```
#[derive(Clone, Debug)]
pub struct Forecaster {
    block: Duration,
    longest: Duration,
    tops: VecDeque<f64>,
    open: Option<(u128, f64)>,
}

impl Default for Forecaster {
    fn default() -> Self {
        Self::new(Duration::from_secs(10), Duration::from_secs(10))
    }
}

impl Forecaster {
    /// From blocks of `first`, that double up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let block = first.max(Duration::from_millis(1));
        Self { block, longest: longest.max(block), tops: VecDeque::new(), open: None }
    }

    /// Takes a sample in. One from before the open block is left out; a gap of more than all tops begins anew.
    pub fn push(&mut self, now: Duration, used: ByteSize) {
        let (block, used) = (now.as_nanos() / self.block.as_nanos(), used.bytes() as f64);
        match self.open {
            Some((open, _)) if block < open => {}
            Some((open, top)) if block == open => self.open = Some((open, top.max(used))),
            Some((open, top)) if block - open <= TOPS as u128 => {
                for _ in open..block {
                    self.tops.push_back(top);
                }
                self.open = Some((block, used));
                self.bound();
            }
            _ => {
                self.tops.clear();
                self.open = Some((block, used));
            }
        }
    }

    fn bound(&mut self) {
        if self.tops.len() > TOPS && self.block * 2 <= self.longest {
            // Pairs end where blocks of twice the length end.
            if let Some((open, top)) = self.open {
                if open % 2 == 1 {
                    let last = self.tops.pop_back().unwrap_or(top);
                    self.open = Some((open / 2, top.max(last)));
                } else {
                    self.open = Some((open / 2, top));
                }
            }
            if self.tops.len() % 2 == 1 {
                self.tops.pop_front();
            }
            let tops: Vec<f64> = self.tops.drain(..).collect();
            self.tops = tops.chunks(2).map(|pair| pair.iter().copied().fold(0.0, f64::max)).collect();
            self.block *= 2;
        }
        while self.tops.len() > TOPS {
            self.tops.pop_front();
        }
    }

    /// What to expect of a memory of `capacity` bytes; `None` before there are enough samples.
    pub fn forecast(&self, capacity: ByteSize) -> Option<Forecast> {
        let tops: Vec<f64> = self.tops.iter().copied().collect();
        if tops.len() < LEAST {
            return None;
        }
        let mut slopes = slopes(&tops);
        slopes.sort_by(f64::total_cmp);
        let middle = slopes[slopes.len() / 2];
        // Sen 1968: ranks that a normal approximation of Kendall's statistic gives.
        let (n, pairs) = (tops.len() as f64, slopes.len() as f64);
        let spread = Z * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
        let rank = |rank: f64| slopes[(rank.round().max(0.0) as usize).min(slopes.len() - 1)];
        let (low, high) = (rank((pairs - spread) / 2.0), rank((pairs + spread) / 2.0));
        let level = self.open.map_or(0.0, |(_, top)| top).max(tops[tops.len() - 1]);
        let room = (capacity.bytes() as f64 - level).max(0.0);
        let second = self.block.as_secs_f64();
        let until = |slope: f64| (slope > 0.0).then(|| room / (slope / second));
        Some(Forecast {
            bytes_per_second: middle / second,
            bytes_per_second_low: low / second,
            bytes_per_second_high: high / second,
            full_in_seconds: until(middle),
            full_in_seconds_soonest: until(high),
            full_in_seconds_latest: until(low),
        })
    }
}

/// How long to wait before the next look: a quarter of the time in which the headroom could go at the fastest filling
/// seen, within bounds.
pub fn sampling_period(
    headroom: ByteSize,
    fastest_bytes_per_second: f64,
    bounds: (Duration, Duration),
) -> Duration {
    let seconds = headroom.bytes() as f64 / fastest_bytes_per_second.max(f64::MIN_POSITIVE) / 4.0;
    let (least, most) = bounds;
    if seconds >= most.as_secs_f64() {
        most
    } else {
        Duration::from_secs_f64(seconds).clamp(least, most.max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vramkit_units::SplitMix64;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_even_fill_is_forecast_with_an_interval_that_holds_it() {
        let (mut forecaster, mut random) = (Forecaster::default(), SplitMix64::new(7));
        for second in 0..400u64 {
            let used = 1e9 + 1e6 * second as f64 + 5e6 * random.unit();
            forecaster.push(SECOND * second as u32, ByteSize::new(used as u64));
        }
        let forecast = forecaster.forecast(ByteSize::new(2_400_000_000)).unwrap();
        assert!((forecast.bytes_per_second / 1e6 - 1.0).abs() < 0.05, "{forecast:?}");
        assert!(forecast.bytes_per_second_low < 1e6 && forecast.bytes_per_second_high > 1e6, "{forecast:?}");
        let full = forecast.full_in_seconds.unwrap();
        assert!((full - 1000.0).abs() < 60.0, "{full}");
        assert!(forecast.full_in_seconds_soonest.unwrap() <= full);
        assert!(forecast.full_in_seconds_latest.unwrap() >= full);
    }

    #[test]
    fn what_stays_is_never_full_and_too_little_gives_no_forecast() {
        let mut forecaster = Forecaster::default();
        forecaster.push(SECOND, ByteSize::gib(1));
        assert_eq!(forecaster.forecast(ByteSize::gib(2)), None);
        (2..100).for_each(|second| forecaster.push(SECOND * second, ByteSize::gib(1)));
        let forecast = forecaster.forecast(ByteSize::gib(2)).unwrap();
        assert_eq!(forecast.full_in_seconds, None);
        // A clock that goes back changes nothing.
        forecaster.push(SECOND, ByteSize::ZERO);
        assert_eq!(forecaster.forecast(ByteSize::gib(2)), Some(forecast));
    }

    #[test]
    fn blocks_double_and_the_slope_stays() {
        let mut forecaster = Forecaster::new(SECOND, SECOND * 64);
        (0..3000u64).for_each(|second| forecaster.push(SECOND * second as u32, ByteSize::new(second * 1000)));
        let forecast = forecaster.forecast(ByteSize::gib(1)).unwrap();
        assert!((forecast.bytes_per_second - 1000.0).abs() < 1.0, "{forecast:?}");
    }

    #[test]
    fn one_looks_more_often_as_headroom_shrinks() {
        let bounds = (Duration::from_millis(100), SECOND * 10);
        let period = |gib| sampling_period(ByteSize::gib(gib), 1e9, bounds);
        assert!(period(1) < period(8));
        assert_eq!(sampling_period(ByteSize::ZERO, 1e9, bounds), bounds.0);
        assert_eq!(sampling_period(ByteSize::gib(1), 0.0, bounds), bounds.1);
    }
}
