//! What is said of a series of used bytes: `cargo run -p vramkit-pressure --example judge_series FILE [CAPACITY_BYTES]`, of a
//! file whose lines are `seconds,used_bytes`, the first one a heading.

#![allow(clippy::print_stdout)]

use std::time::Duration;

use vramkit_pressure::Forecaster;
use vramkit_pressure::leak::GrowthDetector;
use vramkit_units::ByteSize;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("judge_series FILE [CAPACITY_BYTES]")?;
    let capacity = arguments.next().map(|bytes| bytes.parse().map(ByteSize::new)).transpose()?;
    let mut detector = GrowthDetector::new();
    detector.set_capacity(capacity);
    let mut forecaster = Forecaster::default();
    for (number, line) in std::fs::read_to_string(&file)?.lines().enumerate().skip(1) {
        let (seconds, used) =
            line.split_once(',').ok_or_else(|| format!("{file}, line {}: no comma", number + 1))?;
        let now = Duration::try_from_secs_f64(seconds.trim().parse()?)?;
        let used = ByteSize::new(used.trim().parse()?);
        forecaster.push(now, used);
        if let Some(event) = detector.push(now, used) {
            let forecast = capacity.and_then(|capacity| forecaster.forecast(capacity));
            let minutes = |seconds: Option<f64>| seconds.map_or("-".into(), |s| format!("{:.1}", s / 60.0));
            let full = forecast.map_or(String::new(), |forecast| {
                let (soonest, latest) = (forecast.full_in_seconds_soonest, forecast.full_in_seconds_latest);
                format!(
                    " full in {} min ({} to {})",
                    minutes(forecast.full_in_seconds),
                    minutes(soonest),
                    minutes(latest)
                )
            });
            println!("{:.1} min, {used}: {event:?}{full}", now.as_secs_f64() / 60.0);
        }
    }
    Ok(())
}
