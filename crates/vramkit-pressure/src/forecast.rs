//! When will it be full, and how often must one look? From the tops of a series, because it is a top that does not fit.
//!
//! Samples come in; a rate with its interval comes out (`trend`), and from it the time to exhaustion. A rate that may be
//! zero gives no latest time; a series that bends gives no forecast.
//!
//! ```text
//! samples ──┬─► tops of long blocks ───► the longest past that a line holds for, unless a
//!           ├─► tops of shorter ones ──► shorter one says that it is over: both rates'
//!           └─► tops of short ones ────► intervals have nothing in common, and it is higher than all before
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use vramkit_units::ByteSize;

use crate::clock::Clock;
use crate::trend::trend;

/// Tops that a forecast looks at.
const TOPS: usize = 30;
/// Fewer give none.
const LEAST: usize = 6;
/// The past that a lane looks back over is by these times shorter than the longest.
const LANES: [u32; 3] = [1, 5, 30];
/// Of the standard normal law, for 19 in 20.
const Z: f64 = 1.96;

/// When the memory will be full, should it go on as it did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Forecast {
    /// The slope of the tops, in bytes a second; negative when memory empties.
    pub bytes_per_second: f64,
    /// Its interval, for 19 times in 20, whether what is random is white, remembers, or walks (Perron and Yabu 2009).
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

/// Keeps the tops of used bytes over blocks of equal time, of those in which there were samples, at three scales of time. The blocks
/// double when there are too many, so that each looks back over at least half of what it has been told, up to a bound.
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
    /// The longest first.
    lanes: [Tops; LANES.len()],
    clock: Clock,
    /// The time of the last sample, by that clock.
    now: Duration,
}

/// The tops of one scale.
#[derive(Clone, Debug)]
struct Tops {
    block: Duration,
    longest: Duration,
    /// Blocks in which there were samples, with the most of each.
    tops: VecDeque<(u128, f64)>,
    open: Option<(u128, f64)>,
}

impl Default for Forecaster {
    fn default() -> Self {
        Self::new(Duration::from_secs(10), Duration::from_secs(3600))
    }
}

impl Forecaster {
    /// From blocks of `first`, that double up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let block = first.max(Duration::from_millis(1));
        let lane = |shorter| Tops {
            block,
            longest: (longest / shorter).max(block),
            tops: VecDeque::new(),
            open: None,
        };
        Self { lanes: LANES.map(lane), clock: Clock::default(), now: Duration::ZERO }
    }

    /// Takes a sample in, read at `now`. A late one is left out; a clock that was set back goes on; after a gap of more
    /// than everything that is looked at, all begins anew.
    pub fn push(&mut self, now: Duration, used: ByteSize) {
        let Some(now) = self.clock.read(now) else { return };
        self.now = now;
        self.lanes.iter_mut().for_each(|lane| lane.push(now, used.bytes() as f64));
    }

    /// The oldest top that is looked at.
    pub(crate) fn oldest(&self) -> Option<ByteSize> {
        self.lanes[0].tops.front().map(|(_, top)| ByteSize::new(*top as u64))
    }

    /// What to expect of a memory of `capacity` bytes; `None` before there are enough samples, and when they bend so that
    /// no line says anything of them.
    pub fn forecast(&self, capacity: ByteSize) -> Option<Forecast> {
        let forecast = |lane: &Tops| lane.forecast(self.now, capacity.bytes() as f64);
        let mut said = forecast(&self.lanes[0]);
        for lane in &self.lanes[1..] {
            let Some(newer) = forecast(lane).filter(|_| self.is_beyond(lane)) else { continue };
            let counts = match &said {
                Some(longer) => longer.is_over(&newer),
                // Where a longer past bends, a shorter one says no more than it looks back over.
                None => newer.full_in_seconds.is_some_and(|seconds| seconds <= lane.span_seconds()),
            };
            said = if counts { Some(newer) } else { said };
        }
        said
    }

    /// Whether a lane has been higher than all that was before it. Teeth of a collector rise within what they have had, and fall.
    fn is_beyond(&self, lane: &Tops) -> bool {
        let all = &self.lanes[0];
        let Some((first, _)) = lane.tops.front() else { return false };
        let begins = lane.block.as_nanos() * first;
        let ended = |block: u128| all.block.as_nanos() * (block + 1) <= begins;
        let before = all.tops.iter().filter(|(block, _)| ended(*block)).map(|(_, top)| *top).reduce(f64::max);
        let since = lane.tops.iter().chain(&lane.open).map(|(_, top)| *top).fold(0.0, f64::max);
        before.is_some_and(|before| since > before)
    }
}

impl Forecast {
    /// Whether what the past of a forecast says is over, by that of a shorter one.
    fn is_over(&self, newer: &Self) -> bool {
        newer.bytes_per_second_low > self.bytes_per_second_high
            || newer.bytes_per_second_high < self.bytes_per_second_low
    }
}

impl Tops {
    fn push(&mut self, now: Duration, used: f64) {
        let block = now.as_nanos() / self.block.as_nanos();
        let Some((open, top)) = self.open else {
            self.open = Some((block, used));
            return;
        };
        if block <= open {
            self.open = Some((open, top.max(used)));
            return;
        }
        let looked_at = self.tops.front().map_or(0, |first| open - first.0);
        if self.tops.len() >= LEAST && block - open > looked_at {
            self.tops.clear();
        } else {
            self.tops.push_back((open, top));
        }
        self.open = Some((block, used));
        if self.tops.len() > TOPS && self.block * 2 <= self.longest {
            self.double();
        }
        while self.tops.len() > TOPS {
            self.tops.pop_front();
        }
    }

    /// Joins blocks to blocks of twice the length.
    fn double(&mut self) {
        self.block *= 2;
        let mut joined: VecDeque<(u128, f64)> = VecDeque::new();
        for (block, top) in self.tops.drain(..) {
            match joined.back_mut() {
                Some(last) if last.0 == block / 2 => last.1 = last.1.max(top),
                _ => joined.push_back((block / 2, top)),
            }
        }
        if let Some((open, top)) = &mut self.open {
            *open /= 2;
            // What was closed in the first half of the block that is open now belongs to it.
            if joined.back().is_some_and(|last| last.0 == *open)
                && let Some((_, last)) = joined.pop_back()
            {
                *top = top.max(last);
            }
        }
        self.tops = joined;
    }

    fn span_seconds(&self) -> f64 {
        self.block.as_secs_f64() * TOPS as f64
    }

    fn forecast(&self, now: Duration, capacity: f64) -> Option<Forecast> {
        let (times, tops): (Vec<f64>, Vec<f64>) =
            self.tops.iter().map(|(at, top)| (*at as f64, *top)).unzip();
        let all = times.len();
        if all < LEAST {
            return None;
        }
        // What has bent may have gone on in a line since.
        let newest = [all, all.min(TOPS / 2)];
        let trend = newest.into_iter().find_map(|some| trend(&times[all - some..], &tops[all - some..]))?;
        let second = self.block.as_secs_f64();
        // The line is at a block's top when the block ends.
        let since = now.as_secs_f64() / second - times[all - 1] - 1.0;
        let top = self.open.map_or(0.0, |(_, top)| top);
        let level = if trend.walk > 0.0 { top } else { trend.level + trend.slope * since };
        let room = (capacity - level).max(0.0);
        let times_error = quantile(trend.freedom);
        let rate = |errors: f64| (trend.slope + errors * trend.error) / second;
        // After so many blocks, the rate may be another than thought, and what is random has gone on.
        let off = |blocks: f64| {
            times_error * ((trend.error * blocks).powi(2) + trend.walk * blocks + trend.noise).sqrt()
        };
        let full = |side: f64| {
            let blocks = first(|blocks| trend.slope * blocks + side * off(blocks) >= room)?;
            Some(blocks * second)
        };
        let soonest = full(1.0).filter(|_| trend.slope > 0.0);
        let fills = soonest.is_some();
        Some(Forecast {
            bytes_per_second: rate(0.0),
            bytes_per_second_low: rate(-times_error),
            bytes_per_second_high: rate(times_error),
            full_in_seconds: fills.then(|| room / trend.slope * second),
            full_in_seconds_soonest: soonest,
            full_in_seconds_latest: full(-1.0).filter(|_| fills),
        })
    }
}

/// Of Student's law, for 19 in 20 (the first terms of Cornish and Fisher's expansion).
fn quantile(freedom: f64) -> f64 {
    let (z3, z5) = (Z.powi(3), Z.powi(5));
    Z + (z3 + Z) / (4.0 * freedom) + (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / (96.0 * freedom * freedom)
}

/// The number of blocks from which on something holds, to one part in ten thousand; none when that is beyond any time.
fn first(holds: impl Fn(f64) -> bool) -> Option<f64> {
    if holds(0.0) {
        return Some(0.0);
    }
    let mut high = (-10..40).map(|power| 2.0f64.powi(power)).find(|blocks| holds(*blocks))?;
    let mut low = high / 2.0;
    while high - low > 1e-4 * high {
        let middle = f64::midpoint(low, high);
        *(if holds(middle) { &mut high } else { &mut low }) = middle;
    }
    Some(high)
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
