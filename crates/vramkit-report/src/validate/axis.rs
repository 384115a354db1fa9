//! From numbers to places along a side of a panel, on a linear or a logarithmic scale.

use super::words::number;

/// How far beyond the data a prediction may lie and still be drawn, in widths of the data; further off it would squeeze them.
const BEYOND: f64 = 0.75;
/// The least width of the data, of their size: a single cycle has none.
const LEAST_SPAN: f64 = 0.04;
/// Beyond this, sums and differences of two numbers could pass the largest.
const MOST: f64 = 1e300;

/// A side of a panel: numbers from `low` to `high` are between the places `from` and `to`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    is_log: bool,
}

/// Where a number is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    At(f64),
    Below,
    Above,
}

impl Axis {
    /// Between two numbers, drawn from one place to the other.
    pub(crate) fn linear(low: f64, high: f64, (from, to): (f64, f64)) -> Self {
        let (low, high) = (low.clamp(-MOST, MOST), high.clamp(-MOST, MOST));
        let high = if high > low { high } else { low + low.abs().max(1.0) * LEAST_SPAN };
        Self { low, high, from, to, is_log: false }
    }

    /// Wide enough for the data, and for those of `others` that are not far off.
    pub(crate) fn around(data: &[f64], others: &[f64], side: (f64, f64)) -> Self {
        let clamped = |value: &f64| value.clamp(-MOST, MOST);
        let data = if data.is_empty() { others } else { data };
        let low = data.iter().map(clamped).fold(f64::INFINITY, f64::min);
        let high = data.iter().map(clamped).fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return Self::linear(0.0, 1.0, side);
        }
        let reach = (high - low).max(low.abs().max(high.abs()).max(1.0) * LEAST_SPAN) * BEYOND;
        let near = others.iter().map(clamped).filter(|&v| v >= low - reach && v <= high + reach);
        let (low, high) = near.fold((low, high), |(low, high), v| (low.min(v), high.max(v)));
        let room = (high - low).max(low.abs().max(high.abs()).max(1.0) * LEAST_SPAN) * 0.06;
        Self::linear(low - room, high + room, side)
    }

    /// Powers of ten from one exponent to another.
    pub(crate) fn powers(low: i32, high: i32, (from, to): (f64, f64)) -> Self {
        Self { low: f64::from(low), high: f64::from(high), from, to, is_log: true }
    }

    /// Where it begins.
    pub(crate) fn low(&self) -> f64 {
        self.low
    }

    /// Where it ends.
    pub(crate) fn high(&self) -> f64 {
        self.high
    }

    pub(crate) fn place(&self, value: f64) -> Place {
        match self.unbounded(value) {
            _ if self.scaled(value) < self.low => Place::Below,
            _ if self.scaled(value) > self.high => Place::Above,
            place => Place::At(place),
        }
    }

    /// The nearest place of the side.
    pub(crate) fn nearest(&self, value: f64) -> f64 {
        self.unbounded(value).clamp(self.from.min(self.to), self.from.max(self.to))
    }

    /// A place that may lie beyond the side.
    pub(crate) fn unbounded(&self, value: f64) -> f64 {
        self.from + (self.scaled(value) - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn scaled(&self, value: f64) -> f64 {
        if self.is_log { value.max(1e-300).log10() } else { value.clamp(-MOST, MOST) }
    }

    /// Round numbers along the side, about `count` of them, with what is written beside each. `is_whole`: no fractions.
    pub(crate) fn ticks(&self, count: f64, is_whole: bool) -> Vec<(f64, String)> {
        if self.is_log {
            let step = ((self.high - self.low) / count).ceil().max(1.0) as usize;
            let powers = (self.low as i32..=self.high as i32).rev().step_by(step);
            return powers.map(|power| (10f64.powi(power), share(power))).collect();
        }
        let rough = (self.high - self.low) / count;
        let magnitude = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * magnitude).find(|&step| step >= rough);
        let step = step.unwrap_or(rough).max(if is_whole { 1.0 } else { 0.0 });
        let first = (self.low / step).ceil();
        let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
        let ticks = (0..=20).map(|i| (first + f64::from(i)) * step);
        let ticks = ticks.take_while(|&tick| tick <= self.high + step * 1e-9);
        ticks.map(|tick| (tick, number(tick, decimals))).collect()
    }
}

/// A power of ten as a share.
fn share(power: i32) -> String {
    match power {
        0 => "100 %".to_owned(),
        -1 => "10 %".to_owned(),
        -6..=-2 => format!("{} %", number(10f64.powi(power + 2), (-power - 2) as usize)),
        _ => format!("1e−{}", -power),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_that_is_far_off_does_not_squeeze_the_data() {
        let axis = Axis::around(&[100.0, 200.0], &[240.0, 2000.0, -50.0], (0.0, 100.0));
        assert!(matches!(axis.place(240.0), Place::At(place) if place < 100.0));
        assert_eq!((axis.place(2000.0), axis.place(-50.0)), (Place::Above, Place::Below));
        assert_eq!(axis.nearest(2000.0), 100.0);
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let labels = |axis: Axis, count, whole| -> Vec<String> {
            axis.ticks(count, whole).into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(labels(Axis::linear(3400.0, 4800.0, (0.0, 1.0)), 4.0, false), ["3,500", "4,000", "4,500"]);
        assert_eq!(labels(Axis::linear(0.5, 1.5, (0.0, 1.0)), 5.0, true), ["1"]);
        assert_eq!(labels(Axis::linear(0.0, 0.5, (0.0, 1.0)), 2.0, false), ["0.0", "0.5"]);
        assert_eq!(labels(Axis::powers(-3, 0, (0.0, 1.0)), 5.0, false), ["100 %", "10 %", "1 %", "0.1 %"]);
    }

    #[test]
    fn any_numbers_have_places() {
        let absurd = [0.0, -1.0, 1e300, -1e300, f64::MAX, f64::MIN, 1e-300];
        for low in absurd {
            for high in absurd {
                let axis = Axis::around(&[low, high], &absurd, (10.0, 90.0));
                assert!(axis.ticks(5.0, false).len() <= 21);
                for value in absurd {
                    assert!((10.0..=90.0).contains(&axis.nearest(value)), "{low} {high} {value}");
                }
            }
        }
    }
}
