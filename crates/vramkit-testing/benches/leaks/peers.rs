//! What others use, each with one threshold: a statistic at every step of a minute or so, and an alarm when it has been
//! over the threshold for ten minutes, which ends when it has been under it for an hour (`for: 10m` and
//! `keep_firing_for: 1h` of a Prometheus rule).

use std::time::Duration;

use vramkit_testing::realistic::Readings;

/// What a range of a query looks at: an hour.
const RANGE: f64 = 3600.0;
/// Points in a range; at least so many readings there must be.
const LEAST: usize = 8;

/// A peer's name, and its statistic at the end of every step; higher is worse.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    statistic: fn(&[Point], &Readings) -> f64,
}

/// The last and the least reading of a step.
#[derive(Clone, Copy)]
pub(crate) struct Point {
    time: f64,
    last: f64,
    least: f64,
}

pub(crate) const PEERS: [Peer; 5] = [
    Peer { name: "regression, R2 > .9", statistic: regression },
    Peer { name: "Mann-Kendall on floors", statistic: mann_kendall },
    Peer { name: "CUSUM on floors", statistic: cusum },
    Peer { name: "predict_linear", statistic: predict_linear },
    Peer { name: "deriv", statistic: deriv },
];

/// The statistic of a peer at every step of a series.
pub(crate) fn statistics(peer: &Peer, readings: &Readings) -> Vec<(Duration, f64)> {
    let step = readings.period.as_secs_f64().max(60.0);
    let mut points: Vec<Point> = Vec::new();
    let mut from = 0;
    let mut found = Vec::new();
    for &(time, used) in &readings.samples {
        let (seconds, used) = (time.as_secs_f64(), used.bytes() as f64);
        match points.last_mut() {
            Some(point) if (point.time / step).floor() >= (seconds / step).floor() => {
                (point.last, point.least) = (used, point.least.min(used));
            }
            _ => {
                from = points.partition_point(|point| point.time < seconds - RANGE).max(from);
                if points.len() - from >= LEAST {
                    found.push((time, (peer.statistic)(&points[from..], readings)));
                }
                points.push(Point { time: seconds, last: used, least: used });
            }
        }
    }
    found
}

/// When alarms begin.
pub(crate) fn alarms(statistics: &[(Duration, f64)], threshold: f64) -> Vec<Duration> {
    let (mut since, mut last_over, mut told, mut alarms) = (None, Duration::ZERO, false, Vec::new());
    for &(time, value) in statistics {
        if value < threshold {
            since = None;
            told &= time.saturating_sub(last_over) < Duration::from_secs(3600);
            continue;
        }
        last_over = time;
        if time.saturating_sub(*since.get_or_insert(time)) >= Duration::from_secs(600) && !told {
            told = true;
            alarms.push(time);
        }
    }
    alarms
}

/// Least squares through the last readings: slope a second, R², and the value at the end.
fn line(points: &[Point]) -> (f64, f64, f64) {
    let n = points.len() as f64;
    let t = points.iter().map(|point| point.time).sum::<f64>() / n;
    let y = points.iter().map(|point| point.last).sum::<f64>() / n;
    let (mut tt, mut ty, mut yy) = (0.0, 0.0, 0.0);
    for point in points {
        let (dt, dy) = (point.time - t, point.last - y);
        tt += dt * dt;
        ty += dt * dy;
        yy += dy * dy;
    }
    let slope = if tt > 0.0 { ty / tt } else { 0.0 };
    let end = points.last().map_or(t, |point| point.time);
    (slope, if tt * yy > 0.0 { ty * ty / (tt * yy) } else { 0.0 }, y + slope * (end - t))
}

/// Growth over the range, of the level, where a line explains nine tenths of it.
fn regression(points: &[Point], _: &Readings) -> f64 {
    let (slope, r_squared, end) = line(points);
    let span = points[points.len() - 1].time - points[0].time;
    if r_squared > 0.9 { slope * span / (end - slope * span).max(1.0) } else { 0.0 }
}

/// Growth over the range by Theil and Sen on floors, of the level, where Kendall's test is passed at one in a thousand.
fn mann_kendall(points: &[Point], _: &Readings) -> f64 {
    let (n, mut sign, mut slopes) = (points.len() as f64, 0i64, Vec::new());
    for (i, a) in points.iter().enumerate() {
        for b in &points[i + 1..] {
            sign += b.least.partial_cmp(&a.least).map_or(0, |order| order as i64);
            slopes.push((b.least - a.least) / (b.time - a.time).max(1.0));
        }
    }
    let z = (sign - 1) as f64 / (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let middle = slopes.len() / 2;
    let slope = *slopes.select_nth_unstable_by(middle, f64::total_cmp).1;
    let span = points[points.len() - 1].time - points[0].time;
    if z > 3.09 { slope * span / points[0].least.max(1.0) } else { 0.0 }
}

/// Page's cumulative sum of floors over the mean of the range's first quarter, less half a deviation of theirs.
fn cusum(points: &[Point], _: &Readings) -> f64 {
    let (before, after) = points.split_at((points.len() / 4).max(3));
    let n = before.len() as f64;
    let mean = before.iter().map(|point| point.least).sum::<f64>() / n;
    let variance = before.iter().map(|point| (point.least - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let deviation = variance.sqrt().max(0.01 * mean).max(1.0);
    after.iter().fold(0.0f64, |sum, point| (sum + (point.least - mean) / deviation - 0.5).max(0.0))
}

/// One over the hours until Prometheus' `predict_linear(used[1h], …)` passes the capacity.
fn predict_linear(points: &[Point], readings: &Readings) -> f64 {
    let (slope, _, end) = line(points);
    3600.0 * slope.max(0.0) / (readings.capacity.bytes() as f64 - end).max(1.0)
}

/// Prometheus' `deriv(used[1h])`, a part of the capacity an hour.
fn deriv(points: &[Point], readings: &Readings) -> f64 {
    3600.0 * line(points).0 / readings.capacity.bytes() as f64
}
