//! How often a forecast's interval holds the rate at which a card fills, and the time at which it is full.

use vramkit::monitor::Forecaster;
use vramkit_testing::realistic::{Fill, FillKind, fill};

#[derive(Default)]
struct Coverage {
    asked: usize,
    said: usize,
    rates: usize,
    full_said: usize,
    fulls: usize,
    widths: Vec<f64>,
}

impl Coverage {
    /// Asks after every tenth of a series.
    fn ask(&mut self, fill: &Fill) {
        let mut forecaster = Forecaster::default();
        let end = fill.samples.last().map_or(0.0, |sample| sample.0.as_secs_f64());
        let mut next = 0.1;
        for &(now, used) in &fill.samples {
            forecaster.push(now, used);
            let now = now.as_secs_f64();
            if now < next * end || next > 0.95 {
                continue;
            }
            next += 0.1;
            self.asked += 1;
            let Some(forecast) = forecaster.forecast(fill.capacity) else { continue };
            self.said += 1;
            let (low, high) = (forecast.bytes_per_second_low, forecast.bytes_per_second_high);
            self.rates += usize::from((low..=high).contains(&fill.bytes_per_second));
            if fill.bytes_per_second > 0.0 {
                self.widths.push((high - low) / fill.bytes_per_second);
            }
            let Some(soonest) = forecast.full_in_seconds_soonest else { continue };
            self.full_said += 1;
            // What was not full in thrice the time that the line needs is later than any time up to there.
            let truth = fill.full.map_or(3.0 * end, |full| full.as_secs_f64()) - now;
            let latest = forecast.full_in_seconds_latest.unwrap_or(f64::INFINITY);
            self.fulls +=
                usize::from(soonest <= truth && truth <= latest || fill.full.is_none() && truth < latest);
        }
    }

    fn print(mut self, name: &str) {
        let part = |some: usize, all: usize| some as f64 / all as f64;
        println!(
            "{name:<14}{:>7.2}{:>13.3}{:>9.2}{:>12.2}{:>13.3}",
            part(self.said, self.asked),
            part(self.rates, self.said),
            super::median(&mut self.widths),
            part(self.full_said, self.asked),
            part(self.fulls, self.full_said),
        );
    }
}

pub(crate) fn print(seeds: std::ops::Range<u64>) {
    println!(
        "\nforecasts, asked nine times in each of {} series of each kind; width: of the rate's interval, in rates",
        seeds.end - seeds.start
    );
    println!(
        "{:<14}{:>7}{:>13}{:>9}{:>12}{:>13}",
        "around a line", "said", "rate within", "width", "full said", "full within"
    );
    let mut all = Coverage::default();
    for kind in FillKind::ALL {
        let mut of_kind = Coverage::default();
        for fill in seeds.clone().map(|seed| fill(kind, seed)) {
            of_kind.ask(&fill);
            all.ask(&fill);
        }
        of_kind.print(&format!("{kind:?}"));
    }
    all.print("all");
}
