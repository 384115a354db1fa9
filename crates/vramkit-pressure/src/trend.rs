//! The slope of a series whose noise may be anything from white to a random walk, with an interval that holds for both.
//!
//! A line is laid through by least squares; what is left of it is tested for a random walk: its correlation from one
//! value to the next, corrected for the bias that detrending makes, counts as 1 when it is within 4·n^(-1/2) of it. Then
//! the line is laid through what is new at each value (Prais and Winsten 1954), whose errors are independent either
//! way. This is Perron and Yabu's way, "Estimating deterministic trends with an integrated or stationary noise
//! component", Journal of Econometrics 151 (2009), who count as 1 what is within n^(-1/2): thirty values are too few for
//! that, and a walk that is taken for noise makes an interval of a part of its width.

/// A slope and what is random about the series. Of times in any unit `t` and values in any unit `y`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trend {
    /// `y` a `t`.
    pub(crate) slope: f64,
    /// Its standard error.
    pub(crate) error: f64,
    /// How many independent values the error was estimated from.
    pub(crate) freedom: f64,
    /// Where the line is at the last time.
    pub(crate) level: f64,
    /// Variance that a value has around the line, for ever.
    pub(crate) noise: f64,
    /// Variance that it gathers a `t`.
    pub(crate) walk: f64,
}

/// How near to a random walk is one, in n^(-1/2).
const NEAR_WALK: f64 = 4.0;
/// Correlation of a smooth series' rises beyond which it bends: no line is told of it.
const SMOOTH: f64 = 0.5;
/// Standard errors from 0 at which the rises' own slope is one: it bends.
const BENDS: f64 = 3.0;

/// The trend of values at times that rise; none of fewer than five, and none of what bends.
pub(crate) fn trend(times: &[f64], values: &[f64]) -> Option<Trend> {
    let n = times.len();
    if n < 5 {
        return None;
    }
    let count = n as f64;
    let correlation = lag_one(&line(times, values).left);
    // Kendall 1954, of a series that a line was taken out of.
    let corrected = correlation + (2.0 + 4.0 * correlation.max(0.0)) / count;
    let rises: Vec<f64> = (1..n).map(|i| (values[i] - values[i - 1]) / (times[i] - times[i - 1])).collect();
    if corrected < 1.0 - NEAR_WALK * count.powf(-0.5) {
        return Some(stationary(times, values, corrected.max(0.0)));
    }
    let span = times[n - 1] - times[0];
    let slope = (values[n - 1] - values[0]) / span;
    let off: Vec<f64> = rises.iter().map(|rise| rise - slope).collect();
    let smooth = lag_one(&off);
    if smooth > SMOOTH || bends(times, &rises) {
        return None;
    }
    let squares: f64 = (1..n).map(|i| off[i - 1] * off[i - 1] * (times[i] - times[i - 1])).sum();
    let smooth = smooth.max(0.0);
    let walk = squares / (count - 2.0) * (1.0 + smooth) / (1.0 - smooth);
    Some(Trend {
        slope,
        error: (walk / span).sqrt(),
        freedom: count - 2.0,
        level: values[n - 1],
        noise: 0.0,
        walk,
    })
}

/// Whether the rises rise or fall themselves.
fn bends(times: &[f64], rises: &[f64]) -> bool {
    let middles: Vec<f64> = times.windows(2).map(|pair| f64::midpoint(pair[0], pair[1])).collect();
    let line = line(&middles, rises);
    let squares: f64 = line.left.iter().map(|left| left * left).sum();
    let error = (squares / (rises.len() as f64 - 2.0) / line.spread).sqrt();
    line.slope.abs() > BENDS * error && squares > 0.0
}

/// By what is new at each value: `y(i) - r·y(i-1)` on `t(i) - r·t(i-1)`.
fn stationary(times: &[f64], values: &[f64], r: f64) -> Trend {
    let first = (1.0 - r * r).sqrt();
    let (mut aa, mut ab, mut bb, mut az, mut bz) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let (t0, y0) = (times[0], values[0]);
    let row = |i: usize| {
        if i == 0 {
            return (first, 0.0, 0.0);
        }
        let (t, before) = (times[i] - t0, times[i - 1] - t0);
        (1.0 - r, t - r * before, values[i] - y0 - r * (values[i - 1] - y0))
    };
    for i in 0..times.len() {
        let (a, b, z) = row(i);
        aa += a * a;
        ab += a * b;
        bb += b * b;
        az += a * z;
        bz += b * z;
    }
    let det = aa * bb - ab * ab;
    let (slope, start) = ((aa * bz - ab * az) / det, (bb * az - ab * bz) / det);
    let squares: f64 = (0..times.len())
        .map(|i| {
            let (a, b, z) = row(i);
            (z - start * a - slope * b).powi(2)
        })
        .sum();
    let n = times.len() as f64;
    let new = squares / (n - 2.0);
    Trend {
        slope,
        error: (new * aa / det).sqrt(),
        freedom: ((n - 2.0) * (1.0 - r) / (1.0 + r)).max(2.0),
        level: y0 + start + slope * (times[times.len() - 1] - t0),
        noise: new / (1.0 - r * r),
        walk: 0.0,
    }
}

/// A line of least squares.
struct Line {
    slope: f64,
    /// What is left of the values without it.
    left: Vec<f64>,
    /// The squared distances of the times from their mean.
    spread: f64,
}

fn line(times: &[f64], values: &[f64]) -> Line {
    let n = times.len() as f64;
    // Relative to the first, so that small differences of great values are not lost.
    let (t, y) = (times.iter().sum::<f64>() / n, values.iter().map(|y| y - values[0]).sum::<f64>() / n);
    let (mut spread, mut both) = (0.0, 0.0);
    for (time, value) in times.iter().zip(values) {
        spread += (time - t).powi(2);
        both += (time - t) * (value - values[0] - y);
    }
    let slope = both / spread;
    let left =
        times.iter().zip(values).map(|(time, value)| value - values[0] - y - slope * (time - t)).collect();
    Line { slope, left, spread }
}

/// The correlation of what has mean 0 with what came before.
fn lag_one(values: &[f64]) -> f64 {
    let squares: f64 = values.iter().map(|value| value * value).sum();
    let products: f64 = values.windows(2).map(|pair| pair[0] * pair[1]).sum();
    if squares > 0.0 { products / squares } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vramkit_units::SplitMix64;

    /// Of a line of slope 1 with a noise, how often the interval of two standard errors covers the slope, and its width.
    fn coverage(mut noise: impl FnMut(f64, &mut SplitMix64) -> f64) -> (f64, f64) {
        let (mut covered, mut said, mut widths) = (0, 0, 0.0);
        for seed in 0..400 {
            let mut random = SplitMix64::new(seed);
            let mut before = 0.0;
            let times: Vec<f64> = (0..30).map(f64::from).collect();
            let values: Vec<f64> = times
                .iter()
                .map(|time| {
                    before = noise(before, &mut random);
                    time + before
                })
                .collect();
            let Some(trend) = trend(&times, &values) else { continue };
            said += 1;
            widths += 4.0 * trend.error;
            covered += i32::from((trend.slope - 1.0).abs() < 2.1 * trend.error);
        }
        assert!(said > 300, "{said}");
        (f64::from(covered) / f64::from(said), widths / f64::from(said))
    }

    #[test]
    fn the_error_holds_for_white_noise_and_for_a_walk_and_is_smaller_for_the_first() {
        let even = |random: &mut SplitMix64| 3.0 * (random.unit() - 0.5);
        let (white, narrow) = coverage(|_, random| even(random));
        let (walk, wide) = coverage(|before, random| before + even(random));
        assert!(white > 0.9 && walk > 0.88, "{white} {walk}");
        assert!(narrow < 0.4 * wide, "{narrow} {wide}");
    }

    #[test]
    fn what_bends_has_no_trend_and_a_line_has_no_error() {
        let times: Vec<f64> = (0..30).map(f64::from).collect();
        let of = |at: &dyn Fn(f64) -> f64| trend(&times, &times.iter().map(|t| at(*t)).collect::<Vec<f64>>());
        assert!(of(&|t| (t / 8.0).sin()).is_none());
        assert!(of(&|t| t * t).is_none());
        assert!(of(&|t| (t - 15.0).max(0.0)).is_none());
        let line = of(&|t| 7.0 + 2.0 * t).unwrap();
        assert!(
            (line.slope - 2.0).abs() < 1e-9 && line.error < 1e-6 && (line.level - 65.0).abs() < 1e-6,
            "{line:?}"
        );
        assert_eq!(of(&|_| 5.0).map(|flat| flat.slope), Some(0.0));
    }
}
